/* A random walk beside a model that keeps every state whole: from any revision a node gets to what it should have. */
#include "fixture.h"

enum { N_THINGS = 42, N_NODES = 3, N_VARIANTS = 4, N_REVISIONS = 30, FIRST_MOVER = 3, N_MOVERS = 5 };

/* All that may be stated, in the order of kinds, instances and names; each in some variants, 0: not there. */
typedef struct Thing {
    Kind kind;
    const char *instance, *name;
    Object *variants[N_VARIANTS]; /* [0] is NULL */
    Digest sums[N_VARIANTS];
    Scope scope;
} Thing;

typedef struct State {
    uint8_t variant[N_THINGS];
} State;

static const char *const node_names[N_NODES] = {"n1", "n2", "n3"};
static Thing things[N_THINGS];
static size_t n_things;
static State states[N_REVISIONS + 1]; /* by revision */

static Object *variant_of(const Thing *thing, int variant)
{
    const char *const text[N_VARIANTS] = {NULL, "user:a", "user:b", "user:c"};

    switch (thing->kind) {
    case MAIL__OBJECT__BODY_NODE:
        return machine(thing->name, text[variant]);
    case MAIL__OBJECT__BODY_USER_DOMAIN:
        return user_domain(thing->name, node_names[variant % N_NODES], variant == 2 ? "n3" : NULL);
    case MAIL__OBJECT__BODY_INSTANCE:
        return instance(thing->name, variant == 3 ? NULL : node_names[variant], variant == 1 ? "u1" : "u2");
    case MAIL__OBJECT__BODY_DOMAIN:
        return domain(thing->instance, thing->name, text[variant]);
    case MAIL__OBJECT__BODY_POLICY:
        return policy(thing->instance, (uint64_t)variant);
    case MAIL__OBJECT__BODY_ADDRESS:
        return address(thing->instance, thing->name, text[variant]);
    default:
        return NULL;
    }
}

static void thing_add(Kind kind, const char *in, const char *name)
{
    Thing *thing = &things[n_things++];

    *thing = (Thing){.kind = kind, .instance = in, .name = name};
    ObjectRef ref = ref_of(kind, in, name);
    thing->scope = object_scope(&ref);
    for (int v = 1; v < N_VARIANTS; v++) {
        DEFER(buf_done) Buf bytes = {0};
        thing->variants[v] = variant_of(thing, v);
        object_pack(thing->variants[v], &bytes);
        thing->sums[v] = digest_of(bytes.data, bytes.size);
    }
}

static void things_make(void)
{
    static const char *const instances[] = {"i1", "i2", "i3"};
    static const char *const addresses[] = {"a@x.org", "b@x.org", "c@*", "d@y.org",
                                            "e@x.org", "f@z.org", "g@*", "h@x.org"};

    for (size_t i = 0; i < N_NODES; i++)
        thing_add(MAIL__OBJECT__BODY_NODE, "", node_names[i]);
    thing_add(MAIL__OBJECT__BODY_USER_DOMAIN, "", "u1");
    thing_add(MAIL__OBJECT__BODY_USER_DOMAIN, "", "u2");
    for (size_t i = 0; i < 3; i++)
        thing_add(MAIL__OBJECT__BODY_INSTANCE, "", instances[i]);
    for (size_t i = 0; i < 3; i++)
        for (size_t k = 0; k < 2; k++)
            thing_add(MAIL__OBJECT__BODY_DOMAIN, instances[i], k ? "y.org" : "x.org");
    for (size_t i = 0; i < 3; i++)
        thing_add(MAIL__OBJECT__BODY_POLICY, instances[i], "");
    for (size_t i = 0; i < 3; i++)
        for (size_t k = 0; k < 8; k++)
            thing_add(MAIL__OBJECT__BODY_ADDRESS, instances[i], addresses[k]);
    assert_true(n_things <= N_THINGS);
}

static void things_free(void)
{
    for (size_t i = 0; i < n_things; i++)
        for (int v = 1; v < N_VARIANTS; v++)
            object_free(&things[i].variants[v]);
    n_things = 0;
}

/* The model's own reading of who needs what. */
static bool needs(const State *state, const char *node, const char *scope)
{
    Subscription list[OBJECT_SUBSCRIPTIONS_MAX];

    for (size_t i = 0; i < n_things; i++) {
        const Object *object = things[i].variants[state->variant[i]];
        size_t n = object ? object_subscriptions(object, list, OBJECT_SUBSCRIPTIONS_MAX) : 0;
        for (size_t k = 0; k < n; k++)
            if (strcmp(list[k].node, node) == 0 && strcmp(list[k].scope.text, scope) == 0)
                return true;
    }
    return false;
}

