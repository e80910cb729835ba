#include "model/text_inside.h"

#include "base/alloc.h"
#include "base/utf8.h"
#include "model/meta.h"
#include "model/secret_field.h"
#include "model/shown.h"
#include "model/validate.h"
#include "model/value.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- keys --------------------------------------------------------------------------- */

/* What every item has, whatever its kind. */
static const char *const own_keys[] = {"kind", "instance", "name"};

static bool is_own_key(const char *name)
{
    for (size_t i = 0; i < sizeof own_keys / sizeof *own_keys; i++)
        if (strcmp(name, own_keys[i]) == 0)
            return true;
    return false;
}

static bool key_equal(const char *a, const char *b)
{
    for (; *a && *b; a++, b++)
        if (*a != *b && !((*a == '-' || *a == '_') && (*b == '-' || *b == '_')))
            return false;
    return *a == *b;
}

TextFieldName text_field_name(const KindInfo *info, const FieldMeta *field)
{
    TextFieldName name;

    if (is_own_key(field->name))
        snprintf(name.text, sizeof name.text, "%s_%s", info->field, field->name);
    else
        snprintf(name.text, sizeof name.text, "%s", field->name);
    return name;
}

const FieldMeta *text_field_find(const KindInfo *info, const char *key)
{
    for (size_t i = 0; i < info->meta->n_fields; i++) {
        TextFieldName name = text_field_name(info, &info->meta->fields[i]);
        if (key_equal(name.text, key))
            return &info->meta->fields[i];
    }
    return NULL;
}

/* ---- gathering ---------------------------------------------------------------------- */

void text_item_begin(TextReader *reader, size_t line)
{
    text_item_drop(reader);
    reader->line = line;
}

void text_item_drop(TextReader *reader)
{
    for (size_t i = 0; i < reader->n_fields; i++) {
        TextField *field = &reader->fields[i];
        for (size_t k = 0; k < field->n_values; k++) {
            if (reader->secrets)
                explicit_bzero(field->values[k].text, strlen(field->values[k].text));
            free(field->values[k].text);
        }
        free(field->values);
        free(field->key);
        *field = (TextField){0};
    }
    reader->n_fields = 0;
    reader->n_bytes = 0;
}

static Error *text_check(TextReader *reader, size_t line, const char *text, size_t size)
{
    reader->n_bytes += size;
    if (reader->n_bytes > TEXT_ITEM_BYTES)
        return text_error_at(reader, line,
                             error_new(ERROR_INVALID, "the item has more than %d octets", TEXT_ITEM_BYTES));
    if (memchr(text, '\0', size))
        return text_error_at(reader, line, error_new(ERROR_INVALID, "a text holds a NUL"));
    if (!utf8_valid(text, size))
        return text_error_at(reader, line, error_new(ERROR_INVALID, "a text is not UTF-8"));
    return NULL;
}

static const TextField *field_called(const TextReader *reader, const char *key)
{
    for (size_t i = 0; i < reader->n_fields; i++)
        if (key_equal(reader->fields[i].key, key))
            return &reader->fields[i];
    return NULL;
}

static Error *key_refused(const TextReader *reader, size_t line, const char *key, const char *words)
{
    DEFER(xfree) char *seen = shown(key);
    return text_error_at(reader, line, error_new(ERROR_INVALID, "%s %s", seen, words));
}

Error *text_item_key(TextReader *reader, size_t line, const char *key, size_t size)
{
    Error *err = text_check(reader, line, key, size);
    if (err)
        return err;
    DEFER(xfree) char *copy = xstrndup(key, size);

    if (field_called(reader, copy))
        return key_refused(reader, line, copy, "is there twice");
    if (reader->n_fields == TEXT_KEYS_MAX)
        return key_refused(reader, line, copy, "is one key too many: no kind has so many fields");
    reader->fields[reader->n_fields++] = (TextField){.key = copy, .line = line};
    copy = NULL;
    return NULL;
}

void text_item_list(TextReader *reader)
{
    reader->fields[reader->n_fields - 1].list = true;
}

Error *text_item_value(TextReader *reader, size_t line, const char *text, size_t size)
{
    TextField *field = &reader->fields[reader->n_fields - 1];

    Error *err = text_check(reader, line, text, size);
    if (err)
        return err;
    if (field->n_values == field->room) {
        field->room = field->room ? 2 * field->room : 1;
        field->values = xrealloc(field->values, field->room * sizeof *field->values);
    }
    field->values[field->n_values++] = (TextValue){.text = xstrndup(text, size), .line = line};
    return NULL;
}

/* ---- an object of it ------------------------------------------------------------------ */

/* One of the item's own keys; NULL where it is not there. */
static Error *own_text(const TextReader *reader, const char *key, const char **ret_text)
{
    const TextField *field = field_called(reader, key);

    if (field && field->list)
        return text_error_at(reader, field->line, error_new(ERROR_INVALID, "%s: one word is wanted, not a list", key));
    *ret_text = field ? field->values[0].text : NULL;
    return NULL;
}

