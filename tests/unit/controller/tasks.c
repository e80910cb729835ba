#include "cluster.h"

static const char id_a[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ", id_b[] = "00000000000000000000000000";

static Error *try_start(const char *node, const char *id, bool repair, char ret_id[TASK_ID_LEN + 1])
{
    Mail__NodeCheck check = MAIL__NODE_CHECK__INIT;
    Mail__TaskStart start = MAIL__TASK_START__INIT;
    Mail__TaskNew wish = MAIL__TASK_NEW__INIT;

    check.has_repair = check.repair = repair;
    start.verb_case = MAIL__TASK_START__VERB_NODE_CHECK;
    start.node_check = &check;
    wish.node = (char *)node;
    wish.task_id = (char *)id;
    wish.start = &start;
    return tasks_start(tasks, &wish, "root", now_ms(), ret_id);
}

static void start(const char *id)
{
    char got[TASK_ID_LEN + 1];

    ok(try_start("mx1", id, false, got));
    assert_string_equal(got, id);
}

static Mail__TaskState state_of(const char *id)
{
    Mail__TaskInfo *info = NULL;

    ok(tasks_get(tasks, id, &info));
    assert_non_null(info);
    Mail__TaskState state = info->state;
    mail__task_info__free_unpacked(info, NULL);
    return state;
}

static Error *take_state(void *to, const Mail__TaskInfo *info)
{
    *(Mail__TaskState *)to = info->state;
    return NULL;
}

/* As it would be read after a crash now. */
static Mail__TaskState stored(const char *id)
{
    Mail__TaskState state = MAIL__TASK_STATE__NEVER_RAN;

    ok(store_task_each(store, id, 1, take_state, &state));
    return state;
}

static void say_result(Peer *peer, const char *id, Mail__TaskState state)
{
    Mail__TaskResult result = MAIL__TASK_RESULT__INIT;

    result.task_id = (char *)id;
    result.has_state = true;
    result.state = state;
    result.verdict = (char *)"3 objects checked";
    say(peer, MAIL__ENVELOPE__BODY_TASK_RESULT, &result);
}

static void hears_start(Peer *peer, const char *id)
{
    DEFER(envelope_free) Envelope *envelope = expect(peer, MAIL__ENVELOPE__BODY_TASK_START);
    assert_string_equal(envelope->task_start->task_id, id);
    assert_int_equal(envelope->task_start->verb_case, MAIL__TASK_START__VERB_NODE_CHECK);
}

static void hears_seen(Peer *peer, const char *id)
{
    DEFER(envelope_free) Envelope *envelope = expect(peer, MAIL__ENVELOPE__BODY_TASK_SEEN);
    assert_string_equal(envelope->task_seen->task_id, id);
}

static Peer *node(Have *have)
{
    put(machine("mx1"));
    put(machine("mx2"));
    return online("mx1", have);
}

/* The same machine on a new connection. */
static Peer *reconnect(Peer *old, const Have *have)
{
    Peer *new = peer_connect(old, "mx1");

    peer_close(old);
    say_hello(new, have);
    standing_is(new, MAIL__STANDING_STATE__CURRENT);
    return new;
}

static void one_runs_and_ends(void **state)
{
    Have have = {0};
    Mail__TaskProgress progress = MAIL__TASK_PROGRESS__INIT;
    Mail__TaskInfo *info = NULL;
    uint64_t moves;

    (void)state;
    Peer *peer = node(&have);
    start(id_a);
    assert_int_equal(stored(id_a), MAIL__TASK_STATE__WAITING);
    hears_start(peer, id_a);
    until(stored(id_a) == MAIL__TASK_STATE__RUNNING);
    moves = tasks_moves(tasks);
    progress.task_id = (char *)id_a;
    progress.has_done = progress.has_of = true;
    progress.done = 3;
    progress.of = 7;
    progress.unit = (char *)"rows";
    say(peer, MAIL__ENVELOPE__BODY_TASK_PROGRESS, &progress);
    until(tasks_moves(tasks) > moves);
    ok(tasks_get(tasks, id_a, &info));
    assert_int_equal(info->progress->done, 3);
    assert_string_equal(info->progress->unit, "rows");
    assert_string_equal(info->verb, "node check");
    assert_string_equal(info->who, "root");
    mail__task_info__free_unpacked(info, NULL);
    moves = tasks_moves(tasks);
    say_result(peer, id_a, MAIL__TASK_STATE__FOUND);
    hears_seen(peer, id_a);
    assert_int_equal(stored(id_a), MAIL__TASK_STATE__FOUND); /* before it was acknowledged */
    assert_true(tasks_moves(tasks) > moves);
    say_result(peer, id_a, MAIL__TASK_STATE__FAILED); /* said again, and otherwise: the first counts */
    hears_seen(peer, id_a);
    assert_int_equal(state_of(id_a), MAIL__TASK_STATE__FOUND);
    ok(tasks_get(tasks, id_a, &info));
    assert_string_equal(info->result->verdict, "3 objects checked");
    mail__task_info__free_unpacked(info, NULL);
}

static const struct {
    const char *node, *id;
    bool repair;
    ErrorCode code;
    const char *words;
} wrong[] = {
    {"mx9", id_b, false, ERROR_NOT_FOUND, "node mx9 does not exist"},
    {"mx1", "short", false, ERROR_INVALID, "task id 'short'"},
    {"mx1", "abcdefghijklmnopqrstuvwxyz", false, ERROR_INVALID, "task id"},
    {"mx1", id_a, true, ERROR_CONFLICT, "is there already"},
    {"mx2", id_a, false, ERROR_CONFLICT, "is there already"},
};

static void an_id_is_one_task(void **state)
{
    char id[TASK_ID_LEN + 1];
    Have have = {0};
    Mail__TaskNew nothing = MAIL__TASK_NEW__INIT;
    Mail__TaskInfo *info = NULL;

    (void)state;
    Peer *peer = node(&have);
    start(id_a);
    hears_start(peer, id_a);
    start(id_a); /* the same again */
    hears_nothing(peer, MAIL__ENVELOPE__BODY_TASK_START);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        fails(try_start(wrong[i].node, wrong[i].id, wrong[i].repair, id), wrong[i].code, wrong[i].words);
    fails(tasks_start(tasks, &nothing, "root", now_ms(), id), ERROR_INVALID, "no such task");
    ok(try_start("mx1", NULL, true, id));
    assert_int_equal(strlen(id), TASK_ID_LEN);
    hears_start(peer, id);
    ok(tasks_get(tasks, id_b, &info));
    assert_null(info);
}

static void one_waits_for_its_node(void **state)
{
    Have have = {0};

    (void)state;
    put(machine("mx1"));
    start(id_a);
    settle();
    assert_int_equal(state_of(id_a), MAIL__TASK_STATE__WAITING);
    close_parts();
    open_parts();
    Peer *peer = online("mx1", &have);
    hears_start(peer, id_a);
}

static void what_was_lost_is_asked_about(void **state)
{
    Have have = {0};

    (void)state;
    Peer *peer = node(&have);
    start(id_a);
    hears_start(peer, id_a);
    until(stored(id_a) == MAIL__TASK_STATE__RUNNING);
    peer = reconnect(peer, &have);
    until(stored(id_a) == MAIL__TASK_STATE__LOST);
    Envelope *ask = expect(peer, MAIL__ENVELOPE__BODY_TASK_ASK);
    assert_int_equal(ask->task_ask->n_task_ids, 1);
    assert_string_equal(ask->task_ask->task_ids[0], id_a);
    envelope_free(&ask);
    hears_nothing(peer, MAIL__ENVELOPE__BODY_TASK_ASK);
    hears_nothing(peer, MAIL__ENVELOPE__BODY_TASK_START); /* never twice */
    say_result(peer, id_a, MAIL__TASK_STATE__NEVER_RAN);
    hears_seen(peer, id_a);
    assert_int_equal(state_of(id_a), MAIL__TASK_STATE__NEVER_RAN);
    assert_true(task_ended(MAIL__TASK_STATE__NEVER_RAN));
}

static void one_goes_on_over_a_restart_of_ours(void **state)
{
    Have have = {0};
    Mail__TaskProgress progress = MAIL__TASK_PROGRESS__INIT;

    (void)state;
    Peer *peer = node(&have);
    start(id_a);
    hears_start(peer, id_a);
    until(stored(id_a) == MAIL__TASK_STATE__RUNNING);
    close_parts();
    open_parts();
    assert_int_equal(state_of(id_a), MAIL__TASK_STATE__LOST);
    peer = reconnect(peer, &have);
    Envelope *ask = expect(peer, MAIL__ENVELOPE__BODY_TASK_ASK);
    envelope_free(&ask);
    progress.task_id = (char *)id_a;
    say(peer, MAIL__ENVELOPE__BODY_TASK_PROGRESS, &progress);
    until(state_of(id_a) == MAIL__TASK_STATE__RUNNING);
    say_result(peer, id_a, MAIL__TASK_STATE__SUCCEEDED);
    hears_seen(peer, id_a);
    until(stored(id_a) == MAIL__TASK_STATE__SUCCEEDED);
}

/* Silent and back on one connection: the start is still under way, and must not be asked about before it. */
static void silence_alone_loses_nothing(void **state)
{
    Have have = {0};
    Mail__Report report = MAIL__REPORT__INIT;

    (void)state;
    Peer *peer = node(&have);
    start(id_a);
    hears_start(peer, id_a);
    peer->mute = true;
    skew += 3001;
    until(state_of(id_a) == MAIL__TASK_STATE__LOST);
    say(peer, MAIL__ENVELOPE__BODY_REPORT, &report);
    until(state_of(id_a) == MAIL__TASK_STATE__RUNNING);
    hears_nothing(peer, MAIL__ENVELOPE__BODY_TASK_ASK);
}

static void one_is_cancelled(void **state)
{
    Have have = {0};

    (void)state;
    put(machine("mx2"));
    put(machine("mx1"));
    start(id_a);
    ok(tasks_cancel(tasks, id_a)); /* nobody has it yet */
    until(stored(id_a) == MAIL__TASK_STATE__CANCELLED);
    fails(tasks_cancel(tasks, id_a), ERROR_CONFLICT, "has ended");
    fails(tasks_cancel(tasks, id_b), ERROR_NOT_FOUND, "does not exist");
    Peer *peer = online("mx1", &have);
    hears_nothing(peer, MAIL__ENVELOPE__BODY_TASK_START);
    start(id_b);
    hears_start(peer, id_b);
    ok(tasks_cancel(tasks, id_b));
    Envelope *cancel = expect(peer, MAIL__ENVELOPE__BODY_TASK_CANCEL);
    assert_string_equal(cancel->task_cancel->task_id, id_b);
    envelope_free(&cancel);
    say_result(peer, id_b, MAIL__TASK_STATE__CANCELLED);
    hears_seen(peer, id_b);
}

static void one_that_cannot_begin(void **state)
{
    Have have = {0};
    Mail__Failure no = MAIL__FAILURE__INIT;
    Mail__Report report = MAIL__REPORT__INIT;

    (void)state;
    Peer *peer = node(&have);
    start(id_a);
    Envelope *asked = expect(peer, MAIL__ENVELOPE__BODY_TASK_START);
    no.has_code = true;
    no.code = MAIL__ERROR_NUMBER__UNAVAILABLE;
    no.what = (char *)"64 messages wait already";
    reply(peer, asked, MAIL__ENVELOPE__BODY_FAILURE, &no);
    envelope_free(&asked);
    until(state_of(id_a) == MAIL__TASK_STATE__WAITING);
    skew += 5001;
    say(peer, MAIL__ENVELOPE__BODY_REPORT, &report);       /* so long without a word, it would count as away */
    asked = expect(peer, MAIL__ENVELOPE__BODY_TASK_START); /* again */
    no.code = MAIL__ERROR_NUMBER__INVALID;
    reply(peer, asked, MAIL__ENVELOPE__BODY_FAILURE, &no);
    envelope_free(&asked);
    until(stored(id_a) == MAIL__TASK_STATE__FAILED);
}

static void another_node_cannot_end_it(void **state)
{
    Have have = {0}, other = {0};

    (void)state;
    Peer *peer = node(&have);
    Peer *second = online("mx2", &other);
    start(id_a);
    hears_start(peer, id_a);
    say_result(second, id_a, MAIL__TASK_STATE__SUCCEEDED);
    hears_nothing(second, MAIL__ENVELOPE__BODY_TASK_SEEN);
    assert_int_equal(state_of(id_a), MAIL__TASK_STATE__RUNNING);
    say_result(peer, id_a, MAIL__TASK_STATE__SUCCEEDED);
    hears_seen(peer, id_a);
    say_result(second, id_a, MAIL__TASK_STATE__FAILED);
    hears_nothing(second, MAIL__ENVELOPE__BODY_TASK_SEEN);
    say_result(peer, id_b, MAIL__TASK_STATE__SUCCEEDED); /* of a store that was restored: nobody waits for it */
    hears_seen(peer, id_b);
}

static void restore_start(const char *mailbox)
{
    Mail__RestoreFolder restore = MAIL__RESTORE_FOLDER__INIT;
    Mail__TaskStart wanted = MAIL__TASK_START__INIT;
    Mail__TaskNew wish = MAIL__TASK_NEW__INIT;
    char got[TASK_ID_LEN + 1];

    restore.mailbox = (char *)(uintptr_t)mailbox;
    wanted.verb_case = MAIL__TASK_START__VERB_RESTORE_FOLDER;
    wanted.restore_folder = &restore;
    wish.node = (char *)"mx1";
    wish.task_id = (char *)id_a;
    wish.start = &wanted;
    ok(tasks_start(tasks, &wish, "root", now_ms(), got));
}

static void say_over_quota(Peer *peer)
{
    Mail__TaskResult result = MAIL__TASK_RESULT__INIT;

    result.task_id = (char *)id_a;
    result.has_state = result.has_over_quota = result.over_quota = true;
    result.state = MAIL__TASK_STATE__SUCCEEDED;
    result.verdict = (char *)"restored";
    say(peer, MAIL__ENVELOPE__BODY_TASK_RESULT, &result);
}

/* F-069: neither stored nor acknowledged before somebody has seen to the quota. */
static void a_result_waits_for_the_quota(void **state)
{
    Have have = {0};
    TaskQuota quota = {0};
    Mail__TaskInfo *info = NULL;

    (void)state;
    Peer *peer = node(&have);
    restore_start("user:alice");
    DEFER(envelope_free) Envelope *begun = expect(peer, MAIL__ENVELOPE__BODY_TASK_START);
    assert_int_equal(begun->task_start->verb_case, MAIL__TASK_START__VERB_RESTORE_FOLDER);
    say_over_quota(peer);
    say_over_quota(peer);
    until(tasks_take_quota(tasks, &quota));
    assert_string_equal(quota.user, "alice");
    assert_string_equal(quota.node, "mx1");
    assert_string_equal(quota.who, "root");
    assert_false(tasks_take_quota(tasks, &quota));
    assert_int_equal(stored(id_a), MAIL__TASK_STATE__RUNNING);
    tasks_quota_done(tasks, id_a, "and seen to");
    hears_seen(peer, id_a);
    ok(tasks_get(tasks, id_a, &info));
    assert_string_equal(info->result->verdict, "restored; and seen to");
    mail__task_info__free_unpacked(info, NULL);
    peer_close(peer);
}

/* Whose quota it is says who asked, not the node. */
static void a_public_mailbox_has_no_quota(void **state)
{
    Have have = {0};
    TaskQuota quota = {0};

    (void)state;
    Peer *peer = node(&have);
    restore_start("public:Sales");
    DEFER(envelope_free) Envelope *begun = expect(peer, MAIL__ENVELOPE__BODY_TASK_START);
    assert_non_null(begun);
    say_over_quota(peer);
    hears_seen(peer, id_a);
    assert_false(tasks_take_quota(tasks, &quota));
    peer_close(peer);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(one_runs_and_ends),
        TEST(an_id_is_one_task),
        TEST(one_waits_for_its_node),
        TEST(what_was_lost_is_asked_about),
        TEST(one_goes_on_over_a_restart_of_ours),
        TEST(silence_alone_loses_nothing),
        TEST(one_is_cancelled),
        TEST(one_that_cannot_begin),
        TEST(another_node_cannot_end_it),
        TEST(a_result_waits_for_the_quota),
        TEST(a_public_mailbox_has_no_quota),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
