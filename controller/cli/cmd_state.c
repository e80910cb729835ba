/* The state as a whole: apply a file, compare, look back, go back, wait */
#include "outcome.h"

#include "base/alloc.h"
#include "model/text.h"
#include "model/validate.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { EXIT_SEEN = 1, HISTORY_DEFAULT = 100, CHANGED_SHOWN = 3 };

/* ---- apply ---- */

/* Objects on their way: gathered until a part is full. */
typedef struct Parts {
    Call *call;
    ProtobufCBinaryData *objects;
    char **places;
    size_t n, room, bytes, n_all;
    Mail__StatedSecret **secrets;
    size_t n_secrets;
} Parts;

static void secrets_clear(Parts *parts)
{
    for (size_t i = 0; i < parts->n_secrets; i++) {
        explicit_bzero(parts->secrets[i]->value.data, parts->secrets[i]->value.len);
        mail__stated_secret__free_unpacked(parts->secrets[i], NULL);
    }
    xfree(&parts->secrets);
    parts->n_secrets = 0;
}

static void parts_clear(Parts *parts)
{
    for (size_t i = 0; i < parts->n; i++) {
        free(parts->objects[i].data);
        free(parts->places[i]);
    }
    parts->n = parts->bytes = 0;
    secrets_clear(parts);
}

static void parts_done(Parts *parts)
{
    parts_clear(parts);
    free(parts->objects);
    free(parts->places);
}

static Error *parts_send(Parts *parts)
{
    Mail__ApplyPart part = MAIL__APPLY_PART__INIT;
    Envelope envelope = MAIL__ENVELOPE__INIT;

    if (!parts->n)
        return NULL;
    part.objects = parts->objects;
    part.n_objects = parts->n;
    part.places = parts->places;
    part.n_places = parts->n;
    part.secrets = parts->secrets;
    part.n_secrets = parts->n_secrets;
    envelope.body_case = MAIL__ENVELOPE__BODY_APPLY_PART;
    envelope.apply_part = &part;
    Error *err = call_part(parts->call, &envelope);
    parts_clear(parts);
    return err;
}

/* Of the object that comes next. */
static void parts_secret(void *context, const TextSecret *secret)
{
    Parts *parts = context;
    Mail__StatedSecret *stated = xmalloc(sizeof *stated);

    mail__stated_secret__init(stated);
    stated->has_object = stated->has_value = true;
    stated->object = (uint32_t)parts->n;
    stated->field = xstrdup(secret->field->name);
    stated->value = (ProtobufCBinaryData){.data = xmemdup(secret->value, secret->size), .len = secret->size};
    parts->secrets = xrealloc(parts->secrets, (parts->n_secrets + 1) * sizeof *parts->secrets);
    parts->secrets[parts->n_secrets++] = stated;
    parts->bytes += secret->size + 64;
}

static Error *parts_take(void *context, Object *object, const char *place)
{
    Parts *parts = context;
    Buf bytes = {0};

    if (parts->n == parts->room) {
        parts->room = parts->room ? parts->room * 2 : 256;
        parts->objects = xrealloc(parts->objects, parts->room * sizeof *parts->objects);
        parts->places = xrealloc(parts->places, parts->room * sizeof *parts->places);
    }
    object_pack(object, &bytes);
    object_free(&object);
    parts->objects[parts->n] = (ProtobufCBinaryData){.data = bytes.data, .len = bytes.size};
    parts->places[parts->n] = xstrdup(place);
    parts->n++;
    parts->n_all++;
    parts->bytes += bytes.size + strlen(place) + 16;
    return parts->bytes >= ENVELOPE_PART_BYTES ? parts_send(parts) : NULL;
}

/* Begin, parts, end.  Until the end is sent nothing is stored, whatever breaks. */
static Error *file_send(Cli *cli, const char *file, Mail__Manner *manner, Call *ret_call, size_t *ret_n)
{
    Mail__ApplyBegin begin = MAIL__APPLY_BEGIN__INIT;
    Mail__ApplyEnd end = MAIL__APPLY_END__INIT;
    Envelope first = MAIL__ENVELOPE__INIT, last = MAIL__ENVELOPE__INIT;
    Call call;

    begin.manner = manner;
    begin.has_prune = line_has(cli->line, FLAG_PRUNE);
    begin.prune = 1;
    first.body_case = MAIL__ENVELOPE__BODY_APPLY_BEGIN;
    first.apply_begin = &begin;
    Error *err = call_begin(cli, &first, false, &call);
    if (err)
        return err;
    Parts parts = {.call = &call};
    err = text_read_secrets(file, parts_take, parts_secret, &parts);
    if (!err)
        err = parts_send(&parts);
    *ret_n = parts.n_all;
    parts_done(&parts);
    if (err)
        return err;
    last.body_case = MAIL__ENVELOPE__BODY_APPLY_END;
    last.apply_end = &end;
    err = call_part(&call, &last);
    *ret_call = (Call){.cli = cli, .id = last.id, .changes = !manner->has_dry_run, .any = true, .until = MSEC_NEVER};
    return err;
}

