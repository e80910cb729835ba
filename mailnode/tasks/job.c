#include "tasks/job.h"

#include "base/alloc.h"
#include "base/log.h"
#include "base/path.h"
#include "local/local.h"
#include "tables/places.h"
#include "tasks/findings.h"

#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

enum {
    TASK_WAIT_MS = 10000, /* for what is to be done */
    FLUSH_MS = 30000,     /* for who asked to take the answer */
    PROGRESS_MS = 250,
    OBJECTS_MAX = 64,
    EXIT_DONE = 0,
    EXIT_NOT_HEARD = 1,
};

struct Job {
    const char *root;
    LocalPeer *peer;
    Envelope *request;
    uint32_t seq;
    bool cancelled, over_quota;
    Msec said_at;
    Object *objects[OBJECTS_MAX];
    size_t n_objects;
    Secret **secrets; /* beside request's secrets: the same places */
    char *staged, *staged_copy;
    Findings findings;
    Mail__Saved **saved; /* owned, with their texts */
    size_t n_saved;
};

static const Mail__EngineTask *asked(const Job *job)
{
    return job->request->engine_task;
}

/* ---- the other side ---- */

/* Takes what came and writes what waits; what is not a cancel is nothing that a job hears. */
static void hear(Job *job)
{
    Error *err = local_peer_run(job->peer);

    while (!err) {
        DEFER(envelope_free) Envelope *envelope = NULL;
        uint64_t id = 0;
        err = local_receive(job->peer, &envelope, &id);
        if (err || !envelope)
            break;
        job->cancelled = job->cancelled || envelope->body_case == MAIL__ENVELOPE__BODY_TASK_CANCEL;
    }
    job->cancelled = job->cancelled || err;
    error_free(&err);
}

static void sleep_until(Job *job, Msec until)
{
    Waiter wake = waiter_start();

    local_peer_wait(job->peer, &wake);
    waiter_at(&wake, until);
    waiter_block(&wake);
}

/* Until all is written, or nobody takes it. */
static void flush(Job *job, size_t left)
{
    Msec until = clock_ms() + FLUSH_MS;

    while (local_queued(job->peer) > left && clock_ms() < until) {
        Error *err = local_peer_run(job->peer);
        if (err) {
            error_free(&err);
            return;
        }
        if (local_queued(job->peer) > left)
            sleep_until(job, until);
    }
}

static bool say(Job *job, Envelope *envelope, bool last)
{
    envelope->in_reply_to = job->request->id;
    envelope->has_in_reply_to = envelope->has_seq = true;
    envelope->seq = job->seq++;
    envelope->has_last = envelope->last = last;
    if (local_queued(job->peer) > LOCAL_QUEUE_MAX / 2)
        flush(job, LOCAL_QUEUE_MAX / 4);
    return local_send(job->peer, envelope);
}

const char *job_root(const Job *job)
{
    return job->root;
}

const char *job_id(const Job *job)
{
    return asked(job)->task && asked(job)->task->task_id ? asked(job)->task->task_id : "";
}

int job_fd(const Job *job)
{
    return local_peer_fd(job->peer);
}

bool job_cancelled(Job *job)
{
    if (!job->cancelled)
        hear(job);
    return job->cancelled;
}

Error *job_go_on(Job *job)
{
    return job_cancelled(job) ? error_new(ERROR_CONFLICT, "cancelled") : NULL;
}

void job_progress(Job *job, uint64_t done, uint64_t of, const char *unit)
{
    Envelope envelope = MAIL__ENVELOPE__INIT;
    Mail__TaskProgress progress = MAIL__TASK_PROGRESS__INIT;
    Msec now = clock_ms();

    if (!asked(job)->task || (job->said_at && now < job->said_at + PROGRESS_MS))
        return;
    job->said_at = now;
    progress.task_id = (char *)(uintptr_t)job_id(job);
    progress.has_done = progress.has_of = true;
    progress.done = done;
    progress.of = of;
    progress.unit = (char *)(uintptr_t)unit;
    envelope.body_case = MAIL__ENVELOPE__BODY_TASK_PROGRESS;
    envelope.task_progress = &progress;
    say(job, &envelope, false);
    hear(job);
}

void job_found(Job *job, Mail__FactState severity, const char *where, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    DEFER(xfree) char *text = xvasprintf(format, args);
    va_end(args);
    findings_add(&job->findings, severity, where, "%s", text);
}

