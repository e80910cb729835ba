/* status and events: what is, and what happened */
#include "status.h"

#include "base/alloc.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { EXIT_SEEN = 1, FACT_OLD_MS = 60 * 1000 };

const char *node_state_name(Mail__NodeState state)
{
    switch (state) {
    case MAIL__NODE_STATE__NEVER_JOINED:
        return "never-joined";
    case MAIL__NODE_STATE__ONLINE:
        return "online";
    case MAIL__NODE_STATE__OFFLINE:
        return "offline";
    case MAIL__NODE_STATE__NODE_FORKED:
        return "forked";
    case MAIL__NODE_STATE__REVOKED:
        return "revoked";
    case MAIL__NODE_STATE__CLONED:
        return "cloned";
    default:
        return "unknown";
    }
}

const char *fact_state_name(Mail__FactState state)
{
    switch (state) {
    case MAIL__FACT_STATE__GOOD:
        return "good";
    case MAIL__FACT_STATE__DEGRADED:
        return "degraded";
    case MAIL__FACT_STATE__BAD:
        return "bad";
    case MAIL__FACT_STATE__UNKNOWN:
    default:
        return "unknown";
    }
}

static const char *force_word(Mail__ForceState state)
{
    switch (state) {
    case MAIL__FORCE_STATE__PENDING:
        return "pending";
    case MAIL__FORCE_STATE__IN_FORCE:
        return "in-force";
    case MAIL__FORCE_STATE__HELD:
        return "held";
    case MAIL__FORCE_STATE__NODE_REFUSED:
    default:
        return "refused";
    }
}

bool node_is_well(const Mail__NodeStatus *node)
{
    if (node->state == MAIL__NODE_STATE__REVOKED)
        return !node->instance || !*node->instance;
    for (size_t i = 0; i < node->n_facts; i++)
        if (node->facts[i]->state == MAIL__FACT_STATE__BAD || node->facts[i]->state == MAIL__FACT_STATE__DEGRADED)
            return false;
    return node->state == MAIL__NODE_STATE__ONLINE && node->force == MAIL__FORCE_STATE__IN_FORCE;
}

static json_t *fact_json(const Mail__Fact *fact)
{
    json_t *item = json_object();

    json_put_text(item, "name", fact->name);
    json_put_text(item, "state", fact_state_name(fact->state));
    json_put_text(item, "text", fact->text);
    json_put_number(item, "age_ms", fact->age_ms);
    if (fact->has_since_ms)
        json_put_number(item, "since_ms", fact->since_ms);
    return item;
}

void node_put(json_t *object, const Mail__NodeStatus *node)
{
    json_t *facts = json_array();

    json_put_text(object, "name", node->name);
    json_put_text(object, "state", node_state_name(node->state));
    json_put_text(object, "force", force_word(node->force));
    json_put_number(object, "revision", node->revision);
    json_put_number(object, "applied_revision", node->applied_revision);
    json_put_number(object, "config_revision", node->config_revision);
    if (node->has_seen_ms)
        json_put_number(object, "seen_ms", node->seen_ms);
    json_put_text(object, "instance", node->instance);
    json_put_text(object, "release", node->release);
    json_put_text(object, "why", node->why);
    for (size_t i = 0; i < node->n_facts; i++)
        json_array_append_new(facts, fact_json(node->facts[i]));
    json_object_set_new(object, "facts", facts);
}

static void fact_row(Table *table, const char *name, const Mail__Fact *fact)
{
    bool old = fact->age_ms > FACT_OLD_MS;

    table_cell(table, name);
    table_cell(table, old ? "old" : fact_state_name(fact->state));
    table_cell(table, fact->has_since_ms ? age_text(fact->since_ms).text : NULL);
    table_cell(table, age_text(fact->age_ms).text);
    table_cell(table, fact->text);
    table_row(table);
}

void facts_table(FILE *out, const Mail__NodeStatus *node)
{
    static const char *const headings[] = {"FACT", "STATE", "SINCE", "AGE", "TEXT"};
    Table *table = table_new(out, headings, 5);

    for (size_t i = 0; i < node->n_facts; i++)
        fact_row(table, node->facts[i]->name, node->facts[i]);
    table_end(&table);
}

void fact_table(FILE *out, const Mail__Status *status, const char *fact,
                bool (*wanted)(void *context, const Mail__NodeStatus *node), void *context)
{
    static const char *const headings[] = {"NODE", "STATE", "SINCE", "AGE", "TEXT"};
    Table *table = table_new(out, headings, 5);

    for (size_t i = 0; i < status->n_nodes; i++) {
        const Mail__NodeStatus *node = status->nodes[i];
        for (size_t k = 0; wanted(context, node) && k < node->n_facts; k++)
            if (node->facts[k]->name && strcmp(node->facts[k]->name, fact) == 0)
                fact_row(table, node->name, node->facts[k]);
    }
    table_end(&table);
}

