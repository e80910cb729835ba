#include "model/value.h"

#include "base/alloc.h"
#include "model/amount.h"
#include "model/name.h"
#include "model/nearest.h"
#include "model/secret_field.h"
#include "model/shown.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* ---- a field of a message ---------------------------------------------------------- */

/* Where a field lies: its descriptor, the place of its value, and that of has_x or n_x. */
typedef struct Slot {
    const ProtobufCFieldDescriptor *field;
    void *value, *quantifier;
} Slot;

static Slot slot_of(const Object *object, const FieldMeta *meta)
{
    ProtobufCMessage *body = object_body(object);
    assert(body);
    const ProtobufCFieldDescriptor *field = meta_descriptor(body->descriptor, meta);
    assert(field);

    return (Slot){field, (char *)body + field->offset, (char *)body + field->quantifier_offset};
}

static bool is_text(const Slot *slot)
{
    return slot->field->type == PROTOBUF_C_TYPE_STRING;
}

/* The text that protobuf-c lets an unset field point to: constant, and never freed. */
static bool is_default_text(const Slot *slot, const char *text)
{
    return text && text == slot->field->default_value;
}

static char **texts(const Slot *slot, size_t *ret_n)
{
    *ret_n = *(size_t *)slot->quantifier;
    return *(char ***)slot->value;
}

static uint64_t number_of(const Slot *slot, const void *from)
{
    switch (slot->field->type) {
    case PROTOBUF_C_TYPE_BOOL:
        return *(const protobuf_c_boolean *)from != 0;
    case PROTOBUF_C_TYPE_UINT32:
        return *(const uint32_t *)from;
    case PROTOBUF_C_TYPE_ENUM:
        return (uint64_t) * (const int *)from;
    case PROTOBUF_C_TYPE_UINT64:
        return *(const uint64_t *)from;
    default:
        assert(!"a type of field that desired.proto has");
        return 0;
    }
}

static void number_put(const Slot *slot, uint64_t number)
{
    switch (slot->field->type) {
    case PROTOBUF_C_TYPE_BOOL:
        *(protobuf_c_boolean *)slot->value = number != 0;
        return;
    case PROTOBUF_C_TYPE_UINT32:
        *(uint32_t *)slot->value = (uint32_t)number;
        return;
    case PROTOBUF_C_TYPE_ENUM:
        *(int *)slot->value = (int)number;
        return;
    case PROTOBUF_C_TYPE_UINT64:
        *(uint64_t *)slot->value = number;
        return;
    default:
        assert(!"a type of field that desired.proto has");
    }
}

/* One spelling in the bytes: what equals the default of desired.proto is not set. */
static void number_state(const Slot *slot, uint64_t number)
{
    const void *by_default = slot->field->default_value;

    number_put(slot, number);
    *(protobuf_c_boolean *)slot->quantifier = !by_default || number_of(slot, by_default) != number;
}

static void text_clear(const Slot *slot)
{
    char **place = slot->value;

    if (!is_default_text(slot, *place))
        free(*place);
    *place = (char *)(uintptr_t)slot->field->default_value;
}

static void text_state(const Slot *slot, char **text)
{
    const char *by_default = slot->field->default_value;

    text_clear(slot);
    if (**text && !(by_default && strcmp(*text, by_default) == 0)) {
        *(char **)slot->value = *text;
        *text = NULL;
    }
}

void value_clear(Object *object, const FieldMeta *meta)
{
    Slot slot = slot_of(object, meta);

    if (meta->list) {
        size_t n;
        char **items = texts(&slot, &n);
        for (size_t i = 0; i < n; i++)
            free(items[i]);
        free(items);
        *(char ***)slot.value = NULL;
        *(size_t *)slot.quantifier = 0;
    } else if (is_text(&slot)) {
        text_clear(&slot);
    } else {
        number_put(&slot, slot.field->default_value ? number_of(&slot, slot.field->default_value) : 0);
        *(protobuf_c_boolean *)slot.quantifier = false;
    }
}

size_t value_count(const Object *object, const FieldMeta *meta)
{
    Slot slot = slot_of(object, meta);

    if (meta->list)
        return *(size_t *)slot.quantifier;
    if (is_text(&slot))
        return *(char **)slot.value && !is_default_text(&slot, *(char **)slot.value);
    return *(protobuf_c_boolean *)slot.quantifier != 0;
}

/* ---- errors ------------------------------------------------------------------------ */

char *field_title(const FieldMeta *field)
{
    char *title = xstrdup(field->name);

    for (char *at = title; *at; at++)
        if (*at == '_')
            *at = '-';
    return title;
}

static Error *in_value(Error *err, const FieldMeta *field, const char *text)
{
    if (!err)
        return NULL;
    DEFER(xfree) char *title = field_title(field);
    DEFER(xfree) char *value = shown(text);
    return field->secret ? error_in(err, "%s", title) : error_in(err, "%s '%s'", title, value);
}

