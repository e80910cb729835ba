/* edit.h - field-wise change, as a person writes it
 *
 * Two admins who set different fields of one object do not undo each other,
 * because a change names fields, not objects.
 */
#pragma once
#include "control.pb-c.h"
#include "model/meta.h"
#include "model/object.h"

/* One edit: SET to a value ("to=alice,bob", "quota=500M"), CLEAR, APPEND to or TAKE from a list.
 * INVALID names the field, the value and what would be right; unknown fields get the nearest name.
 * TAKE of what is not there, APPEND of what is there: nothing changes.  Does not validate the object.  A secret that is
 * SET is SECRET_GIVEN afterwards: who keeps secrets gives it its number. */
CHECKED Error *object_edit(Object *object, const Mail__FieldEdit *edit);

/* One field as people write it: "user:alice,user:bob", "500M", "yes", "default", "unlimited"; for a field that is not set
 * the word for that, or its default.  Owned by the caller. */
char *field_text(const Object *object, const FieldMeta *field);
bool field_is_set(const Object *object, const FieldMeta *field);

/* The same for what a type alone says, for explain. */
char *field_default_text(const Object *object, const FieldMeta *field);
