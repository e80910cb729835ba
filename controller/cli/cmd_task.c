/* Tasks: what a node does once.  The id is said first: the task goes on without us. */
#include "status.h"
#include "task.h"

#include "base/alloc.h"
#include "base/proc.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

enum { EXIT_SEEN = 1, EXIT_PENDING = 7, EXIT_LOST = 9, START_WAIT_MS = 30 * 1000 };

static const char *task_state_name(Mail__TaskState state)
{
    switch (state) {
    case MAIL__TASK_STATE__WAITING:
        return "waiting";
    case MAIL__TASK_STATE__RUNNING:
        return "running";
    case MAIL__TASK_STATE__SUCCEEDED:
        return "succeeded";
    case MAIL__TASK_STATE__FOUND:
        return "found";
    case MAIL__TASK_STATE__FAILED:
        return "failed";
    case MAIL__TASK_STATE__CANCELLED:
        return "cancelled";
    case MAIL__TASK_STATE__NEVER_RAN:
        return "never-ran";
    case MAIL__TASK_STATE__LOST:
    default:
        return "unknown";
    }
}

/* ---- as data ---- */

static json_t *finding_json(const Mail__Finding *finding)
{
    json_t *item = json_object();

    json_put_text(item, "severity", fact_state_name(finding->severity));
    json_put_text(item, "where", finding->where);
    json_put_text(item, "text", finding->text);
    json_object_set_new(item, "repaired", json_boolean(finding->repaired));
    return item;
}

static json_t *saved_json(const Mail__Saved *saved)
{
    json_t *item = json_object();

    json_put_text(item, "destination", saved->destination);
    json_put_text(item, "snapshot", saved->snapshot);
    return item;
}

static void result_put(json_t *item, const Mail__TaskResult *result)
{
    json_t *findings = json_array(), *saved = json_array();

    json_put_text(item, "verdict", result->verdict);
    if (result->why)
        json_put_text(item, "why", result->why->what);
    for (size_t i = 0; i < result->n_findings; i++)
        json_array_append_new(findings, finding_json(result->findings[i]));
    json_object_set_new(item, "findings", findings);
    for (size_t i = 0; i < result->n_saved; i++)
        json_array_append_new(saved, saved_json(result->saved[i]));
    json_object_set_new(item, "saved", saved);
}

static json_t *task_json(const Mail__TaskInfo *task)
{
    json_t *item = json_object();

    json_put_text(item, "task_id", task->task_id);
    json_put_text(item, "node", task->node);
    json_put_text(item, "verb", task->verb);
    json_put_text(item, "state", task_state_name(task->state));
    json_put_text(item, "who", task->who);
    json_put_number(item, "started", task->started);
    if (task->ended)
        json_put_number(item, "ended", task->ended);
    if (task->progress) {
        json_put_number(item, "done", task->progress->done);
        json_put_number(item, "of", task->progress->of);
        json_put_text(item, "unit", task->progress->unit);
    }
    if (task->result)
        result_put(item, task->result);
    return item;
}

static void tasks_data(Cli *cli, Mail__TaskInfo *const *tasks, size_t n)
{
    json_t *items = json_array();

    for (size_t i = 0; i < n; i++)
        json_array_append_new(items, task_json(tasks[i]));
    json_t *document = json_pack("{s:i,s:o}", "version", 1, "items", items);
    print_document(cli->out, cli->form, &document);
}

/* ---- for people ---- */

static void text_line(FILE *out, const char *text)
{
    if (has_words_below(text)) {
        print_lines(out, text);
        return;
    }
    print_text(out, text);
    fputc('\n', out);
}

static void result_print(FILE *out, const Mail__TaskResult *result)
{
    for (size_t i = 0; i < result->n_findings; i++) {
        const Mail__Finding *finding = result->findings[i];
        DEFER(xfree)
        char *line = xasprintf("%s %s: %s%s", fact_state_name(finding->severity), finding->where ? finding->where : "?",
                               finding->text ? finding->text : "", finding->repaired ? " (repaired)" : "");
        text_line(out, line);
    }
}

