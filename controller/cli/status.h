/* status.h - the state of nodes, in words and as data */
#pragma once
#include "call.h"

const char *node_state_name(Mail__NodeState state); /* "never-joined", "online" ... */
const char *fact_state_name(Mail__FactState state); /* "good", "degraded", "bad", "unknown" */

/* Is there something to see?  Revoked nodes that run nothing are settled. */
bool node_is_well(const Mail__NodeStatus *node);

void node_put(json_t *object, const Mail__NodeStatus *node); /* all its fields */
void facts_table(
    FILE *out, const Mail__NodeStatus
                   *node); /* each with how long it is so, and the age of the observation; older than a minute is old */
/* One fact of several nodes: those for which 'wanted' says so. */
void fact_table(FILE *out, const Mail__Status *status, const char *fact,
                bool (*wanted)(void *context, const Mail__NodeStatus *node), void *context);
void node_trouble_print(FILE *out, const Mail__NodeStatus *node); /* why it is not well, if that is known */

/* *ret_envelope's status; owned by the caller. node NULL: of all. */
CHECKED Error *status_get(Cli *cli, const char *node, Envelope **ret_envelope);