static Error *kind_of(const TextReader *reader, const KindInfo **ret_info)
{
    const char *name = NULL;

    Error *err = own_text(reader, "kind", &name);
    if (err)
        return err;
    if (!name)
        return text_error_at(reader, reader->line, error_new(ERROR_INVALID, "kind is missing"));
    *ret_info = kind_by_name(name);
    if (*ret_info)
        return NULL;

    DEFER(xfree) char *seen = shown(name);
    err = error_new(ERROR_INVALID, "kind '%s': there is no such kind", seen);
    if (kind_nearest(name))
        err = error_hint(err, "did you mean %s?", kind_nearest(name));
    return text_error_at(reader, field_called(reader, "kind")->line, err);
}

/* As JSON and YAML say it, and as value_set does. */
static const char *word_of(const FieldMeta *meta, const char *text)
{
    if (meta->type != MAIL__FIELD_TYPE__YES_NO)
        return text;
    return strcmp(text, "true") == 0 ? "yes" : strcmp(text, "false") == 0 ? "no" : text;
}

static bool is_stated(const TextReader *reader, const TextField *field, const FieldMeta *meta)
{
    return reader->secrets && meta->secret && !field->list && strcmp(field->values[0].text, SECRET_HIDDEN) != 0;
}

static Error *secret_put(const TextReader *reader, const TextField *field, const FieldMeta *meta, Object *object)
{
    const char *text = field->values[0].text;
    ObjectRef ref = object_ref(object);
    Error *err = secret_value_check(meta, text, strlen(text));

    if (err)
        return text_error_at(reader, field->values[0].line, error_in(err, "%s", object_title(&ref).text));
    secret_field_set(object, meta, SECRET_GIVEN);
    reader->secret(reader->context, &(TextSecret){meta, text, strlen(text)});
    return NULL;
}

static Error *values_put(const TextReader *reader, const TextField *field, const FieldMeta *meta, Object *object)
{
    Error *err = NULL;
    size_t line = field->line;

    if (field->list && !meta->list)
        err = error_new(ERROR_INVALID, "%s: one value is wanted, not a list", field->key);
    for (size_t i = 0; !err && i < field->n_values; i++) {
        const char *text = word_of(meta, field->values[i].text);
        line = field->values[i].line;
        err = meta->list ? value_add(object, meta, text) : value_set(object, meta, text);
    }
    if (!err)
        return NULL;
    ObjectRef ref = object_ref(object);
    return text_error_at(reader, line, error_in(err, "%s", object_title(&ref).text));
}

static Error *field_unknown(const TextReader *reader, const TextField *field, const KindInfo *info)
{
    DEFER(xfree) char *seen = shown(field->key);
    const char *near = meta_field_nearest(info->meta, field->key);
    const FieldMeta *meta = near ? meta_field(info->meta, near) : NULL;

    Error *err = error_new(ERROR_INVALID, "'%s' is no field of kind %s", seen, info->name);
    if (meta)
        err = error_hint(err, "did you mean %s?", text_field_name(info, meta).text);
    return text_error_at(reader, field->line, err);
}

static Error *fields_put(const TextReader *reader, const KindInfo *info, Object *object)
{
    for (size_t i = 0; i < reader->n_fields; i++) {
        const TextField *field = &reader->fields[i];
        const FieldMeta *meta = text_field_find(info, field->key);

        if (!meta && is_own_key(field->key))
            continue;
        Error *err = !meta                            ? field_unknown(reader, field, info)
                     : is_stated(reader, field, meta) ? secret_put(reader, field, meta, object)
                                                      : values_put(reader, field, meta, object);
        if (err)
            return err;
    }
    return NULL;
}

static Error *object_make(const TextReader *reader, Object **ret_object)
{
    const KindInfo *info = NULL;
    const char *instance = NULL, *name = NULL;

    Error *err = kind_of(reader, &info);
    if (!err)
        err = own_text(reader, "instance", &instance);
    if (!err)
        err = own_text(reader, "name", &name);
    if (err || !info)
        return err;

    DEFER(object_free) Object *object = object_new(info->kind, instance, name);
    err = fields_put(reader, info, object);
    if (err)
        return err;
    err = object_validate(object);
    if (err)
        return text_error_at(reader, reader->line, err);
    *ret_object = object;
    object = NULL;
    return NULL;
}

Error *text_item_end(TextReader *reader)
{
    Object *object = NULL;

    Error *err = object_make(reader, &object);
    text_item_drop(reader);
    if (err)
        return err;
    DEFER(xfree) char *place = xasprintf("%s:%zu", reader->file, reader->line);
    return reader->each(reader->context, object, place);
}
