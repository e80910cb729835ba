/* plans.h - backups begin by themselves, and how they stand is known and told
 *
 * A plan that covers this node's instance runs to each of its destinations: one run at a time on a node, by due.h's rules.
 * Who else runs one (a task of an admin) says so, too, so that none is begun beside it, and what came of it counts.  What
 * became of them is in node.db: a run that was under way when the agent ended has failed, and is begun again.
 *
 * Reports each standing, and the fact "backup": a plan whose last good run is too old is an alarm (SPEC F-160, X-05).
 */
#pragma once
#include "jobs.h"
#include "report.h"

typedef struct Plans Plans;

typedef struct PlansParts {
    Journal *journal;
    Report *report;
    const char *node;
    Jobs *jobs;
    /* jobs_start; tests have another. */
    Error *(*start)(Jobs *jobs, const Mail__TaskStart *task, JobHeard *heard, void *context, uint64_t *ret_job);
} PlansParts;

/* All of it outlives the plans. */
Plans *plans_new(const PlansParts *parts);
void plans_free(Plans **plans);

/* wall_s: seconds since 1970. */
void plans_run(Plans *plans, Msec now, uint64_t wall_s);
void plans_wait(const Plans *plans, Waiter *wake);

/* A run that somebody else began.  destination NULL: to all of the plan's. */
void plans_begun(Plans *plans, const Mail__BackupRun *run, uint64_t wall_s);
/* And what became of it. */
void plans_ended(Plans *plans, const Mail__BackupRun *run, const Mail__TaskResult *result, uint64_t wall_s);
