#include "scene.h"

#include "tables/ask.h"

static void state_client(const char *network)
{
    stated_put(&stated, MAIL__OBJECT__BODY_RELAY_CLIENT, network);
}

/* Postfix asks with addresses as getnameinfo(3) writes them, and with host names. */
static void between_the_bounds(void **state)
{
    (void)state;
    state_client("10.1.2.0/23");
    state_client("192.0.2.7");
    state_client("2001:db8:b:c::/62");
    state_client("2001:db8:a::9");
    all();
    static const char *const inside[] = {
        "10.1.2.0", "10.1.3.255", "192.0.2.7", "2001:db8:b:c::", "2001:db8:b:f:ffff:ffff:ffff:ffff", "2001:db8:a::9"};
    static const char *const outside[] = {
        "10.1.1.255", "10.1.4.0",    "10.1.2",          "192.0.2.70",      "::",
        "::1",        "1::",         "2001:db8:a::9:1", "2001:db8:b:10::", "2001:db8:b:b:ffff::",
        "unknown",    "x.10.1.2.3",  ".10.1.2.3",       "10.1.2.3.4",      "",
        "a01.203",    "2001:db8:b:c"};
    for (size_t i = 0; i < sizeof inside / sizeof *inside; i++)
        says(QUERY_CLIENTS, inside[i], "OK");
    for (size_t i = 0; i < sizeof outside / sizeof *outside; i++)
        says(QUERY_CLIENTS, outside[i], NULL);
    stated_remove(&stated, MAIL__OBJECT__BODY_RELAY_CLIENT, "192.0.2.7");
    changed(MAIL__OBJECT__BODY_RELAY_CLIENT, "192.0.2.7");
    says(QUERY_CLIENTS, "192.0.2.7", NULL);
    nothing_to_mend();
    ok(sql_exec(tables->db, "INSERT INTO relay_client VALUES('x', '4', '5')"));
    DEFER(xfree) char *example = NULL;
    size_t n = 0;
    ok(tables_audit(tables, &view, &n, &example));
    assert_int_equal(n, 1);
}

/* ---- full mailboxes ---- */

static void with_quota(Mail__Mailbox *mailbox, uint64_t quota)
{
    mailbox->has_quota = true;
    mailbox->quota = quota;
}

static bool differs(const char *name, uint64_t bytes)
{
    bool is = false;

    ok(tables_full_differs(tables, name, bytes, &is));
    return is;
}

static void full_is_said_where_nobody_has_room(void **state)
{
    (void)state;
    state_domain(&stated, "example.org", true, true, "user:dave");
    state_address(&stated, "one@example.org", "user:bob", false);
    state_address(&stated, "two@example.org", "user:bob,user:carol", false);
    state_address(&stated, "shut@example.org", "user:bob,user:eve", false);
    state_mailbox(&stated, "eve", false, NULL, true);
    with_quota(state_mailbox(&stated, "alice", true, "alice@far.example.com", true), 1000);
    with_quota(state_mailbox(&stated, "bob", true, NULL, true), 1000);
    used = "bob:999 alice:5000 carol:5000";
    all();
    is("bob@example.org", "bob@u.internal");
    assert_false(differs("bob", 999));
    assert_true(differs("bob", 1000));
    assert_false(differs("alice", 6000)); /* forwards: there is room elsewhere */
    assert_false(differs("carol", 1 << 30));
    assert_false(differs("nobody", 1));

    used = "bob:1000 alice:5000 carol:5000";
    begin();
    ok(tables_touch_user(tables, "bob"));
    commit();
    is("bob@example.org", "over_quota");
    is("bob+tag@example.org", "over_quota");
    is("one@example.org", "over_quota");
    is("shut@example.org", "over_quota");
    is("two@example.org", "bob@u.internal carol@u.internal"); /* one has room, the other copy waits */
    is("sales@example.org", "alice@far.example.com alice@u.internal bob@u.internal");
    is("alice@example.org", "alice@far.example.com alice@u.internal");
    nothing_to_mend();

    Mail__Policy *policy = state_policy(&stated, MAIL__SENDER_LOGIN_MATCH__OFF, NULL);
    policy->has_default_quota = true;
    policy->default_quota = 4000; /* carol's, who has no own one */
    changed(MAIL__OBJECT__BODY_POLICY, "");
    is("carol@example.org", "over_quota");
    is("two@example.org", "over_quota");
    nothing_to_mend();
    used = "bob:10";
    begin();
    ok(tables_touch_user(tables, "bob"));
    ok(tables_touch_user(tables, "carol"));
    commit();
    is("two@example.org", "bob@u.internal carol@u.internal");
    nothing_to_mend();
}

/* ---- what people ask ---- */

static Error *note(void *context, const char *address)
{
    buf_printf(context, "%s ", address);
    return NULL;
}

static Error *note_two(void *context, const char *address, const char *missing)
{
    buf_printf(context, "%s->%s ", address, missing);
    return NULL;
}

static void senders_are(const char *name, const char *wanted)
{
    DEFER(buf_done) Buf got = {0};

    ok(tables_senders(tables, name, NULL, 0, note, &got));
    assert_string_equal(buf_text(&got), wanted);
}

static void senders_and_orphans(void **state)
{
    DEFER(buf_done) Buf orphans = {0};
    MaySend may = SEND_LISTED;

    (void)state;
    state_domain(&stated, "example.net", false, false, NULL);
    state_address(&stated, "info@*", "user:bob,user:gone", false);
    state_address(&stated, "info@example.net", "user:carol", false);
    state_address(&stated, "bob@example.net", "user:alice,group:nobody", false);
    all();
    senders_are("bob", "bob@example.org info@example.org ");
    senders_are("carol", "carol@example.org info@example.net ");
    senders_are("alice", "alice@example.org bob@example.net ");
    senders_are("ali", "");
    ok(tables_orphans(tables, NULL, NULL, 0, note_two, &orphans));
    assert_string_equal(buf_text(&orphans), "bob@example.net->group:nobody info@*->user:gone ");
    ok(tables_may_send(tables, "bob", &may));
    assert_int_equal(may, SEND_ANY);
    ok(tables_may_send(tables, "nobody", &may));
    assert_int_equal(may, SEND_NOBODY);
    state_mailbox(&stated, "bob", false, NULL, true);
    changed(MAIL__OBJECT__BODY_MAILBOX, "bob");
    ok(tables_may_send(tables, "bob", &may));
    assert_int_equal(may, SEND_CLOSED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(between_the_bounds, setup, teardown),
        cmocka_unit_test_setup_teardown(full_is_said_where_nobody_has_room, setup, teardown),
        cmocka_unit_test_setup_teardown(senders_and_orphans, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
