/* Canonical bytes of an object: refused, or packed to the same bytes; what is valid is stable, and comes back from its text. */
#include "fuzz.h"

#include "base/alloc.h"
#include "model/text_inside.h"
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

static Error *keep(void *context, Object *object, const char *place)
{
    Object **kept = context;

    REQUIRE(!*kept && *place);
    *kept = object;
    return NULL;
}

/* What is stored is exported, and applied again it is the same. */
static void comes_back(const Object *object, TextForm form)
{
    DEFER(object_free) Object *again = NULL;
    DEFER(xfree) char *text = NULL;
    size_t size = 0;
    TextWriter writer;
    FILE *out = open_memstream(&text, &size);

    REQUIRE(out);
    text_write_begin(&writer, out, form);
    text_write_item(&writer, object);
    text_write_end(&writer);
    fclose(out);
    DEFER(error_free) Error *err = text_read_octets("fuzz", text, size, keep, NULL, &again);
    if (err || !object_equal(object, again))
        fprintf(stderr, "%s\n%s\n", text, err ? err->what : "not the same");
    REQUIRE(!err && object_equal(object, again));
}

static void differs(const Object *before, const Object *after)
{
    DEFER(xfree) char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);

    REQUIRE(out);
    text_write_diff(out, before, after);
    text_write_diff(out, NULL, after);
    text_write_diff(out, before, NULL);
    fclose(out);
    for (size_t i = 0; i < size; i++)
        REQUIRE(text[i] == '\n' || (unsigned char)text[i] >= 0x20);
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
    comes_back(valid, TEXT_YAML);
    comes_back(valid, TEXT_JSON);
    differs(object, valid);
    return 0;
}
