/* door.h - the two CURVE ports: who has come in, sorted by what its key is
 *
 * The main port admits the keys of nodes and of remote admins; a key is one of both,
 * never both.  door_run takes in what has arrived (bounded, so that one peer cannot
 * hold the loop), each part takes what is its own.  What is not understood is
 * answered with a failure here, counted, and said once per peer.
 */
#pragma once
#include "events.h"

#include "base/loop.h"
#include "curve/curve.h"

typedef struct Door Door;

typedef enum Whose { WHOSE_NODE, WHOSE_ADMIN, WHOSE_NEWCOMER /* enrolment port */, N_WHOSE } Whose;

typedef struct Arrival {
    CurveRoute route;
    const char *name; /* of the node; NULL for others; valid until the key is refused */
    Envelope *envelope;
} Arrival;

/* Listens at the identity's endpoints (main and enrolment).  identity and events outlive it. */
CHECKED Error *door_new(const Identity *identity, Events *events, Door **ret_door);
void door_free(Door **door);

/* From now on this key is a node's (name) or an admin's (name NULL); from now on it is nobody's: what comes on a connection
 * that is still there is dropped unseen. */
void door_admit(Door *door, const char *key, Whose whose, const char *name);
void door_refuse(Door *door, const char *key);

void door_run(Door *door, Msec now);
void door_wait(Door *door, Waiter *wake);

/* The next arrival of this sort, false: none.  The envelope is the caller's (envelope_free). */
bool door_take(Door *door, Whose whose, Arrival *ret_arrival);

/* UNAVAILABLE: gone, or its queue is full. */
CHECKED Error *door_send(Door *door, Whose whose, const CurveRoute *route, Envelope *envelope);

/* Ends the request 'id' with a failure that says what err says (taken).  A peer that is gone is no error. */
void door_answer_error(Door *door, Whose whose, const CurveRoute *route, uint64_t id, Error **err);

bool door_knows(const Door *door, const char *key); /* a node's or an admin's */
const Identity *door_identity(const Door *door);

uint64_t door_refused(const Door *door); /* handshakes and messages refused since the start */
