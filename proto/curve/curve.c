#include "curve/curve.h"

#include "base/alloc.h"
#include "curve/socket.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#ifndef ZMQ_ZAP_ENFORCE_DOMAIN
#define ZMQ_ZAP_ENFORCE_DOMAIN 93 /* zmq.h shows it to drafts only; 4.3.4 and Debian's build take it */
#endif

enum {
    BACKLOG = 4096,    /* 100, the default, makes a storm of agents take three times as long */
    KNOWN_QUEUE = 100, /* messages of one peer that wait for us; beyond that TCP slows it down */
    STRANGER_QUEUE = 8,
    STRANGER_BYTES = 65536, /* a Join is small */
    PROBES_MAX = 64,        /* at a time, so that a peer that sends nothing else cannot hold us */
};

/* ---- context ---- */

void curve_keypair(char ret_public_key[CURVE_KEY_SIZE], Secret **ret_secret_key)
{
    char secret_key[CURVE_KEY_SIZE];

    if (zmq_curve_keypair(ret_public_key, secret_key) != 0)
        abort(); /* a libzmq without CURVE */
    *ret_secret_key = secret_new(secret_key, CURVE_KEY_SIZE - 1);
    wipe(secret_key, sizeof secret_key);
}

Error *curve_context_new(CurveContext **ret_context)
{
    CurveContext *context = xcalloc(1, sizeof *context);

    context->zmq = zmq_ctx_new();
    Error *err = context->zmq ? NULL : error_new(ERROR_SYSTEM, "ZeroMQ: %s", zmq_strerror(errno));
    if (!err)
        zmq_ctx_set(context->zmq, ZMQ_BLOCKY, 0);
    if (!err)
        err = zap_start(context->zmq, &context->zap);
    if (err) {
        curve_context_free(&context);
        return err;
    }
    *ret_context = context;
    return NULL;
}

void curve_context_free(CurveContext **context)
{
    if (!*context)
        return;
    zap_end(&(*context)->zap);
    if ((*context)->zmq)
        while (zmq_ctx_term((*context)->zmq) != 0 && errno == EINTR)
            continue;
    free(*context);
    *context = NULL;
}

void curve_allow(CurveContext *context, const char *public_key)
{
    zap_allow(context->zap, public_key);
}

void curve_disallow(CurveContext *context, const char *public_key)
{
    zap_disallow(context->zap, public_key);
}

uint64_t curve_refused(const CurveContext *context)
{
    return zap_refused(context->zap);
}

/* ---- server ---- */

struct CurveServer {
    void *socket;
    uint64_t next_id;
    Buf packed;
};

static Error *server_options(CurveServer *server, const Identity *identity, CurveDoor door, bool ipv6)
{
    const bool known = door == CURVE_KNOWN_KEYS;
    const SocketOption options[] = {
        {ZMQ_CURVE_SERVER, 1},
        {ZMQ_ZAP_ENFORCE_DOMAIN, 1}, /* without it a missing ZAP handler lets everybody in */
        {ZMQ_ROUTER_MANDATORY, 1},   /* without it messages to a slow peer vanish */
        {ZMQ_BACKLOG, BACKLOG},
        {ZMQ_IPV6, ipv6},
        {ZMQ_RCVHWM, known ? KNOWN_QUEUE : STRANGER_QUEUE},
    };
    const SocketOption small[] = {{ZMQ_MAXMSGSIZE, STRANGER_BYTES}};

    Error *err = socket_set(server->socket, options, sizeof options / sizeof *options);
    if (!err && !known)
        err = socket_set(server->socket, small, 1);
    if (!err)
        err = socket_set_text(server->socket, ZMQ_ZAP_DOMAIN, known ? ZAP_DOMAIN_KNOWN : ZAP_DOMAIN_ANY);
    if (!err)
        err = socket_set_text(server->socket, ZMQ_CURVE_SECRETKEY, secret_text(identity->secret_key));
    return err;
}

static Error *bind_failed(const char *endpoint)
{
    ErrorCode code = errno == EADDRINUSE ? ERROR_CONFLICT : errno == EINVAL ? ERROR_INVALID : ERROR_SYSTEM;

    return error_new(code, "%s: %s", endpoint, zmq_strerror(errno));
}

