#include "batch.h"

#include "prepare.h"

#include "base/alloc.h"
#include "base/crash.h"
#include "base/log.h"

#include <malloc.h>
#include <stdlib.h>

enum {
    LARGE = 10 * 1000,        /* objects: memory of such a change is given back to the system */
    ASK_AGAIN_MAX = 20,       /* the state moved while the nodes looked at it */
    LOOK_MS = 5,              /* how often answers of nodes are looked for, beside what arrives */
    KEYS_WAIT_MS = 30 * 1000, /* for one more of them */
};

struct Job {
    Job *next;
    JobOrder order;
    char *who, *message, *via;
    Asker *asker;
    bool done, released;

    Preparing *preparing; /* NULL: nobody is asked, or not yet */
    bool ready;           /* all that were asked have answered */
    unsigned times;       /* asked */
    size_t keys_wanted;   /* that the pool must have before it is worked out again; 0: enough */
    size_t keys_seen;     /* so many were there when it was looked last */
    Msec keys_by;         /* and one more until then */

    Work work;
    bool worked;
    Error *err;
    uint64_t revision;
    size_t count;
};

struct Batch {
    Store *store;
    Nodes *nodes;
    KeyPool *keys;
    size_t keys_taken; /* by the jobs of this turn */
    Names keyless;
    Job *jobs; /* in the order of arrival */
    bool admins_changed;
};

Batch *batch_new(Store *store, Nodes *nodes, KeyPool *keys)
{
    Batch *batch = xcalloc(1, sizeof *batch);

    *batch = (Batch){.store = store, .nodes = nodes, .keys = keys};
    return batch;
}

/* ---- jobs ---- */

static void work_drop(Job *job)
{
    if (job->worked)
        work_done(&job->work);
    job->worked = false;
}

/* What was asked may be a file of 60 MB. */
static void context_drop(Job *job)
{
    if (job->order.context_free)
        job->order.context_free(job->order.context);
    job->order.context_free = NULL;
    job->order.context = NULL;
}

static void job_free(Job **job)
{
    Job *old = *job;

    work_drop(old);
    preparing_free(&old->preparing);
    error_free(&old->err);
    asker_free(&old->asker);
    context_drop(old);
    free(old->who);
    free(old->message);
    free(old->via);
    free(old);
    *job = NULL;
}

void batch_free(Batch **batch)
{
    if (!*batch)
        return;
    while ((*batch)->jobs) {
        Job *job = (*batch)->jobs;
        (*batch)->jobs = job->next;
        job_free(&job);
    }
    names_done(&(*batch)->keyless);
    free(*batch);
    *batch = NULL;
}

Job *batch_add(Batch *batch, const JobOrder *order)
{
    Job *job = xcalloc(1, sizeof *job), **end = &batch->jobs;

    *job = (Job){.order = *order,
                 .who = xstrdup(order->who),
                 .message = order->message ? xstrdup(order->message) : NULL,
                 .via = order->via ? xstrdup(order->via) : NULL,
                 .asker = (Asker *)(uintptr_t)order->rules.asker};
    while (*end)
        end = &(*end)->next;
    *end = job;
    return job;
}

void job_release(Job **job)
{
    if (*job)
        (*job)->released = true;
    *job = NULL;
}

bool job_done(const Job *job)
{
    return job->done;
}

JobResult job_result(const Job *job)
{
    return (JobResult){.err = job->err,
                       .revision = job->revision,
                       .count = job->count,
                       .kept = job->work.kept,
                       .n_kept = job->work.n_kept,
                       .kept_all = job->work.kept_all,
                       .warnings = job->work.warnings,
                       .n_warnings = job->work.n_warnings};
}

/* Takes err. */
static void job_fail(Job *job, Error *err)
{
    job->err = err;
    job->revision = 0;
    job->count = 0;
    work_drop(job);
    job->done = true;
}

/* ---- working one out ---- */

typedef enum Verdict { KEEP_IT, UNDO_IT } Verdict;

