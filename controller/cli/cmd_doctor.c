/* doctor: every node looks at itself, all at once; what they find is one table. */
#include "status.h"
#include "task.h"

#include "base/alloc.h"
#include "model/validate.h"

#include <stdlib.h>
#include <string.h>

enum { EXIT_SEEN = 1, PATIENCE_MS = 60 * 1000 };

typedef struct Patient {
    const char *name; /* borrowed from the status */
    char id[TASK_ID_LEN + 1];
    bool begun;
} Patient;

typedef struct Report {
    Cli *cli;
    Table *table;
    json_t *items; /* NULL: for people */
    size_t n_findings, n_nodes;
} Report;

/* ---- findings ---- */

static void found(Report *report, const char *node, Mail__FactState severity, const char *where, const char *text)
{
    report->n_findings++;
    if (report->items) {
        json_t *item = json_object();
        json_put_text(item, "node", node);
        json_put_text(item, "severity", fact_state_name(severity));
        json_put_text(item, "where", where);
        json_put_text(item, "text", text);
        json_array_append_new(report->items, item);
        return;
    }
    table_cell(report->table, node);
    table_cell(report->table, fact_state_name(severity));
    table_cell(report->table, where);
    table_cell(report->table, text);
    table_row(report->table);
}

static void not_reached(Report *report, const char *node, const char *why)
{
    found(report, node, MAIL__FACT_STATE__BAD, "link", why);
}

static void findings_take(Report *report, const char *node, const Mail__TaskInfo *task)
{
    const Mail__TaskResult *result = task->result;

    for (size_t i = 0; result && i < result->n_findings; i++)
        found(report, node, result->findings[i]->severity, result->findings[i]->where, result->findings[i]->text);
    if (task->state == MAIL__TASK_STATE__SUCCEEDED || task->state == MAIL__TASK_STATE__FOUND)
        return;
    const char *why = result && result->why && result->why->what ? result->why->what : "it gave no reason";
    DEFER(xfree) char *text = xasprintf("the doctor did not come to an end: %s", why);
    found(report, node, MAIL__FACT_STATE__UNKNOWN, "doctor", text);
}

/* ---- the nodes ---- */

static Error *doctor_begin(Cli *cli, Patient *patient)
{
    Mail__NodeDoctor doctor = MAIL__NODE_DOCTOR__INIT;
    Mail__TaskNew wish = MAIL__TASK_NEW__INIT;
    Mail__TaskStart start = MAIL__TASK_START__INIT;
    Envelope envelope = MAIL__ENVELOPE__INIT;
    DEFER(envelope_free) Envelope *said = NULL;
    Error *err = task_id_new(patient->id);

    if (err)
        return err;
    wish.node = (char *)patient->name;
    wish.has_detach = wish.detach = true;
    wish.task_id = patient->id;
    wish.start = &start;
    start.verb_case = MAIL__TASK_START__VERB_NODE_DOCTOR;
    start.node_doctor = &doctor;
    envelope.body_case = MAIL__ENVELOPE__BODY_TASK_NEW;
    envelope.task_new = &wish;
    err = call_one(cli, &envelope, false, &said);
    patient->begun = !err;
    return err;
}

static Error *doctor_end(Report *report, const Patient *patient, Msec limit)
{
    Mail__TaskWait wish = MAIL__TASK_WAIT__INIT;
    Envelope envelope = MAIL__ENVELOPE__INIT;
    Call call;

    wish.task_id = (char *)patient->id;
    envelope.body_case = MAIL__ENVELOPE__BODY_TASK_WAIT;
    envelope.task_wait = &wish;
    Error *err = call_begin(report->cli, &envelope, false, &call);
    if (err)
        return err;
    call.until = limit;
    while (!call.ended && clock_ms() < limit) {
        DEFER(envelope_free) Envelope *said = NULL;
        err = call_next(&call, &said);
        if (err)
            return err;
        const Mail__TaskInfo *task = said && said->body_case == MAIL__ENVELOPE__BODY_TASKS && said->tasks->n_tasks
                                         ? said->tasks->tasks[0]
                                         : NULL;
        if (!task || (!task_has_ended(task->state) && task->state != MAIL__TASK_STATE__LOST))
            continue;
        if (task->state == MAIL__TASK_STATE__LOST)
            not_reached(report, patient->name, "it went away before it answered");
        else
            findings_take(report, patient->name, task);
        return NULL;
    }
    not_reached(report, patient->name, "it did not answer in time");
    return NULL;
}