static Error *in_field(Error *err, const FieldMeta *field)
{
    if (!err)
        return NULL;
    DEFER(xfree) char *title = field_title(field);
    return error_in(err, "%s", title);
}

/* ---- words ------------------------------------------------------------------------- */

/* INCLUDE_GROUPS is written include-groups. */
static char *enum_word(const ProtobufCEnumValue *value)
{
    char *word = xstrdup(value->name);

    for (char *at = word; *at; at++) {
        if (*at >= 'A' && *at <= 'Z')
            *at = (char)(*at - 'A' + 'a');
        if (*at == '_')
            *at = '-';
    }
    return word;
}

char *value_word(const ProtobufCMessageDescriptor *message, const FieldMeta *field, size_t index)
{
    const char *fixed[4];
    size_t n = 0;

    if (field->unset)
        fixed[n++] = field->unset;
    if (field->zero)
        fixed[n++] = field->zero;
    if (field->type == MAIL__FIELD_TYPE__YES_NO) {
        fixed[n++] = "yes";
        fixed[n++] = "no";
    }
    if (index < n)
        return xstrdup(fixed[index]);
    if (field->type != MAIL__FIELD_TYPE__WORD)
        return NULL;
    const ProtobufCEnumDescriptor *words = meta_descriptor(message, field)->descriptor;
    return index - n < words->n_values ? enum_word(&words->values[index - n]) : NULL;
}

/* "write off, on or include-groups" */
static Error *no_such_word(const ProtobufCEnumDescriptor *words, const char *text)
{
    DEFER(buf_done) Buf all = {0};
    Nearest nearest;

    nearest_init(&nearest, text);
    for (unsigned i = 0; i < words->n_values; i++) {
        DEFER(xfree) char *word = enum_word(&words->values[i]);
        buf_printf(&all, "%s%s", i == 0 ? "" : i + 1 < words->n_values ? ", " : " or ", word);
        nearest_offer(&nearest, word);
    }
    Error *err = error_new(ERROR_INVALID, "write %s", buf_text(&all));
    return nearest_found(&nearest) ? error_hint(err, "did you mean %s?", nearest_found(&nearest)) : err;
}

static Error *word_read(const ProtobufCEnumDescriptor *words, const char *text, uint64_t *ret_number)
{
    DEFER(xfree) char *typed = xstrdup(text);

    for (char *at = typed; *at; at++)
        if (*at == '_')
            *at = '-';
    for (unsigned i = 0; i < words->n_values; i++) {
        DEFER(xfree) char *word = enum_word(&words->values[i]);
        if (strcmp(word, typed) == 0) {
            *ret_number = (uint64_t)words->values[i].value;
            return NULL;
        }
    }
    return no_such_word(words, text);
}

static Error *yes_no_read(const char *text, uint64_t *ret_number)
{
    static const char *const words[] = {"no", "yes", "false", "true"};

    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (strcmp(text, words[i]) == 0) {
            *ret_number = i % 2;
            return NULL;
        }
    return error_new(ERROR_INVALID, "write yes or no");
}

/* ---- numbers ----------------------------------------------------------------------- */

static Error *range_check(const FieldMeta *field, uint64_t number)
{
    if (number == 0 && field->zero)
        return NULL;
    if (number < field->min) {
        DEFER(xfree) char *least = amount_text(field->type, field->min);
        return error_new(ERROR_INVALID, "at least %s%s%s", least, field->zero ? ", or " : "",
                         field->zero ? field->zero : "");
    }
    if (field->max && number > field->max) {
        DEFER(xfree) char *most = amount_text(field->type, field->max);
        return error_new(ERROR_INVALID, "at most %s", most);
    }
    return NULL;
}

/* Every number beyond 64 bits is beyond the field's limit, too: that limit is what helps. */
static Error *amount_within(const FieldMeta *field, const char *text, uint64_t *ret_number)
{
    uint64_t number = 0;
    /* A plain 0 is written for spans, too, where it is a word. */
    Error *err = field->zero && strcmp(text, "0") == 0 ? NULL : amount_read(field->type, text, &number);

    if (err && strcmp(err->what, "too large") == 0 && field->max) {
        error_free(&err);
        number = UINT64_MAX;
    }
    if (!err)
        err = range_check(field, number);
    if (!err)
        *ret_number = number;
    return err;
}

/* The words do not say it again: it may be one. */
static Error *secret_read(const char *text, uint64_t *ret_number)
{
    if (strcmp(text, SECRET_HIDDEN) != 0)
        return error_hint(error_new(ERROR_INVALID, "a secret is not written here"),
                          "set it by mailctl: from a file, stdin or a prompt; " SECRET_HIDDEN " keeps what is stored");
    *ret_number = SECRET_KEPT;
    return NULL;
}

