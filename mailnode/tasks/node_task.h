/* node_task.h - tasks about the node itself: node check, and doctor
 *
 * Each is children and short looks, never a block.  Findings are collected and told at the end.
 */
#pragma once
#include "engine/change.h"
#include "engine/supervise.h"

typedef struct NodeTask NodeTask;

typedef struct NodeTaskParts {
    const char *root;
    Change *change;
    Supervise *supervise;
} NodeTaskParts;

/* UNSUPPORTED: a verb that this program does not know. */
CHECKED Error *node_task_start(const NodeTaskParts *parts, const Mail__TaskStart *task, Msec now, NodeTask **ret_task);
bool node_task_run(NodeTask *task, Msec now); /* true: ended */
void node_task_wait(const NodeTask *task, Waiter *wake);
const Mail__TaskResult *node_task_result(const NodeTask *task); /* after the end; borrowed */
void node_task_free(NodeTask **task);