void node_trouble_print(FILE *out, const Mail__NodeStatus *node)
{
    if (node->why && *node->why) {
        print_text(out, node->name ? node->name : "?");
        fputs(": ", out);
        print_text(out, node->why);
        fputc('\n', out);
    }
    if (node->state == MAIL__NODE_STATE__NODE_FORKED) {
        fprintf(out, "hint: to give up what only the node knows: mailctl node resync ");
        print_text(out, node->name ? node->name : "NODE");
        fputs(" --force\n", out);
    }
}

Error *status_get(Cli *cli, const char *node, Envelope **ret_envelope)
{
    Mail__GetStatus wish = MAIL__GET_STATUS__INIT;
    Envelope envelope = MAIL__ENVELOPE__INIT;
    DEFER(envelope_free) Envelope *said = NULL;

    wish.node = (char *)node;
    envelope.body_case = MAIL__ENVELOPE__BODY_GET_STATUS;
    envelope.get_status = &wish;
    Error *err = call_one(cli, &envelope, false, &said);
    if (err)
        return err;
    if (!said || said->body_case != MAIL__ENVELOPE__BODY_STATUS)
        return error_new(ERROR_DAMAGED, "the controller answered something else");
    *ret_envelope = said;
    said = NULL;
    return NULL;
}

/* ---- status ---- */

static void settings_put(json_t *document, const Settings *settings)
{
    json_t *all = json_object();

    for (size_t i = 0; i < N_SETTINGS; i++) {
        if (!settings->of[i].value)
            continue;
        json_t *one = json_object();
        json_put_text(one, "value", settings->of[i].value);
        json_put_text(one, "from", settings->of[i].from);
        json_object_set_new(all, setting_name((SettingId)i), one);
    }
    json_object_set_new(document, "settings", all);
}

static void status_data(Cli *cli, const Mail__Status *status)
{
    json_t *document = json_object(), *nodes = json_array(), *alarms = json_array();

    json_put_number(document, "version", 1);
    json_put_number(document, "revision", status->revision);
    json_put_number(document, "objects", status->n_objects);
    json_put_text(document, "release", status->release);
    json_put_text(document, "who", status->who);
    json_put_text(document, "role", status->role);
    for (size_t i = 0; i < status->n_alarms; i++)
        json_array_append_new(alarms, json_text(status->alarms[i]));
    json_object_set_new(document, "alarms", alarms);
    for (size_t i = 0; i < status->n_nodes; i++) {
        json_t *node = json_object();
        node_put(node, status->nodes[i]);
        json_array_append_new(nodes, node);
    }
    json_object_set_new(document, "nodes", nodes);
    if (line_has(cli->line, FLAG_VERBOSE))
        settings_put(document, &cli->settings);
    print_document(cli->out, cli->form, &document);
}

static void number_cell(Table *table, uint64_t number)
{
    char text[24];

    snprintf(text, sizeof text, "%" PRIu64, number);
    table_cell(table, text);
}

static void node_row(Table *table, const Mail__NodeStatus *node)
{
    table_cell(table, node->name);
    table_cell(table, node_state_name(node->state));
    table_cell(table, force_word(node->force));
    number_cell(table, node->revision);
    number_cell(table, node->applied_revision);
    number_cell(table, node->config_revision);
    table_cell(table, node->has_seen_ms ? age_text(node->seen_ms).text : "never");
    table_cell(table, node->instance);
    table_cell(table, node->release);
    table_row(table);
}

/* Facts that are not good, of nodes that told some. */
static void facts_to_see(FILE *out, const Mail__NodeStatus *node)
{
    for (size_t i = 0; i < node->n_facts; i++) {
        const Mail__Fact *fact = node->facts[i];
        bool old = fact->age_ms > FACT_OLD_MS;
        if (fact->state == MAIL__FACT_STATE__GOOD && !old)
            continue;
        DEFER(xfree)
        char *line = xasprintf("%s: %s %s (%s ago)%s%s", node->name ? node->name : "?", fact->name ? fact->name : "?",
                               old ? "old" : fact_state_name(fact->state), age_text(fact->age_ms).text,
                               fact->text ? ": " : "", fact->text ? fact->text : "");
        print_text(out, line);
        fputc('\n', out);
    }
}

static void status_table(Cli *cli, const Mail__Status *status)
{
    static const char *const headings[] = {"NODE",   "STATE", "FORCE",    "REVISION", "APPLIED",
                                           "CONFIG", "SEEN",  "INSTANCE", "RELEASE"};
    Table *table = table_new(cli->out, headings, 9);
    DEFER(xfree)
    char *who = escaped(status->who ? status->who : "?"), *role = escaped(status->role ? status->role : "?");

    fprintf(cli->out, "revision %" PRIu64 ", %" PRIu64 " objects; you are %s (%s)\n", status->revision,
            status->n_objects, who, role);
    for (size_t i = 0; i < status->n_nodes; i++)
        node_row(table, status->nodes[i]);
    table_end(&table);
    for (size_t i = 0; i < status->n_nodes; i++) {
        node_trouble_print(cli->out, status->nodes[i]);
        facts_to_see(cli->out, status->nodes[i]);
    }
    for (size_t i = 0; i < status->n_alarms; i++) {
        fputs("alarm: ", cli->out);
        print_text(cli->out, status->alarms[i]);
        fputc('\n', cli->out);
    }
    for (size_t i = 0; line_has(cli->line, FLAG_VERBOSE) && i < N_SETTINGS; i++) {
        const Setting *setting = &cli->settings.of[i];
        if (setting->value)
            fprintf(cli->out, "%s: %s (%s)\n", setting_name((SettingId)i), setting->value, setting->from);
    }
}

