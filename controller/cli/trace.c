#include "trace.h"

#include "base/alloc.h"

#include <stdlib.h>

enum { EXIT_NOT_ALL = 7 };

static void asking_drop(Asking *asking)
{
    for (size_t i = 0; i < asking->n_parts; i++)
        envelope_free(&asking->parts[i]);
    xfree(&asking->parts);
    json_decref(asking->away);
    asking->away = json_array();
    asking->n_parts = asking->n_away = asking->n_asked = 0;
    asking->more = false;
}

void asking_done(Asking *asking)
{
    asking_drop(asking);
    json_decref(asking->away);
}

static void part_take(Asking *asking, const char *node, Envelope **said)
{
    asking->more = asking->more || (*said)->trace_rows->more;
    asking->take(asking->context, node, (*said)->trace_rows);
    asking->parts = xrealloc(asking->parts, (asking->n_parts + 1) * sizeof(Envelope *));
    asking->parts[asking->n_parts++] = *said;
    *said = NULL;
}

static Error *node_ask(Asking *asking, const char *node)
{
    Envelope envelope = MAIL__ENVELOPE__INIT;
    Call call;

    asking->read.node = (char *)(uintptr_t)node;
    envelope.body_case = MAIL__ENVELOPE__BODY_TRACE_READ;
    envelope.trace_read = &asking->read;
    Error *err = call_begin(asking->cli, &envelope, false, &call);
    while (!err && !call.ended) {
        DEFER(envelope_free) Envelope *said = NULL;
        err = call_next(&call, &said);
        if (!err && said && said->body_case == MAIL__ENVELOPE__BODY_TRACE_ROWS)
            part_take(asking, node, &said);
    }
    return err;
}

static void away_add(Asking *asking, const char *node, const char *why)
{
    json_t *item = json_object();

    json_put_text(item, "node", node);
    json_put_text(item, "why", why);
    json_array_append_new(asking->away, item);
    asking->n_away++;
}

/* Without the controller nobody can be asked. */
static Error *node_look(Asking *asking, const Mail__NodeStatus *node)
{
    if (node->state != MAIL__NODE_STATE__ONLINE) {
        DEFER(xfree)
        char *why = node->has_seen_ms ? xasprintf("%s, last heard of %s ago", node_state_name(node->state),
                                                  age_text(node->seen_ms).text)
                                      : xstrdup(node_state_name(node->state));
        away_add(asking, node->name, why);
        return NULL;
    }
    Error *err = node_ask(asking, node->name);
    if (!err)
        asking->n_asked++;
    if (!err || err->code == ERROR_INVALID || asking->cli->exit)
        return err;
    away_add(asking, node->name, err->what);
    error_free(&err);
    return NULL;
}

Error *asking_nodes(Asking *asking, const Mail__Status *status, bool named)
{
    Error *err = NULL;

    asking_drop(asking);
    for (size_t i = 0; !err && i < status->n_nodes; i++)
        if (named || (status->nodes[i]->instance && *status->nodes[i]->instance))
            err = node_look(asking, status->nodes[i]);
    return err;
}

void asking_away_say(const Asking *asking)
{
    json_t *item;
    size_t i;

    json_array_foreach(asking->away, i, item)
    {
        fputs("not asked: ", stderr);
        print_text(stderr, json_string_value(json_object_get(item, "node")));
        fputs(": ", stderr);
        print_text(stderr, json_string_value(json_object_get(item, "why")));
        fputc('\n', stderr);
    }
}

Error *asking_verdict(const Asking *asking, bool any, int *ret_exit)
{
    if (!asking->n_asked)
        return error_new(ERROR_UNAVAILABLE, "no node with an instance can be asked now");
    if (!any && asking->n_away)
        return error_new(ERROR_UNAVAILABLE, "no line about it on the nodes that answered, and %zu did not",
                         asking->n_away);
    *ret_exit = asking->n_away ? EXIT_NOT_ALL : 0;
    return NULL;
}
