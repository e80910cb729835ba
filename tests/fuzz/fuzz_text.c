/* A file of objects, YAML or JSON: refused, or written in both forms and read back the same. */
#include "fuzz.h"

#include "base/alloc.h"
#include "model/text_inside.h"

#include <string.h>

enum { SECRETS_MAX = 64 };

typedef struct Objects {
    Object **objects;
    size_t n, room;
    TextSecret secrets[SECRETS_MAX]; /* the first ones */
    size_t of[SECRETS_MAX];          /* which object */
    size_t n_secrets, n_told;
} Objects;

static void objects_done(Objects *objects)
{
    for (size_t i = 0; i < objects->n; i++)
        object_free(&objects->objects[i]);
    for (size_t i = 0; i < objects->n_secrets; i++)
        free((void *)objects->secrets[i].value);
    free(objects->objects);
}

static void secret(void *context, const TextSecret *stated)
{
    Objects *objects = context;

    REQUIRE(stated->field->secret && stated->size && strlen(stated->value) == stated->size);
    objects->n_told++;
    if (objects->n_secrets == SECRETS_MAX)
        return;
    objects->of[objects->n_secrets] = objects->n;
    objects->secrets[objects->n_secrets] = *stated;
    objects->secrets[objects->n_secrets++].value = xstrdup(stated->value);
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

/* Fields come in the order of the file. */
static bool has_secret(const Objects *objects, size_t of, const TextSecret *stated)
{
    for (size_t i = 0; i < objects->n_secrets; i++)
        if (objects->of[i] == of && objects->secrets[i].field == stated->field)
            return strcmp(objects->secrets[i].value, stated->value) == 0;
    return false;
}

static void comes_back(const Objects *objects, TextForm form)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    TextWriter writer;

    REQUIRE(out);
    (objects->n_secrets ? text_write_begin_secrets : text_write_begin)(&writer, out, form);
    for (size_t i = 0, at = 0; i < objects->n; i++) {
        size_t n = 0;
        while (at + n < objects->n_secrets && objects->of[at + n] == i)
            n++;
        text_write_item_secrets(&writer, objects->objects[i], objects->secrets + at, n);
        at += n;
    }
    text_write_end(&writer);
    fclose(out);

    DEFER(objects_done) Objects again = {0};
    DEFER(error_free) Error *err = text_read_octets("fuzz", text, size, gather, secret, &again);
    if (err)
        fprintf(stderr, "%s\n%s\n", text, err->what);
    REQUIRE(!err && again.n == objects->n);
    for (size_t i = 0; i < again.n; i++)
        REQUIRE(object_equal(again.objects[i], objects->objects[i]));
    REQUIRE(again.n_secrets == objects->n_secrets);
    for (size_t i = 0; i < again.n_secrets; i++)
        REQUIRE(has_secret(objects, again.of[i], &again.secrets[i]));
    free(text);
}

/* libfyaml 0.7.12 loses its list of the pieces of a text that has more than a few: fy_atom_format_text. */
const char *__lsan_default_suppressions(void); /* NOLINT(bugprone-reserved-identifier): the sanitizer's name */
const char *__lsan_default_suppressions(void)  /* NOLINT(bugprone-reserved-identifier) */
{
    return "leak:libfyaml";
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    DEFER(objects_done) Objects objects = {0};
    DEFER(error_free) Error *err = text_read_octets("fuzz", (const char *)data, size, gather, secret, &objects);

    if (err) {
        REQUIRE(err->code == ERROR_INVALID && strncmp(err->what, "fuzz:", 5) == 0);
        return 0;
    }
    if (objects.n_told > SECRETS_MAX)
        return 0; /* not all are kept */
    comes_back(&objects, TEXT_YAML);
    comes_back(&objects, TEXT_JSON);
    return 0;
}