static Error *number_read(const Slot *slot, const FieldMeta *field, const char *text, uint64_t *ret_number)
{
    if (field->zero && strcmp(text, field->zero) == 0) {
        *ret_number = 0;
        return NULL;
    }
    switch (field->type) {
    case MAIL__FIELD_TYPE__SECRET:
        return secret_read(text, ret_number);
    case MAIL__FIELD_TYPE__YES_NO:
        return yes_no_read(text, ret_number);
    case MAIL__FIELD_TYPE__WORD:
        return word_read(slot->field->descriptor, text, ret_number);
    default:
        return amount_within(field, text, ret_number);
    }
}

static char *number_text(const Slot *slot, const FieldMeta *field, uint64_t number)
{
    if (field->type == MAIL__FIELD_TYPE__SECRET)
        return xstrdup(SECRET_HIDDEN);
    if (field->type == MAIL__FIELD_TYPE__YES_NO)
        return xstrdup(number ? "yes" : "no");
    if (field->type == MAIL__FIELD_TYPE__WORD) {
        const ProtobufCEnumValue *value = protobuf_c_enum_descriptor_get_value(slot->field->descriptor, (int)number);
        return value ? enum_word(value) : xasprintf("%" PRIu64, number);
    }
    if (number == 0 && field->zero)
        return xstrdup(field->zero);
    return amount_text(field->type, number);
}

/* ---- texts ------------------------------------------------------------------------- */

static Error *octets_check(const FieldMeta *field, const char *text)
{
    if (!field->list && field->max && strlen(text) > field->max)
        return error_new(ERROR_INVALID, "%zu octets: at most %" PRIu64, strlen(text), field->max);
    return NULL;
}

/* The type's form and, where the field has one, its limit of octets: of the one form, too, because NFC may be longer.
 * A value that reads as the word for "not set" could not be written again. */
static Error *text_read(const FieldMeta *field, const char *text, char **ret_text)
{
    Error *err = octets_check(field, text);

    if (!err)
        err = text_normalise(field->type, text, ret_text);
    if (!err && *ret_text)
        err = octets_check(field, *ret_text);
    if (!err && *ret_text && field->unset && strcmp(*ret_text, field->unset) == 0)
        err = error_new(ERROR_INVALID, "means that nothing is set");
    return err;
}

/* ---- lists ------------------------------------------------------------------------- */

static bool items_have(char *const *items, size_t n, const char *text)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(items[i], text) == 0)
            return true;
    return false;
}

/* The length is checked here and not only in validation: looking for doubles costs its square. */
static Error *item_state(const Slot *slot, const FieldMeta *field, char **item)
{
    size_t n;
    char **items = texts(slot, &n);

    if (items_have(items, n, *item))
        return NULL;
    if (field->max && n >= field->max)
        return in_field(error_new(ERROR_INVALID, "more than %" PRIu64 " entries", field->max), field);
    items = xrealloc(items, (n + 1) * sizeof *items);
    items[n] = *item;
    *item = NULL;
    *(char ***)slot->value = items;
    *(size_t *)slot->quantifier = n + 1;
    return NULL;
}

Error *value_add(Object *object, const FieldMeta *field, const char *item)
{
    assert(field->list);
    Slot slot = slot_of(object, field);
    DEFER(xfree) char *normal = NULL;

    Error *err = in_value(text_read(field, item, &normal), field, item);
    return err || !normal ? err : item_state(&slot, field, &normal);
}

static void item_take(const Slot *slot, const char *text)
{
    size_t n, kept = 0;
    char **items = texts(slot, &n);

    for (size_t i = 0; i < n; i++) {
        if (strcmp(items[i], text) == 0)
            free(items[i]);
        else
            items[kept++] = items[i];
    }
    *(size_t *)slot->quantifier = kept;
}

static Error *take_one(Object *object, const FieldMeta *field, const char *item)
{
    Slot slot = slot_of(object, field);
    DEFER(xfree) char *normal = NULL;

    Error *err = in_value(text_read(field, item, &normal), field, item);
    if (!err && normal)
        item_take(&slot, normal);
    return err;
}

/* Item by item; spaces around one are no part of it. */
static Error *items_each(Object *object, const FieldMeta *field, const char *text,
                         Error *(*each)(Object *object, const FieldMeta *field, const char *item))
{
    for (const char *at = text;; at++) {
        size_t len = strcspn(at, ",");
        const char *end = at + len, *next = end;

        while (at < end && *at == ' ')
            at++;
        while (end > at && end[-1] == ' ')
            end--;
        DEFER(xfree) char *item = xstrndup(at, (size_t)(end - at));
        Error *err = each(object, field, item);
        if (err || !*next)
            return err;
        at = next;
    }
}

