#include "render/postfix_override.h"

#include "expect.h"

/* What main.cf becomes of one entry of ours and one file. */
static FileSet *merged(const char *text)
{
    OverrideFile file = {(char *)"override/postfix.d/site.cf", (char *)"site.cf", (char *)text};
    Overrides overrides = {.files = {[OVERRIDE_POSTFIX] = &file}, .n = {[OVERRIDE_POSTFIX] = 1}};
    FileSet *set = fileset_new();
    MainCf *cf = maincf_new(set, "postfix/main.cf", "postfix");

    maincf_plain(cf, "biff", "no");
    postfix_override(&overrides, cf, set);
    maincf_finish(&cf);
    return set;
}

#define FROM(line) "\n# from override/postfix.d/site.cf, line " line "\n"

static void test_merged(void **state)
{
    static const struct {
        const char *text, *main_cf;
    } cases[] = {
        {"", "biff = no\n"},
        {"# nothing\n\n  # here\n", "biff = no\n"},
        {"biff=yes", FROM("1") "biff=yes\n"},
        {"\n# why\nbiff = yes\r\n", FROM("3") "biff = yes\r\n"},
        {"a = 1\nb = 2\n", "biff = no\n" FROM("1") "a = 1\n" FROM("2") "b = 2\n"},
        {"a =\n 1,\n# but\n\n 2\n\n# end\nb = 3\n",
         "biff = no\n" FROM("1") "a =\n 1,\n# but\n\n 2\n" FROM("8") "b = 3\n"},
        {"a = 1\na = 2\n", "biff = no\n" FROM("2") "a = 2\n"},
        {"no entry\n", "biff = no\n" FROM("1") "no entry\n"},
        {"= 1\n", "biff = no\n" FROM("1") "= 1\n"},
        {"queue_directories = 1\n", "biff = no\n" FROM("1") "queue_directories = 1\n"},
    };
    (void)state;

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        DEFER(fileset_free) FileSet *set = merged(cases[i].text);
        ok(fileset_refused(set));
        assert_string_equal(buf_text((Buf *)fileset_file(set, 0).text), cases[i].main_cf);
    }
}

static void test_refused(void **state)
{
    static const struct {
        const char *text, *words;
    } cases[] = {
        {"a = 1\n\nqueue_directory = /x\n", "override/postfix.d/site.cf, line 3: queue_directory belongs to mailnode"},
        {"queue_directory\n# hidden\n  =/x\n", "line 1: queue_directory belongs to mailnode"},
        {"smtpd_sasl_auth_enable\t= yes\n", "line 1: smtpd_sasl_auth_enable belongs to mailnode"},
        {"mua_relay_restrictions = permit\n", "line 1: mua_relay_restrictions belongs to mailnode"},
        {"smtpd_forbid_bare_newline_exclusions = 0.0.0.0/0\n", "line 1: smtpd_forbid_bare_newline_exclusions belongs"},
        {"\n , permit\n", "override/postfix.d/site.cf, line 2: logical line must not start with whitespace"},
    };
    (void)state;

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        DEFER(fileset_free) FileSet *set = merged(cases[i].text);
        fails(fileset_refused(set), ERROR_INVALID, cases[i].words);
    }
    DEFER(fileset_free) FileSet *set = merged("myhostname = a.example\n");
    Error *err = fileset_refused(set);
    assert_non_null(err);
    assert_string_equal(err->hint, "mailctl instance set NAME hostname=...");
    error_free(&err);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_merged),
        cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
