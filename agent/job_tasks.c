#include "job_tasks.h"

#include "base/alloc.h"
#include "base/log.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { UNTAKEN_MAX = 256, AGAIN_MS = 20 };

/* One that runs: a task of the controller's, or a question. */
typedef struct Running {
    uint64_t job;
    char *task_id;        /* NULL: a question */
    Mail__BackupRun *run; /* of a plan, owned; NULL: none */
    JobEnded *ended;
    void *context;
    uint64_t question, session; /* id of the message that asks, and in which session */
    bool cancelled;
} Running;

/* An answer's part that the link had no room for. */
typedef struct Part {
    struct Part *next;
    uint64_t session;
    Envelope *envelope;
} Part;

struct JobTasks {
    Link *link;
    Journal *journal;
    Jobs *jobs;
    Plans *plans;
    Running list[JOBS_MAX];
    size_t n;
    Part *parts;
    size_t n_parts;
};

JobTasks *job_tasks_new(Link *link, Journal *journal, Jobs *jobs, Plans *plans)
{
    JobTasks *tasks = xcalloc(1, sizeof *tasks);

    *tasks = (JobTasks){.link = link, .journal = journal, .jobs = jobs, .plans = plans};
    return tasks;
}

static void part_drop(JobTasks *tasks)
{
    Part *part = tasks->parts;

    tasks->parts = part->next;
    tasks->n_parts--;
    mail__envelope__free_unpacked(part->envelope, NULL); /* a copy of ours: envelope_free frees what was received */
    free(part);
}

static void running_done(Running *running)
{
    free(running->task_id);
    if (running->run)
        mail__backup_run__free_unpacked(running->run, NULL);
}

void job_tasks_free(JobTasks **tasks)
{
    if (!*tasks)
        return;
    for (size_t i = 0; i < (*tasks)->n; i++)
        running_done(&(*tasks)->list[i]);
    while ((*tasks)->parts)
        part_drop(*tasks);
    free(*tasks);
    *tasks = NULL;
}

static Running *running_of(JobTasks *tasks, uint64_t job)
{
    for (size_t i = 0; i < tasks->n; i++)
        if (tasks->list[i].job == job)
            return &tasks->list[i];
    return NULL;
}

static void running_drop(JobTasks *tasks, Running *running)
{
    running_done(running);
    *running = tasks->list[--tasks->n];
}

/* ---- tasks ---- */

static void progress_said(const JobTasks *tasks, const Running *running, const Mail__TaskProgress *said)
{
    Envelope envelope = MAIL__ENVELOPE__INIT;
    Mail__TaskProgress progress = *said;

    progress.task_id = running->task_id;
    envelope.body_case = MAIL__ENVELOPE__BODY_TASK_PROGRESS;
    envelope.task_progress = &progress;
    link_send(tasks->link, &envelope); /* the next one says more */
}

static void task_heard(void *context, uint64_t job, const Envelope *said)
{
    JobTasks *tasks = context;
    Running *running = running_of(tasks, job);
    Mail__TaskResult result = MAIL__TASK_RESULT__INIT;

    if (!running)
        return;
    if (said->body_case == MAIL__ENVELOPE__BODY_TASK_PROGRESS) {
        progress_said(tasks, running, said->task_progress);
        return;
    }
    if (said->body_case == MAIL__ENVELOPE__BODY_TASK_RESULT) {
        result = *said->task_result;
    } else if (said->body_case == MAIL__ENVELOPE__BODY_FAILURE) {
        result.state = running->cancelled ? MAIL__TASK_STATE__CANCELLED : MAIL__TASK_STATE__FAILED;
        result.why = said->failure;
    } else {
        return;
    }
    result.has_state = true;
    result.task_id = running->task_id;
    if (running->run)
        plans_ended(tasks->plans, running->run, &result, (uint64_t)time(NULL));
    running->ended(running->context, &result);
    running = running_of(tasks, job); /* the list may have moved */
    if (running)
        running_drop(tasks, running);
}

static Mail__BackupRun *run_copy(const Mail__BackupRun *run)
{
    DEFER(buf_done) Buf bytes = {0};
    size_t size = mail__backup_run__get_packed_size(run);

    mail__backup_run__pack(run, buf_reserve(&bytes, size + 1));
    return mail__backup_run__unpack(NULL, size, bytes.data);
}

