/* Between the controller and a node: what is said of tasks, and what is heard. */
#include "task_inside.h"

#include "base/alloc.h"
#include "base/crash.h"
#include "base/log.h"

#include <stdlib.h>
#include <string.h>

enum {
    DEADLINE_MS = 60000, /* of a task, from when the node gets it */
    ASK_MAX = 64,        /* ids per question */
    FINDINGS_MAX = 200,
};

/* ---- asking and telling ---- */

bool task_send_start(Tasks *tasks, Task *task)
{
    Envelope envelope = MAIL__ENVELOPE__INIT;
    Mail__TaskStart start = task_verb_of(task->info->start);

    start.task_id = task->info->task_id;
    start.has_deadline_ms = start.verb_case == MAIL__TASK_START__VERB_NODE_CHECK ||
                            start.verb_case == MAIL__TASK_START__VERB_NODE_DOCTOR; /* a job takes its time */
    start.deadline_ms = DEADLINE_MS;
    envelope.body_case = MAIL__ENVELOPE__BODY_TASK_START;
    envelope.task_start = &start;
    if (!nodes_send(tasks->nodes, task->info->node, &envelope))
        return false;
    CRASH_POINT("controller.task.sent");
    task->start_id = envelope.id;
    return true;
}

void task_send_seen(Tasks *tasks, const char *node, const char *id)
{
    Envelope envelope = MAIL__ENVELOPE__INIT;
    Mail__TaskSeen seen = MAIL__TASK_SEEN__INIT;

    seen.task_id = (char *)id;
    envelope.body_case = MAIL__ENVELOPE__BODY_TASK_SEEN;
    envelope.task_seen = &seen;
    nodes_send(tasks->nodes, node, &envelope); /* lost: it is repeated in the next session, and acknowledged again */
}

bool task_send_cancel(Tasks *tasks, const Task *task)
{
    Envelope envelope = MAIL__ENVELOPE__INIT;
    Mail__TaskCancel cancel = MAIL__TASK_CANCEL__INIT;

    cancel.task_id = task->info->task_id;
    envelope.body_case = MAIL__ENVELOPE__BODY_TASK_CANCEL;
    envelope.task_cancel = &cancel;
    return nodes_send(tasks->nodes, task->info->node, &envelope);
}

void task_send_ask(Tasks *tasks, const char *node)
{
    Envelope envelope = MAIL__ENVELOPE__INIT;
    Mail__TaskAsk ask = MAIL__TASK_ASK__INIT;
    char *ids[ASK_MAX];
    Task *of[ASK_MAX];
    size_t n = 0;

    for (size_t i = 0; i < tasks->n && n < ASK_MAX; i++) {
        Task *task = tasks->list[i];
        if (!task_of(task, node) || task->asked || task->info->state != MAIL__TASK_STATE__LOST)
            continue;
        of[n] = task;
        ids[n++] = task->info->task_id;
    }
    if (!n)
        return;
    ask.task_ids = ids;
    ask.n_task_ids = n;
    envelope.body_case = MAIL__ENVELOPE__BODY_TASK_ASK;
    envelope.task_ask = &ask;
    if (!nodes_send(tasks->nodes, node, &envelope))
        return;
    for (size_t i = 0; i < n; i++)
        of[i]->asked = true;
}

/* ---- what a node says ---- */

static void heard_progress(Tasks *tasks, const char *node, const Mail__TaskProgress *progress)
{
    Task *task = task_find(tasks, progress->task_id ? progress->task_id : "");

    if (!task || !task_of(task, node) || task->result)
        return;
    if (!task->info->progress) {
        task->info->progress = xcalloc(1, sizeof *task->info->progress);
        mail__task_progress__init(task->info->progress);
        task->info->progress->task_id = xstrdup(task->info->task_id);
    }
    Mail__TaskProgress *shown = task->info->progress;
    shown->has_done = shown->has_of = true;
    shown->done = progress->done;
    shown->of = progress->of;
    free(shown->unit);
    shown->unit = progress->unit ? xstrdup(progress->unit) : NULL;
    tasks->moves++;
    task_state(tasks, task, MAIL__TASK_STATE__RUNNING);
}

static Mail__TaskResult *result_copy(const Mail__TaskResult *result)
{
    Mail__TaskResult cut = *result;
    DEFER(buf_done) Buf bytes = {0};

    cut.n_findings = cut.n_findings < FINDINGS_MAX ? cut.n_findings : FINDINGS_MAX;
    size_t size = mail__task_result__get_packed_size(&cut);
    mail__task_result__pack(&cut, buf_reserve(&bytes, size + 1));
    return mail__task_result__unpack(NULL, size, bytes.data);
}

