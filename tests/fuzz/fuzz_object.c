/* Canonical bytes of an object: refused, or packed to the same bytes; what is validated is stable. */
#include "fuzz.h"

#include "model/object.h"
#include "model/text.h"
#include "model/validate.h"

#include <string.h>

static void shown(const Object *object)
{
    Subscription subscriptions[OBJECT_SUBSCRIPTIONS_MAX];
    ObjectRef ref = object_ref(object);
    ObjectKey title = object_title(&ref);
    Scope scope = object_scope(&ref);

    REQUIRE(strlen(title.text) < sizeof title.text && strlen(scope.text) < sizeof scope.text);
    object_subscriptions(object, subscriptions, OBJECT_SUBSCRIPTIONS_MAX);
}

static void written(const Object *before, const Object *after)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);

    REQUIRE(out);
    for (TextForm form = TEXT_YAML; form <= TEXT_JSON; form++) {
        TextWriter writer;
        text_write_begin(&writer, out, form);
        text_write_item(&writer, after);
        text_write_end(&writer);
    }
    text_write_diff(out, before, after);
    fclose(out);
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    DEFER(object_free) Object *object = NULL;
    DEFER(buf_done) Buf out = {0};
    DEFER(error_free) Error *err = object_unpack(data, size, &object);

    REQUIRE((err == NULL) == (object != NULL));
    if (err) {
        REQUIRE(err->code == ERROR_INVALID || err->code == ERROR_UNSUPPORTED);
        return 0;
    }
    object_pack(object, &out);
    REQUIRE(out.size == size && memcmp(out.data, data, size) == 0);
    shown(object);

    DEFER(object_free) Object *valid = object_clone(object);
    DEFER(error_free) Error *wrong = object_validate(valid);
    if (wrong) {
        REQUIRE(wrong->code == ERROR_INVALID);
        return 0;
    }
    DEFER(object_free) Object *again = object_clone(valid);
    DEFER(error_free) Error *unstable = object_validate(again);
    REQUIRE(!unstable && object_equal(valid, again));
    shown(valid);
    written(object, valid);
    return 0;
}
