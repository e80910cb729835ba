/* Requests as they come over the socket and over CURVE, with the real parts behind them. */
#include "requests.h"

#include "cluster.h"

#include "local/local.h"

#include <inttypes.h>

enum { ANSWERS_MAX = 256 };

static Requests *requests;
static LocalPeer *admin;
static Envelope *answers[ANSWERS_MAX];
static size_t n_answers;

static void answers_drop(void)
{
    while (n_answers)
        envelope_free(&answers[--n_answers]);
}

static void open_requests(void)
{
    static char socket_path[96];
    RequestsParts parts = {.store = store, .door = door, .nodes = nodes, .tasks = tasks, .events = events};

    snprintf(socket_path, sizeof socket_path, "%s/ctl.sock", folder);
    parts.socket = socket_path;
    ok(requests_new(&parts, &requests));
    ok(local_connect(socket_path, "unit", &admin));
}

static int begin(void **state)
{
    int err = setup(state);

    if (!err)
        open_requests();
    return err;
}

static int end(void **state)
{
    answers_drop();
    local_peer_free(&admin);
    requests_free(&requests);
    return teardown(state);
}

static void round_of(LocalPeer *peer)
{
    turn();
    requests_run(requests, now_ms());
    if (peer)
        ok(local_peer_run(peer));
}

/* ---- asking ---- */

static bool is_last(const Envelope *envelope)
{
    return envelope->last || envelope->body_case == MAIL__ENVELOPE__BODY_FAILURE ||
           envelope->body_case == MAIL__ENVELOPE__BODY_DONE;
}

static uint64_t send_by(LocalPeer *peer, BodyCase body, void *message)
{
    Envelope envelope = MAIL__ENVELOPE__INIT;

    envelope.body_case = body;
    envelope.hello = message; /* all members of the oneof are pointers */
    assert_true(local_send(peer, &envelope));
    return envelope.id;
}

/* Takes what has come for 'id' into answers[]; true: the last was among it. */
static bool gather(LocalPeer *peer, uint64_t id)
{
    uint64_t other = 0;

    for (;;) {
        Envelope *envelope = NULL;
        ok(local_receive(peer, &envelope, &other));
        if (!envelope)
            return false;
        if (envelope->in_reply_to != id) {
            envelope_free(&envelope);
            continue;
        }
        assert_true(n_answers < ANSWERS_MAX);
        assert_int_equal(envelope->seq, n_answers);
        answers[n_answers++] = envelope;
        if (is_last(envelope))
            return true;
    }
}

static void wait_for(LocalPeer *peer, uint64_t id)
{
    answers_drop();
    for (Msec limit = clock_ms() + PATIENCE_MS; !gather(peer, id);) {
        if (clock_ms() > limit)
            fail_msg("no (last) answer, %zu came", n_answers);
        round_of(peer);
    }
}

/* The last of all answers, which lie in answers[]. */
static const Envelope *ask_now(BodyCase body, void *message)
{
    wait_for(admin, send_by(admin, body, message));
    return answers[n_answers - 1];
}

static void refuses(BodyCase body, void *message, ErrorCode code, const char *words)
{
    const Envelope *said = ask_now(body, message);

    if (said->body_case != MAIL__ENVELOPE__BODY_FAILURE)
        fail_msg("%s was answered with %s", body_name(body), body_name(said->body_case));
    if ((int)said->failure->code != (int)code || !strstr(said->failure->what, words))
        fail_msg("%s: %s, wanted %s", body_name(body), said->failure->what, words);
}

/* ---- what is stated ---- */

static uint64_t site(void)
{
    put(machine("mx1"));
    put(user_domain("staff", "mx1", NULL));
    put(instance("main", "mx1", "staff"));
    return put(object_new(MAIL__OBJECT__BODY_DOMAIN, "main", "example.org"));
}

/* One revision. */
static uint64_t many_addresses(size_t n, const char *to)
{
    static const Author author = {.who = "root"};
    uint64_t revision = 0;

    ok(store_begin(store));
    ok(change_begin(store));
    for (size_t i = 0; i < n; i++) {
        DEFER(xfree) char *name = xasprintf("a%05zu@example.org", i);
        DEFER(object_free) Object *object = address("main", name, to);
        ok(store_put(store, object));
    }
    ok(change_end(store, &author, &revision));
    ok(store_commit(store));
    nodes_changed(nodes, revision, now_ms());
    return revision;
}

