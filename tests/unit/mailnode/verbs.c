/* An agent's words, right and hostile, to the verbs of a node that has a name and nothing else: no daemon is started. */
#include "verbs.h"

#include "expect.h"

#include "base/path.h"
#include "engine/layout.h"
#include "local/local.h"
#include "model/object.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

static char root[] = "/tmp/verbs.XXXXXX";
static Path socket_path;
static Happened *happened;
static Made *made;
static Supervise *supervise;
static Change *change;
static Verbs *verbs;

static int setup(void **state)
{
    (void)state;
    memcpy(root + strlen(root) - 6, "XXXXXX", 6);
    if (!mkdtemp(root) || chmod(root, 0755) != 0)
        return -1;
    socket_path = path_in(root, "run/mailnode/engine/engine.sock");
    ok(layout_make(root));
    happened = happened_new();
    made = made_new(root, happened);
    ok(supervise_new(root, happened, &supervise));
    ok(change_new(root, supervise, happened, &change));
    ok(verbs_new(
        &(VerbsParts){.root = root, .change = change, .supervise = supervise, .happened = happened, .made = made},
        &verbs));
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    verbs_free(&verbs);
    made_free(&made);
    change_free(&change);
    supervise_free(&supervise);
    happened_free(&happened);
    return folder_remove(root);
}

/* One turn of mail-engine's loop, which sleeps until something happens, to 'peer', too; without one it does not sleep. */
static void turn(LocalPeer *peer)
{
    Msec now = clock_ms();
    Waiter wake = waiter_start();

    supervise_run(supervise, now);
    change_run(change, now);
    verbs_run(verbs, now);
    supervise_wait(supervise, &wake);
    change_wait(change, &wake);
    verbs_wait(verbs, &wake);
    if (peer)
        local_peer_wait(peer, &wake);
    waiter_at(&wake, peer ? now + 200 : now);
    waiter_block(&wake);
}

static LocalPeer *talk(void)
{
    LocalPeer *peer = NULL;

    ok(local_connect(socket_path.text, "test", &peer));
    for (Msec until = clock_ms() + 5000; !local_greeted(peer) && clock_ms() < until;) {
        ok(local_peer_run(peer));
        if (!local_greeted(peer))
            turn(peer);
    }
    assert_true(local_greeted(peer));
    return peer;
}

/* Until the next envelope, NULL when the connection ended. */
static Envelope *hear(LocalPeer *peer)
{
    for (Msec until = clock_ms() + 5000; clock_ms() < until;) {
        Envelope *envelope = NULL;
        uint64_t id = 0;
        Error *ended = local_peer_run(peer);
        Error *err = local_receive(peer, &envelope, &id);
        bool over = ended || err;
        error_free(&ended);
        error_free(&err);
        if (envelope)
            return envelope;
        if (over)
            return NULL;
        turn(peer);
    }
    fail_msg("no answer");
    return NULL;
}

static Envelope *ask(LocalPeer *peer, Envelope *request)
{
    assert_true(local_send(peer, request));
    Envelope *answer = hear(peer);
    if (answer) {
        assert_int_equal(answer->in_reply_to, request->id);
        assert_true(answer->last);
    }
    return answer;
}

static void expect_failure(Envelope *answer, Mail__ErrorNumber code, const char *words)
{
    if (!answer || answer->body_case != MAIL__ENVELOPE__BODY_FAILURE)
        fail_msg("answered by %s, wanted: %s", answer ? body_name(answer->body_case) : "the end", words);
    assert(answer); /* NOLINT: for the analyzer */
    if (answer->failure->code != code || !strstr(answer->failure->what, words))
        fail_msg("%d: %s\nwanted %d: %s", (int)answer->failure->code, answer->failure->what, (int)code, words);
    envelope_free(&answer);
}

static void expect_body(Envelope *answer, BodyCase body)
{
    if (!answer || answer->body_case != body)
        fail_msg("answered by %s%s%s, wanted %s", answer ? body_name(answer->body_case) : "the end",
                 answer && answer->body_case == MAIL__ENVELOPE__BODY_FAILURE ? ": " : "",
                 answer && answer->body_case == MAIL__ENVELOPE__BODY_FAILURE ? answer->failure->what : "",
                 body_name(body));
    envelope_free(&answer);
}

/* ---- requests ---- */

