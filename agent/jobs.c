#include "jobs.h"

#include "stage.h"

#include "base/alloc.h"
#include "base/log.h"
#include "local/local.h"
#include "model/secret_field.h"

#include <stdlib.h>
#include <string.h>

enum { OBJECTS_MAX = 32, SECRETS_MAX = 64 };

typedef struct Job {
    uint64_t number;
    LocalPeer *peer;
    JobHeard *heard;
    void *context;
    Mail__TaskStart *later;     /* what it begins with when the controller's copy has come; NULL: it has begun */
    char *staged, *staged_copy; /* files that go with it; NULL: none */
    bool over, cancelled;
} Job;

struct Jobs {
    JobsParts with;
    Job list[JOBS_MAX];
    size_t n;
    uint64_t numbers;
};

Jobs *jobs_new(const JobsParts *parts)
{
    Jobs *jobs = xcalloc(1, sizeof *jobs);

    jobs->with = *parts;
    stage_sweep(parts->stage);
    return jobs;
}

static void staged_drop(const Jobs *jobs, char **name)
{
    if (*name)
        stage_remove(jobs->with.stage, *name);
    xfree(name);
}

static void job_done(const Jobs *jobs, Job *job)
{
    staged_drop(jobs, &job->staged);
    staged_drop(jobs, &job->staged_copy);
    if (job->later)
        mail__task_start__free_unpacked(job->later, NULL);
    local_peer_free(&job->peer);
}

void jobs_free(Jobs **jobs)
{
    if (!*jobs)
        return;
    for (size_t i = 0; i < (*jobs)->n; i++)
        job_done(*jobs, &(*jobs)->list[i]);
    free(*jobs);
    *jobs = NULL;
}

bool job_is(Mail__TaskStart__VerbCase verb)
{
    return verb != MAIL__TASK_START__VERB__NOT_SET && verb != MAIL__TASK_START__VERB_NODE_CHECK &&
           verb != MAIL__TASK_START__VERB_NODE_DOCTOR;
}

/* ---- what goes along ---- */

typedef struct Luggage {
    Journal *journal;
    TablesView view;
    char *instance;
    Buf objects[OBJECTS_MAX];
    ProtobufCBinaryData object_list[OBJECTS_MAX];
    size_t n_objects;
    Secret *secrets[SECRETS_MAX];
    Mail__SecretValue values[SECRETS_MAX], *value_list[SECRETS_MAX];
    size_t n_secrets;
} Luggage;

static void luggage_done(Luggage *luggage)
{
    for (size_t i = 0; i < luggage->n_objects; i++)
        buf_done(&luggage->objects[i]);
    for (size_t i = 0; i < luggage->n_secrets; i++)
        secret_free(&luggage->secrets[i]);
    free(luggage->instance);
}

static Error *secrets_add(Luggage *luggage, const Object *object)
{
    SecretUse uses[OBJECT_SECRETS_MAX];
    size_t n = object_secrets(object, uses);
    Error *err = NULL;

    for (size_t i = 0; !err && i < n && luggage->n_secrets < SECRETS_MAX; i++) {
        Secret **secret = &luggage->secrets[luggage->n_secrets];
        Mail__SecretValue *value = &luggage->values[luggage->n_secrets];
        err = journal_secret(luggage->journal, uses[i].id, secret);
        if (err || !*secret)
            continue;
        mail__secret_value__init(value);
        value->has_id = value->has_value = true;
        value->id = uses[i].id;
        value->value = (ProtobufCBinaryData){.len = secret_size(*secret),
                                             .data = (uint8_t *)(uintptr_t)secret_data(*secret)}; /* packed only */
        luggage->value_list[luggage->n_secrets++] = value;
    }
    return err;
}

/* *ret_object NULL: it is not stated.  Owned by the caller, who may not want it: then NULL. */
static Error *object_add(Luggage *luggage, Kind kind, const char *instance, const char *name, Object **ret_object)
{
    DEFER(object_free) Object *object = NULL;
    StateView *view = &luggage->view.objects;

    Error *err = view->get(view->self, &(ObjectRef){kind, instance, name}, &object);
    if (err || !object)
        return err;
    if (luggage->n_objects == OBJECTS_MAX)
        return error_new(ERROR_INVALID, "more than %d objects for one job", OBJECTS_MAX);
    Buf *bytes = &luggage->objects[luggage->n_objects];
    object_pack(object, bytes);
    luggage->object_list[luggage->n_objects++] = (ProtobufCBinaryData){.len = bytes->size, .data = bytes->data};
    err = secrets_add(luggage, object);
    if (err || !ret_object)
        return err;
    *ret_object = object;
    object = NULL;
    return NULL;
}

