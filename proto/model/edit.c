#include "model/edit.h"

#include "base/alloc.h"
#include "model/shown.h"
#include "model/value.h"

#include <string.h>

static Error *no_such_field(const KindInfo *info, const char *name)
{
    DEFER(xfree) char *seen = shown(name);
    const char *nearest = meta_field_nearest(info->meta, name);
    Error *err = error_new(ERROR_INVALID, "%s has no field '%s'", info->name, seen);

    if (!nearest)
        return error_hint(err, "mailctl explain %s", info->name);
    DEFER(xfree) char *title = field_title(meta_field(info->meta, nearest));
    return error_hint(err, "did you mean %s?", title);
}

Error *object_edit(Object *object, const Mail__FieldEdit *edit)
{
    const KindInfo *info = kind_info(object->body_case);
    const char *name = edit->field ? edit->field : "", *value = edit->value ? edit->value : "";
    const FieldMeta *field = meta_field(info->meta, name);

    if (!field)
        return no_such_field(info, name);
    if (field->computed) {
        DEFER(xfree) char *title = field_title(field);
        return error_new(ERROR_INVALID, "%s: is set by the controller alone", title);
    }
    switch (edit->op) {
    case MAIL__EDIT_OP__SET:
        return value_set(object, field, value);
    case MAIL__EDIT_OP__CLEAR:
        value_clear(object, field);
        return NULL;
    case MAIL__EDIT_OP__APPEND:
        return value_append(object, field, value);
    case MAIL__EDIT_OP__TAKE:
        return value_take(object, field, value);
    default:
        return error_new(ERROR_UNSUPPORTED, "edit %d is not known here", (int)edit->op);
    }
}

bool field_is_set(const Object *object, const FieldMeta *field)
{
    return value_count(object, field) > 0;
}

char *field_text(const Object *object, const FieldMeta *field)
{
    DEFER(buf_done) Buf text = {0};
    size_t n = value_count(object, field);

    if (n == 0)
        return value_default_text(object, field);
    for (size_t i = 0; i < n; i++) {
        DEFER(xfree) char *one = value_text(object, field, i);
        buf_printf(&text, "%s%s", i ? "," : "", one);
    }
    return xstrdup(buf_text(&text));
}

char *field_default_text(const Object *object, const FieldMeta *field)
{
    return value_default_text(object, field);
}