Error *run_apply(Cli *cli, const Line *line, int *ret_exit)
{
    const char *file = line->given[FLAG_FILE];
    Mail__Manner manner;
    size_t n = 0;
    Call call;

    if (!file)
        return error_hint(cli_usage(cli, "-f FILE is missing"), "mailctl %s", line->command->example);
    Error *err = manner_of(cli, &manner);
    if (!err && line_has(line, FLAG_PRUNE) && !manner.has_dry_run) {
        DEFER(xfree)
        char *what = xasprintf("%s: what it does not have is removed, within its instances and kinds", file);
        err = cli_confirm(cli, what);
        manner.has_yes = 1;
    }
    if (!err)
        err = file_send(cli, file, &manner, &call, &n);
    if (err)
        return err;
    DEFER(xfree) char *subject = xasprintf("%s: %zu objects", strcmp(file, "-") == 0 ? "stdin" : file, n);
    return outcome_take(&call, manner.has_dry_run, subject, "applied", ret_exit);
}

/* ---- diff ---- */

static Error *diff_file(Cli *cli, const char *file, int *ret_exit)
{
    Mail__Manner manner = MAIL__MANNER__INIT;
    size_t n = 0;
    Call call;

    manner.has_dry_run = 1;
    manner.dry_run = 1;
    Error *err = file_send(cli, file, &manner, &call, &n);
    return err ? err : outcome_take(&call, true, file, "", ret_exit);
}

static Error *diff_stored(Cli *cli, Mail__GetDiff *wish, int *ret_exit)
{
    Envelope envelope = MAIL__ENVELOPE__INIT;
    bool as_data = cli->form == OUTPUT_JSON || cli->form == OUTPUT_YAML;
    json_t *array = as_data ? json_array() : NULL;
    size_t n = 0;
    Call call;

    envelope.body_case = MAIL__ENVELOPE__BODY_GET_DIFF;
    envelope.get_diff = wish;
    Error *err = call_begin(cli, &envelope, false, &call);
    while (!err && !call.ended) {
        DEFER(envelope_free) Envelope *said = NULL;
        err = call_next(&call, &said);
        if (err || !said || said->body_case != MAIL__ENVELOPE__BODY_DIFFERENCES)
            continue;
        n += said->differences->n_differences;
        err = differences_print(cli, cli->out, said->differences->differences, said->differences->n_differences, array);
    }
    *ret_exit = n ? EXIT_SEEN : 0;
    if (!err && as_data) {
        json_t *document = json_pack("{s:i,s:O}", "version", 1, "differences", array);
        print_document(cli->out, cli->form, &document);
    }
    json_decref(array);
    return err;
}

Error *run_diff(Cli *cli, const Line *line, int *ret_exit)
{
    Mail__GetDiff wish = MAIL__GET_DIFF__INIT;
    size_t ways = (size_t)line_has(line, FLAG_FILE) + line_has(line, FLAG_REVISION) + line_has(line, FLAG_NODE);

    if (ways != 1)
        return error_hint(cli_usage(cli, "one of -f FILE, --revision A..B and --node NAME is wanted"), "mailctl %s",
                          line->command->example);
    if (line_has(line, FLAG_FILE))
        return diff_file(cli, line->given[FLAG_FILE], ret_exit);
    wish.node = (char *)line->given[FLAG_NODE];
    wish.instance = (char *)cli_instance(cli);
    if (line_has(line, FLAG_REVISION)) {
        Error *err = range_parse(line->given[FLAG_REVISION], &wish.from_revision, &wish.to_revision);
        if (err) {
            cli->exit = 2;
            return error_in(err, "--revision");
        }
        wish.has_from_revision = 1;
        wish.has_to_revision = wish.to_revision != 0;
    }
    return diff_stored(cli, &wish, ret_exit);
}

