#include "tasks.h"

#include "base/alloc.h"
#include "base/log.h"

#include <stdlib.h>
#include <string.h>

enum {
    FINDINGS_MAX = 200,
    TASK_ID_LEN = 26,
    DEADLINE_DEFAULT_MS = 60000,
    CONNECT_WAIT_MS = 3000,
};

typedef struct Check {
    Mail__Finding findings[FINDINGS_MAX], *list[FINDINGS_MAX];
    size_t n, n_mended;
    Error *err;    /* of our own audit */
    char *verdict; /* mail-engine's; NULL: it was not asked */
} Check;

/* Of the task that is carried out. */
typedef enum Phase { PHASE_OURS, PHASE_ASKING, PHASE_ASKED, PHASE_LOOKING } Phase;

struct Tasks {
    Link *link;
    Journal *journal;
    Engine *engine;
    JobTasks *jobs;
    Apply *apply;
    Report *report;
    bool swept;       /* what an earlier life left unfinished has its result */
    uint64_t session; /* in which the results were said last */
    Envelope *next;   /* journaled, and carried out; NULL: none */
    Msec until;       /* its deadline */
    Phase phase;
    Msec asking_until; /* how long a connection to mail-engine may take */
    Msec answered_at;  /* by mail-engine */
    Check *check;      /* what was found so far */
    bool cancelled;    /* mail-engine's answer is still awaited */
};

Tasks *tasks_new(Link *link, Journal *journal, Engine *engine, JobTasks *jobs, Apply *apply, Report *report)
{
    Tasks *tasks = xcalloc(1, sizeof *tasks);

    *tasks =
        (Tasks){.link = link, .journal = journal, .engine = engine, .jobs = jobs, .apply = apply, .report = report};
    return tasks;
}

static void check_free(Check **check)
{
    if (!*check)
        return;
    for (size_t i = 0; i < (*check)->n; i++) {
        free((*check)->findings[i].where);
        free((*check)->findings[i].text);
    }
    error_free(&(*check)->err);
    free((*check)->verdict);
    free(*check);
    *check = NULL;
}

void tasks_free(Tasks **tasks)
{
    if (!*tasks)
        return;
    check_free(&(*tasks)->check);
    envelope_free(&(*tasks)->next);
    free(*tasks);
    *tasks = NULL;
}

/* ---- saying what became of one ---- */

static void say(Tasks *tasks, Mail__TaskResult *result)
{
    Envelope envelope = MAIL__ENVELOPE__INIT;

    envelope.body_case = MAIL__ENVELOPE__BODY_TASK_RESULT;
    envelope.task_result = result;
    link_send(tasks->link, &envelope);
}

static void say_running(Tasks *tasks, const char *id)
{
    Envelope envelope = MAIL__ENVELOPE__INIT;
    Mail__TaskProgress progress = MAIL__TASK_PROGRESS__INIT;

    progress.task_id = (char *)id;
    envelope.body_case = MAIL__ENVELOPE__BODY_TASK_PROGRESS;
    envelope.task_progress = &progress;
    link_send(tasks->link, &envelope);
}

static Error *say_stored(void *context, const TaskRow *row)
{
    Tasks *tasks = context;

    if (!row->result) {
        say_running(tasks, row->id);
        return NULL;
    }
    Mail__TaskResult *result = mail__task_result__unpack(NULL, row->result_size, row->result);
    if (!result)
        return error_new(ERROR_DAMAGED, "task %s: its result does not read back", row->id);
    say(tasks, result);
    mail__task_result__free_unpacked(result, NULL);
    return NULL;
}

/* Stores the result and says it.  Takes why, which may be NULL. */
static void end(Tasks *tasks, Mail__TaskResult *result, const char *id, Error *why)
{
    Mail__Failure failure = MAIL__FAILURE__INIT;

    if (why) {
        failure = failure_of(why);
        result->why = &failure;
    }
    result->task_id = (char *)id;
    result->has_state = true;
    Error *err = journal_task_end(tasks->journal, result);
    if (err) /* it stays "running", and fails at the next start */
        log_stop(LOG_LEVEL_ERROR, "task result not stored", &err);
    say(tasks, result);
    error_free(&why);
}