static State view_of(const State *state, const char *node)
{
    State view = {{0}};

    for (size_t i = 0; i < n_things; i++)
        if (state->variant[i] && needs(state, node, things[i].scope.text))
            view.variant[i] = state->variant[i];
    return view;
}

static bool scopes_differ(const State *a, const State *b, const char *node)
{
    for (size_t i = 0; i < n_things; i++)
        if (needs(a, node, things[i].scope.text) != needs(b, node, things[i].scope.text))
            return true;
    return false;
}

/* Does the revision from a to b concern the node? */
static bool concerns(const State *a, const State *b, const char *node)
{
    State before = view_of(a, node), after = view_of(b, node);
    return memcmp(&before, &after, sizeof before) != 0 || scopes_differ(a, b, node);
}

/* ---- a node ---- */

typedef struct Peer {
    State has;
    size_t last_thing;
    int stage; /* 0 scopes, 1 removed, 2 objects */
    uint64_t from;
} Peer;

static size_t thing_of(const ObjectRef *ref)
{
    for (size_t i = 0; i < n_things; i++)
        if (things[i].kind == ref->kind && strcmp(things[i].instance, ref->instance) == 0 &&
            strcmp(things[i].name, ref->name) == 0)
            return i;
    fail_msg("never stated: %s %s/%s", kind_info(ref->kind)->name, ref->instance, ref->name);
    return 0;
}

static void in_order(Peer *peer, int stage, Kind kind)
{
    size_t order = 0;

    while (kinds[order] != kind)
        order++;
    if (stage < peer->stage || (stage == peer->stage && order < peer->last_thing))
        fail_msg("stage %d, %s: out of order", stage, kind_info(kind)->name);
    peer->stage = stage;
    peer->last_thing = order;
}

static Error *peer_drop(void *context, const char *scope)
{
    Peer *peer = context;

    assert_int_equal(peer->stage, 0);
    assert_true(peer->from > 0);
    for (size_t i = 0; i < n_things; i++)
        if (strcmp(things[i].scope.text, scope) == 0)
            peer->has.variant[i] = 0;
    return NULL;
}

static Error *peer_removed(void *context, const ObjectRef *ref)
{
    Peer *peer = context;
    size_t i = thing_of(ref);

    in_order(peer, 1, ref->kind);
    if (!peer->has.variant[i])
        fail_msg("removed %s, which it had not", ref->name);
    peer->has.variant[i] = 0;
    return NULL;
}

static Error *peer_object(void *context, const void *bytes, size_t size)
{
    Peer *peer = context;
    DEFER(object_free) Object *object = NULL;

    ok(object_unpack(bytes, size, &object));
    ObjectRef ref = object_ref(object);
    in_order(peer, 2, ref.kind);
    size_t i = thing_of(&ref);
    uint8_t variant = 1;
    while (!object_equal(things[i].variants[variant], object))
        variant++;
    peer->has.variant[i] = variant;
    return NULL;
}

static void node_checks(const char *node, uint64_t newest)
{
    const State *now = &states[newest];
    State wanted = view_of(now, node);
    Digest sum = {{0}}, kept;

    for (size_t i = 0; i < n_things; i++)
        if (wanted.variant[i])
            digest_add(&sum, &things[i].sums[wanted.variant[i]]);
    ok(store_node_digest(store, node, &kept));
    assert_true(digest_equal(&kept, &sum));

    for (uint64_t from = 0; from <= newest; from++) {
        Peer peer = {.has = view_of(&states[from], node), .from = from};
        DeltaSink sink = {&peer, peer_drop, peer_removed, peer_object, NULL};
        ok(store_delta(store, node, from, &sink));
        if (memcmp(&peer.has, &wanted, sizeof wanted) != 0)
            fail_msg("%s: from %" PRIu64 " to %" PRIu64 " it does not get there", node, from, newest);
    }
}

static void revision_checks(const char *node, uint64_t newest)
{
    uint64_t expected = 0;

    for (uint64_t r = 1; r <= newest; r++) {
        uint64_t found = UINT64_MAX;
        if (concerns(&states[r - 1], &states[r], node))
            expected = r;
        ok(store_node_revision(store, node, r, &found));
        if (found != expected)
            fail_msg("%s at %" PRIu64 ": revision %" PRIu64 ", wanted %" PRIu64, node, r, found, expected);
    }
    uint64_t now = UINT64_MAX;
    ok(store_node_revision(store, node, 0, &now));
    assert_int_equal(now, expected);
}

