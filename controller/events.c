#include "events.h"

#include "base/alloc.h"
#include "base/crash.h"
#include "base/log.h"
#include "base/utf8.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    TEXT_MAX = 1024,
    WHAT_MAX = 100,
    WAITING_MAX = 2000, /* events that cannot be stored now; older ones give way */
    RETRY_MS = 1000,
    AGE_MAX_MS = 20 * 86400 * 1000, /* of a happening: what is said to be older is that old */
};

typedef struct Waiting {
    Mail__FactState severity;
    uint64_t time_s;
    char *node, *what, *text;
    uint64_t happening; /* its number on the node; 0: none */
} Waiting;

struct Events {
    Store *store;
    uint64_t newest;
    Waiting *waiting;
    size_t n, room;
    uint64_t lost;
    Msec retry_at;
    bool failing; /* said once */
};

static Error *take_number(void *context, const Mail__EventInfo *event)
{
    uint64_t *newest = context;

    *newest = event->number;
    return NULL;
}

Error *events_new(Store *store, Events **ret_events)
{
    uint64_t newest = 0;

    Error *err = store_event_each(store, NULL, 0, 1, take_number, &newest);
    if (err)
        return error_in(err, "events");
    Events *events = xcalloc(1, sizeof *events);
    events->store = store;
    events->newest = newest;
    *ret_events = events;
    return NULL;
}

static void waiting_done(Waiting *waiting)
{
    free(waiting->node);
    free(waiting->what);
    free(waiting->text);
}

static void waiting_drop(Events *events, size_t n)
{
    for (size_t i = 0; i < n; i++)
        waiting_done(&events->waiting[i]);
    events->n -= n;
    if (events->n)
        memmove(events->waiting, events->waiting + n, events->n * sizeof *events->waiting);
}

void events_free(Events **events)
{
    if (!*events)
        return;
    waiting_drop(*events, (*events)->n);
    free((*events)->waiting);
    free(*events);
    *events = NULL;
}

/* At most 'limit' octets, whole characters. */
static char *short_copy(const char *text, size_t limit)
{
    size_t size = strlen(text), len = 0;

    while (len < size) {
        size_t more = utf8_char_len(text + len, size - len);
        if (!more || len + more > limit)
            break;
        len += more;
    }
    return xstrndup(text, len);
}

static void log_it(const Waiting *event)
{
    LogLevel level = event->severity == MAIL__FACT_STATE__GOOD  ? LOG_LEVEL_INFO
                     : event->severity == MAIL__FACT_STATE__BAD ? LOG_LEVEL_ERROR
                                                                : LOG_LEVEL_WARNING;

    if (event->node)
        log_at(level, event->what, kv("node", event->node), kv("text", event->text));
    else
        log_at(level, event->what, kv("text", event->text));
}

static void wait_for_store(Events *events, const Waiting *event)
{
    if (events->failing && events->n >= WAITING_MAX) { /* a turn's input is bounded already */
        waiting_drop(events, 1);
        events->lost++;
    }
    if (events->n == events->room) {
        events->room = events->room ? events->room * 2 : 16;
        events->waiting = xrealloc(events->waiting, events->room * sizeof *events->waiting);
    }
    events->waiting[events->n++] = *event;
}

void events_add(Events *events, Mail__FactState severity, const char *node, const char *what, const char *format, ...)
{
    Waiting event = {.severity = severity, .time_s = (uint64_t)time(NULL)};
    va_list args;

    va_start(args, format);
    DEFER(xfree) char *text = xvasprintf(format, args);
    va_end(args);
    event.node = node ? xstrdup(node) : NULL;
    event.what = short_copy(what, WHAT_MAX);
    event.text = short_copy(text, TEXT_MAX);
    log_it(&event);
    wait_for_store(events, &event);
}

void events_happened(Events *events, const char *node, const Mail__Happening *happening)
{
    uint64_t now_s = (uint64_t)time(NULL);
    uint64_t age_ms = happening->age_ms < AGE_MAX_MS ? happening->age_ms : AGE_MAX_MS;
    Waiting event = {.severity = happening->severity,
                     .time_s = now_s - age_ms / 1000,
                     .node = xstrdup(node),
                     .what = short_copy(happening->what ? happening->what : "", WHAT_MAX),
                     .text = short_copy(happening->text ? happening->text : "", TEXT_MAX),
                     .happening = happening->number};

    wait_for_store(events, &event);
}

/* *ret_number stays 0 for a happening that was told before. */
static Error *store_one(Events *events, const Waiting *event, uint64_t *ret_number)
{
    Mail__EventInfo info = MAIL__EVENT_INFO__INIT;
    bool new = true;

    if (event->happening) {
        Error *err = store_happening_seen(events->store, event->node, event->happening, &new);
        if (err || !new)
            return err;
        log_it(event);
    }
    info.has_time = info.has_severity = true;
    info.time = event->time_s;
    info.severity = event->severity;
    info.node = event->node;
    info.what = event->what;
    info.text = event->text;
    return store_event_add(events->store, &info, ret_number);
}

static Error *store_all(Events *events, uint64_t *ret_newest)
{
    Error *err = store_begin(events->store);

    if (err)
        return err;
    for (size_t i = 0; !err && i < events->n; i++)
        err = store_one(events, &events->waiting[i], ret_newest);
    if (err) {
        store_rollback(events->store);
        return err;
    }
    CRASH_POINT("controller.events.committing");
    return store_commit(events->store);
}

void events_run(Events *events, Msec now)
{
    uint64_t newest = events->newest;

    if (!events->n || now < events->retry_at)
        return;
    Error *err = store_all(events, &newest);
    if (err) {
        if (!events->failing)
            log_error("events not stored, trying again", kv("why", err->what));
        events->failing = true;
        events->retry_at = now + RETRY_MS;
        error_free(&err);
        return;
    }
    CRASH_POINT("controller.events.committed");
    if (events->lost)
        log_warning("events were lost while they could not be stored", kv("count", events->lost));
    events->lost = 0;
    events->failing = false;
    waiting_drop(events, events->n);
    events->newest = newest;
}

void events_wait(const Events *events, Waiter *wake)
{
    if (events->n)
        waiter_at(wake, events->retry_at);
}

uint64_t events_newest(const Events *events)
{
    return events->newest;
}