/* A node that was revoked and runs nothing is nobody's patient. */
static bool settled(const Mail__NodeStatus *node)
{
    return node->state == MAIL__NODE_STATE__REVOKED && node_is_well(node);
}

static bool reachable(const Mail__NodeStatus *node)
{
    return node->state == MAIL__NODE_STATE__ONLINE || node->state == MAIL__NODE_STATE__CLONED;
}

static void away(Report *report, const Mail__NodeStatus *node)
{
    DEFER(xfree)
    char *text = node->has_seen_ms ? xasprintf("not reached: %s, last heard of %s ago", node_state_name(node->state),
                                               age_text(node->seen_ms).text)
                                   : xasprintf("not reached: %s", node_state_name(node->state));

    not_reached(report, node->name, text);
}

static Error *look_at_all(Report *report, const Mail__Status *status, Msec limit)
{
    Patient *patients = xcalloc(status->n_nodes + 1, sizeof *patients);
    Error *err = NULL;

    for (size_t i = 0; !err && i < status->n_nodes; i++) {
        patients[i].name = status->nodes[i]->name;
        if (reachable(status->nodes[i]))
            err = doctor_begin(report->cli, &patients[i]);
    }
    for (size_t i = 0; !err && i < status->n_nodes; i++) {
        if (settled(status->nodes[i]))
            continue;
        report->n_nodes++;
        if (patients[i].begun)
            err = doctor_end(report, &patients[i], limit);
        else
            away(report, status->nodes[i]);
    }
    free(patients);
    return err;
}

/* ---- the command ---- */

static void report_end(Report *report, const Error *err)
{
    Cli *cli = report->cli;

    table_end(&report->table);
    if (report->items && !err) {
        json_t *document = json_pack("{s:i,s:O}", "version", 1, "items", report->items);
        print_document(cli->out, cli->form, &document);
    }
    json_decref(report->items);
    if (!err && !report->items && !report->n_findings)
        fprintf(cli->out, "nothing found on %zu node%s\n", report->n_nodes, report->n_nodes == 1 ? "" : "s");
}

static Error *limit_of(Cli *cli, Msec *ret_limit)
{
    uint64_t wait_ms = PATIENCE_MS;
    Error *err = NULL;

    if (line_has(cli->line, FLAG_TIMEOUT))
        err = span_parse(cli->line->given[FLAG_TIMEOUT], &wait_ms);
    if (err) {
        cli->exit = 2;
        return error_in(err, "--timeout");
    }
    *ret_limit = clock_ms() + wait_ms;
    return NULL;
}

Error *run_doctor(Cli *cli, const Line *line, int *ret_exit)
{
    static const char *const headings[] = {"NODE", "SEVERITY", "WHERE", "FINDING"};
    DEFER(envelope_free) Envelope *said = NULL;
    DEFER(xfree) char *name = NULL;
    Report report = {.cli = cli};
    Msec limit = 0;
    Error *err = limit_of(cli, &limit);

    if (!err && line->key)
        err = name_normalise(MAIL__OBJECT__BODY_NODE, line->key, &name);
    if (!err)
        err = status_get(cli, name, &said);
    if (err || !said)
        return err;
    if (cli->form == OUTPUT_JSON || cli->form == OUTPUT_YAML)
        report.items = json_array();
    else
        report.table = table_new(cli->out, headings, 4);
    err = look_at_all(&report, said->status, limit);
    report_end(&report, err);
    *ret_exit = report.n_findings ? EXIT_SEEN : 0;
    return err;
}
