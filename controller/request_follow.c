/* events and tasks: told as they happen. */
#include "request_inside.h"

#include "base/alloc.h"
#include "model/validate.h"

#include <stdlib.h>
#include <string.h>

enum {
    EVENTS_DEFAULT = 100,
    EVENTS_MAX = 10 * 1000,
    EVENTS_PART = 200,
    TASKS_SHOWN = 1000,
    TASKS_PART_BYTES = 512 * 1024,
};

/* ---- events ---- */

typedef struct Following {
    char *node; /* NULL: of all */
    bool follow, begun;
    size_t first;   /* how many of the past */
    uint64_t after; /* number of the last one told */
} Following;

static bool following_run(Ask *ask, Msec now);

static void following_done(void *data)
{
    Following *following = data;

    free(following->node);
    free(following);
}

static const AskType following_type = {.run = following_run, .done = following_done};

typedef struct EventList {
    Mail__EventInfo **list;
    size_t n, room;
} EventList;

static void event_list_done(EventList *events)
{
    for (size_t i = 0; i < events->n; i++)
        mail__event_info__free_unpacked(events->list[i], NULL);
    free(events->list);
}

static Error *event_take(void *context, const Mail__EventInfo *event)
{
    EventList *events = context;
    Mail__EventInfo *copy = xcalloc(1, sizeof *copy);

    *copy = *event;
    copy->node = event->node ? xstrdup(event->node) : NULL;
    copy->what = event->what ? xstrdup(event->what) : NULL;
    copy->text = event->text ? xstrdup(event->text) : NULL;
    copy->base.n_unknown_fields = 0;
    copy->base.unknown_fields = NULL;
    if (events->n == events->room) {
        events->room = events->room ? 2 * events->room : 32;
        events->list = xrealloc(events->list, events->room * sizeof(Mail__EventInfo *));
    }
    events->list[events->n++] = copy;
    return NULL;
}

/* A part of the list, from 'first' on, of what one message holds. */
static size_t part_of(const EventList *events, size_t first)
{
    size_t n = 0, size = 0;

    while (first + n < events->n && n < EVENTS_PART && size < ENVELOPE_PART_BYTES)
        size += mail__event_info__get_packed_size(events->list[first + n++]);
    return n;
}

static bool events_tell(Ask *ask, Following *following, const EventList *events)
{
    size_t told = 0;

    do {
        Envelope envelope = MAIL__ENVELOPE__INIT;
        Mail__Events body = MAIL__EVENTS__INIT;
        size_t n = part_of(events, told);
        body.events = n ? &events->list[told] : NULL;
        body.n_events = n;
        /* Numbers rise by one: what is missing between was left out.  Of one node's alone nobody knows how many. */
        if (n && following->begun && !following->node && body.events[0]->number > following->after + 1) {
            body.has_gap = true;
            body.gap = body.events[0]->number - following->after - 1;
        }
        envelope.body_case = MAIL__ENVELOPE__BODY_EVENTS;
        envelope.events = &body;
        if (!ask_say(ask, &envelope, !following->follow && told + n == events->n))
            return false;
        told += n;
        if (n)
            following->after = events->list[told - 1]->number;
        following->begun = true;
    } while (told < events->n);
    return true;
}

/* A follower that does not read costs nothing: it is told the newest when it reads again, and how many it missed. */
static bool following_run(Ask *ask, Msec now)
{
    Following *following = ask->data;
    const RequestsParts *with = &ask->of->with;
    uint64_t newest = events_newest(with->events);
    DEFER(event_list_done) EventList events = {.n = 0};

    ask->at = MSEC_NEVER;
    if (!ask_has_room(ask) || (following->begun && newest <= following->after))
        return false;
    Error *err = store_event_each(with->store, following->node, following->after,
                                  following->begun ? EVENTS_PART : following->first, event_take, &events);
    if (err) {
        ask_fail(ask, err);
        return true;
    }
    if (following->begun && !events.n) { /* of other nodes */
        following->after = newest;
        return false;
    }
    if (!events_tell(ask, following, &events))
        ask->at = now + 100;
    else if (following->after < newest)
        following->after = newest; /* those that are not this node's */
    return ask->answered;
}