typedef struct OneEdit {
    Mail__Change change;
    Mail__ObjectEdit edit, *list;
    Mail__Ref ref;
    Mail__FieldEdit field, *fields;
    Mail__Manner manner;
} OneEdit;

static Mail__Change *edit_of(OneEdit *one, Mail__Verb verb, const char *name, const char *to)
{
    mail__change__init(&one->change);
    mail__object_edit__init(&one->edit);
    mail__ref__init(&one->ref);
    mail__field_edit__init(&one->field);
    mail__manner__init(&one->manner);
    one->ref.kind = (char *)"address";
    one->ref.name = (char *)(uintptr_t)name;
    one->field.field = (char *)"to";
    one->field.value = (char *)(uintptr_t)to;
    one->fields = &one->field;
    one->edit.has_verb = true;
    one->edit.verb = verb;
    one->edit.ref = &one->ref;
    one->edit.fields = &one->fields;
    one->edit.n_fields = to ? 1 : 0;
    one->list = &one->edit;
    one->change.edits = &one->list;
    one->change.n_edits = 1;
    one->change.manner = &one->manner;
    return &one->change;
}

/* ---- tests ---- */

static void changes_are_stored_then_told(void **state)
{
    (void)state;
    OneEdit one;

    site();
    const Envelope *said =
        ask_now(MAIL__ENVELOPE__BODY_CHANGE, edit_of(&one, MAIL__VERB__ADD, "info@example.org", "alice"));
    assert_int_equal(said->body_case, MAIL__ENVELOPE__BODY_OUTCOME);
    assert_int_equal(said->outcome->revision, 5);
    assert_int_equal(said->outcome->n_differences, 1);
    assert_int_equal(said->outcome->n_nodes, 1);
    assert_int_equal(said->outcome->nodes[0]->state, MAIL__FORCE_STATE__PENDING);
    assert_string_equal(said->outcome->nodes[0]->why, "has not joined yet"); /* and nobody waits for it */
    refuses(MAIL__ENVELOPE__BODY_CHANGE, edit_of(&one, MAIL__VERB__ADD, "info@example.org", "bob"), ERROR_EXISTS,
            "exists");
    edit_of(&one, MAIL__VERB__ADD, "dry@example.org", "alice");
    one.manner.has_dry_run = one.manner.dry_run = true;
    said = ask_now(MAIL__ENVELOPE__BODY_CHANGE, &one.change);
    assert_int_equal(said->outcome->revision, 0);
    assert_int_equal(said->outcome->count, 1);
    assert_int_equal(said->outcome->n_differences, 1);
    assert_false(said->outcome->differences[0]->has_before);
    assert_int_equal(store_revision(store), 5);
    edit_of(&one, MAIL__VERB__MODIFY, "info@example.org", "alice"); /* rehearsed, and nothing would change */
    one.manner.has_dry_run = one.manner.dry_run = true;
    assert_int_equal(ask_now(MAIL__ENVELOPE__BODY_CHANGE, &one.change)->outcome->n_differences, 0);
    edit_of(&one, MAIL__VERB__REMOVE, "nobody@example.org", NULL);
    one.manner.has_lenient = one.manner.lenient = true;
    said = ask_now(MAIL__ENVELOPE__BODY_CHANGE, &one.change);
    assert_int_equal(said->outcome->revision, 0);
    edit_of(&one, MAIL__VERB__ADD, "x@example.org", "alice");
    one.manner.message = (char *)"line\nforged";
    refuses(MAIL__ENVELOPE__BODY_CHANGE, &one.change, ERROR_INVALID, "message");
}

