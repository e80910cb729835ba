#include "outcome.h"

#include "base/alloc.h"
#include "model/text.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { EXIT_SEEN = 1, EXIT_REFUSED = 5, EXIT_PENDING = 7, EXIT_LOST = 9, WAIT_DEFAULT_MS = 30 * 1000, NAMED_MAX = 5 };

Error *manner_of(Cli *cli, Mail__Manner *ret_manner)
{
    const Line *line = cli->line;
    uint64_t wait_ms = WAIT_DEFAULT_MS;

    mail__manner__init(ret_manner);
    if (line_has(line, FLAG_TIMEOUT)) {
        Error *err = span_parse(line->given[FLAG_TIMEOUT], &wait_ms);
        if (err) {
            cli->exit = 2;
            return error_in(err, "--timeout");
        }
    }
    *ret_manner = (Mail__Manner){
        .base = ret_manner->base,
        .has_dry_run = line_has(line, FLAG_DRY_RUN),
        .dry_run = 1,
        .has_lenient = line_has(line, FLAG_MAY_EXIST) || line_has(line, FLAG_IF_EXISTS),
        .lenient = 1,
        .has_no_wait = line_has(line, FLAG_NO_WAIT),
        .no_wait = 1,
        .has_wait_ms = 1,
        .wait_ms = wait_ms,
        .message = (char *)line->given[FLAG_MESSAGE],
        .has_purge = line_has(line, FLAG_PURGE),
        .purge = 1,
        .has_yes = line_has(line, FLAG_YES) || cli->confirmed,
        .yes = 1,
        .has_force = line_has(line, FLAG_FORCE),
        .force = 1,
    };
    return NULL;
}

/* ---- differences ---- */

static Error *side(const ProtobufCBinaryData *bytes, protobuf_c_boolean there, Object **ret_object)
{
    return there ? object_unpack(bytes->data, bytes->len, ret_object) : NULL;
}

static void difference_json(const Object *before, const Object *after, json_t *array)
{
    ObjectRef ref = object_ref(after ? after : before);
    json_t *item = json_object();

    json_put_text(item, "op", !before ? "+" : !after ? "-" : "~");
    json_put_text(item, "kind", kind_info(ref.kind)->name);
    json_put_text(item, "instance", *ref.instance ? ref.instance : NULL);
    json_put_text(item, "name", *ref.name ? ref.name : NULL);
    if (before)
        json_object_set_new(item, "before", json_object_of(before));
    if (after)
        json_object_set_new(item, "after", json_object_of(after));
    json_array_append_new(array, item);
}

Error *differences_print(Cli *cli, FILE *out, Mail__Difference *const *differences, size_t n, json_t *array)
{
    for (size_t i = 0; i < n; i++) {
        DEFER(object_free) Object *before = NULL;
        DEFER(object_free) Object *after = NULL;
        Error *err = side(&differences[i]->before, differences[i]->has_before, &before);
        if (!err)
            err = side(&differences[i]->after, differences[i]->has_after, &after);
        if (err)
            return err;
        if (!before && !after)
            continue;
        if (array) {
            difference_json(before, after, array);
            continue;
        }
        if (cli->form != OUTPUT_NAME) {
            text_write_diff(out, before, after);
            continue;
        }
        ObjectRef ref = object_ref(after ? after : before);
        ObjectKey title = object_title(&ref);
        print_text(out, title.text);
        fputc('\n', out);
    }
    return NULL;
}

/* ---- words ---- */

const char *force_name(Mail__ForceState state)
{
    switch (state) {
    case MAIL__FORCE_STATE__PENDING:
        return "pending";
    case MAIL__FORCE_STATE__IN_FORCE:
        return "in_force";
    case MAIL__FORCE_STATE__HELD:
        return "held";
    case MAIL__FORCE_STATE__NODE_REFUSED:
    default:
        return "refused";
    }
}

int outcome_exit(const Mail__Outcome *outcome)
{
    int code = 0;

    if (outcome->reverted_by)
        return EXIT_REFUSED;
    for (size_t i = 0; i < outcome->n_nodes; i++)
        if (outcome->nodes[i]->state != MAIL__FORCE_STATE__IN_FORCE)
            code = EXIT_PENDING;
    return code;
}

