/* What an admin decides about a node or a task on the spot; no part of the desired state. */
#include "request_inside.h"

#include "base/alloc.h"
#include "base/log.h"

#include <stdlib.h>

void request_node_resync(Ask *ask, Envelope **envelope, Msec now)
{
    const Mail__NodeResync *wish = (*envelope)->node_resync;
    DEFER(xfree) char *node = NULL;
    Error *err = named_node(ask->of->with.store, wish->node, &node);

    if (!err)
        err = nodes_resync(ask->of->with.nodes, node, wish->force, now);
    if (!err)
        log_info("node resync ordered", kv("node", node), kv("who", ask->asker->who), kv("force", wish->force));
    ask_fail(ask, err);
}

void request_task_stop(Ask *ask, Envelope **envelope, Msec now)
{
    const char *id = (*envelope)->task_stop->task_id;

    (void)now;
    ask_fail(ask, tasks_cancel(ask->of->with.tasks, id ? id : ""));
}