static void lists_come_in_parts_of_one_revision(void **state)
{
    (void)state;
    enum { N = 3000 };
    Mail__List list = MAIL__LIST__INIT;
    size_t n = 0;
    OneEdit one;

    site();
    uint64_t revision = many_addresses(N, "user:alice");
    list.kind = (char *)"address";
    uint64_t id = send_by(admin, MAIL__ENVELOPE__BODY_LIST, &list);
    round_of(admin);
    round_of(admin);
    send_by(admin, MAIL__ENVELOPE__BODY_CHANGE, edit_of(&one, MAIL__VERB__ADD, "a02999x@example.org", "bob"));
    wait_for(admin, id);
    assert_true(n_answers > 2);
    for (size_t i = 0; i < n_answers; i++) {
        assert_int_equal(answers[i]->listed->revision, revision);
        assert_true(answers[i]->listed->n_objects <= N / 2);
        n += answers[i]->listed->n_objects;
    }
    assert_int_equal(n, N);
    assert_int_equal(store_revision(store), revision + 1);
    list.instance = (char *)"main";
    list.after = (char *)"a00009@example.org";
    list.has_limit = true;
    list.limit = 7;
    const Envelope *said = ask_now(MAIL__ENVELOPE__BODY_LIST, &list);
    DEFER(object_free) Object *first = NULL;
    assert_int_equal(said->listed->n_objects, 7);
    ok(object_unpack(said->listed->objects[0].data, said->listed->objects[0].len, &first));
    assert_string_equal(first->name, "a00010@example.org");
}

/* Of many only those that lead to where it is asked. */
static void lists_of_what_leads_somewhere(void **state)
{
    (void)state;
    static const struct {
        const char *kind, *to, *name;
    } cases[] = {
        {"address", "public:", "sales@*"},       {"address", "public:Sal", "sales@*"},
        {"address", "public:Sales/2027", NULL},  {"address", "user:bob", "z@example.org"},
        {"domain", "public:", "second.example"}, {"domain", "user:", NULL},
    };
    Mail__List list = MAIL__LIST__INIT;

    site();
    many_addresses(3000, "user:alice");
    put(address("main", "sales@*", "public:Sales"));
    put(address("main", "z@example.org", "user:bob"));
    Object *domain = object_new(MAIL__OBJECT__BODY_DOMAIN, "main", "second.example");
    domain->domain->catch_all = xstrdup("public:Sales");
    put(domain);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        DEFER(object_free) Object *found = NULL;
        list.kind = (char *)(uintptr_t)cases[i].kind;
        list.to = (char *)(uintptr_t)cases[i].to;
        ask_now(MAIL__ENVELOPE__BODY_LIST, &list);
        size_t n = 0;
        for (size_t k = 0; k < n_answers; k++)
            for (size_t m = 0; m < answers[k]->listed->n_objects; m++, n++) {
                object_free(&found);
                ok(object_unpack(answers[k]->listed->objects[m].data, answers[k]->listed->objects[m].len, &found));
            }
        if (n != (cases[i].name != NULL) || (found && strcmp(found->name, cases[i].name) != 0))
            fail_msg("%s to %s: %zu, the last %s", cases[i].kind, cases[i].to, n, found ? found->name : "none");
    }
    list.kind = (char *)"node";
    refuses(MAIL__ENVELOPE__BODY_LIST, &list, ERROR_INVALID, "lead somewhere");
    list.kind = (char *)"address";
    list.has_limit = true;
    list.limit = 7;
    refuses(MAIL__ENVELOPE__BODY_LIST, &list, ERROR_INVALID, "without limit");
}

static void lists_that_are_none(void **state)
{
    (void)state;
    Mail__List list = MAIL__LIST__INIT;

    site();
    list.kind = (char *)"adress";
    refuses(MAIL__ENVELOPE__BODY_LIST, &list, ERROR_INVALID, "there is no kind 'adress'");
    list.kind = (char *)"domain";
    list.name = (char *)"exmaple.org";
    refuses(MAIL__ENVELOPE__BODY_LIST, &list, ERROR_NOT_FOUND, "domain exmaple.org does not exist");
    assert_string_equal(answers[0]->failure->hint, "did you mean example.org?");
    list.name = NULL;
    list.instance = (char *)"nowhere";
    refuses(MAIL__ENVELOPE__BODY_LIST, &list, ERROR_NOT_FOUND, "instance nowhere does not exist");
    list.instance = NULL;
    list.has_revision = true;
    list.revision = 99;
    refuses(MAIL__ENVELOPE__BODY_LIST, &list, ERROR_NOT_FOUND, "revision 99 does not exist");
    list.revision = 3; /* before the domain */
    assert_int_equal(ask_now(MAIL__ENVELOPE__BODY_LIST, &list)->listed->n_objects, 0);
}

