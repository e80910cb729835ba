/* node_table.h - the closed table: what is done with a body from this role in this state of its session
 *
 * Asked before anything else of a message is looked at.  What has no row, and every
 * cell that is not listed, is answered with a failure and counted.
 */
#pragma once
#include "local/envelope.h"

typedef enum Role { ROLE_NODE, ROLE_NEWCOMER /* at the enrolment port */, N_ROLES } Role;

typedef enum SessionState {
    SESSION_NEW,     /* connected, no Hello that counts yet */
    SESSION_UP,      /* its Hello was answered: current, or behind */
    SESSION_FORKED,  /* it knows what we do not */
    SESSION_CLONE,   /* refused: another machine with this key answers */
    SESSION_REVOKED, /* the key counts no more */
    N_SESSION_STATES
} SessionState;
const char *session_state_name(SessionState state);

typedef enum NodeVerb {
    NODE_NOT_EXPECTED, /* answered with a failure, never looked at */
    NODE_DROPPED,      /* comes too late, or asks for nothing */
    NODE_HELLO,
    NODE_APPLIED,
    NODE_SAYS_REFUSED,
    NODE_ANSWER, /* of a question of ours */
    NODE_TASK,
    NODE_REPORT,
    NODE_PONG,
    NODE_COPY,
    NODE_JOIN,
} NodeVerb;

/* False: no row for this body. */
bool node_verb(BodyCase body, Role role, SessionState state, NodeVerb *ret_verb);
