#include "print.h"

#include "base/alloc.h"
#include "base/utf8.h"
#include "model/text.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define INDENT "    "

Error *output_form(const char *word, OutputForm *ret_form)
{
    static const char *const words[] = {
        [OUTPUT_TABLE] = "table", [OUTPUT_JSON] = "json", [OUTPUT_YAML] = "yaml", [OUTPUT_NAME] = "name"};

    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (strcmp(words[i], word) == 0) {
            *ret_form = (OutputForm)i;
            return NULL;
        }
    return error_hint(error_new(ERROR_INVALID, "--output: '%s' is no form", word), "table, json, yaml or name");
}

/* ---- text for terminals ---- */

static uint32_t code_point(const char *text, size_t len)
{
    const uint8_t *c = (const uint8_t *)text;

    switch (len) {
    case 2:
        return (uint32_t)(c[0] & 0x1f) << 6 | (c[1] & 0x3f);
    case 3:
        return (uint32_t)(c[0] & 0x0f) << 12 | (uint32_t)(c[1] & 0x3f) << 6 | (c[2] & 0x3f);
    case 4:
        return (uint32_t)(c[0] & 0x07) << 18 | (uint32_t)(c[1] & 0x3f) << 12 | (uint32_t)(c[2] & 0x3f) << 6 |
               (c[3] & 0x3f);
    default:
        return c[0];
    }
}

/* Control characters, line and paragraph ends, and what turns or hides text (UAX 9: marks, embeddings, isolates; the BOM). */
static bool harmful(uint32_t c)
{
    return c < 0x20 || (c >= 0x7f && c < 0xa0) || c == 0xad || c == 0x61c || (c >= 0x200b && c <= 0x200f) ||
           (c >= 0x2028 && c <= 0x202e) || (c >= 0x2060 && c <= 0x206f) || c == 0xfeff ||
           (c >= 0xfff9 && c <= 0xfffb) || (c >= 0xe0000 && c <= 0xe007f);
}

void escape_text(Buf *out, const char *text)
{
    const char *end = text + strlen(text);

    while (text < end) {
        size_t len = utf8_char_len(text, (size_t)(end - text));
        if (len && !harmful(code_point(text, len)))
            buf_append(out, text, len);
        else
            for (size_t i = 0; i < (len ? len : 1); i++)
                buf_printf(out, "\\x%02x", (unsigned char)text[i]);
        text += len ? len : 1;
    }
}

char *escaped(const char *text)
{
    DEFER(buf_done) Buf out = {0};

    escape_text(&out, text);
    return xstrdup(buf_text(&out));
}

void print_text(FILE *out, const char *text)
{
    DEFER(xfree) char *shown = escaped(text);

    fputs(shown, out);
}

bool has_words_below(const char *text)
{
    return strstr(text, "\n" INDENT);
}

char *without_words(const char *text)
{
    const char *words = strstr(text, "\n" INDENT);

    return words ? xstrndup(text, (size_t)(words - text)) : xstrdup(text);
}

void print_lines(FILE *out, const char *text)
{
    DEFER(xfree) char *lines = xstrdup(text);

    for (char *line = lines, *next = NULL; line; line = next) {
        char *end = strchr(line, '\n');
        bool below = line != lines;
        next = end ? end + 1 : NULL;
        if (end)
            *end = '\0';
        if (below)
            fputs(INDENT, out);
        print_text(out, below && strncmp(line, INDENT, strlen(INDENT)) == 0 ? line + strlen(INDENT) : line);
        fputc('\n', out);
    }
}

size_t text_columns(const char *text)
{
    size_t n = 0;

    for (; *text; text++)
        n += ((uint8_t)*text & 0xc0) != 0x80;
    return n;
}

/* ---- tables ---- */

struct Table {
    FILE *out;
    size_t n_columns, at; /* 'at': cells in the row that is being filled */
    size_t width[TABLE_COLUMNS_MAX];
    char *row[TABLE_COLUMNS_MAX];
    char **kept; /* cells of the rows that wait for the widths */
    size_t n_kept;
    const char *const *headings;
    bool settled;
};

