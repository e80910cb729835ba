#include "scene.h"

/* ---- F-079 ---- */

static const struct {
    const char *domain;
    bool users, groups, catch_all;
} domains[] = {
    {"d000.example.org", 0, 0, 0}, {"d001.example.org", 0, 0, 1}, {"d010.example.org", 0, 1, 0},
    {"d011.example.org", 0, 1, 1}, {"d100.example.org", 1, 0, 0}, {"d101.example.org", 1, 0, 1},
    {"d110.example.org", 1, 1, 0}, {"d111.example.org", 1, 1, 1},
};

enum { SPECIFIC = 1, WILDCARD = 2, GROUP = 4, USER = 8, N_BITS = 16, N_DOMAINS = sizeof domains / sizeof *domains };

static void one_definition(int bits, size_t i, const char *tag)
{
    DEFER(xfree) char *recipient = xasprintf("n%d%s@%s", bits, tag, domains[i].domain);
    DEFER(xfree) char *own = xasprintf("n%d@u.internal", bits);
    const char *wanted = bits & SPECIFIC                       ? "spec@u.internal"
                         : bits & WILDCARD                     ? "wild@u.internal"
                         : (bits & GROUP) && domains[i].groups ? "member@u.internal"
                         : (bits & USER) && domains[i].users   ? own
                         : domains[i].catch_all                ? "catch@u.internal"
                                                               : "550 5.1.1 ";
    is(recipient, wanted);
}

static void one_definition_applies(void **state)
{
    static char users[512] = "spec wild member catch", lists[512];

    (void)state;
    lists[0] = '\0';
    for (int bits = 0; bits < N_BITS; bits++) {
        DEFER(xfree) char *any = xasprintf("n%d@*", bits);
        if (bits & USER)
            sprintf(users + strlen(users), " n%d", bits);
        if (bits & GROUP)
            sprintf(lists + strlen(lists), "%sn%d=member", *lists ? " " : "", bits);
        if (bits & WILDCARD)
            state_address(&stated, any, "user:wild", false);
        for (size_t i = 0; (bits & SPECIFIC) && i < N_DOMAINS; i++) {
            DEFER(xfree) char *name = xasprintf("n%d@%s", bits, domains[i].domain);
            state_address(&stated, name, "user:spec", false);
        }
    }
    for (size_t i = 0; i < N_DOMAINS; i++)
        state_domain(&stated, domains[i].domain, domains[i].users, domains[i].groups,
                     domains[i].catch_all ? "user:catch" : NULL);
    people = users;
    groups = lists;
    all();
    for (int bits = 0; bits < N_BITS; bits++)
        for (size_t i = 0; i < N_DOMAINS; i++) {
            one_definition(bits, i, "");
            one_definition(bits, i, "+tag");
            one_definition(bits, i, "+a+b");
        }
    is("n15@elsewhere.example.net", "554 relay");
    is("n15@sub.d111.example.org", "554 relay");
    is("n15@u.internal", "554 relay");
    is("canary=@x.internal", "554 relay");
    is("n15@-ug", "554 relay"); /* a class is no domain */
    nothing_to_mend();
}

static void internal_flag_follows(void **state)
{
    (void)state;
    state_domain(&stated, "example.net", true, false, NULL);
    state_address(&stated, "boss@*", "user:alice", true);
    state_address(&stated, "boss@example.org", "user:bob", false);
    state_address(&stated, "staff@*", "user:alice", false);
    state_address(&stated, "staff@example.net", "user:bob", true);
    all();
    is("boss@example.org", "bob@u.internal");
    is("boss+x@example.org", "bob@u.internal");
    is("boss@example.net", "internal_only");
    is("boss+x@example.net", "internal_only");
    is("staff@example.org", "alice@u.internal");
    is("staff+t@example.net", "internal_only");
    state_address(&stated, "boss@*", "user:alice", false);
    changed(MAIL__OBJECT__BODY_ADDRESS, "boss@*");
    is("boss@example.net", "alice@u.internal");
    nothing_to_mend();
}

/* ---- destinations ---- */

