#include "model/name.h"

#include "base/alloc.h"
#include "model/validate.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define A63 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define A10 "aaaaaaaaaa"
#define A50 A10 A10 A10 A10 A10

enum {
    TEXT = MAIL__FIELD_TYPE__TEXT,
    NAME = MAIL__FIELD_TYPE__NAME,
    FQDN = MAIL__FIELD_TYPE__FQDN,
    PATH = MAIL__FIELD_TYPE__PATH,
    NETWORK = MAIL__FIELD_TYPE__NETWORK,
    FOLDER = MAIL__FIELD_TYPE__FOLDER,
    DESTINATION = MAIL__FIELD_TYPE__DESTINATION,
    ADDRESS = MAIL__FIELD_TYPE__ADDRESS,
    IP = MAIL__FIELD_TYPE__IP,
    ACCOUNT = MAIL__FIELD_TYPE__ACCOUNT,
    PUBLIC_NAME = MAIL__FIELD_TYPE__PUBLIC_NAME,
    ACL = MAIL__FIELD_TYPE__ACL,
    CURVE_KEY = MAIL__FIELD_TYPE__CURVE_KEY,
};

/* text: NULL where 'error' is what is said. */
static const struct {
    int type;
    const char *given, *text, *error;
} cases[] = {
    {NETWORK, "192.0.2.7", "192.0.2.7", NULL},
    {NETWORK, "192.0.2.7/32", "192.0.2.7", NULL},
    {NETWORK, "10.1.2.0/23", "10.1.2.0/23", NULL},
    {NETWORK, "10.1.3.0/23", NULL, "bits are set behind the first 23"},
    {NETWORK, "0.0.0.0/0", "0.0.0.0/0", NULL},
    {NETWORK, "2001:DB8::/32", "2001:db8::/32", NULL},
    {NETWORK, "2001:db8:0:0:0:0:0:1/128", "2001:db8::1", NULL},
    {NETWORK, "2001:db8::1/64", NULL, "bits are set behind the first 64"},
    {NETWORK, "::ffff:10.1.2.3", NULL, "IPv4 addresses in IPv6's clothes"},
    {NETWORK, "::ffff:10.1.2.0/120", NULL, "IPv4 addresses in IPv6's clothes"},
    {NETWORK, "::/0", "::/0", NULL},
    {NETWORK, "10.1.2.0/33", NULL, "no numeric IPv4 or IPv6 address, and no network of them"},
    {NETWORK, "10.1.2.0/08", NULL, "no numeric IPv4 or IPv6 address, and no network of them"},
    {NETWORK, "10.1.2.0/", NULL, "no numeric IPv4 or IPv6 address, and no network of them"},
    {NETWORK, "10.1.2/24", NULL, "no numeric IPv4 or IPv6 address, and no network of them"},
    {NETWORK, "", NULL, "no numeric IPv4 or IPv6 address, and no network of them"},
    {NAME, "mx1", "mx1", NULL},
    {NAME, "MX-1", "mx-1", NULL},
    {NAME, A63, A63, NULL},
    {NAME, A63 "a", NULL, "64 octets: at most 63"},
    {NAME, "", NULL, "empty: 1 to 63 of a-z, 0-9 and '-', first a letter"},
    {NAME, "1a", NULL, "the first is no letter: 1 to 63 of a-z, 0-9 and '-', first a letter"},
    {NAME, "-a", NULL, "the first is no letter: 1 to 63 of a-z, 0-9 and '-', first a letter"},
    {NAME, "../etc", NULL, "'.' is not allowed: 1 to 63 of a-z, 0-9 and '-', first a letter"},
    {NAME, "a\x1b[31m", NULL, "'<U+001B>' is not allowed: 1 to 63 of a-z, 0-9 and '-', first a letter"},
    {NAME, "a\nb", NULL, "'<U+000A>' is not allowed: 1 to 63 of a-z, 0-9 and '-', first a letter"},
    {NAME, "mä", NULL, "'ä' is not allowed: 1 to 63 of a-z, 0-9 and '-', first a letter"},
    {NAME, "a\xff", NULL, "not UTF-8"},

    {FQDN, "mx1.example.org", "mx1.example.org", NULL},
    {FQDN, "Mäil.Example.ORG", "xn--mil-qla.example.org", NULL},
    {FQDN, "exa\xcc\x88mple.org", "xn--exmple-cua.org", NULL},
    {FQDN, "XN--EXMPLE-CUA.ORG", "xn--exmple-cua.org", NULL},
    {FQDN, "straße.example", "xn--strae-oqa.example", NULL},
    {FQDN, "例え。テスト", "xn--r8jz45g.xn--zckzah", NULL},
    {FQDN, A63 ".org", A63 ".org", NULL},
    {FQDN, "1and1.example", "1and1.example", NULL},
    {FQDN, "localhost", NULL, "a name with a dot in it is needed"},
    {FQDN, "", NULL, "empty"},
    {FQDN, ".", NULL, "an empty label"},
    {FQDN, "example.org.", NULL, "a dot at the end"},
    {FQDN, "a..org", NULL, "an empty label"},
    {FQDN, ".org", NULL, "an empty label"},
    {FQDN, "a" A63 ".org", NULL, "a label of 64 octets: at most 63"},
    {FQDN, A50 "." A50 "." A50 "." A50 "." A50 ".org", NULL, "258 octets: at most 253"},
    {FQDN, "-a.example.org", NULL, "a label begins or ends with '-'"},
    {FQDN, "a-.example.org", NULL, "a label begins or ends with '-'"},
    {FQDN, "ab--c.example.org", NULL, "a label has '--' in third place"},
    {FQDN, "a_b.example.org", NULL, "'_' is not allowed: host names have letters, digits, '-' and '.'"},
    {FQDN, "*.example.org", NULL, "'*' is not allowed: host names have letters, digits, '-' and '.'"},
    {FQDN, "a b.example.org", NULL, "' ' is not allowed: host names have letters, digits, '-' and '.'"},
    {FQDN, "$(id).example.org", NULL, "'$' is not allowed: host names have letters, digits, '-' and '.'"},
    {FQDN, "10.0.0.1", NULL, "an address, not a name"},
    {FQDN, "127.0.1", NULL, "an address, not a name"},
    {FQDN, "127.0.0x1", NULL, "an address, not a name"},
    {FQDN, "u.internal", NULL, "u.internal is used inside a node"},
    {FQDN, "a\xff.org", NULL, "not UTF-8"},

    {ADDRESS, "Alice@Example.ORG", "alice@example.org", NULL},
    {ADDRESS, "a+b=c@exämple.org", "a+b=c@xn--exmple-cua.org", NULL},
    {ADDRESS, "not-an-address", NULL, "'@' is missing"},
    {ADDRESS, "a@b@c.org", NULL, "more than one '@'"},
    {ADDRESS, "@example.org", NULL, "nothing before '@'"},
    {ADDRESS, "a@*", NULL, "domain: '*' is not allowed: host names have letters, digits, '-' and '.'"},
    {ADDRESS, "a@", NULL, "domain: empty"},
    {ADDRESS, "a@[127.0.0.1]", NULL, "domain: '[' is not allowed: host names have letters, digits, '-' and '.'"},
    {ADDRESS, "alice@u.internal", NULL, "domain: u.internal is used inside a node"},
    {ADDRESS, "|id@example.org", NULL, "'|' is not allowed: before '@' stand letters, digits and . _ - ' + = & # ~"},
    {ADDRESS, "a%b@example.org", NULL, "'%' is not allowed: before '@' stand letters, digits and . _ - ' + = & # ~"},
    {ADDRESS, "ü@example.org", NULL, "'ü' is not allowed: before '@' stand letters, digits and . _ - ' + = & # ~"},

    {DESTINATION, "alice", "user:alice", NULL},
    {DESTINATION, "user:Alice", "user:alice", NULL},
    {DESTINATION, "group:sales", "group:sales", NULL},
    {DESTINATION, "X@Example.org", "x@example.org", NULL},
    {DESTINATION, "group:", NULL, "names nobody"},
    {DESTINATION, "user:", NULL, "names nobody"},
    {DESTINATION, "", NULL, "names nobody"},
    {DESTINATION, "user:a@b.org", NULL, "'@' is not allowed: no name of a user or group has it"},
    {DESTINATION, "public:News/Today", "public:News/Today", NULL},
    {DESTINATION, "public:", NULL, "names no mailbox"},
    {DESTINATION, "users:alice", NULL, "no such kind of destination"},

    {ACCOUNT, "O'Neil", "o'neil", NULL},
    {ACCOUNT, "a b", "a b", NULL},
    {ACCOUNT, "JOSÉ", "josé", NULL},
    {ACCOUNT, "jose\xcc\x81", "josé", NULL},
    {ACCOUNT, "*)(uid=*", "*)(uid=*", NULL}, /* data; LDAP filters escape it */
    {ACCOUNT, "..", NULL, "no name of a user or group"},
    {ACCOUNT, "../../etc/passwd", NULL, "'/' is not allowed: no name of a user or group has it"},
    {ACCOUNT, " a", NULL, "a space first or last"},
    {ACCOUNT, "a\tb", NULL, "'<U+0009>' is not allowed: nothing that cannot be seen"},
    {ACCOUNT,
     "\xe2\x80\xae"
     "a",
     NULL, "'<U+202E>' is not allowed: nothing that cannot be seen"},

    {IP, "127.0.0.1", "127.0.0.1", NULL},
    {IP, "2001:DB8:0:0::1", "2001:db8::1", NULL},
    {IP, "127.1", NULL, "no numeric IPv4 or IPv6 address"},
    {IP, "fe80::1%eth0", NULL, "no numeric IPv4 or IPv6 address"},
    {IP, "::ffff:10.0.0.1", NULL, "an IPv4 address in IPv6's clothes"},
    {IP, "10.0.0.1/8", NULL, "no numeric IPv4 or IPv6 address"},

    {CURVE_KEY, "JTKVSB%%)wK0E.X)V>+}o?pNmC{O&4W4b!Ni{Lh7", "JTKVSB%%)wK0E.X)V>+}o?pNmC{O&4W4b!Ni{Lh7", NULL},
    {CURVE_KEY, "rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7", NULL,
     "a test key from ZeroMQ's manual: everybody has its secret"},
    {PUBLIC_NAME, "Sales/Leads", "Sales/Leads", NULL},
    {PUBLIC_NAME,
     "B\xc3\xbc"
     "cher & \"Presse\"",
     "B\xc3\xbc"
     "cher & \"Presse\"",
     NULL},
    {PUBLIC_NAME, "a\xcc\x88", "\xc3\xa4", NULL},
    {PUBLIC_NAME, A50 A50 A50 A50, A50 A50 A50 A50, NULL},
    {PUBLIC_NAME, A50 A50 A50 A50 "a", NULL, "201 octets: at most 200"},
    {PUBLIC_NAME, "\xf0\x9f\x93\xac\xf0\x9f\x93\xac", "\xf0\x9f\x93\xac\xf0\x9f\x93\xac", NULL},
    {PUBLIC_NAME, "", NULL, "names no mailbox"},
    {PUBLIC_NAME, "v1.2", NULL, "'.' is not allowed: write '/' between the levels of a public mailbox, and no dot"},
    {PUBLIC_NAME, "..", NULL, "'.' is not allowed: write '/' between the levels of a public mailbox, and no dot"},
    {PUBLIC_NAME, "a//b", NULL, "nothing as a level of a folder"},
    {PUBLIC_NAME, "/a", NULL, "nothing as a level of a folder"},
    {PUBLIC_NAME, "~root", NULL, "'~' is not allowed: first it means a home directory"},
    {PUBLIC_NAME, "a*", NULL, "'*' is not allowed: it stands for any folder"},
    {PUBLIC_NAME, "inbox", NULL, "INBOX is there already, and is another"},
    {PUBLIC_NAME, "a\nb", NULL, "'<U+000A>' is not allowed: nothing that cannot be seen"},
    {PUBLIC_NAME, " a", NULL, "a space first or last"},

    {ACL, "user:Alice:read", "user:alice:read", NULL},
    {ACL, "user:alice:srl", "user:alice:read", NULL},
    {ACL, "group:a:b:write", "group:a:b:write", NULL},
    {ACL, "group:x:lrswipkxtea", "group:x:full", NULL},
    {ACL, "anyone:lr", "anyone:lr", NULL},
    {ACL, "anyone:rl", "anyone:lr", NULL},
    {ACL, "anyone", NULL, "not who and what"},
    {ACL, "anyone:x:lr", NULL, "not who and what"},
    {ACL, "alice:read", NULL, "not who and what"},
    {ACL, "user:alice", NULL, "not who and what"},
    {ACL, "user:alice:", NULL, "no rights"},
    {ACL, "user::read", NULL, "names nobody"},
    {ACL, "user:a@b:read", NULL, "'@' is not allowed: no name of a user or group has it"},
    {ACL, "user:alice:lrz", NULL, "no rights 'lrz': read, write, full or letters of lrswipkxtea"},

    {CURVE_KEY, "short", NULL, "no CURVE public key: 40 characters of Z85"},
    {CURVE_KEY, "rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf\"", NULL, "no CURVE public key: 40 characters of Z85"},

    {PATH, "/etc/ssl/mail.pem", "/etc/ssl/mail.pem", NULL},
    {PATH, "/a b/\"c\"\\..d", "/a b/\"c\"\\..d", NULL},
    {PATH, "/jose\xcc\x81", "/jose\xcc\x81", NULL}, /* another file than in NFC */
    {PATH, "", NULL, "no absolute path"},
    {PATH, "etc/ssl", NULL, "no absolute path"},
    {PATH, "~/key", NULL, "no absolute path"},
    {PATH, "/", NULL, "nothing between two '/', or at the end"},
    {PATH, "/etc/", NULL, "nothing between two '/', or at the end"},
    {PATH, "//etc", NULL, "nothing between two '/', or at the end"},
    {PATH, "/etc/../shadow", NULL, "'..' between two '/', or at the end"},
    {PATH, "/etc/..", NULL, "'..' between two '/', or at the end"},
    {PATH, "/./etc", NULL, "'.' between two '/', or at the end"},
    {PATH, "/etc ", NULL, "a space first or last"},
    {PATH, "/a\nb", NULL, "'<U+000A>' is not allowed: nothing that cannot be seen"},
    {PATH, "/a\xff", NULL, "not UTF-8"},

    {FOLDER, "Junk", "Junk", NULL},
    {FOLDER, "Räume/Südflügel", "Räume/Südflügel", NULL},
    {FOLDER, "Ra\xcc\x88ume", "Räume", NULL},
    {FOLDER, "\"Spam\" \\ more", "\"Spam\" \\ more", NULL},
    {FOLDER, "INBOXES", "INBOXES", NULL},
    {FOLDER, "a.b", "a.b", NULL},
    {FOLDER, "", NULL, "nothing as a level of a folder"},
    {FOLDER, "inbox", NULL, "INBOX is there already, and is another"},
    {FOLDER, "InBox/Junk", NULL, "INBOX is there already, and is another"},
    {FOLDER, "/Junk", NULL, "nothing as a level of a folder"},
    {FOLDER, "Junk/", NULL, "nothing as a level of a folder"},
    {FOLDER, "a//b", NULL, "nothing as a level of a folder"},
    {FOLDER, "a/../b", NULL, "'..' as a level of a folder"},
    {FOLDER, "Ju*nk", NULL, "'*' is not allowed: it stands for any folder"},
    {FOLDER, "100%", NULL, "'%' is not allowed: it stands for any folder"},
    {FOLDER, "~root", NULL, "'~' is not allowed: first it means a home directory"},
    {FOLDER, "Junk ", NULL, "a space first or last"},
    {FOLDER, "a\rb", NULL, "'<U+000D>' is not allowed: nothing that cannot be seen"},
    {FOLDER, "\xc0\xaf", NULL, "not UTF-8"},

    {TEXT, "Räck 7: \"left\"; # no comment", "Räck 7: \"left\"; # no comment", NULL},
    {TEXT,
     "Ra\xcc\x88"
     "ck",
     "Räck", NULL},
    {TEXT, "$(id) `id` ${x} %u {{ }} -d", "$(id) `id` ${x} %u {{ }} -d", NULL},
    {TEXT, "a\nb", NULL, "'<U+000A>' is not allowed: nothing that cannot be seen"},
    {TEXT,
     "a\xc2\x9b"
     "31m",
     NULL, "'<U+009B>' is not allowed: nothing that cannot be seen"},
    {TEXT,
     "\xef\xbb\xbf"
     "a",
     NULL, "'<U+FEFF>' is not allowed: nothing that cannot be seen"},
    {TEXT, "a\xe2\x81\xa6", NULL, "'<U+2066>' is not allowed: nothing that cannot be seen"},
    {TEXT, "  ", NULL, "a space first or last"},
    {TEXT, "\xed\xa0\x80", NULL, "not UTF-8"},
    {TEXT, "\xc0\xaf", NULL, "not UTF-8"},
};