static Error *list_check(const FieldMeta *field)
{
    return field->list ? NULL : in_field(error_new(ERROR_INVALID, "no list: it is set with '='"), field);
}

Error *value_append(Object *object, const FieldMeta *field, const char *text)
{
    Error *err = list_check(field);

    return err || !*text ? err : items_each(object, field, text, value_add);
}

Error *value_take(Object *object, const FieldMeta *field, const char *text)
{
    Error *err = list_check(field);

    return err || !*text ? err : items_each(object, field, text, take_one);
}

/* ---- whole fields ------------------------------------------------------------------ */

static Error *single_set(const Slot *slot, const FieldMeta *field, const char *text)
{
    DEFER(xfree) char *normal = NULL;
    uint64_t number = 0;

    if (is_text(slot)) {
        Error *err = text_read(field, text, &normal);
        if (!err && normal)
            text_state(slot, &normal);
        return err;
    }
    Error *err = number_read(slot, field, text, &number);
    if (!err)
        number_state(slot, number);
    return err;
}

Error *value_set(Object *object, const FieldMeta *field, const char *text)
{
    Slot slot = slot_of(object, field);

    if (!*text || (field->unset && strcasecmp(text, field->unset) == 0)) {
        value_clear(object, field);
        return NULL;
    }
    if (!field->list)
        return in_value(single_set(&slot, field, text), field, text);
    value_clear(object, field);
    return items_each(object, field, text, value_add);
}

static void doubles_drop(const Slot *slot)
{
    size_t n, kept = 0;
    char **items = texts(slot, &n);

    for (size_t i = 0; i < n; i++) {
        if (items_have(items, kept, items[i]))
            free(items[i]);
        else
            items[kept++] = items[i];
    }
    *(size_t *)slot->quantifier = kept;
}

static Error *list_normalise(const Slot *slot, const FieldMeta *field)
{
    size_t n;
    char **items = texts(slot, &n);

    if (field->max && n > field->max)
        return in_field(error_new(ERROR_INVALID, "%zu entries: at most %" PRIu64, n, field->max), field);
    for (size_t i = 0; i < n; i++) {
        char *normal = NULL;
        Error *err = in_value(text_read(field, items[i], &normal), field, items[i]);
        if (err || !normal)
            return err;
        free(items[i]);
        items[i] = normal;
    }
    doubles_drop(slot);
    return NULL;
}

static Error *number_normalise(const Slot *slot, const FieldMeta *field)
{
    uint64_t number = number_of(slot, slot->value);
    Error *err = NULL;

    if (field->type == MAIL__FIELD_TYPE__WORD) {
        if (!protobuf_c_enum_descriptor_get_value(slot->field->descriptor, (int)number))
            err = error_new(ERROR_UNSUPPORTED, "not known here");
    } else if (field->type == MAIL__FIELD_TYPE__SECRET) {
        if (number == 0)
            err = error_new(ERROR_INVALID, "0 is the number of none");
    } else if (field->type != MAIL__FIELD_TYPE__YES_NO) {
        err = range_check(field, number);
    }
    if (err) {
        DEFER(xfree) char *text = number_text(slot, field, number);
        return in_value(err, field, text);
    }
    number_state(slot, number);
    return NULL;
}

Error *value_normalise(Object *object, const FieldMeta *field)
{
    Slot slot = slot_of(object, field);
    DEFER(xfree) char *normal = NULL;

    if (value_count(object, field) == 0)
        return NULL;
    if (field->list)
        return list_normalise(&slot, field);
    if (!is_text(&slot))
        return number_normalise(&slot, field);
    const char *text = *(char **)slot.value;
    Error *err = *text ? in_value(text_read(field, text, &normal), field, text) : NULL;
    if (err)
        return err;
    if (normal)
        text_state(&slot, &normal);
    else
        value_clear(object, field);
    return NULL;
}

/* ---- as people write it ------------------------------------------------------------ */

char *value_text(const Object *object, const FieldMeta *field, size_t index)
{
    Slot slot = slot_of(object, field);
    size_t n;

    assert(index < value_count(object, field));
    if (field->list)
        return xstrdup(texts(&slot, &n)[index]);
    if (is_text(&slot))
        return xstrdup(*(char **)slot.value);
    return number_text(&slot, field, number_of(&slot, slot.value));
}

char *value_default_text(const Object *object, const FieldMeta *field)
{
    Slot slot = slot_of(object, field);

    if (field->unset)
        return xstrdup(field->unset);
    if (field->list || !slot.field->default_value)
        return xstrdup("");
    if (is_text(&slot))
        return xstrdup(slot.field->default_value);
    return number_text(&slot, field, number_of(&slot, slot.field->default_value));
}
