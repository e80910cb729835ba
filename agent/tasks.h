/* tasks.h - what the controller has this node do once: 'node check' and 'doctor', one after the other, and jobs
 * (job_tasks.h), many at a time
 *
 * check: our own audit, then mail-engine's, then every fact that is not good; doctor: mail-engine's looks and these facts.
 * Where mail-engine cannot be asked, that is a finding.
 *
 * Journaled in node.db before it starts; the same id with the same content is
 * answered with the stored result, with other content it is a conflict.  A result is
 * said again in each session until the controller has seen it.
 */
#pragma once
#include "apply.h"
#include "engine.h"
#include "job_tasks.h"
#include "journal.h"
#include "link.h"
#include "report.h"

typedef struct Tasks Tasks;

/* All outlive it.  Tasks that were under way when the agent ended get their result here: they failed. */
Tasks *tasks_new(Link *link, Journal *journal, Engine *engine, JobTasks *jobs, Apply *apply, Report *report);
void tasks_free(Tasks **tasks);
void tasks_run(Tasks *tasks, Msec now);
void tasks_wait(const Tasks *tasks, Waiter *wake);
