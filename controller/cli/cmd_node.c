/* Nodes: how a machine comes in (its token), and out; what one reports */
#include "objects.h"
#include "outcome.h"
#include "status.h"

#include "base/alloc.h"
#include "model/text.h"
#include "model/validate.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* ---- add, replace ---- */

/* The token alone is stdout, so that it can go into a file; what it is good for is said beside it. */
static void token_print(Cli *cli, const Mail__Token *token)
{
    if (cli->form == OUTPUT_JSON || cli->form == OUTPUT_YAML) {
        json_t *document = json_object();
        json_put_number(document, "version", 1);
        json_put_number(document, "revision", token->revision);
        json_put_text(document, "token", token->text);
        json_put_number(document, "expires_s", token->expires_s);
        print_document(cli->out, cli->form, &document);
        return;
    }
    DEFER(xfree) char *name = escaped(cli->line->key);
    print_text(cli->out, token->text ? token->text : "");
    fputc('\n', cli->out);
    fprintf(stderr, "node %s: on the machine, within %s and once: mail-agent join FILE\n", name,
            age_text(token->expires_s * 1000).text);
}

Error *run_node_add(Cli *cli, const Line *line, int *ret_exit)
{
    Mail__NodeToken wish = MAIL__NODE_TOKEN__INIT;
    Mail__Manner manner;
    Envelope envelope = MAIL__ENVELOPE__INIT;
    DEFER(envelope_free) Envelope *said = NULL;
    DEFER(xfree) char *subject = xasprintf("node %s", line->key);
    bool replace = strcmp(line->command->verb, "replace") == 0;

    Error *err = manner_of(cli, &manner);
    if (!err && replace) {
        DEFER(xfree)
        char *what =
            xasprintf("%s: the machine that has this place now is heard no more when the new one has joined", subject);
        err = cli_confirm(cli, what);
    }
    if (err)
        return err;
    Mail__FieldEdit **fields = xcalloc(line->n_fields + 1, sizeof(Mail__FieldEdit *));
    for (size_t i = 0; i < line->n_fields; i++)
        fields[i] = &line->fields[i];
    wish.node = (char *)line->key;
    wish.has_replace = replace;
    wish.replace = 1;
    wish.manner = &manner;
    wish.fields = fields;
    wish.n_fields = line->n_fields;
    envelope.body_case = MAIL__ENVELOPE__BODY_NODE_TOKEN;
    envelope.node_token = &wish;
    Call call;
    err = call_begin(cli, &envelope, !manner.has_dry_run, &call);
    free(fields);
    if (err)
        return err;
    if (manner.has_dry_run)
        return outcome_take(&call, true, subject, "added", ret_exit);
    err = call_next(&call, &said);
    if (err)
        return err;
    if (!said || said->body_case != MAIL__ENVELOPE__BODY_TOKEN)
        return error_new(ERROR_DAMAGED, "the controller answered something else");
    token_print(cli, said->token);
    return NULL;
}

/* ---- revoke, resync ---- */

/* The newest of what is told while it is waited for. */
static Error *outcome_last(Call *call, Envelope **ret_said)
{
    for (;;) {
        Envelope *said = NULL;
        Error *err = call_next(call, &said);
        if (err || !said)
            return err;
        envelope_free(ret_said);
        *ret_said = said;
        if (said->body_case != MAIL__ENVELOPE__BODY_OUTCOME)
            return error_new(ERROR_DAMAGED, "the controller answered something else");
    }
}

Error *run_node_revoke(Cli *cli, const Line *line, int *ret_exit)
{
    Mail__NodeRevoke wish = MAIL__NODE_REVOKE__INIT;
    Envelope envelope = MAIL__ENVELOPE__INIT;
    DEFER(envelope_free) Envelope *said = NULL;
    DEFER(xfree) char *what = xasprintf("node %s: %s", line->key, line->command->loses);
    Call call;

    Error *err = cli_confirm(cli, what);
    if (err)
        return err;
    wish.node = (char *)line->key;
    envelope.body_case = MAIL__ENVELOPE__BODY_NODE_REVOKE;
    envelope.node_revoke = &wish;
    err = call_begin(cli, &envelope, true, &call);
    if (!err)
        err = outcome_last(&call, &said);
    if (err || !said)
        return err;
    *ret_exit = outcome_exit(said->outcome);
    if (cli->form == OUTPUT_JSON || cli->form == OUTPUT_YAML) {
        outcome_print_data(cli, said->outcome);
        return NULL;
    }
    DEFER(xfree) char *name = escaped(line->key);
    DEFER(xfree) char *text = outcome_text(said->outcome);
    fprintf(cli->out, cli->form == OUTPUT_NAME ? "%s\n" : "node %s revoked: it is heard no more\n", name);
    if (cli->form != OUTPUT_NAME && said->outcome->revision) {
        fputs("its key to directories counts no more: ", cli->out);
        print_text(cli->out, text);
        fputc('\n', cli->out);
    }
    return NULL;
}

