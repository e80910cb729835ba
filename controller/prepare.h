/* prepare.h - would this configuration do?  Asked of the nodes before anything is stored
 *
 * The change has been worked out and is still open: what each node would have is read
 * through it.  The digest over all of that says later, when the change is worked out
 * again, whether what was prepared is what would be.
 */
#pragma once
#include "nodes.h"
#include "work.h"

typedef struct Preparing Preparing;

void preparing_free(Preparing **preparing);

/* Every object of class config that the node has now (in an open change: would have), in the order of kinds. */
CHECKED Error *prepare_objects(Store *store, const char *node, StoreEach *each, void *context);

/* Asks the nodes of work->nodes that are online.  *ret_preparing is never NULL on success. */
CHECKED Error *prepare_ask(Store *store, Nodes *nodes, const Work *work, Msec now, Preparing **ret_preparing);

/* The change has been worked out again: is what was asked what the nodes would have now? */
CHECKED Error *prepare_compare(const Preparing *preparing, Store *store, const Work *work, bool *ret_same);

/* Takes in answers.  True: all are there, or will not come.  In *ret_err (the caller's) the first no, with the
 * node's words: REFUSED by a checker, CONFLICT where something is held by somebody else. */
bool prepare_settled(Preparing *preparing, Nodes *nodes, Msec now, Error **ret_err);

/* Nodes that were not asked, or did not answer, as a warning each. */
void prepare_warn(const Preparing *preparing, Work *work);