static void end_without(Tasks *tasks, const char *id, Mail__TaskState state, Error *why)
{
    Mail__TaskResult result = MAIL__TASK_RESULT__INIT;

    result.state = state;
    end(tasks, &result, id, why);
}

/* A result that is nobody's: nothing is stored under this id, or something else is. */
static void say_not_run(Tasks *tasks, const char *id, Mail__TaskState state, Error *why)
{
    Mail__TaskResult result = MAIL__TASK_RESULT__INIT;
    Mail__Failure failure = MAIL__FAILURE__INIT;

    if (why) {
        failure = failure_of(why);
        result.why = &failure;
    }
    result.task_id = (char *)id;
    result.has_state = true;
    result.state = state;
    say(tasks, &result);
    error_free(&why);
}

/* ---- what is found ---- */

static void finding(Check *check, Mail__FactState severity, const char *where, const char *text, bool repaired)
{
    if (check->n == FINDINGS_MAX)
        return;
    Mail__Finding *one = &check->findings[check->n];
    mail__finding__init(one);
    one->has_severity = one->has_repaired = true;
    one->severity = severity;
    one->where = xstrdup(where);
    one->text = xstrdup(text);
    one->repaired = repaired;
    check->list[check->n++] = one;
}

static void drift_found(void *context, const char *where, const char *text)
{
    finding(context, MAIL__FACT_STATE__DEGRADED, where, text, true);
}

/* What mail-engine has found about a daemon says more than that daemon's fact. */
static void fact_found(void *context, const char *name, Mail__FactState state, const char *text)
{
    Check *check = context;

    for (size_t i = 0; i < check->n; i++)
        if (strcmp(check->findings[i].where, name) == 0)
            return;
    finding(check, state, name, text ? text : "", false);
}

static bool is_check(const Tasks *tasks)
{
    return tasks->next->task_start->verb_case == MAIL__TASK_START__VERB_NODE_CHECK;
}

/* The audit always mends what it finds: rows that are known to be wrong are not left for mail to follow. */
static void audit_ours(Tasks *tasks)
{
    Check *check = tasks->check;

    check->err = apply_audit(tasks->apply, drift_found, check);
    check->n_mended = check->n;
    if (check->err && check->err->code == ERROR_DAMAGED && check->n)
        error_free(&check->err); /* a finding already: it is begun anew */
}

static void not_asked(Check *check, const char *why)
{
    DEFER(xfree) char *text = xasprintf("was not asked: %s", why);

    finding(check, MAIL__FACT_STATE__UNKNOWN, "mail-engine", text, false);
}

static void engine_found(Check *check, const Mail__TaskResult *result)
{
    for (size_t i = 0; i < result->n_findings; i++) {
        const Mail__Finding *found = result->findings[i];
        finding(check, found->severity, found->where ? found->where : "mail-engine", found->text ? found->text : "",
                found->repaired);
        check->n_mended += found->repaired;
    }
    if (result->state == MAIL__TASK_STATE__FAILED)
        finding(check, MAIL__FACT_STATE__BAD, "mail-engine",
                result->why && result->why->what ? result->why->what : "its part failed", false);
    check->verdict = xstrdup(result->verdict ? result->verdict : "");
}

static bool repairs(const Tasks *tasks)
{
    return is_check(tasks) && tasks->next->task_start->node_check->repair;
}

/* There is nothing to see where a repair was asked for and all of it was put right. */
static Mail__TaskState state_of(const Tasks *tasks)
{
    const Check *check = tasks->check;
    bool put_right = is_check(tasks) && tasks->next->task_start->node_check->repair && check->n_mended == check->n;

    if (tasks->cancelled)
        return MAIL__TASK_STATE__CANCELLED;
    if (check->err)
        return MAIL__TASK_STATE__FAILED;
    return check->n && !put_right ? MAIL__TASK_STATE__FOUND : MAIL__TASK_STATE__SUCCEEDED;
}