static Error *needed(Luggage *luggage, Kind kind, const char *name, Object **ret_object)
{
    Error *err = object_add(luggage, kind, "", name ? name : "", ret_object);

    if (!err && !*ret_object)
        err = error_new(ERROR_NOT_FOUND, "%s %s is not stated, as far as this node knows", kind_info(kind)->name,
                        name ? name : "''");
    return err;
}

static Error *destination_add(Luggage *luggage, const char *name)
{
    DEFER(object_free) Object *destination = NULL;

    return needed(luggage, MAIL__OBJECT__BODY_DESTINATION, name, &destination);
}

static Error *plan_add(Luggage *luggage, const char *name)
{
    DEFER(object_free) Object *plan = NULL;
    Error *err = needed(luggage, MAIL__OBJECT__BODY_PLAN, name, &plan);

    for (size_t i = 0; !err && plan && i < plan->plan->n_destinations; i++)
        err = destination_add(luggage, plan->plan->destinations[i]);
    return err;
}

/* What bears on everything that is done with an instance's mail. */
static Error *instance_add(Luggage *luggage)
{
    DEFER(object_free) Object *instance = NULL;
    Error *err = needed(luggage, MAIL__OBJECT__BODY_INSTANCE, luggage->instance, &instance);

    if (!err && instance && instance->instance->user_domain)
        err = object_add(luggage, MAIL__OBJECT__BODY_USER_DOMAIN, "", instance->instance->user_domain, NULL);
    if (!err)
        err = object_add(luggage, MAIL__OBJECT__BODY_SETTINGS, luggage->instance, "", NULL);
    if (!err)
        err = object_add(luggage, MAIL__OBJECT__BODY_POLICY, luggage->instance, "", NULL);
    return err;
}

static Error *mailbox_add(Luggage *luggage, const char *mailbox)
{
    if (!mailbox || strncmp(mailbox, "user:", 5) != 0)
        return NULL;
    return object_add(luggage, MAIL__OBJECT__BODY_MAILBOX, luggage->instance, mailbox + 5, NULL);
}

static Error *task_needs(Luggage *luggage, const Mail__TaskStart *task)
{
    Error *err = NULL;

    switch (task->verb_case) {
    case MAIL__TASK_START__VERB_DESTINATION_CHECK:
        return destination_add(luggage, task->destination_check->destination);
    case MAIL__TASK_START__VERB_BACKUP_RUN:
        return plan_add(luggage, task->backup_run->plan);
    case MAIL__TASK_START__VERB_BACKUP_VERIFY:
        return plan_add(luggage, task->backup_verify->plan);
    case MAIL__TASK_START__VERB_RESTORE_FOLDER:
        err = mailbox_add(luggage, task->restore_folder->mailbox);
        return err ? err : destination_add(luggage, task->restore_folder->destination);
    case MAIL__TASK_START__VERB_RESTORE_INSTANCE:
        return destination_add(luggage, task->restore_instance->destination);
    default:
        return error_new(ERROR_UNSUPPORTED, "this node knows no such job");
    }
}

static Error *room_check(const Jobs *jobs)
{
    return jobs->n == JOBS_MAX ? error_new(ERROR_UNAVAILABLE, "%d jobs are under way on this node", JOBS_MAX) : NULL;
}

static Error *luggage_open(const Jobs *jobs, Luggage *luggage)
{
    Error *err = room_check(jobs);

    if (!err)
        err = journal_instance(jobs->with.journal, jobs->with.node, &luggage->instance);
    luggage->journal = jobs->with.journal;
    if (!err && !luggage->instance)
        err = error_new(ERROR_CONFLICT, "no instance is placed on node %s", jobs->with.node);
    if (err)
        return err;
    luggage->view = journal_view(jobs->with.journal, luggage->instance);
    return instance_add(luggage);
}

/* ---- beginning ---- */

static Error *engine_connect(const Jobs *jobs, LocalPeer **ret_peer)
{
    return error_in(local_connect(jobs->with.socket, "mail-agent", ret_peer), "mail-engine");
}

static Error *hand_over(const Jobs *jobs, Job *job, Mail__EngineTask *body)
{
    Envelope envelope = MAIL__ENVELOPE__INIT;

    Error *err = engine_connect(jobs, &job->peer);
    if (err)
        return err;
    envelope.body_case = MAIL__ENVELOPE__BODY_ENGINE_TASK;
    envelope.engine_task = body;
    if (local_peer_uid(job->peer) != 0)
        return error_new(ERROR_DENIED, "mail-engine's socket is held by uid %u", (unsigned)local_peer_uid(job->peer));
    return local_send(job->peer, &envelope) ? NULL : error_new(ERROR_INVALID, "too much for one job");
}

