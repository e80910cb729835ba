#include "scene.h"

static const Kind PUBLIC = MAIL__OBJECT__BODY_PUBLIC_MAILBOX, ADDRESS = MAIL__OBJECT__BODY_ADDRESS,
                  DOMAIN = MAIL__OBJECT__BODY_DOMAIN;

static char *box(const char *name)
{
    static char kept[4][64];
    static int next;
    DEFER(xfree) char *target = target_public(name);

    next = (next + 1) % 4;
    snprintf(kept[next], sizeof kept[next], "%s", target);
    return kept[next];
}

static void public_set(const char *name, const char *acl)
{
    state_public(&stated, name, acl);
    changed(PUBLIC, name);
}

static void left_are(const char *wanted, bool all_wanted)
{
    DEFER(buf_done) Buf names = {0};
    bool all_left = false;
    size_t n = 0;

    const char *const *left = tables_left_users(tables, &n, &all_left);
    for (size_t i = 0; i < n; i++)
        buf_printf(&names, "%s%s", i ? " " : "", left[i]);
    assert_string_equal(buf_text(&names), wanted);
    assert_int_equal(all_left, all_wanted);
}

static void rows_as_dovecot_reads_them(void **state)
{
    (void)state;
    state_public(&stated, "Sales/Leads", "user:alice:full,group:sales:read,anyone:l");
    state_public(&stated,
                 "B\xc3\xbc"
                 "cher & \"x\"",
                 "user:a\"b\\c d:lr");
    state_public(&stated, "Nobody", NULL);
    all();
    says("SELECT folder FROM public WHERE name='%s'", "Sales/Leads", ".Sales.Leads");
    says("SELECT acl FROM public WHERE name='%s'", "Sales/Leads",
         "\"user=alice\" lrswipkxtea\n\"group=sales\" lrs\nanyone l\n");
    says("SELECT 'p='||key||'@u.internal' FROM public WHERE name='%s'", "Sales/Leads", box("Sales/Leads"));
    says("SELECT folder||acl FROM public WHERE name LIKE 'B%%%s'", "",
         ".B&APw-cher &- \"x\"\"user=a\\\"b\\\\c d\" lr\n");
    says("SELECT acl||'.' FROM public WHERE name='%s'", "Nobody", ".");
    assert_true(tables_public_changed(tables));
    nothing_to_mend();
    changed(DOMAIN, "example.org");
    assert_false(tables_public_changed(tables));
    stated_remove(&stated, PUBLIC, "Nobody");
    changed(PUBLIC, "Nobody");
    assert_true(tables_public_changed(tables));
    assert_int_equal(number("SELECT count(*) FROM public"), 2);
    nothing_to_mend();
}

static void mail_goes_there(void **state)
{
    (void)state;
    state_address(&stated, "news@*", "public:News,user:bob", false);
    state_address(&stated, "only@example.org", "public:News", false);
    state_domain(&stated, "catch.example", true, false, "public:News");
    state_mailbox(&stated, "carol", true, "only@example.org", true);
    all();
    is("only@example.org", "550 5.1.1 "); /* not stated yet: as a name that nobody has */
    public_set("News", NULL);
    DEFER(xfree)
    char *both = xasprintf("bob@u.internal %s", box("News")), *copy = xasprintf("carol@u.internal %s", box("News"));
    is("only@example.org", box("News"));
    is("only+tag@example.org", box("News"));
    is("news@example.org", both);
    is("whoever@catch.example", box("News"));
    is("carol@example.org", copy);
    nothing_to_mend();
    stated_remove(&stated, PUBLIC, "News");
    changed(PUBLIC, "News");
    is("only@example.org", "550 5.1.1 ");
    is("news@example.org", "bob@u.internal");
    is("carol@example.org", "carol@u.internal");
    is("whoever@catch.example", "550 5.1.1 ");
    nothing_to_mend();
}

/* F-150: whoever may post there. */
static void posters_may_send(void **state)
{
    (void)state;
    state_policy(&stated, MAIL__SENDER_LOGIN_MATCH__INCLUDE_GROUPS, NULL);
    state_address(&stated, "news@example.org", "public:News", false);
    state_public(&stated, "News", "user:carol:full,user:dave:write,group:sales:lp,anyone:lr");
    all();
    says(QUERY_SENDERS, "news@example.org", "alice,bob,carol");
    public_set("News", "user:carol:full,anyone:p");
    says(QUERY_SENDERS, "news@example.org", "alice,bob,carol,dave,eve");
    nothing_to_mend();
    public_set("News", "user:carol:full");
    says(QUERY_SENDERS, "news@example.org", "carol");
    nothing_to_mend();
    directory(people, "sales=dave");
    public_set("News", "group:sales:full");
    says(QUERY_SENDERS, "news@example.org", "dave");
    directory(people, "sales=eve");
    says(QUERY_SENDERS, "news@example.org", "eve");
    nothing_to_mend();
}

/* F-054: whose sessions end. */
static void who_loses_something(void **state)
{
    static const struct {
        const char *before, *now, *left;
        bool all;
    } rows[] = {
        {"user:carol:full", "user:carol:full", "", false},
        {"user:carol:read", "user:carol:full", "", false},
        {"user:carol:full", "user:carol:write", "carol", false},
        {"user:carol:full,user:dave:lr", "user:dave:lr", "carol", false},
        {"user:carol:lr,user:dave:lr", "user:dave:lr,user:carol:lr", "", false},
        {"group:sales:read", "user:alice:read", "alice bob", false},
        {"group:sales:read", NULL, "alice bob", false},
        {"anyone:lr", "anyone:l", "", true},
        {"anyone:l", "anyone:lr", "", false},
        {"user:car:read,user:carol:read", "user:carol:read", "car", false},
    };

    (void)state;
    all();
    left_are("", false);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        public_set("News", rows[i].before);
        public_set("News", rows[i].now);
        left_are(rows[i].left, rows[i].all);
    }
    public_set("News", "user:dave:read");
    stated_remove(&stated, PUBLIC, "News");
    changed(PUBLIC, "News");
    left_are("dave", false);
    directory(people, "sales=alice more=bob");
    left_are("bob", false);
    directory(people, "sales=alice more=bob,alice");
    left_are("", false);
    directory("alice carol", "sales=alice more=bob,alice"); /* who is no user any more: by his login */
    left_are("", false);
}

/* Their case counts, and keys are names for no folder. */
static void keys(void **state)
{
    (void)state;
    assert_string_not_equal(box("News"), box("news"));
    assert_int_equal(strlen(box("x")), strlen("p=@u.internal") + 32);
    state_public(&stated, "News", "user:alice:lr");
    state_public(&stated, "news", "user:bob:lr");
    state_address(&stated, "a@example.org", "public:News,public:news", false);
    all();
    assert_int_equal(number("SELECT count(DISTINCT key) FROM public"), 2);
    stated_remove(&stated, PUBLIC, "news");
    changed(PUBLIC, "news");
    is("a@example.org", box("News"));
    changed(ADDRESS, "a@example.org");
    nothing_to_mend();
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(rows_as_dovecot_reads_them),
        TEST(mail_goes_there),
        TEST(posters_may_send),
        TEST(who_loses_something),
        TEST(keys),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