/* Sent in small parts while others are served; what is not read is not made. */
static void a_reader_that_does_not_read_costs_little(void **state)
{
    (void)state;
    enum { N = 6000 };
    Mail__List list = MAIL__LIST__INIT;
    Mail__GetStatus status = MAIL__GET_STATUS__INIT;
    LocalPeer *deaf = NULL;
    DEFER(xfree) char *socket_path = xasprintf("%s/ctl.sock", folder);
    size_t n = 0;

    site();
    many_addresses(N, "user:alice");
    ok(local_connect(socket_path, "deaf", &deaf));
    while (!local_greeted(deaf))
        round_of(deaf);
    uint64_t id = send_by(deaf, MAIL__ENVELOPE__BODY_LIST, &list);
    ok(local_peer_run(deaf));
    for (int i = 0; i < 20; i++)
        assert_int_equal(ask_now(MAIL__ENVELOPE__BODY_GET_STATUS, &status)->body_case, MAIL__ENVELOPE__BODY_STATUS);
    wait_for(deaf, id);
    for (size_t i = 0; i < n_answers; i++)
        n += answers[i]->listed->n_objects;
    assert_int_equal(n, N + 4);
    local_peer_free(&deaf);
}

typedef struct Seen {
    size_t added, changed, removed;
} Seen;

static Seen differences_seen(void)
{
    Seen seen = {0};

    for (size_t i = 0; i < n_answers; i++)
        for (size_t k = 0; k < answers[i]->differences->n_differences; k++) {
            const Mail__Difference *one = answers[i]->differences->differences[k];
            seen.added += !one->has_before;
            seen.removed += !one->has_after;
            seen.changed += one->has_before && one->has_after;
        }
    return seen;
}

/* Few differences are asked for at once, many are walked to: the same answer. */
static void differences_few_and_many(void **state)
{
    (void)state;
    Mail__GetDiff wish = MAIL__GET_DIFF__INIT;

    uint64_t before = site();
    for (int many = 0; many < 2; many++) {
        size_t n = many ? 1500 : 40;
        uint64_t first = many_addresses(n, "user:alice"), second = many_addresses(n, "user:bob");
        drop(MAIL__OBJECT__BODY_ADDRESS, "main", "a00003@example.org");
        wish.has_from_revision = true;
        wish.from_revision = first;
        ask_now(MAIL__ENVELOPE__BODY_GET_DIFF, &wish);
        Seen seen = differences_seen();
        assert_int_equal(seen.changed, n - 1);
        assert_int_equal(seen.removed, 1);
        wish.from_revision = before;
        wish.has_to_revision = true;
        wish.to_revision = second;
        ask_now(MAIL__ENVELOPE__BODY_GET_DIFF, &wish);
        seen = differences_seen();
        assert_int_equal(seen.added + seen.changed, n);
        assert_int_equal(seen.removed, 0);
        wish.has_to_revision = false;
        wish.to_revision = 0;
        wish.from_revision = store_revision(store);
        ask_now(MAIL__ENVELOPE__BODY_GET_DIFF, &wish);
        assert_int_equal(n_answers, 1);
        assert_int_equal(answers[0]->differences->n_differences, 0);
    }
    wish.from_revision = 0; /* from the empty beginning */
    wish.instance = (char *)"main";
    ask_now(MAIL__ENVELOPE__BODY_GET_DIFF, &wish);
    assert_int_equal(differences_seen().added, 1500 - 1 + 2); /* addresses, domain, the instance itself */
    wish.from_revision = 99;
    refuses(MAIL__ENVELOPE__BODY_GET_DIFF, &wish, ERROR_NOT_FOUND, "revision 99 does not exist");
}

static void history_names_what_changed(void **state)
{
    (void)state;
    Mail__GetHistory wish = MAIL__GET_HISTORY__INIT;
    OneEdit one;

    site();
    edit_of(&one, MAIL__VERB__ADD, "info@example.org", "alice");
    one.manner.message = (char *)"first";
    ask_now(MAIL__ENVELOPE__BODY_CHANGE, &one.change);
    many_addresses(100, "user:alice");
    ask_now(MAIL__ENVELOPE__BODY_GET_HISTORY, &wish);
    const Mail__RevisionInfo *newest = answers[0]->revisions->revisions[0], *next = answers[0]->revisions->revisions[1];
    assert_int_equal(newest->revision, 6);
    assert_int_equal(newest->count, 100);
    assert_int_equal(newest->n_changed, 20);
    assert_string_equal(next->who, "root");
    assert_string_equal(next->message, "first");
    assert_string_equal(next->changed[0]->kind, "address");
    assert_string_equal(next->changed[0]->name, "info@example.org");
    wish.kind = (char *)"address";
    wish.name = (char *)"INFO@example.org";
    ask_now(MAIL__ENVELOPE__BODY_GET_HISTORY, &wish);
    assert_int_equal(answers[0]->revisions->n_revisions, 1);
    wish.name = (char *)"nobody@example.org";
    refuses(MAIL__ENVELOPE__BODY_GET_HISTORY, &wish, ERROR_NOT_FOUND, "nobody@example.org does not exist");
}

