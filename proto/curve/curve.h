/* curve.h - envelopes over ZeroMQ with CURVE: one ROUTER for many DEALERs
 *
 * The peer's identity is its CURVE key, put by ZAP into every message as User-Id;
 * routing ids are chosen by the ROUTER, so nobody can take another's.  The ZAP
 * handler is a thread with a table in memory; without it nobody gets in.
 *
 * Source: zmq_curve(7), zmq_setsockopt(3), RFC 27/ZAP; CONTROL.md 1.4 and 8 have the
 * behaviour that the options below stand on.
 */
#pragma once
#include "base/loop.h"
#include "local/envelope.h"
#include "seal/keys.h"

typedef struct CurveContext CurveContext; /* one ZeroMQ context and its ZAP thread per program */
typedef struct CurveServer CurveServer;
typedef struct CurveClient CurveClient;

/* Fills both with a new key pair. */
void curve_keypair(char ret_public_key[CURVE_KEY_SIZE], Secret **ret_secret_key);

CHECKED Error *curve_context_new(CurveContext **ret_context);
void curve_context_free(CurveContext **context); /* after its sockets */

/* Keys that the main port admits.  Takes effect for handshakes from now on; who is connected must be refused per message. */
void curve_allow(CurveContext *context, const char *public_key);
void curve_disallow(CurveContext *context, const char *public_key);
/* Handshakes refused since start: unknown, published, malformed keys. */
uint64_t curve_refused(const CurveContext *context);

typedef enum CurveDoor {
    CURVE_KNOWN_KEYS, /* ZAP 400 for keys that are not allowed */
    CURVE_ANY_KEY,    /* enrolment: any key but the published ones */
} CurveDoor;

CHECKED Error *curve_listen(CurveContext *context, const char *const *endpoints, size_t n_endpoints,
                            const Identity *identity, CurveDoor door, CurveServer **ret_server);
void curve_server_free(CurveServer **server);

/* One connection of a peer, as long as it lasts; a reconnect is a new one.  A value, compared by curve_route_equal. */
typedef struct CurveRoute {
    uint8_t id[16];
    uint8_t id_size;
    char key[CURVE_KEY_SIZE];
} CurveRoute;
bool curve_route_equal(const CurveRoute *a, const CurveRoute *b);

/* The next envelope, NULL when there is none now.  INVALID/UNSUPPORTED: this peer sent rubbish (the route says who, *ret_id
 * whom to answer); the caller counts and goes on. */
CHECKED Error *curve_receive(CurveServer *server, CurveRoute *ret_route, Envelope **ret_envelope, uint64_t *ret_id);

/* Chooses the id when it is 0.  UNAVAILABLE: the peer is gone, or its queue is full (the words say which). */
CHECKED Error *curve_send(CurveServer *server, const CurveRoute *route, Envelope *envelope);
void curve_server_wait(CurveServer *server, Waiter *wake);

/* DEALER that connects for ever, with jitter; a handshake refused for the key (ZAP 400) gets a new socket, with back-off. */
CHECKED Error *curve_connect(CurveContext *context, const char *const *endpoints, size_t n_endpoints,
                             const char *server_key, const char *public_key, const Secret *secret_key,
                             CurveClient **ret_client);
void curve_client_free(CurveClient **client);
void curve_client_run(CurveClient *client, Msec now);
void curve_client_wait(CurveClient *client, Waiter *wake);

/* True once after each completed handshake: say Hello. */
bool curve_client_connected(CurveClient *client);
/* Why there is no connection: NULL (there is, or none was tried yet), "controller refused our key 7f3a...", "no answer". */
const char *curve_client_trouble(const CurveClient *client);

CHECKED Error *curve_client_receive(CurveClient *client, Envelope **ret_envelope, uint64_t *ret_id);
CHECKED Error *curve_client_send(CurveClient *client, Envelope *envelope); /* UNAVAILABLE: not connected, or full */
