/* With the real checkers, where they are installed. */
#include "engine/check.h"

#include "engine/tree.h"
#include "expect.h"

#include <string.h>

static const struct {
    const char *name;
    const char *main_cf, *master_cf, *dovecot; /* NULL: that daemon is not checked */
    const char *error;
    unsigned refused;
} cases[] = {
    {"good", "compatibility_level = 3.6\n", "smtp inet n - n - - smtpd\n", "protocols = imap\n", NULL, 0},
    {"unused", "no_such_thing = 1\n", "", NULL,
     "postfix: postconf: warning: postfix/main.cf: unused parameter: no_such_thing=1", 1U << DAEMON_POSTFIX},
    {"twice", "mail_name = a\nmail_name = b\n", "", NULL, "overriding earlier entry: mail_name=a",
     1U << DAEMON_POSTFIX},
    {"fields", "", "smtp inet n -\n", NULL, "postfix: postconf: fatal: file postfix/master.cf: line 1: bad field count",
     1U << DAEMON_POSTFIX},
    {"unknown", NULL, NULL, "no_such_setting = 1\n",
     "dovecot: doveconf: Fatal: Error in configuration file dovecot/dovecot.conf line 1: Unknown setting: no_such_setting",
     1U << DAEMON_DOVECOT},
    {"open", NULL, NULL, "service imap {\n", "dovecot/dovecot.conf", 1U << DAEMON_DOVECOT},
    {"escapes", NULL, NULL, "\x1b]52;c = 1\n", "Unknown setting: ?]52;c", 1U << DAEMON_DOVECOT},
    {"both", "no_such_thing = 1\n", "", "no_such_setting = 1\n", "dovecot: doveconf: Fatal",
     1U << DAEMON_POSTFIX | 1U << DAEMON_DOVECOT},
};

static unsigned write_case(size_t i, const char *folder)
{
    DEFER(fileset_free) FileSet *files = fileset_new();
    unsigned which = 0;

    if (cases[i].main_cf) {
        which |= 1U << DAEMON_POSTFIX;
        buf_append_text(fileset_add(files, "postfix/main.cf", "postfix"), cases[i].main_cf);
        buf_append_text(fileset_add(files, "postfix/master.cf", "postfix"), cases[i].master_cf);
    }
    if (cases[i].dovecot) {
        which |= 1U << DAEMON_DOVECOT;
        buf_append_text(fileset_add(files, "dovecot/dovecot.conf", NULL), cases[i].dovecot);
    }
    ok(tree_write(folder, files, &(TreeWay){0}));
    return which;
}

static void wait_for(Checking *checking)
{
    while (!checking_run(checking, clock_ms())) {
        Waiter wake = waiter_start();
        checking_wait(checking, &wake);
        waiter_block(&wake);
    }
}

static void test_cases(void **state)
{
    (void)state;
    if (access("/usr/sbin/postconf", X_OK) != 0 || access("/usr/bin/doveconf", X_OK) != 0)
        skip();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        DEFER(checking_free) Checking *checking = NULL;
        NodeState node = {.root = "/nonexistent", .node = "mx1"};
        char folder[] = "/tmp/check-XXXXXX";
        assert_non_null(mkdtemp(folder));
        assert_int_equal(rmdir(folder), 0);
        unsigned which = write_case(i, folder);
        print_message("%s\n", cases[i].name);
        ok(checking_start(&node, folder, which, &checking));
        wait_for(checking);
        Error *err = checking_error(checking);
        assert_int_equal(checking_refused(checking), cases[i].refused);
        if (cases[i].error)
            fails(err, ERROR_REFUSED, cases[i].error);
        else
            ok(err);
        tree_remove(folder);
    }
}

/* Nobody is asked: it is over at once, and says so to whoever would sleep. */
static void test_nobody(void **state)
{
    DEFER(checking_free) Checking *checking = NULL;
    NodeState node = {.root = "/nonexistent", .node = "mx1"};

    (void)state;
    ok(checking_start(&node, "/nonexistent", 1U << DAEMON_REDIS | 1U << DAEMON_CLAMD, &checking));
    Waiter wake = waiter_start();
    checking_wait(checking, &wake);
    assert_true(wake.at <= clock_ms());
    waiter_at(&wake, 0);
    waiter_block(&wake);
    assert_true(checking_run(checking, clock_ms()));
    ok(checking_error(checking));
}

/* Asked twice of the same texts within the minute: once is enough.  Other texts, another daemon, later: asked. */
static void test_passed(void **state)
{
    enum { POSTFIX = 1U << DAEMON_POSTFIX, DOVECOT = 1U << DAEMON_DOVECOT };
    DEFER(fileset_free) FileSet *files = fileset_new();
    DEFER(fileset_free) FileSet *other = fileset_new();
    Passed passed = {0};

    (void)state;
    buf_append_text(fileset_add(files, "postfix/main.cf", "postfix"), "mail_name = a\n");
    buf_append_text(fileset_add(files, "dovecot/dovecot.conf", NULL), "protocols = imap\n");
    buf_append_text(fileset_add(other, "postfix/main.cf", "postfix"), "mail_name = b\n");
    assert_int_equal(passed_not(&passed, files, POSTFIX | DOVECOT, 1000), POSTFIX | DOVECOT);
    passed_note(&passed, files, POSTFIX, 1000);
    assert_int_equal(passed_not(&passed, files, POSTFIX | DOVECOT, 2000), DOVECOT);
    assert_int_equal(passed_not(&passed, other, POSTFIX, 2000), POSTFIX);
    assert_int_equal(passed_not(&passed, files, POSTFIX, 2000), 0);
    assert_int_equal(passed_not(&passed, files, POSTFIX, 61000), POSTFIX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_cases), cmocka_unit_test(test_nobody),
                                       cmocka_unit_test(test_passed)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
