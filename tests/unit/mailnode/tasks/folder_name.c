#include "tasks/folder_name.h"

#include "expect.h"

static const struct {
    const char *mailbox, *on_disk, *shown; /* NULL: not of this mailbox */
} cases[] = {
    {"user:alice", "", "INBOX"},
    {"user:alice", ".Projects", "Projects"},
    {"user:alice", ".Projects.Two", "Projects/Two"},
    {"user:alice", ".R&-D.&AOQ-", "R&D/\xc3\xa4"},
    {"user:alice", ".INBOX.x", "INBOX/x"},
    {"user:alice", ".100%.*", "100%/*"},
    {"user:alice", ".a&b", "a&b"},                 /* no modified UTF-7 */
    {"user:alice", ".\xc3\xa4", "\xc3\xa4"},       /* UTF-8, which Dovecot would have encoded */
    {"user:alice", ".a\xff.b", "a\\xff/b"},        /* nobody's */
    {"user:alice", ".\xe2\x82.b", "\\xe2\\x82/b"}, /* half a character */
    {"user:alice", ".a\nb", "a\nb"},
    {"user:alice", ".a..b", "a//b"},
    {"public:Sales", ".Sales", "INBOX"},
    {"public:Sales", ".Sales.Leads", "Leads"},
    {"public:Sales", ".Sales2", NULL},
    {"public:Sales", "", NULL},
    {"public:Sales/\xc3\xa4", ".Sales.&AOQ-", "INBOX"},
    {"public:Sales/\xc3\xa4", ".Sales.&AOQ-.x", "x"},
    {"public:Sales/\xc3\xa4", ".Sales", NULL},
};

static void each_name(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        DEFER(mailbox_done) Mailbox mailbox = {0};
        ok(mailbox_read(cases[i].mailbox, &mailbox));
        DEFER(xfree) char *name = folder_shown(&mailbox, cases[i].on_disk);
        const char *wanted = cases[i].shown;
        if (!name != !wanted || (name && strcmp(name, wanted) != 0))
            fail_msg("%s %s: '%s'", cases[i].mailbox, cases[i].on_disk, name ? name : "(none)");
    }
}

static void each_mailbox(void **state)
{
    DEFER(mailbox_done) Mailbox user = {0};
    DEFER(mailbox_done) Mailbox public = {0};
    Mailbox none = {0};

    (void)state;
    ok(mailbox_read("user:Alice", &user));
    assert_int_equal(user.kind, MAILBOX_USER);
    assert_string_equal(mailbox_entry_name(&user), "alice");
    ok(mailbox_read("public:Sales/EU", &public));
    assert_string_equal(mailbox_entry_name(&public), ".Sales.EU");
    fails(mailbox_read("alice", &none), ERROR_INVALID, "mailbox 'alice' is none");
    fails(mailbox_read("user:", &none), ERROR_INVALID, "names nobody");
    fails(mailbox_read("user:../bob", &none), ERROR_INVALID, "mailbox 'user:../bob'");
    fails(mailbox_read("user:..", &none), ERROR_INVALID, "no name of a user");
    fails(mailbox_read("public:a.b", &none), ERROR_INVALID, "mailbox 'public:a.b'");
    fails(mailbox_read("group:x", &none), ERROR_INVALID, "is none");
}

/* F-065 */
static void filters(void **state)
{
    (void)state;
    assert_true(folder_matches("Projects/Two", "TS/t"));
    assert_true(folder_matches("\xc3\x84rger", "\xc3\xa4RG")); /* Ä, ä */
    assert_true(folder_matches("a\xcc\x88", "\xc3\xa4"));      /* composed or not */
    assert_true(folder_matches("100%*", "%*"));                /* no patterns */
    assert_true(folder_matches("x", ""));
    assert_false(folder_matches("Projects", "projectz"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(each_name), cmocka_unit_test(each_mailbox),
                                       cmocka_unit_test(filters)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
