#include "model/text_inside.h"

#include "base/alloc.h"

#include <libfyaml.h>
#include <stdlib.h>
#include <string.h>

/* YAML as a stream of events: memory for one item, whatever the file holds.
 *
 * Only texts matter, a field's type says what they mean; so there are no tags, and no "null".  Anchors and aliases are
 * refused where they stand: with them, a small file is a large one.
 */
typedef struct Yaml {
    TextReader *reader;
    struct fy_parser *parser;
    struct fy_diag *diag;
    struct fy_event *event;
    enum fy_event_type type; /* of event; FYET_NONE: the end */
    size_t line;             /* of event, or the last one known */
} Yaml;

static void yaml_done(Yaml *yaml)
{
    if (yaml->event)
        fy_parser_event_free(yaml->parser, yaml->event);
    fy_parser_destroy(yaml->parser);
    fy_diag_destroy(yaml->diag);
}

static Error *refuse(const Yaml *yaml, const char *words)
{
    return text_error_at(yaml->reader, yaml->line, error_new(ERROR_INVALID, "%s", words));
}

static Error *syntax_error(const Yaml *yaml)
{
    void *next = NULL;
    const struct fy_diag_error *first = fy_diag_errors_iterate(yaml->diag, &next);

    if (!first || !first->msg)
        return refuse(yaml, "no YAML");
    size_t line = first->line > 0 ? (size_t)first->line : yaml->line;
    return text_no_syntax(yaml->reader, line, "no YAML", first->msg);
}

static void line_from(Yaml *yaml, struct fy_token *token)
{
    const struct fy_mark *mark = token ? fy_token_start_mark(token) : NULL;

    if (mark && mark->line >= 0)
        yaml->line = (size_t)mark->line + 1;
}

/* "!!str" says what we do anyway. */
static bool tag_harmless(struct fy_token *tag)
{
    size_t size = 0;
    const char *text = fy_token_get_text(tag, &size);
    static const char str[] = "tag:yaml.org,2002:str";

    return text && size == sizeof str - 1 && memcmp(text, str, size) == 0;
}

static Error *event_check(Yaml *yaml)
{
    struct fy_token *anchor = fy_event_get_anchor_token(yaml->event);
    struct fy_token *tag = fy_event_get_tag_token(yaml->event);

    if (yaml->type == FYET_ALIAS)
        return refuse(yaml, "an alias (*): write it out");
    if (anchor) {
        line_from(yaml, anchor);
        return refuse(yaml, "an anchor (&): write it out");
    }
    if (tag && (yaml->type != FYET_SCALAR || !tag_harmless(tag))) {
        line_from(yaml, tag);
        return refuse(yaml, "a tag (!): leave it out");
    }
    return NULL;
}

static Error *event_next(Yaml *yaml)
{
    if (yaml->event)
        fy_parser_event_free(yaml->parser, yaml->event);
    yaml->event = fy_parser_parse(yaml->parser);
    yaml->type = yaml->event ? yaml->event->type : FYET_NONE;
    if (fy_parser_get_stream_error(yaml->parser))
        return syntax_error(yaml);
    if (!yaml->event)
        return NULL;
    line_from(yaml, fy_event_get_token(yaml->event));
    return event_check(yaml);
}

static Error *expect(Yaml *yaml, enum fy_event_type type, const char *words)
{
    Error *err = event_next(yaml);

    if (!err && yaml->type != type)
        err = refuse(yaml, words);
    return err;
}

/* The text of a scalar; valid until the next event. */
static Error *scalar(const Yaml *yaml, const char **ret_text, size_t *ret_size)
{
    static const char *const nothing[] = {"", "~", "null", "Null", "NULL"};
    struct fy_token *token = yaml->event->scalar.value;
    bool plain = !token || fy_token_scalar_style(token) == FYSS_PLAIN;
    size_t size = 0;
    const char *text = token ? fy_token_get_text(token, &size) : "";

    if (!text)
        return refuse(yaml, "no YAML: a text that cannot be read");
    for (size_t i = 0; plain && i < sizeof nothing / sizeof *nothing; i++)
        if (size == strlen(nothing[i]) && memcmp(text, nothing[i], size) == 0)
            return refuse(yaml, "no value: leave the key out, or quote the text");
    *ret_text = text;
    *ret_size = size;
    return NULL;
}

/* ---- an item -------------------------------------------------------------------------- */

static Error *item_scalar(Yaml *yaml)
{
    const char *text = NULL;
    size_t size = 0;

    Error *err = scalar(yaml, &text, &size);
    return err ? err : text_item_value(yaml->reader, yaml->line, text, size);
}

static Error *item_list(Yaml *yaml)
{
    text_item_list(yaml->reader);
    for (;;) {
        Error *err = event_next(yaml);
        if (err)
            return err;
        if (yaml->type == FYET_SEQUENCE_END)
            return NULL;
        err = yaml->type == FYET_SCALAR ? item_scalar(yaml) : refuse(yaml, "a list holds words, nothing deeper");
        if (err)
            return err;
    }
}

static const char *last_key(const Yaml *yaml)
{
    return yaml->reader->fields[yaml->reader->n_fields - 1].key;
}

static Error *item_value(Yaml *yaml)
{
    Error *err = event_next(yaml);

    if (err)
        return err;
    if (yaml->type == FYET_SCALAR)
        return item_scalar(yaml);
    if (yaml->type == FYET_SEQUENCE_START)
        return item_list(yaml);
    return text_error_at(yaml->reader, yaml->line,
                         error_new(ERROR_INVALID, "%s: a word or a list of words is wanted", last_key(yaml)));
}

