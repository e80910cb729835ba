/* job_tasks.h - jobs that the controller asks for: its tasks, journaled as tasks.h says, and its questions about backups */
#pragma once
#include "jobs.h"
#include "link.h"
#include "plans.h"

typedef struct JobTasks JobTasks;

JobTasks *job_tasks_new(Link *link, Journal *journal, Jobs *jobs, Plans *plans); /* all outlive it */
void job_tasks_free(JobTasks **tasks);
void job_tasks_run(JobTasks *tasks, Msec now);
void job_tasks_wait(const JobTasks *tasks, Waiter *wake);

/* One that is journaled already; what became of it is told by 'ended' (the result is borrowed). */
typedef void JobEnded(void *context, Mail__TaskResult *result);
CHECKED Error *job_tasks_start(JobTasks *tasks, const Mail__TaskStart *task, JobEnded *ended, void *context);
bool job_tasks_cancel(JobTasks *tasks, const char *id); /* false: none of ours runs under this id */