/* ---- history ---- */

static json_t *revision_json(const Mail__RevisionInfo *info)
{
    json_t *item = json_object(), *changed = json_array();

    json_put_number(item, "revision", info->revision);
    json_put_number(item, "time", info->time);
    json_put_text(item, "who", info->who);
    json_put_text(item, "message", info->message);
    json_put_text(item, "via", info->via);
    json_put_number(item, "count", info->count);
    for (size_t i = 0; i < info->n_changed; i++) {
        json_t *ref = json_object();
        json_put_text(ref, "kind", info->changed[i]->kind);
        json_put_text(ref, "instance", info->changed[i]->instance);
        json_put_text(ref, "name", info->changed[i]->name);
        json_array_append_new(changed, ref);
    }
    json_object_set_new(item, "changed", changed);
    return item;
}

static void changed_text(const Mail__RevisionInfo *info, Buf *out)
{
    for (size_t i = 0; i < info->n_changed && i < CHANGED_SHOWN; i++) {
        const Mail__Ref *ref = info->changed[i];
        buf_printf(out, "%s%s", i ? ", " : "", ref->kind ? ref->kind : "?");
        if (ref->name && *ref->name)
            buf_printf(out, " %s", ref->name);
    }
    if (info->count > CHANGED_SHOWN)
        buf_printf(out, " and %" PRIu64 " more", info->count - CHANGED_SHOWN);
}

static void revision_row(Table *table, const Mail__RevisionInfo *info)
{
    char number[24];
    DEFER(buf_done) Buf changed = {0};

    snprintf(number, sizeof number, "%" PRIu64, info->revision);
    changed_text(info, &changed);
    table_cell(table, number);
    table_cell(table, time_text(info->time).text);
    table_cell(table, info->who);
    table_cell(table, info->via);
    table_cell(table, buf_text(&changed));
    table_cell(table, info->message);
    table_row(table);
}

static Error *history_wish(Cli *cli, Mail__GetHistory *wish, char **ret_kind, char **ret_name)
{
    const Line *line = cli->line;
    uint64_t limit = HISTORY_DEFAULT;
    Error *err = NULL;

    wish->instance = (char *)cli_instance(cli);
    if (line->key) {
        const char *slash = strchr(line->key, '/');
        *ret_kind = xstrndup(line->key, strcspn(line->key, "/"));
        const KindInfo *info = kind_by_name(*ret_kind);
        if (!info) {
            err = cli_usage(cli, "unknown kind '%s'", *ret_kind);
            return kind_nearest(*ret_kind) ? error_hint(err, "did you mean %s?", kind_nearest(*ret_kind)) : err;
        }
        if (!info->meta->single && (!slash || !slash[1]))
            return error_hint(cli_usage(cli, "which %s?", info->name), "mailctl history %s/%s", info->name,
                              info->meta->example ? info->meta->example : "NAME");
        err = info->meta->single ? NULL : name_normalise(info->kind, slash + 1, ret_name);
        wish->kind = (char *)info->name;
        wish->name = *ret_name;
        if (!info->meta->in_instance || strchr(*ret_name ? *ret_name : "", '.'))
            wish->instance = (char *)line->given[FLAG_INSTANCE]; /* a mail domain says more than a setting */
    }
    if (!err && line_has(line, FLAG_LIMIT))
        err = number_parse(line->given[FLAG_LIMIT], &limit);
    if (!err && line_has(line, FLAG_BEFORE)) {
        wish->has_before = 1;
        err = number_parse(line->given[FLAG_BEFORE], &wish->before);
    }
    wish->has_limit = 1;
    wish->limit = limit > UINT32_MAX ? UINT32_MAX : (uint32_t)limit;
    return err;
}

