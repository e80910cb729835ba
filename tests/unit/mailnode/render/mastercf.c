#include "render/mastercf.h"

#include "expect.h"

static void test_listener(void **state)
{
    static const struct {
        const char *address;
        const char *name; /* NULL: refused */
    } cases[] = {
        {NULL, "\n25 "},
        {"192.0.2.1", "\n192.0.2.1:25 "},
        {"2001:db8::1", "\n[2001:db8::1]:25 "},
        {"example.org", NULL},
        {"192.0.2.1:80 inet n - n - - smtpd\n1", NULL},
        {"", NULL},
    };
    (void)state;

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        DEFER(fileset_free) FileSet *set = fileset_new();
        DEFER(mastercf_free) MasterCf *cf = mastercf_new(set, "postfix/master.cf", "postfix");
        mastercf_listener(cf, cases[i].address, 25, "smtpd");
        if (cases[i].name) {
            ok(fileset_refused(set));
            assert_non_null(strstr(buf_text((Buf *)fileset_file(set, 0).text), cases[i].name));
        } else {
            fails(fileset_refused(set), ERROR_INVALID, "master.cf: a listener's address is no number");
        }
    }
}

static void test_option(void **state)
{
    static const struct {
        const char *value;
        const char *written; /* NULL: refused */
    } cases[] = {
        {"yes", "    -o name=yes\n"},
        {"", "    -o name=\n"},
        {"$mua_client_restrictions", "    -o name=$mua_client_restrictions\n"},
        {"permit_mynetworks, reject", "    -o { name = permit_mynetworks, reject }\n"},
        {"$a $b", NULL},
        {"a$b", NULL},
        {"$", NULL},
        {"a\nb", NULL},
        {"a } -o {", NULL},
        {"\"a", NULL},
    };
    (void)state;

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        DEFER(fileset_free) FileSet *set = fileset_new();
        DEFER(mastercf_free) MasterCf *cf = mastercf_new(set, "postfix/master.cf", "postfix");
        mastercf_option(cf, "name", cases[i].value);
        if (cases[i].written) {
            ok(fileset_refused(set));
            assert_non_null(strstr(buf_text((Buf *)fileset_file(set, 0).text), cases[i].written));
        } else {
            fails(fileset_refused(set), ERROR_INVALID, "master.cf: name: would be read as more than a value");
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_listener),
        cmocka_unit_test(test_option),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
