/* cluster.h - the controller's node side in a folder of its own, and machines that speak to it over CURVE
 *
 * turn() is one round of the loop at a time that tests move on by themselves (skew).
 */
#pragma once
#include "door.h"
#include "enrol.h"
#include "events.h"
#include "nodes.h"
#include "tasks.h"

#include "base/alloc.h"
#include "base/log.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "expect.h"

enum { REPORT_MS = 1000, PEERS_MAX = 8, PATIENCE_MS = 5000 };

static char folder[64], path[96];
static Identity *identity;
static Store *store;
static Events *events;
static Door *door;
static Nodes *nodes;
static Tasks *tasks;
static Enrol *enrol;
static CurveContext *context;
static Msec skew;

/* A machine: its key, its connection, and what it has taken. */
typedef struct Peer {
    CurveClient *client;
    const char *boot_id;
    char public_key[CURVE_KEY_SIZE];
    Secret *secret_key;
    bool there; /* its handshake is done */
    bool mute;  /* does not answer a Ping */
    Envelope *heard[64];
    size_t n_heard;
} Peer;
static Peer *peers[PEERS_MAX];
static size_t n_peers;

static inline Msec now_ms(void)
{
    return clock_ms() + skew;
}

/* ---- opening ---- */

static inline unsigned free_port(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_int_equal(bind(fd, (struct sockaddr *)&address, size), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &size), 0);
    close(fd);
    return ntohs(address.sin_port);
}

static inline void open_parts(void)
{
    ok(store_open(path, &store));
    ok(events_new(store, &events));
    ok(door_new(identity, events, &door));
    ok(nodes_new(store, door, events, &(NodesOptions){.report_ms = REPORT_MS}, &nodes));
    ok(tasks_new(store, nodes, events, &tasks));
    nodes_tasks(nodes, tasks);
    enrol = enrol_new(store, door, nodes, events);
}

static inline void close_parts(void)
{
    enrol_free(&enrol);
    tasks_free(&tasks);
    nodes_free(&nodes);
    door_free(&door);
    events_free(&events);
    store_free(&store);
}

static inline char **endpoint(void)
{
    char **list = xcalloc(1, sizeof *list);
    list[0] = xasprintf("tcp://127.0.0.1:%u", free_port());
    return list;
}

static inline int setup(void **state)
{
    (void)state;
    log_init("unit", LOG_LEVEL_ERROR);
    snprintf(folder, sizeof folder, "/tmp/unit-nodes-XXXXXX");
    if (!mkdtemp(folder))
        return -1;
    snprintf(path, sizeof path, "%s/store.db", folder);
    identity = xcalloc(1, sizeof *identity);
    curve_keypair(identity->public_key, &identity->secret_key);
    identity->endpoints = endpoint();
    identity->enrol_endpoints = endpoint();
    identity->n_endpoints = identity->n_enrol_endpoints = 1;
    open_parts();
    ok(curve_context_new(&context));
    skew = 0;
    return 0;
}

static inline void peer_forget(Peer *peer)
{
    while (peer->n_heard)
        envelope_free(&peer->heard[--peer->n_heard]);
}

static inline void peer_free(Peer **peer)
{
    peer_forget(*peer);
    curve_client_free(&(*peer)->client);
    secret_free(&(*peer)->secret_key);
    free(*peer);
    *peer = NULL;
}

static inline int teardown(void **state)
{
    (void)state;
    while (n_peers)
        peer_free(&peers[--n_peers]);
    curve_context_free(&context);
    close_parts();
    identity_free(&identity);
    return folder_remove(folder);
}

/* ---- one turn ---- */

static inline bool peer_receive(Peer *peer)
{
    uint64_t id = 0;
    Envelope *envelope = NULL, reply = MAIL__ENVELOPE__INIT;
    Mail__Pong pong = MAIL__PONG__INIT;

    ok(curve_client_receive(peer->client, &envelope, &id));
    if (!envelope)
        return false;
    if (envelope->body_case != MAIL__ENVELOPE__BODY_PING) {
        assert_true(peer->n_heard < sizeof peer->heard / sizeof peer->heard[0]);
        peer->heard[peer->n_heard++] = envelope;
        return true;
    }
    if (!peer->mute) {
        pong.boot_id = (char *)peer->boot_id;
        reply.body_case = MAIL__ENVELOPE__BODY_PONG;
        reply.pong = &pong;
        reply.has_in_reply_to = reply.has_last = reply.last = true;
        reply.in_reply_to = envelope->id;
        ok(curve_client_send(peer->client, &reply));
    }
    envelope_free(&envelope);
    return true;
}

