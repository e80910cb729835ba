/* text.h - objects as YAML and JSON, both ways, with file, line and field in errors
 *
 * One form for export, apply, list -o yaml|json:
 *
 *     version: 1
 *     items:
 *       - kind: address
 *         instance: main
 *         name: info@example.org
 *         to: [user:alice, user:bob]
 *
 * Fields that are not set are not written; written and read back it is the same
 * object.  Sizes and spans are written as people write them ("500M", "7d"), keys
 * with '_' (read with '-', too).  A field that is called as one of the item's own
 * keys has the kind before it: "user_domain_kind".
 *
 * A secret is "(hidden)", which keeps what is stored.  A file that has the values
 * says so before its items, "secrets: stated"; otherwise a value is refused.
 */
#pragma once
#include "model/meta.h"
#include "model/object.h"

#include <stdio.h>

typedef enum TextForm { TEXT_YAML, TEXT_JSON } TextForm;

enum { TEXT_FILE_MAX = 64 * 1024 * 1024, TEXT_DEPTH_MAX = 8 };

/* Takes the object over.  place: "site.yaml:14", borrowed for the call. */
typedef Error *TextItem(void *context, Object *object, const char *place);

/* A secret field's value in a file; no NUL is in it. */
typedef struct TextSecret {
    const FieldMeta *field;
    const char *value;
    size_t size;
} TextSecret;

/* Hears of each secret of an item before the item itself, which has SECRET_GIVEN in that field; borrowed for the call. */
typedef void TextSecretHeard(void *context, const TextSecret *secret);

/* Reads a file (or "-" for stdin) item by item, YAML by events; JSON when its first character is '{'.
 * Each object has been validated by itself.  INVALID: "site.yaml:14: address sales: '@' is missing", also for unknown
 * and doubled keys (with the nearest name), a BOM, trailing garbage, a depth over TEXT_DEPTH_MAX, anchors and aliases, a
 * file over TEXT_FILE_MAX.  Ends at the first error; what 'each' was given before is the caller's to undo. */
CHECKED Error *text_read(const char *file, TextItem *each, void *context);
/* The same where secrets may be stated.  Words of errors never have one. */
CHECKED Error *text_read_secrets(const char *file, TextItem *each, TextSecretHeard *secret, void *context);

/* Writes items one by one: begin, item..., end.  Streams: nothing is kept. */
typedef struct TextWriter {
    FILE *out;
    TextForm form;
    size_t n_items;
} TextWriter;
void text_write_begin(TextWriter *writer, FILE *out, TextForm form);
void text_write_begin_secrets(TextWriter *writer, FILE *out, TextForm form); /* values of secrets will be in it */
void text_write_item(TextWriter *writer, const Object *object);
/* Behind text_write_begin_secrets; a secret field whose value is not among 'secrets' is "(hidden)". */
void text_write_item_secrets(TextWriter *writer, const Object *object, const TextSecret *secrets, size_t n_secrets);
void text_write_end(TextWriter *writer);

/* What diff prints of one object; before NULL: added, after NULL: removed.  The title, then the values that differ:
 *
 *     ~ address info@example.org
 *       - to: user:alice
 *       + to: user:bob
 */
void text_write_diff(FILE *out, const Object *before, const Object *after);