Error *run_node_resync(Cli *cli, const Line *line, int *ret_exit)
{
    Mail__NodeResync wish = MAIL__NODE_RESYNC__INIT;
    Envelope envelope = MAIL__ENVELOPE__INIT;
    DEFER(envelope_free) Envelope *said = NULL;
    Error *err = NULL;

    (void)ret_exit;
    if (line_has(line, FLAG_FORCE)) { /* without it nothing is lost: a fork is then refused */
        DEFER(xfree) char *what = xasprintf("node %s: %s", line->key, line->command->loses);
        err = cli_confirm(cli, what);
    }
    if (err)
        return err;
    wish.node = (char *)line->key;
    wish.has_force = line_has(line, FLAG_FORCE);
    wish.force = 1;
    envelope.body_case = MAIL__ENVELOPE__BODY_NODE_RESYNC;
    envelope.node_resync = &wish;
    err = call_one(cli, &envelope, true, &said);
    if (err)
        return err;
    if (cli->form == OUTPUT_JSON || cli->form == OUTPUT_YAML) {
        json_t *document = json_pack("{s:i}", "version", 1);
        print_document(cli->out, cli->form, &document);
        return NULL;
    }
    DEFER(xfree) char *name = escaped(line->key);
    fprintf(cli->out, cli->form == OUTPUT_NAME ? "%s\n" : "node %s: everything is sent to it again\n", name);
    return NULL;
}

/* ---- show: what is stated, and what is ---- */

static void begin_nothing(void *context)
{
    (void)context;
}

static Error *keep(void *context, const Object *object)
{
    Object **kept = context;

    object_free(kept);
    if (object->body_case == MAIL__OBJECT__BODY_NODE)
        *kept = object_clone(object);
    return NULL;
}

static void show_data(Cli *cli, const Object *object, const Mail__NodeStatus *node)
{
    json_t *item = json_object_of(object);

    node_put(item, node);
    json_t *document = json_pack("{s:i,s:[o]}", "version", 1, "items", item);
    print_document(cli->out, cli->form, &document);
}

static void show_people(Cli *cli, const Object *object, const Mail__NodeStatus *node)
{
    DEFER(buf_done) Buf out = {0};
    const Mail__Node *stated = object->node;
    const char *description = stated ? stated->description : NULL;

    buf_printf(&out, "node %s", node->name ? node->name : "?");
    if (description && *description)
        buf_printf(&out, " (%s)", description);
    buf_printf(&out, ": %s, last heard of %s%s", node_state_name(node->state),
               node->has_seen_ms ? age_text(node->seen_ms).text : "never", node->has_seen_ms ? " ago" : "");
    print_text(cli->out, buf_text(&out));
    buf_clear(&out);
    buf_printf(&out, "revision %" PRIu64 ", applied %" PRIu64 ", configuration %" PRIu64, node->revision,
               node->applied_revision, node->config_revision);
    if (node->instance && *node->instance)
        buf_printf(&out, "; runs instance %s", node->instance);
    if (node->release && *node->release)
        buf_printf(&out, "; release %s", node->release);
    fputc('\n', cli->out);
    print_text(cli->out, buf_text(&out));
    fputc('\n', cli->out);
    node_trouble_print(cli->out, node);
    facts_table(cli->out, node);
}

Error *run_node_show(Cli *cli, const Line *line, int *ret_exit)
{
    Mail__List list = MAIL__LIST__INIT;
    DEFER(object_free) Object *object = NULL;
    DEFER(envelope_free) Envelope *said = NULL;
    DEFER(xfree) char *name = NULL;

    (void)ret_exit;
    Error *err = name_normalise(MAIL__OBJECT__BODY_NODE, line->key, &name);
    if (err)
        return err;
    list.kind = (char *)"node";
    list.name = name;
    err = objects_each(cli, &list, begin_nothing, keep, &object);
    if (!err && !object)
        err = error_new(ERROR_NOT_FOUND, "node %s does not exist", name);
    if (!err)
        err = status_get(cli, name, &said);
    if (err || !object || !said)
        return err;
    if (!said->status->n_nodes)
        return error_new(ERROR_NOT_FOUND, "node %s does not exist", name);
    if (cli->form == OUTPUT_NAME)
        fprintf(cli->out, "%s\n", name);
    else if (cli->form == OUTPUT_TABLE)
        show_people(cli, object, said->status->nodes[0]);
    else
        show_data(cli, object, said->status->nodes[0]);
    return NULL;
}
