#include "scene.h"

#include <time.h>

/* ---- people ---- */

static void names_as_they_come(void **state)
{
    (void)state;
    people = "Alice a+b a o'neil .dot";
    groups = "";
    state_mailbox(&stated, "a", true, "a@far.example.com", false);
    state_address(&stated, "dot@example.org", "user:.dot,user:a+b", false);
    all();
    is("alice@example.org", "alice@u.internal");
    is("a+b@example.org", "a+b@u.internal"); /* F-046: the whole name first */
    is("a+c@example.org", "a@far.example.com");
    is("o'neil+x@example.org", "o'neil@u.internal");
    is(".dot@example.org", "550 5.1.1 "); /* F-085: no address */
    is("dot@example.org", "\".dot\"@u.internal a+b@u.internal");
    nothing_to_mend();
}

static void spoil_time(int64_t ago)
{
    DEFER(xfree) char *sql = xasprintf("UPDATE gone SET at=%lld", (long long)time(NULL) - (long long)ago);

    ok(sql_exec(tables->db, sql));
    tables_free(&tables); /* the first to expire is remembered */
    bool rebuilt;
    ok(tables_open(folder.text, (gid_t)-1, &tables, &rebuilt));
}

static void who_leaves_is_put_off_first(void **state)
{
    (void)state;
    state_domain(&stated, "example.org", true, true, "user:eve");
    state_address(&stated, "info@example.org", "user:bob", false);
    state_address(&stated, "both@example.org", "user:alice,user:bob", false);
    all();
    is("bob@example.org", "bob@u.internal");
    directory("alice carol dave eve", "");
    is("bob@example.org", "450 "); /* not the catch-all */
    is("info@example.org", "450 ");
    is("both@example.org", "alice@u.internal"); /* F-073 */
    is("sales@example.org", "450 ");
    assert_int_equal(number("SELECT count(*) FROM userdb WHERE name='bob'"), 0);
    assert_false(tables_due(tables));
    nothing_to_mend();

    spoil_time(GONE_S - 5);
    assert_false(tables_due(tables));
    spoil_time(GONE_S + 1);
    assert_true(tables_due(tables));
    begin();
    commit(); /* any commit */
    assert_false(tables_due(tables));
    is("bob@example.org", "eve@u.internal");
    is("info@example.org", "550 5.1.1 ");
    is("sales@example.org", "eve@u.internal");
    nothing_to_mend();

    directory("alice carol dave eve bob", "");
    is("info@example.org", "bob@u.internal");
    directory("alice carol dave eve", "");
    spoil_time(-2 * GONE_S); /* the clock was set back since */
    assert_true(tables_due(tables));
    nothing_to_mend(); /* an audit does it, and counts it as nothing to mend */
    is("info@example.org", "550 5.1.1 ");
    assert_false(tables_due(tables));
}

static void two_of_one_name(void **state)
{
    (void)state;
    state_address(&stated, "info@example.org", "user:alice", false);
    all();
    begin();
    ok(tables_account_user(tables, &(AccountUser){.uuid = "other", .name = "ALICE", .enabled = true}));
    commit();
    is("alice@example.org", "450 ");
    is("info@example.org", "450 ");
    says(QUERY_LOGIN, "alice", "554 5.7.1 this login is closed");
    assert_int_equal(number("SELECT login FROM userdb WHERE name='alice'"), 0);
    nothing_to_mend();
    begin();
    ok(tables_account_user_gone(tables, "other"));
    commit();
    is("info@example.org", "alice@u.internal");
    assert_int_equal(number("SELECT count(*) FROM gone"), 0); /* the other one is still there */
    nothing_to_mend();
}

static void renamed(void **state)
{
    (void)state;
    all();
    begin();
    ok(tables_account_user(tables, &(AccountUser){.uuid = "uuid-bob", .name = "robert", .enabled = true}));
    commit();
    is("robert@example.org", "robert@u.internal");
    is("bob@example.org", "450 ");
    begin();
    ok(tables_account_user(tables, &(AccountUser){.uuid = "uuid-bob", .name = "bob", .enabled = true}));
    commit();
    is("bob@example.org", "bob@u.internal");
    nothing_to_mend();
}

static void groups_of_users(void **state)
{
    (void)state;
    groups = "inner=bob outer=g:inner,alice loop=g:loop,carol";
    all();
    says("SELECT acl_groups FROM userdb WHERE name='%s'", "bob", "inner,outer");
    says("SELECT acl_groups FROM userdb WHERE name='%s'", "carol", "loop");
    says("SELECT acl_groups FROM userdb WHERE name='%s'", "dave", NULL);
    directory(people, "inner=bob outer=alice loop=g:loop,carol");
    says("SELECT acl_groups FROM userdb WHERE name='%s'", "bob", "inner");
    nothing_to_mend();
    directory(people, "inner=bob outer=alice loop=g:loop,g:inner top=g:loop");
    says("SELECT acl_groups FROM userdb WHERE name='%s'", "bob", "inner,loop,top");
    says("SELECT acl_groups FROM userdb WHERE name='%s'", "carol", NULL);
    size_t n;
    tables_changed_users(tables, &n);
    assert_int_equal(n, 2);
    nothing_to_mend();
}