Table *table_new(FILE *out, const char *const *headings, size_t n_columns)
{
    Table *table = xcalloc(1, sizeof *table);

    table->out = out;
    table->headings = headings;
    table->n_columns = n_columns < TABLE_COLUMNS_MAX ? n_columns : TABLE_COLUMNS_MAX;
    for (size_t i = 0; i < table->n_columns; i++)
        table->width[i] = text_columns(headings[i]);
    table->kept = xcalloc(TABLE_SETTLE * table->n_columns, sizeof *table->kept);
    return table;
}

static void cells_write(const Table *table, const char *const *cells)
{
    for (size_t i = 0; i < table->n_columns; i++) {
        fputs(cells[i], table->out);
        if (i + 1 < table->n_columns) {
            size_t used = text_columns(cells[i]);
            fprintf(table->out, "%*s", (int)(used < table->width[i] ? table->width[i] - used + 2 : 2), "");
        }
    }
    fputc('\n', table->out);
}

static void table_settle(Table *table)
{
    if (table->settled || !table->n_kept)
        return;
    table->settled = true;
    cells_write(table, table->headings);
    for (size_t row = 0; row < table->n_kept; row += table->n_columns)
        cells_write(table, (const char *const *)&table->kept[row]);
}

void table_cell(Table *table, const char *text)
{
    if (table->at == table->n_columns)
        return;
    char *cell = text && *text ? escaped(text) : xstrdup("-");
    if (!table->settled && text_columns(cell) > table->width[table->at])
        table->width[table->at] = text_columns(cell);
    table->row[table->at++] = cell;
}

void table_row(Table *table)
{
    while (table->at < table->n_columns)
        table_cell(table, NULL);
    table->at = 0;
    if (table->settled) {
        cells_write(table, (const char *const *)table->row);
        for (size_t i = 0; i < table->n_columns; i++)
            free(table->row[i]);
        return;
    }
    memcpy(&table->kept[table->n_kept], table->row, table->n_columns * sizeof *table->row);
    table->n_kept += table->n_columns;
    if (table->n_kept == TABLE_SETTLE * table->n_columns)
        table_settle(table);
}

void table_end(Table **table)
{
    if (!*table)
        return;
    table_settle(*table);
    for (size_t i = 0; i < (*table)->n_kept; i++)
        free((*table)->kept[i]);
    for (size_t i = 0; i < (*table)->at; i++)
        free((*table)->row[i]);
    free((*table)->kept);
    free(*table);
    *table = NULL;
}

ShortText age_text(uint64_t ms)
{
    ShortText out;

    if (ms < 1000)
        snprintf(out.text, sizeof out.text, "%" PRIu64 " ms", ms);
    else if (ms < 60 * 1000)
        snprintf(out.text, sizeof out.text, "%" PRIu64 ".%" PRIu64 " s", ms / 1000, ms % 1000 / 100);
    else if (ms < UINT64_C(2) * 3600 * 1000)
        snprintf(out.text, sizeof out.text, "%" PRIu64 " min", ms / 60000);
    else if (ms < UINT64_C(48) * 3600 * 1000)
        snprintf(out.text, sizeof out.text, "%" PRIu64 " h", ms / 3600000);
    else
        snprintf(out.text, sizeof out.text, "%" PRIu64 " d", ms / 86400000);
    return out;
}

ShortText time_text(uint64_t time_s)
{
    ShortText out = {"-"};
    time_t when = (time_t)time_s;
    struct tm local;

    if (time_s && localtime_r(&when, &local))
        strftime(out.text, sizeof out.text, "%Y-%m-%d %H:%M:%S", &local);
    return out;
}

/* ---- JSON and YAML ---- */

static void yaml_write(FILE *out, const json_t *json, int depth, bool behind_dash);

