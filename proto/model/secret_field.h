/* secret_field.h - fields whose value is kept apart
 *
 * The object holds the number of one stored version of the secret; every other value
 * gets another number, and no number is given twice, so that digest and chain cover
 * which secret it is and never what it is.  The value travels beside the object and
 * is kept sealed (seal/secret.h).  People see "(hidden)".
 */
#pragma once
#include "model/meta.h"
#include "model/object.h"

#define SECRET_HIDDEN "(hidden)"

/* In requests alone, instead of a number; never stored. */
#define SECRET_KEPT UINT64_MAX        /* whatever is stored: "(hidden)" of a file */
#define SECRET_GIVEN (UINT64_MAX - 1) /* comes beside it: a FieldEdit's 'secret' */

enum { OBJECT_SECRETS_MAX = 4 }; /* secret fields of one kind */

typedef struct SecretUse {
    const FieldMeta *field;
    uint64_t id;
} SecretUse;

bool kind_has_secrets(Kind kind);

/* Those that are set; returns how many. */
size_t object_secrets(const Object *object, SecretUse out[OBJECT_SECRETS_MAX]);
/* Of these, those that a node which has the object is told: the pair of an internal user domain goes to who holds it or has
 * a copy, and not to every node whose instance names it. */
size_t object_secrets_told(const Object *object, const char *node, SecretUse out[OBJECT_SECRETS_MAX]);
bool object_names_secret(const Object *object, uint64_t id);

/* id 0: not set any more. */
void secret_field_set(Object *object, const FieldMeta *field, uint64_t id);
uint64_t secret_field_id(const Object *object, const FieldMeta *field); /* 0: not set */

/* INVALID, never with the value in its words: empty, over the field's limit, a NUL or no UTF-8 in it, or "(hidden)". */
CHECKED Error *secret_value_check(const FieldMeta *field, const void *value, size_t size);