static void conclude(Tasks *tasks)
{
    Check *check = tasks->check;
    Mail__TaskResult result = MAIL__TASK_RESULT__INIT;
    DEFER(xfree) char *ours = NULL, *verdict = NULL;

    report_each_bad(tasks->report, fact_found, check);
    if (is_check(tasks))
        ours = xasprintf("%llu objects checked, %zu findings, %zu mended",
                         (unsigned long long)journal_count(tasks->journal), check->n, check->n_mended);
    else
        ours = xasprintf("%zu findings", check->n);
    verdict =
        check->verdict && *check->verdict ? xasprintf("%s; mail-engine: %s", ours, check->verdict) : xstrdup(ours);
    result.verdict = verdict;
    result.n_findings = check->n;
    result.findings = check->list;
    result.state = state_of(tasks);
    end(tasks, &result, tasks->next->task_start->task_id, check->err);
    check->err = NULL;
    check_free(&tasks->check);
    envelope_free(&tasks->next);
}

/* ---- mail-engine's part ---- */

static bool ask_engine(Tasks *tasks, Msec now)
{
    Envelope request = MAIL__ENVELOPE__INIT;
    Mail__EngineTask body = MAIL__ENGINE_TASK__INIT;

    body.task = tasks->next->task_start;
    request.body_case = MAIL__ENVELOPE__BODY_ENGINE_TASK;
    request.engine_task = &body;
    return engine_ask(tasks->engine, &request, now, tasks->until - now);
}

/* True: there is nothing more to wait for. */
static bool asking(Tasks *tasks, Msec now)
{
    EngineView view = engine_view(tasks->engine);

    if (view.link != ENGINE_THERE && (view.link == ENGINE_AWAY || now >= tasks->asking_until)) {
        not_asked(tasks->check, view.trouble ? view.trouble : "it does not answer");
        return true;
    }
    if (now >= tasks->until) {
        not_asked(tasks->check, "it was busy until the deadline");
        return true;
    }
    if (engine_free_for(tasks->engine) && ask_engine(tasks, now))
        tasks->phase = PHASE_ASKED;
    return false;
}

/* What mail-engine told before it put things right is no fact any more. */
static bool looked(const Tasks *tasks, Msec now)
{
    EngineView view = engine_view(tasks->engine);

    return view.link == ENGINE_AWAY || view.seen_at > tasks->answered_at || now >= tasks->until;
}

static bool answered(Tasks *tasks)
{
    Error *why = NULL;
    EngineAnswer answer = engine_answer(tasks->engine, &why);
    const Mail__TaskResult *result = answer == ENGINE_DONE ? engine_task_result(tasks->engine) : NULL;

    if (answer == ENGINE_PENDING)
        return false;
    if (result)
        engine_found(tasks->check, result);
    else if (answer == ENGINE_FAILED)
        not_asked(tasks->check, why->what);
    else
        not_asked(tasks->check, "it went away, or did not answer in time");
    error_free(&why);
    return true;
}

/* ---- the controller's words ---- */

/* A job has come to its end. */
static void job_ended(void *context, Mail__TaskResult *result)
{
    Tasks *tasks = context;

    end(tasks, result, result->task_id, NULL);
}

static void job_start(Tasks *tasks, const Mail__TaskStart *task)
{
    say_running(tasks, task->task_id);
    Error *err = job_tasks_start(tasks->jobs, task, job_ended, tasks);
    if (err)
        end_without(tasks, task->task_id, MAIL__TASK_STATE__FAILED, err);
}

/* What the task is, apart from its id and deadline: the packed verb. */
static Digest content_of(const Mail__TaskStart *task)
{
    Mail__TaskStart verb = *task;
    DEFER(buf_done) Buf bytes = {0};

    verb.task_id = NULL;
    verb.has_deadline_ms = false;
    size_t size = mail__task_start__get_packed_size(&verb);
    mail__task_start__pack(&verb, buf_reserve(&bytes, size + 1));
    return digest_of(bytes.data, size);
}