static void where_mail_goes(void **state)
{
    (void)state;
    people = "alice bob carol dave eve sales";
    groups = "sales=alice,g:inner inner=bob,g:sales";
    state_domain(&stated, "example.org", true, true, "user:eve");
    state_address(&stated, "many@example.org", "user:alice,group:sales,out@far.example.com", false);
    state_address(&stated, "people@example.org", "group:sales", false);
    state_mailbox(&stated, "carol", true, "carol@far.example.com", false);
    state_mailbox(&stated, "dave", true, "alice@example.org", true);
    state_mailbox(&stated, "sales", true, "lost@far.example.com", false);
    all();
    is("many@example.org", "alice@u.internal bob@u.internal out@far.example.com");
    is("people@example.org", "alice@u.internal bob@u.internal");
    is("sales@example.org", "alice@u.internal bob@u.internal"); /* F-025 */
    is("inner@example.org", "alice@u.internal bob@u.internal");
    is("carol@example.org", "carol@far.example.com");
    is("dave@example.org", "alice@u.internal dave@u.internal");
    is("nobody+tag@example.org", "eve@u.internal");
    says(QUERY_ALIAS, "alice@example.org", "alice@u.internal");

    state_mailbox(&stated, "alice", false, "", true);
    changed(MAIL__OBJECT__BODY_MAILBOX, "alice");
    is("alice@example.org", "550 5.2.1 "); /* F-027: never the catch-all */
    is("alice+t@example.org", "550 5.2.1 ");
    is("people@example.org", "bob@u.internal");
    is("dave@example.org", "dave@u.internal");
    size_t n;
    const char *const *who = tables_changed_users(tables, &n);
    assert_int_equal(n, 1);
    assert_string_equal(who[0], "alice");
    nothing_to_mend();

    state_mailbox(&stated, "bob", false, "", true);
    changed(MAIL__OBJECT__BODY_MAILBOX, "bob");
    is("people@example.org", "550 5.2.1 ");
    is("many@example.org", "out@far.example.com"); /* the disabled ones are skipped */
    stated_remove(&stated, MAIL__OBJECT__BODY_MAILBOX, "alice");
    changed(MAIL__OBJECT__BODY_MAILBOX, "alice");
    is("people@example.org", "alice@u.internal");
    nothing_to_mend();
}

static void loops_end(void **state)
{
    static const struct {
        const char *alice, *bob, *carol; /* forwards; with '=' before them a copy is kept */
        const char *to_alice, *to_bob, *to_all;
    } cases[] = {
        {"bob", "alice", "", "alice@u.internal", "bob@u.internal", "alice@u.internal bob@u.internal carol@u.internal"},
        {"=bob", "=alice", "", "alice@u.internal bob@u.internal", "alice@u.internal bob@u.internal",
         "alice@u.internal bob@u.internal carol@u.internal"},
        {"bob", "=alice", "", "bob@u.internal", "bob@u.internal", "bob@u.internal carol@u.internal"},
        {"alice", "", "", "alice@u.internal", "bob@u.internal", "alice@u.internal bob@u.internal carol@u.internal"},
        {"bob", "carol", "alice", "alice@u.internal", "bob@u.internal",
         "alice@u.internal bob@u.internal carol@u.internal"},
        {"bob", "carol", "bob", "alice@u.internal", "bob@u.internal",
         "alice@u.internal bob@u.internal carol@u.internal"},
        {"bob", "carol", "", "carol@u.internal", "carol@u.internal", "carol@u.internal"},
        {"all", "", "", "bob@u.internal carol@u.internal", "bob@u.internal", "bob@u.internal carol@u.internal"},
        {"all", "all", "all", "alice@u.internal", "bob@u.internal", "alice@u.internal bob@u.internal carol@u.internal"},
        {"nobody", "", "", "alice@u.internal", "bob@u.internal", "alice@u.internal bob@u.internal carol@u.internal"},
    };

    (void)state;
    people = "alice bob carol";
    groups = "all=alice,bob,carol";
    state_domain(&stated, "example.org", true, true, NULL);
    all();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *names[] = {"alice", "bob", "carol"}, *to[] = {cases[i].alice, cases[i].bob, cases[i].carol};
        begin();
        for (int who = 0; who < 3; who++) {
            bool copy = to[who][0] == '=';
            DEFER(xfree) char *forward = *to[who] ? xasprintf("%s@example.org", to[who] + copy) : NULL;
            state_mailbox(&stated, names[who], true, forward, copy);
            touch(MAIL__OBJECT__BODY_MAILBOX, names[who]);
        }
        commit();
        is("alice@example.org", cases[i].to_alice);
        is("bob+x@example.org", cases[i].to_bob);
        is("all@example.org", cases[i].to_all);
        nothing_to_mend();
    }
}