static void one_form(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        DEFER(xfree) char *text = NULL;
        DEFER(error_free) Error *err = text_normalise((Mail__FieldType)cases[i].type, cases[i].given, &text);
        const char *said = err ? err->what : NULL;
        bool right = cases[i].error ? said && strcmp(said, cases[i].error) == 0 && err->code == ERROR_INVALID
                                    : !said && strcmp(text, cases[i].text) == 0;

        if (!right)
            fail_msg("'%s' (type %d): text %s, error %s", cases[i].given, cases[i].type, text ? text : "-",
                     said ? said : "-");
        if (err)
            continue;
        /* What it gives, it takes, and gives back. */
        DEFER(xfree) char *again = NULL;
        assert_null(text_normalise((Mail__FieldType)cases[i].type, text, &again));
        assert_string_equal(again, text);
    }
}

/* libidn2's own words are in the errors: only the beginning is ours. */
static void a_labels_without_meaning(void **state)
{
    static const char *const names[] = {"xn--0.org",        "xn--a.example.org", "xn--.org",
                                        "xn--example-.org", "xn--xn--a-.org",    "xn--a-ecp.ru",
                                        "xn--\xc3\xa4.org", "a\xe2\x80\x8b.org", "\xe2\x9d\xa4.org\xe2\x80\xae"};

    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        DEFER(xfree) char *text = NULL;
        DEFER(error_free) Error *err = text_normalise(MAIL__FIELD_TYPE__FQDN, names[i], &text);
        if (!err || err->code != ERROR_INVALID)
            fail_msg("%s became %s", names[i], text);
    }
}

