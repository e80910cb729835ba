/* explain: what desired.proto's options and comments say, for people and programs.  Asks nobody. */
#include "cli.h"

#include "base/alloc.h"
#include "model/amount.h"
#include "model/edit.h"
#include "model/nearest.h"
#include "model/value.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static const char *type_words(Mail__FieldType type)
{
    static const char *const words[] = {
        [MAIL__FIELD_TYPE__TEXT] = "text",
        [MAIL__FIELD_TYPE__NAME] = "name: 1 to 63 of a-z 0-9 -, first a letter",
        [MAIL__FIELD_TYPE__FQDN] = "host name with a dot",
        [MAIL__FIELD_TYPE__YES_NO] = "yes or no",
        [MAIL__FIELD_TYPE__SIZE] = "size: 500M, 2Gi",
        [MAIL__FIELD_TYPE__SPAN] = "span of time: 90s, 15m, 8h, 7d",
        [MAIL__FIELD_TYPE__DESTINATION] = "destination: user:NAME, group:NAME, public:NAME or an address elsewhere",
        [MAIL__FIELD_TYPE__ADDRESS] = "address: LOCAL@DOMAIN",
        [MAIL__FIELD_TYPE__IP] = "numeric IPv4 or IPv6 address",
        [MAIL__FIELD_TYPE__WORD] = "one of these words",
        [MAIL__FIELD_TYPE__NUMBER] = "number",
        [MAIL__FIELD_TYPE__ACCOUNT] = "user or group of the directory",
        [MAIL__FIELD_TYPE__CURVE_KEY] = "CURVE public key, 40 characters (Z85)",
        [MAIL__FIELD_TYPE__SCORE] = "score: 6, 6.5",
        [MAIL__FIELD_TYPE__PATH] = "absolute path of a file on the node",
        [MAIL__FIELD_TYPE__NETWORK] = "numeric IPv4 or IPv6 address, or a network as ADDRESS/BITS",
        [MAIL__FIELD_TYPE__FOLDER] = "folder, '/' between its levels",
        [MAIL__FIELD_TYPE__SECRET] = "secret, kept apart and shown as (hidden)",
        [MAIL__FIELD_TYPE__HOST] = "host name with a dot, or numeric address",
        [MAIL__FIELD_TYPE__PUBLIC_NAME] = "public mailbox, '/' between its levels",
        [MAIL__FIELD_TYPE__REPOSITORY] = "restic repository: local:PATH, sftp:USER@HOST:PATH, rest:URL, s3:...",
        [MAIL__FIELD_TYPE__SCHEDULE] = "when: hourly, daily HH:MM, weekly DAY HH:MM, or as in systemd.time(7)",
        [MAIL__FIELD_TYPE__TIME_ZONE] = "time zone: Europe/Berlin, UTC",
        [MAIL__FIELD_TYPE__ACL] = "who and what: user:NAME:RIGHTS, group:NAME:RIGHTS, anyone:RIGHTS",
    };

    return type < sizeof words / sizeof *words ? words[type] : "text";
}

static char *limit_text(const FieldMeta *field, uint64_t limit)
{
    bool amount = !field->list && (field->type == MAIL__FIELD_TYPE__SIZE || field->type == MAIL__FIELD_TYPE__SPAN ||
                                   field->type == MAIL__FIELD_TYPE__SCORE);

    return amount ? amount_text(field->type, limit) : xasprintf("%" PRIu64, limit);
}

static bool is_long_text(Mail__FieldType type)
{
    return type == MAIL__FIELD_TYPE__TEXT || type == MAIL__FIELD_TYPE__PATH || type == MAIL__FIELD_TYPE__FOLDER ||
           type == MAIL__FIELD_TYPE__SECRET;
}

static char *limits_text(const FieldMeta *field)
{
    const char *unit = field->list ? " items" : is_long_text(field->type) ? " octets" : "";
    DEFER(xfree) char *min = limit_text(field, field->min), *max = limit_text(field, field->max);

    if (!field->min && !field->max)
        return NULL;
    if (!field->max)
        return xasprintf("at least %s%s", min, unit);
    return field->min ? xasprintf("%s to %s%s", min, max, unit) : xasprintf("at most %s%s", max, unit);
}

static char *words_text(const KindInfo *info, const FieldMeta *field)
{
    DEFER(buf_done) Buf out = {0};

    for (size_t i = 0;; i++) {
        DEFER(xfree) char *word = value_word(info->descriptor, field, i);
        if (!word)
            break;
        buf_printf(&out, "%s%s", i ? ", " : "", word);
    }
    return out.size ? xstrdup(buf_text(&out)) : NULL;
}

