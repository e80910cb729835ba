/* agents: many nodes in one process, without databases; and a bare ROUTER to compare a controller with
 *
 *   agents join ENDPOINT SERVERKEY FILE     FILE: lines of "NODE SECRET(hex)"; joins each with a key of its own and
 *                                           prints "NODE PUBLIC SECRET"
 *   agents run ENDPOINT SERVERKEY FILE      FILE: such lines; connects all, says Hello, answers what a controller says;
 *                                           prints "ready" when all have their standing; ends with stdin
 *   agents bare ENDPOINT SERVERKEY FILE     the same against 'router': echoes every message
 *   agents router ENDPOINT SECRETKEY N      any key; waits for N; for each line on stdin: one message to all, waits for
 *                                           all answers, prints the microseconds
 */
#include "control.pb-c.h"
#include "local/envelope.h"
#include "model/object.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>
#include <zmq.h>

enum { SOCKETS_PER_CONTEXT = 500, PAYLOAD_BYTES = 300, NAME_SIZE = 64 };

typedef struct Peer {
    void *socket;
    char name[NAME_SIZE], public_key[41], secret_key[41];
    uint8_t join_secret[32];
    uint64_t next_id, revision;
    uint8_t chain[32];
    bool greeted, joined;
} Peer;

static Peer *peers;
static size_t n_peers;

static _Noreturn void fail(const char *what)
{
    fprintf(stderr, "agents: %s: %s\n", what, strerror(errno));
    exit(3);
}

static void number(void *socket, int option, int value)
{
    if (zmq_setsockopt(socket, option, &value, sizeof value) != 0)
        fail("setsockopt");
}

static void *context_for(size_t i)
{
    static void *context;
    if (i % SOCKETS_PER_CONTEXT == 0) {
        context = zmq_ctx_new();
        zmq_ctx_set(context, ZMQ_MAX_SOCKETS, SOCKETS_PER_CONTEXT * 2);
    }
    return context;
}

static void peer_connect(Peer *peer, size_t i, const char *endpoint, const char *server_key)
{
    peer->socket = zmq_socket(context_for(i), ZMQ_DEALER);
    if (!peer->socket)
        fail("socket");
    number(peer->socket, ZMQ_LINGER, 0);
    zmq_setsockopt(peer->socket, ZMQ_CURVE_SERVERKEY, server_key, 40);
    zmq_setsockopt(peer->socket, ZMQ_CURVE_PUBLICKEY, peer->public_key, 40);
    zmq_setsockopt(peer->socket, ZMQ_CURVE_SECRETKEY, peer->secret_key, 40);
    if (zmq_connect(peer->socket, endpoint) != 0)
        fail("connect");
}

static void say(Peer *peer, Envelope *envelope)
{
    Buf out = {0};
    envelope->has_id = true;
    envelope->id = ++peer->next_id;
    Error *err = envelope_pack(envelope, &out);
    if (err) {
        fprintf(stderr, "agents: %s\n", err->what);
        exit(3);
    }
    if (zmq_send(peer->socket, out.data, out.size, 0) < 0)
        fail("send");
    buf_done(&out);
}

static void say_hello(Peer *peer)
{
    Envelope envelope = MAIL__ENVELOPE__INIT;
    Mail__Hello hello = MAIL__HELLO__INIT;

    hello.has_schema = true;
    hello.schema = OBJECT_SCHEMA;
    hello.release = (char *)"1.0.0";
    hello.has_revision = true;
    hello.revision = peer->revision;
    hello.boot_id = peer->name;
    envelope.body_case = MAIL__ENVELOPE__BODY_HELLO;
    envelope.hello = &hello;
    say(peer, &envelope);
}

static void say_applied(Peer *peer, const Mail__Delta *delta)
{
    Envelope envelope = MAIL__ENVELOPE__INIT;
    Mail__Applied applied = MAIL__APPLIED__INIT;

    peer->revision = delta->to_revision;
    applied.has_revision = applied.has_chain = applied.has_digest = applied.has_config_revision = true;
    applied.revision = applied.config_revision = delta->to_revision;
    applied.chain = delta->to_chain;
    applied.digest = delta->to_digest;
    envelope.body_case = MAIL__ENVELOPE__BODY_APPLIED;
    envelope.applied = &applied;
    say(peer, &envelope);
}

static void say_empty(Peer *peer, BodyCase body, uint64_t in_reply_to)
{
    Envelope envelope = MAIL__ENVELOPE__INIT;
    Mail__Prepared prepared = MAIL__PREPARED__INIT;
    Mail__Pong pong = MAIL__PONG__INIT;

    envelope.body_case = body;
    envelope.has_in_reply_to = true;
    envelope.in_reply_to = in_reply_to;
    envelope.has_last = envelope.last = true;
    pong.boot_id = peer->name;
    if (body == MAIL__ENVELOPE__BODY_PREPARED)
        envelope.prepared = &prepared;
    else
        envelope.pong = &pong;
    say(peer, &envelope);
}

