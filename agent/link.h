/* link.h - the agent's side of the link to the controller
 *
 * Hello after every connection, Standing as the answer, then deltas go straight into
 * node.db and everything else waits in an inbox for the part that it concerns.  Sync
 * is level-triggered: whatever is lost, doubled or out of order is healed by the next
 * Hello, so the other parts say again in each session what is so (link_session).
 *
 *     DOWN ──handshake──► ASKING ──Standing──► UP ◄──► TAKING (a delta is half there)
 *       ▲                    │                  │
 *       └── connection lost ─┴─► FORKED, CLONE ◄┘   Hello again now and then
 */
#pragma once
#include "base/loop.h"
#include "curve/curve.h"
#include "journal.h"

typedef struct Link Link;

typedef enum LinkState {
    LINK_DOWN,
    LINK_ASKING,
    LINK_UP,
    LINK_TAKING,
    LINK_FORKED,
    LINK_CLONE,
    N_LINK_STATES
} LinkState;
const char *link_state_name(LinkState state);

typedef enum LinkVerb {
    LINK_NOT_EXPECTED, /* answered with a failure, never looked at */
    LINK_DROPPED,      /* fits no more: the next Hello heals it */
    LINK_FAILURE,
    LINK_STANDING,
    LINK_DELTA,
    LINK_FORCED, /* a delta, if it is a forced snapshot */
    LINK_INBOX,
    LINK_PONG,
} LinkVerb;

/* The closed table: what is done with a body in a state.  False: no row for this body. */
bool link_decide(BodyCase body, LinkState state, LinkVerb *ret_verb);

/* identity and journal outlive the link.  Nothing is sent before the first link_run. */
CHECKED Error *link_new(const Identity *identity, Journal *journal, const char *boot_id, Link **ret_link);
void link_free(Link **link);
void link_run(Link *link, Msec now);
void link_wait(Link *link, Waiter *wake);

/* The revision of mail.db, for Hello. */
void link_applied(Link *link, uint64_t revision);

bool link_up(const Link *link);          /* messages may be sent */
uint64_t link_session(const Link *link); /* rises with every Standing that answers a Hello */
Msec link_report_ms(const Link *link);   /* as the controller wants it */

/* The oldest message of this kind in the inbox, NULL: none.  Owned by the caller (envelope_free). */
Envelope *link_take(Link *link, BodyCase body);

/* False: not up, or the queue is full; say it again in the next session. */
bool link_send(Link *link, Envelope *envelope);
/* Ends the request 'id' with an error (taken), or with 'last' set on what 'reply' has as its body. */
void link_answer(Link *link, uint64_t id, Envelope *reply);
void link_answer_error(Link *link, uint64_t id, Error **err);