static Error *key_of_item(Yaml *yaml)
{
    const char *key = NULL;
    size_t size = 0;

    if (yaml->type != FYET_SCALAR)
        return refuse(yaml, "a key must be a word");
    Error *err = scalar(yaml, &key, &size);
    return err ? err : text_item_key(yaml->reader, yaml->line, key, size);
}

static Error *item(Yaml *yaml)
{
    if (yaml->type != FYET_MAPPING_START)
        return refuse(yaml, "an item must be keys with values: kind, name ...");
    text_item_begin(yaml->reader, yaml->line);
    for (bool first = true;; first = false) {
        Error *err = event_next(yaml);
        if (!err && yaml->type == FYET_MAPPING_END)
            return text_item_end(yaml->reader);
        if (!err && first)
            yaml->reader->line = yaml->line; /* a block mapping has no sign of its own */
        if (!err)
            err = key_of_item(yaml);
        if (!err)
            err = item_value(yaml);
        if (err)
            return err;
    }
}

/* ---- the document --------------------------------------------------------------------- */

static Error *items(Yaml *yaml)
{
    Error *err = expect(yaml, FYET_SEQUENCE_START, "items must be a list");

    while (!err) {
        err = event_next(yaml);
        if (!err && yaml->type == FYET_SEQUENCE_END)
            return NULL;
        if (!err)
            err = item(yaml);
    }
    return err;
}

static Error *version(Yaml *yaml)
{
    const char *text = NULL;
    size_t size = 0;

    Error *err = expect(yaml, FYET_SCALAR, "version must be a number");
    if (!err)
        err = scalar(yaml, &text, &size);
    return err ? err : text_version(yaml->reader, yaml->line, text, size);
}

static Error *secrets(Yaml *yaml)
{
    const char *text = NULL;
    size_t size = 0;

    Error *err = expect(yaml, FYET_SCALAR, "secrets must be a word");
    if (!err)
        err = scalar(yaml, &text, &size);
    return err ? err : text_secrets(yaml->reader, yaml->line, text, size);
}

static Error *outer_pair(Yaml *yaml)
{
    const char *text = NULL;
    size_t size = 0;
    TextKey key = TEXT_KEY_VERSION;

    if (yaml->type != FYET_SCALAR)
        return refuse(yaml, "a key must be a word");
    Error *err = scalar(yaml, &text, &size);
    if (!err)
        err = text_outer_key(yaml->reader, yaml->line, text, size, &key);
    if (err)
        return err;
    return key == TEXT_KEY_VERSION ? version(yaml) : key == TEXT_KEY_SECRETS ? secrets(yaml) : items(yaml);
}

static Error *document(Yaml *yaml)
{
    Error *err = expect(yaml, FYET_STREAM_START, "no YAML");
    if (!err)
        err = expect(yaml, FYET_DOCUMENT_START, "empty: version and items are missing");
    if (!err)
        err = expect(yaml, FYET_MAPPING_START, "the keys version and items are wanted");
    for (;;) {
        if (!err)
            err = event_next(yaml);
        if (err)
            return err;
        if (yaml->type == FYET_MAPPING_END)
            break;
        err = outer_pair(yaml);
    }
    err = text_outer_end(yaml->reader, yaml->line);
    if (!err)
        err = expect(yaml, FYET_DOCUMENT_END, "more behind the end");
    if (!err)
        err = expect(yaml, FYET_STREAM_END, "a second document: write one file each");
    return err;
}

/* libfyaml keeps the rest of the line while it does not know whether this is a key: 50 octets for each. */
static Error *lines_check(const TextReader *reader, const char *data, size_t size)
{
    size_t line = 1;

    for (size_t at = 0; at < size; line++) {
        const char *end = memchr(data + at, '\n', size - at);
        size_t len = end ? (size_t)(end - data) - at : size - at;
        if (len > TEXT_LINE_BYTES)
            return text_error_at(reader, line,
                                 error_new(ERROR_INVALID, "a line of more than %d octets", TEXT_LINE_BYTES));
        at += len + 1;
    }
    return NULL;
}

/* Errors are gathered, nothing is printed. */
static struct fy_diag *diag_new(void)
{
    struct fy_diag_cfg quiet;

    fy_diag_cfg_default(&quiet);
    quiet.fp = NULL;
    quiet.output_fn = NULL;
    quiet.level = FYET_ERROR;
    struct fy_diag *diag = fy_diag_create(&quiet);
    if (diag)
        fy_diag_set_collect_errors(diag, true);
    return diag;
}

Error *text_read_yaml(TextReader *reader, const char *data, size_t size)
{
    DEFER(yaml_done) Yaml yaml = {.reader = reader, .line = 1, .diag = diag_new()};
    struct fy_parse_cfg cfg = {.search_path = "", .flags = FYPCF_QUIET | FYPCF_COLLECT_DIAG, .diag = yaml.diag};

    Error *err = lines_check(reader, data, size);
    if (err)
        return err;
    yaml.parser = fy_parser_create(&cfg);
    if (!yaml.parser || fy_parser_set_string(yaml.parser, data, size) != 0)
        return error_new(ERROR_SYSTEM, "%s: the YAML parser does not start", reader->file);
    return document(&yaml);
}
