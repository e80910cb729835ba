/* trace: the way of a message over nodes (SPEC F-002).
 *
 * Each node knows what its own logs say.  What joins them is the Message-ID: nodes are asked again with those that they
 * named, until no new one comes. */
#include "status.h"

#include "base/alloc.h"

#include <stdlib.h>
#include <string.h>

enum {
    EXIT_NOT_ALL = 7,
    ROUNDS_MAX = 4,
    JOINED_MAX = 50, /* at once: TRACE_JOINED_MAX of a node */
};

typedef struct Step {
    const char *node; /* of the status, which outlives it */
    size_t index;     /* as told */
    Mail__TraceStep *said;
} Step;

typedef struct Trace {
    Cli *cli;
    const char *wanted;
    char *joined[JOINED_MAX]; /* Message-IDs that nodes named */
    size_t n_joined;
    Envelope **parts; /* hold what the steps are of */
    size_t n_parts;
    Step *steps;
    size_t n_steps, room;
    json_t *away;
    size_t n_away, n_asked;
    bool more;
} Trace;

static void steps_drop(Trace *trace)
{
    for (size_t i = 0; i < trace->n_parts; i++)
        envelope_free(&trace->parts[i]);
    xfree(&trace->parts);
    xfree(&trace->steps);
    json_decref(trace->away);
    trace->away = json_array();
    trace->n_parts = trace->n_steps = trace->room = trace->n_away = trace->n_asked = 0;
    trace->more = false;
}

static void trace_done(Trace *trace)
{
    steps_drop(trace);
    json_decref(trace->away);
    for (size_t i = 0; i < trace->n_joined; i++)
        free(trace->joined[i]);
}

/* ---- asking ---- */

static void part_take(Trace *trace, const char *node, Envelope **said)
{
    const Mail__TraceRows *rows = (*said)->trace_rows;

    for (size_t i = 0; i < rows->n_steps; i++) {
        if (trace->n_steps == trace->room) {
            trace->room = trace->room ? 2 * trace->room : 64;
            trace->steps = xrealloc(trace->steps, trace->room * sizeof *trace->steps);
        }
        trace->steps[trace->n_steps] = (Step){node, trace->n_steps, rows->steps[i]};
        trace->n_steps++;
    }
    trace->more = trace->more || rows->more;
    trace->parts = xrealloc(trace->parts, (trace->n_parts + 1) * sizeof(Envelope *));
    trace->parts[trace->n_parts++] = *said;
    *said = NULL;
}

static Error *node_ask(Trace *trace, const char *node)
{
    Mail__TraceRead read = MAIL__TRACE_READ__INIT;
    Envelope envelope = MAIL__ENVELOPE__INIT;
    Call call;

    read.node = (char *)(uintptr_t)node;
    read.wanted = (char *)(uintptr_t)trace->wanted;
    read.joined = trace->joined;
    read.n_joined = trace->n_joined;
    envelope.body_case = MAIL__ENVELOPE__BODY_TRACE_READ;
    envelope.trace_read = &read;
    Error *err = call_begin(trace->cli, &envelope, false, &call);
    while (!err && !call.ended) {
        DEFER(envelope_free) Envelope *said = NULL;
        err = call_next(&call, &said);
        if (!err && said && said->body_case == MAIL__ENVELOPE__BODY_TRACE_ROWS)
            part_take(trace, node, &said);
    }
    return err;
}

static void away_add(Trace *trace, const char *node, const char *why)
{
    json_t *item = json_object();

    json_put_text(item, "node", node);
    json_put_text(item, "why", why);
    json_array_append_new(trace->away, item);
    trace->n_away++;
}

/* What is wrong with the question is wrong everywhere, and without the controller nobody can be asked; a node that does not
 * answer leaves a hole that is named. */
static Error *node_look(Trace *trace, const Mail__NodeStatus *node)
{
    if (node->state != MAIL__NODE_STATE__ONLINE) {
        DEFER(xfree)
        char *why = node->has_seen_ms ? xasprintf("%s, last heard of %s ago", node_state_name(node->state),
                                                  age_text(node->seen_ms).text)
                                      : xstrdup(node_state_name(node->state));
        away_add(trace, node->name, why);
        return NULL;
    }
    Error *err = node_ask(trace, node->name);
    if (!err)
        trace->n_asked++;
    if (!err || err->code == ERROR_INVALID || trace->cli->exit)
        return err;
    away_add(trace, node->name, err->what);
    error_free(&err);
    return NULL;
}

/* With --node that one, whatever it does; otherwise those that have an instance. */
static Error *nodes_look(Trace *trace, const Mail__Status *status, bool named)
{
    Error *err = NULL;

    steps_drop(trace);
    for (size_t i = 0; !err && i < status->n_nodes; i++)
        if (named || (status->nodes[i]->instance && *status->nodes[i]->instance))
            err = node_look(trace, status->nodes[i]);
    return err;
}

/* ---- following ---- */

