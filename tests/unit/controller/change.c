#include "state.h"

static const Kind INSTANCE = MAIL__OBJECT__BODY_INSTANCE;
static const Kind DOMAIN = MAIL__OBJECT__BODY_DOMAIN;
static const Kind ADDRESS = MAIL__OBJECT__BODY_ADDRESS;
static const Kind MAILBOX = MAIL__OBJECT__BODY_MAILBOX;
static const Kind POLICY = MAIL__OBJECT__BODY_POLICY;

static void second_instance(void)
{
    ok(say("add node - mx2"));
    ok(say("add instance - second node=mx2 hostname=mx2.example.net user-domain=staff; add domain second example.net"));
}

static void add_set_remove(void **state)
{
    (void)state;
    site();
    ok(say("add address - info@example.org to=alice,bob"));
    assert_string_equal(buf_text(&kept), "+info@example.org");
    ok(say("set address - INFO@Example.ORG to+=carol to-=alice internal=yes"));
    field_is(ADDRESS, "main", "info@example.org", "to", "user:bob,user:carol");
    field_is(ADDRESS, "main", "info@example.org", "internal", "yes");
    assert_string_equal(buf_text(&kept), "~info@example.org");
    uint64_t before = revision;
    ok(say("set address - info@example.org internal=yes"));
    assert_int_equal(revision, 0); /* the same again is nothing */
    ok(say("remove address - info@example.org"));
    assert_int_equal(revision, before + 1);
    state_is(ADDRESS, "");
}

static void F_012_all_of_a_change_or_nothing(void **state)
{
    (void)state;
    site();
    fails(say("add instance - second hostname=b.example.org user-domain=staff; add domain second example.org"),
          ERROR_EXISTS, "main");
    state_is(INSTANCE, "main");
    fails(
        say("add address - a@example.org to=alice; add address - b@example.org to=alice; add address - c@nowhere.org to=x"),
        ERROR_NOT_FOUND, "nowhere.org");
    state_is(ADDRESS, "");
    fails(say(""), ERROR_INVALID, "nothing to change");
}

static const struct {
    const char *line;
    ErrorCode code;
    const char *words;
} wrong[] = {
    {"add domain - example.org", ERROR_EXISTS, "domain example.org|exists"},
    {"add domain - EXAMPLE.org", ERROR_EXISTS, "domain example.org|exists"},
    {"set domain - exmaple.org user-addresses=no", ERROR_NOT_FOUND,
     "exmaple.org does not exist|did you mean example.org?"},
    {"set address - info@exmaple.org to=bob", ERROR_NOT_FOUND, "info@exmaple.org"},
    {"add address - info@exmaple.org to=bob", ERROR_NOT_FOUND,
     "domain exmaple.org does not exist|did you mean example.org?"},
    {"set address - inof@example.org to=bob", ERROR_NOT_FOUND, "did you mean info@example.org?"},
    {"remove address - inof@example.org", ERROR_NOT_FOUND, "did you mean info@example.org?"},
    {"add adress - info@example.org to=bob", ERROR_INVALID, "there is no kind 'adress'|did you mean address?"},
    {"add address - a@example.org too=bob", ERROR_INVALID, "address a@example.org|too|did you mean to?"},
    {"add address - a@example.org to=bob dormant=yes", ERROR_INVALID, "dormant"},
    {"add address - a@example.org", ERROR_INVALID, "to"},
    {"add address - a..b@example.org to=bob", ERROR_INVALID, "a..b"},
    {"add address - a@example.org to=x@example.org", ERROR_INVALID, "x@example.org"},
    {"add address nowhere a@example.org to=bob", ERROR_NOT_FOUND, "instance nowhere does not exist"},
    {"add address mian a@example.org to=bob", ERROR_NOT_FOUND, "did you mean main?"},
    {"remove address - info@example.org to=bob", ERROR_INVALID, "remove takes no fields"},
    {"add address - -", ERROR_INVALID, "name is missing"},
    {"set policy - x default-quota=1G", ERROR_INVALID, "without a name"},
    {"set mailbox - alice quota=5G forward=nonsense", ERROR_INVALID, "forward"},
    {"remove node - mx1", ERROR_CONFLICT, "node mx1|names it"},
    {"remove user-domain - staff", ERROR_CONFLICT, "user-domain staff|main"},
    {"add node - mx1", ERROR_EXISTS, "node mx1 exists"},
};