/* Of a task that is not under way: told again, or not known here.  Either way the node need not keep it. */
static void heard_again(Tasks *tasks, const char *node, const char *id)
{
    Mail__TaskInfo *known = NULL;

    Error *err = task_stored(tasks, id, &known);
    if (!err && (!known || strcmp(known->node, node) == 0))
        task_send_seen(tasks, node, id);
    if (!err && !known)
        log_warning("result of a task that is not known here", kv("node", node), kv("task", id));
    if (known)
        mail__task_info__free_unpacked(known, NULL);
    log_stop(LOG_LEVEL_ERROR, "task not looked up", &err);
}

/* Whose mailbox was restored into, as it was asked for; NULL: nobody's. */
static const char *restored_user(const Task *task)
{
    const Mail__TaskStart *start = task->info->start;
    bool restore = start && start->verb_case == MAIL__TASK_START__VERB_RESTORE_FOLDER;
    const char *mailbox = restore ? start->restore_folder->mailbox : NULL;

    return mailbox && strncmp(mailbox, "user:", 5) == 0 ? mailbox + 5 : NULL;
}

static void heard_result(Tasks *tasks, const char *node, const Mail__TaskResult *result)
{
    const char *id = result->task_id ? result->task_id : "";
    Task *task = task_find(tasks, id);

    if (!task_id_valid(id) || !result->has_state || !task_ended(result->state))
        return;
    if (!task) {
        heard_again(tasks, node, id);
        return;
    }
    if (!task_of(task, node) || task->result || task->held)
        return;
    if (result->over_quota && restored_user(task))
        task->held = result_copy(result);
    else
        task->result = result_copy(result);
    tasks->wake_at = 0;
}

/* ---- what a restore filled ---- */

bool tasks_take_quota(Tasks *tasks, TaskQuota *ret_quota)
{
    for (size_t i = 0; i < tasks->n; i++) {
        Task *task = tasks->list[i];
        if (!task->held || task->held_taken)
            continue;
        task->held_taken = true;
        *ret_quota = (TaskQuota){
            .id = task->info->task_id, .node = task->info->node, .who = task->info->who, .user = restored_user(task)};
        return true;
    }
    return false;
}

void tasks_quota_done(Tasks *tasks, const char *id, const char *words)
{
    Task *task = task_find(tasks, id);

    if (!task || !task->held)
        return;
    char *verdict = task->held->verdict;
    task->held->verdict = xasprintf("%s%s%s", verdict ? verdict : "", verdict ? "; " : "", words);
    free(verdict);
    task->result = task->held;
    task->held = NULL;
    tasks->wake_at = 0;
}

/* The node answered a TaskStart with a failure: it did not begin. */
static void heard_failure(Tasks *tasks, const char *node, const Envelope *envelope, Msec now)
{
    for (size_t i = 0; i < tasks->n; i++) {
        Task *task = tasks->list[i];
        if (!task->start_id || task->start_id != envelope->in_reply_to || !task_of(task, node) || task->result)
            continue;
        Error *why = error_of(envelope->failure);
        log_warning("task not begun", kv("node", node), kv("task", task->info->task_id), kv("why", why->what));
        task->start_id = 0;
        if (why->code == ERROR_UNAVAILABLE || why->code == ERROR_SYSTEM || why->code == ERROR_DAMAGED) {
            task_state(tasks, task, MAIL__TASK_STATE__WAITING);
            task->retry_at = now + TASK_RETRY_MS;
        } else {
            Mail__TaskResult result = MAIL__TASK_RESULT__INIT;
            result.task_id = task->info->task_id;
            result.has_state = true;
            result.state = MAIL__TASK_STATE__FAILED;
            result.why = envelope->failure;
            task->result = result_copy(&result);
        }
        tasks->wake_at = 0;
        error_free(&why);
        return;
    }
}

void tasks_heard(Tasks *tasks, const char *node, const Envelope *envelope, Msec now)
{
    if (envelope->body_case == MAIL__ENVELOPE__BODY_TASK_PROGRESS)
        heard_progress(tasks, node, envelope->task_progress);
    else if (envelope->body_case == MAIL__ENVELOPE__BODY_TASK_RESULT)
        heard_result(tasks, node, envelope->task_result);
    else if (envelope->body_case == MAIL__ENVELOPE__BODY_FAILURE && envelope->in_reply_to)
        heard_failure(tasks, node, envelope, now);
}