static Envelope *state_ask(LocalPeer *peer, uint64_t life, uint64_t newest)
{
    Envelope request = MAIL__ENVELOPE__INIT;
    Mail__EngineState body = MAIL__ENGINE_STATE__INIT;

    body.has_life = body.has_happened = true;
    body.life = life;
    body.happened = newest;
    request.body_case = MAIL__ENVELOPE__BODY_ENGINE_STATE;
    request.engine_state = &body;
    return ask(peer, &request);
}

typedef struct Prepare {
    Envelope envelope;
    Mail__EnginePrepare body;
    ProtobufCBinaryData objects[1];
    Buf node;
} Prepare;

static void prepare_make(Prepare *prepare, const char *node, uint64_t revision)
{
    Object *object = object_new(MAIL__OBJECT__BODY_NODE, NULL, node);

    *prepare = (Prepare){.envelope = MAIL__ENVELOPE__INIT, .body = MAIL__ENGINE_PREPARE__INIT};
    object_pack(object, &prepare->node);
    object_free(&object);
    prepare->objects[0] = (ProtobufCBinaryData){.data = prepare->node.data, .len = prepare->node.size};
    prepare->body.objects = prepare->objects;
    prepare->body.n_objects = 1;
    prepare->body.has_revision = true;
    prepare->body.revision = revision;
    prepare->envelope.body_case = MAIL__ENVELOPE__BODY_ENGINE_PREPARE;
    prepare->envelope.engine_prepare = &prepare->body;
}

static Envelope *prepare_ask(LocalPeer *peer, const char *node, uint64_t revision)
{
    Prepare prepare;

    prepare_make(&prepare, node, revision);
    Envelope *answer = ask(peer, &prepare.envelope);
    buf_done(&prepare.node);
    return answer;
}

static void switch_make(Envelope *envelope, Mail__EngineSwitch *body, uint64_t revision)
{
    mail__envelope__init(envelope);
    mail__engine_switch__init(body);
    body->has_revision = true;
    body->revision = revision;
    envelope->body_case = MAIL__ENVELOPE__BODY_ENGINE_SWITCH;
    envelope->engine_switch = body;
}

static Envelope *switch_ask(LocalPeer *peer, uint64_t revision)
{
    Envelope request;
    Mail__EngineSwitch body;

    switch_make(&request, &body, revision);
    return ask(peer, &request);
}

static Envelope *abort_ask(LocalPeer *peer)
{
    Envelope request = MAIL__ENVELOPE__INIT;
    Mail__EngineAbort body = MAIL__ENGINE_ABORT__INIT;

    request.body_case = MAIL__ENVELOPE__BODY_ENGINE_ABORT;
    request.engine_abort = &body;
    return ask(peer, &request);
}

static Envelope *refresh_ask(LocalPeer *peer, char *user)
{
    Envelope request = MAIL__ENVELOPE__INIT;
    Mail__EngineRefresh body = MAIL__ENGINE_REFRESH__INIT;
    char *users[] = {user};

    body.users = users;
    body.n_users = user ? 1 : 0;
    request.body_case = MAIL__ENVELOPE__BODY_ENGINE_REFRESH;
    request.engine_refresh = &body;
    return ask(peer, &request);
}

static Envelope *task_ask(LocalPeer *peer, const char *id, Mail__TaskStart__VerbCase verb)
{
    Envelope request = MAIL__ENVELOPE__INIT;
    Mail__EngineTask body = MAIL__ENGINE_TASK__INIT;
    Mail__TaskStart task = MAIL__TASK_START__INIT;
    Mail__NodeCheck check = MAIL__NODE_CHECK__INIT;

    task.task_id = (char *)id;
    task.verb_case = verb;
    if (verb == MAIL__TASK_START__VERB_NODE_CHECK)
        task.node_check = &check;
    body.task = &task;
    request.body_case = MAIL__ENVELOPE__BODY_ENGINE_TASK;
    request.engine_task = &body;
    return ask(peer, &request);
}

/* ---- what an agent does ---- */

static void a_change_comes_into_force(void **state)
{
    LocalPeer *peer = talk();
    (void)state;
    Envelope *answer = state_ask(peer, 0, 0);
    assert_int_equal(answer->body_case, MAIL__ENVELOPE__BODY_ENGINE_IS);
    assert_int_equal(answer->engine_is->generation, 0);
    assert_int_equal(answer->engine_is->life, happened_life(happened));
    assert_string_equal(answer->engine_is->facts[0]->name, "generation");
    envelope_free(&answer);

    expect_body(prepare_ask(peer, "mx1", 7), MAIL__ENVELOPE__BODY_DONE);
    expect_failure(switch_ask(peer, 8), MAIL__ERROR_NUMBER__CONFLICT, "revision 8 is not prepared");
    answer = switch_ask(peer, 7);
    assert_int_equal(answer->body_case, MAIL__ENVELOPE__BODY_ENGINE_IS);
    assert_int_equal(answer->engine_is->generation, 1);
    assert_int_equal(answer->engine_is->revision, 7);
    assert_int_equal(answer->engine_is->config_digest.len, DIGEST_SIZE);
    envelope_free(&answer);
    expect_failure(switch_ask(peer, 7), MAIL__ERROR_NUMBER__CONFLICT, "revision 7 is not prepared");
    expect_body(refresh_ask(peer, NULL), MAIL__ENVELOPE__BODY_DONE);
    local_peer_free(&peer);
}