static void long_histories_come_in_parts(void **state)
{
    (void)state;
    Mail__GetHistory wish = MAIL__GET_HISTORY__INIT;
    size_t n = 0;

    site();
    for (int i = 0; i < 40; i++)
        many_addresses(1, i % 2 ? "user:alice" : "user:bob");
    ask_now(MAIL__ENVELOPE__BODY_GET_HISTORY, &wish);
    assert_true(n_answers > 1);
    for (size_t i = 0; i < n_answers; i++)
        for (size_t k = 0; k < answers[i]->revisions->n_revisions; k++)
            assert_int_equal(answers[i]->revisions->revisions[k]->revision, 44 - n++);
    assert_int_equal(n, 44);
    wish.has_limit = wish.has_before = true;
    wish.limit = 3;
    wish.before = 10;
    ask_now(MAIL__ENVELOPE__BODY_GET_HISTORY, &wish);
    assert_int_equal(answers[0]->revisions->n_revisions, 3);
    assert_int_equal(answers[0]->revisions->revisions[0]->revision, 9);
}

/* F-170: a part has no answer unless it is wrong, and then the end says so, too. */
static void a_file_ends_with_its_first_error(void **state)
{
    (void)state;
    Mail__ApplyBegin start = MAIL__APPLY_BEGIN__INIT;
    Mail__ApplyPart part = MAIL__APPLY_PART__INIT;
    Mail__ApplyEnd finish = MAIL__APPLY_END__INIT;
    DEFER(object_free) Object *object = address("main", "info@example.org", "user:alice");
    DEFER(buf_done) Buf packed = {0};
    char place[] = "f:3", *places = place;
    uint8_t noise[] = {0xff, 0xff};

    site();
    refuses(MAIL__ENVELOPE__BODY_APPLY_END, &finish, ERROR_INVALID, "no file was begun");
    refuses(MAIL__ENVELOPE__BODY_APPLY_PART, &part, ERROR_INVALID, "no file was begun");
    assert_int_equal(ask_now(MAIL__ENVELOPE__BODY_APPLY_BEGIN, &start)->body_case, MAIL__ENVELOPE__BODY_DONE);
    object_pack(object, &packed);
    ProtobufCBinaryData bytes = {packed.size, packed.data};
    part.objects = &bytes;
    part.places = &places;
    part.n_objects = part.n_places = 1;
    send_by(admin, MAIL__ENVELOPE__BODY_APPLY_PART, &part);
    const Envelope *said = ask_now(MAIL__ENVELOPE__BODY_APPLY_END, &finish);
    assert_int_equal(said->outcome->revision, 5);

    ask_now(MAIL__ENVELOPE__BODY_APPLY_BEGIN, &start);
    bytes = (ProtobufCBinaryData){sizeof noise, noise};
    refuses(MAIL__ENVELOPE__BODY_APPLY_PART, &part, ERROR_INVALID, "f:3: ");
    send_by(admin, MAIL__ENVELOPE__BODY_APPLY_PART, &part); /* passed over */
    refuses(MAIL__ENVELOPE__BODY_APPLY_END, &finish, ERROR_INVALID, "f:3: ");
    refuses(MAIL__ENVELOPE__BODY_APPLY_END, &finish, ERROR_INVALID, "no file was begun");
    assert_int_equal(store_revision(store), 5);
}

