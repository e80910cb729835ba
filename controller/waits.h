/* waits.h - a revision on its way to the nodes that it concerns
 *
 *     PENDING ──observed──► IN_FORCE
 *        ├──keeps its configuration──► HELD
 *        └──a checker said no──► NODE_REFUSED (and what took it back)
 *
 * A node that has been away for a while is not waited for, nor one that never joined,
 * was revoked, is forked or too old: that would be waiting for an admin.
 */
#pragma once
#include "names.h"
#include "nodes.h"

typedef struct Wait Wait;

typedef struct WaitOrder {
    uint64_t revision;
    const char *node;    /* only this one; NULL: those that the revision concerns */
    const char *without; /* but this one; NULL: none is left out */
    bool every;          /* all nodes of the state */
    bool patient;        /* nodes that are away are waited for, too */
    Msec since, until;   /* when it was asked; when it is given up */
    Msec young_until;    /* the controller has just started: nodes may be on their way back */
} WaitOrder;

/* store and nodes outlive it. */
CHECKED Error *wait_new(Store *store, Nodes *nodes, const WaitOrder *order, Msec now, Wait **ret_wait);
void wait_free(Wait **wait);

/* Looks again.  True: nothing is awaited any more. */
bool wait_look(Wait *wait, Msec now);
bool wait_moved(const Wait *wait, Msec now); /* worth telling again; not more often than ten times a second */
Msec wait_at(const Wait *wait, Msec now);    /* when to look again though nothing was heard */

/* Fills revision and nodes; what is in it is the wait's, until the next call. */
void wait_outcome(Wait *wait, Msec now, Mail__Outcome *ret_outcome);

/* This node refused what this revision holds, and 'taken_back_by' undid it. */
void wait_refused(Wait *wait, uint64_t revision, const char *node, const char *why, uint64_t taken_back_by);