static void luggage_into(Luggage *luggage, Mail__EngineTask *body)
{
    body->objects = luggage->object_list;
    body->n_objects = luggage->n_objects;
    body->secrets = luggage->value_list;
    body->n_secrets = luggage->n_secrets;
}

static Error *state_stage(const Jobs *jobs, Job *job)
{
    job->staged = xasprintf("state-%llu", (unsigned long long)job->number);
    return stage_write(jobs->with.journal, jobs->with.stage, job->staged);
}

/* A copy that cannot be had is told with the run, and does not keep it. */
static void copy_stage(const Jobs *jobs, Job *job, Mail__EngineTask *body)
{
    StoreCopyHeld held = store_copy_held(jobs->with.copy);

    body->copy_trouble = (char *)(uintptr_t)held.trouble;
    if (!held.path)
        return;
    job->staged_copy = xasprintf("controller-%llu", (unsigned long long)job->number);
    Error *err = stage_link(held.path, jobs->with.stage, job->staged_copy);
    if (err) {
        log_stop(LOG_LEVEL_ERROR, "copy of the controller not staged", &err);
        xfree(&job->staged_copy);
        body->copy_trouble = (char *)(uintptr_t) "mail-agent could not stage it";
        return;
    }
    body->staged_copy = job->staged_copy;
    body->copy = (Mail__CopyInfo *)(uintptr_t)held.info;
}

static Error *task_begin(const Jobs *jobs, Job *job, const Mail__TaskStart *task)
{
    DEFER(luggage_done) Luggage luggage = {0};
    Mail__EngineTask body = MAIL__ENGINE_TASK__INIT;
    bool backup = task->verb_case == MAIL__TASK_START__VERB_BACKUP_RUN;
    Error *err = luggage_open(jobs, &luggage);

    if (!err)
        err = task_needs(&luggage, task);
    if (!err && backup)
        err = state_stage(jobs, job);
    if (err)
        return err;
    if (backup)
        copy_stage(jobs, job, &body);
    luggage_into(&luggage, &body);
    body.staged = job->staged;
    body.task = (Mail__TaskStart *)(uintptr_t)task;
    return hand_over(jobs, job, &body);
}

static Mail__TaskStart *task_copy(const Mail__TaskStart *task)
{
    DEFER(buf_done) Buf bytes = {0};
    size_t size = mail__task_start__get_packed_size(task);

    mail__task_start__pack(task, buf_reserve(&bytes, size + 1));
    return mail__task_start__unpack(NULL, size, bytes.data);
}

/* What it would fail with at once is found now: a mail-engine that is away is no failed run, but one that has not begun. */
static Error *task_postpone(const Jobs *jobs, Job *job, const Mail__TaskStart *task)
{
    DEFER(luggage_done) Luggage luggage = {0};
    DEFER(local_peer_free) LocalPeer *there = NULL;
    Error *err = luggage_open(jobs, &luggage);

    if (!err)
        err = task_needs(&luggage, task);
    if (!err)
        err = engine_connect(jobs, &there);
    if (err)
        return err;
    job->later = task_copy(task);
    store_copy_want(jobs->with.copy, clock_ms());
    return NULL;
}

/* Takes err: of its beginning. */
static Error *job_add(Jobs *jobs, Job *job, Error *err, uint64_t *ret_job)
{
    if (err) {
        job_done(jobs, job);
        return err;
    }
    jobs->numbers = job->number;
    jobs->list[jobs->n++] = *job;
    *ret_job = job->number;
    return NULL;
}

Error *jobs_start(Jobs *jobs, const Mail__TaskStart *task, JobHeard *heard, void *context, uint64_t *ret_job)
{
    Job job = {.number = jobs->numbers + 1, .heard = heard, .context = context};

    Error *err = task->verb_case == MAIL__TASK_START__VERB_BACKUP_RUN ? task_postpone(jobs, &job, task)
                                                                      : task_begin(jobs, &job, task);
    return job_add(jobs, &job, err, ret_job);
}