Error *job_tasks_start(JobTasks *tasks, const Mail__TaskStart *task, JobEnded *ended, void *context)
{
    Running running = {.ended = ended, .context = context};

    if (tasks->n == JOBS_MAX)
        return error_new(ERROR_UNAVAILABLE, "%d jobs are under way on this node", JOBS_MAX);
    Error *err = jobs_start(tasks->jobs, task, task_heard, tasks, &running.job);
    if (err)
        return err;
    running.task_id = xstrdup(task->task_id);
    if (task->verb_case == MAIL__TASK_START__VERB_BACKUP_RUN)
        running.run = run_copy(task->backup_run);
    if (running.run)
        plans_begun(tasks->plans, running.run, (uint64_t)time(NULL));
    tasks->list[tasks->n++] = running;
    return NULL;
}

bool job_tasks_cancel(JobTasks *tasks, const char *id)
{
    for (size_t i = 0; i < tasks->n; i++) {
        if (!tasks->list[i].task_id || strcmp(tasks->list[i].task_id, id) != 0)
            continue;
        tasks->list[i].cancelled = true;
        jobs_cancel(tasks->jobs, tasks->list[i].job);
        return true;
    }
    return false;
}

/* ---- questions ---- */

static Envelope *envelope_copy(const Envelope *envelope)
{
    DEFER(buf_done) Buf bytes = {0};
    size_t size = mail__envelope__get_packed_size(envelope);

    mail__envelope__pack(envelope, buf_reserve(&bytes, size + 1));
    return mail__envelope__unpack(NULL, size, bytes.data);
}

static void part_keep(JobTasks *tasks, uint64_t session, const Envelope *envelope)
{
    Part **end = &tasks->parts;

    while (*end)
        end = &(*end)->next;
    *end = xcalloc(1, sizeof **end);
    (*end)->session = session;
    (*end)->envelope = envelope_copy(envelope);
    tasks->n_parts++;
}

/* In order: behind a part that waits, every other waits, too. */
static void parts_send(JobTasks *tasks)
{
    while (tasks->parts) {
        Part *part = tasks->parts;
        bool old = part->session != link_session(tasks->link);
        if (!old && !link_send(tasks->link, part->envelope) && link_up(tasks->link))
            return;
        part_drop(tasks);
    }
}

static void rows_heard(void *context, uint64_t job, const Envelope *said)
{
    JobTasks *tasks = context;
    Running *running = running_of(tasks, job);
    Envelope envelope = *said;

    if (!running)
        return;
    bool last = said->last || said->body_case == MAIL__ENVELOPE__BODY_FAILURE;
    envelope.id = 0;
    envelope.has_id = false;
    envelope.has_in_reply_to = envelope.has_seq = envelope.has_last = true;
    envelope.in_reply_to = running->question;
    envelope.last = last;
    if (tasks->n_parts < UNTAKEN_MAX)
        part_keep(tasks, running->session, &envelope);
    else
        jobs_cancel(tasks->jobs, job); /* nobody takes them: the controller gives the question up by itself */
    parts_send(tasks);
    if (last)
        running_drop(tasks, running);
}

static Envelope *question_next(JobTasks *tasks)
{
    Envelope *envelope = link_take(tasks->link, MAIL__ENVELOPE__BODY_BACKUP_READ);

    return envelope ? envelope : link_take(tasks->link, MAIL__ENVELOPE__BODY_TRACE_READ);
}

static void questions_take(JobTasks *tasks)
{
    Envelope *envelope = NULL;

    while (tasks->n < JOBS_MAX && (envelope = question_next(tasks))) {
        Running running = {.question = envelope->id, .session = link_session(tasks->link)};
        Error *err = envelope->body_case == MAIL__ENVELOPE__BODY_TRACE_READ
                         ? jobs_trace(tasks->jobs, envelope->trace_read, rows_heard, tasks, &running.job)
                         : jobs_ask(tasks->jobs, envelope->backup_read, rows_heard, tasks, &running.job);
        if (err)
            link_answer_error(tasks->link, envelope->id, &err);
        else
            tasks->list[tasks->n++] = running;
        envelope_free(&envelope);
    }
}

void job_tasks_run(JobTasks *tasks, Msec now)
{
    (void)now;
    if (!journal_receiving(tasks->journal)) /* what is stated is half a delta */
        questions_take(tasks);
    parts_send(tasks);
}

void job_tasks_wait(const JobTasks *tasks, Waiter *wake)
{
    if (tasks->parts)
        waiter_at(wake, clock_ms() + AGAIN_MS);
}