static void task_print(Cli *cli, const Mail__TaskInfo *task)
{
    const Mail__TaskResult *result = task->result;

    if (cli->form == OUTPUT_JSON || cli->form == OUTPUT_YAML) {
        tasks_data(cli, (Mail__TaskInfo *const[]){(Mail__TaskInfo *)task}, 1);
        return;
    }
    if (cli->form == OUTPUT_NAME) {
        text_line(cli->out, task->task_id ? task->task_id : "");
        return;
    }
    if (result)
        result_print(cli->out, result);
    DEFER(xfree)
    char *line = xasprintf("%s of %s: %s%s%s", task->verb ? task->verb : "task", task->node ? task->node : "?",
                           task_state_name(task->state), result && result->verdict ? ": " : "",
                           result && result->verdict ? result->verdict : "");
    text_line(cli->out, line);
}

static void tasks_table(Cli *cli, Mail__TaskInfo *const *tasks, size_t n)
{
    static const char *const headings[] = {"TASK", "NODE", "VERB", "STATE", "WHO", "STARTED", "VERDICT"};
    Table *table = table_new(cli->out, headings, 7);

    for (size_t i = 0; i < n; i++) {
        table_cell(table, tasks[i]->task_id);
        table_cell(table, tasks[i]->node);
        table_cell(table, tasks[i]->verb);
        table_cell(table, task_state_name(tasks[i]->state));
        table_cell(table, tasks[i]->who);
        table_cell(table, time_text(tasks[i]->started).text);
        table_cell(table, tasks[i]->result ? tasks[i]->result->verdict : NULL);
        table_row(table);
    }
    table_end(&table);
}

/* ---- following one ---- */

bool task_has_ended(Mail__TaskState state)
{
    return state != MAIL__TASK_STATE__WAITING && state != MAIL__TASK_STATE__RUNNING && state != MAIL__TASK_STATE__LOST;
}

/* The exit code of a task in this state, or its failure. */
static Error *verdict(const Mail__TaskInfo *task, int *ret_exit)
{
    const char *id = task->task_id ? task->task_id : "ID";

    switch (task->state) {
    case MAIL__TASK_STATE__SUCCEEDED:
        *ret_exit = 0;
        return NULL;
    case MAIL__TASK_STATE__FOUND:
        *ret_exit = EXIT_SEEN;
        return NULL;
    case MAIL__TASK_STATE__FAILED:
        return task->result && task->result->why ? error_of(task->result->why)
                                                 : error_new(ERROR_SYSTEM, "it failed and gave no reason");
    case MAIL__TASK_STATE__CANCELLED:
        return error_new(ERROR_CONFLICT, "it was cancelled");
    case MAIL__TASK_STATE__NEVER_RAN:
        return error_new(ERROR_UNAVAILABLE, "the node knows nothing of it: it never ran");
    default:
        *ret_exit = EXIT_PENDING;
        fprintf(stderr, "hint: mailctl task wait %s\n", id);
        return NULL;
    }
}

static void progress_print(const Mail__TaskInfo *task, Msec *shown_at)
{
    const Mail__TaskProgress *progress = task->progress;
    bool terminal = isatty(STDERR_FILENO);
    Msec now = clock_ms();

    if (!progress || !progress->of || (*shown_at && now < *shown_at + (terminal ? 100 : 10000)))
        return;
    *shown_at = now;
    DEFER(xfree) char *unit = escaped(progress->unit ? progress->unit : "");
    fprintf(stderr, "%s%" PRIu64 "/%" PRIu64 " %s%s", terminal ? "\r" : "", progress->done, progress->of, unit,
            terminal ? "  " : "\n");
}

/* How long is a task followed? */
typedef enum Follow {
    FOLLOW_STORED,  /* until it is stored */
    FOLLOW_RUNNING, /* to its end, unless its node is away */
    FOLLOW_ENDED,   /* to its end, whenever that is */
} Follow;

/* The node is away: it may be back in a second, or never.  We say how it is and go; the task does not. */
static bool pointless(const Mail__TaskInfo *task, Msec now, Msec started_ms)
{
    return task->state == MAIL__TASK_STATE__LOST ||
           (task->state == MAIL__TASK_STATE__WAITING && now >= started_ms + START_WAIT_MS);
}

static bool enough(const Mail__TaskInfo *task, Follow how, Msec now, Msec started_ms)
{
    return how == FOLLOW_STORED || task_has_ended(task->state) ||
           (how == FOLLOW_RUNNING && pointless(task, now, started_ms));
}

