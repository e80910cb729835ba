/* value.h - one value of one field, between what people write and what the message holds
 *
 * Text form, edits and validation stand on it: there is one parser of values.
 * All work on the body of an object by reflection over its descriptor.
 *
 * A value that is taken in is brought into its one form (domains as A-labels in
 * lower case, "alice" as "user:alice", NFC), so that comparing bytes compares
 * meaning.  Errors are INVALID and name field and value: "quota '10 M': write 10M".
 * They do not name the object.  Limits across values (required, the length of a
 * list) and the rules of a kind are validation's.
 */
#pragma once
#include "model/meta.h"
#include "model/object.h"

/* Replaces the whole field.  A list is read comma separated, its doubles dropped; "" and the word for "not set" clear. */
CHECKED Error *value_set(Object *object, const FieldMeta *field, const char *text);

/* One item of a list, its text as it is (no commas); what is there already is not added again. */
CHECKED Error *value_add(Object *object, const FieldMeta *field, const char *item);

/* Comma separated items to the end of a list, or out of it.  What is there (or is not) already changes nothing. */
CHECKED Error *value_append(Object *object, const FieldMeta *field, const char *text);
CHECKED Error *value_take(Object *object, const FieldMeta *field, const char *text);

/* Not set any more: the default. */
void value_clear(Object *object, const FieldMeta *field);

/* Values that are stated: items of a list; otherwise 1 or, where the field is not set, 0. */
size_t value_count(const Object *object, const FieldMeta *field);

/* One stated value as people write it: "user:alice", "500M", "unlimited", "yes", "include-groups"; of a secret "(hidden)",
 * which read again is whatever is stored.  Owned by the caller. */
char *value_text(const Object *object, const FieldMeta *field, size_t index);

/* What holds where the field is not set: the word for that, its default in the same form, or "". */
char *value_default_text(const Object *object, const FieldMeta *field);

/* Brings every stated value into its one form, in place, and drops the doubles of lists. */
CHECKED Error *value_normalise(Object *object, const FieldMeta *field);

/* The words that a field may have: those for "not set" and for 0, yes and no, the names of its enum; for completion and
 * explain.  NULL behind the last one; owned by the caller. */
char *value_word(const ProtobufCMessageDescriptor *message, const FieldMeta *field, size_t index);

/* The field's name as commands write it: "user-domain".  Owned by the caller. */
char *field_title(const FieldMeta *field);