Error *run_status(Cli *cli, const Line *line, int *ret_exit)
{
    DEFER(envelope_free) Envelope *said = NULL;
    Error *err = status_get(cli, line->given[FLAG_NODE], &said);
    if (err || !said)
        return err;

    const Mail__Status *status = said->status;
    *ret_exit = status->n_alarms ? EXIT_SEEN : 0;
    for (size_t i = 0; i < status->n_nodes; i++)
        if (!node_is_well(status->nodes[i]))
            *ret_exit = EXIT_SEEN;
    if (cli->form == OUTPUT_JSON || cli->form == OUTPUT_YAML)
        status_data(cli, status);
    else if (cli->form == OUTPUT_TABLE)
        status_table(cli, status);
    for (size_t i = 0; cli->form == OUTPUT_NAME && i < status->n_nodes; i++) {
        print_text(cli->out, status->nodes[i]->name ? status->nodes[i]->name : "?");
        fputc('\n', cli->out);
    }
    return NULL;
}

/* ---- events ---- */

static void event_line(Cli *cli, const Mail__EventInfo *event)
{
    json_t *item = json_object();

    json_put_number(item, "number", event->number);
    json_put_number(item, "time", event->time);
    json_put_text(item, "severity", fact_state_name(event->severity));
    json_put_text(item, "node", event->node && *event->node ? event->node : NULL);
    json_put_text(item, "what", event->what);
    json_put_text(item, "text", event->text);
    print_json_line(cli->out, &item);
}

static void event_print(Cli *cli, const Mail__EventInfo *event)
{
    if (cli->form != OUTPUT_TABLE) {
        event_line(cli, event);
        return;
    }
    DEFER(xfree) char *node = escaped(event->node && *event->node ? event->node : "controller");
    DEFER(xfree) char *what = escaped(event->what ? event->what : "");
    DEFER(xfree) char *line = without_words(event->text ? event->text : "");
    DEFER(xfree) char *text = escaped(line);
    const char *severity = event->severity == MAIL__FACT_STATE__GOOD ? "" : fact_state_name(event->severity);

    fprintf(cli->out, "%s  %-8s  %s: %s%s%s\n", time_text(event->time).text, severity, node, what, *text ? ": " : "",
            text);
}

static void gap_print(Cli *cli, uint64_t gap)
{
    if (!gap)
        return;
    json_t *item = json_object();
    json_put_number(item, "gap", gap);
    if (cli->form != OUTPUT_TABLE)
        print_json_line(cli->out, &item);
    else
        fprintf(cli->out, "... %" PRIu64 " events are left out ...\n", gap);
    json_decref(item);
}

Error *run_events(Cli *cli, const Line *line, int *ret_exit)
{
    Mail__GetEvents wish = MAIL__GET_EVENTS__INIT;
    Envelope envelope = MAIL__ENVELOPE__INIT;
    uint64_t limit = 0;
    Call call;

    (void)ret_exit;
    if (line_has(line, FLAG_LIMIT)) {
        Error *err = number_parse(line->given[FLAG_LIMIT], &limit);
        if (err || limit > UINT32_MAX) {
            error_free(&err);
            return cli_usage(cli, "--limit: '%s' is no number of events", line->given[FLAG_LIMIT]);
        }
    }
    wish.has_follow = line_has(line, FLAG_FOLLOW);
    wish.follow = 1;
    wish.has_limit = limit > 0;
    wish.limit = (uint32_t)limit;
    wish.node = (char *)line->given[FLAG_NODE];
    envelope.body_case = MAIL__ENVELOPE__BODY_GET_EVENTS;
    envelope.get_events = &wish;
    Error *err = call_begin(cli, &envelope, false, &call);
    while (!err && !call.ended) {
        DEFER(envelope_free) Envelope *said = NULL;
        call.until = wish.has_follow ? clock_ms() + 1000 : MSEC_NEVER; /* quiet may last */
        err = call_next(&call, &said);
        if (err || !said || said->body_case != MAIL__ENVELOPE__BODY_EVENTS)
            continue;
        gap_print(cli, said->events->gap);
        for (size_t i = 0; i < said->events->n_events; i++)
            event_print(cli, said->events->events[i]);
        err = cli_flush(cli);
    }
    return err;
}