Error *job_rows(Job *job, Mail__BackupRows *rows)
{
    Envelope envelope = MAIL__ENVELOPE__INIT;

    envelope.body_case = MAIL__ENVELOPE__BODY_BACKUP_ROWS;
    envelope.backup_rows = rows;
    return say(job, &envelope, false) ? NULL : error_new(ERROR_UNAVAILABLE, "nobody takes the answer");
}

Error *job_steps(Job *job, Mail__TraceRows *rows)
{
    Envelope envelope = MAIL__ENVELOPE__INIT;

    envelope.body_case = MAIL__ENVELOPE__BODY_TRACE_ROWS;
    envelope.trace_rows = rows;
    return say(job, &envelope, false) ? NULL : error_new(ERROR_UNAVAILABLE, "nobody takes the answer");
}

/* ---- what came along ---- */

const Object *job_object(const Job *job, Kind kind, const char *name)
{
    for (size_t i = 0; i < job->n_objects; i++)
        if (job->objects[i]->body_case == kind && (!name || strcmp(object_ref(job->objects[i]).name, name) == 0))
            return job->objects[i];
    return NULL;
}

const Secret *job_secret(const Job *job, uint64_t id)
{
    for (size_t i = 0; id && i < asked(job)->n_secrets; i++)
        if (asked(job)->secrets[i]->id == id)
            return job->secrets[i];
    return NULL;
}

const char *job_staged(const Job *job)
{
    return job->staged;
}

JobCopy job_copy(const Job *job)
{
    const Mail__EngineTask *task = asked(job);

    if (!job->staged_copy || !task->copy)
        return (JobCopy){.trouble = task->copy_trouble};
    return (JobCopy){.path = job->staged_copy, .info = task->copy, .trouble = task->copy_trouble};
}

static Error *objects_take(Job *job)
{
    const Mail__EngineTask *task = asked(job);
    Error *err = NULL;

    if (task->n_objects > OBJECTS_MAX)
        return error_new(ERROR_INVALID, "%zu objects for one task, at most %d", task->n_objects, OBJECTS_MAX);
    for (size_t i = 0; !err && i < task->n_objects; i++) {
        err = object_unpack(task->objects[i].data, task->objects[i].len, &job->objects[job->n_objects]);
        job->n_objects += !err;
    }
    return err;
}

/* Into memory of their own, and out of the message: it is copied and packed by others. */
static void secrets_take(Job *job)
{
    const Mail__EngineTask *task = asked(job);

    job->secrets = xcalloc(task->n_secrets + 1, sizeof(Secret *));
    for (size_t i = 0; i < task->n_secrets; i++) {
        ProtobufCBinaryData *value = &task->secrets[i]->value;
        job->secrets[i] = secret_new(value->data, value->len);
        if (value->len)
            wipe(value->data, value->len);
    }
}

static Error *staged_path(const Job *job, const char *name, char **ret_path)
{
    if (!name)
        return NULL;
    if (!*name || strchr(name, '/') || *name == '.')
        return error_new(ERROR_INVALID, "what is staged is no name of a file");
    *ret_path = xasprintf("%s/%s", path_in(job->root, "%s", &PLACE_STAGE[3]).text, name);
    return NULL;
}

static Error *staged_take(Job *job)
{
    Error *err = staged_path(job, asked(job)->staged, &job->staged);

    return err ? err : staged_path(job, asked(job)->staged_copy, &job->staged_copy);
}

static void job_done(Job *job)
{
    for (size_t i = 0; i < job->n_objects; i++)
        object_free(&job->objects[i]);
    for (size_t i = 0; job->secrets && i < asked(job)->n_secrets; i++)
        secret_free(&job->secrets[i]);
    free(job->secrets);
    free(job->staged);
    free(job->staged_copy);
    findings_done(&job->findings);
    for (size_t i = 0; i < job->n_saved; i++)
        mail__saved__free_unpacked(job->saved[i], NULL);
    free(job->saved);
    envelope_free(&job->request);
    local_peer_free(&job->peer);
}

void job_saved(Job *job, const char *destination, const char *snapshot)
{
    Mail__Saved *saved = xmalloc(sizeof *saved);

    mail__saved__init(saved);
    saved->destination = xstrdup(destination);
    saved->snapshot = xstrdup(snapshot);
    job->saved = xrealloc(job->saved, (job->n_saved + 1) * sizeof(Mail__Saved *));
    job->saved[job->n_saved++] = saved;
}