static void happenings_are_told_once(void **state)
{
    LocalPeer *peer = talk();
    (void)state;
    happened_add(happened, MAIL__FACT_STATE__GOOD, "first", "1");
    happened_add(happened, MAIL__FACT_STATE__GOOD, "second", "2");
    Envelope *answer = state_ask(peer, 0, 0);
    uint64_t life = answer->engine_is->life;
    size_t n = answer->engine_is->n_happenings;
    assert_true(n >= 2);
    uint64_t newest = answer->engine_is->happenings[n - 1]->number;
    assert_string_equal(answer->engine_is->happenings[n - 1]->what, "second");
    envelope_free(&answer);

    answer = state_ask(peer, life, newest - 1);
    assert_int_equal(answer->engine_is->n_happenings, 1);
    envelope_free(&answer);
    answer = state_ask(peer, life, newest);
    assert_int_equal(answer->engine_is->n_happenings, 0);
    envelope_free(&answer);
    answer = state_ask(peer, life + 1, newest); /* of another process */
    assert_int_equal(answer->engine_is->n_happenings, n);
    envelope_free(&answer);
    local_peer_free(&peer);
}

static void what_is_prepared_goes_with_abort_or_its_connection(void **state)
{
    LocalPeer *peer = talk(), *other = talk();
    (void)state;
    expect_body(prepare_ask(peer, "mx1", 1), MAIL__ENVELOPE__BODY_DONE);
    expect_body(abort_ask(peer), MAIL__ENVELOPE__BODY_DONE);
    expect_failure(switch_ask(peer, 1), MAIL__ERROR_NUMBER__CONFLICT, "revision 1 is not prepared");
    expect_body(abort_ask(peer), MAIL__ENVELOPE__BODY_DONE); /* nothing is right, too */

    expect_body(prepare_ask(other, "mx1", 2), MAIL__ENVELOPE__BODY_DONE);
    local_peer_free(&other);
    turn(NULL);
    turn(NULL);
    expect_failure(switch_ask(peer, 2), MAIL__ERROR_NUMBER__CONFLICT, "revision 2 is not prepared");

    expect_body(prepare_ask(peer, "mx1", 3), MAIL__ENVELOPE__BODY_DONE);
    expect_body(prepare_ask(peer, "mx1", 4), MAIL__ENVELOPE__BODY_DONE); /* in its place */
    expect_failure(switch_ask(peer, 3), MAIL__ERROR_NUMBER__CONFLICT, "revision 3 is not prepared");
    expect_body(switch_ask(peer, 4), MAIL__ENVELOPE__BODY_ENGINE_IS);
    local_peer_free(&peer);
}

/* Two connections at once: each request gets its own answer, one change after the other. */
static void connections_do_not_mix(void **state)
{
    LocalPeer *a = talk(), *b = talk();
    Prepare first, second;
    Envelope to_switch;
    Mail__EngineSwitch body;
    (void)state;
    prepare_make(&first, "mx1", 1);
    prepare_make(&second, "mx1", 2);
    switch_make(&to_switch, &body, 1);
    assert_true(local_send(a, &first.envelope));
    assert_true(local_send(a, &to_switch));
    ok(local_peer_run(a));
    assert_true(local_send(b, &second.envelope));
    ok(local_peer_run(b));
    expect_body(hear(a), MAIL__ENVELOPE__BODY_DONE);
    expect_body(hear(b), MAIL__ENVELOPE__BODY_DONE);
    Envelope *answer = hear(a);
    assert_int_equal(answer->in_reply_to, to_switch.id);
    assert_true(answer->body_case == MAIL__ENVELOPE__BODY_ENGINE_IS ||
                answer->body_case == MAIL__ENVELOPE__BODY_FAILURE);
    envelope_free(&answer);
    buf_done(&first.node);
    buf_done(&second.node);
    local_peer_free(&a);
    local_peer_free(&b);
}