static bool is_joined(const Trace *trace, const char *id)
{
    for (size_t i = 0; i < trace->n_joined; i++)
        if (strcmp(trace->joined[i], id) == 0)
            return true;
    return false;
}

/* Were there Message-IDs that no node was asked for?  More of them than fit are not followed, which is said. */
static bool ids_take(Trace *trace)
{
    bool any = false;

    for (size_t i = 0; i < trace->n_steps; i++) {
        const char *id = trace->steps[i].said->message_id;
        if (!id || !*id || is_joined(trace, id))
            continue;
        if (trace->n_joined == JOINED_MAX) {
            trace->more = true;
            break;
        }
        trace->joined[trace->n_joined++] = xstrdup(id);
        any = true;
    }
    return any;
}

static Error *follow(Trace *trace, const Mail__Status *status, bool named)
{
    Error *err = nodes_look(trace, status, named);

    for (int i = 1; !err && i < ROUNDS_MAX && ids_take(trace); i++)
        err = nodes_look(trace, status, named);
    if (!err && ids_take(trace))
        trace->more = true;
    return err;
}

/* Within one second, which is all that the logs tell, a node's own order stays. */
static int by_time(const void *one, const void *other)
{
    const Step *a = one, *b = other;

    if (a->said->time != b->said->time)
        return a->said->time < b->said->time ? -1 : 1;
    return a->index < b->index ? -1 : a->index > b->index;
}

/* ---- output ---- */

static void steps_table(const Trace *trace)
{
    static const char *const headings[] = {"TIME", "NODE", "STEP", "PROGRAM", "QUEUE-ID", "TEXT"};
    Table *table = table_new(trace->cli->out, headings, sizeof headings / sizeof *headings);

    for (size_t i = 0; i < trace->n_steps; i++) {
        const Mail__TraceStep *said = trace->steps[i].said;
        table_cell(table, time_text(said->time).text);
        table_cell(table, trace->steps[i].node);
        table_cell(table, said->what);
        table_cell(table, said->program);
        table_cell(table, said->queue_id);
        table_cell(table, said->text);
        table_row(table);
    }
    table_end(&table);
}

static void steps_document(const Trace *trace)
{
    json_t *document = json_object(), *items = json_array();

    for (size_t i = 0; i < trace->n_steps; i++) {
        const Mail__TraceStep *said = trace->steps[i].said;
        json_t *item = json_object();
        json_put_number(item, "time", said->time);
        json_put_text(item, "node", trace->steps[i].node);
        json_put_text(item, "step", said->what);
        json_put_text(item, "program", said->program);
        json_put_text(item, "queue_id", said->queue_id);
        json_put_text(item, "text", said->text);
        json_put_text(item, "message_id", said->message_id);
        json_array_append_new(items, item);
    }
    json_put_number(document, "version", 1);
    json_object_set_new(document, "items", items);
    json_object_set(document, "away", trace->away);
    json_object_set_new(document, "more", json_boolean(trace->more));
    print_document(trace->cli->out, trace->cli->form, &document);
}

static void away_say(const Trace *trace)
{
    json_t *item;
    size_t i;

    json_array_foreach(trace->away, i, item)
    {
        fputs("not asked: ", stderr);
        print_text(stderr, json_string_value(json_object_get(item, "node")));
        fputs(": ", stderr);
        print_text(stderr, json_string_value(json_object_get(item, "why")));
        fputc('\n', stderr);
    }
}

static Error *verdict(const Trace *trace, int *ret_exit)
{
    if (!trace->n_asked)
        return error_new(ERROR_UNAVAILABLE, "no node with an instance can be asked now");
    if (!trace->n_steps && trace->n_away)
        return error_new(ERROR_UNAVAILABLE, "no line about it on the nodes that answered, and %zu did not",
                         trace->n_away);
    if (!trace->n_steps)
        return error_hint(error_new(ERROR_NOT_FOUND, "no line of the logs is about it"),
                          "an address is the whole of it, as in the envelope; a Message-ID is written with its '@'");
    *ret_exit = trace->n_away ? EXIT_NOT_ALL : 0;
    return NULL;
}

Error *run_trace(Cli *cli, const Line *line, int *ret_exit)
{
    DEFER(trace_done) Trace trace = {.cli = cli, .wanted = line->key};
    DEFER(envelope_free) Envelope *status = NULL;

    if (cli->form == OUTPUT_NAME)
        return cli_usage(cli, "steps have no names");
    Error *err = status_get(cli, line->given[FLAG_NODE], &status);
    if (!err)
        err = follow(&trace, status->status, line->given[FLAG_NODE]);
    if (err)
        return err;
    if (trace.n_steps)
        qsort(trace.steps, trace.n_steps, sizeof *trace.steps, by_time);
    away_say(&trace);
    err = verdict(&trace, ret_exit);
    if (err)
        return err;
    if (cli->form == OUTPUT_TABLE)
        steps_table(&trace);
    else
        steps_document(&trace);
    if (trace.more)
        fputs("there is more: ask for one queue id or Message-ID\n", stderr);
    return NULL;
}
