/* job.h - what takes long and blocks (restic, a hundred thousand links), in a process of its own
 *
 * mail-engine starts "mail-engine job" with a socket as descriptor 0.  Over it comes one EngineTask; progress, rows and
 * the result go back.  Whoever asked takes his leave by TaskCancel or by hanging up: then the job ends what it runs,
 * leaves nothing half-done behind, and ends.
 *
 * The process is root; what it starts is not (restic.h).  One thread: a verb is straight code that looks at
 * job_cancelled now and then.
 */
#pragma once
#include "base/loop.h"
#include "control.pb-c.h"
#include "model/object.h"
#include "seal/secret.h"

typedef struct Job Job;

/* The job's life: reads the task from the socket, carries it out, answers.  root: "" for "/".  The exit status. */
int job_main(const char *root, int fd);

/* ---- for the verbs ---- */

const char *job_root(const Job *job);
const char *job_id(const Job *job); /* the task's; "" of a question */
int job_fd(const Job *job);         /* readable: look at job_cancelled; for poll(2) beside a child's pipes */
bool job_cancelled(Job *job);       /* true for ever once it is */
CHECKED Error *job_go_on(Job *job); /* CONFLICT "cancelled", NULL otherwise: between two steps */

/* How far it is: at most four a second are said. */
void job_progress(Job *job, uint64_t done, uint64_t of, const char *unit);
/* A finding of the result; borrowed for the call. */
void job_found(Job *job, Mail__FactState severity, const char *where, const char *format, ...) PRINTF_LIKE(4, 5);
/* A snapshot was made there. */
void job_saved(Job *job, const char *destination, const char *snapshot);
/* SPEC F-069: the mailbox that was restored into has more than its quota now. */
void job_over_quota(Job *job);
/* One part of the answer to a question. */
CHECKED Error *job_rows(Job *job, Mail__BackupRows *rows);
CHECKED Error *job_steps(Job *job, Mail__TraceRows *rows);

/* Objects that the agent sent along: NULL when there is none of that kind and name (name NULL: the first of the kind).
 * Borrowed for the life of the job. */
const Object *job_object(const Job *job, Kind kind, const char *name);
/* A secret that came along; NULL: it did not.  Borrowed. */
const Secret *job_secret(const Job *job, uint64_t id);
/* The path of the state that the agent staged for this backup; NULL: none.  Checked: one component, in PLACE_STAGE. */
const char *job_staged(const Job *job);

/* The controller's store, sealed, beside it (SPEC F-185). */
typedef struct JobCopy {
    const char *path;           /* NULL: there is none */
    const Mail__CopyInfo *info; /* the controller's word; NULL only without a path */
    const char *trouble;        /* why there is none, or none newer; NULL: nothing */
} JobCopy;
JobCopy job_copy(const Job *job);

/* ---- the table ---- */

/* *ret_verdict: one line with figures, owned by the caller; also with an error, when there is something to say. */
typedef Error *JobVerb(Job *job, const Mail__TaskStart *task, char **ret_verdict);
/* Of the program that links this: job_table.c. */
JobVerb *job_verb(Mail__TaskStart__VerbCase verb); /* NULL: no job */
CHECKED Error *job_answer(Job *job, const Mail__BackupRead *read);
CHECKED Error *job_trace(Job *job, const Mail__TraceRead *read); /* gives root away: the last that a job does */