static void a_task_has_a_result(void **state)
{
    static const char id[] = "01ARZ3NDEKTSV4RRFFQ69G5FAV";
    LocalPeer *peer = talk();
    (void)state;
    Envelope *answer = task_ask(peer, id, MAIL__TASK_START__VERB_NODE_CHECK);
    assert_int_equal(answer->body_case, MAIL__ENVELOPE__BODY_TASK_RESULT);
    assert_string_equal(answer->task_result->task_id, id);
    assert_int_equal(answer->task_result->state, MAIL__TASK_STATE__SUCCEEDED);
    assert_string_equal(answer->task_result->verdict, "0 files and 0 services looked at, 0 findings, 0 mended");
    envelope_free(&answer);
    expect_failure(task_ask(peer, id, MAIL__TASK_START__VERB__NOT_SET), MAIL__ERROR_NUMBER__UNSUPPORTED,
                   "mail-engine knows no such task");
    expect_failure(task_ask(peer, "short", MAIL__TASK_START__VERB_NODE_CHECK), MAIL__ERROR_NUMBER__INVALID,
                   "a task has an id of 26 characters");
    local_peer_free(&peer);
}

/* ---- what an agent in an attacker's hands does ---- */

static void hostile_objects_are_refused(void **state)
{
    static uint8_t noise[300 * 1024];
    static ProtobufCBinaryData many[10000];
    LocalPeer *peer = talk();
    Prepare prepare;
    (void)state;
    memset(noise, 0xff, sizeof noise);
    const struct {
        const char *row;
        ProtobufCBinaryData object;
        size_t n;
        const char *words;
    } rows[] = {
        {"empty", {.data = noise, .len = 0}, 1, "object 1 has 0 octets"},
        {"oversized", {.data = noise, .len = sizeof noise}, 1, "object 1 has 307200 octets: 1 to 262144"},
        {"noise", {.data = noise, .len = 100}, 1, ""},
        {"too many", {.data = noise, .len = 1}, 10000, "10000 objects of configuration, at most 1000"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        prepare_make(&prepare, "mx1", 1);
        for (size_t n = 0; n < rows[i].n; n++)
            many[n] = rows[i].object;
        prepare.body.objects = many;
        prepare.body.n_objects = rows[i].n;
        Envelope *answer = ask(peer, &prepare.envelope);
        if (!answer || answer->body_case != MAIL__ENVELOPE__BODY_FAILURE)
            fail_msg("%s: taken", rows[i].row);
        expect_failure(answer, MAIL__ERROR_NUMBER__INVALID, rows[i].words);
        buf_done(&prepare.node);
    }
    static const char *const names[] = {"../mx1", "mx1\nx", "-rf", "", "a b", "mx1;id", "$(id)", "MX\x1b[31m"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        Envelope *answer = prepare_ask(peer, names[i], 1);
        if (!answer || answer->body_case != MAIL__ENVELOPE__BODY_FAILURE)
            fail_msg("name '%s': taken", names[i]);
        expect_failure(answer, MAIL__ERROR_NUMBER__INVALID, "");
    }
    expect_failure(switch_ask(peer, 1), MAIL__ERROR_NUMBER__CONFLICT, "revision 1 is not prepared");
    local_peer_free(&peer);
}

static void hostile_users_are_refused(void **state)
{
    static const char *const names[] = {"../x", "..", "a\nb", "", "Alice", " a", "a/b", "a@b"};
    LocalPeer *peer = talk();
    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char name[16];
        snprintf(name, sizeof name, "%s", names[i]);
        expect_failure(refresh_ask(peer, name), MAIL__ERROR_NUMBER__INVALID, "refresh: user '");
    }
    local_peer_free(&peer);
}

static void what_is_not_in_the_list_ends_the_connection(void **state)
{
    Mail__Done done = MAIL__DONE__INIT;
    Mail__Hello hello = MAIL__HELLO__INIT;
    Mail__Change a_change = MAIL__CHANGE__INIT;
    Mail__EngineIs is = MAIL__ENGINE_IS__INIT;
    Envelope rows[] = {MAIL__ENVELOPE__INIT, MAIL__ENVELOPE__INIT, MAIL__ENVELOPE__INIT, MAIL__ENVELOPE__INIT};
    (void)state;
    rows[0].body_case = MAIL__ENVELOPE__BODY_DONE;
    rows[0].done = &done;
    rows[1].body_case = MAIL__ENVELOPE__BODY_HELLO;
    rows[1].hello = &hello;
    rows[2].body_case = MAIL__ENVELOPE__BODY_CHANGE;
    rows[2].change = &a_change;
    rows[3].body_case = MAIL__ENVELOPE__BODY_ENGINE_IS;
    rows[3].engine_is = &is;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        LocalPeer *peer = talk();
        expect_failure(ask(peer, &rows[i]), MAIL__ERROR_NUMBER__INVALID, "nobody asks this of mail-engine");
        assert_null(hear(peer));
        local_peer_free(&peer);
    }
}