static const struct {
    Kind kind;
    const char *given, *name, *error;
} keys[] = {
    {MAIL__OBJECT__BODY_DOMAIN, "Exämple.ORG", "xn--exmple-cua.org", NULL},
    {MAIL__OBJECT__BODY_DOMAIN, "org", NULL, "domain org: a name with a dot in it is needed"},
    {MAIL__OBJECT__BODY_ADDRESS, "UPPER.Case@Example.org", "upper.case@example.org", NULL},
    {MAIL__OBJECT__BODY_ADDRESS, "info@*", "info@*", NULL},
    {MAIL__OBJECT__BODY_ADDRESS, "o'neil@exämple.net", "o'neil@xn--exmple-cua.net", NULL},
    {MAIL__OBJECT__BODY_ADDRESS, "_@example.org", "_@example.org", NULL},
    {MAIL__OBJECT__BODY_ADDRESS, A63 "a@example.org", A63 "a@example.org", NULL},
    {MAIL__OBJECT__BODY_ADDRESS, A63 "aa@example.org", NULL,
     "address " A63 "aa@example.org: 65 octets before '@': at most 64"},
    {MAIL__OBJECT__BODY_ADDRESS, "sales", NULL, "address sales: '@' is missing"},
    {MAIL__OBJECT__BODY_ADDRESS, "", NULL, "address '': '@' is missing"},
    {MAIL__OBJECT__BODY_ADDRESS, ".a@example.org", NULL, "address .a@example.org: a dot first or last before '@'"},
    {MAIL__OBJECT__BODY_ADDRESS, "a.@example.org", NULL, "address a.@example.org: a dot first or last before '@'"},
    {MAIL__OBJECT__BODY_ADDRESS, "a..b@example.org", NULL, "address a..b@example.org: two dots in a row before '@'"},
    {MAIL__OBJECT__BODY_ADDRESS, "a+b@example.org", NULL,
     "address a+b@example.org: '+' is not allowed: before '@' stand letters, digits and . _ - '"},
    {MAIL__OBJECT__BODY_ADDRESS, "\"a b\"@example.org", NULL,
     "address \"a b\"@example.org: '\"' is not allowed: before '@' stand letters, digits and . _ - '"},
    {MAIL__OBJECT__BODY_ADDRESS, "\xf0\x9f\x98\x80@example.org", NULL,
     "address \xf0\x9f\x98\x80@example.org: '\xf0\x9f\x98\x80' is not allowed: before '@' stand letters, digits and . _ - '"},
    {MAIL__OBJECT__BODY_ADDRESS, "a\x1b[31m@example.org", NULL,
     "address a<U+001B>[31m@example.org: '<U+001B>' is not allowed: before '@' stand letters, digits and . _ - '"},
    {MAIL__OBJECT__BODY_ADDRESS, "a\xff@example.org", NULL, "address a<ff>@example.org: not UTF-8"},
    {MAIL__OBJECT__BODY_ADDRESS, "*@example.org", NULL,
     "address *@example.org: '*' is not allowed: before '@' stand letters, digits and . _ - '"},
    {MAIL__OBJECT__BODY_NODE, "none", NULL, "node none: a word with another meaning"},
    {MAIL__OBJECT__BODY_NODE, "MX1", "mx1", NULL},
    {MAIL__OBJECT__BODY_MAILBOX, "Alice", "alice", NULL},
    {MAIL__OBJECT__BODY_POLICY, "", "", NULL},
    {MAIL__OBJECT__BODY_POLICY, NULL, "", NULL},
    {MAIL__OBJECT__BODY_POLICY, "x", NULL, "policy has no name: there is one in each instance"},
};