/* The change is open and worked out: does it wait for nodes?  UNDO_IT: it does, or is only rehearsed. */
static Error *decide(Batch *batch, Job *job, Msec now, Verdict *ret_verdict)
{
    Error *err = NULL;

    *ret_verdict = UNDO_IT;
    if (job->order.dry_run)
        return NULL;
    *ret_verdict = KEEP_IT;
    if (job->order.unasked || !job->work.config || !job->work.nodes.n || !change_size(batch->store))
        return NULL;
    if (job->ready) {
        bool same = false;
        err = prepare_compare(job->preparing, batch->store, &job->work, &same);
        if (!err && same)
            prepare_warn(job->preparing, &job->work);
        if (err || same)
            return err;
    }
    if (job->times++ == ASK_AGAIN_MAX)
        return error_hint(error_new(ERROR_CONFLICT, "the configuration changed each time the nodes had been asked"),
                          "try again");
    preparing_free(&job->preparing);
    job->ready = false;
    err = prepare_ask(batch->store, batch->nodes, &job->work, now, &job->preparing);
    if (err)
        return err;
    job->ready = prepare_settled(job->preparing, batch->nodes, now, &err);
    if (err || !job->ready) {
        *ret_verdict = UNDO_IT;
        return err;
    }
    prepare_warn(job->preparing, &job->work);
    return NULL;
}

/* A few keys are waited for: the first message of a new domain is signed.  Where a file brings more domains than that, the
 * others come without, and get theirs later. */
static bool waits_for_keys(Batch *batch, Job *job, Msec now)
{
    Work *work = &job->work;

    job->keys_wanted = 0;
    if (!work->keys_missing)
        return false;
    if (work->keys_taken + work->keys_missing <= KEYPOOL_MAX) {
        job->keys_wanted = work->keys_taken + work->keys_missing;
        job->keys_seen = keypool_count(batch->keys);
        job->keys_by = now + KEYS_WAIT_MS;
        keypool_want(batch->keys, job->keys_wanted);
        return true;
    }
    work_warn(work, "%zu of the new domains get their DKIM keys one after another: until then their mail is not signed",
              work->keys_missing);
    return false;
}

static Error *worked(Batch *batch, Job *job, Msec now, Verdict *ret_verdict)
{
    WorkRules rules = job->order.rules;

    rules.asker = job->asker;
    rules.keys = batch->keys;
    rules.keys_from = batch->keys_taken;
    work_drop(job);
    work_init(&job->work, batch->store, &rules);
    job->worked = true;
    Error *err = job->order.work(job->order.context, &job->work);
    if (!err)
        job->count = change_size(batch->store);
    if (err || waits_for_keys(batch, job, now))
        return err;
    return decide(batch, job, now, ret_verdict);
}

/* Whatever becomes of the job, the change is closed.  An error here means that the batch is lost. */
static Error *job_work(Batch *batch, Job *job, Msec now)
{
    Author author = {.who = job->who, .message = job->message, .via = job->via};
    Verdict verdict = UNDO_IT;
    Error *err = change_begin(batch->store);

    if (err)
        return err;
    err = worked(batch, job, now, &verdict);
    if (!err && verdict == KEEP_IT) {
        err = change_end(batch->store, &author, &job->revision);
        if (!err) {
            job->done = true;
            batch->keys_taken += job->work.keys_taken;
            return NULL;
        }
    }
    Error *lost = change_undo(batch->store);
    if (err)
        job_fail(job, err);
    else if (job->order.dry_run && !job->keys_wanted)
        job->done = true;
    else
        work_drop(job); /* nodes are being asked, or keys are made */
    return lost;
}

/* ---- the batch ---- */

static bool has_keys(const Batch *batch, const Job *job)
{
    return !job->keys_wanted || !batch->keys || keypool_count(batch->keys) >= job->keys_wanted;
}

static bool is_ready(const Batch *batch, const Job *job)
{
    return !job->done && (!job->preparing || job->ready) && has_keys(batch, job);
}

static void keys_look(Batch *batch, Msec now)
{
    for (Job *job = batch->jobs; job; job = job->next) {
        if (job->done || has_keys(batch, job))
            continue;
        keypool_want(batch->keys, job->keys_wanted);
        if (keypool_count(batch->keys) != job->keys_seen) {
            job->keys_seen = keypool_count(batch->keys);
            job->keys_by = now + KEYS_WAIT_MS;
        }
        if (now < job->keys_by)
            continue;
        const char *why = keypool_trouble(batch->keys);
        job_fail(job, error_hint(error_new(ERROR_UNAVAILABLE, "no DKIM key could be made%s%s", why ? ": " : "",
                                           why ? why : ""),
                                 "try again"));
    }
}