/* The newest word of it, which is the last one where its end was awaited and came. */
static Error *newest_wait(Call *call, Follow how, Msec limit, Envelope **ret_newest)
{
    DEFER(envelope_free) Envelope *newest = NULL;
    Msec started_ms = clock_ms(), shown_at = 0;
    Error *err = NULL;

    while (!call->ended) {
        DEFER(envelope_free) Envelope *said = NULL;
        bool waiting =
            !newest || (how == FOLLOW_RUNNING && newest->tasks->tasks[0]->state == MAIL__TASK_STATE__WAITING);
        call->until = waiting && limit > started_ms + START_WAIT_MS ? started_ms + START_WAIT_MS : limit;
        if (call->until == MSEC_NEVER)
            call->until = clock_ms() + 3600 * 1000; /* a task may be quiet for long */
        err = call_next(call, &said);
        if (err)
            break;
        Msec now = clock_ms();
        if (said && said->body_case == MAIL__ENVELOPE__BODY_TASKS && said->tasks->n_tasks) {
            envelope_free(&newest);
            newest = said;
            said = NULL;
            progress_print(newest->tasks->tasks[0], &shown_at);
        }
        if (now >= limit || (!newest && now >= started_ms + START_WAIT_MS))
            break;
        if (newest && enough(newest->tasks->tasks[0], how, now, started_ms))
            break;
    }
    if (shown_at && isatty(STDERR_FILENO))
        fputc('\n', stderr);
    if (err)
        return err;
    if (!newest) {
        if (call->changes)
            call->cli->exit = EXIT_LOST; /* it may be stored, and run */
        return error_new(ERROR_UNAVAILABLE, "the controller says nothing about it");
    }
    *ret_newest = newest;
    newest = NULL;
    return NULL;
}

static Error *follow(Call *call, Follow how, Msec limit, int *ret_exit)
{
    DEFER(envelope_free) Envelope *newest = NULL;
    Error *err = newest_wait(call, how, limit, &newest);

    if (err || !newest)
        return err;
    task_print(call->cli, newest->tasks->tasks[0]);
    if (how == FOLLOW_STORED)
        return NULL;
    return verdict(newest->tasks->tasks[0], ret_exit);
}

static Error *limit_of(Cli *cli, Msec *ret_limit)
{
    uint64_t wait_ms = 0;

    *ret_limit = MSEC_NEVER;
    if (!line_has(cli->line, FLAG_TIMEOUT))
        return NULL;
    Error *err = span_parse(cli->line->given[FLAG_TIMEOUT], &wait_ms);
    if (err) {
        cli->exit = 2;
        return error_in(err, "--timeout");
    }
    *ret_limit = clock_ms() + wait_ms;
    return NULL;
}