typedef struct Known {
    bool there, same;
    Digest content;
} Known;

static Error *compare(void *context, const TaskRow *row)
{
    Known *known = context;

    known->there = true;
    known->same = digest_equal(&known->content, &row->content);
    return NULL;
}

static void start(Tasks *tasks, Envelope **envelope, Msec now)
{
    const Mail__TaskStart *task = (*envelope)->task_start;
    const char *id = task->task_id ? task->task_id : "";
    Known known = {.content = content_of(task)};

    if (strlen(id) != TASK_ID_LEN) {
        Error *err = error_new(ERROR_INVALID, "task id '%s' has not %d characters", id, TASK_ID_LEN);
        link_answer_error(tasks->link, (*envelope)->id, &err);
        return;
    }
    Error *err = journal_tasks(tasks->journal, id, compare, &known);
    if (!err && known.there && !known.same) {
        say_not_run(tasks, id, MAIL__TASK_STATE__FAILED,
                    error_new(ERROR_CONFLICT, "task %s has run already, with other content", id));
        return;
    }
    if (!err && known.there)
        err = journal_tasks(tasks->journal, id, say_stored, tasks);
    else if (!err)
        err = journal_task_begin(tasks->journal, id, &known.content);
    if (err) { /* not started: the controller asks again */
        link_answer_error(tasks->link, (*envelope)->id, &err);
        return;
    }
    if (known.there)
        return;
    if (job_is(task->verb_case)) {
        job_start(tasks, task);
        return;
    }
    if (task->verb_case != MAIL__TASK_START__VERB_NODE_CHECK && task->verb_case != MAIL__TASK_START__VERB_NODE_DOCTOR) {
        end_without(tasks, id, MAIL__TASK_STATE__FAILED, error_new(ERROR_UNSUPPORTED, "this node knows no such task"));
        return;
    }
    say_running(tasks, id);
    tasks->until = now + (task->has_deadline_ms ? task->deadline_ms : DEADLINE_DEFAULT_MS);
    tasks->next = *envelope;
    *envelope = NULL;
    tasks->phase = PHASE_OURS;
    tasks->cancelled = false;
    tasks->check = xcalloc(1, sizeof *tasks->check);
}

static void cancel(Tasks *tasks, const char *id)
{
    bool ours = tasks->next && strcmp(tasks->next->task_start->task_id, id) == 0;

    if (ours && tasks->phase == PHASE_ASKED) {
        tasks->cancelled = true; /* its answer must be taken; nobody waits for what is in it */
        return;
    }
    if (ours) {
        end_without(tasks, id, MAIL__TASK_STATE__CANCELLED, NULL);
        check_free(&tasks->check);
        envelope_free(&tasks->next);
        return;
    }
    if (job_tasks_cancel(tasks->jobs, id))
        return;                                                        /* it says when it has ended */
    Error *err = journal_tasks(tasks->journal, id, say_stored, tasks); /* too late: what became of it */
    log_stop(LOG_LEVEL_ERROR, "task not read", &err);
}

static void tell_asked(Tasks *tasks, const char *id)
{
    Known known = {0};

    Error *err = journal_tasks(tasks->journal, id, compare, &known);
    if (!err && known.there)
        err = journal_tasks(tasks->journal, id, say_stored, tasks);
    else if (!err)
        say_not_run(tasks, id, MAIL__TASK_STATE__NEVER_RAN, NULL);
    log_stop(LOG_LEVEL_ERROR, "task not read", &err);
}

