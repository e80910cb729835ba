/* tasks.h - what a node does once, on behalf of an admin: started, followed, one final result
 *
 *     WAITING ──sent──► RUNNING ──result──► SUCCEEDED FOUND FAILED CANCELLED
 *                          │  ▲
 *               node away  ▼  │ asked about when it is back
 *                         LOST ──"nothing known"──► NEVER_RAN
 *
 * Kept in the store from the start; the same id never runs twice (the node journals it,
 * too).  A result is acknowledged (TaskSeen) after it is stored.
 */
#pragma once
#include "events.h"
#include "nodes.h"

enum { TASK_ID_LEN = 26 }; /* 0-9 A-Z; chosen by the client, or here */

CHECKED Error *tasks_new(Store *store, Nodes *nodes, Events *events, Tasks **ret_tasks);
void tasks_free(Tasks **tasks);
void tasks_run(Tasks *tasks, Msec now);
void tasks_wait(Tasks *tasks, Waiter *wake);

/* Stores it and sends it (WAITING while the node is away).  CONFLICT: this id is there with other content; the same again is
 * no error.  NOT_FOUND: no such node.  ret_id: TASK_ID_LEN + NUL. */
CHECKED Error *tasks_start(Tasks *tasks, const Mail__TaskNew *wish, const char *who, Msec now,
                           char ret_id[TASK_ID_LEN + 1]);
CHECKED Error *tasks_cancel(Tasks *tasks, const char *id); /* NOT_FOUND; CONFLICT: it has ended */

/* Present state of one, with progress; in memory of its own (mail__task_info__free_unpacked with NULL).  NULL: unknown id. */
CHECKED Error *tasks_get(Tasks *tasks, const char *id, Mail__TaskInfo **ret_task);
bool task_ended(Mail__TaskState state);
uint64_t tasks_moves(const Tasks *tasks); /* rises with every change of any task */

/* SPEC F-069: a restore has filled a mailbox beyond its quota, and its result waits until somebody has seen to that. */
typedef struct TaskQuota {
    const char *id, *node, *who, *user; /* borrowed, until it is done */
} TaskQuota;
bool tasks_take_quota(Tasks *tasks, TaskQuota *ret_quota);              /* each once */
void tasks_quota_done(Tasks *tasks, const char *id, const char *words); /* they go behind its verdict */

/* For nodes.c: what a node says (takes nothing over); that it came, on a new connection, or went. */
void tasks_heard(Tasks *tasks, const char *node, const Envelope *envelope, Msec now);
void tasks_node_online(Tasks *tasks, const char *node, Msec now);
void tasks_node_back(Tasks *tasks, const char *node); /* silent for a while, the same connection: nothing was lost */
void tasks_node_offline(Tasks *tasks, const char *node);
