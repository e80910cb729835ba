/* work_secret.h - secrets of the objects of a change: each gets its number, and keeps it
 *
 * A value that is set again as it was keeps its number, so that saying the same twice
 * changes nothing.  Numbers come from the store and never from who asks.
 */
#pragma once
#include "work.h"

#include "model/secret_field.h"

/* For a secret that the controller makes itself, or took from an admin: 'object' is put in the same change. */
CHECKED Error *work_secret_set(Work *work, Object *object, const FieldMeta *field, const Secret *secret);

/* An edited object, behind object_edit: fields that are SECRET_GIVEN take the value of 'edit'.  'was': the field's number
 * before it; 0: none. */
CHECKED Error *work_secret_given(Work *work, Object *object, const Mail__FieldEdit *edit, uint64_t was);

/* What a file states beside an object, for a field that is SECRET_GIVEN. */
typedef struct GivenSecret {
    const FieldMeta *field;
    Secret *secret;
} GivenSecret;

/* An object of a file: SECRET_KEPT becomes the number that is stored, SECRET_GIVEN that of what is given.  INVALID: nothing is
 * stored, nothing is given, or the file says a number. */
CHECKED Error *work_secrets_stated(Work *work, Object *object, const GivenSecret *given, size_t n_given);

/* An object of the past: what was erased since is not set any more, and a warning says which to set again.  REFUSED where
 * the object cannot be without it. */
CHECKED Error *work_secrets_restored(Work *work, Object *object);