static void put(json_t *facts, const char *name, const char *text)
{
    json_put_text(facts, name, text && *text ? text : NULL);
}

/* One field as facts in the order in which they are shown. */
static json_t *field_facts(const KindInfo *info, const FieldMeta *field)
{
    DEFER(object_free) Object *object = object_new(info->kind, NULL, NULL);
    DEFER(xfree) char *name = field_title(field), *standing = field_default_text(object, field);
    DEFER(xfree) char *limits = limits_text(field), *words = words_text(info, field);
    DEFER(xfree)
    char *type = xasprintf("%s%s", field->list ? "list, comma separated, of: " : "", type_words(field->type));
    json_t *facts = json_object();

    put(facts, "kind", info->name);
    put(facts, "field", name);
    put(facts, "words", field->words);
    put(facts, "type", type);
    put(facts, "values", words);
    put(facts, "limits", limits);
    put(facts, "default", field->required ? NULL : standing);
    put(facts, "names", field->reference);
    put(facts, "required", field->required ? "yes" : NULL);
    put(facts, "fixed", field->fixed ? "yes, once it is set" : NULL);
    put(facts, "secret", field->secret ? "yes: by file, stdin or prompt" : NULL);
    put(facts, "set by", field->computed ? "the controller" : NULL);
    put(facts, "since", field->since);
    return facts;
}

static void facts_print(FILE *out, const json_t *facts)
{
    fprintf(out, "%s.%s: %s\n", json_string_value(json_object_get(facts, "kind")),
            json_string_value(json_object_get(facts, "field")), json_string_value(json_object_get(facts, "words")));
    for (void *at = json_object_iter((json_t *)facts); at; at = json_object_iter_next((json_t *)facts, at)) {
        const char *key = json_object_iter_key(at);
        if (strcmp(key, "kind") != 0 && strcmp(key, "field") != 0 && strcmp(key, "words") != 0)
            fprintf(out, "  %-9s %s\n", key, json_string_value(json_object_iter_value(at)));
    }
}

static void fields_print(Cli *cli, const KindInfo *info, const FieldMeta *only)
{
    json_t *items = json_array();

    for (size_t i = 0; i < info->meta->n_fields; i++)
        if (!only || only == &info->meta->fields[i])
            json_array_append_new(items, field_facts(info, &info->meta->fields[i]));
    if (cli->form == OUTPUT_JSON || cli->form == OUTPUT_YAML) {
        json_t *document = json_pack("{s:i,s:o}", "version", 1, "items", items);
        print_document(cli->out, cli->form, &document);
        return;
    }
    if (!only)
        fprintf(cli->out, "%s: %s\n", info->name, info->meta->words);
    for (size_t i = 0; i < json_array_size(items); i++) {
        if (cli->form == OUTPUT_NAME)
            fprintf(cli->out, "%s\n", json_string_value(json_object_get(json_array_get(items, i), "field")));
        else
            facts_print(cli->out, json_array_get(items, i));
    }
    json_decref(items);
}

static void kinds_print(Cli *cli)
{
    static const char *const headings[] = {"KIND", "MEANING"};
    Table *table = table_new(cli->out, headings, 2);

    for (size_t i = 0; i < n_kinds; i++) {
        const KindInfo *info = kind_info(kinds[i]);
        table_cell(table, info->name);
        table_cell(table, info->meta->words);
        table_row(table);
    }
    table_end(&table);
}

Error *run_explain(Cli *cli, const Line *line, int *ret_exit)
{
    (void)ret_exit;
    if (!line->key) {
        kinds_print(cli);
        return NULL;
    }
    const char *dot = strchr(line->key, '.');
    DEFER(xfree) char *kind = xstrndup(line->key, strcspn(line->key, "."));
    const KindInfo *info = kind_by_name(kind);
    if (!info) {
        Error *err = cli_usage(cli, "unknown kind '%s'", kind);
        if (command_noun_known(kind)) /* users, tasks: nothing of them is stated */
            return error_hint(err, "see mailctl help %s", kind);
        return kind_nearest(kind) ? error_hint(err, "did you mean %s?", kind_nearest(kind)) : err;
    }
    const FieldMeta *field = dot ? meta_field(info->meta, dot + 1) : NULL;
    if (dot && !field) {
        Error *err = cli_usage(cli, "%s: unknown field '%s'", info->name, dot + 1);
        const char *near = meta_field_nearest(info->meta, dot + 1);
        return near ? error_hint(err, "did you mean %s.%s?", info->name, near) : err;
    }
    fields_print(cli, info, field);
    return NULL;
}