static inline void turn(void)
{
    Msec now = now_ms();

    door_run(door, now);
    enrol_run(enrol, now);
    nodes_run(nodes, now);
    tasks_run(tasks, now);
    events_run(events, now);
    for (size_t i = 0; i < n_peers; i++) {
        curve_client_run(peers[i]->client, clock_ms());
        if (curve_client_connected(peers[i]->client))
            peers[i]->there = true;
        while (peer_receive(peers[i]))
            continue;
    }
    usleep(300);
}

#define until(fact)                                                                                                    \
    do {                                                                                                               \
        Msec end_ = clock_ms() + PATIENCE_MS;                                                                          \
        while (!(fact)) {                                                                                              \
            if (clock_ms() > end_)                                                                                     \
                fail_msg("%s:%d: did not come: %s", __FILE__, __LINE__, #fact);                                        \
            turn();                                                                                                    \
        }                                                                                                              \
    } while (0)

/* Long enough for whatever is on its way on this machine. */
static inline void settle(void)
{
    for (int i = 0; i < 60; i++)
        turn();
}

/* ---- machines ---- */

static inline Peer *peer_new(const Peer *like, const char *boot_id, bool enrolling)
{
    Peer *peer = xcalloc(1, sizeof *peer);

    peer->boot_id = boot_id;
    if (like) {
        memcpy(peer->public_key, like->public_key, sizeof peer->public_key);
        peer->secret_key = secret_new(secret_data(like->secret_key), secret_size(like->secret_key));
    } else {
        curve_keypair(peer->public_key, &peer->secret_key);
    }
    ok(curve_connect(context, (const char *const *)(enrolling ? identity->enrol_endpoints : identity->endpoints), 1,
                     identity->public_key, peer->public_key, peer->secret_key, &peer->client));
    peers[n_peers++] = peer;
    return peer;
}

static inline Peer *peer_connect(const Peer *like, const char *boot_id)
{
    Peer *peer = peer_new(like, boot_id, false);
    until(peer->there);
    return peer;
}

static inline void peer_close(Peer *peer)
{
    for (size_t i = 0; i < n_peers; i++)
        if (peers[i] == peer) {
            peers[i] = peers[--n_peers];
            peer_free(&peer);
            return;
        }
}

static inline void say(Peer *peer, BodyCase body, void *message)
{
    Envelope envelope = MAIL__ENVELOPE__INIT;

    envelope.body_case = body;
    envelope.hello = message; /* all members of the oneof are pointers */
    ok(curve_client_send(peer->client, &envelope));
}

static inline void reply(Peer *peer, const Envelope *to, BodyCase body, void *message)
{
    Envelope envelope = MAIL__ENVELOPE__INIT;

    envelope.body_case = body;
    envelope.hello = message;
    envelope.has_in_reply_to = envelope.has_last = envelope.last = true;
    envelope.in_reply_to = to->id;
    ok(curve_client_send(peer->client, &envelope));
}

/* The oldest of this kind that was heard, taken; NULL: none.  Owned by the caller. */
static inline Envelope *taken(Peer *peer, BodyCase body)
{
    for (size_t i = 0; i < peer->n_heard; i++)
        if (peer->heard[i]->body_case == body) {
            Envelope *found = peer->heard[i];
            memmove(peer->heard + i, peer->heard + i + 1, (--peer->n_heard - i) * sizeof(Envelope *));
            return found;
        }
    return NULL;
}

static inline Envelope *expect(Peer *peer, BodyCase body)
{
    Envelope *found = NULL;

    for (Msec end = clock_ms() + PATIENCE_MS; !(found = taken(peer, body));) {
        if (clock_ms() > end)
            fail_msg("no %s came", body_name(body));
        turn();
    }
    return found;
}

static inline void hears_nothing(Peer *peer, BodyCase body)
{
    settle();
    Envelope *found = taken(peer, body);
    if (found)
        fail_msg("a %s came", body_name(body));
}

/* ---- the state ---- */

static inline uint64_t put(Object *object)
{
    static const Author author = {.who = "root"};
    uint64_t revision = 0;

    ok(store_begin(store));
    ok(change_begin(store));
    ok(store_put(store, object));
    ok(change_end(store, &author, &revision));
    ok(store_commit(store));
    object_free(&object);
    nodes_changed(nodes, revision, now_ms());
    return revision;
}

static inline uint64_t drop(Kind kind, const char *instance, const char *name)
{
    static const Author author = {.who = "root"};
    uint64_t revision = 0;

    ok(store_begin(store));
    ok(change_begin(store));
    ok(store_remove(store, &(ObjectRef){kind, instance, name}));
    ok(change_end(store, &author, &revision));
    ok(store_commit(store));
    nodes_changed(nodes, revision, now_ms());
    return revision;
}

static inline Object *machine(const char *name)
{
    return object_new(MAIL__OBJECT__BODY_NODE, NULL, name);
}

static inline Object *user_domain(const char *name, const char *node, const char *listen)
{
    Object *object = object_new(MAIL__OBJECT__BODY_USER_DOMAIN, NULL, name);
    object->user_domain->node = xstrdup(node);
    if (listen) {
        object->user_domain->listen = xcalloc(1, sizeof(char *));
        object->user_domain->listen[object->user_domain->n_listen++] = xstrdup(listen);
    }
    return object;
}

static inline Object *instance(const char *name, const char *node, const char *users)
{
    Object *object = object_new(MAIL__OBJECT__BODY_INSTANCE, NULL, name);
    object->instance->node = node ? xstrdup(node) : NULL;
    object->instance->user_domain = xstrdup(users);
    return object;
}

static inline Object *address(const char *in, const char *name, const char *to)
{
    Object *object = object_new(MAIL__OBJECT__BODY_ADDRESS, in, name);
    object->address->to = xcalloc(1, sizeof(char *));
    object->address->to[object->address->n_to++] = xstrdup(to);
    return object;
}

static inline NodeForce force(const char *node, uint64_t revision)
{
    NodeForce found;
    nodes_force(nodes, node, revision, now_ms(), &found);
    return found;
}

/* A machine that is this node, with its key admitted. */
static inline Peer *joined(const char *node, const char *boot_id)
{
    Peer keys = {.client = NULL};

    curve_keypair(keys.public_key, &keys.secret_key);
    ok(nodes_join(nodes, node, keys.public_key));
    nodes_joined(nodes, node, keys.public_key);
    Peer *peer = peer_connect(&keys, boot_id);
    secret_free(&keys.secret_key);
    return peer;
}

/* ---- a machine's state, as an agent keeps it ---- */

typedef struct Have {
    uint64_t revision;
    Digest chain, digest;
    struct {
        char key[OBJECT_KEY_SIZE], scope[SCOPE_SIZE];
        Digest digest;
    } objects[64];
    size_t n;
} Have;

static inline void have_out(Have *have, size_t i)
{
    digest_subtract(&have->digest, &have->objects[i].digest);
    have->objects[i] = have->objects[--have->n];
}

static inline void have_ref_out(Have *have, const ObjectRef *ref)
{
    ObjectKey key = object_title(ref);
    for (size_t i = 0; i < have->n; i++)
        if (strcmp(have->objects[i].key, key.text) == 0) {
            have_out(have, i);
            return;
        }
}

static inline void have_in(Have *have, const ProtobufCBinaryData *bytes)
{
    Object *object = NULL;

    ok(object_unpack(bytes->data, bytes->len, &object));
    ObjectRef ref = object_ref(object);
    have_ref_out(have, &ref);
    assert_true(have->n < 64);
    snprintf(have->objects[have->n].key, OBJECT_KEY_SIZE, "%s", object_title(&ref).text);
    snprintf(have->objects[have->n].scope, SCOPE_SIZE, "%s", object_scope(&ref).text);
    have->objects[have->n].digest = digest_of(bytes->data, bytes->len);
    digest_add(&have->digest, &have->objects[have->n++].digest);
    object_free(&object);
}

/* Takes a delta of one part as an agent does: it must begin where we are, and add up. */
static inline void have_take(Have *have, const Envelope *envelope)
{
    const Mail__Delta *delta = envelope->delta;
    Digest chain, digest;

    assert_true(envelope->has_last && envelope->last && envelope->seq == 0);
    if (!delta->has_from_chain)
        *have = (Have){.revision = 0};
    else
        assert_true(digest_from(delta->from_chain.data, delta->from_chain.len, &chain) &&
                    digest_equal(&chain, &have->chain));
    assert_int_equal(delta->from_revision, have->revision);
    for (size_t i = 0; i < delta->n_drop_scopes; i++)
        for (size_t k = have->n; k-- > 0;)
            if (strcmp(have->objects[k].scope, delta->drop_scopes[i]) == 0)
                have_out(have, k);
    for (size_t i = 0; i < delta->n_removed; i++) {
        const Mail__Ref *gone = delta->removed[i];
        have_ref_out(have, &(ObjectRef){kind_by_name(gone->kind)->kind, gone->instance, gone->name});
    }
    for (size_t i = 0; i < delta->n_objects; i++)
        have_in(have, &delta->objects[i]);
    assert_true(digest_from(delta->to_digest.data, delta->to_digest.len, &digest));
    if (!digest_equal(&digest, &have->digest))
        fail_msg("delta to revision %d does not add up", (int)delta->to_revision);
    assert_true(digest_from(delta->to_chain.data, delta->to_chain.len, &have->chain));
    have->revision = delta->to_revision;
}

static inline void say_hello(Peer *peer, const Have *have)
{
    Mail__Hello hello = MAIL__HELLO__INIT;
    Have copy = *have;

    hello.has_schema = hello.has_revision = hello.has_applied_revision = hello.has_chain = hello.has_digest = true;
    hello.schema = OBJECT_SCHEMA;
    hello.release = (char *)"1.0.0";
    hello.revision = hello.applied_revision = have->revision;
    hello.chain = (ProtobufCBinaryData){DIGEST_SIZE, copy.chain.octets};
    hello.digest = (ProtobufCBinaryData){DIGEST_SIZE, copy.digest.octets};
    hello.boot_id = (char *)peer->boot_id;
    say(peer, MAIL__ENVELOPE__BODY_HELLO, &hello);
}

static inline void say_applied(Peer *peer, const Have *have, uint64_t config)
{
    Mail__Applied applied = MAIL__APPLIED__INIT;
    Have copy = *have;

    applied.has_revision = applied.has_chain = applied.has_digest = applied.has_config_revision = true;
    applied.revision = have->revision;
    applied.config_revision = config;
    applied.chain = (ProtobufCBinaryData){DIGEST_SIZE, copy.chain.octets};
    applied.digest = (ProtobufCBinaryData){DIGEST_SIZE, copy.digest.octets};
    say(peer, MAIL__ENVELOPE__BODY_APPLIED, &applied);
}

static inline void say_refused(Peer *peer, uint64_t revision, ErrorCode code, const char *what)
{
    Mail__Refused refused = MAIL__REFUSED__INIT;
    Mail__Failure why = MAIL__FAILURE__INIT;

    why.has_code = true;
    why.code = (Mail__ErrorNumber)code;
    why.what = (char *)what;
    refused.has_revision = true;
    refused.revision = revision;
    refused.why = &why;
    say(peer, MAIL__ENVELOPE__BODY_REFUSED, &refused);
}

static inline void standing_is(Peer *peer, Mail__StandingState wanted)
{
    Envelope *envelope = expect(peer, MAIL__ENVELOPE__BODY_STANDING);
    assert_int_equal(envelope->standing->state, wanted);
    envelope_free(&envelope);
}

static inline void take_delta(Peer *peer, Have *have)
{
    Envelope *envelope = expect(peer, MAIL__ENVELOPE__BODY_DELTA);
    have_take(have, envelope);
    envelope_free(&envelope);
}

/* Everything that it lacks, applied. */
static inline void catch_up(Peer *peer, const char *node, Have *have)
{
    take_delta(peer, have);
    say_applied(peer, have, have->revision);
    until(force(node, have->revision).state == MAIL__FORCE_STATE__IN_FORCE);
}

/* A node of this name that is online and current. */
static inline Peer *online(const char *node, Have *have)
{
    Peer *peer = joined(node, node);

    say_hello(peer, have);
    standing_is(peer, MAIL__STANDING_STATE__BEHIND);
    catch_up(peer, node, have);
    return peer;
}

typedef struct Found {
    const char *what;
    size_t n;
} Found;

static inline Error *count_event(void *to, const Mail__EventInfo *event)
{
    Found *found = to;
    found->n += strcmp(event->what, found->what) == 0;
    return NULL;
}

static inline size_t happened(const char *what)
{
    Found found = {.what = what};
    ok(store_event_each(store, NULL, 0, 1000, count_event, &found));
    return found.n;
}
