/* What an admin decides about a node or a task on the spot; no part of the desired state. */
#include "request_inside.h"

#include "base/alloc.h"
#include "base/log.h"

#include <stdlib.h>

void request_node_revoke(Ask *ask, Envelope **envelope, Msec now)
{
    DEFER(xfree) char *node = NULL;
    Envelope answer = MAIL__ENVELOPE__INIT;
    Mail__Outcome outcome = MAIL__OUTCOME__INIT;
    Error *err = named_node(ask->of->with.store, (*envelope)->node_revoke->node, &node);

    (void)now;
    if (!err)
        err = nodes_revoke(ask->of->with.nodes, node);
    if (err) {
        ask_fail(ask, err);
        return;
    }
    log_info("node revoked", kv("node", node), kv("who", ask->asker->who));
    outcome.has_revision = true;
    answer.body_case = MAIL__ENVELOPE__BODY_OUTCOME;
    answer.outcome = &outcome;
    ask_say(ask, &answer, true);
    ask->answered = true;
}

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
