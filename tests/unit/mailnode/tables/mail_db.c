#include "scene.h"

/* ---- gate, instance, directory ---- */

static void gate(void **state)
{
    (void)state;
    is("alice@example.org", "451 4.3.0 "); /* nothing was ever committed */
    begin();
    ok(tables_touch_all(tables));
    commit();
    is("alice@example.org", "451 4.3.0 "); /* no accounts yet */
    says(QUERY_LOGIN, "alice", "451 4.3.0 mail tables are not complete yet");
    directory(people, groups);
    is("alice@example.org", "alice@u.internal");
    is("who@example.org", "550 5.1.1 ");
    says("SELECT target FROM expand WHERE key='%s'", CANARY_KEY, CANARY_TARGET);

    state_domain(&stated, "example.org", true, false, "user:eve");
    begin();
    touch(MAIL__OBJECT__BODY_DOMAIN, "example.org");
    ok(tables_directory_away(tables, true));
    commit();
    is("alice@example.org", "alice@u.internal"); /* F-028 */
    is("who@example.org", "451 4.3.0 ");
    is("who@example.com", "554 relay");
    nothing_to_mend();
    begin();
    ok(tables_directory_away(tables, false));
    commit();
    is("who@example.org", "eve@u.internal");
}

static void instance_comes_and_goes(void **state)
{
    (void)state;
    state_address(&stated, "info@example.org", "user:alice", false);
    state_mailbox(&stated, "bob", true, "x@far.example.com", false);
    all();
    is("info@example.org", "alice@u.internal");
    stated.instance = NULL;
    begin();
    commit(); /* nothing was touched: the instance says it */
    is("info@example.org", "451 4.3.0 ");
    assert_int_equal(number("SELECT count(*) FROM domain WHERE class<>'!'"), 0);
    assert_int_equal(
        number("SELECT (SELECT count(*) FROM rcpt) + (SELECT count(*) FROM userdb) + (SELECT count(*) FROM "
               "login) + (SELECT count(*) FROM standing) + (SELECT count(*) FROM edge)"),
        0);
    assert_int_equal(number("SELECT count(*) FROM expand"), 1);
    nothing_to_mend();
    directory("alice carol", "");
    stated.instance = "main";
    begin();
    commit();
    is("info@example.org", "alice@u.internal");
    is("bob@example.org", "450 ");
    nothing_to_mend();
}

static void dormant_has_no_row(void **state)
{
    (void)state;
    state_address(&stated, "info@example.org", "user:alice", false);
    all();
    Mail__Address *address =
        stated.objects[stated_find(&stated, MAIL__OBJECT__BODY_ADDRESS, "info@example.org")]->address;
    address->has_dormant = address->dormant = true;
    stated_remove(&stated, MAIL__OBJECT__BODY_DOMAIN, "example.org");
    begin();
    touch(MAIL__OBJECT__BODY_ADDRESS, "info@example.org");
    touch(MAIL__OBJECT__BODY_DOMAIN, "example.org");
    commit();
    is("info@example.org", "554 relay");
    says(QUERY_ALIAS, "info@example.org", NULL);
    assert_int_equal(number("SELECT count(*) FROM edge"), 0);
    nothing_to_mend();
}

/* ---- cost ---- */

static void cost_follows_the_change(void **state)
{
    (void)state;
    for (int i = 0; i < 200; i++) {
        DEFER(xfree) char *domain = xasprintf("d%d.example.org", i);
        state_domain(&stated, domain, true, false, NULL);
    }
    all();
    int64_t rows = number("SELECT count(*) FROM rcpt");
    state_address(&stated, "info@example.org", "user:alice", false);
    changed(MAIL__OBJECT__BODY_ADDRESS, "info@example.org");
    assert_int_equal(tables_rows(tables), 2); /* its row, and on whom it depends */
    state_domain(&stated, "d7.example.org", false, true, NULL);
    changed(MAIL__OBJECT__BODY_DOMAIN, "d7.example.org");
    assert_int_equal(tables_rows(tables), 1); /* a switch */
    assert_int_equal(number("SELECT count(*) FROM rcpt"), rows + 1);
    state_mailbox(&stated, "alice", true, NULL, true)->has_quota = true;
    changed(MAIL__OBJECT__BODY_MAILBOX, "alice");
    assert_int_equal(tables_rows(tables), 1);
    directory("alice bob carol dave eve frank", groups);
    assert_int_equal(tables_rows(tables), 4); /* standing, userdb, two classes */
    changed(MAIL__OBJECT__BODY_INSTANCE, "main");
    assert_int_equal(tables_rows(tables), 0);
    begin();
    ok(tables_touch_all(tables));
    commit();
    assert_int_equal(tables_rows(tables), 0);
    nothing_to_mend();
}

