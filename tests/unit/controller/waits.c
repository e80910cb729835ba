#include "waits.h"

#include "state.h"

/* ---- nodes, as the test wants them ---- */

typedef struct Fake {
    const char *name;
    NodeForce force;
    bool online;
    Mail__NodeState state;
} Fake;
static Fake fakes[3];

static Fake *fake(const char *name)
{
    for (size_t i = 0; i < 3; i++)
        if (strcmp(fakes[i].name, name) == 0)
            return &fakes[i];
    fail_msg("no node %s", name);
    return NULL;
}

void nodes_force(Nodes *nodes, const char *node, uint64_t number, Msec now, NodeForce *ret_force)
{
    (void)nodes;
    (void)number;
    (void)now;
    *ret_force = fake(node)->force;
}

bool nodes_online(const Nodes *nodes, const char *node)
{
    (void)nodes;
    return fake(node)->online;
}

Error *nodes_status(Nodes *nodes, const StatusWish *wish, Msec now, Mail__NodeStatus ***ret_status, size_t *ret_n)
{
    (void)nodes;
    (void)now;
    *ret_status = xcalloc(1, sizeof(Mail__NodeStatus *));
    (*ret_status)[0] = xcalloc(1, sizeof(Mail__NodeStatus));
    mail__node_status__init((*ret_status)[0]);
    (*ret_status)[0]->state = fake(wish->node)->state;
    *ret_n = 1;
    return NULL;
}

void nodes_status_free(Mail__NodeStatus ***status, size_t n)
{
    for (size_t i = 0; i < n; i++)
        free((*status)[i]);
    free(*status);
    *status = NULL;
}

static void node_is(const char *name, bool online, Mail__ForceState force, const char *why)
{
    Fake *node = fake(name);

    node->online = online;
    node->state = online ? MAIL__NODE_STATE__ONLINE : MAIL__NODE_STATE__OFFLINE;
    node->force = (NodeForce){.state = force};
    snprintf(node->force.why, sizeof node->force.why, "%s", why);
}

static const Mail__ForceState PENDING = MAIL__FORCE_STATE__PENDING, IN_FORCE = MAIL__FORCE_STATE__IN_FORCE;
enum { SINCE = 1000, UNTIL = 31000 };

static Wait *wait;

static int begin(void **state)
{
    static const char *const names[] = {"mx1", "mx2", "mx3"};

    if (setup(state))
        return -1;
    for (size_t i = 0; i < 3; i++) {
        DEFER(xfree) char *line = xasprintf("add node - %s", names[i]);
        fakes[i].name = names[i];
        node_is(names[i], true, PENDING, "");
        ok(say(line));
    }
    return 0;
}

static int end(void **state)
{
    wait_free(&wait);
    return teardown(state);
}

static void start(bool patient, const char *node)
{
    WaitOrder order = {.revision = 3, .node = node, .every = true, .patient = patient, .since = SINCE, .until = UNTIL};

    ok(wait_new(store, NULL, &order, SINCE, &wait));
}

/* "mx1 in_force 4, mx2 pending offline" */
static void says(Msec now, const char *wanted)
{
    static const char *const states[] = {"pending", "in_force", "held", "refused"};
    Mail__Outcome outcome = MAIL__OUTCOME__INIT;
    DEFER(buf_done) Buf words = {0};

    wait_outcome(wait, now, &outcome);
    assert_int_equal(outcome.revision, 3);
    for (size_t i = 0; i < outcome.n_nodes; i++) {
        const Mail__NodeOutcome *node = outcome.nodes[i];
        buf_printf(&words, "%s%s %s", i ? ", " : "", node->node, states[node->state]);
        if (node->has_took_ms)
            buf_printf(&words, " %" PRIu64, node->took_ms);
        if (node->why)
            buf_printf(&words, " %s", node->why);
    }
    if (outcome.reverted_by)
        buf_printf(&words, "; reverted by %" PRIu64, outcome.reverted_by);
    assert_string_equal(buf_text(&words), wanted);
}

static void until_the_last_is_in_force(void **state)
{
    (void)state;
    start(false, NULL);
    assert_false(wait_look(wait, 1001));
    says(1001, "mx1 pending, mx2 pending, mx3 pending");
    node_is("mx2", true, IN_FORCE, "");
    assert_false(wait_look(wait, 1004));
    assert_false(wait_moved(wait, 1004)); /* told just now: more may follow */
    assert_true(wait_moved(wait, 1101));
    says(1101, "mx1 pending, mx2 in_force 4, mx3 pending");
    node_is("mx1", true, IN_FORCE, "");
    node_is("mx3", true, MAIL__FORCE_STATE__HELD, "missing '='");
    assert_true(wait_look(wait, 1150));
    says(1150, "mx1 in_force 150, mx2 in_force 4, mx3 held missing '='");
}

