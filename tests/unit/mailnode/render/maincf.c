#include "render/maincf.h"

#include "expect.h"

static const char *text_of(const FileSet *set)
{
    File file;

    assert_non_null(fileset_find(set, "postfix/main.cf", &file));
    return buf_text((Buf *)file.text);
}

static void test_written(void **state)
{
    DEFER(fileset_free) FileSet *set = fileset_new();
    MainCf *cf = maincf_new(set, "postfix/main.cf", "postfix");
    (void)state;

    maincf_section(cf, "First");
    maincf_plain(cf, "biff", "no");
    maincf_set(cf, "queue_directory", "%s/queue", "/node");
    maincf_section(cf, "Second");
    maincf_plain(cf, "empty", "");
    maincf_number(cf, "bounce_queue_lifetime", 18446744073709551615U, "s");
    maincf_list(cf, "none");
    maincf_list(cf, "smtpd_relay_restrictions");
    maincf_words(cf, "permit_mynetworks");
    maincf_item(cf, "check_recipient_access ", "sqlite:%s/ours.cf", "/node");
    maincf_enclosed(cf, "inline:{ { ", "example.org", " = x } }");
    maincf_finish(&cf);
    ok(fileset_refused(set));
    assert_null(cf);
    assert_string_equal(text_of(set), "# First\n"
                                      "biff = no\n"
                                      "queue_directory = /node/queue\n"
                                      "\n"
                                      "# Second\n"
                                      "empty =\n"
                                      "bounce_queue_lifetime = 18446744073709551615s\n"
                                      "none =\n"
                                      "smtpd_relay_restrictions =\n"
                                      "    permit_mynetworks,\n"
                                      "    check_recipient_access sqlite:/node/ours.cf,\n"
                                      "    inline:{ { example.org = x } }\n");
}

static void test_the_later_counts(void **state)
{
    DEFER(fileset_free) FileSet *set = fileset_new();
    MainCf *cf = maincf_new(set, "postfix/main.cf", NULL);
    (void)state;

    maincf_section(cf, "Names");
    maincf_plain(cf, "a", "1");
    maincf_plain(cf, "b", "2");
    maincf_plain(cf, "c", "3");
    maincf_plain(cf, "a", "4");
    maincf_foreign(cf, "c", "c =\n  5", "x.cf, line 1");
    maincf_foreign(cf, NULL, "?", "x.cf, line 7");
    maincf_finish(&cf);
    assert_string_equal(text_of(set), "# Names\nb = 2\na = 4\n"
                                      "\n# from x.cf, line 1\nc =\n  5\n"
                                      "\n# from x.cf, line 7\n?\n");
}

static void test_data_is_no_grammar(void **state)
{
    static const struct {
        const char *value;
        bool item;         /* of a list */
        const char *wrong; /* NULL: may stand */
    } cases[] = {
        {"mx1.example.org", true, NULL},
        {"/srv/a b,{c}", false, NULL},
        {"a#b", true, NULL},
        {"$myhostname", false, "'$'"},
        {"a${b}", false, "'$'"},
        {"a\nmynetworks = 0.0.0.0/0", false, "0x0a"},
        {"a\rb", false, "0x0d"},
        {"a\x7f", false, "0x7f"},
        {"#a", false, "'#'"},
        {" a", false, "0x20"},
        {"a ", false, "0x20"},
        {"a b", true, "0x20"},
        {"a,b", true, "','"},
        {"{a", true, "'{'"},
        {"a}", true, "'}'"},
        {"a\"b", true, "'\"'"},
    };
    (void)state;

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        DEFER(fileset_free) FileSet *set = fileset_new();
        MainCf *cf = maincf_new(set, "postfix/main.cf", NULL);
        if (cases[i].item) {
            maincf_list(cf, "name");
            maincf_item(cf, "", "%s", cases[i].value);
        } else {
            maincf_set(cf, "name", "%s", cases[i].value);
        }
        maincf_finish(&cf);
        if (!cases[i].wrong) {
            ok(fileset_refused(set));
            assert_non_null(strstr(text_of(set), cases[i].value));
            continue;
        }
        DEFER(xfree) char *words = xasprintf("main.cf: name: %s would be read as more than a value", cases[i].wrong);
        fails(fileset_refused(set), ERROR_INVALID, words);
        assert_null(strstr(text_of(set), cases[i].value));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_written),
        cmocka_unit_test(test_the_later_counts),
        cmocka_unit_test(test_data_is_no_grammar),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