static void take_small(Tasks *tasks)
{
    Envelope *envelope = NULL;
    Error *err = NULL;

    while ((envelope = link_take(tasks->link, MAIL__ENVELOPE__BODY_TASK_SEEN))) {
        err = journal_task_seen(tasks->journal, envelope->task_seen->task_id);
        log_stop(LOG_LEVEL_ERROR, "task not acknowledged", &err);
        envelope_free(&envelope);
    }
    while ((envelope = link_take(tasks->link, MAIL__ENVELOPE__BODY_TASK_CANCEL))) {
        cancel(tasks, envelope->task_cancel->task_id ? envelope->task_cancel->task_id : "");
        envelope_free(&envelope);
    }
    while ((envelope = link_take(tasks->link, MAIL__ENVELOPE__BODY_TASK_ASK))) {
        for (size_t i = 0; i < envelope->task_ask->n_task_ids; i++)
            tell_asked(tasks, envelope->task_ask->task_ids[i]);
        envelope_free(&envelope);
    }
}

typedef struct Unfinished {
    char **ids;
    size_t n;
} Unfinished;

static Error *collect_unfinished(void *context, const TaskRow *row)
{
    Unfinished *list = context;

    if (row->result)
        return NULL;
    list->ids = xrealloc(list->ids, (list->n + 1) * sizeof *list->ids);
    list->ids[list->n++] = xstrdup(row->id);
    return NULL;
}

/* A task never runs twice: what an earlier life began and did not end has failed. */
static void sweep(Tasks *tasks)
{
    Unfinished list = {0};

    Error *err = journal_tasks(tasks->journal, NULL, collect_unfinished, &list);
    for (size_t i = 0; i < list.n; i++) {
        if (!err)
            end_without(tasks, list.ids[i], MAIL__TASK_STATE__FAILED,
                        error_new(ERROR_UNAVAILABLE, "the agent ended while it ran"));
        free(list.ids[i]);
    }
    free(list.ids);
    log_stop(LOG_LEVEL_ERROR, "tasks not read", &err);
}

static void say_all(Tasks *tasks)
{
    tasks->session = link_session(tasks->link);
    Error *err = journal_tasks(tasks->journal, NULL, say_stored, tasks);
    log_stop(LOG_LEVEL_ERROR, "tasks not read", &err);
}

static void run_next(Tasks *tasks, Msec now)
{
    if (tasks->phase == PHASE_OURS) {
        if (is_check(tasks) && !apply_settled(tasks->apply)) {
            if (now < tasks->until)
                return;
            end_without(tasks, tasks->next->task_start->task_id, MAIL__TASK_STATE__FAILED,
                        error_new(ERROR_UNAVAILABLE, "a change was on its way until the deadline"));
            check_free(&tasks->check);
            envelope_free(&tasks->next);
            return;
        }
        if (is_check(tasks))
            audit_ours(tasks);
        tasks->phase = PHASE_ASKING;
        tasks->asking_until = now + CONNECT_WAIT_MS;
    }
    bool done = tasks->phase == PHASE_ASKING  ? asking(tasks, now)
                : tasks->phase == PHASE_ASKED ? answered(tasks)
                                              : looked(tasks, now);
    if (done && tasks->phase == PHASE_ASKED && repairs(tasks)) {
        tasks->phase = PHASE_LOOKING;
        tasks->answered_at = now;
        done = false;
    }
    if (done)
        conclude(tasks);
}

void tasks_run(Tasks *tasks, Msec now)
{
    if (journal_receiving(tasks->journal)) /* its transaction is not ours */
        return;
    if (!tasks->swept)
        sweep(tasks);
    tasks->swept = true;
    if (link_up(tasks->link) && link_session(tasks->link) != tasks->session)
        say_all(tasks);
    take_small(tasks);
    if (tasks->next)
        run_next(tasks, now);
    Envelope *envelope = NULL;
    while (!tasks->next && (envelope = link_take(tasks->link, MAIL__ENVELOPE__BODY_TASK_START))) {
        start(tasks, &envelope, now);
        envelope_free(&envelope);
        if (tasks->next)
            run_next(tasks, now);
    }
}

void tasks_wait(const Tasks *tasks, Waiter *wake)
{
    if (!tasks->next || journal_receiving(tasks->journal))
        return;
    waiter_at(wake, tasks->until);
    if (tasks->phase == PHASE_ASKING)
        waiter_at(wake, tasks->asking_until);
}