static Error *mark_node(void *context, const char *node)
{
    bool *marks = context;

    for (size_t i = 0; i < N_NODES; i++)
        if (strcmp(node_names[i], node) == 0) {
            assert_false(marks[i]);
            marks[i] = true;
        }
    return NULL;
}

static void touched_checks(uint64_t newest)
{
    for (uint64_t r = 1; r <= newest; r++) {
        bool marks[N_NODES] = {false};
        ok(store_nodes_touched(store, r, mark_node, marks));
        for (size_t i = 0; i < N_NODES; i++)
            if (marks[i] != concerns(&states[r - 1], &states[r], node_names[i]))
                fail_msg("revision %" PRIu64 " and %s: %d", r, node_names[i], marks[i]);
    }
}

/* ---- the state then, and what differs ---- */

typedef struct Expect {
    const State *before, *after;
    size_t next;
} Expect;

static Error *listed(void *context, const ObjectRef *ref, const void *bytes, size_t size)
{
    Expect *expect = context;
    DEFER(object_free) Object *object = NULL;

    while (expect->next < n_things && !expect->after->variant[expect->next])
        expect->next++;
    assert_int_equal(thing_of(ref), expect->next);
    ok(object_unpack(bytes, size, &object));
    assert_true(object_equal(object, things[expect->next].variants[expect->after->variant[expect->next]]));
    expect->next++;
    return NULL;
}

static Error *differs(void *context, const Object *before, const Object *after)
{
    Expect *expect = context;
    ObjectRef ref = object_ref(after ? after : before);

    while (expect->next < n_things && expect->before->variant[expect->next] == expect->after->variant[expect->next])
        expect->next++;
    size_t i = thing_of(&ref);
    assert_int_equal(i, expect->next);
    const Object *was = things[i].variants[expect->before->variant[i]],
                 *is = things[i].variants[expect->after->variant[i]];
    assert_true(before ? was && object_equal(before, was) : !was);
    assert_true(after ? is && object_equal(after, is) : !is);
    expect->next++;
    return NULL;
}

static void history_checks(uint64_t newest)
{
    for (uint64_t r = 1; r <= newest; r++) {
        Expect expect = {.after = &states[r]};
        ok(store_each(store, &(StoreFilter){.revision = r}, listed, &expect));
        while (expect.next < n_things && !states[r].variant[expect.next])
            expect.next++;
        assert_int_equal(expect.next, n_things);
    }
    for (uint64_t from = 0; from <= newest; from++)
        for (uint64_t to = 1; to <= newest; to += 3) { /* backwards, too */
            Expect expect = {.before = &states[from], .after = &states[to]};
            ok(store_diff(store, from, to, NULL, differs, &expect));
            while (expect.next < n_things && states[from].variant[expect.next] == states[to].variant[expect.next])
                expect.next++;
            assert_int_equal(expect.next, n_things);
        }
}

/* ---- the walk ---- */

static uint32_t seed;

static uint32_t chance(uint32_t n)
{
    seed = seed * 1664525U + 1013904223U;
    return (seed >> 8) % n;
}

static size_t count_differing(const State *a, const State *b)
{
    size_t n = 0;

    for (size_t i = 0; i < n_things; i++)
        n += a->variant[i] != b->variant[i];
    return n;
}

/* Some steps, often on the same few things; user domains and instances move about. */
static void change_some(State *now)
{
    const State before = *now;
    size_t first = chance((uint32_t)n_things);

    for (uint32_t steps = 1 + chance(6); steps; steps--) {
        size_t i = chance(3) ? (first + chance(2)) % n_things : chance((uint32_t)n_things);
        if (chance(4) == 0)
            i = FIRST_MOVER + chance(N_MOVERS);
        uint8_t variant = (uint8_t)chance(N_VARIANTS);
        ObjectRef ref = ref_of(things[i].kind, things[i].instance, things[i].name);
        if (variant)
            ok(store_put(store, things[i].variants[variant]));
        else if (now->variant[i])
            ok(store_remove(store, &ref));
        else
            fails(store_remove(store, &ref), ERROR_NOT_FOUND, "does not exist");
        now->variant[i] = variant;
        assert_int_equal(change_size(store), count_differing(&before, now));
    }
}