static void say_join(Peer *peer)
{
    Envelope envelope = MAIL__ENVELOPE__INIT;
    Mail__Join request = MAIL__JOIN__INIT;

    request.node = peer->name;
    request.has_secret = true;
    request.secret.data = peer->join_secret;
    request.secret.len = sizeof peer->join_secret;
    request.release = (char *)"1.0.0";
    envelope.body_case = MAIL__ENVELOPE__BODY_JOIN;
    envelope.join = &request;
    say(peer, &envelope);
}

static void hear(Peer *peer, const Envelope *envelope)
{
    switch (envelope->body_case) {
    case MAIL__ENVELOPE__BODY_STANDING:
        peer->greeted = true;
        break;
    case MAIL__ENVELOPE__BODY_DELTA:
        if (!envelope->has_last || envelope->last)
            say_applied(peer, envelope->delta);
        break;
    case MAIL__ENVELOPE__BODY_PREPARE:
        if (!envelope->has_last || envelope->last)
            say_empty(peer, MAIL__ENVELOPE__BODY_PREPARED, envelope->id);
        break;
    case MAIL__ENVELOPE__BODY_PING:
        say_empty(peer, MAIL__ENVELOPE__BODY_PONG, envelope->id);
        break;
    case MAIL__ENVELOPE__BODY_JOINED:
        peer->joined = true;
        break;
    case MAIL__ENVELOPE__BODY_FAILURE:
        fprintf(stderr, "agents: %s: %s\n", peer->name, envelope->failure->what);
        exit(3);
    default:
        break;
    }
}

static void hear_bytes(Peer *peer, zmq_msg_t *message, bool bare)
{
    if (bare) {
        peer->greeted = true;
        if (zmq_send(peer->socket, zmq_msg_data(message), PAYLOAD_BYTES / 3, 0) < 0)
            fail("send");
        return;
    }
    Envelope *envelope = NULL;
    uint64_t id = 0;
    Error *err = envelope_unpack(zmq_msg_data(message), zmq_msg_size(message), &envelope, &id);
    if (err) {
        fprintf(stderr, "agents: %s\n", err->what);
        exit(3);
    }
    hear(peer, envelope);
    envelope_free(&envelope);
}

static bool everybody(bool Peer_field(const Peer *))
{
    for (size_t i = 0; i < n_peers; i++)
        if (!Peer_field(&peers[i]))
            return false;
    return true;
}

static bool is_greeted(const Peer *peer)
{
    return peer->greeted;
}

static bool is_joined(const Peer *peer)
{
    return peer->joined;
}

/* Serves all peers until 'enough' says so, or (NULL) stdin ends. */
static void serve(bool (*enough)(const Peer *), bool bare)
{
    zmq_pollitem_t *items = calloc(n_peers + 1, sizeof *items);
    if (!items)
        fail("memory");
    for (size_t i = 0; i < n_peers; i++)
        items[i] = (zmq_pollitem_t){.socket = peers[i].socket, .events = ZMQ_POLLIN};
    items[n_peers] = (zmq_pollitem_t){.fd = STDIN_FILENO, .events = ZMQ_POLLIN};
    while (!enough || !everybody(enough)) {
        if (zmq_poll(items, (int)n_peers + 1, 100) < 0)
            fail("poll");
        for (size_t i = 0; i < n_peers; i++) {
            zmq_msg_t message;
            zmq_msg_init(&message);
            while ((items[i].revents & ZMQ_POLLIN) && zmq_msg_recv(&message, peers[i].socket, ZMQ_DONTWAIT) >= 0)
                hear_bytes(&peers[i], &message, bare);
            zmq_msg_close(&message);
        }
        char rest[64];
        if (!enough && items[n_peers].revents && read(STDIN_FILENO, rest, sizeof rest) <= 0)
            break;
    }
    free(items);
}

static void peers_read(const char *path, bool join)
{
    FILE *file = fopen(path, "r");
    char a[128], b[128];
    Peer peer = {0};

    if (!file)
        fail(path);
    while (join ? fscanf(file, "%63s %127s", peer.name, a) == 2
                : fscanf(file, "%63s %127s %127s", peer.name, a, b) == 3) {
        peers = realloc(peers, (n_peers + 1) * sizeof *peers);
        if (join) {
            for (size_t i = 0; i < sizeof peer.join_secret; i++) {
                char pair[3] = {a[2 * i], a[2 * i + 1], 0};
                peer.join_secret[i] = (uint8_t)strtoul(pair, NULL, 16);
            }
            zmq_curve_keypair(peer.public_key, peer.secret_key);
        } else {
            snprintf(peer.public_key, sizeof peer.public_key, "%.40s", a);
            snprintf(peer.secret_key, sizeof peer.secret_key, "%.40s", b);
        }
        peers[n_peers++] = peer;
    }
    fclose(file);
}