/* ---- the audit ---- */

static void audit_mends(void **state)
{
    static const char *const spoils[] = {
        "UPDATE rcpt SET dest='mallory@u.internal' WHERE local='info'",
        "DELETE FROM rcpt WHERE local='info'",
        "INSERT INTO rcpt VALUES('evil', 'example.org', 'OK', 'mallory@u.internal', NULL)",
        "INSERT INTO rcpt VALUES('evil', '-u', 'OK', 'mallory@u.internal', NULL)",
        "INSERT INTO rcpt VALUES('alice', '-', 'OK', 'mallory@u.internal', NULL)",
        "UPDATE rcpt SET scope='example.net' WHERE local='info'", /* one lost, one more */
        "INSERT INTO domain VALUES('evil.example.org', '-ug', 'OK', NULL)",
        "DELETE FROM domain WHERE class='!'",
        "UPDATE domain SET class='-' WHERE name='example.org'",
        "INSERT INTO expand VALUES('u=carol', 'mallory@u.internal')",
        "INSERT INTO expand VALUES('u=dave==0.0', 'mallory@u.internal')",
        "INSERT INTO expand VALUES('zzz', 'mallory@u.internal')",
        "DELETE FROM expand",
        "INSERT INTO login VALUES('mallory', 'DUNNO')",
        "INSERT INTO login VALUES('alice', 'DUNNO')",
        "UPDATE userdb SET login=1, quota=7",
        "INSERT INTO userdb VALUES('mallory', 'x', 1, NULL, NULL, NULL)",
        "UPDATE gate SET known='451 no'",
        "DELETE FROM gate",
        "DELETE FROM policy",
        "UPDATE policy SET senders='groups'",
        "DELETE FROM edge",
        "INSERT INTO edge VALUES('u:mallory', 'l:x'), ('a:x@example.org', 'l:x'), ('a:x@*', 'l:x'), ('zzz', 'l:x')",
        "INSERT INTO edge VALUES('a:', ''), ('a:@*', ''), ('a:@', ''), ('', ''), ('d:x', 'u:alice')",
        "INSERT INTO standing VALUES('u:mallory', 'open'), ('g:mallory', 'open'), ('zzz', 'open')",
        "INSERT INTO standing VALUES('u:mallory', 'open')",
        "INSERT INTO standing VALUES('g:ghosts', 'open')",
        "UPDATE standing SET facts='closed'",
        "DELETE FROM standing",
        "DELETE FROM rcpt; DELETE FROM domain; DELETE FROM expand; DELETE FROM userdb; DELETE FROM standing",
    };

    (void)state;
    people = "alice bob !carol dave eve";
    groups = "sales=alice,bob,mallory";
    state_address(&stated, "info@example.org", "user:alice,user:mallory", false);
    state_address(&stated, "wild@*", "group:sales", false);
    state_address(&stated, "mallory@example.org", "user:mallory", false);
    state_address(&stated, "ghosts@example.org", "group:ghosts", false);
    state_mailbox(&stated, "dave", true, "info@example.org,x@far.example.com", true);
    all();
    nothing_to_mend();
    for (size_t i = 0; i < sizeof spoils / sizeof *spoils; i++) {
        DEFER(xfree) char *example = NULL;
        uint64_t at;
        Digest digest;
        size_t n = 0;
        ok(sql_exec(tables->db, spoils[i]));
        ok(tables_audit(tables, &view, &n, &example));
        if (!n || !example || !strstr(example, "table "))
            fail_msg("%s: not found", spoils[i]);
        ok(tables_applied(tables, &at, &digest));
        assert_int_equal(at, revision);
        size_t again = 0;
        DEFER(xfree) char *more = NULL;
        ok(tables_audit(tables, &view, &again, &more));
        if (again)
            fail_msg("%s: not mended at once: %s", spoils[i], more);
        is("info@example.org", "alice@u.internal");
        is("mallory@example.org", "550 5.1.1 ");
        is("ghosts@example.org", "550 5.1.1 ");
        is("wild@example.org", "alice@u.internal bob@u.internal");
        is("dave@example.org", "alice@u.internal dave@u.internal x@far.example.com");
    }
}

