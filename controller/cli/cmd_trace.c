/* trace: the way of a message over nodes (SPEC F-002).
 *
 * Each node knows what its own logs say.  What joins them is the Message-ID: nodes are asked again with those that they
 * named, until no new one comes. */
#include "trace.h"

#include "base/alloc.h"

#include <stdlib.h>
#include <string.h>

enum {
    ROUNDS_MAX = 4,
    JOINED_MAX = 50, /* at once: TRACE_JOINED_MAX of a node */
};

typedef struct Step {
    const char *node; /* of the status, which outlives it */
    size_t index;     /* as told */
    Mail__TraceStep *said;
} Step;

typedef struct Route {
    Asking asking;
    char *joined[JOINED_MAX]; /* Message-IDs that nodes named */
    size_t n_joined;
    Step *steps;
    size_t n_steps, room;
} Route;

static void route_done(Route *route)
{
    asking_done(&route->asking);
    free(route->steps);
    for (size_t i = 0; i < route->n_joined; i++)
        free(route->joined[i]);
}

static void steps_take(void *context, const char *node, const Mail__TraceRows *rows)
{
    Route *route = context;

    for (size_t i = 0; i < rows->n_steps; i++) {
        if (route->n_steps == route->room) {
            route->room = route->room ? 2 * route->room : 64;
            route->steps = xrealloc(route->steps, route->room * sizeof *route->steps);
        }
        route->steps[route->n_steps] = (Step){node, route->n_steps, rows->steps[i]};
        route->n_steps++;
    }
}

/* ---- following ---- */

static bool is_joined(const Route *route, const char *id)
{
    for (size_t i = 0; i < route->n_joined; i++)
        if (strcmp(route->joined[i], id) == 0)
            return true;
    return false;
}

/* Were there Message-IDs that no node was asked for?  More of them than fit are not followed, which is said. */
static bool ids_take(Route *route)
{
    bool any = false;

    for (size_t i = 0; i < route->n_steps; i++) {
        const char *id = route->steps[i].said->message_id;
        if (!id || !*id || is_joined(route, id))
            continue;
        if (route->n_joined == JOINED_MAX) {
            route->asking.more = true;
            break;
        }
        route->joined[route->n_joined++] = xstrdup(id);
        any = true;
    }
    return any;
}

static Error *nodes_look(Route *route, const Mail__Status *status, bool named)
{
    route->n_steps = 0;
    route->asking.read.joined = route->joined;
    route->asking.read.n_joined = route->n_joined;
    return asking_nodes(&route->asking, status, named);
}

static Error *follow(Route *route, const Mail__Status *status, bool named)
{
    Error *err = nodes_look(route, status, named);

    for (int i = 1; !err && i < ROUNDS_MAX && ids_take(route); i++)
        err = nodes_look(route, status, named);
    if (!err && ids_take(route))
        route->asking.more = true;
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

static void steps_table(const Route *route)
{
    static const char *const headings[] = {"TIME", "NODE", "STEP", "PROGRAM", "QUEUE-ID", "TEXT"};
    Table *table = table_new(route->asking.cli->out, headings, sizeof headings / sizeof *headings);

    for (size_t i = 0; i < route->n_steps; i++) {
        const Mail__TraceStep *said = route->steps[i].said;
        table_cell(table, time_text(said->time).text);
        table_cell(table, route->steps[i].node);
        table_cell(table, said->what);
        table_cell(table, said->program);
        table_cell(table, said->queue_id);
        table_cell(table, said->text);
        table_row(table);
    }
    table_end(&table);
}

static void steps_document(const Route *route)
{
    json_t *document = json_object(), *items = json_array();

    for (size_t i = 0; i < route->n_steps; i++) {
        const Mail__TraceStep *said = route->steps[i].said;
        json_t *item = json_object();
        json_put_number(item, "time", said->time);
        json_put_text(item, "node", route->steps[i].node);
        json_put_text(item, "step", said->what);
        json_put_text(item, "program", said->program);
        json_put_text(item, "queue_id", said->queue_id);
        json_put_text(item, "text", said->text);
        json_put_text(item, "message_id", said->message_id);
        json_array_append_new(items, item);
    }
    json_put_number(document, "version", 1);
    json_object_set_new(document, "items", items);
    json_object_set(document, "away", route->asking.away);
    json_object_set_new(document, "more", json_boolean(route->asking.more));
    print_document(route->asking.cli->out, route->asking.cli->form, &document);
}

static Error *route_run(Cli *cli, const Line *line, int *ret_exit)
{
    DEFER(route_done) Route route = {.asking = {.cli = cli, .read = MAIL__TRACE_READ__INIT, .take = steps_take}};
    DEFER(envelope_free) Envelope *status = NULL;

    route.asking.context = &route;
    route.asking.read.wanted = (char *)(uintptr_t)line->key;
    Error *err = status_get(cli, line->given[FLAG_NODE], &status);
    if (!err)
        err = follow(&route, status->status, line->given[FLAG_NODE]);
    if (err)
        return err;
    if (route.n_steps)
        qsort(route.steps, route.n_steps, sizeof *route.steps, by_time);
    asking_away_say(&route.asking);
    err = asking_verdict(&route.asking, route.n_steps, ret_exit);
    if (!err && !route.n_steps)
        err = error_hint(error_new(ERROR_NOT_FOUND, "no line of the logs is about it"),
                         "an address is the whole of it, as in the envelope; a Message-ID is written with its '@'");
    if (err)
        return err;
    if (cli->form == OUTPUT_TABLE)
        steps_table(&route);
    else
        steps_document(&route);
    if (route.asking.more)
        fputs("there is more: ask for one queue id or Message-ID\n", stderr);
    return NULL;
}

Error *run_trace(Cli *cli, const Line *line, int *ret_exit)
{
    if (cli->form == OUTPUT_NAME)
        return cli_usage(cli, "steps have no names");
    if (!line->key)
        return run_trace_search(cli, line, ret_exit);
    if (line->n_fields || line->given[FLAG_LIMIT])
        return cli_usage(cli, "'%s' is followed whole: fields and --limit are for from= and to=", line->key);
    return route_run(cli, line, ret_exit);
}