static void in_force_text(const Mail__Outcome *outcome, Buf *out)
{
    size_t n = 0;
    uint64_t slowest_ms = 0;

    for (size_t i = 0; i < outcome->n_nodes; i++)
        if (outcome->nodes[i]->state == MAIL__FORCE_STATE__IN_FORCE) {
            n++;
            if (outcome->nodes[i]->took_ms > slowest_ms)
                slowest_ms = outcome->nodes[i]->took_ms;
        }
    if (!n)
        return;
    buf_append_text(out, n == outcome->n_nodes ? ", in force on " : "; in force on ");
    if (n > NAMED_MAX) {
        buf_printf(out, "%zu nodes (%s)", n, age_text(slowest_ms).text);
        return;
    }
    const char *between = "";
    for (size_t i = 0; i < outcome->n_nodes; i++) {
        const Mail__NodeOutcome *node = outcome->nodes[i];
        if (node->state != MAIL__FORCE_STATE__IN_FORCE)
            continue;
        buf_printf(out, "%s%s (%s)", between, node->node ? node->node : "?", age_text(node->took_ms).text);
        between = ", ";
    }
}

static void node_text(const Mail__NodeOutcome *node, Buf *out)
{
    const char *name = node->node ? node->node : "?", *why = node->why && *node->why ? node->why : NULL;

    switch (node->state) {
    case MAIL__FORCE_STATE__HELD:
        buf_printf(out, "; %s keeps its last good configuration%s%s", name, why ? ": " : "", why ? why : "");
        return;
    case MAIL__FORCE_STATE__NODE_REFUSED:
        buf_printf(out, "; %s refused it%s%s", name, why ? ": " : "", why ? why : "");
        return;
    case MAIL__FORCE_STATE__PENDING:
        if (why && strncmp(why, "needs ", 6) == 0)
            buf_printf(out, "; pending: %s %s", name, why);
        else
            buf_printf(out, "; %s %s, will follow", name, why ? why : "has not confirmed it yet");
        return;
    case MAIL__FORCE_STATE__IN_FORCE:
    default:
        return;
    }
}

char *outcome_text(const Mail__Outcome *outcome)
{
    DEFER(buf_done) Buf out = {0};
    size_t shown = 0, pending = 0;

    buf_printf(&out, "revision %" PRIu64, outcome->revision);
    in_force_text(outcome, &out);
    for (size_t i = 0; i < outcome->n_nodes; i++) {
        if (outcome->nodes[i]->state == MAIL__FORCE_STATE__IN_FORCE)
            continue;
        pending++;
        if (shown++ < NAMED_MAX)
            node_text(outcome->nodes[i], &out);
    }
    if (pending > NAMED_MAX)
        buf_printf(&out, "; and %zu nodes more", pending - NAMED_MAX);
    return xstrdup(buf_text(&out));
}

static void outcome_print_json(Cli *cli, const Mail__Outcome *outcome, json_t *differences)
{
    json_t *document = json_object(), *nodes = json_array();

    json_put_number(document, "version", 1);
    json_put_number(document, "revision", outcome->revision);
    for (size_t i = 0; i < outcome->n_nodes; i++) {
        const Mail__NodeOutcome *node = outcome->nodes[i];
        json_t *item = json_object();
        json_put_text(item, "node", node->node);
        json_put_text(item, "state", force_name(node->state));
        if (node->state == MAIL__FORCE_STATE__IN_FORCE)
            json_put_number(item, "ms", node->took_ms);
        json_put_text(item, "why", node->why);
        json_array_append_new(nodes, item);
    }
    json_object_set_new(document, "nodes", nodes);
    if (outcome->has_count)
        json_put_number(document, "count", outcome->count);
    if (outcome->reverted_by)
        json_put_number(document, "reverted_by", outcome->reverted_by);
    if (outcome->n_warnings) {
        json_t *warnings = json_array();
        for (size_t i = 0; i < outcome->n_warnings; i++)
            json_array_append_new(warnings, json_text(outcome->warnings[i]));
        json_object_set_new(document, "warnings", warnings);
    }
    if (differences)
        json_object_set(document, "differences", differences);
    print_document(cli->out, cli->form, &document);
}

void outcome_print_data(Cli *cli, const Mail__Outcome *outcome)
{
    outcome_print_json(cli, outcome, NULL);
}

static void outcome_print(Cli *cli, const Mail__Outcome *outcome, const char *subject, const char *done)
{
    DEFER(xfree) char *text = outcome_text(outcome);
    DEFER(buf_done) Buf line = {0};

    if (!subject)
        buf_append_text(&line, text);
    else if (!outcome->revision)
        buf_printf(&line, "%s: nothing to change", subject);
    else
        buf_printf(&line, "%s %s: %s", subject, outcome_exit(outcome) ? "stored" : done, text);
    print_text(cli->out, cli->form == OUTPUT_NAME && subject ? subject : buf_text(&line));
    fputc('\n', cli->out);
}