static void names_of_objects(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        DEFER(xfree) char *name = NULL;
        DEFER(error_free) Error *err = name_normalise(keys[i].kind, keys[i].given, &name);
        const char *said = err ? err->what : NULL;
        bool right =
            keys[i].error ? said && strcmp(said, keys[i].error) == 0 : !said && strcmp(name, keys[i].name) == 0;
        if (!right)
            fail_msg("'%s': name %s, error %s", keys[i].given, name ? name : "-", said ? said : "-");
    }
}

static void hints(void **state)
{
    DEFER(xfree) char *name = NULL;

    (void)state;
    DEFER(error_free) Error *no_at = name_normalise(MAIL__OBJECT__BODY_ADDRESS, "sales", &name);
    assert_string_equal(no_at->hint, "write LOCAL@DOMAIN, or LOCAL@* for every domain");
    DEFER(error_free) Error *dot = name_normalise(MAIL__OBJECT__BODY_DOMAIN, "example.org.", &name);
    assert_string_equal(dot->hint, "write example.org");
    DEFER(error_free) Error *mapped = text_normalise(MAIL__FIELD_TYPE__IP, "::ffff:10.0.0.1", &name);
    assert_string_equal(mapped->hint, "write 10.0.0.1");
}

static void for_people(void **state)
{
    static const struct {
        const char *name, *people;
    } rows[] = {
        {"xn--exmple-cua.org", "exämple.org"},
        {"info@xn--exmple-cua.org", "info@exämple.org"},
        {"example.org", "example.org"},
        {"info@*", "info@*"},
        {"mx1", "mx1"},
        {"xn--0.org", "xn--0.org"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        DEFER(xfree) char *people = name_for_people(rows[i].name);
        assert_string_equal(people, rows[i].people);
    }
}

static void split(void **state)
{
    const char *domain = NULL;
    size_t local_len = 0;

    (void)state;
    assert_true(address_split("info@example.org", &local_len, &domain));
    assert_int_equal(local_len, 4);
    assert_string_equal(domain, "example.org");
    assert_false(address_split("info", &local_len, &domain));
    assert_false(address_split("a@b@c", &local_len, &domain));
}

/* A megabyte of anything is answered at once, and short. */
static void endless(void **state)
{
    enum { SIZE = 1 << 20 };
    DEFER(xfree) char *text = xmalloc(SIZE + 1);

    (void)state;
    for (int c = 0; c < 3; c++) {
        memset(text, "a.@"[c], SIZE);
        text[SIZE] = '\0';
        for (int type = NAME; type <= CURVE_KEY; type++) {
            DEFER(xfree) char *normal = NULL;
            if (type == MAIL__FIELD_TYPE__YES_NO || type == MAIL__FIELD_TYPE__SIZE || type == MAIL__FIELD_TYPE__SPAN ||
                type == MAIL__FIELD_TYPE__WORD || type == MAIL__FIELD_TYPE__NUMBER)
                continue;
            DEFER(error_free) Error *err = text_normalise((Mail__FieldType)type, text, &normal);
            assert_non_null(err);
            assert_true(strlen(err->what) < 200);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_form),         cmocka_unit_test(a_labels_without_meaning),
        cmocka_unit_test(names_of_objects), cmocka_unit_test(hints),
        cmocka_unit_test(for_people),       cmocka_unit_test(split),
        cmocka_unit_test(endless),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