static void given_up_when_its_time_is_over(void **state)
{
    (void)state;
    start(false, "mx1");
    assert_false(wait_look(wait, UNTIL - 1));
    assert_int_equal(wait_at(wait, UNTIL - 1), UNTIL);
    assert_true(wait_look(wait, UNTIL));
    says(UNTIL, "mx1 pending");
}

/* What a change waits for, and what 'mailctl wait' does. */
static const struct {
    const char *what, *why;
    uint64_t offline_for_ms;
    Mail__NodeState state;
    bool online, awaited, awaited_patiently;
} cases[] = {
    {"on its way", "", 0, MAIL__NODE_STATE__ONLINE, true, true, true},
    {"after a refused one", "revision 2 refused: no", 0, MAIL__NODE_STATE__ONLINE, true, true, true},
    {"too old", "needs 1.3", 0, MAIL__NODE_STATE__ONLINE, true, false, false},
    {"just restarting", "offline", 4000, MAIL__NODE_STATE__OFFLINE, false, true, true},
    {"long away", "offline", 3600000, MAIL__NODE_STATE__OFFLINE, false, false, true},
    {"never joined", "has not joined yet", 0, MAIL__NODE_STATE__NEVER_JOINED, false, false, false},
    {"revoked", "revoked", 0, MAIL__NODE_STATE__REVOKED, false, false, false},
    {"forked", "forked", 0, MAIL__NODE_STATE__NODE_FORKED, false, false, false},
};

static void who_is_worth_waiting_for(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (int patient = 0; patient < 2; patient++) {
            node_is("mx1", cases[i].online, PENDING, cases[i].why);
            fakes[0].state = cases[i].state;
            fakes[0].force.offline_for_ms = cases[i].offline_for_ms;
            start(patient, "mx1");
            bool awaited = !wait_look(wait, 1001);
            if (awaited != (patient ? cases[i].awaited_patiently : cases[i].awaited))
                fail_msg("%s, patient %d: %s", cases[i].what, patient, awaited ? "awaited" : "not awaited");
            wait_free(&wait);
        }
}

static void after_a_start_nodes_are_on_their_way(void **state)
{
    (void)state;
    WaitOrder order = {.revision = 3, .node = "mx1", .since = SINCE, .until = UNTIL, .young_until = 9000};

    node_is("mx1", false, PENDING, "offline");
    fakes[0].force.offline_for_ms = 3600000;
    ok(wait_new(store, NULL, &order, SINCE, &wait));
    assert_false(wait_look(wait, 8999));
    assert_true(wait_at(wait, 8999) < 9999); /* nobody tells when patience ends */
    assert_true(wait_look(wait, 9000));
}

static void F_167_refused_and_taken_back(void **state)
{
    (void)state;
    start(false, NULL);
    node_is("mx2", true, IN_FORCE, "");
    node_is("mx1", true, MAIL__FORCE_STATE__NODE_REFUSED, "no");
    assert_false(wait_look(wait, 1001)); /* it is not yet known what becomes of it */
    wait_refused(wait, 2, "mx1", "another's", 9);
    assert_false(wait_look(wait, 1002));
    wait_refused(wait, 3, "mx1", "smtpd does not come up", 4);
    assert_true(wait_look(wait, 1003));
    says(1003, "mx1 refused smtpd does not come up, mx2 in_force 1, mx3 pending; reverted by 4");
}

static void words_are_cut_between_characters(void **state)
{
    (void)state;
    char words[1000];
    Mail__Outcome outcome = MAIL__OUTCOME__INIT;

    memset(words, 0, sizeof words);
    for (size_t i = 0; i + 3 < sizeof words; i += 2) {
        words[i] = (char)0xc3; /* an a with two dots is two octets */
        words[i + 1] = (char)0xa4;
    }
    start(false, "mx1");
    wait_refused(wait, 3, "mx1", words, 4);
    assert_true(wait_look(wait, 1003));
    wait_outcome(wait, 1003, &outcome);
    assert_int_equal(strlen(outcome.nodes[0]->why), 510);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)
    const struct CMUnitTest tests[] = {
        TEST(until_the_last_is_in_force),   TEST(given_up_when_its_time_is_over),
        TEST(who_is_worth_waiting_for),     TEST(after_a_start_nodes_are_on_their_way),
        TEST(F_167_refused_and_taken_back), TEST(words_are_cut_between_characters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