/* ---- the bare ROUTER */

static void *zap(void *context)
{
    void *socket = zmq_socket(context, ZMQ_REP);
    if (zmq_bind(socket, "inproc://zeromq.zap.01") != 0)
        fail("zap");
    for (;;) {
        char frames[8][256], id[256];
        int n = 0, more = 1, id_size = 0;
        size_t size = sizeof more;
        while (more) {
            int got = zmq_recv(socket, frames[n < 8 ? n : 7], sizeof frames[0], 0);
            if (got < 0)
                return NULL;
            if (n == 1) {
                memcpy(id, frames[1], (size_t)got);
                id_size = got;
            }
            zmq_getsockopt(socket, ZMQ_RCVMORE, &more, &size);
            n++;
        }
        zmq_send(socket, "1.0", 3, ZMQ_SNDMORE);
        zmq_send(socket, id, (size_t)id_size, ZMQ_SNDMORE);
        zmq_send(socket, "200", 3, ZMQ_SNDMORE);
        zmq_send(socket, "", 0, ZMQ_SNDMORE);
        zmq_send(socket, "peer", 4, ZMQ_SNDMORE);
        zmq_send(socket, "", 0, 0);
    }
}

static double now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

typedef struct Route {
    uint8_t id[16];
    size_t size;
} Route;

static void router(const char *endpoint, const char *secret, size_t n)
{
    void *context = zmq_ctx_new(), *socket = zmq_socket(context, ZMQ_ROUTER);
    pthread_t thread;
    Route *routes = calloc(n, sizeof *routes);
    char payload[PAYLOAD_BYTES] = {0}, line[64];

    pthread_create(&thread, NULL, zap, context);
    number(socket, ZMQ_CURVE_SERVER, 1);
    number(socket, ZMQ_BACKLOG, 4096);
    zmq_setsockopt(socket, ZMQ_CURVE_SECRETKEY, secret, 40);
    zmq_setsockopt(socket, ZMQ_ZAP_DOMAIN, "bench", 5);
    if (!routes || zmq_bind(socket, endpoint) != 0)
        fail(endpoint);
    for (size_t i = 0; i < n; i++) {
        routes[i].size = (size_t)zmq_recv(socket, routes[i].id, sizeof routes[i].id, 0);
        zmq_recv(socket, payload, sizeof payload, 0);
    }
    puts("ready");
    fflush(stdout);
    while (fgets(line, sizeof line, stdin)) {
        double start = now_us();
        for (size_t i = 0; i < n; i++) {
            zmq_send(socket, routes[i].id, routes[i].size, ZMQ_SNDMORE);
            zmq_send(socket, payload, sizeof payload, 0);
        }
        for (size_t i = 0; i < n; i++) {
            zmq_recv(socket, line, sizeof line, 0);
            zmq_recv(socket, payload, sizeof payload, 0);
        }
        printf("%.0f\n", now_us() - start);
        fflush(stdout);
    }
    free(routes);
    _exit(0);
}

int main(int argc, char **argv)
{
    if (argc != 5) {
        fputs("usage: agents join|run|bare ENDPOINT SERVERKEY FILE | router ENDPOINT SECRETKEY N\n", stderr);
        return 2;
    }
    struct rlimit files = {0};
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    if (strcmp(argv[1], "router") == 0)
        router(argv[2], argv[3], strtoul(argv[4], NULL, 10));

    bool join = strcmp(argv[1], "join") == 0, bare = strcmp(argv[1], "bare") == 0;
    peers_read(argv[4], join);
    for (size_t i = 0; i < n_peers; i++)
        peer_connect(&peers[i], i, argv[2], argv[3]);
    for (size_t i = 0; i < n_peers; i++) {
        if (join)
            say_join(&peers[i]);
        else if (bare)
            zmq_send(peers[i].socket, "here", 4, 0);
        else
            say_hello(&peers[i]);
    }
    if (join) {
        serve(is_joined, false);
        for (size_t i = 0; i < n_peers; i++)
            printf("%s %s %s\n", peers[i].name, peers[i].public_key, peers[i].secret_key);
        fflush(stdout);
        _exit(0);
    }
    if (!bare)
        serve(is_greeted, false);
    puts("ready");
    fflush(stdout);
    serve(NULL, bare);
    _exit(0); /* thousands of sockets are not closed one by one */
}
