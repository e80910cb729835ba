#include "task_inside.h"

#include "base/alloc.h"
#include "base/crash.h"
#include "base/log.h"
#include "seal/secret.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    UNFINISHED_MAX = 1000,
    LOOK_BACK = 10000, /* newest tasks among which unfinished ones are looked for at the start */
    FULL_MS = 1000,    /* the link to the node is full */
};

bool task_ended(Mail__TaskState state)
{
    return state != MAIL__TASK_STATE__WAITING && state != MAIL__TASK_STATE__RUNNING && state != MAIL__TASK_STATE__LOST;
}

/* ---- the list ---- */

static Mail__TaskInfo *info_copy(const Mail__TaskInfo *info)
{
    DEFER(buf_done) Buf bytes = {0};
    size_t size = mail__task_info__get_packed_size(info);

    mail__task_info__pack(info, buf_reserve(&bytes, size + 1));
    return mail__task_info__unpack(NULL, size, bytes.data);
}

static void task_free(Task *task)
{
    if (task->result)
        mail__task_result__free_unpacked(task->result, NULL);
    if (task->held)
        mail__task_result__free_unpacked(task->held, NULL);
    if (task->info)
        mail__task_info__free_unpacked(task->info, NULL);
    free(task);
}

static Task *task_add(Tasks *tasks, const Mail__TaskInfo *info)
{
    Task *task = xcalloc(1, sizeof *task);

    task->info = info_copy(info);
    tasks->list = xrealloc(tasks->list, (tasks->n + 1) * sizeof(Task *));
    tasks->list[tasks->n++] = task;
    return task;
}

Task *task_find(const Tasks *tasks, const char *id)
{
    for (size_t i = 0; i < tasks->n; i++)
        if (strcmp(tasks->list[i]->info->task_id, id) == 0)
            return tasks->list[i];
    return NULL;
}

bool task_of(const Task *task, const char *node)
{
    return strcmp(task->info->node, node) == 0;
}

void task_state(Tasks *tasks, Task *task, Mail__TaskState state)
{
    if (task->info->state == state)
        return;
    task->info->has_state = true;
    task->info->state = state;
    task->dirty = true;
    tasks->moves++;
    tasks->wake_at = 0;
}

static Error *load_one(void *context, const Mail__TaskInfo *info)
{
    Tasks *tasks = context;

    if (task_ended(info->state) || !info->task_id || !info->node || !info->verb || !info->start)
        return NULL;
    Task *task = task_add(tasks, info);
    if (task->info->state == MAIL__TASK_STATE__RUNNING) /* nobody has heard of it since */
        task_state(tasks, task, MAIL__TASK_STATE__LOST);
    return NULL;
}

Error *tasks_new(Store *store, Nodes *nodes, Events *events, Tasks **ret_tasks)
{
    DEFER(tasks_free) Tasks *tasks = xcalloc(1, sizeof *tasks);

    tasks->store = store;
    tasks->nodes = nodes;
    tasks->events = events;
    Error *err = store_task_each(store, NULL, LOOK_BACK, load_one, tasks);
    if (err)
        return error_in(err, "tasks");
    *ret_tasks = tasks;
    tasks = NULL;
    return NULL;
}

void tasks_free(Tasks **tasks)
{
    if (!*tasks)
        return;
    while ((*tasks)->n)
        task_free((*tasks)->list[--(*tasks)->n]);
    free((*tasks)->list);
    free(*tasks);
    *tasks = NULL;
}

/* ---- starting ---- */

