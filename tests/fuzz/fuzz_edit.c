/* Field-wise changes as people type them: refused, or what is then shown can be typed again.
 *
 * Input: the kind, then a line for each change: "=quota 500M" sets, "!quota" clears, "+to bob" appends, "-to bob" takes.
 */
#include "fuzz.h"

#include "base/alloc.h"
#include "base/utf8.h"
#include "model/edit.h"
#include "model/validate.h"
#include "model/value.h"

#include <string.h>

static Error *change(Object *object, char *line)
{
    static const char signs[] = "=!+-";
    static const Mail__EditOp ops[] = {MAIL__EDIT_OP__SET, MAIL__EDIT_OP__CLEAR, MAIL__EDIT_OP__APPEND,
                                       MAIL__EDIT_OP__TAKE};
    Mail__FieldEdit edit = MAIL__FIELD_EDIT__INIT;
    const char *sign = strchr(signs, *line);

    if (!*line || !sign)
        return NULL;
    edit.has_op = true;
    edit.op = ops[sign - signs];
    edit.field = line + 1;
    edit.value = strchr(line, ' ');
    if (edit.value)
        *edit.value++ = '\0';
    return object_edit(object, &edit);
}

/* Each stated value, as shown, typed into an empty object. */
static void typed_again(const Object *object, const KindInfo *info)
{
    DEFER(object_free) Object *again = object_new(info->kind, object->instance_name, object->name);

    for (size_t i = 0; i < info->meta->n_fields; i++) {
        const FieldMeta *field = &info->meta->fields[i];
        DEFER(xfree) char *whole = field_text(object, field);
        DEFER(xfree) char *unset = field_default_text(object, field);
        REQUIRE(whole && unset);
        for (size_t k = 0; k < value_count(object, field); k++) {
            DEFER(xfree) char *text = value_text(object, field, k);
            DEFER(error_free) Error *err = field->list ? value_add(again, field, text) : value_set(again, field, text);
            REQUIRE(!err);
        }
    }
    REQUIRE(object_equal(object, again));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!utf8_valid((const char *)data, size))
        return 0; /* no message brings it here */
    DEFER(xfree) char *text = xstrndup((const char *)data, size);
    char *rest = text;
    const char *kind = strsep(&rest, "\n");
    const KindInfo *info = kind_by_name(kind);

    kind_nearest(kind);
    if (!info)
        return 0;
    DEFER(object_free) Object *object = object_new(info->kind, "main", "name");
    while (rest) {
        DEFER(error_free) Error *err = change(object, strsep(&rest, "\n"));
        REQUIRE(!err || err->code == ERROR_INVALID);
        if (err)
            REQUIRE(err->what && *err->what);
    }
    typed_again(object, info);
    DEFER(error_free) Error *err = object_validate(object);
    REQUIRE(!err || err->code == ERROR_INVALID);
    return 0;
}
