#include "model/text_inside.h"

#include "base/alloc.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

/* The outer braces are read here and each item by jansson: memory for one item, and a line for each.  (A whole document
 * in jansson's hands costs 6 times its size, and remembers no lines.)
 */
typedef struct Json {
    TextReader *reader;
    const char *data;
    size_t size, at;
    size_t line;
} Json;

static void json_drop(json_t **value)
{
    json_decref(*value);
    *value = NULL;
}

static Error *refuse(const Json *json, const char *words)
{
    return text_error_at(json->reader, json->line, error_new(ERROR_INVALID, "%s", words));
}

static void advance(Json *json, size_t size)
{
    for (size_t end = json->at + size; json->at < end; json->at++)
        json->line += json->data[json->at] == '\n';
}

/* The next sign that is no space; NUL at the end (a NUL in the file was refused before). */
static char peek(Json *json)
{
    while (json->at < json->size && strchr(" \t\r\n", json->data[json->at]))
        advance(json, 1);
    return json->at < json->size ? json->data[json->at] : '\0';
}

static bool take(Json *json, char sign)
{
    if (peek(json) != sign)
        return false;
    advance(json, 1);
    return true;
}

static Error *value_read(Json *json, json_t **ret_value)
{
    json_error_t error;

    peek(json);
    json_t *value = json_loadb(json->data + json->at, json->size - json->at,
                               JSON_REJECT_DUPLICATES | JSON_DECODE_ANY | JSON_DISABLE_EOF_CHECK, &error);
    if (!value) {
        size_t line = json->line + (error.line > 0 ? (size_t)error.line - 1 : 0);
        return text_no_syntax(json->reader, line, "no JSON", error.text);
    }
    advance(json, (size_t)error.position);
    *ret_value = value;
    return NULL;
}

/* ---- an item -------------------------------------------------------------------------- */

static Error *value_put(const Json *json, size_t line, const char *key, const json_t *value)
{
    char number[32];

    switch (json_typeof(value)) {
    case JSON_STRING:
        return text_item_value(json->reader, line, json_string_value(value), json_string_length(value));
    case JSON_INTEGER:
        snprintf(number, sizeof number, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
        return text_item_value(json->reader, line, number, strlen(number));
    case JSON_REAL:
        snprintf(number, sizeof number, "%.15g", json_real_value(value));
        return text_item_value(json->reader, line, number, strlen(number));
    case JSON_TRUE:
        return text_item_value(json->reader, line, "true", 4);
    case JSON_FALSE:
        return text_item_value(json->reader, line, "false", 5);
    case JSON_NULL:
        return text_error_at(json->reader, line,
                             error_new(ERROR_INVALID, "%s: null is no value: leave the key out", key));
    case JSON_OBJECT:
    case JSON_ARRAY:
        break;
    }
    return text_error_at(json->reader, line, error_new(ERROR_INVALID, "%s: a word or a list of words is wanted", key));
}

static Error *list_put(const Json *json, size_t line, const char *key, const json_t *list)
{
    Error *err = NULL;

    text_item_list(json->reader);
    for (size_t i = 0; !err && i < json_array_size(list); i++)
        err = value_put(json, line, key, json_array_get(list, i));
    return err;
}

static Error *item(Json *json)
{
    DEFER(json_drop) json_t *object = NULL;
    const char *key;
    json_t *value;

    if (peek(json) != '{')
        return refuse(json, "an item must be an object: {\"kind\": ...}");
    size_t line = json->line;
    Error *err = value_read(json, &object);
    if (err)
        return err;
    text_item_begin(json->reader, line);
    json_object_foreach(object, key, value)
    {
        err = text_item_key(json->reader, line, key, strlen(key));
        if (!err)
            err = json_is_array(value) ? list_put(json, line, key, value) : value_put(json, line, key, value);
        if (err)
            return err;
    }
    return text_item_end(json->reader);
}

/* ---- the document --------------------------------------------------------------------- */

static Error *items(Json *json)
{
    Error *err = NULL;

    if (!take(json, '['))
        return refuse(json, "items must be a list");
    if (take(json, ']'))
        return NULL;
    for (;;) {
        err = item(json);
        if (err)
            return err;
        if (take(json, ']'))
            return NULL;
        if (!take(json, ','))
            return refuse(json, "no JSON: ',' or ']' is wanted behind an item");
    }
}

static Error *secrets(Json *json)
{
    DEFER(json_drop) json_t *value = NULL;
    size_t line = json->line;

    Error *err = value_read(json, &value);
    if (err)
        return err;
    const char *text = json_is_string(value) ? json_string_value(value) : "";
    return text_secrets(json->reader, line, text, strlen(text));
}

static Error *version(Json *json)
{
    DEFER(json_drop) json_t *value = NULL;
    size_t line = json->line;

    Error *err = value_read(json, &value);
    if (err)
        return err;
    DEFER(xfree) char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
    return text_version(json->reader, line, text ? text : "", text ? strlen(text) : 0);
}

static Error *outer_pair(Json *json)
{
    DEFER(json_drop) json_t *name = NULL;
    TextKey key = TEXT_KEY_VERSION;

    if (peek(json) != '"')
        return refuse(json, "no JSON: a key in quotes is wanted");
    size_t line = json->line;
    Error *err = value_read(json, &name);
    if (err)
        return err;
    err = text_outer_key(json->reader, line, json_string_value(name), json_string_length(name), &key);
    if (err)
        return err;
    if (!take(json, ':'))
        return refuse(json, "no JSON: ':' is wanted behind a key");
    peek(json);
    return key == TEXT_KEY_VERSION ? version(json) : key == TEXT_KEY_SECRETS ? secrets(json) : items(json);
}

static Error *outer(Json *json)
{
    take(json, '{');
    if (take(json, '}'))
        return NULL;
    for (;;) {
        Error *err = outer_pair(json);
        if (err)
            return err;
        if (take(json, '}'))
            return NULL;
        if (!take(json, ','))
            return refuse(json, "no JSON: ',' or '}' is wanted");
    }
}

Error *text_read_json(TextReader *reader, const char *data, size_t size)
{
    Json json = {.reader = reader, .data = data, .size = size, .line = 1};

    Error *err = outer(&json);
    if (!err && peek(&json))
        err = refuse(&json, "more behind the last '}'");
    return err ? err : text_outer_end(reader, json.line);
}