void request_events(Ask *ask, Envelope **envelope, Msec now)
{
    const Mail__GetEvents *wish = (*envelope)->get_events;
    Following *following = xcalloc(1, sizeof *following);
    size_t limit = wish->limit ? wish->limit : EVENTS_DEFAULT;
    char *node = NULL;

    if (wish->node && *wish->node) { /* a node that is gone has events still: only its form is looked at */
        Error *err = name_normalise(MAIL__OBJECT__BODY_NODE, wish->node, &node);
        if (err) {
            free(following);
            ask_fail(ask, error_in(err, "node"));
            return;
        }
    }
    *following = (Following){.node = node, .follow = wish->follow, .first = limit < EVENTS_MAX ? limit : EVENTS_MAX};
    ask_keep(ask, &following_type, following);
    if (following_run(ask, now))
        ask->answered = true;
}

/* ---- tasks ---- */

typedef struct Watching {
    char *id;
    bool detach;
    bool begun;
    Buf told; /* what was said last */
} Watching;

static bool watching_run(Ask *ask, Msec now);

static void watching_done(void *data)
{
    Watching *watching = data;

    buf_done(&watching->told);
    free(watching->id);
    free(watching);
}

static const AskType watching_type = {.run = watching_run, .done = watching_done};

static bool task_say(Ask *ask, Mail__TaskInfo **tasks, size_t n, bool last)
{
    Envelope envelope = MAIL__ENVELOPE__INIT;
    Mail__Tasks body = MAIL__TASKS__INIT;

    body.tasks = tasks;
    body.n_tasks = n;
    envelope.body_case = MAIL__ENVELOPE__BODY_TASKS;
    envelope.tasks = &body;
    return ask_say(ask, &envelope, last);
}

static Error *no_task(const char *id)
{
    DEFER(xfree) char *shown = name_for_people(id ? id : "");

    return error_new(ERROR_NOT_FOUND, "task %s does not exist", shown);
}

/* Has anything moved that a person could see? */
static bool is_news(Watching *watching, const Mail__TaskInfo *task)
{
    DEFER(buf_done) Buf now = {0};
    size_t size = mail__task_info__get_packed_size(task);

    now.size = mail__task_info__pack(task, buf_reserve(&now, size));
    if (watching->begun && now.size == watching->told.size && memcmp(now.data, watching->told.data, now.size) == 0)
        return false;
    buf_clear(&watching->told);
    buf_append(&watching->told, now.data, now.size);
    return true;
}

static bool watching_run(Ask *ask, Msec now)
{
    Watching *watching = ask->data;
    Mail__TaskInfo *task = NULL;
    Error *err = NULL;

    ask->at = MSEC_NEVER;
    if (!ask_has_room(ask))
        return false;
    err = tasks_get(ask->of->with.tasks, watching->id, &task);
    if (err || !task) {
        ask_fail(ask, err ? err : no_task(watching->id));
        return true;
    }
    bool last = watching->detach || task_ended(task->state);
    if (is_news(watching, task) || last) {
        watching->begun = task_say(ask, &task, 1, last);
        if (!watching->begun)
            ask->at = now + 20;
    }
    mail__task_info__free_unpacked(task, NULL);
    return ask->answered;
}

static void watch(Ask *ask, const char *id, bool detach, Msec now)
{
    Watching *watching = xcalloc(1, sizeof *watching);

    watching->id = xstrdup(id);
    watching->detach = detach;
    ask_keep(ask, &watching_type, watching);
    if (watching_run(ask, now))
        ask->answered = true;
}

/* The node that is meant, by its name or by the instance that it runs (none named: the only one), and that instance (NULL: none); the caller's. */
static Error *node_of(Store *store, const Mail__TaskNew *wish, char **ret_node, char **ret_instance)
{
    DEFER(object_free) Object *instance = NULL;
    Error *err = NULL;

    if (!wish->node || !*wish->node) {
        err = named_placed(store, wish->instance, &instance);
        if (!err) {
            *ret_node = xstrdup(instance->instance->node);
            *ret_instance = xstrdup(instance->name);
        }
        return err;
    }
    err = named_node(store, wish->node, ret_node);
    return err ? err : named_instance_on(store, *ret_node, ret_instance);
}

