/* batch.h - changes of one turn, one transaction, one fsync
 *
 *     QUEUED ──worked out──► stored ──commit──► DONE
 *        │  ▲
 *        ▼  │ all nodes have said that it would do: worked out again
 *     ASKING ──one says no──► DONE
 *
 *        └─ too few keys for its domains: worked out again when the pool has them
 *
 * Each job is worked out against what the ones before it have left, in a savepoint of
 * its own.  Only configuration waits for nodes; tables never do.  Jobs are done only
 * after the commit: until then nothing is answered.
 */
#pragma once
#include "keypool.h"
#include "nodes.h"
#include "work.h"

typedef struct Batch Batch;
typedef struct Job Job;

typedef struct JobOrder {
    /* Called again when the nodes have answered; calls work_finish. */
    Error *(*work)(void *context, Work *work);
    void (*context_free)(void *context);
    void *context;
    WorkRules rules;                 /* asker: taken over, may be NULL */
    bool dry_run;                    /* worked out, undone */
    bool unasked;                    /* no node is asked first: it takes back what one refused */
    const char *who, *message, *via; /* copied; message and via may be NULL */
} JobOrder;

/* What came of it, once job_done. */
typedef struct JobResult {
    const Error *err;  /* NULL: well */
    uint64_t revision; /* 0: nothing changed, or dry run */
    size_t count;      /* objects altered, or that would be */
    const Kept *kept;
    size_t n_kept;
    bool kept_all;
    char *const *warnings;
    size_t n_warnings;
} JobResult;

/* store, nodes and keys outlive it.  keys NULL: domains come without. */
Batch *batch_new(Store *store, Nodes *nodes, KeyPool *keys);
void batch_free(Batch **batch);

Job *batch_add(Batch *batch, const JobOrder *order); /* the batch's until job_release */
void job_release(Job **job);                         /* who asked is no longer interested, or has read it */
bool job_done(const Job *job);
JobResult job_result(const Job *job);

bool batch_run(Batch *batch, Msec now); /* true: something was stored */
void batch_wait(const Batch *batch, Waiter *wake);
/* Domains ("main example.org") that were stored without a key since it was asked last are added to these. */
void batch_keyless(Batch *batch, Names *to);
bool batch_admins_changed(Batch *batch); /* since it was asked last */