/* Taken back because a node refused: an error with the checker's words. */
static Error *refusal(const Mail__Outcome *outcome)
{
    for (size_t i = 0; i < outcome->n_nodes; i++) {
        const Mail__NodeOutcome *node = outcome->nodes[i];
        if (node->state == MAIL__FORCE_STATE__NODE_REFUSED)
            return error_new(ERROR_REFUSED, "%s refused it, taken back by revision %" PRIu64 ": %s",
                             node->node ? node->node : "a node", outcome->reverted_by,
                             node->why ? node->why : "it gave no reason");
    }
    return error_new(ERROR_REFUSED, "a node refused it, taken back by revision %" PRIu64, outcome->reverted_by);
}

static Error *finish(Cli *cli, const Mail__Outcome *outcome, json_t *differences, size_t n_differences, bool dry_run,
                     const char *subject, const char *done, int *ret_exit)
{
    bool as_data = cli->form == OUTPUT_JSON || cli->form == OUTPUT_YAML;

    for (size_t i = 0; i < outcome->n_warnings; i++) {
        fputs("warning: ", stderr);
        print_text(stderr, outcome->warnings[i]);
        fputc('\n', stderr);
    }
    if (as_data)
        outcome_print_json(cli, outcome, differences);
    else if (!dry_run && !outcome->reverted_by)
        outcome_print(cli, outcome, subject, done);
    *ret_exit = dry_run ? (n_differences ? EXIT_SEEN : 0) : outcome_exit(outcome);
    return !dry_run && outcome->reverted_by ? refusal(outcome) : NULL;
}

Error *outcome_take(Call *call, bool dry_run, const char *subject, const char *done, int *ret_exit)
{
    Cli *cli = call->cli;
    bool as_data = cli->form == OUTPUT_JSON || cli->form == OUTPUT_YAML;
    DEFER(envelope_free) Envelope *newest = NULL;
    json_t *array = dry_run && as_data ? json_array() : NULL;
    size_t n_differences = 0;
    Error *err = NULL;

    for (;;) {
        Envelope *envelope = NULL;
        err = call_next(call, &envelope);
        if (err || !envelope)
            break;
        if (envelope->body_case != MAIL__ENVELOPE__BODY_OUTCOME) { /* Done of an apply's begin */
            envelope_free(&envelope);
            continue;
        }
        envelope_free(&newest);
        newest = envelope;
        const Mail__Outcome *outcome = newest->outcome;
        if (outcome->revision && !call->ended && call->changes) {
            DEFER(xfree)
            char *words =
                xasprintf("stored as revision %" PRIu64 ", it goes on by itself: mailctl wait", outcome->revision);
            cli_interrupted_says(words);
        }
        n_differences += dry_run ? outcome->n_differences : 0;
        if (dry_run)
            err = differences_print(cli, cli->out, outcome->differences, outcome->n_differences, array);
        if (err)
            break;
    }
    if (err && cli->exit == EXIT_LOST && newest && newest->outcome->revision) {
        /* It is stored, that was said; only where it is in force is not known. */
        fprintf(stderr, "warning: the controller went away before it was seen in force everywhere\n");
        error_free(&err);
        cli->exit = 0;
        err = finish(cli, newest->outcome, array, n_differences, dry_run, subject, "stored", ret_exit);
        *ret_exit = EXIT_PENDING;
    } else if (!err && newest) {
        err = finish(cli, newest->outcome, array, n_differences, dry_run, subject, done, ret_exit);
    }
    json_decref(array);
    return err;
}

/* Shows a person what would go before asking. */
static Error *rehearse(Cli *cli, Envelope *envelope, Mail__Manner *manner)
{
    Call call;
    bool had_dry_run = manner->has_dry_run;

    manner->has_dry_run = 1;
    envelope->id = 0;
    Error *err = call_begin(cli, envelope, false, &call);
    while (!err && !call.ended) {
        DEFER(envelope_free) Envelope *said = NULL;
        err = call_next(&call, &said);
        if (!err && said && said->body_case == MAIL__ENVELOPE__BODY_OUTCOME)
            err = differences_print(cli, stderr, said->outcome->differences, said->outcome->n_differences, NULL);
    }
    manner->has_dry_run = had_dry_run;
    envelope->id = 0;
    return err;
}

Error *outcome_of(Cli *cli, Envelope *envelope, Mail__Manner *manner, const char *subject, const char *done,
                  int *ret_exit)
{
    const Command *command = cli->line->command;
    bool asks = command->loses && !manner->has_dry_run && !manner->has_yes;
    Error *err = NULL;
    Call call;

    if (asks) {
        DEFER(xfree) char *what = xasprintf("%s: %s", subject, command->loses);
        err = isatty(STDIN_FILENO) ? rehearse(cli, envelope, manner) : NULL;
        if (!err)
            err = cli_confirm(cli, what);
        manner->has_yes = 1;
    }
    if (!err)
        err = call_begin(cli, envelope, !manner->has_dry_run, &call);
    if (!err)
        err = outcome_take(&call, manner->has_dry_run, subject, done, ret_exit);
    return err;
}