static void too_many_at_once_end_the_connection(void **state)
{
    LocalPeer *peer = talk();
    bool refused = false;
    (void)state;
    for (int i = 0; i < 200; i++) {
        Envelope request;
        Mail__EngineSwitch body;
        switch_make(&request, &body, 1);
        assert_true(local_send(peer, &request));
    }
    for (Envelope *answer; (answer = hear(peer)); envelope_free(&answer)) {
        assert_int_equal(answer->body_case, MAIL__ENVELOPE__BODY_FAILURE);
        refused = refused || strstr(answer->failure->what, "4 requests at once are enough");
    }
    local_peer_free(&peer);
    peer = talk(); /* the others are served */
    expect_body(abort_ask(peer), MAIL__ENVELOPE__BODY_DONE);
    local_peer_free(&peer);
}

static void there_are_so_many_connections(void **state)
{
    enum { TALKS_MAX = 24 };
    LocalPeer *peers[TALKS_MAX], *beyond = NULL;
    (void)state;
    for (size_t i = 0; i < TALKS_MAX; i++)
        peers[i] = talk();
    ok(local_connect(socket_path.text, "test", &beyond));
    assert_null(hear(beyond));
    local_peer_free(&beyond);
    expect_body(abort_ask(peers[TALKS_MAX - 1]), MAIL__ENVELOPE__BODY_DONE);
    for (size_t i = 0; i < TALKS_MAX; i++)
        local_peer_free(&peers[i]);
}

/* Not even where the socket's mode would let him in. */
static void others_are_refused(void **state)
{
    struct stat st;
    int status = -1;
    (void)state;
    assert_int_equal(stat(socket_path.text, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0660);
    assert_int_equal(chmod(socket_path.text, 0666), 0);
    assert_int_equal(chmod(path_in(root, "run/mailnode/engine").text, 0755), 0);
    pid_t pid = fork();
    if (pid == 0) {
        LocalPeer *peer = NULL;
        if (setresgid(65534, 65534, 65534) != 0 || setresuid(65534, 65534, 65534) != 0)
            _exit(3);
        Error *err = local_call_open(socket_path.text, "test", &peer);
        Envelope request = MAIL__ENVELOPE__INIT, *answer = NULL;
        Mail__EngineState body = MAIL__ENGINE_STATE__INIT;
        request.body_case = MAIL__ENVELOPE__BODY_ENGINE_STATE;
        request.engine_state = &body;
        if (!err)
            err = local_call_send(peer, &request);
        if (!err)
            err = local_call_next(peer, request.id, &answer);
        _exit(err && err->code == ERROR_UNAVAILABLE && !answer ? 0 : 1);
    }
    for (Msec until = clock_ms() + 10000; waitpid(pid, &status, WNOHANG) == 0 && clock_ms() < until; usleep(1000))
        turn(NULL);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

static void a_second_one_is_refused(void **state)
{
    Verbs *second = NULL;
    (void)state;
    fails(verbs_new(
              &(VerbsParts){.root = root, .change = change, .supervise = supervise, .happened = happened, .made = made},
              &second),
          ERROR_CONFLICT, "engine.sock: pid ");
}

int main(void)
{
    signal(SIGPIPE, SIG_IGN);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_change_comes_into_force, setup, teardown),
        cmocka_unit_test_setup_teardown(happenings_are_told_once, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_prepared_goes_with_abort_or_its_connection, setup, teardown),
        cmocka_unit_test_setup_teardown(connections_do_not_mix, setup, teardown),
        cmocka_unit_test_setup_teardown(a_task_has_a_result, setup, teardown),
        cmocka_unit_test_setup_teardown(hostile_objects_are_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(hostile_users_are_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_not_in_the_list_ends_the_connection, setup, teardown),
        cmocka_unit_test_setup_teardown(too_many_at_once_end_the_connection, setup, teardown),
        cmocka_unit_test_setup_teardown(there_are_so_many_connections, setup, teardown),
        cmocka_unit_test_setup_teardown(others_are_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(a_second_one_is_refused, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