Error *curve_listen(CurveContext *context, const char *const *endpoints, size_t n_endpoints, const Identity *identity,
                    CurveDoor door, CurveServer **ret_server)
{
    DEFER(curve_server_free) CurveServer *server = xcalloc(1, sizeof *server);

    server->next_id = 1;
    Error *err = socket_open(context, ZMQ_ROUTER, &server->socket);
    if (!err)
        err = server_options(server, identity, door, socket_wants_ipv6(endpoints, n_endpoints));
    for (size_t i = 0; !err && i < n_endpoints; i++)
        if (zmq_bind(server->socket, endpoints[i]) != 0)
            err = bind_failed(endpoints[i]);
    if (err)
        return err;
    *ret_server = server;
    server = NULL;
    return NULL;
}

void curve_server_free(CurveServer **server)
{
    if (!*server)
        return;
    if ((*server)->socket)
        zmq_close((*server)->socket);
    buf_done(&(*server)->packed);
    free(*server);
    *server = NULL;
}

bool curve_route_equal(const CurveRoute *a, const CurveRoute *b)
{
    return a->id_size == b->id_size && memcmp(a->id, b->id, a->id_size) == 0 && strcmp(a->key, b->key) == 0;
}

/* False: a message without a key of its sender, which the ZAP handler never lets through. */
static bool route_of(zmq_msg_t *id, zmq_msg_t *body, CurveRoute *ret_route)
{
    const char *key = zmq_msg_gets(body, "User-Id");
    size_t size = zmq_msg_size(id);

    if (!key || !curve_key_valid(key) || size > sizeof ret_route->id)
        return false;
    *ret_route = (CurveRoute){.id_size = (uint8_t)size};
    memcpy(ret_route->id, zmq_msg_data(id), size);
    memcpy(ret_route->key, key, CURVE_KEY_SIZE);
    return true;
}

/* One message.  False: there is none.  Neither envelope nor error: one that says nothing. */
static bool receive_one(CurveServer *server, CurveRoute *ret_route, Envelope **ret_envelope, uint64_t *ret_id,
                        Error **ret_err)
{
    zmq_msg_t id, body;
    size_t n_frames;

    zmq_msg_init(&id);
    zmq_msg_init(&body);
    bool there = socket_receive(server->socket, &id, &body, &n_frames);
    if (there && n_frames && !message_is_probe(&body, n_frames) && route_of(&id, &body, ret_route))
        *ret_err = message_unpack(&body, n_frames, ret_envelope, ret_id);
    zmq_msg_close(&id);
    zmq_msg_close(&body);
    return there;
}

Error *curve_receive(CurveServer *server, CurveRoute *ret_route, Envelope **ret_envelope, uint64_t *ret_id)
{
    Error *err = NULL;

    *ret_envelope = NULL;
    *ret_id = 0;
    for (int n = 0; n < PROBES_MAX && !err && !*ret_envelope; n++)
        if (!receive_one(server, ret_route, ret_envelope, ret_id, &err))
            break;
    return err;
}

static Error *send_failed(void)
{
    if (errno == EHOSTUNREACH)
        return error_new(ERROR_UNAVAILABLE, "the peer is gone");
    if (errno == EAGAIN)
        return error_new(ERROR_UNAVAILABLE, "the peer's queue is full");
    return error_new(ERROR_SYSTEM, "send: %s", zmq_strerror(errno));
}

Error *curve_send(CurveServer *server, const CurveRoute *route, Envelope *envelope)
{
    if (!envelope->has_id || envelope->id == 0) {
        envelope->has_id = true;
        envelope->id = server->next_id++;
    }
    buf_clear(&server->packed);
    Error *err = envelope_pack(envelope, &server->packed);
    if (err)
        return err;
    /* Takes in who came and went: the send itself looks at that only now and then. */
    (void)socket_ready(server->socket, ZMQ_POLLOUT);
    if (zmq_send(server->socket, route->id, route->id_size, ZMQ_SNDMORE | ZMQ_DONTWAIT) < 0 ||
        zmq_send(server->socket, server->packed.data, server->packed.size, ZMQ_DONTWAIT) < 0)
        err = send_failed();
    if (envelope->body_case == MAIL__ENVELOPE__BODY_DIRECTORY) /* it may hold a password */
        explicit_bzero(server->packed.data, server->packed.size);
    return err;
}

void curve_server_wait(CurveServer *server, Waiter *wake)
{
    socket_wait(server->socket, wake);
}