/* Time first, so that ids sort as they were made; the rest is chance.  Crockford's base 32, as in a ULID. */
Error *task_id_new(char ret_id[TASK_ID_LEN + 1])
{
    static const char digits[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
    uint8_t chance[16];
    struct timespec now;

    if (getrandom(chance, sizeof chance, 0) != (ssize_t)sizeof chance)
        return error_system("getrandom");
    clock_gettime(CLOCK_REALTIME, &now);
    uint64_t ms = (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
    for (int i = 9; i >= 0; i--, ms >>= 5)
        ret_id[i] = digits[ms & 31];
    for (size_t i = 0; i < sizeof chance; i++)
        ret_id[10 + i] = digits[chance[i] & 31];
    ret_id[TASK_ID_LEN] = '\0';
    return NULL;
}

Error *task_run(Cli *cli, const Line *line, Mail__TaskNew *wish, int *ret_exit)
{
    char id[TASK_ID_LEN + 1];
    Envelope envelope = MAIL__ENVELOPE__INIT;
    bool detach = line_has(line, FLAG_DETACH);
    Msec limit = MSEC_NEVER;
    Call call;

    Error *err = limit_of(cli, &limit);
    if (!err)
        err = task_id_new(id);
    if (err)
        return err;
    wish->has_detach = detach;
    wish->detach = 1;
    wish->task_id = id;
    envelope.body_case = MAIL__ENVELOPE__BODY_TASK_NEW;
    envelope.task_new = wish;
    err = call_begin(cli, &envelope, true, &call);
    if (err)
        return err;
    if (isatty(STDERR_FILENO) || detach)
        fprintf(stderr, "task %s\n", id);
    DEFER(xfree) char *words = xasprintf("the task goes on: mailctl task wait %s", id);
    cli_interrupted_says(words);
    err = follow(&call, detach ? FOLLOW_STORED : FOLLOW_RUNNING, limit, ret_exit);
    return err && cli->exit == EXIT_LOST ? error_hint(err, "mailctl task show %s", id) : err;
}

Error *run_node_check(Cli *cli, const Line *line, int *ret_exit)
{
    Mail__NodeCheck check = MAIL__NODE_CHECK__INIT;
    Mail__TaskStart start = MAIL__TASK_START__INIT;
    Mail__TaskNew wish = MAIL__TASK_NEW__INIT;

    check.has_repair = line_has(line, FLAG_REPAIR);
    check.repair = 1;
    start.verb_case = MAIL__TASK_START__VERB_NODE_CHECK;
    start.node_check = &check;
    wish.node = (char *)line->key;
    wish.start = &start;
    return task_run(cli, line, &wish, ret_exit);
}

/* ---- several together ---- */

static Error *task_store(Cli *cli, Mail__TaskNew *wish)
{
    Envelope envelope = MAIL__ENVELOPE__INIT;
    DEFER(envelope_free) Envelope *said = NULL;

    wish->has_detach = wish->detach = 1;
    envelope.body_case = MAIL__ENVELOPE__BODY_TASK_NEW;
    envelope.task_new = wish;
    return call_one(cli, &envelope, true, &said);
}

/* What became of them: lines as they end, or one document. */
typedef struct Ended {
    Cli *cli;
    Envelope **words; /* one task each */
    Mail__TaskInfo **tasks;
    size_t n, n_failed;
    Error *first; /* failure */
} Ended;

static void ended_done(Ended *ended)
{
    for (size_t i = 0; i < ended->n; i++)
        envelope_free(&ended->words[i]);
    free(ended->words);
    free(ended->tasks);
    error_free(&ended->first);
}

static void ended_take(Ended *ended, Envelope *newest, int *ret_exit)
{
    Mail__TaskInfo *task = newest->tasks->tasks[0];
    int seen = 0;
    Error *err = verdict(task, &seen);

    ended->words[ended->n] = newest;
    ended->tasks[ended->n++] = task;
    if (ended->cli->form == OUTPUT_TABLE || ended->cli->form == OUTPUT_NAME)
        task_print(ended->cli, task);
    if (err && ended->cli->form == OUTPUT_TABLE) {
        DEFER(xfree) char *what = without_words(err->what); /* they stand below the last line, or with a finding */
        fputs("    ", ended->cli->out);
        text_line(ended->cli->out, what);
    }
    ended->n_failed += err != NULL;
    *ret_exit = seen > *ret_exit ? seen : *ret_exit;
    if (ended->first)
        error_free(&err);
    else
        ended->first = err;
}

static Error *ended_wait(Ended *ended, const char *id, Msec limit, int *ret_exit)
{
    Mail__TaskWait wish = MAIL__TASK_WAIT__INIT;
    Envelope envelope = MAIL__ENVELOPE__INIT;
    DEFER(envelope_free) Envelope *newest = NULL;
    Call call;

    wish.task_id = (char *)id;
    envelope.body_case = MAIL__ENVELOPE__BODY_TASK_WAIT;
    envelope.task_wait = &wish;
    Error *err = call_begin(ended->cli, &envelope, false, &call);
    if (!err)
        err = newest_wait(&call, FOLLOW_RUNNING, limit, &newest);
    if (err || !newest)
        return err;
    ended_take(ended, newest, ret_exit);
    newest = NULL;
    return NULL;
}

static Error *ended_verdict(Ended *ended)
{
    Error *err = ended->first;

    if (ended->cli->form == OUTPUT_JSON || ended->cli->form == OUTPUT_YAML)
        tasks_data(ended->cli, ended->tasks, ended->n);
    ended->first = NULL;
    return err && ended->n > 1 ? error_in(err, "%zu of %zu failed, the first", ended->n_failed, ended->n) : err;
}

Error *tasks_run(Cli *cli, const Line *line, Mail__TaskNew *wishes, size_t n, int *ret_exit)
{
    char(*ids)[TASK_ID_LEN + 1] = xcalloc(n + 1, sizeof *ids);
    Ended ended = {
        .cli = cli, .words = xcalloc(n + 1, sizeof(Envelope *)), .tasks = xcalloc(n + 1, sizeof(Mail__TaskInfo *))};
    Msec limit = MSEC_NEVER;
    Error *err = limit_of(cli, &limit);

    for (size_t i = 0; !err && i < n; i++) {
        err = task_id_new(ids[i]);
        wishes[i].task_id = ids[i];
        if (!err)
            err = task_store(cli, &wishes[i]);
        if (!err && (isatty(STDERR_FILENO) || line_has(line, FLAG_DETACH)))
            fprintf(stderr, "task %s\n", ids[i]);
    }
    cli_interrupted_says("what was begun goes on: mailctl task list");
    for (size_t i = 0; !err && !line_has(line, FLAG_DETACH) && i < n; i++)
        err = ended_wait(&ended, ids[i], limit, ret_exit);
    if (!err && !line_has(line, FLAG_DETACH))
        err = ended_verdict(&ended);
    ended_done(&ended);
    free(ids);
    return err;
}

/* ---- the noun ---- */

static Error *tasks_get(Cli *cli, const char *id, Envelope **ret_envelope)
{
    Mail__GetTasks wish = MAIL__GET_TASKS__INIT;
    Envelope envelope = MAIL__ENVELOPE__INIT;
    DEFER(envelope_free) Envelope *said = NULL;

    wish.task_id = (char *)id;
    envelope.body_case = MAIL__ENVELOPE__BODY_GET_TASKS;
    envelope.get_tasks = &wish;
    Error *err = call_one(cli, &envelope, false, &said);
    if (err)
        return err;
    if (!said || said->body_case != MAIL__ENVELOPE__BODY_TASKS)
        return error_new(ERROR_DAMAGED, "the controller answered something else");
    *ret_envelope = said;
    said = NULL;
    return NULL;
}

Error *run_task_list(Cli *cli, const Line *line, int *ret_exit)
{
    DEFER(envelope_free) Envelope *said = NULL;

    (void)line;
    (void)ret_exit;
    Error *err = tasks_get(cli, NULL, &said);
    if (err || !said)
        return err;
    if (cli->form == OUTPUT_JSON || cli->form == OUTPUT_YAML)
        tasks_data(cli, said->tasks->tasks, said->tasks->n_tasks);
    else if (cli->form == OUTPUT_TABLE)
        tasks_table(cli, said->tasks->tasks, said->tasks->n_tasks);
    for (size_t i = 0; cli->form == OUTPUT_NAME && i < said->tasks->n_tasks; i++)
        task_print(cli, said->tasks->tasks[i]);
    return NULL;
}

Error *run_task_show(Cli *cli, const Line *line, int *ret_exit)
{
    DEFER(envelope_free) Envelope *said = NULL;

    (void)ret_exit;
    Error *err = tasks_get(cli, line->key, &said);
    if (err || !said)
        return err;
    if (!said->tasks->n_tasks)
        return error_new(ERROR_NOT_FOUND, "task %s is not known", line->key);
    task_print(cli, said->tasks->tasks[0]);
    return NULL;
}

Error *run_task_wait(Cli *cli, const Line *line, int *ret_exit)
{
    Mail__TaskWait wish = MAIL__TASK_WAIT__INIT;
    Envelope envelope = MAIL__ENVELOPE__INIT;
    Msec limit = MSEC_NEVER;
    Call call;

    wish.task_id = (char *)line->key;
    envelope.body_case = MAIL__ENVELOPE__BODY_TASK_WAIT;
    envelope.task_wait = &wish;
    Error *err = limit_of(cli, &limit);
    if (!err)
        err = call_begin(cli, &envelope, false, &call);
    return err ? err : follow(&call, FOLLOW_ENDED, limit, ret_exit);
}

Error *run_task_cancel(Cli *cli, const Line *line, int *ret_exit)
{
    Mail__TaskStop wish = MAIL__TASK_STOP__INIT;
    Envelope envelope = MAIL__ENVELOPE__INIT;
    DEFER(envelope_free) Envelope *said = NULL;
    DEFER(xfree) char *id = escaped(line->key);

    (void)ret_exit;
    wish.task_id = (char *)line->key;
    envelope.body_case = MAIL__ENVELOPE__BODY_TASK_STOP;
    envelope.task_stop = &wish;
    Error *err = call_one(cli, &envelope, true, &said);
    if (!err)
        fprintf(cli->out, "task %s: asked to stop\n", id);
    return err;
}
