#include "model/edit.h"

#include "base/alloc.h"
#include "model/secret_field.h"
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

/* Its value comes in a place of its own, so that nothing which shows edits shows it. */
static Error *secret_edit(Object *object, const FieldMeta *field, const Mail__FieldEdit *edit)
{
    DEFER(xfree) char *title = field_title(field);

    if (edit->op == MAIL__EDIT_OP__SET && edit->has_secret) {
        Error *err = secret_value_check(field, edit->secret.data, edit->secret.len);
        if (!err)
            secret_field_set(object, field, SECRET_GIVEN);
        return err;
    }
    bool clears =
        edit->op == MAIL__EDIT_OP__CLEAR || (edit->op == MAIL__EDIT_OP__SET && !*(edit->value ? edit->value : ""));
    if (!clears || edit->has_secret)
        return error_hint(error_new(ERROR_INVALID, "%s: a secret does not come so", title), "%s=@FILE, or %s=-", title,
                          title);
    secret_field_set(object, field, 0);
    return NULL;
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
    if (field->secret)
        return secret_edit(object, field, edit);
    if (edit->has_secret) {
        DEFER(xfree) char *title = field_title(field);
        return error_new(ERROR_INVALID, "%s: is no secret", title);
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
