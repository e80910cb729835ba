/* A file of objects, YAML or JSON: refused, or written in both forms and read back the same. */
#include "fuzz.h"

#include "base/alloc.h"
#include "model/text_inside.h"

#include <string.h>

typedef struct Objects {
    Object **objects;
    size_t n, room;
} Objects;

static void objects_done(Objects *objects)
{
    for (size_t i = 0; i < objects->n; i++)
        object_free(&objects->objects[i]);
    free(objects->objects);
}

static Error *gather(void *context, Object *object, const char *place)
{
    Objects *objects = context;

    REQUIRE(strncmp(place, "fuzz:", 5) == 0);
    if (objects->n == objects->room) {
        objects->room = objects->room ? 2 * objects->room : 4;
        objects->objects = xrealloc(objects->objects, objects->room * sizeof(Object *));
    }
    objects->objects[objects->n++] = object;
    return NULL;
}

static void comes_back(const Objects *objects, TextForm form)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    TextWriter writer;

    REQUIRE(out);
    text_write_begin(&writer, out, form);
    for (size_t i = 0; i < objects->n; i++)
        text_write_item(&writer, objects->objects[i]);
    text_write_end(&writer);
    fclose(out);

    DEFER(objects_done) Objects again = {0};
    DEFER(error_free) Error *err = text_read_octets("fuzz", text, size, gather, &again);
    if (err)
        fprintf(stderr, "%s\n%s\n", text, err->what);
    REQUIRE(!err && again.n == objects->n);
    for (size_t i = 0; i < again.n; i++)
        REQUIRE(object_equal(again.objects[i], objects->objects[i]));
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    DEFER(objects_done) Objects objects = {0};
    DEFER(error_free) Error *err = text_read_octets("fuzz", (const char *)data, size, gather, &objects);

    if (err) {
        REQUIRE(err->code == ERROR_INVALID && strncmp(err->what, "fuzz:", 5) == 0);
        return 0;
    }
    comes_back(&objects, TEXT_YAML);
    comes_back(&objects, TEXT_JSON);
    return 0;
}
