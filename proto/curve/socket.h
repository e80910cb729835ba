/* socket.h - what ROUTER and DEALER have in common; for curve.c and client.c */
#pragma once
#include "curve/curve.h"
#include "curve/zap.h"

#include <zmq.h>

struct CurveContext {
    void *zmq;
    Zap *zap;
    unsigned n_monitors; /* their names are used once: unbinding is not immediate */
};

typedef struct SocketOption {
    int option, value;
} SocketOption;

/* A socket with the options that every one of ours has. */
CHECKED Error *socket_open(CurveContext *context, int type, void **ret_socket);
CHECKED Error *socket_set(void *socket, const SocketOption *options, size_t n_options);
CHECKED Error *socket_set_text(void *socket, int option, const char *text);
bool socket_wants_ipv6(const char *const *endpoints, size_t n_endpoints);

/* Never waits.  One whole message, whatever it has of frames: the route (NULL on a DEALER) and the first of the frames
 * behind it are given, the others dropped.  False: there is none now. */
bool socket_receive(void *socket, zmq_msg_t *route, zmq_msg_t *ret_body, size_t *ret_n_frames);

/* An empty frame, as ZMQ_PROBE_ROUTER sends it, is no message. */
bool message_is_probe(zmq_msg_t *body, size_t n_frames);
CHECKED Error *message_unpack(zmq_msg_t *body, size_t n_frames, Envelope **ret_envelope, uint64_t *ret_id);

/* Are these (ZMQ_POLLIN, ZMQ_POLLOUT) there now?  Also lets the socket take in what its I/O thread tells it, which
 * zmq_send alone does not always do. */
bool socket_ready(void *socket, short events);

/* Wakes when something can be read.  ZMQ_FD tells of changes only, so what is there already wakes at once. */
void socket_wait(void *socket, Waiter *wake);
