#include "curve/socket.h"

#include <errno.h>
#include <string.h>

enum {
    HANDSHAKE_MS = 30000, /* 10,000 agents that come back at once take 11 s */
    KEEPALIVE_S = 30,
    /* CURVE adds 33 octets to each frame; what is only a little too large shall be answered, not cut off. */
    MESSAGE_BYTES_MAX = ENVELOPE_BYTES_MAX + 4096,
};

static const SocketOption common[] = {
    {ZMQ_LINGER, 0}, /* otherwise one unsent message keeps the program from ending */
    {ZMQ_SNDTIMEO, 0},
    {ZMQ_RCVTIMEO, 0},
    {ZMQ_MAXMSGSIZE, MESSAGE_BYTES_MAX},
    {ZMQ_HANDSHAKE_IVL, HANDSHAKE_MS},
    {ZMQ_TCP_KEEPALIVE, 1},
    {ZMQ_TCP_KEEPALIVE_IDLE, KEEPALIVE_S},
    {ZMQ_TCP_KEEPALIVE_INTVL, KEEPALIVE_S / 3},
    {ZMQ_TCP_KEEPALIVE_CNT, 3},
};

static Error *option_failed(int option)
{
    return error_new(ERROR_SYSTEM, "ZeroMQ option %d: %s", option, zmq_strerror(errno));
}

Error *socket_set(void *socket, const SocketOption *options, size_t n_options)
{
    for (size_t i = 0; i < n_options; i++) {
        int64_t wide = options[i].value;
        bool is_wide = options[i].option == ZMQ_MAXMSGSIZE;
        const void *value = is_wide ? (const void *)&wide : &options[i].value;
        if (zmq_setsockopt(socket, options[i].option, value, is_wide ? sizeof wide : sizeof options[i].value) != 0)
            return option_failed(options[i].option);
    }
    return NULL;
}

Error *socket_set_text(void *socket, int option, const char *text)
{
    return zmq_setsockopt(socket, option, text, strlen(text)) == 0 ? NULL : option_failed(option);
}

Error *socket_open(CurveContext *context, int type, void **ret_socket)
{
    void *socket = zmq_socket(context->zmq, type);

    if (!socket)
        return error_new(ERROR_SYSTEM, "ZeroMQ socket: %s", zmq_strerror(errno));
    Error *err = socket_set(socket, common, sizeof common / sizeof *common);
    if (err) {
        zmq_close(socket);
        return err;
    }
    *ret_socket = socket;
    return NULL;
}

bool socket_wants_ipv6(const char *const *endpoints, size_t n_endpoints)
{
    for (size_t i = 0; i < n_endpoints; i++)
        if (strchr(endpoints[i], '['))
            return true;
    return false;
}

/* ---- messages ---- */

/* libzmq gives the frames of a message together or not at all. */
static bool frame_receive(void *socket, zmq_msg_t *frame)
{
    int got;

    do
        got = zmq_msg_recv(frame, socket, ZMQ_DONTWAIT);
    while (got < 0 && errno == EINTR);
    return got >= 0;
}

bool socket_receive(void *socket, zmq_msg_t *route, zmq_msg_t *ret_body, size_t *ret_n_frames)
{
    zmq_msg_t rest;
    bool more = true;

    *ret_n_frames = 0;
    if (route) {
        if (!frame_receive(socket, route))
            return false;
        more = zmq_msg_more(route);
    }
    zmq_msg_init(&rest);
    while (more) {
        zmq_msg_t *frame = *ret_n_frames ? &rest : ret_body;
        if (!frame_receive(socket, frame))
            break;
        (*ret_n_frames)++;
        more = zmq_msg_more(frame);
    }
    zmq_msg_close(&rest);
    return route || *ret_n_frames;
}

bool message_is_probe(zmq_msg_t *body, size_t n_frames)
{
    return n_frames == 1 && zmq_msg_size(body) == 0;
}

Error *message_unpack(zmq_msg_t *body, size_t n_frames, Envelope **ret_envelope, uint64_t *ret_id)
{
    if (n_frames != 1)
        return error_new(ERROR_INVALID, "a message of %zu frames instead of one", n_frames);
    return envelope_unpack(zmq_msg_data(body), zmq_msg_size(body), ret_envelope, ret_id);
}

bool socket_ready(void *socket, short events)
{
    int now = 0;
    size_t size = sizeof now;

    return zmq_getsockopt(socket, ZMQ_EVENTS, &now, &size) == 0 && (now & events) == events;
}

void socket_wait(void *socket, Waiter *wake)
{
    int fd = -1;
    size_t size = sizeof fd;

    if (socket_ready(socket, ZMQ_POLLIN))
        waiter_now(wake);
    else if (zmq_getsockopt(socket, ZMQ_FD, &fd, &size) == 0)
        waiter_fd(wake, fd, POLLIN);
}
