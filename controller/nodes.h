/* nodes.h - every node: its key, its connection, what it was sent, what it says is so
 *
 * One session per node, level-triggered: Hello says where it stands, the answer is
 * nothing, a delta, a snapshot, or "forked" and "clone".  At most one delta is in
 * flight per node; what changed meanwhile follows when it is acknowledged.
 *
 *     UNKNOWN ──join──► OFFLINE ──Hello──► ONLINE (current | sending | behind)
 *                          ▲                 │
 *                          └─ silent, gone ──┴─► FORKED, CLONED, REVOKED
 *
 * Nothing here is believed that was not observed: applied is what the node read back,
 * with the chain and digest that the store has for that revision.
 */
#pragma once
#include "door.h"
#include "events.h"

#include "store/store.h"

typedef struct Nodes Nodes;
typedef struct Tasks Tasks;

typedef struct NodesOptions {
    Msec report_ms;   /* how often nodes report; silent for three of these (at least 3 s, normally 30 s): offline */
    const char *root; /* of the controller, for copies of it; outlives the nodes; NULL: none are made */
} NodesOptions;

CHECKED Error *nodes_new(Store *store, Door *door, Events *events, const NodesOptions *options, Nodes **ret_nodes);
void nodes_free(Nodes **nodes);
void nodes_tasks(Nodes *nodes, Tasks *tasks); /* who gets what nodes say of tasks */
void nodes_run(Nodes *nodes, Msec now);
void nodes_wait(Nodes *nodes, Waiter *wake);

/* After a commit: node objects may have come or gone, nodes that this revision touches get their delta. */
void nodes_changed(Nodes *nodes, uint64_t revision, Msec now);

Mail__NodeState nodes_state(const Nodes *nodes, const char *node);   /* as in its status; NEVER_JOINED: no such node */
bool nodes_online(const Nodes *nodes, const char *node);             /* answers, is no fork, not revoked */
bool nodes_send(Nodes *nodes, const char *node, Envelope *envelope); /* false: not online, or full */

/* How 'revision' stands on this node. */
typedef struct NodeForce {
    Mail__ForceState state;
    char why[512];           /* empty, or "offline", "forked: ...", "needs 1.3", the checker's words */
    uint64_t offline_for_ms; /* 0: it is there */
} NodeForce;
void nodes_force(Nodes *nodes, const char *node, uint64_t revision, Msec now, NodeForce *ret_force);
uint64_t nodes_moves(const Nodes *nodes); /* rises with each change that nodes_force could show */

typedef struct StatusWish {
    const char *node; /* NULL: all */
    bool facts, backups;
} StatusWish;
/* Each node's line of the status in the order of names, in memory of its own (nodes_status_free). */
CHECKED Error *nodes_status(Nodes *nodes, const StatusWish *wish, Msec now, Mail__NodeStatus ***ret_status,
                            size_t *ret_n);
void nodes_status_free(Mail__NodeStatus ***status, size_t n);

/* ---- "would this configuration do?" ---- */

/* Asks; false: the node is not online, nobody is asked.  *ret_ticket names the question. */
bool nodes_prepare(Nodes *nodes, const char *node, const ProtobufCBinaryData *objects, size_t n_objects, Msec now,
                   uint64_t *ret_ticket);
typedef enum Preparation {
    PREPARATION_PENDING,
    PREPARATION_GOOD,
    PREPARATION_REFUSED,
    PREPARATION_UNKNOWN
} Preparation;
/* PENDING until the answer, the node's end, or 10 s.  REFUSED: *ret_why is the caller's; its code is REFUSED or INVALID (a
 * checker's no) or CONFLICT (something that the configuration needs is held by somebody else).  Any other than PENDING forgets the
 * ticket. */
Preparation nodes_prepared(Nodes *nodes, uint64_t ticket, Msec now, Error **ret_why);

/* Nobody waits for this answer any more. */
void nodes_forget(Nodes *nodes, uint64_t ticket);

/* ---- verbs of a directory, handed on to the node that holds it ---- */

/* Says it to the node; false: not online, its queue is full, or too many wait already. */
bool nodes_relay(Nodes *nodes, const char *node, Envelope *envelope, uint64_t *ret_ticket);
typedef enum RelayState {
    RELAY_PENDING,
    RELAY_PART, /* *ret_part is the caller's: accounts, done or a failure, in order; the last one ends it */
    RELAY_GONE, /* the node went away, or said what cannot be an answer: what it did is not known */
} RelayState;
RelayState nodes_relayed(Nodes *nodes, uint64_t ticket, Envelope **ret_part);
void nodes_relay_forget(Nodes *nodes, uint64_t ticket); /* every ticket, at its end */

/* Why a node that is not online cannot be asked: "is offline since 10:41", "has not joined yet". */
typedef struct AwayWords {
    char text[64];
} AwayWords;
AwayWords nodes_away(const Nodes *nodes, const char *node, Msec now);

/* ---- refused after the commit ---- */

typedef struct Refusal {
    char node[64];
    uint64_t revision;      /* whose configuration, with all that came with it, was refused */
    uint64_t good_revision; /* newest whose configuration it has in force, as far as its words tell; 0: not known */
    Error *why;             /* the caller's: REFUSED or INVALID (a checker), never UNSUPPORTED (that stays pending) */
} Refusal;
bool nodes_take_refusal(Nodes *nodes, Refusal *ret_refusal);
void nodes_hold(Nodes *nodes, const char *node, uint64_t revision); /* keep the configuration, go on with tables */

/* ---- public mailboxes that users made by IMAP ---- */

/* What a node has said: nothing of it is checked but the number, 60 within a minute.  Said again until it is stated there. */
typedef struct NodeMade {
    char node[64];
    Mail__PublicMade **list;
    size_t n;
} NodeMade;
bool nodes_take_made(Nodes *nodes, NodeMade *ret_made); /* the caller's, for node_made_done */
void node_made_done(NodeMade *made);

/* ---- what an admin decides about a node; not part of the desired state ---- */

/* A fresh one-time token (one hour, stored hashed), which replaces an older one.  *ret_text is the caller's; never logged.
 * 'replace': its present key is revoked at once. */
/* CONFLICT without 'replace': it has joined.  NOT_FOUND: no such node. */
CHECKED Error *nodes_token(Nodes *nodes, const char *node, bool replace, char **ret_text, uint64_t *ret_expires_s);
/* For enrol, inside its batch: stores the key.  DENIED: no such node, or the key is somebody's.  And after the commit: the
 * key counts from now on, an older one no more. */
CHECKED Error *nodes_join(Nodes *nodes, const char *node, const char *public_key);
void nodes_joined(Nodes *nodes, const char *node, const char *public_key);
bool nodes_key_is(const Nodes *nodes, const char *node, const char *public_key); /* the node's, and not revoked */
CHECKED Error *nodes_revoke(Nodes *nodes, const char *node); /* NOT_FOUND: no such node, or it never joined */
/* A snapshot.  force: over a fork, the node's own newer state is given up.  CONFLICT: forked and not forced;
 * UNAVAILABLE: not online. */
CHECKED Error *nodes_resync(Nodes *nodes, const char *node, bool force, Msec now);

/* The least revision that a node may still come back with, for store_compact; false: not known, a node that was there within
 * a year or so has not come back since the start. */
bool nodes_oldest(const Nodes *nodes, uint64_t *ret_revision);
