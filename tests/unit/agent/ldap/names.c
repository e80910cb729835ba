#include "ldap/names.h"

#include "expect.h"

static void names_that_may_be_made(void **state)
{
    static const struct {
        const char *name, *want, *error; /* one of the two */
    } cases[] = {
        {"alice", "alice", NULL},
        {"Alice", "alice", NULL},
        {"o'hara", "o'hara", NULL},
        {"a.b-c_d.1", "a.b-c_d.1", NULL},
        {"7", "7", NULL},
        {"_x", "_x", NULL},
        {"", NULL, "user : names nobody"},
        {"a*b", NULL, "user a*b: '*' is not allowed"},
        {"a,b", NULL, "',' is not allowed"},
        {"a+b", NULL, "'+' is not allowed"},
        {"a@b", NULL, "'@' is not allowed"},
        {"a b", NULL, "' ' is not allowed"},
        {"a/b", NULL, "'/' is not allowed"},
        {"jos\xc3\xa9", NULL, "'\xc3\xa9' is not allowed"},
        {"\xff", NULL, "not UTF-8"},
        {"a\nb", NULL, "is not allowed: nothing that cannot be seen"},
        {"-x", NULL, "the first is no letter or digit"},
        {".x", NULL, "the first is no letter or digit"},
        {"'x", NULL, "the first is no letter or digit"},
        {"x.", NULL, "a dot is last, or doubled"},
        {"x..y", NULL, "a dot is last, or doubled"},
        {"..", NULL, "no name of a user or group"},
        {"root", NULL, "user root: the name means something to the system"},
        {"ROOT", NULL, "the name means something to the system"},
        {"vmail", NULL, "the name means something to the system"},
        {"postmaster", NULL, "the name means something to the system"},
        {"anyone", NULL, "the name means something to the system"},
        {"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", NULL, "65 octets: at most 64"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        DEFER(xfree) char *got = NULL;
        Error *err = name_new(MAIL__ACCOUNT_KIND__USER, cases[i].name, &got);
        if (cases[i].error) {
            fails(err, ERROR_INVALID, cases[i].error);
            assert_null(got);
            continue;
        }
        ok(err);
        assert_string_equal(got, cases[i].want);
    }
}

static void names_that_may_be_there(void **state)
{
    static const struct {
        const char *name, *want, *error;
    } cases[] = {
        {"Root", "root", NULL},
        {"a*b", "a*b", NULL},
        {"Hans M\xc3\x9cller", "hans m\xc3\xbcller", NULL},
        {"a@b", NULL, "group a@b: '@' is not allowed"},
        {"", NULL, "names nobody"},
        {"a\tb", NULL, "is not allowed"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        DEFER(xfree) char *got = NULL;
        Error *err = name_known(MAIL__ACCOUNT_KIND__GROUP, cases[i].name, &got);
        if (cases[i].error) {
            fails(err, ERROR_INVALID, cases[i].error);
            continue;
        }
        ok(err);
        assert_string_equal(got, cases[i].want);
    }
}

/* RFC 4514 2.4, RFC 4515 3. */
static void escaping(void **state)
{
    static const struct {
        const char *value, *dn, *filter;
    } cases[] = {
        {"alice", "alice", "alice"},
        {"", "", ""},
        {"a,b", "a\\2cb", "a,b"},
        {"a+b=c", "a\\2bb\\3dc", "a+b=c"},
        {"*)(uid=*", "*)(uid\\3d*", "\\2a\\29\\28uid=\\2a"},
        {"a\\b", "a\\5cb", "a\\5cb"},
        {" a ", "\\20a\\20", " a "},
        {"#a#", "\\23a\\23", "#a#"},
        {"a#b c", "a#b c", "a#b c"},
        {"<\">;", "\\3c\\22\\3e\\3b", "<\">;"},
        {"a\nb", "a\\0ab", "a\\0ab"},
        {"\xc3\xa9", "\xc3\xa9", "\xc3\xa9"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        DEFER(xfree) char *dn = dn_escape(cases[i].value);
        DEFER(xfree) char *filter = filter_escape(cases[i].value);
        assert_string_equal(dn, cases[i].dn);
        assert_string_equal(filter, cases[i].filter);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_that_may_be_made),
        cmocka_unit_test(names_that_may_be_there),
        cmocka_unit_test(escaping),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