void job_over_quota(Job *job)
{
    job->over_quota = true;
}

/* ---- the life of one ---- */

static void result_say(Job *job, Error *why, char *verdict)
{
    Envelope envelope = MAIL__ENVELOPE__INIT;
    Mail__TaskResult result = MAIL__TASK_RESULT__INIT;
    Mail__Failure failure = MAIL__FAILURE__INIT;

    result.task_id = (char *)(uintptr_t)job_id(job);
    result.has_state = true;
    result.state = why                            ? MAIL__TASK_STATE__FAILED
                   : findings_bad(&job->findings) ? MAIL__TASK_STATE__FOUND
                                                  : MAIL__TASK_STATE__SUCCEEDED;
    if (why && job->cancelled) {
        result.state = MAIL__TASK_STATE__CANCELLED;
    } else if (why) {
        failure = failure_of(why);
        result.why = &failure;
    }
    result.verdict = verdict;
    result.has_over_quota = result.over_quota = job->over_quota;
    result.findings = job->findings.list;
    result.n_findings = job->findings.n;
    result.saved = job->saved;
    result.n_saved = job->n_saved;
    envelope.body_case = MAIL__ENVELOPE__BODY_TASK_RESULT;
    envelope.task_result = &result;
    say(job, &envelope, true);
}

static void answer_end(Job *job, Error *why)
{
    Envelope envelope = MAIL__ENVELOPE__INIT;
    Mail__BackupRows none = MAIL__BACKUP_ROWS__INIT;
    Mail__TraceRows no_steps = MAIL__TRACE_ROWS__INIT;
    Mail__Failure failure = MAIL__FAILURE__INIT;

    if (asked(job)->trace) {
        envelope.body_case = MAIL__ENVELOPE__BODY_TRACE_ROWS;
        envelope.trace_rows = &no_steps;
    } else {
        envelope.body_case = MAIL__ENVELOPE__BODY_BACKUP_ROWS;
        envelope.backup_rows = &none;
    }
    if (why) {
        failure = failure_of(why);
        envelope.body_case = MAIL__ENVELOPE__BODY_FAILURE;
        envelope.failure = &failure;
    }
    say(job, &envelope, true);
}

static void carry_out(Job *job)
{
    const Mail__EngineTask *task = asked(job);
    DEFER(xfree) char *verdict = NULL;
    JobVerb *verb = task->task ? job_verb(task->task->verb_case) : NULL;
    Error *err = objects_take(job);

    secrets_take(job);
    if (!err)
        err = staged_take(job);
    if (!err && task->task && !verb)
        err = error_new(ERROR_UNSUPPORTED, "mail-engine knows no such job");
    if (task->read || task->trace) {
        if (!err)
            err = task->read ? job_answer(job, task->read) : job_trace(job, task->trace);
        answer_end(job, err);
    } else {
        if (!err && verb)
            err = verb(job, task->task, &verdict);
        result_say(job, err, verdict);
    }
    error_free(&err);
    flush(job, 0);
}

/* NULL, when what is to be done has come. */
static Error *request_wait(Job *job)
{
    Msec until = clock_ms() + TASK_WAIT_MS;

    while (!job->request) {
        uint64_t id = 0;
        Error *err = local_peer_run(job->peer);
        if (!err)
            err = local_receive(job->peer, &job->request, &id);
        if (err)
            return err;
        if (clock_ms() >= until)
            return error_new(ERROR_UNAVAILABLE, "nothing to do came for %d s", TASK_WAIT_MS / 1000);
        if (!job->request)
            sleep_until(job, until);
    }
    if (job->request->body_case != MAIL__ENVELOPE__BODY_ENGINE_TASK ||
        (asked(job)->task != NULL) + (asked(job)->read != NULL) + (asked(job)->trace != NULL) != 1)
        return error_new(ERROR_INVALID, "a job is a task or a question");
    return NULL;
}

int job_main(const char *root, int fd)
{
    Job job = {.root = root};

    signal(SIGPIPE, SIG_IGN);
    Error *err = local_adopt(fd, "mail-engine", &job.peer);
    if (!err)
        err = request_wait(&job);
    if (!err)
        carry_out(&job);
    int code = err ? EXIT_NOT_HEARD : EXIT_DONE;
    log_stop(LOG_LEVEL_ERROR, "job not begun", &err);
    job_done(&job);
    return code;
}
