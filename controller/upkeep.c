#include "upkeep.h"

#include "base/alloc.h"
#include "base/log.h"

#include <stdlib.h>
#include <string.h>

enum {
    AUDIT_FIRST_MS = 30000, /* after the start, when nodes are back */
    AUDIT_MS = 3600000,
    COMPACT_FIRST_MS = 600000,
    COMPACT_MS = 86400000,
    COMPACT_AGAIN_MS = 3600000, /* a node of which nothing is known yet */
    KEEP_DAYS = 366,
};

struct Upkeep {
    Store *store;
    Nodes *nodes;
    Events *events;
    Msec audit_at, compact_at;
    char *alarm;
};

Upkeep *upkeep_new(Store *store, Nodes *nodes, Events *events)
{
    Upkeep *upkeep = xcalloc(1, sizeof *upkeep);
    Msec now = clock_ms();

    *upkeep = (Upkeep){.store = store,
                       .nodes = nodes,
                       .events = events,
                       .audit_at = now + AUDIT_FIRST_MS,
                       .compact_at = now + COMPACT_FIRST_MS};
    return upkeep;
}

void upkeep_free(Upkeep **upkeep)
{
    if (!*upkeep)
        return;
    free((*upkeep)->alarm);
    free(*upkeep);
    *upkeep = NULL;
}

/* One pass over everything: 0.1 s at 100,000 objects, once an hour. */
static void audit(Upkeep *upkeep)
{
    Error *err = store_audit(upkeep->store);

    if (err && (!upkeep->alarm || strcmp(upkeep->alarm, err->what) != 0))
        events_add(upkeep->events, MAIL__FACT_STATE__BAD, NULL, "store does not add up", "%s", err->what);
    free(upkeep->alarm);
    upkeep->alarm = err ? xstrdup(err->what) : NULL;
    error_free(&err);
}

/* False: not now. */
static bool compact(Upkeep *upkeep)
{
    uint64_t oldest = 0;

    if (!nodes_oldest(upkeep->nodes, &oldest))
        return false;
    Error *err = store_compact(upkeep->store, KEEP_DAYS, oldest);
    log_stop(LOG_LEVEL_WARNING, "old revisions not forgotten, tomorrow again", &err);
    return true;
}

void upkeep_run(Upkeep *upkeep, Msec now)
{
    if (now >= upkeep->audit_at) {
        audit(upkeep);
        upkeep->audit_at = now + AUDIT_MS;
    }
    if (now >= upkeep->compact_at)
        upkeep->compact_at = now + (compact(upkeep) ? COMPACT_MS : COMPACT_AGAIN_MS);
}

void upkeep_wait(const Upkeep *upkeep, Waiter *wake)
{
    waiter_at(wake, upkeep->audit_at);
    waiter_at(wake, upkeep->compact_at);
}

const char *upkeep_alarm(const Upkeep *upkeep)
{
    return upkeep->alarm;
}
