#include "tasks/node_task.h"

#include "base/alloc.h"
#include "engine/layout.h"
#include "local/envelope.h"
#include "tasks/doctor.h"
#include "tasks/findings.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum { DEADLINE_DEFAULT_MS = 60000, DEADLINE_MAX_MS = 3600000, AGAIN_MS = 50 };

struct NodeTask {
    NodeTaskParts with;
    bool check, repair; /* node check; otherwise doctor */
    Msec until, again;
    bool ended;

    bool looked; /* node check: at files and folders; what is left is to see the daemons settle */
    size_t n_files;
    Doctor *doctor;

    Findings findings;
    Mail__TaskResult result;
    Mail__Failure failure;
    Error *why;
};

/* ---- the end ---- */

/* Takes err. */
static void end(NodeTask *task, Error *err, char *verdict)
{
    Mail__TaskResult *result = &task->result;

    if (err) {
        task->why = err;
        task->failure = failure_of(err);
        result->why = &task->failure;
    }
    result->verdict = verdict;
    result->findings = task->findings.list;
    result->n_findings = task->findings.n;
    result->has_state = true;
    result->state = MAIL__TASK_STATE__SUCCEEDED;
    if (err)
        result->state = MAIL__TASK_STATE__FAILED;
    else if (findings_bad(&task->findings))
        result->state = MAIL__TASK_STATE__FOUND;
    task->ended = true;
}

/* "3 findings", and how many there was no place for. */
static char *found_words(const Findings *findings)
{
    size_t n = findings->n + findings->n_beyond;
    DEFER(xfree) char *beyond = findings->n_beyond ? xasprintf(", the first %zu are told", findings->n) : xstrdup("");

    return xasprintf("%zu finding%s%s", n, n == 1 ? "" : "s", beyond);
}

/* ---- node check ---- */

static void file_found(void *context, const char *path, const char *diff)
{
    findings_add(context, MAIL__FACT_STATE__DEGRADED, path, "%s", diff);
}

static Error *files_look(NodeTask *task)
{
    size_t n = 0, first = task->findings.n;

    Error *err = change_drift(task->with.change, task->repair, file_found, &task->findings, &n);
    if (!err && task->repair)
        findings_repaired(&task->findings, first);
    return err;
}

typedef struct Left {
    size_t n;
} Left;

static void folder_left(void *context, const char *path, const char *text)
{
    Left *left = context;
    (void)path;
    (void)text;
    left->n++;
}

/* Put right is what a second look does not find any more. */
static Error *folders_look(NodeTask *task)
{
    const char *root = *task->with.root ? task->with.root : "/";
    size_t first = task->findings.n;
    Left left = {0};

    layout_look(root, file_found, &task->findings);
    if (!task->repair || task->findings.n == first)
        return NULL;
    Error *err = layout_make(root);
    if (err)
        return err;
    layout_look(root, folder_left, &left);
    if (left.n == 0)
        findings_repaired(&task->findings, first);
    return NULL;
}

static void services_look(NodeTask *task, Msec now, size_t *ret_n)
{
    Mail__Fact *const *facts = NULL;

    *ret_n = supervise_facts(task->with.supervise, now, &facts);
    for (size_t i = 0; i < *ret_n; i++)
        if (facts[i]->state != MAIL__FACT_STATE__GOOD)
            findings_add(&task->findings, facts[i]->state, facts[i]->name, "%s", facts[i]->text);
}

static void check_end(NodeTask *task, Msec now)
{
    size_t n_services = 0, n_mended = 0;

    services_look(task, now, &n_services);
    for (size_t i = 0; i < task->findings.n; i++)
        n_mended += task->findings.list[i]->repaired;
    DEFER(xfree) char *found = found_words(&task->findings);
    end(task, NULL,
        xasprintf("%zu files and %zu services looked at, %s, %zu mended", task->n_files, n_services, found, n_mended));
}

/* While a change is under way there is nothing to compare with: it is waited for. */
static void check_run(NodeTask *task, Msec now)
{
    const char *why = NULL;

    if (now < task->again)
        return;
    task->again = now + AGAIN_MS;
    if (!task->looked) {
        InForce in_force = change_in_force(task->with.change);
        Error *err = files_look(task);
        if (err && err->code == ERROR_CONFLICT && now < task->until) {
            error_free(&err);
            return;
        }
        if (!err)
            err = folders_look(task);
        if (err) {
            end(task, error_in(err, "node check"), NULL);
            return;
        }
        task->n_files = in_force.files ? fileset_count(in_force.files) : 0;
        task->looked = true;
        if (task->repair && task->findings.n)
            supervise_probe_now(task->with.supervise);
    }
    if (supervise_standing(task->with.supervise, &why) != STANDING_MOVING || !task->repair)
        check_end(task, now);
}

/* ---- doctor ---- */

static void doctor_step(NodeTask *task, Msec now)
{
    if (!doctor_run(task->doctor, now, &task->findings))
        return;
    DEFER(xfree) char *found = found_words(&task->findings);
    end(task, NULL, xasprintf("%zu things looked at, %s", doctor_looks(), found));
}

/* ---- the whole ---- */

static bool start_verb(NodeTask *task, const Mail__TaskStart *start)
{
    switch (start->verb_case) {
    case MAIL__TASK_START__VERB_NODE_CHECK:
        task->check = true;
        task->repair = start->node_check->repair;
        return true;
    case MAIL__TASK_START__VERB_NODE_DOCTOR:
        task->doctor = doctor_new(task->with.root, task->with.change, task->with.supervise);
        return true;
    default:
        return false;
    }
}

Error *node_task_start(const NodeTaskParts *parts, const Mail__TaskStart *start, Msec now, NodeTask **ret_task)
{
    DEFER(node_task_free) NodeTask *task = xcalloc(1, sizeof *task);
    Msec wait_ms = start->has_deadline_ms ? start->deadline_ms : DEADLINE_DEFAULT_MS;

    mail__task_result__init(&task->result);
    mail__failure__init(&task->failure);
    task->with = *parts;
    if (!start_verb(task, start))
        return error_new(ERROR_UNSUPPORTED, "mail-engine knows no such task");
    task->until = now + (wait_ms < DEADLINE_MAX_MS ? wait_ms : DEADLINE_MAX_MS);
    task->result.task_id = xstrdup(start->task_id ? start->task_id : "");
    *ret_task = task;
    task = NULL;
    return NULL;
}

bool node_task_run(NodeTask *task, Msec now)
{
    if (task->ended)
        return true;
    if (task->check)
        check_run(task, now);
    else
        doctor_step(task, now);
    if (!task->ended && now >= task->until)
        end(task, error_new(ERROR_UNAVAILABLE, "not done in time"), NULL);
    return task->ended;
}

void node_task_wait(const NodeTask *task, Waiter *wake)
{
    waiter_at(wake, task->until);
    if (task->check)
        waiter_at(wake, task->again);
    else
        doctor_wait(task->doctor, wake);
}

const Mail__TaskResult *node_task_result(const NodeTask *task)
{
    assert(task->ended);
    return &task->result;
}

void node_task_free(NodeTask **task)
{
    if (!*task)
        return;
    doctor_free(&(*task)->doctor);
    findings_done(&(*task)->findings);
    error_free(&(*task)->why);
    free((*task)->result.task_id);
    free((*task)->result.verdict);
    xfree(task);
}
