#include "base/alloc.h"
#include "curve/socket.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

enum {
    RECONNECT_MS = 200,
    RECONNECT_JITTER_MS = 300,
    RECONNECT_MOST_MS = 2500, /* with jitter 3 s: what was stored meanwhile is in force 5 s after the link is back */
    CONNECT_MS = 3000,        /* TCP's own retries come later and later */
    LATE_MS = 3000,           /* without a handshake: that is trouble */
    REFUSED_FIRST_MS = 500,
    REFUSED_LAST_MS = 10000,
    HEARTBEAT_MS = 10000,
    HEARTBEAT_DEAD_MS = 30000,
    PIPE_WAIT_MS = 5,
    PROBES_MAX = 64,
};

struct CurveClient {
    CurveContext *context;
    char **endpoints; /* one at a time: a DEALER with two would send every other message another way */
    size_t n_endpoints, at;
    char server_key[CURVE_KEY_SIZE], public_key[CURVE_KEY_SIZE];
    Secret *secret_key;

    void *socket, *monitor; /* NULL: waits for open_at */
    bool shaken;            /* the handshake is done */
    bool up;                /* and the socket can be written to */
    bool news;              /* not yet told by curve_client_connected */
    Msec open_at, late_at;
    Msec refused_ms;           /* back-off of the next refusal */
    Msec retry_ms;             /* and of the next attempt at another endpoint */
    unsigned n_retried, n_cut; /* attempts in a row without a connection, connections in a row without a handshake */
    char *trouble;
    uint64_t next_id;
    Buf packed;
};

static unsigned random_below(unsigned limit)
{
    unsigned number = 0;

    if (getrandom(&number, sizeof number, 0) != (ssize_t)sizeof number)
        return 0;
    return number % limit;
}

/* ---- socket ---- */

static void socket_close(CurveClient *client)
{
    if (client->socket) {
        zmq_socket_monitor(client->socket, NULL, 0);
        zmq_close(client->socket);
    }
    if (client->monitor)
        zmq_close(client->monitor);
    client->socket = client->monitor = NULL;
    client->shaken = client->up = client->news = false;
}

static Error *options_set(CurveClient *client)
{
    const char *const *endpoint = (const char *const *)&client->endpoints[client->at];
    const SocketOption options[] = {
        {ZMQ_IMMEDIATE, 1}, /* nothing is queued for a controller that is away: Hello says where we are */
        {ZMQ_RECONNECT_IVL, RECONNECT_MS + (int)random_below(RECONNECT_JITTER_MS)},
        {ZMQ_RECONNECT_IVL_MAX, RECONNECT_MOST_MS},
        {ZMQ_CONNECT_TIMEOUT, CONNECT_MS},
        /* libzmq 4.3.4 ends the program (assert !_io_error in out_event) when a heartbeat is due on a connection that died
         * while its input was stopped by the receive limit: so heartbeats are the client's alone, and it has no limit.  The
         * TTL makes the server end a silent connection, too. */
        {ZMQ_HEARTBEAT_IVL, HEARTBEAT_MS},
        {ZMQ_HEARTBEAT_TIMEOUT, HEARTBEAT_DEAD_MS},
        {ZMQ_HEARTBEAT_TTL, HEARTBEAT_DEAD_MS},
        {ZMQ_RCVHWM, 0},
        {ZMQ_IPV6, socket_wants_ipv6(endpoint, 1)},
    };

    Error *err = socket_set(client->socket, options, sizeof options / sizeof *options);
    if (!err)
        err = socket_set_text(client->socket, ZMQ_CURVE_SERVERKEY, client->server_key);
    if (!err)
        err = socket_set_text(client->socket, ZMQ_CURVE_PUBLICKEY, client->public_key);
    if (!err)
        err = socket_set_text(client->socket, ZMQ_CURVE_SECRETKEY, secret_text(client->secret_key));
    return err;
}

/* Bound before the connection is begun: no event is missed. */
static Error *monitor_open(CurveClient *client)
{
    static const int events = ZMQ_EVENT_HANDSHAKE_SUCCEEDED | ZMQ_EVENT_HANDSHAKE_FAILED_AUTH |
                              ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL | ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL |
                              ZMQ_EVENT_DISCONNECTED | ZMQ_EVENT_CONNECT_RETRIED | ZMQ_EVENT_CONNECTED;
    char name[64];

    snprintf(name, sizeof name, "inproc://curve-monitor-%u", client->context->n_monitors++);
    client->monitor = zmq_socket(client->context->zmq, ZMQ_PAIR);
    if (!client->monitor || zmq_socket_monitor(client->socket, name, events) != 0 ||
        zmq_connect(client->monitor, name) != 0)
        return error_new(ERROR_SYSTEM, "ZeroMQ monitor: %s", zmq_strerror(errno));
    return NULL;
}

