/* jobs.h - jobs of mail-engine (mailnode/tasks/job.h) that run for this agent, each over a connection of its own
 *
 * A job gets what it needs along: the objects that its verb names, those of the node's instance that bear on it, and
 * the secrets of its destinations.
 */
#pragma once
#include "journal.h"
#include "store_copy.h"

typedef struct Jobs Jobs;

enum { JOBS_MAX = 16 };

typedef struct JobsParts { /* all outlive the Jobs */
    const char *socket;    /* of mail-engine */
    const char *node;
    const char *stage; /* the folder of stage.h */
    Journal *journal;
    StoreCopy *copy;
} JobsParts;

/* What a job says: TaskProgress, BackupRows, TraceRows; its end is a TaskResult, the last rows (with 'last'), or a Failure:
 * nothing comes behind that.  Borrowed for the call. */
typedef void JobHeard(void *context, uint64_t job, const Envelope *said);

Jobs *jobs_new(const JobsParts *parts);
void jobs_free(Jobs **jobs); /* what runs is given up: mail-engine ends it */
void jobs_run(Jobs *jobs, Msec now);
void jobs_wait(const Jobs *jobs, Waiter *wake);

bool job_is(Mail__TaskStart__VerbCase verb); /* a job's verb, and not a task of the agent's own */

/* Starts a task, or asks a question.  A backup gets the state of the node along, and the controller's store, as files that
 * go with the job; it begins when the newest copy of that has come, or will not (store_copy.h).
 * NOT_FOUND: what it names is not stated; UNAVAILABLE: mail-engine is away, or JOBS_MAX run. */
CHECKED Error *jobs_start(Jobs *jobs, const Mail__TaskStart *task, JobHeard *heard, void *context, uint64_t *ret_job);
CHECKED Error *jobs_ask(Jobs *jobs, const Mail__BackupRead *read, JobHeard *heard, void *context, uint64_t *ret_job);
/* About the logs of this node; also where there is no instance now. */
CHECKED Error *jobs_trace(Jobs *jobs, const Mail__TraceRead *read, JobHeard *heard, void *context, uint64_t *ret_job);
void jobs_cancel(Jobs *jobs, uint64_t job);
