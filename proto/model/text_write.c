#include "model/text_inside.h"

#include "base/alloc.h"
#include "base/log.h"
#include "base/utf8.h"
#include "model/meta.h"
#include "model/secret_field.h"
#include "model/shown.h"
#include "model/value.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { WIDTH = 100 }; /* a longer list goes one item a line */

/* ---- texts ----------------------------------------------------------------------------- */

/* A character that people would not see, or that a reader of YAML refuses. */
static void escape_put(Buf *out, TextForm form, uint32_t character)
{
    if (character <= 0xffff)
        buf_printf(out, "\\u%04" PRIx32, character);
    else if (form == TEXT_YAML)
        buf_printf(out, "\\U%08" PRIx32, character);
    else
        buf_printf(out, "\\u%04" PRIx32 "\\u%04" PRIx32, 0xd800 + ((character - 0x10000) >> 10),
                   0xdc00 + (character & 0x3ff));
}

/* A JSON string, and YAML's double-quoted form. */
static void quoted_put(Buf *out, TextForm form, const char *text)
{
    size_t size = strlen(text), len;

    buf_append(out, "\"", 1);
    for (size_t at = 0; at < size; at += len) {
        bool valid = utf8_char_len(text + at, size - at) != 0;
        uint32_t character = character_at(text + at, &len);
        if (!valid)
            character = 0xfffd;
        if (character == '"' || character == '\\')
            buf_append(out, "\\", 1);
        if (!valid || character_hidden(character))
            escape_put(out, form, character);
        else
            buf_append(out, text + at, len);
    }
    buf_append(out, "\"", 1);
}

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* "500M", "7d": YAML 1.1 and 1.2 know no number of this form. */
static bool is_amount(const char *text)
{
    size_t digits = strspn(text, "0123456789");
    const char *unit = text + digits;

    return digits && is_letter(*unit) && !strpbrk(unit, "0123456789.+-_:") && !strchr("eExXoObB", *unit) &&
           strspn(unit, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ") == strlen(unit);
}

/* Words that some reader of YAML takes for something else than a text. */
static bool is_taken(const char *text)
{
    static const char *const words[] = {"true", "false", "yes", "no", "on", "off", "y", "n", "null"};

    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (strcasecmp(text, words[i]) == 0)
            return true;
    return false;
}

/* Plain where nobody can read it otherwise; a colon only between two other signs. */
static bool goes_plain(const char *text)
{
    if (is_amount(text))
        return true;
    if (!is_letter(*text) || is_taken(text))
        return false;
    for (const char *c = text + 1; *c; c++) {
        if (*c == ':' && (is_letter(c[1]) || is_digit(c[1])))
            continue;
        if (*c == ' ' && (is_letter(c[1]) || is_digit(c[1])))
            continue;
        if (!is_letter(*c) && !is_digit(*c) && !strchr("@._/+-'", *c))
            return false;
    }
    return true;
}

static void text_put(Buf *out, TextForm form, const char *text)
{
    if (form == TEXT_YAML && goes_plain(text))
        buf_append_text(out, text);
    else
        quoted_put(out, form, text);
}

static bool is_number(const FieldMeta *field, const char *text)
{
    bool number = field->type == MAIL__FIELD_TYPE__NUMBER || field->type == MAIL__FIELD_TYPE__SCORE;

    return number && *text && strspn(text, "0123456789.") == strlen(text);
}

/* One value of a field, or of a list's. */
static void value_put(Buf *out, TextForm form, const Object *object, const FieldMeta *field, size_t index)
{
    DEFER(xfree) char *text = value_text(object, field, index);

    if (field->type == MAIL__FIELD_TYPE__YES_NO)
        buf_append_text(out, strcmp(text, "yes") == 0 ? "true" : "false");
    else if (is_number(field, text))
        buf_append_text(out, text);
    else
        text_put(out, form, text);
}

/* ---- fields ------------------------------------------------------------------------------ */

static void list_put(Buf *out, TextForm form, const Object *object, const FieldMeta *field)
{
    buf_append(out, "[", 1);
    for (size_t i = 0; i < value_count(object, field); i++) {
        if (i)
            buf_append_text(out, form == TEXT_YAML ? ", " : ",");
        value_put(out, form, object, field, i);
    }
    buf_append(out, "]", 1);
}

static void long_list_put(Buf *out, const Object *object, const FieldMeta *field)
{
    for (size_t i = 0; i < value_count(object, field); i++) {
        buf_append_text(out, "\n      - ");
        value_put(out, TEXT_YAML, object, field, i);
    }
}

static void key_put(Buf *out, TextForm form, const char *key, bool first)
{
    if (form == TEXT_JSON)
        buf_printf(out, "%s\"%s\":", first ? "" : ",", key);
    else
        buf_printf(out, "%s%s:", first ? "  - " : "    ", key);
}

static void own_put(Buf *out, TextForm form, const char *key, const char *text, bool first)
{
    if (!text || !*text)
        return;
    key_put(out, form, key, first);
    if (form == TEXT_YAML)
        buf_append(out, " ", 1);
    text_put(out, form, text);
    if (form == TEXT_YAML)
        buf_append(out, "\n", 1);
}

/* Always in quotes: as a word of YAML it might be something else. */
static void secret_put(Buf *out, TextForm form, const KindInfo *info, const TextSecret *secret)
{
    char *text = xstrndup(secret->value, secret->size);

    key_put(out, form, text_field_name(info, secret->field).text, false);
    if (form == TEXT_YAML)
        buf_append(out, " ", 1);
    quoted_put(out, form, text);
    if (form == TEXT_YAML)
        buf_append(out, "\n", 1);
    explicit_bzero(text, secret->size);
    free(text);
}

static void field_put(Buf *out, TextForm form, const KindInfo *info, const Object *object, const FieldMeta *field)
{
    DEFER(buf_done) Buf value = {0};

    if (!value_count(object, field))
        return;
    key_put(out, form, text_field_name(info, field).text, false);
    if (field->list)
        list_put(&value, form, object, field);
    else
        value_put(&value, form, object, field, 0);
    if (form == TEXT_JSON) {
        buf_append(out, value.data, value.size);
        return;
    }
    if (field->list && value.size > WIDTH) {
        long_list_put(out, object, field);
    } else {
        buf_append(out, " ", 1);
        buf_append(out, value.data, value.size);
    }
    buf_append(out, "\n", 1);
}

static const KindInfo *info_of(const Object *object)
{
    return kind_info(object->body_case);
}

/* ---- documents --------------------------------------------------------------------------- */

static void begin(TextWriter *writer, FILE *out, TextForm form, const char *json, const char *yaml)
{
    *writer = (TextWriter){.out = out, .form = form};
    fprintf(out, form == TEXT_JSON ? "{\"version\":1,%s\"items\":[" : "version: 1\n%sitems:",
            form == TEXT_JSON ? json : yaml);
}

void text_write_begin(TextWriter *writer, FILE *out, TextForm form)
{
    begin(writer, out, form, "", "");
}

void text_write_begin_secrets(TextWriter *writer, FILE *out, TextForm form)
{
    begin(writer, out, form, "\"secrets\":\"stated\",", "secrets: stated\n");
}

static const TextSecret *secret_of(const FieldMeta *field, const TextSecret *secrets, size_t n_secrets)
{
    for (size_t i = 0; i < n_secrets; i++)
        if (secrets[i].field == field)
            return &secrets[i];
    return NULL;
}

void text_write_item_secrets(TextWriter *writer, const Object *object, const TextSecret *secrets, size_t n_secrets)
{
    DEFER(buf_done) Buf line = {0};
    const KindInfo *info = info_of(object);
    TextForm form = writer->form;

    if (form == TEXT_JSON)
        buf_append_text(&line, writer->n_items ? ",\n{" : "\n{");
    else if (!writer->n_items)
        buf_append(&line, "\n", 1);
    own_put(&line, form, "kind", info->name, true);
    own_put(&line, form, "instance", object->instance_name, false);
    own_put(&line, form, "name", object->name, false);
    for (size_t i = 0; i < info->meta->n_fields; i++) {
        const TextSecret *secret = secret_of(&info->meta->fields[i], secrets, n_secrets);
        if (secret)
            secret_put(&line, form, info, secret);
        else
            field_put(&line, form, info, object, &info->meta->fields[i]);
    }
    if (form == TEXT_JSON)
        buf_append(&line, "}", 1);
    fwrite(line.data, 1, line.size, writer->out);
    if (n_secrets)
        explicit_bzero(line.data, line.size);
    writer->n_items++;
}

void text_write_item(TextWriter *writer, const Object *object)
{
    text_write_item_secrets(writer, object, NULL, 0);
}

void text_write_end(TextWriter *writer)
{
    if (writer->form == TEXT_JSON)
        fputs(writer->n_items ? "\n]}\n" : "]}\n", writer->out);
    else if (!writer->n_items)
        fputs(" []\n", writer->out);
}

/* ---- differences ------------------------------------------------------------------------- */

/* What tells one value from another: two secrets look alike. */
static char *value_sign(const Object *object, const FieldMeta *field, size_t index)
{
    if (field->secret)
        return xasprintf("%" PRIu64, secret_field_id(object, field));
    return value_text(object, field, index);
}

static bool has_value(const Object *object, const FieldMeta *field, const char *text)
{
    for (size_t i = 0; i < value_count(object, field); i++) {
        DEFER(xfree) char *other = value_sign(object, field, i);
        if (strcmp(other, text) == 0)
            return true;
    }
    return false;
}

static void line_put(FILE *out, char sign, const FieldMeta *field, const char *text)
{
    DEFER(xfree) char *shown = log_escape(text);

    fprintf(out, "  %c ", sign);
    for (const char *c = field->name; *c; c++)
        fputc(*c == '_' ? '-' : *c, out);
    fprintf(out, ": %s\n", shown);
}

/* The values of 'object' that 'other' does not have; how many. */
static size_t values_put(FILE *out, char sign, const FieldMeta *field, const Object *object, const Object *other)
{
    size_t n = 0;

    for (size_t i = 0; object && i < value_count(object, field); i++) {
        DEFER(xfree) char *text = value_text(object, field, i), *own = value_sign(object, field, i);
        if (other && has_value(other, field, own))
            continue;
        line_put(out, sign, field, text);
        n++;
    }
    return n;
}

static void order_put(FILE *out, char sign, const FieldMeta *field, const Object *object)
{
    DEFER(buf_done) Buf all = {0};

    for (size_t i = 0; i < value_count(object, field); i++) {
        DEFER(xfree) char *text = value_text(object, field, i);
        buf_printf(&all, "%s%s", i ? "," : "", text);
    }
    line_put(out, sign, field, buf_text(&all));
}

static bool same_order(const FieldMeta *field, const Object *before, const Object *after)
{
    for (size_t i = 0; i < value_count(before, field); i++) {
        DEFER(xfree) char *a = value_text(before, field, i), *b = value_text(after, field, i);
        if (strcmp(a, b) != 0)
            return false;
    }
    return true;
}

static void field_differs(FILE *out, const FieldMeta *field, const Object *before, const Object *after)
{
    size_t n = values_put(out, '-', field, before, after) + values_put(out, '+', field, after, before);

    if (n || !before || !after || value_count(before, field) != value_count(after, field) ||
        same_order(field, before, after))
        return;
    order_put(out, '-', field, before);
    order_put(out, '+', field, after);
}

void text_write_diff(FILE *out, const Object *before, const Object *after)
{
    const Object *one = after ? after : before;
    const KindInfo *info = info_of(one);
    ObjectRef ref = object_ref(one);
    ObjectKey title = object_title(&ref);
    DEFER(xfree) char *shown = log_escape(title.text);

    fprintf(out, "%c %s\n", !before ? '+' : !after ? '-' : '~', shown);
    for (size_t i = 0; i < info->meta->n_fields; i++)
        field_differs(out, &info->meta->fields[i], before, after);
}