static Error *open_now(CurveClient *client, Msec now)
{
    const char *endpoint = client->endpoints[client->at];

    Error *err = socket_open(client->context, ZMQ_DEALER, &client->socket);
    if (!err)
        err = options_set(client);
    if (!err)
        err = monitor_open(client);
    if (!err && zmq_connect(client->socket, endpoint) != 0)
        err = error_new(errno == EINVAL ? ERROR_INVALID : ERROR_SYSTEM, "%s: %s", endpoint, zmq_strerror(errno));
    if (err)
        socket_close(client);
    client->late_at = now + LATE_MS;
    return err;
}

Error *curve_connect(CurveContext *context, const char *const *endpoints, size_t n_endpoints, const char *server_key,
                     const char *public_key, const Secret *secret_key, CurveClient **ret_client)
{
    DEFER(curve_client_free) CurveClient *client = xcalloc(1, sizeof *client);

    if (n_endpoints == 0)
        return error_new(ERROR_INVALID, "no address of the controller");
    client->context = context;
    client->n_endpoints = n_endpoints;
    client->endpoints = xcalloc(n_endpoints, sizeof *client->endpoints);
    for (size_t i = 0; i < n_endpoints; i++)
        client->endpoints[i] = xstrdup(endpoints[i]);
    snprintf(client->server_key, sizeof client->server_key, "%s", server_key);
    snprintf(client->public_key, sizeof client->public_key, "%s", public_key);
    client->secret_key = secret_new(secret_data(secret_key), secret_size(secret_key));
    client->refused_ms = REFUSED_FIRST_MS;
    client->retry_ms = RECONNECT_MS;
    client->next_id = 1;
    Error *err = open_now(client, clock_ms());
    if (err)
        return err;
    *ret_client = client;
    client = NULL;
    return NULL;
}

void curve_client_free(CurveClient **client)
{
    if (!*client)
        return;
    socket_close(*client);
    for (size_t i = 0; i < (*client)->n_endpoints; i++)
        free((*client)->endpoints[i]);
    free((*client)->endpoints);
    secret_free(&(*client)->secret_key);
    free((*client)->trouble);
    buf_done(&(*client)->packed);
    free(*client);
    *client = NULL;
}

/* ---- what becomes of the connection ---- */

/* Takes the text; NULL: all is well. */
static void trouble(CurveClient *client, char *text)
{
    free(client->trouble);
    client->trouble = text;
}

/* A new socket at the next endpoint, later each time. */
static void try_next(CurveClient *client, Msec *back_off_ms, Msec most_ms, Msec now)
{
    socket_close(client);
    client->at = (client->at + 1) % client->n_endpoints;
    client->open_at = now + *back_off_ms + random_below(RECONNECT_JITTER_MS);
    *back_off_ms = *back_off_ms * 2 < most_ms ? *back_off_ms * 2 : most_ms;
}

/* After each end of a connection there is one retry: only the second says that nobody answers. */
static void retried(CurveClient *client, Msec now)
{
    if (!client->trouble || ++client->n_retried > 1)
        trouble(client, xstrdup("no answer"));
    if (client->n_endpoints > 1) /* with one, libzmq goes on by itself */
        try_next(client, &client->retry_ms, RECONNECT_MOST_MS, now);
}

/* A controller that ends cuts handshakes off, too: only the second is suspicious. */
static void cut_off(CurveClient *client)
{
    if (++client->n_cut > 1)
        trouble(client, xasprintf("handshake failed: is the controller's key still %s?",
                                  key_fingerprint(client->server_key).text));
    else if (!client->trouble)
        trouble(client, xstrdup("no answer"));
}

static void take_event(CurveClient *client, unsigned event, Msec now)
{
    switch (event) {
    case ZMQ_EVENT_HANDSHAKE_SUCCEEDED:
        client->shaken = true;
        break;
    case ZMQ_EVENT_HANDSHAKE_FAILED_AUTH:
        /* libzmq gives such a socket up for ever. */
        trouble(client, xasprintf("controller refused our key %s", key_fingerprint(client->public_key).text));
        try_next(client, &client->refused_ms, REFUSED_LAST_MS, now);
        break;
    case ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL:
    case ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL:
        cut_off(client);
        try_next(client, &client->retry_ms, RECONNECT_MOST_MS, now);
        break;
    case ZMQ_EVENT_DISCONNECTED:
        /* After octets that do not decrypt libzmq gives the socket up without a word: each connection gets a new one. */
        if (client->shaken)
            trouble(client, xstrdup("connection lost"));
        try_next(client, &client->retry_ms, RECONNECT_MOST_MS, now);
        break;
    case ZMQ_EVENT_CONNECT_RETRIED:
        retried(client, now);
        break;
    case ZMQ_EVENT_CONNECTED:
        client->n_retried = 0;
        break;
    default:
        break;
    }
}