static void followers_are_told_and_miss_by_number(void **state)
{
    (void)state;
    Mail__GetEvents wish = MAIL__GET_EVENTS__INIT;

    events_add(events, MAIL__FACT_STATE__GOOD, NULL, "first", "1");
    round_of(admin);
    ask_now(MAIL__ENVELOPE__BODY_GET_EVENTS, &wish);
    assert_string_equal(answers[0]->events->events[answers[0]->events->n_events - 1]->what, "first");
    wish.has_follow = wish.follow = true;
    uint64_t id = send_by(admin, MAIL__ENVELOPE__BODY_GET_EVENTS, &wish);
    answers_drop();
    while (!gather(admin, id) && !n_answers)
        round_of(admin);
    events_add(events, MAIL__FACT_STATE__BAD, "mx1", "second", "2");
    while (!gather(admin, id) && n_answers < 2)
        round_of(admin);
    assert_string_equal(answers[1]->events->events[0]->what, "second");
    assert_false(answers[1]->events->has_gap);
    for (int i = 0; i < 500; i++) /* at once: more than one turn tells */
        events_add(events, MAIL__FACT_STATE__GOOD, NULL, "many", "%d", i);
    while (!gather(admin, id) && n_answers < 3)
        round_of(admin);
    assert_int_equal(answers[2]->events->gap + answers[2]->events->n_events, 500);
    assert_true(answers[2]->events->gap > 0);
}

static void status_says_who_asks_and_what_is_wrong(void **state)
{
    (void)state;
    Mail__GetStatus wish = MAIL__GET_STATUS__INIT;

    site();
    const Mail__Status *status = ask_now(MAIL__ENVELOPE__BODY_GET_STATUS, &wish)->status;
    assert_string_equal(status->who, "root");
    assert_string_equal(status->role, "admin");
    assert_int_equal(status->n_objects, 4);
    assert_int_equal(status->revision, 4);
    assert_int_equal(status->n_nodes, 1);
    assert_int_equal(status->n_alarms, 0);
    wish.node = (char *)"mx2";
    refuses(MAIL__ENVELOPE__BODY_GET_STATUS, &wish, ERROR_NOT_FOUND, "node mx2 does not exist");
}

static void tokens_come_after_the_commit(void **state)
{
    (void)state;
    Mail__NodeToken wish = MAIL__NODE_TOKEN__INIT;

    wish.node = (char *)"mx1";
    const Envelope *said = ask_now(MAIL__ENVELOPE__BODY_NODE_TOKEN, &wish);
    assert_int_equal(said->body_case, MAIL__ENVELOPE__BODY_TOKEN);
    assert_int_equal(said->token->revision, 1);
    assert_true(strlen(said->token->text) > 40);
    refuses(MAIL__ENVELOPE__BODY_NODE_TOKEN, &wish, ERROR_EXISTS, "node mx1 exists");
    assert_string_equal(answers[0]->failure->hint, "a new token for it: mailctl node replace mx1");
    wish.has_replace = wish.replace = true;
    assert_int_equal(ask_now(MAIL__ENVELOPE__BODY_NODE_TOKEN, &wish)->body_case, MAIL__ENVELOPE__BODY_TOKEN);
    wish.node = (char *)"mx2";
    refuses(MAIL__ENVELOPE__BODY_NODE_TOKEN, &wish, ERROR_NOT_FOUND, "node mx2 does not exist");
    wish.node = (char *)"-x";
    refuses(MAIL__ENVELOPE__BODY_NODE_TOKEN, &wish, ERROR_INVALID, "node");
}

static void empty_answers_are_answers(void **state)
{
    (void)state;
    Mail__GetTasks which = MAIL__GET_TASKS__INIT;
    Mail__GetStatus status = MAIL__GET_STATUS__INIT;
    Mail__GetEvents past = MAIL__GET_EVENTS__INIT;
    Mail__GetHistory history = MAIL__GET_HISTORY__INIT;
    Mail__GetDiff diff = MAIL__GET_DIFF__INIT;
    Mail__List list = MAIL__LIST__INIT;
    Mail__Wait wish = MAIL__WAIT__INIT;

    assert_int_equal(ask_now(MAIL__ENVELOPE__BODY_GET_TASKS, &which)->tasks->n_tasks, 0);
    assert_int_equal(ask_now(MAIL__ENVELOPE__BODY_GET_STATUS, &status)->status->n_nodes, 0);
    assert_int_equal(ask_now(MAIL__ENVELOPE__BODY_GET_EVENTS, &past)->events->n_events, 0);
    assert_int_equal(ask_now(MAIL__ENVELOPE__BODY_GET_HISTORY, &history)->revisions->n_revisions, 0);
    assert_int_equal(ask_now(MAIL__ENVELOPE__BODY_GET_DIFF, &diff)->differences->n_differences, 0);
    assert_int_equal(ask_now(MAIL__ENVELOPE__BODY_LIST, &list)->listed->n_objects, 0);
    assert_int_equal(ask_now(MAIL__ENVELOPE__BODY_WAIT, &wish)->outcome->n_nodes, 0);
}