bool task_id_valid(const char *id)
{
    return strlen(id) == TASK_ID_LEN && strspn(id, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ") == TASK_ID_LEN;
}

static void id_make(char id[TASK_ID_LEN + 1])
{
    static const char letters[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"; /* 32, none that looks like another */
    DEFER(secret_free) Secret *random = secret_random(TASK_ID_LEN);

    for (size_t i = 0; i < TASK_ID_LEN; i++)
        id[i] = letters[secret_data(random)[i] % 32];
    id[TASK_ID_LEN] = '\0';
}

static Error *node_exists(Tasks *tasks, const char *node)
{
    DEFER(object_free) Object *object = NULL;

    Error *err = store_get(tasks->store, &(ObjectRef){.kind = MAIL__OBJECT__BODY_NODE, .name = node}, 0, &object);
    if (!err && !object)
        err = error_new(ERROR_NOT_FOUND, "node %s does not exist", node);
    return err;
}

static Error *take_info(void *context, const Mail__TaskInfo *info)
{
    Mail__TaskInfo **found = context;

    if (!*found)
        *found = info_copy(info);
    return NULL;
}

Error *task_stored(Tasks *tasks, const char *id, Mail__TaskInfo **ret_info)
{
    Mail__TaskInfo *found = NULL;

    Error *err = store_task_each(tasks->store, id, 1, take_info, &found);
    if (!err) {
        *ret_info = found;
        return NULL;
    }
    if (found)
        mail__task_info__free_unpacked(found, NULL);
    return err;
}

/* *ret_known: it is there, and is the same. */
static Error *look_for(Tasks *tasks, const char *id, const char *node, const Mail__TaskStart *start, bool *ret_known)
{
    Mail__TaskInfo *known = NULL;

    Error *err = task_stored(tasks, id, &known);
    if (err || !known)
        return err;
    *ret_known = strcmp(known->node, node) == 0 && known->start && task_verb_equal(known->start, start);
    if (!*ret_known)
        err = error_new(ERROR_CONFLICT, "task %s is there already, and is another one: %s of %s", id, known->verb,
                        known->node);
    mail__task_info__free_unpacked(known, NULL);
    return err;
}

static Error *keep_new(Tasks *tasks, const char *id, const char *node, Mail__TaskStart *start, const char *verb,
                       const char *who)
{
    Mail__TaskInfo info = MAIL__TASK_INFO__INIT;

    if (tasks->n >= UNFINISHED_MAX)
        return error_new(ERROR_UNAVAILABLE, "%d tasks have not ended yet", UNFINISHED_MAX);
    info.task_id = (char *)id;
    info.node = (char *)node;
    info.verb = (char *)verb;
    info.start = start;
    info.who = (char *)who;
    info.has_state = info.has_started = true;
    info.state = MAIL__TASK_STATE__WAITING;
    info.started = (uint64_t)time(NULL);
    CRASH_POINT("controller.task.storing");
    Error *err = store_task_put(tasks->store, &info);
    if (err)
        return error_in(err, "task not stored");
    CRASH_POINT("controller.task.stored");
    task_add(tasks, &info);
    tasks->moves++;
    tasks->wake_at = 0; /* sent in the next turn: whoever called may have a batch open */
    return NULL;
}

Error *tasks_start(Tasks *tasks, const Mail__TaskNew *wish, const char *who, Msec now, char ret_id[TASK_ID_LEN + 1])
{
    char id[TASK_ID_LEN + 1];
    const char *node = wish->node ? wish->node : "";
    DEFER(xfree) char *verb = wish->start ? task_verb_words(wish->start) : NULL;
    bool known = false;

    (void)now;
    if (wish->task_id && wish->task_id[0] && !task_id_valid(wish->task_id))
        return error_new(ERROR_INVALID, "task id '%s': write %d of 0-9 and A-Z", wish->task_id, TASK_ID_LEN);
    if (wish->task_id && wish->task_id[0])
        memcpy(id, wish->task_id, sizeof id);
    else
        id_make(id);
    if (!verb)
        return error_new(ERROR_INVALID, "no such task");
    Mail__TaskStart start = task_verb_of(wish->start);
    Error *err = node_exists(tasks, node);
    if (!err)
        err = look_for(tasks, id, node, &start, &known);
    if (!err && !known)
        err = keep_new(tasks, id, node, &start, verb, who);
    if (err)
        return err;
    memcpy(ret_id, id, sizeof id);
    return NULL;
}

Error *tasks_get(Tasks *tasks, const char *id, Mail__TaskInfo **ret_task)
{
    const Task *task = task_find(tasks, id);

    if (!task)
        return task_stored(tasks, id, ret_task);
    *ret_task = info_copy(task->info);
    return NULL;
}

uint64_t tasks_moves(const Tasks *tasks)
{
    return tasks->moves;
}

/* ---- nodes come and go ---- */

void tasks_node_online(Tasks *tasks, const char *node, Msec now)
{
    (void)now;
    for (size_t i = 0; i < tasks->n; i++) {
        if (!task_of(tasks->list[i], node))
            continue;
        tasks->list[i]->asked = false;
        tasks->list[i]->start_id = 0;
    }
    tasks->wake_at = 0;
}

void tasks_node_back(Tasks *tasks, const char *node)
{
    for (size_t i = 0; i < tasks->n; i++)
        if (task_of(tasks->list[i], node) && tasks->list[i]->start_id)
            task_state(tasks, tasks->list[i], MAIL__TASK_STATE__RUNNING);
    tasks->wake_at = 0;
}

void tasks_node_offline(Tasks *tasks, const char *node)
{
    for (size_t i = 0; i < tasks->n; i++) {
        Task *task = tasks->list[i];
        if (task_of(task, node) && task->info->state == MAIL__TASK_STATE__RUNNING)
            task_state(tasks, task, MAIL__TASK_STATE__LOST);
    }
}

/* ---- the loop ---- */

static Mail__TaskInfo with_result(const Task *task)
{
    Mail__TaskInfo info = *task->info;

    if (!task->result)
        return info;
    info.has_state = info.has_ended = true;
    info.state = task->result->state;
    info.ended = (uint64_t)time(NULL);
    info.result = task->result;
    info.progress = NULL;
    return info;
}

/* Before it was sent: ended here, and on disk before the word. */
static Error *cancel_waiting(Tasks *tasks, Task *task)
{
    task->result = xcalloc(1, sizeof *task->result);
    mail__task_result__init(task->result);
    task->result->task_id = xstrdup(task->info->task_id);
    task->result->has_state = true;
    task->result->state = MAIL__TASK_STATE__CANCELLED;
    Mail__TaskInfo info = with_result(task);
    Error *err = store_task_put(tasks->store, &info);
    if (!err)
        return NULL;
    mail__task_result__free_unpacked(task->result, NULL);
    task->result = NULL;
    return error_in(err, "task %s not cancelled", task->info->task_id);
}

Error *tasks_cancel(Tasks *tasks, const char *id)
{
    Task *task = task_find(tasks, id);
    Mail__TaskInfo *known = NULL;

    if (task && !task->result) {
        task->cancel = true;
        tasks->wake_at = 0;
        return task->info->state == MAIL__TASK_STATE__WAITING && !task->start_id ? cancel_waiting(tasks, task) : NULL;
    }
    Error *err = task_stored(tasks, id, &known);
    if (!err)
        err = known ? error_new(ERROR_CONFLICT, "task %s has ended", id)
                    : error_new(ERROR_NOT_FOUND, "task %s does not exist", id);
    if (known)
        mail__task_info__free_unpacked(known, NULL);
    return err;
}

static Error *store_all(Tasks *tasks)
{
    Error *err = store_begin(tasks->store);

    if (err)
        return err;
    for (size_t i = 0; !err && i < tasks->n; i++) {
        if (!tasks->list[i]->dirty && !tasks->list[i]->result)
            continue;
        Mail__TaskInfo info = with_result(tasks->list[i]);
        err = store_task_put(tasks->store, &info);
    }
    if (err) {
        store_rollback(tasks->store);
        return err;
    }
    CRASH_POINT("controller.task.result.storing");
    return store_commit(tasks->store);
}

static void tell_ended(Tasks *tasks, const Task *task)
{
    const Mail__TaskResult *result = task->result;

    if (result->state == MAIL__TASK_STATE__FAILED || result->state == MAIL__TASK_STATE__NEVER_RAN)
        events_add(tasks->events, MAIL__FACT_STATE__DEGRADED, task->info->node, "task failed", "%s (%s): %s",
                   task->info->verb, task->info->task_id,
                   result->state == MAIL__TASK_STATE__NEVER_RAN ? "the node knows nothing of it"
                   : result->why && result->why->what           ? result->why->what
                                                                : "no words");
    else
        log_info("task ended", kv("task", task->info->task_id), kv("node", task->info->node),
                 kv("verdict", result->verdict ? result->verdict : "-"));
}

/* What has ended leaves the list, and only now the node may forget it. */
static void settle(Tasks *tasks)
{
    size_t kept = 0;

    for (size_t i = 0; i < tasks->n; i++) {
        Task *task = tasks->list[i];
        task->dirty = false;
        if (!task->result) {
            tasks->list[kept++] = task;
            continue;
        }
        tell_ended(tasks, task);
        task_send_seen(tasks, task->info->node, task->info->task_id);
        task_free(task);
        tasks->moves++;
    }
    tasks->n = kept;
}

static void store_news(Tasks *tasks, Msec now)
{
    bool news = false;

    for (size_t i = 0; i < tasks->n; i++)
        news = news || tasks->list[i]->dirty || tasks->list[i]->result;
    if (!news || now < tasks->store_at)
        return;
    Error *err = store_all(tasks);
    if (err) {
        if (!tasks->failing)
            log_error("tasks not stored, trying again", kv("why", err->what));
        tasks->failing = true;
        tasks->store_at = now + TASK_RETRY_MS;
        error_free(&err);
        return;
    }
    CRASH_POINT("controller.task.result.stored");
    tasks->failing = false;
    settle(tasks);
}

static void tend(Tasks *tasks, Task *task, Msec now)
{
    if (task->result || !nodes_online(tasks->nodes, task->info->node))
        return;
    if (task->info->state == MAIL__TASK_STATE__LOST && !task->asked)
        task_send_ask(tasks, task->info->node);
    if (task->info->state == MAIL__TASK_STATE__WAITING) {
        if (now < task->retry_at)
            return;
        if (task_send_start(tasks, task))
            task_state(tasks, task, MAIL__TASK_STATE__RUNNING);
        else
            task->retry_at = now + FULL_MS;
    }
    if (task->cancel && task->info->state == MAIL__TASK_STATE__RUNNING && task_send_cancel(tasks, task))
        task->cancel = false;
}

void tasks_run(Tasks *tasks, Msec now)
{
    for (size_t i = 0; i < tasks->n; i++)
        tend(tasks, tasks->list[i], now);
    store_news(tasks, now);
    tasks->wake_at = tasks->failing ? tasks->store_at : MSEC_NEVER;
    for (size_t i = 0; i < tasks->n; i++) {
        Msec at = tasks->list[i]->retry_at;
        if (at > now && at < tasks->wake_at)
            tasks->wake_at = at;
    }
}

void tasks_wait(Tasks *tasks, Waiter *wake)
{
    waiter_at(wake, tasks->wake_at);
}