static void answers_take(Batch *batch, Msec now)
{
    for (Job *job = batch->jobs; job; job = job->next) {
        Error *err = NULL;
        if (job->done || !job->preparing || job->ready)
            continue;
        job->ready = prepare_settled(job->preparing, batch->nodes, now, &err);
        if (err)
            job_fail(job, err);
    }
}

static void released_drop(Batch *batch)
{
    for (Job **at = &batch->jobs; *at;) {
        Job *job = *at;
        if (!job->done || !job->released) {
            at = &job->next;
            continue;
        }
        *at = job->next;
        job_free(&job);
    }
}

/* Nothing of this turn is stored: each of its jobs says so. */
static void all_fail(Job *const *jobs, size_t n, const Error *why)
{
    for (size_t i = 0; i < n; i++) {
        if (!jobs[i]->done && jobs[i]->preparing && !jobs[i]->ready)
            continue; /* it waits for nodes, and was not going to be stored */
        if (jobs[i]->done && jobs[i]->err)
            continue;
        Error *err = error_new(why->code, "%s", why->what);
        if (why->hint)
            err = error_hint(err, "%s", why->hint);
        job_fail(jobs[i], error_in(err, "nothing was stored"));
    }
}

static void committed(Batch *batch, Job *const *jobs, size_t n, Msec now)
{
    for (size_t i = 0; i < n; i++) {
        if (!jobs[i]->done || !jobs[i]->revision)
            continue;
        batch->admins_changed = batch->admins_changed || jobs[i]->work.admins;
        for (size_t k = 0; k < jobs[i]->work.keyless.n; k++)
            names_add(&batch->keyless, jobs[i]->work.keyless.names[k]);
        nodes_changed(batch->nodes, jobs[i]->revision, now);
    }
}

/* True: something was stored. */
static bool store_all(Batch *batch, Job *const *jobs, size_t n, Msec now)
{
    bool any = false;
    Error *err = store_begin(batch->store);

    batch->keys_taken = 0;
    CRASH_POINT("controller.batch.begun");
    for (size_t i = 0; !err && i < n; i++) {
        err = job_work(batch, jobs[i], now);
        any = any || jobs[i]->revision;
    }
    if (!err && !any) { /* nothing to keep */
        store_rollback(batch->store);
        return false;
    }
    CRASH_POINT("controller.batch.worked");
    if (err)
        store_rollback(batch->store);
    else
        err = store_commit(batch->store);
    CRASH_POINT("controller.batch.committed");
    if (batch->keys) /* also when it is not known whether they were stored: no two domains share one */
        keypool_drop(batch->keys, batch->keys_taken);
    if (!err) {
        committed(batch, jobs, n, now);
        return true;
    }
    all_fail(jobs, n, err);
    log_stop(LOG_LEVEL_ERROR, "changes were not stored", &err);
    return false;
}

/* They hold what was asked no longer; a large change leaves no memory behind. */
static void contexts_drop(Job *const *jobs, size_t n)
{
    bool large = false;

    for (size_t i = 0; i < n; i++) {
        if (!jobs[i]->done)
            continue;
        large = large || jobs[i]->count > LARGE;
        context_drop(jobs[i]);
    }
    if (large)
        malloc_trim(0);
}

bool batch_run(Batch *batch, Msec now)
{
    size_t n = 0, room = 0;
    bool stored = false;
    Job **jobs = NULL;

    answers_take(batch, now);
    keys_look(batch, now);
    for (Job *job = batch->jobs; job; job = job->next) {
        if (!is_ready(batch, job))
            continue;
        if (n == room) {
            room = room ? 2 * room : 16;
            jobs = xrealloc(jobs, room * sizeof(Job *));
        }
        jobs[n++] = job;
    }
    if (n)
        stored = store_all(batch, jobs, n, now);
    contexts_drop(jobs, n);
    free(jobs);
    released_drop(batch);
    return stored;
}

void batch_wait(const Batch *batch, Waiter *wake)
{
    for (const Job *job = batch->jobs; job; job = job->next) {
        if (is_ready(batch, job))
            waiter_now(wake);
        else if (!job->done)
            waiter_at(wake, clock_ms() + LOOK_MS);
    }
}

void batch_keyless(Batch *batch, Names *to)
{
    for (size_t i = 0; i < batch->keyless.n; i++)
        names_add(to, batch->keyless.names[i]);
    names_done(&batch->keyless);
}

bool batch_admins_changed(Batch *batch)
{
    bool changed = batch->admins_changed;

    batch->admins_changed = false;
    return changed;
}