static void what_is_no_request_is_refused(void **state)
{
    (void)state;
    Mail__Pong pong = MAIL__PONG__INIT;
    Mail__Outcome outcome = MAIL__OUTCOME__INIT;
    Mail__Wait wish = MAIL__WAIT__INIT;
    Mail__TaskWait task = MAIL__TASK_WAIT__INIT;
    Mail__Rollback rollback = MAIL__ROLLBACK__INIT;

    refuses(MAIL__ENVELOPE__BODY_PONG, &pong, ERROR_INVALID, "pong: nobody asks this of a controller");
    refuses(MAIL__ENVELOPE__BODY_OUTCOME, &outcome, ERROR_INVALID, "outcome: nobody asks this");
    wish.has_revision = true;
    wish.revision = 7;
    refuses(MAIL__ENVELOPE__BODY_WAIT, &wish, ERROR_NOT_FOUND, "revision 7 does not exist, the newest is 0");
    task.task_id = (char *)"x";
    refuses(MAIL__ENVELOPE__BODY_TASK_WAIT, &task, ERROR_NOT_FOUND, "task x does not exist");
    refuses(MAIL__ENVELOPE__BODY_ROLLBACK, &rollback, ERROR_INVALID, "instance: which one?");
}

/* ---- over CURVE ---- */

static const Envelope *ask_remote(Peer *peer, BodyCase body, void *message)
{
    say(peer, body, message);
    answers_drop();
    for (Msec limit = clock_ms() + PATIENCE_MS; !peer->n_heard;) {
        if (clock_ms() > limit)
            fail_msg("no answer to %s", body_name(body));
        round_of(NULL);
    }
    answers[n_answers++] = peer->heard[0];
    peer->n_heard = 0;
    return answers[0];
}

static void F_171_remote_admins_greet_first(void **state)
{
    (void)state;
    Mail__GetStatus wish = MAIL__GET_STATUS__INIT;
    Mail__Greeting greeting = MAIL__GREETING__INIT;
    Object *entry = object_new(MAIL__OBJECT__BODY_ADMIN, NULL, "far");
    Peer keys = {.client = NULL};
    OneEdit one;

    site();
    curve_keypair(keys.public_key, &keys.secret_key);
    entry->admin->has_role = true; /* a viewer */
    entry->admin->key = xstrdup(keys.public_key);
    put(entry);
    requests_free(&requests); /* read again at the start */
    local_peer_free(&admin);
    open_requests();
    Peer *peer = peer_connect(&keys, "boot");
    secret_free(&keys.secret_key);
    assert_int_equal(ask_remote(peer, MAIL__ENVELOPE__BODY_GET_STATUS, &wish)->body_case, MAIL__ENVELOPE__BODY_FAILURE);
    greeting.has_protocol = true;
    greeting.protocol = 99;
    assert_non_null(strstr(ask_remote(peer, MAIL__ENVELOPE__BODY_GREETING, &greeting)->failure->what, "99"));
    greeting.protocol = ENVELOPE_VERSION;
    assert_int_equal(ask_remote(peer, MAIL__ENVELOPE__BODY_GREETING, &greeting)->body_case,
                     MAIL__ENVELOPE__BODY_GREETING);
    assert_string_equal(ask_remote(peer, MAIL__ENVELOPE__BODY_GET_STATUS, &wish)->status->role, "viewer");
    edit_of(&one, MAIL__VERB__ADD, "info@example.org", "alice");
    const Envelope *said = ask_remote(peer, MAIL__ENVELOPE__BODY_CHANGE, &one.change);
    assert_int_equal(said->body_case, MAIL__ENVELOPE__BODY_FAILURE);
    assert_int_equal(said->failure->code, MAIL__ERROR_NUMBER__DENIED);
}

/* ---- public mailboxes made by IMAP ---- */

enum { PUBLIC_MAX = 5000 };