/* A batch of some changes, some of them undone; now and then all of it. */
static uint64_t batch(uint64_t newest)
{
    uint64_t first = newest;

    ok(store_begin(store));
    for (uint32_t changes = 1 + chance(3); changes && newest < N_REVISIONS; changes--) {
        State now = states[newest];
        uint64_t revision = UINT64_MAX;
        ok(change_begin(store));
        change_some(&now);
        if (chance(5) == 0) {
            ok(change_undo(store));
            continue;
        }
        bool same = memcmp(&now, &states[newest], sizeof now) == 0;
        ok(change_end(store, &author, &revision));
        assert_int_equal(revision, same ? 0 : newest + 1);
        if (!same)
            states[++newest] = now;
    }
    if (chance(6) == 0) {
        store_rollback(store);
        return first;
    }
    ok(store_commit(store));
    return newest;
}

static uint64_t walk(uint32_t start)
{
    uint64_t newest = 0;

    seed = start;
    while (newest < N_REVISIONS)
        newest = batch(newest);
    assert_int_equal(store_revision(store), newest);
    size_t n = 0;
    for (size_t i = 0; i < n_things; i++)
        n += states[newest].variant[i] != 0;
    assert_int_equal(store_count(store), n);
    return newest;
}

static void test_every_way_leads_there(void **state)
{
    (void)state;
    things_make();
    for (uint32_t start = 1; start <= 2; start++) {
        teardown(NULL);
        setup(NULL);
        uint64_t newest = walk(start);
        if (start == 2)
            reopen();
        ok(store_audit(store));
        for (size_t i = 0; i < N_NODES; i++) {
            node_checks(node_names[i], newest);
            revision_checks(node_names[i], newest);
        }
        touched_checks(newest);
        history_checks(newest);
        assert_int_equal(raw("SELECT count(*) FROM past WHERE from_revision>=to_revision"), 0);
        assert_int_equal(raw("SELECT count(*) FROM subscription WHERE from_revision>=to_revision"), 0);
        assert_int_equal(raw("SELECT count(*) FROM past p JOIN past q ON q.kind=p.kind AND q.instance=p.instance"
                             " AND q.name=p.name AND q.from_revision=p.to_revision AND q.bytes=p.bytes"),
                         0);
    }
    things_free();
}

/* What lies before the horizon is gone, what lies behind it is as it was. */
static void test_every_way_from_the_horizon_leads_there(void **state)
{
    enum { HORIZON = 14 };
    (void)state;

    things_make();
    uint64_t newest = walk(7);
    raw("UPDATE revision SET time=time-500*86400");
    ok(store_compact(store, 0, HORIZON));
    ok(store_audit(store));
    assert_int_equal(raw("SELECT min(number) FROM revision"), HORIZON);
    assert_true(raw("SELECT min(to_revision) FROM past") > HORIZON);
    for (size_t i = 0; i < N_NODES; i++) {
        State wanted = view_of(&states[newest], node_names[i]);
        for (uint64_t from = HORIZON; from <= newest; from++) {
            Peer peer = {.has = view_of(&states[from], node_names[i]), .from = from};
            DeltaSink sink = {&peer, peer_drop, peer_removed, peer_object, NULL};
            ok(store_delta(store, node_names[i], from, &sink));
            assert_memory_equal(&peer.has, &wanted, sizeof wanted);
        }
        uint64_t expected = 0, found = UINT64_MAX;
        for (uint64_t r = 1; r <= newest; r++) {
            if (concerns(&states[r - 1], &states[r], node_names[i]))
                expected = r;
            ok(store_node_revision(store, node_names[i], r, &found));
            if (r >= HORIZON)
                assert_int_equal(found, expected);
        }
    }
    DeltaSink none = {NULL, peer_drop, peer_removed, peer_object, NULL};
    fails(store_delta(store, "n1", HORIZON - 1, &none), ERROR_NOT_FOUND,
          "revision 13 is no longer kept, the oldest is 14");
    for (uint64_t r = HORIZON; r <= newest; r++) {
        Expect expect = {.after = &states[r]};
        ok(store_each(store, &(StoreFilter){.revision = r}, listed, &expect));
    }
    things_free();
}

static void test_a_delta_from_the_future(void **state)
{
    DeltaSink sink = {NULL, peer_drop, peer_removed, peer_object, NULL};
    (void)state;
    fails(store_delta(store, "n1", 1, &sink), ERROR_NOT_FOUND, "there is no revision 1, the newest is 0");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_every_way_leads_there, setup, teardown),
        cmocka_unit_test_setup_teardown(test_every_way_from_the_horizon_leads_there, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_delta_from_the_future, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