/* The event's number is in the first two octets of the first frame: zmq_socket_monitor(3). */
static bool event_take(CurveClient *client, Msec now)
{
    zmq_msg_t frame;
    uint16_t event = 0;
    size_t n_frames;

    zmq_msg_init(&frame);
    bool there = socket_receive(client->monitor, NULL, &frame, &n_frames);
    if (there && zmq_msg_size(&frame) >= sizeof event)
        memcpy(&event, zmq_msg_data(&frame), sizeof event);
    zmq_msg_close(&frame);
    if (event)
        take_event(client, event, now);
    return there;
}

static void reopen(CurveClient *client, Msec now)
{
    Error *err = open_now(client, now);

    if (!err)
        return;
    trouble(client, xstrdup(err->what));
    error_free(&err);
    try_next(client, &client->retry_ms, RECONNECT_MOST_MS, now);
}

void curve_client_run(CurveClient *client, Msec now)
{
    if (!client->socket && now >= client->open_at)
        reopen(client, now);
    while (client->socket && event_take(client, now))
        continue;
    if (client->socket && client->shaken && !client->up && socket_ready(client->socket, ZMQ_POLLOUT)) {
        client->up = client->news = true;
        client->refused_ms = REFUSED_FIRST_MS;
        client->retry_ms = RECONNECT_MS;
        client->n_cut = 0;
        trouble(client, NULL);
    }
    if (!client->up && !client->trouble && now >= client->late_at)
        trouble(client, xstrdup("no answer"));
}

void curve_client_wait(CurveClient *client, Waiter *wake)
{
    if (!client->socket) {
        waiter_at(wake, client->open_at);
        return;
    }
    socket_wait(client->socket, wake);
    socket_wait(client->monitor, wake);
    if (!client->up && !client->trouble)
        waiter_at(wake, client->late_at);
    if (client->shaken && !client->up)
        waiter_at(wake, clock_ms() + PIPE_WAIT_MS);
}

bool curve_client_connected(CurveClient *client)
{
    bool news = client->news;

    client->news = false;
    return news;
}

const char *curve_client_trouble(const CurveClient *client)
{
    return client->trouble;
}

/* ---- messages ---- */

/* False: there is none.  Neither envelope nor error: one that says nothing. */
static bool receive_one(CurveClient *client, Envelope **ret_envelope, uint64_t *ret_id, Error **ret_err)
{
    zmq_msg_t body;
    size_t n_frames;

    zmq_msg_init(&body);
    bool there = socket_receive(client->socket, NULL, &body, &n_frames);
    if (there && !message_is_probe(&body, n_frames))
        *ret_err = message_unpack(&body, n_frames, ret_envelope, ret_id);
    zmq_msg_close(&body);
    return there;
}

Error *curve_client_receive(CurveClient *client, Envelope **ret_envelope, uint64_t *ret_id)
{
    Error *err = NULL;

    *ret_envelope = NULL;
    *ret_id = 0;
    for (int n = 0; client->socket && n < PROBES_MAX && !err && !*ret_envelope; n++)
        if (!receive_one(client, ret_envelope, ret_id, &err))
            break;
    return err;
}

Error *curve_client_send(CurveClient *client, Envelope *envelope)
{
    if (!client->up)
        return error_new(ERROR_UNAVAILABLE, "not connected");
    if (!envelope->has_id || envelope->id == 0) {
        envelope->has_id = true;
        envelope->id = client->next_id++;
    }
    buf_clear(&client->packed);
    Error *err = envelope_pack(envelope, &client->packed);
    if (err)
        return err;
    if (!socket_ready(client->socket, ZMQ_POLLOUT))
        return error_new(ERROR_UNAVAILABLE, "the connection is gone, or its queue full");
    if (zmq_send(client->socket, client->packed.data, client->packed.size, ZMQ_DONTWAIT) < 0)
        return error_new(errno == EAGAIN ? ERROR_UNAVAILABLE : ERROR_SYSTEM, "send: %s", zmq_strerror(errno));
    return NULL;
}