static void many_public(size_t n)
{
    static const Author author = {.who = "root"};
    uint64_t revision = 0;

    ok(store_begin(store));
    ok(change_begin(store));
    for (size_t i = 0; i < n; i++) {
        DEFER(xfree) char *name = xasprintf("Box%05zu", i);
        DEFER(object_free) Object *object = object_new(MAIL__OBJECT__BODY_PUBLIC_MAILBOX, "main", name);
        ok(store_put(store, object));
    }
    ok(change_end(store, &author, &revision));
    ok(store_commit(store));
    nodes_changed(nodes, revision, now_ms());
}

/* Whatever is in it: only where it ends is looked at. */
static void applies_all(Peer *peer)
{
    Have have = {.revision = 0};

    while (have.revision < store_revision(store)) {
        Envelope *envelope = expect(peer, MAIL__ENVELOPE__BODY_DELTA);
        const Mail__Delta *delta = envelope->delta;
        if (envelope->last) {
            assert_true(digest_from(delta->to_digest.data, delta->to_digest.len, &have.digest));
            assert_true(digest_from(delta->to_chain.data, delta->to_chain.len, &have.chain));
            have.revision = delta->to_revision;
        }
        envelope_free(&envelope);
    }
    say_applied(peer, &have, have.revision);
    until(force("mx1", have.revision).state == MAIL__FORCE_STATE__IN_FORCE);
}

static void tells_made(Peer *peer, const char *name)
{
    Mail__Report report = MAIL__REPORT__INIT;
    Mail__PublicMade made = MAIL__PUBLIC_MADE__INIT;

    made.name = (char *)name;
    report.n_made = 1;
    report.made = &(Mail__PublicMade *){&made};
    say(peer, MAIL__ENVELOPE__BODY_REPORT, &report);
}

static bool public_there(const char *name)
{
    DEFER(object_free) Object *object = NULL;

    ok(store_get(store, &(ObjectRef){MAIL__OBJECT__BODY_PUBLIC_MAILBOX, "main", name}, 0, &object));
    return object != NULL;
}

/* After so many rounds what was said has been heard. */
static void made_is(const char *name, bool wanted, size_t n_events)
{
    static const char what[] = "public mailboxes made by IMAP not taken";
    Msec end = clock_ms() + PATIENCE_MS;

    while ((public_there(name) != wanted || happened(what) != n_events) && clock_ms() < end)
        round_of(NULL);
    for (int i = 0; i < 60; i++)
        round_of(NULL);
    assert_int_equal(public_there(name), wanted);
    assert_int_equal(happened(what), n_events);
}

/* Told once, until there was room again. */
static void F_055_public_mailboxes_made_by_imap_have_an_end(void **state)
{
    (void)state;
    Have have = {.revision = 0};

    site();
    many_public(PUBLIC_MAX - 1);
    Peer *peer = joined("mx1", "mx1");
    say_hello(peer, &have);
    standing_is(peer, MAIL__STANDING_STATE__BEHIND);
    applies_all(peer);
    tells_made(peer, "Last");
    made_is("Last", true, 0);
    applies_all(peer);
    for (int i = 0; i < 3; i++) {
        tells_made(peer, i == 1 ? "Last" : "More"); /* what is there needs no room */
        made_is("More", false, 1);
    }
    drop(MAIL__OBJECT__BODY_PUBLIC_MAILBOX, "main", "Box00007");
    applies_all(peer);
    tells_made(peer, "More");
    made_is("More", true, 1);
    applies_all(peer);
    tells_made(peer, "Again");
    made_is("Again", false, 2);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)
    const struct CMUnitTest tests[] = {
        TEST(changes_are_stored_then_told),
        TEST(lists_come_in_parts_of_one_revision),
        TEST(lists_of_what_leads_somewhere),
        TEST(lists_that_are_none),
        TEST(a_reader_that_does_not_read_costs_little),
        TEST(differences_few_and_many),
        TEST(history_names_what_changed),
        TEST(long_histories_come_in_parts),
        TEST(a_file_ends_with_its_first_error),
        TEST(followers_are_told_and_miss_by_number),
        TEST(status_says_who_asks_and_what_is_wrong),
        TEST(tokens_come_after_the_commit),
        TEST(empty_answers_are_answers),
        TEST(what_is_no_request_is_refused),
        TEST(F_171_remote_admins_greet_first),
        TEST(F_055_public_mailboxes_made_by_imap_have_an_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
