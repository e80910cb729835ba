/* job_run.h - a job as mail-engine sees it: a child at the other end of a socket (job.h)
 *
 * Never blocks.  What the job says is handed out as it comes; when it ended without its last word, that word is made up:
 * a failure that says so.
 */
#pragma once
#include "base/loop.h"
#include "local/envelope.h"

typedef struct JobRun JobRun;

/* Starts it with a copy of this EngineTask. */
CHECKED Error *job_run_start(const char *root, const Envelope *task, JobRun **ret_run);
/* The next thing that it says, NULL: nothing now.  Its last has 'last' set; nothing comes behind it.  The caller's. */
Envelope *job_run_next(JobRun *run);
void job_run_cancel(JobRun *run);
void job_run_wait(JobRun *run, Waiter *wake);
/* Cancels what has not ended; the process comes to its end by itself, and is taken by job_run_sweep. */
void job_run_free(JobRun **run);
/* Takes the status of those that were let go.  Now and then. */
void job_run_sweep(void);