static void what_is_wrong_is_named(void **state)
{
    (void)state;
    site();
    ok(say("add address - info@example.org to=alice"));
    uint64_t before = store_revision(store);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        fails(say(wrong[i].line), wrong[i].code, wrong[i].words);
    assert_int_equal(store_revision(store), before);
}

static void F_015_the_same_again_changes_nothing(void **state)
{
    (void)state;
    site();
    ok(say("add address - info@example.org to=alice"));
    rules.lenient = true;
    ok(say("add instance - main node=mx1 hostname=MX1.example.org user-domain=staff; add domain main example.org"));
    assert_int_equal(revision, 0);
    ok(say("add address - info@example.org to=alice"));
    assert_int_equal(revision, 0);
    fails(say("add address - info@example.org to=bob"), ERROR_EXISTS, "exists with other values");
    ok(say("remove address - nobody@example.org; set address - nobody@example.org to=bob; remove node - mx9"));
    assert_int_equal(revision, 0);
}

static void which_instance(void **state)
{
    (void)state;
    fails(say("add domain - example.org"), ERROR_NOT_FOUND, "there is no instance yet");
    site();
    ok(say("set mailbox - alice quota=1G")); /* there is only one */
    second_instance();
    ok(say("add address - a@example.net to=alice; set domain - example.net group-addresses=yes"));
    field_is(ADDRESS, "second", "a@example.net", "to", "user:alice");
    fails(say("set mailbox - alice quota=2G"), ERROR_INVALID, "instance: which one?|-i main, -i second");
    fails(say("set policy - - default-quota=2G"), ERROR_INVALID, "instance: which one?");
    fails(say("add address - all@* to=alice"), ERROR_INVALID, "instance: which one?");
    fails(say("add domain - example.com"), ERROR_INVALID, "instance: which one?");
    fails(say("add address - a@example.nte to=alice"), ERROR_NOT_FOUND, "example.nte|did you mean example.net?");
    ok(say("set mailbox second alice quota=2G; set mailbox main alice quota=3G"));
    field_is(MAILBOX, "second", "alice", "quota", "2G");
    ok(say("remove domain - example.net"));
    ok(say("set address - a@example.net to=bob")); /* asleep, and found */
    state_is(ADDRESS, "a@example.net(asleep)");
}

static void mailbox_and_policy_are_always_there(void **state)
{
    (void)state;
    site();
    ok(say("set mailbox - alice quota=500M"));
    ok(say("set policy - - default-quota=1G"));
    state_is(MAILBOX, "alice");
    field_is(POLICY, "main", "", "default_quota", "1G");
    ok(say("set mailbox - alice quota=default"));
    state_is(MAILBOX, ""); /* nothing differs from the defaults */
    ok(say("set mailbox - bob quota="));
    assert_int_equal(revision, 0);
    ok(say("set policy - - default-quota="));
    state_is(POLICY, "");
}

/* Settings, filter and tls, too; being configuration they concern the node of their instance. */
static void single_kinds_come_and_go(void **state)
{
    static const struct {
        Kind kind;
        const char *set, *field, *value, *clear;
    } rows[] = {
        {MAIL__OBJECT__BODY_SETTINGS, "set settings main - message-size=50M junk-folder=Spam", "junk_folder", "Spam",
         "set settings main - message-size=100M junk-folder="},
        {MAIL__OBJECT__BODY_FILTER, "set filter main - spam-flag=5.5", "spam_flag", "5.5",
         "set filter main - spam-flag="},
        {MAIL__OBJECT__BODY_TLS, "set tls main - follow-key=/etc/k follow-certificate=/etc/c", "follow_key", "/etc/k",
         "set tls main - follow-key=none follow-certificate="},
    };

    (void)state;
    site();
    second_instance();
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        ok(say(rows[i].set));
        field_is(rows[i].kind, "main", "", rows[i].field, rows[i].value);
        assert_int_equal(asked.n, 1);
        assert_string_equal(asked.names[0], "mx1");
        ok(say(rows[i].clear));
        state_is(rows[i].kind, "");
        assert_int_equal(asked.n, 1);
        ok(say(rows[i].clear));
        assert_int_equal(revision, 0);
    }
    fails(say("set settings main - delay-warning=6d"), ERROR_INVALID, "delay-warning '6d'|queue-lifetime, which is 5d");
    fails(say("set tls main - follow-key=/etc/k"), ERROR_INVALID, "follow-certificate is missing");
}