static bool yaml_flat(const json_t *json)
{
    return !(json_is_object(json) && json_object_size(json)) && !(json_is_array(json) && json_array_size(json));
}

/* jansson escapes below U+0020 only: what else a terminal would obey is written as an escape, too. */
static void json_write(FILE *out, const json_t *json, size_t flags, bool yaml)
{
    DEFER(xfree) char *text = json_dumps(json, flags);
    const char *end = text ? text + strlen(text) : NULL;

    for (const char *p = text; p < end;) {
        size_t len = utf8_char_len(p, (size_t)(end - p));
        uint32_t c = len ? code_point(p, len) : 0;
        if (c < 0x7f || !harmful(c))
            fwrite(p, 1, len ? len : 1, out);
        else if (c <= 0xffff)
            fprintf(out, "\\u%04x", c);
        else if (yaml)
            fprintf(out, "\\U%08x", c);
        else
            fprintf(out, "\\u%04x\\u%04x", 0xd800 + ((c - 0x10000) >> 10), 0xdc00 + ((c - 0x10000) & 0x3ff));
        p += len ? len : 1;
    }
}

/* JSON's scalars are YAML's. */
static void yaml_scalar(FILE *out, const json_t *json)
{
    json_write(out, json, JSON_ENCODE_ANY, true);
    fputc('\n', out);
}

static void yaml_value(FILE *out, const json_t *json, int depth)
{
    if (yaml_flat(json)) {
        fputc(' ', out);
        yaml_scalar(out, json);
        return;
    }
    fputc('\n', out);
    yaml_write(out, json, depth + 1, false);
}

static void yaml_write(FILE *out, const json_t *json, int depth, bool behind_dash)
{
    if (yaml_flat(json)) {
        yaml_scalar(out, json);
        return;
    }
    if (json_is_object(json)) {
        for (void *at = json_object_iter((json_t *)json); at; at = json_object_iter_next((json_t *)json, at)) {
            fprintf(out, "%*s%s:", behind_dash ? 0 : depth * 2, "", json_object_iter_key(at));
            behind_dash = false;
            yaml_value(out, json_object_iter_value(at), depth);
        }
        return;
    }
    for (size_t i = 0; i < json_array_size(json); i++) {
        fprintf(out, "%*s- ", depth * 2, "");
        yaml_write(out, json_array_get(json, i), depth + 1, true);
    }
}

void print_document(FILE *out, OutputForm form, json_t **json)
{
    if (form == OUTPUT_YAML) {
        yaml_write(out, *json, 0, false);
    } else {
        json_write(out, *json, JSON_INDENT(2), false);
        fputc('\n', out);
    }
    json_decref(*json);
    *json = NULL;
}

void print_json_line(FILE *out, json_t **json)
{
    json_write(out, *json, JSON_COMPACT, false);
    fputc('\n', out);
    json_decref(*json);
    *json = NULL;
}

json_t *json_text(const char *text)
{
    if (!text)
        return json_null();
    json_t *json = json_string(text);
    if (json)
        return json;
    DEFER(xfree) char *shown = escaped(text); /* not UTF-8 */
    return json_string(shown);
}

void json_put_text(json_t *object, const char *name, const char *text)
{
    if (text)
        json_object_set_new(object, name, json_text(text));
}

void json_put_number(json_t *object, const char *name, uint64_t number)
{
    json_object_set_new(object, name, json_integer((json_int_t)number));
}

json_t *json_object_of(const Object *object)
{
    char *text = NULL;
    size_t size = 0;
    FILE *memory = open_memstream(&text, &size);
    TextWriter writer = {0};

    if (!memory)
        abort();
    text_write_begin(&writer, memory, TEXT_JSON);
    text_write_item(&writer, object);
    text_write_end(&writer);
    fclose(memory);
    json_t *document = json_loadb(text, size, 0, NULL);
    free(text);
    json_t *item = json_incref(json_array_get(json_object_get(document, "items"), 0));
    json_decref(document);
    return item;
}
