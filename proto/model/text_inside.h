/* text_inside.h - what the parts of the reader behind text.h share
 *
 * text.c opens a file and knows its outer keys; text_yaml.c and text_json.c know
 * one grammar each and say what they find, in the order of the file; text_item.c
 * gathers the keys of one item and makes an object of them at its end, because
 * 'kind' may come last.
 */
#pragma once
#include "model/meta.h"
#include "model/text.h"

#include <stdbool.h>
#include <stddef.h>

enum {
    TEXT_KEYS_MAX = 32,                 /* of one item: more than any kind has */
    TEXT_ITEM_BYTES = OBJECT_BYTES_MAX, /* of all values of one item */
    TEXT_LINE_BYTES = 512 * 1024,       /* of a line of YAML */
};

typedef struct TextValue {
    char *text;
    size_t line;
} TextValue;

typedef struct TextField {
    char *key;
    size_t line;
    bool list;
    TextValue *values;
    size_t n_values, room;
} TextField;

typedef struct TextReader {
    const char *file; /* as the caller called it */
    TextItem *each;
    TextSecretHeard *secret; /* NULL: no secret may be stated */
    void *context;

    bool has_version, has_items;
    bool secrets; /* are stated: words of a parser might hold one */

    size_t line; /* where the item begins */
    TextField fields[TEXT_KEYS_MAX];
    size_t n_fields;
    size_t n_bytes;
} TextReader;

/* Puts "FILE:LINE: " before the words; NULL stays NULL. */
CHECKED Error *text_error_at(const TextReader *reader, size_t line, Error *err);

/* The same as text_read with the octets at hand. */
CHECKED Error *text_read_octets(const char *file, const char *data, size_t size, TextItem *each,
                                TextSecretHeard *secret, void *context);

/* ---- what a grammar says; texts have a size because escapes may make a NUL ---- */

typedef enum TextKey { TEXT_KEY_VERSION, TEXT_KEY_ITEMS, TEXT_KEY_SECRETS } TextKey;

CHECKED Error *text_outer_key(TextReader *reader, size_t line, const char *key, size_t size, TextKey *ret_key);
CHECKED Error *text_secrets(TextReader *reader, size_t line, const char *text, size_t size);
CHECKED Error *text_no_syntax(const TextReader *reader, size_t line, const char *what, const char *words);
CHECKED Error *text_version(const TextReader *reader, size_t line, const char *text, size_t size);
CHECKED Error *text_outer_end(const TextReader *reader, size_t line); /* both keys were there */

void text_item_begin(TextReader *reader, size_t line);
CHECKED Error *text_item_key(TextReader *reader, size_t line, const char *key, size_t size);
void text_item_list(TextReader *reader); /* the values of the last key are a list, maybe of none */
CHECKED Error *text_item_value(TextReader *reader, size_t line, const char *text, size_t size);
CHECKED Error *text_item_end(TextReader *reader); /* object, validated, to 'each' */
void text_item_drop(TextReader *reader);

CHECKED Error *text_read_yaml(TextReader *reader, const char *data, size_t size);
CHECKED Error *text_read_json(TextReader *reader, const char *data, size_t size);

/* ---- the key of a field, both ways -------------------------------------------- */

typedef struct TextFieldName {
    char text[128];
} TextFieldName;

/* "quota"; where an item has that key for itself, with the kind before it: "user_domain_kind". */
TextFieldName text_field_name(const KindInfo *info, const FieldMeta *field);
const FieldMeta *text_field_find(const KindInfo *info, const char *key); /* '-' and '_' alike; NULL: none */