static void F_022_addresses_sleep_without_their_domain(void **state)
{
    (void)state;
    site();
    ok(say("add domain - example.net"));
    ok(say("add address - info@example.net to=alice; add address - other@example.net to=bob description=kept;"
           "add address - all@* to=bob; add address - info@example.org to=alice"));
    uint64_t before = store_revision(store);
    ok(say("remove domain - example.net"));
    state_is(ADDRESS, "all@* info@example.net(asleep) info@example.org other@example.net(asleep)");
    assert_string_equal(buf_text(&kept), "-example.net, ~info@example.net, ~other@example.net");
    assert_int_equal(store_revision(store), before + 1);
    fails(say("add address - info@example.net to=carol"), ERROR_EXISTS, "asleep until its domain is added again");
    ok(say("add domain - example.net"));
    state_is(ADDRESS, "all@* info@example.net info@example.org other@example.net");
    field_is(ADDRESS, "main", "other@example.net", "description", "kept");
    rules.purge = true;
    ok(say("remove domain - example.net"));
    ok(say("add domain - example.net"));
    state_is(ADDRESS, "all@* info@example.org");
}

static void domain_removed_and_added_in_one_change_is_no_change(void **state)
{
    (void)state;
    site();
    ok(say("add address - info@example.org to=alice"));
    ok(say("remove domain - example.org; add domain main example.org"));
    assert_int_equal(revision, 0);
    assert_string_equal(buf_text(&kept), "");
    state_is(ADDRESS, "info@example.org");
}

static void removed_instance_takes_all_along(void **state)
{
    (void)state;
    site();
    second_instance();
    ok(say(
        "add address - info@example.org to=alice; set mailbox main alice quota=1G; set policy main - default-quota=1G;"
        "add address - x@example.net to=alice"));
    ok(say("add admin - helpdesk role=operator uid=1000 instances=main"));
    fails(say("remove instance - main"), ERROR_CONFLICT, "instance main|helpdesk");
    ok(say("remove admin - helpdesk"));
    ok(say("remove instance - main"));
    state_is(DOMAIN, "example.net");
    state_is(ADDRESS, "x@example.net");
    state_is(MAILBOX, "");
    state_is(POLICY, "");
}

static void F_075_domain_takes_over_only_when_told(void **state)
{
    (void)state;
    site();
    ok(say("add address - x@example.org to=y@example.net,alice; add address - z@example.org to=alice"));
    fails(say("add domain - example.net"), ERROR_CONFLICT,
          "domain example.net would take over: x@example.org delivers to y@example.net|--yes");
    ok(say("add domain - example.com"));
    rules.yes = true;
    ok(say("add domain - example.net"));
    assert_string_equal(buf_text(&warned), "domain example.net takes over: x@example.org delivers to y@example.net");
}

static void F_083_postmaster_stays_reachable(void **state)
{
    (void)state;
    site();
    field_is(MAIL__OBJECT__BODY_ADDRESS, "main", "postmaster@*", "to", "public:Postmaster");
    fails(say("remove public-mailbox main Postmaster"), ERROR_CONFLICT, "public-mailbox Postmaster|postmaster");
    ok(say("set address main postmaster@* to+=alice"));
    ok(say("remove public-mailbox main Postmaster"));
    field_is(MAIL__OBJECT__BODY_ADDRESS, "main", "postmaster@*", "to", "user:alice");
    ok(say("add address - postmaster@example.org to=bob"));
    fails(say("set address main postmaster@* to=out@far.example.com"), ERROR_INVALID,
          "postmaster|at least one user, group or public mailbox");
    fails(say("remove address main postmaster@*"), ERROR_CONFLICT, "postmaster");
    ok(say("remove address - postmaster@example.org")); /* that of all domains stays */
    ok(say("set address main postmaster@* to=out@far.example.com,group:sales"));
}