void request_task_new(Ask *ask, Envelope **envelope, Msec now)
{
    const Mail__TaskNew *wish = (*envelope)->task_new;
    char id[TASK_ID_LEN + 1];
    DEFER(xfree) char *node = NULL, *instance = NULL;
    Error *err = node_of(ask->of->with.store, wish, &node, &instance);
    Mail__TaskNew normal = *wish;

    normal.node = node;
    if (!err && wish->start)
        err = authorise_task(ask->asker, wish->start->verb_case, instance);
    if (!err)
        err = tasks_start(ask->of->with.tasks, &normal, ask->asker->who, now, id);
    if (err)
        ask_fail(ask, err);
    else
        watch(ask, id, wish->detach, now);
}

void request_task_wait(Ask *ask, Envelope **envelope, Msec now)
{
    const Mail__TaskWait *wish = (*envelope)->task_wait;

    watch(ask, wish->task_id ? wish->task_id : "", false, now);
}

typedef struct TaskList {
    Mail__TaskInfo **list;
    size_t n, room;
} TaskList;

static void task_list_done(TaskList *tasks)
{
    for (size_t i = 0; i < tasks->n; i++)
        mail__task_info__free_unpacked(tasks->list[i], NULL);
    free(tasks->list);
}

static Error *task_take(void *context, const Mail__TaskInfo *task)
{
    TaskList *tasks = context;
    size_t size = mail__task_info__get_packed_size(task);
    uint8_t *bytes = xmalloc(size + 1);
    Mail__TaskInfo *copy = mail__task_info__unpack(NULL, mail__task_info__pack(task, bytes), bytes);

    free(bytes);
    if (!copy)
        return error_new(ERROR_DAMAGED, "task %s does not read back", task->task_id ? task->task_id : "?");
    if (tasks->n == tasks->room) {
        tasks->room = tasks->room ? 2 * tasks->room : 32;
        tasks->list = xrealloc(tasks->list, tasks->room * sizeof(Mail__TaskInfo *));
    }
    tasks->list[tasks->n++] = copy;
    return NULL;
}

/* What runs is known better by who runs it: its progress is not stored. */
static Error *tasks_refresh(Tasks *tasks, TaskList *list)
{
    Error *err = NULL;

    for (size_t i = 0; !err && i < list->n; i++) {
        Mail__TaskInfo *now = NULL;
        if (task_ended(list->list[i]->state))
            continue;
        err = tasks_get(tasks, list->list[i]->task_id, &now);
        if (err || !now)
            continue;
        mail__task_info__free_unpacked(list->list[i], NULL);
        list->list[i] = now;
    }
    return err;
}

static void tasks_tell(Ask *ask, const TaskList *list)
{
    size_t told = 0;

    do {
        size_t n = 0, size = 0;
        while (told + n < list->n && size < TASKS_PART_BYTES)
            size += mail__task_info__get_packed_size(list->list[told + n++]);
        if (!task_say(ask, n ? &list->list[told] : NULL, n, told + n == list->n))
            ask->talk->ended = true;
        told += n;
    } while (told < list->n && !ask->talk->ended);
    ask->answered = true;
}

void request_tasks(Ask *ask, Envelope **envelope, Msec now)
{
    const Mail__GetTasks *wish = (*envelope)->get_tasks;
    const char *id = wish->task_id && *wish->task_id ? wish->task_id : NULL;
    DEFER(task_list_done) TaskList list = {.n = 0};
    Error *err = store_task_each(ask->of->with.store, id, TASKS_SHOWN, task_take, &list);

    (void)now;
    if (!err && id && list.n == 0)
        err = no_task(id);
    if (!err)
        err = tasks_refresh(ask->of->with.tasks, &list);
    if (err)
        ask_fail(ask, err);
    else
        tasks_tell(ask, &list);
}