Error *run_history(Cli *cli, const Line *line, int *ret_exit)
{
    static const char *const headings[] = {"REVISION", "TIME", "WHO", "VIA", "CHANGED", "MESSAGE"};
    Mail__GetHistory wish = MAIL__GET_HISTORY__INIT;
    Envelope envelope = MAIL__ENVELOPE__INIT;
    DEFER(xfree) char *kind = NULL;
    DEFER(xfree) char *name = NULL;
    bool as_data = cli->form == OUTPUT_JSON || cli->form == OUTPUT_YAML;
    Call call;

    (void)line;
    (void)ret_exit;
    Error *err = history_wish(cli, &wish, &kind, &name);
    if (err)
        return err;
    envelope.body_case = MAIL__ENVELOPE__BODY_GET_HISTORY;
    envelope.get_history = &wish;
    err = call_begin(cli, &envelope, false, &call);
    if (err)
        return err;
    DEFER(table_end) Table *table = cli->form == OUTPUT_TABLE ? table_new(cli->out, headings, 6) : NULL;
    json_t *items = json_array();
    while (!err && !call.ended) {
        DEFER(envelope_free) Envelope *said = NULL;
        err = call_next(&call, &said);
        if (err || !said || said->body_case != MAIL__ENVELOPE__BODY_REVISIONS)
            continue;
        for (size_t i = 0; i < said->revisions->n_revisions; i++) {
            const Mail__RevisionInfo *info = said->revisions->revisions[i];
            if (table)
                revision_row(table, info);
            else if (as_data)
                json_array_append_new(items, revision_json(info));
            else
                fprintf(cli->out, "%" PRIu64 "\n", info->revision);
        }
    }
    if (!err && as_data) {
        json_t *document = json_pack("{s:i,s:O}", "version", 1, "items", items);
        print_document(cli->out, cli->form, &document);
    }
    json_decref(items);
    return err;
}

/* ---- back, and wait ---- */

static Error *revision_of(Cli *cli, const char *text, uint64_t *ret_revision)
{
    Error *err = number_parse(text, ret_revision);

    if (!err && *ret_revision)
        return NULL;
    error_free(&err);
    return error_hint(cli_usage(cli, "'%s' is no revision", text), "mailctl history");
}

Error *run_revert(Cli *cli, const Line *line, int *ret_exit)
{
    Mail__Revert wish = MAIL__REVERT__INIT;
    Mail__Manner manner;
    Envelope envelope = MAIL__ENVELOPE__INIT;

    Error *err = revision_of(cli, line->key, &wish.revision);
    if (!err)
        err = manner_of(cli, &manner);
    if (err)
        return err;
    DEFER(xfree) char *subject = xasprintf("revision %" PRIu64, wish.revision);
    wish.has_revision = 1;
    wish.manner = &manner;
    envelope.body_case = MAIL__ENVELOPE__BODY_REVERT;
    envelope.revert = &wish;
    return outcome_of(cli, &envelope, &manner, subject, line->command->done, ret_exit);
}

Error *run_rollback(Cli *cli, const Line *line, int *ret_exit)
{
    Mail__Rollback wish = MAIL__ROLLBACK__INIT;
    Mail__Manner manner;
    Envelope envelope = MAIL__ENVELOPE__INIT;

    Error *err = revision_of(cli, line->key, &wish.revision);
    if (!err && !line_has(line, FLAG_INSTANCE)) /* said each time: no setting takes an instance back */
        err = error_hint(cli_usage(cli, "-i INSTANCE is missing"), "mailctl rollback %s -i INSTANCE", line->key);
    if (!err)
        err = manner_of(cli, &manner);
    if (err)
        return err;
    DEFER(xfree) char *subject = xasprintf("instance %s", line->given[FLAG_INSTANCE]);
    DEFER(xfree) char *done = xasprintf("rolled back to %" PRIu64, wish.revision);
    wish.has_revision = 1;
    wish.instance = (char *)line->given[FLAG_INSTANCE];
    wish.manner = &manner;
    envelope.body_case = MAIL__ENVELOPE__BODY_ROLLBACK;
    envelope.rollback = &wish;
    return outcome_of(cli, &envelope, &manner, subject, done, ret_exit);
}

Error *run_wait(Cli *cli, const Line *line, int *ret_exit)
{
    Mail__Wait wish = MAIL__WAIT__INIT;
    Mail__Manner manner;
    Envelope envelope = MAIL__ENVELOPE__INIT;
    Call call;

    Error *err = line->key ? revision_of(cli, line->key, &wish.revision) : NULL;
    if (!err)
        err = manner_of(cli, &manner);
    if (err)
        return err;
    wish.has_revision = line->key != NULL;
    wish.node = (char *)line->given[FLAG_NODE];
    wish.has_wait_ms = 1;
    wish.wait_ms = manner.wait_ms;
    envelope.body_case = MAIL__ENVELOPE__BODY_WAIT;
    envelope.wait = &wish;
    err = call_begin(cli, &envelope, false, &call);
    return err ? err : outcome_take(&call, false, NULL, "", ret_exit);
}