Error *jobs_ask(Jobs *jobs, const Mail__BackupRead *read, JobHeard *heard, void *context, uint64_t *ret_job)
{
    DEFER(luggage_done) Luggage luggage = {0};
    Mail__EngineTask body = MAIL__ENGINE_TASK__INIT;
    Job job = {.number = jobs->numbers + 1, .heard = heard, .context = context};
    Error *err = luggage_open(jobs, &luggage);

    if (!err)
        err = destination_add(&luggage, read->destination);
    luggage_into(&luggage, &body);
    body.read = (Mail__BackupRead *)(uintptr_t)read;
    if (!err)
        err = hand_over(jobs, &job, &body);
    return job_add(jobs, &job, err, ret_job);
}

Error *jobs_trace(Jobs *jobs, const Mail__TraceRead *read, JobHeard *heard, void *context, uint64_t *ret_job)
{
    Mail__EngineTask body = MAIL__ENGINE_TASK__INIT;
    Job job = {.number = jobs->numbers + 1, .heard = heard, .context = context};
    Error *err = room_check(jobs);

    body.trace = (Mail__TraceRead *)(uintptr_t)read;
    if (!err)
        err = hand_over(jobs, &job, &body);
    return job_add(jobs, &job, err, ret_job);
}

void jobs_cancel(Jobs *jobs, uint64_t number)
{
    Envelope envelope = MAIL__ENVELOPE__INIT;
    Mail__TaskCancel cancel = MAIL__TASK_CANCEL__INIT;

    envelope.body_case = MAIL__ENVELOPE__BODY_TASK_CANCEL;
    envelope.task_cancel = &cancel;
    for (size_t i = 0; i < jobs->n; i++) {
        Job *job = &jobs->list[i];
        if (job->number != number || job->over)
            continue;
        job->cancelled = true;
        if (job->peer)
            local_send(job->peer, &envelope);
    }
}

/* ---- the loop ---- */

static void job_failed(Job *job, Error *why)
{
    Envelope envelope = MAIL__ENVELOPE__INIT;
    Mail__Failure failure = failure_of(why);

    envelope.body_case = MAIL__ENVELOPE__BODY_FAILURE;
    envelope.failure = &failure;
    envelope.has_last = envelope.last = true;
    job->over = true;
    job->heard(job->context, job->number, &envelope);
    error_free(&why);
}

/* False: it still waits, or has ended. */
static bool job_begun(Jobs *jobs, Job *job)
{
    Mail__TaskStart *task = job->later;

    if (!task)
        return true;
    if (!job->cancelled && !store_copy_settled(jobs->with.copy))
        return false;
    job->later = NULL;
    Error *err = job->cancelled ? error_new(ERROR_CONFLICT, "cancelled") : task_begin(jobs, job, task);
    mail__task_start__free_unpacked(task, NULL);
    if (err)
        job_failed(job, err);
    return !err;
}

/* What it says may make who hears it start another: then the list moves. */
static void job_run(Jobs *jobs, size_t i)
{
    if (!job_begun(jobs, &jobs->list[i]))
        return;
    Error *ended = local_peer_run(jobs->list[i].peer);

    while (!jobs->list[i].over) {
        DEFER(envelope_free) Envelope *said = NULL;
        uint64_t id = 0;
        Error *err = local_receive(jobs->list[i].peer, &said, &id);
        if (err) {
            job_failed(&jobs->list[i], err);
            break;
        }
        if (!said)
            break;
        jobs->list[i].over = said->last || said->body_case == MAIL__ENVELOPE__BODY_FAILURE;
        jobs->list[i].heard(jobs->list[i].context, jobs->list[i].number, said);
    }
    if (ended && !jobs->list[i].over)
        job_failed(&jobs->list[i], error_new(ERROR_UNAVAILABLE, "mail-engine went away: %s", ended->what));
    error_free(&ended);
}

void jobs_run(Jobs *jobs, Msec now)
{
    size_t n = jobs->n, left = 0;

    (void)now;
    if (journal_receiving(jobs->with.journal)) /* a result is to be written: the transaction is not ours */
        return;
    for (size_t i = 0; i < n; i++)
        job_run(jobs, i);
    for (size_t i = 0; i < jobs->n; i++) {
        if (jobs->list[i].over)
            job_done(jobs, &jobs->list[i]);
        else
            jobs->list[left++] = jobs->list[i];
    }
    jobs->n = left;
}

void jobs_wait(const Jobs *jobs, Waiter *wake)
{
    for (size_t i = 0; i < jobs->n && !journal_receiving(jobs->with.journal); i++) {
        const Job *job = &jobs->list[i];
        if (job->peer)
            local_peer_wait(job->peer, wake);
        else if (job->cancelled || store_copy_settled(jobs->with.copy))
            waiter_at(wake, 0); /* it begins, or is given up */
    }
}
