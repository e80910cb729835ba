/* What a node refused after the commit: taken back where nothing later stands on it, otherwise the node is held. */
#include "request_inside.h"

#include "prepare.h"
#include "revert.h"

#include "base/alloc.h"
#include "base/log.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

typedef struct Refusing {
    struct Refusing *next;
    Refusal refusal;
    uint64_t culprit; /* the one revision that holds what was refused; 0: several, or none */
    Job *job;         /* NULL: another node's refusal takes it back already, or nothing does */
} Refusing;

static void refusing_free(Refusing *refusing)
{
    job_release(&refusing->job);
    error_free(&refusing->refusal.why);
    free(refusing);
}

void refusals_free(Requests *requests)
{
    while (requests->refusing) {
        Refusing *refusing = requests->refusing;
        requests->refusing = refusing->next;
        refusing_free(refusing);
    }
}

/* ---- which revision is it? ---- */

typedef struct Suspects {
    Store *store;
    uint64_t good, refused;
    uint64_t culprit; /* 0: none yet */
    bool several;
} Suspects;

static Error *suspect(void *context, const RevisionRow *row)
{
    Suspects *suspects = context;

    if (row->revision <= suspects->good)
        return NULL;
    suspects->several = suspects->several || (suspects->culprit && suspects->culprit != row->revision);
    suspects->culprit = row->revision;
    return NULL;
}

/* The two newest revisions of each object that the node may have refused are enough to know. */
static Error *object_suspect(void *context, const ObjectRef *ref, const void *bytes, size_t size)
{
    Suspects *suspects = context;

    (void)bytes;
    (void)size;
    return store_history(suspects->store, ref, suspects->refused + 1, 2, suspect, suspects);
}

/* A delta may hold several revisions: the refused one is the newest of them, not always the one to blame. */
static Error *culprit_find(Store *store, const Refusal *refusal, uint64_t *ret_culprit)
{
    Suspects suspects = {.store = store, .good = refusal->good_revision, .refused = refusal->revision};
    Error *err = prepare_objects(store, refusal->node, object_suspect, &suspects);

    if (!err)
        *ret_culprit = suspects.several ? 0 : suspects.culprit;
    return err;
}

/* ---- taking it back ---- */

static Error *back_go(void *context, Work *work)
{
    return revert_work(work, *(const uint64_t *)context);
}

static uint64_t taken_back_by(const Requests *requests, uint64_t revision)
{
    for (size_t i = 0; i < TAKEN_BACK_MAX; i++)
        if (requests->taken_back[i].revision == revision)
            return requests->taken_back[i].by;
    return 0;
}

static bool is_under_way(const Requests *requests, uint64_t culprit)
{
    for (const Refusing *other = requests->refusing; other; other = other->next)
        if (other->culprit == culprit && other->job)
            return true;
    return false;
}

static void take_back(Requests *requests, Refusing *refusing)
{
    DEFER(xfree) char *via = xasprintf("refused by %s", refusing->refusal.node);
    JobOrder order = {.work = back_go,
                      .context_free = free,
                      .context = xmemdup(&refusing->culprit, sizeof refusing->culprit),
                      .rules = {.deferred = true, .restoring = true, .refused = true},
                      .unasked = true,
                      .who = "controller",
                      .via = via};

    refusing->job = batch_add(requests->batch, &order);
}

void refusals_run(Requests *requests, Msec now)
{
    Refusal refusal;

    (void)now;
    while (nodes_take_refusal(requests->with.nodes, &refusal)) {
        Refusing *refusing = xcalloc(1, sizeof *refusing);
        refusing->refusal = refusal;
        Error *err = culprit_find(requests->with.store, &refusing->refusal, &refusing->culprit);
        log_stop(LOG_LEVEL_ERROR, "a refused revision was not looked up", &err);
        if (refusing->culprit && !taken_back_by(requests, refusing->culprit) &&
            !is_under_way(requests, refusing->culprit))
            take_back(requests, refusing);
        refusing->next = requests->refusing;
        requests->refusing = refusing;
    }
}

/* ---- afterwards ---- */

static void hold(Requests *requests, const Refusal *refusal, const char *because)
{
    events_add(requests->with.events, MAIL__FACT_STATE__DEGRADED, refusal->node, "configuration held",
               "revision %" PRIu64 " was refused: %s; the node keeps its last good configuration: %s",
               refusal->revision, refusal->why->what, because);
    nodes_hold(requests->with.nodes, refusal->node, refusal->revision);
}

/* Who waits learns it from the revision that holds what was refused. */
static void tell(Requests *requests, const Refusing *refusing, uint64_t by)
{
    const Refusal *refusal = &refusing->refusal;

    events_add(requests->with.events, MAIL__FACT_STATE__DEGRADED, refusal->node, "revision refused",
               "revision %" PRIu64 " was refused: %s; taken back by revision %" PRIu64, refusing->culprit,
               refusal->why->what, by);
    talks_refused(requests, refusing->culprit, refusal->node, refusal->why->what, by);
}

static void remember(Requests *requests, const Refusing *refusing)
{
    if (!refusing->job || !job_done(refusing->job))
        return;
    JobResult result = job_result(refusing->job);
    if (!result.err && result.revision)
        requests->taken_back[requests->n_taken_back++ % TAKEN_BACK_MAX] =
            (TakenBack){.revision = refusing->culprit, .by = result.revision};
}

static void finish(Requests *requests, const Refusing *refusing)
{
    uint64_t by = refusing->culprit ? taken_back_by(requests, refusing->culprit) : 0;

    if (by) {
        tell(requests, refusing, by);
        return;
    }
    const Error *err = refusing->job ? job_result(refusing->job).err : NULL;
    hold(requests, &refusing->refusal, err ? err->what : "later revisions stand on it");
}

static bool is_over(const Refusing *refusing)
{
    return !refusing->job || job_done(refusing->job);
}

void refusals_finish(Requests *requests, Msec now)
{
    (void)now;
    for (const Refusing *refusing = requests->refusing; refusing; refusing = refusing->next)
        remember(requests, refusing);
    for (Refusing **at = &requests->refusing; *at;) {
        Refusing *refusing = *at;
        bool waits = !refusing->job && refusing->culprit && is_under_way(requests, refusing->culprit) &&
                     !taken_back_by(requests, refusing->culprit);
        if (!is_over(refusing) || waits) {
            at = &refusing->next;
            continue;
        }
        finish(requests, refusing);
        *at = refusing->next;
        refusing_free(refusing);
    }
}