/* ---- logins ---- */

static void what_dovecot_reads(void **state)
{
    (void)state;
    people = "alice !bob carol";
    state_policy(&stated, MAIL__SENDER_LOGIN_MATCH__OFF, NULL)->default_quota = 1000;
    stated.objects[stated.n - 1]->policy->has_default_quota = true;
    Mail__Mailbox *mailbox = state_mailbox(&stated, "alice", true, NULL, true);
    mailbox->has_quota = mailbox->has_spam_retention = true;
    mailbox->quota = 1000; /* F-049: equal to the default, and its own */
    mailbox->spam_retention = 86400;
    state_mailbox(&stated, "carol", false, NULL, true);
    all();
#define USERDB                                                                                                         \
    QUERY_USERDB_FIELDS QUERY_USERDB_HOME_BEGIN                                                                        \
        "/mail" QUERY_USERDB_HOME_END QUERY_USERDB_PLAIN QUERY_USERDB_FROM QUERY_USERDB_PUBLIC_BEGIN                   \
        "/public" QUERY_USERDB_PUBLIC_END QUERY_USERDB_END
    static const char row[] = "SELECT user||' '||quota_rule||' '||coalesce(acl_groups,'-') FROM (" USERDB ")";
    says(row, "alice", "alice *:bytes=1000 sales");
    says(row, "bob", "bob *:bytes=1000 sales");
    says(row, "nobody", NULL);
    says(QUERY_USERDB_ITERATE, "", "alice,bob,carol");
    says("SELECT group_concat(name||login) FROM userdb WHERE '%s'=''", "", "alice1,bob0,carol0");
    is("bob@example.org", "bob@u.internal"); /* disabled there: only the login */
    is("carol@example.org", "550 5.2.1 ");

    Mail__Policy *policy = state_policy(&stated, MAIL__SENDER_LOGIN_MATCH__OFF, NULL);
    policy->has_default_quota = true;
    policy->default_quota = 2000;
    changed(MAIL__OBJECT__BODY_POLICY, "");
    assert_int_equal(tables_rows(tables), 1);
    says(row, "alice", "alice *:bytes=1000 sales");
    says(row, "bob", "bob *:bytes=2000 sales");
    size_t n;
    tables_changed_users(tables, &n);
    assert_int_equal(n, 3); /* everybody's cached answers are old */
    nothing_to_mend();
}

static void who_may_send(void **state)
{
    static const char match[] = "reject_authenticated_sender_login_mismatch",
                      closed[] = "554 5.7.1 this login is closed";

    (void)state;
    people = "alice bob carol eve a_b";
    groups = "sales=bob,g:more more=carol";
    state_domain(&stated, "example.org", true, true, NULL);
    state_domain(&stated, "example.net", false, false, NULL);
    state_address(&stated, "info@*", "user:alice,group:sales,x@far.example.com", false);
    state_mailbox(&stated, "eve", false, NULL, true);
    all();
    says(QUERY_LOGIN, "alice", NULL);
    says(QUERY_LOGIN, "eve", closed);
    says(QUERY_LOGIN, "who", "554 5.7.1 this login is no user any more");

    state_policy(&stated, MAIL__SENDER_LOGIN_MATCH__ON, "Bob,nobody");
    changed(MAIL__OBJECT__BODY_POLICY, "");
    says(QUERY_LOGIN, "alice", match);
    says(QUERY_LOGIN, "bob", "DUNNO");
    says(QUERY_LOGIN, "eve", closed);
    says(QUERY_LOGIN, "nobody", "554 5.7.1 this login is no user any more");
    says(QUERY_SENDERS, "info@example.net", "alice");
    says(QUERY_SENDERS, "alice@example.org", "alice");
    says(QUERY_SENDERS, "alice@example.net", NULL); /* F-150: not any domain */
    says(QUERY_SENDERS, "sales@example.org", NULL);
    says(QUERY_SENDERS, "alice@far.example.com", NULL);
    nothing_to_mend();

    state_policy(&stated, MAIL__SENDER_LOGIN_MATCH__INCLUDE_GROUPS, NULL);
    changed(MAIL__OBJECT__BODY_POLICY, "");
    says(QUERY_LOGIN, "bob", match);
    says(QUERY_SENDERS, "info@example.net", "alice,bob,carol");
    says(QUERY_SENDERS, "sales@example.org", "bob,carol");
    directory(people, "sales=g:more more=carol,a_b,a~b");
    says(QUERY_SENDERS, "info@example.net", "a_b,alice,carol"); /* "a b" would be read as two */
    nothing_to_mend();
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(names_as_they_come), TEST(who_leaves_is_put_off_first), TEST(two_of_one_name), TEST(renamed),
        TEST(groups_of_users),    TEST(what_dovecot_reads),          TEST(who_may_send),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