/* ---- transactions ---- */

static void aborted_is_as_before(void **state)
{
    (void)state;
    all();
    state_address(&stated, "info@example.org", "user:alice", false);
    people = "alice";
    begin();
    touch(MAIL__OBJECT__BODY_ADDRESS, "info@example.org");
    give_people();
    tables_abort(tables);
    is("info@example.org", "550 5.1.1 ");
    is("bob@example.org", "bob@u.internal");
    tables_abort(tables);
    begin();
    begin(); /* the one before was forgotten */
    commit();
    assert_int_equal(tables_rows(tables), 0);
    is("bob@example.org", "bob@u.internal");
}

static void full_disk(void **state)
{
    uint64_t at;
    Digest digest;

    (void)state;
    all();
    int64_t pages = number("PRAGMA page_count");
    DEFER(xfree) char *limit = xasprintf("PRAGMA max_page_count=%lld", (long long)pages);
    ok(sql_exec(tables->db, limit));
    for (int i = 0; i < 500; i++) {
        DEFER(xfree) char *name = xasprintf("some.longer.name%d@example.org", i);
        state_address(&stated, name, "user:alice", false);
    }
    for (int round = 0; round < 2; round++) {
        begin();
        ok(tables_touch_all(tables));
        view = fake_view(&stated);
        fails(tables_commit(tables, &view, revision + 1, &(Digest){{9}}), ERROR_SYSTEM, "full");
        tables_abort(tables);
        ok(tables_applied(tables, &at, &digest));
        assert_int_equal(at, revision);
        is("alice@example.org", "alice@u.internal");
        is("some.longer.name1@example.org", "550 5.1.1 ");
    }
    ok(sql_exec(tables->db, "PRAGMA max_page_count=1000000"));
    begin();
    ok(tables_touch_all(tables));
    commit();
    is("some.longer.name499@example.org", "alice@u.internal");
    nothing_to_mend();
}

static Error *no_view(void *self, const ObjectRef *ref, Object **ret_object)
{
    (void)self, (void)ref, (void)ret_object;
    return error_new(ERROR_DAMAGED, "node.db: no");
}

static void view_that_fails(void **state)
{
    (void)state;
    all();
    begin();
    ok(tables_touch_all(tables));
    view = fake_view(&stated);
    view.objects.get = no_view;
    fails(tables_commit(tables, &view, revision + 1, &(Digest){{9}}), ERROR_DAMAGED, "node.db: no");
    tables_abort(tables);
    nothing_to_mend();
}

static void readers_go_on_meanwhile(void **state)
{
    DEFER(xfree) char *path = xasprintf("%s/mail.db", folder.text);
    sqlite3 *reader = NULL;

    (void)state;
    all();
    ok(file_open_reader(path, &reader));
    state_address(&stated, "info@example.org", "user:alice", false);
    begin();
    touch(MAIL__OBJECT__BODY_ADDRESS, "info@example.org");
    DEFER(xfree) char *before = ask(reader, QUERY_ALIAS, "info@example.org");
    assert_null(before);
    commit();
    DEFER(xfree) char *after = ask(reader, QUERY_ALIAS, "info@example.org");
    assert_string_equal(after, "alice@u.internal");
    sqlite3_close(reader);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(gate),
        TEST(instance_comes_and_goes),
        TEST(dormant_has_no_row),
        TEST(cost_follows_the_change),
        TEST(audit_mends),
        TEST(aborted_is_as_before),
        TEST(full_disk),
        TEST(view_that_fails),
        TEST(readers_go_on_meanwhile),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