static void F_056_addresses_go_with_their_mailbox(void **state)
{
    (void)state;
    site();
    fails(say("add address - info@example.org to=public:Sales"), ERROR_NOT_FOUND,
          "to: public-mailbox Sales does not exist");
    fails(say("set domain - example.org catch-all=public:Sales"), ERROR_NOT_FOUND, "catch-all: public-mailbox Sales");
    ok(say("add public-mailbox main Sales acl=user:alice:full; add address main sales@* to=public:Sales"));
    fails(say("add public-mailbox main News; add address main sales@* to=public:News"), ERROR_EXISTS, "sales@*");
    state_is(MAIL__OBJECT__BODY_PUBLIC_MAILBOX, "Postmaster Sales"); /* both or neither */
    ok(say("add public-mailbox main sales"));                        /* case counts */
    ok(say("add address - both@example.org to=bob,public:Sales; add address - other@example.org to=public:sales"));
    ok(say("set domain - example.org catch-all=public:Sales"));
    fails(say("remove public-mailbox main Sales"), ERROR_CONFLICT, "domain example.org sends mail to it");
    ok(say("set domain - example.org catch-all="));
    ok(say("remove public-mailbox main Sales"));
    state_is(ADDRESS, "both@example.org other@example.org");
    field_is(ADDRESS, "main", "both@example.org", "to", "user:bob");
    fails(say("set public-mailbox main sales acl=user:a:read,user:a:full"), ERROR_INVALID, "user:a has rights already");
}

static void which_nodes_are_concerned(void **state)
{
    (void)state;
    static const struct {
        const char *line, *nodes;
    } cases[] = {
        {"set domain - example.org description=x", ""},
        {"add address - a@example.org to=alice", ""},
        {"set policy main - default-quota=1G", ""},
        {"set node - mx2 description=x", "mx2"},
        {"set settings second - junk=no; set filter main - antivirus=no", "mx1 mx2"},
        {"set instance - main hostname=b.example.org", "mx1"},
        {"set user-domain - staff listen=127.0.0.1", "mx1 mx2"},
        {"set instance - second node=", "mx2"},
        {"set instance - main node=mx2", "mx1 mx2"},
        {"add admin - x role=viewer uid=5", ""},
    };

    site();
    second_instance();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        DEFER(buf_done) Buf nodes = {0};
        ok(say(cases[i].line));
        for (size_t k = 0; k < asked.n; k++)
            buf_printf(&nodes, "%s%s", k ? " " : "", asked.names[k]);
        if (strcmp(buf_text(&nodes), cases[i].nodes) != 0)
            fail_msg("%s: %s, wanted %s", cases[i].line, buf_text(&nodes), cases[i].nodes);
    }
}

static void F_171_rights_are_asked_for_each_edit(void **state)
{
    (void)state;
    char main_name[] = "main", *limits[] = {main_name};
    Asker limited = {.who = (char *)"helpdesk", .role = MAIL__ROLE__OPERATOR, .instances = limits, .n_instances = 1};

    site();
    second_instance();
    rules.asker = &limited;
    ok(say("add address - a@example.org to=alice"));
    fails(say("add address - b@example.org to=alice; add address - a@example.net to=alice"), ERROR_DENIED,
          "instance second");
    fails(say("remove address - nobody@example.net"), ERROR_DENIED,
          "instance second"); /* nothing is told of what is there */
    fails(say("set domain - example.org description=x"), ERROR_DENIED, "operator");
    fails(say("remove admin - nobody"), ERROR_DENIED, "operator");
    state_is(ADDRESS, "a@example.org");
    limited.role = MAIL__ROLE__ADMIN;
    ok(say("set instance - main hostname=b.example.org"));
    fails(say("set instance - second hostname=b.example.org"), ERROR_DENIED, "second");
    fails(say("add admin - more role=admin uid=7"), ERROR_DENIED, "limited");
    rules.asker = NULL;
}

static void differences_are_kept_up_to_a_limit(void **state)
{
    (void)state;
    site();
    rules.keep_n = 2;
    ok(say(
        "add address - a@example.org to=alice; add address - b@example.org to=alice; set address - a@example.org to=bob"));
    assert_string_equal(buf_text(&kept), "+a@example.org, +b@example.org");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(add_set_remove),
        TEST(F_012_all_of_a_change_or_nothing),
        TEST(what_is_wrong_is_named),
        TEST(F_015_the_same_again_changes_nothing),
        TEST(which_instance),
        TEST(mailbox_and_policy_are_always_there),
        TEST(single_kinds_come_and_go),
        TEST(F_022_addresses_sleep_without_their_domain),
        TEST(domain_removed_and_added_in_one_change_is_no_change),
        TEST(removed_instance_takes_all_along),
        TEST(F_075_domain_takes_over_only_when_told),
        TEST(F_083_postmaster_stays_reachable),
        TEST(F_056_addresses_go_with_their_mailbox),
        TEST(which_nodes_are_concerned),
        TEST(F_171_rights_are_asked_for_each_edit),
        TEST(differences_are_kept_up_to_a_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