static void forwards_follow_what_they_meet(void **state)
{
    (void)state;
    state_mailbox(&stated, "dave", true, "info+tag@example.org", false);
    all();
    is("dave@example.org", "dave@u.internal"); /* nobody there */
    state_address(&stated, "info@*", "user:alice", false);
    changed(MAIL__OBJECT__BODY_ADDRESS, "info@*");
    is("dave@example.org", "alice@u.internal");
    state_address(&stated, "info@example.org", "group:sales,x@far.example.com", false);
    changed(MAIL__OBJECT__BODY_ADDRESS, "info@example.org");
    is("dave@example.org", "alice@u.internal bob@u.internal x@far.example.com");
    state_address(&stated, "info+tag@example.org", "user:eve", false); /* the whole name first */
    changed(MAIL__OBJECT__BODY_ADDRESS, "info+tag@example.org");
    is("dave@example.org", "eve@u.internal");
    stated_remove(&stated, MAIL__OBJECT__BODY_ADDRESS, "info+tag@example.org");
    changed(MAIL__OBJECT__BODY_ADDRESS, "info+tag@example.org");
    state_mailbox(&stated, "eve", true, "zoe@example.org", false);
    changed(MAIL__OBJECT__BODY_MAILBOX, "eve");
    is("eve@example.org", "eve@u.internal");
    directory("alice bob carol dave eve zoe", "sales=alice,carol"); /* who was not there when it was looked */
    is("eve@example.org", "zoe@u.internal");
    directory("alice bob carol dave eve", "sales=alice,carol");
    is("eve@example.org", "eve@u.internal");
    is("dave@example.org", "alice@u.internal carol@u.internal x@far.example.com");
    state_mailbox(&stated, "carol", true, "y@far.example.com", false);
    changed(MAIL__OBJECT__BODY_MAILBOX, "carol");
    is("dave@example.org", "alice@u.internal x@far.example.com y@far.example.com");
    state_domain(&stated, "far.example.com", true, false, "user:bob"); /* it is ours now (F-075) */
    changed(MAIL__OBJECT__BODY_DOMAIN, "far.example.com");
    is("dave@example.org", "alice@u.internal bob@u.internal");
    is("carol@example.org", "bob@u.internal");
    is("info@example.org", "alice@u.internal bob@u.internal");
    nothing_to_mend();
    stated_remove(&stated, MAIL__OBJECT__BODY_DOMAIN, "far.example.com");
    changed(MAIL__OBJECT__BODY_DOMAIN, "far.example.com");
    is("carol@example.org", "y@far.example.com");
    nothing_to_mend();
}

static void addresses_in_a_circle(void **state)
{
    (void)state;
    state_address(&stated, "a@example.org", "b@example.org", false);
    state_address(&stated, "b@example.org", "a@example.org,user:alice", false);
    state_address(&stated, "c@example.org", "c@example.org", false);
    all();
    is("a@example.org", "alice@u.internal");
    is("b@example.org", "alice@u.internal");
    is("c@example.org", "550 5.1.1 ");
    state_mailbox(&stated, "alice", false, "", true);
    changed(MAIL__OBJECT__BODY_MAILBOX, "alice");
    is("a@example.org", "550 5.");
    nothing_to_mend();
}

/* By way of an address of ours a name that has just left is put off, a closed one is closed: as by itself. */
static void F_073_standing_through_our_own(void **state)
{
    (void)state;
    state_address(&stated, "far@example.org", "zoe@example.net", false);
    state_domain(&stated, "example.net", true, false, NULL);
    all();
    directory("alice bob zoe", "sales=alice");
    is("far@example.org", "zoe@u.internal");
    directory("alice bob", "sales=alice");
    is("zoe@example.net", "450 ");
    is("far@example.org", "450 ");
    directory("alice bob zoe", "sales=alice");
    state_mailbox(&stated, "zoe", false, "", true);
    changed(MAIL__OBJECT__BODY_MAILBOX, "zoe");
    is("far@example.org", "550 5.2.1");
    nothing_to_mend();
}

static void fans_are_in_buckets(void **state)
{
    static char members[20000], list[20100];
    size_t len = 0;

    (void)state;
    for (int i = 0; i < 60; i++)
        len += (size_t)sprintf(members + len, "%su%02d", len ? " " : "", i);
    sprintf(list, "all=%s", members);
    for (char *p = list; *p; p++)
        if (*p == ' ')
            *p = ',';
    people = members;
    groups = list;
    state_address(&stated, "fan@example.org", "group:all", false);
    all();
    assert_int_equal(number("SELECT count(*) FROM expand WHERE key='g=all'"), 60);

    /* 1,200 more, by the way of the mirror. */
    begin();
    for (int i = 0; i < 1200; i++) {
        DEFER(xfree) char *name = xasprintf("m%04d", i);
        give_user(name);
    }
    const char **names = xcalloc(1200, sizeof *names);
    for (int i = 0; i < 1200; i++)
        names[i] = xasprintf("m%04d", i);
    ok(tables_account_group(tables,
                            &(AccountGroup){.uuid = "uuid-g-all", .name = "all", .users = names, .n_users = 1200}));
    commit();
    assert_in_range(number("SELECT max(n) FROM (SELECT count(*) n FROM expand GROUP BY key)"), 1, 500);
    says(QUERY_ALIAS, "fan@example.org", "g=all@x.internal");
    assert_int_equal(number("SELECT count(*) FROM expand e JOIN expand b ON b.key||'@x.internal'=e.target"
                            " WHERE e.key='g=all'"),
                     1200);

    /* One member less writes a few rows. */
    begin();
    ok(tables_account_group(tables,
                            &(AccountGroup){.uuid = "uuid-g-all", .name = "all", .users = names, .n_users = 1199}));
    commit();
    assert_in_range(tables_rows(tables), 1, 4);
    for (int i = 0; i < 1200; i++)
        free((char *)names[i]);
    free(names);
    nothing_to_mend();
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(one_definition_applies),
        TEST(internal_flag_follows),
        TEST(where_mail_goes),
        TEST(loops_end),
        TEST(forwards_follow_what_they_meet),
        TEST(addresses_in_a_circle),
        TEST(fans_are_in_buckets),
        TEST(F_073_standing_through_our_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
