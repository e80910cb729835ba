/* export --with-secrets: the state with the values of its secrets, as a file that apply takes into a new controller. */
#include "new_file.h"
#include "objects.h"

#include "base/alloc.h"
#include "model/secret_field.h"
#include "model/text.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

typedef struct Export {
    FILE *out;
    TextWriter writer;
    Buf *later; /* canonical objects with secrets, which are asked for when the list is whole */
    size_t n_later, room, n_secrets;
} Export;

static void export_done(Export *export)
{
    for (size_t i = 0; i < export->n_later; i++)
        buf_done(&export->later[i]);
    free(export->later);
    if (export->out)
        fclose(export->out);
}

static void begin(void *context)
{
    (void)context;
}

/* What the controller makes, nobody states. */
static size_t stated_secrets(const Object *object, SecretUse out[OBJECT_SECRETS_MAX])
{
    SecretUse uses[OBJECT_SECRETS_MAX];
    size_t n = object_secrets(object, uses), n_stated = 0;

    for (size_t i = 0; i < n; i++)
        if (!uses[i].field->computed)
            out[n_stated++] = uses[i];
    return n_stated;
}

static Error *object_take(void *context, const Object *object)
{
    Export *export = context;
    SecretUse uses[OBJECT_SECRETS_MAX];

    if (kind_info(object->body_case)->meta->made)
        return NULL; /* nobody states it */
    if (!stated_secrets(object, uses)) {
        text_write_item(&export->writer, object);
        return NULL;
    }
    if (export->n_later == export->room) {
        export->room = export->room ? 2 * export->room : 16;
        export->later = xrealloc(export->later, export->room * sizeof *export->later);
    }
    export->later[export->n_later] = (Buf){0};
    object_pack(object, &export->later[export->n_later++]);
    return NULL;
}

/* As it is by now, with what belongs to it: both in one answer. */
static void stated_write(Export *export, const Object *object, const Mail__SecretsAre *said)
{
    SecretUse uses[OBJECT_SECRETS_MAX];
    TextSecret secrets[OBJECT_SECRETS_MAX];
    ObjectRef ref = object_ref(object);
    size_t n = stated_secrets(object, uses), n_known = 0;

    for (size_t i = 0; i < n; i++) {
        const ProtobufCBinaryData *value = secret_value_of(said, uses[i].id);
        if (value)
            secrets[n_known++] = (TextSecret){uses[i].field, (const char *)value->data, value->len};
        else
            fprintf(stderr, "%s: %s is not stored any more: set it in the file\n", object_title(&ref).text,
                    uses[i].field->name);
    }
    text_write_item_secrets(&export->writer, object, secrets, n_known);
    export->n_secrets += n_known;
}

static Error *later_write(Cli *cli, Export *export, const Buf *bytes)
{
    DEFER(object_free) Object *listed = NULL;
    DEFER(object_free) Object *object = NULL;
    DEFER(envelope_free) Envelope *said = NULL;
    Mail__Ref ref = MAIL__REF__INIT;
    Error *err = object_unpack(bytes->data, bytes->size, &listed);

    if (err)
        return err;
    ref.kind = (char *)(uintptr_t)kind_info(listed->body_case)->name;
    ref.instance = listed->instance_name;
    ref.name = listed->name;
    err = secrets_ask(cli, &ref, &said, &object);
    if (err && err->code == ERROR_NOT_FOUND) { /* removed since it was listed */
        error_free(&err);
        return NULL;
    }
    if (!err)
        stated_write(export, object, said->secrets_are);
    return err;
}

static Error *all_write(Cli *cli, Export *export)
{
    Mail__List list = MAIL__LIST__INIT;

    list.instance = (char *)(uintptr_t)cli_instance(cli);
    text_write_begin_secrets(&export->writer, export->out, cli->form == OUTPUT_JSON ? TEXT_JSON : TEXT_YAML);
    Error *err = objects_each(cli, &list, begin, object_take, export);
    for (size_t i = 0; !err && i < export->n_later; i++)
        err = later_write(cli, export, &export->later[i]);
    text_write_end(&export->writer);
    return err;
}

static void result_print(Cli *cli, const char *path, const Export *export)
{
    if (cli->form == OUTPUT_JSON) {
        json_t *json = json_object();
        json_put_number(json, "version", 1);
        json_put_text(json, "file", path);
        json_put_number(json, "objects", export->writer.n_items);
        json_put_number(json, "secrets", export->n_secrets);
        print_document(cli->out, cli->form, &json);
        return;
    }
    print_text(cli->out, path);
    fprintf(cli->out, ": %zu objects, %zu secrets as they are: for you alone\n", export->writer.n_items,
            export->n_secrets);
}

Error *run_export_secrets(Cli *cli, const Line *line, int *ret_exit)
{
    const char *path = line->given[FLAG_WITH_SECRETS];
    DEFER(new_file_done) NewFile file = {.fd = -1};
    DEFER(export_done) Export export = {0};
    struct stat there;

    (void)ret_exit;
    if (cli->form == OUTPUT_NAME)
        return cli_usage(cli, "names have no secrets");
    if (!*path || strcmp(path, "-") == 0)
        return error_hint(cli_usage(cli, "--with-secrets wants the name of a new file"),
                          "mailctl export --with-secrets site.yaml");
    if (lstat(path, &there) == 0)
        return error_new(ERROR_EXISTS, "%s is there already", path);
    Error *err = new_file_make(path, &file);
    if (err)
        return err;
    export.out = fdopen(fcntl(file.fd, F_DUPFD_CLOEXEC, 0), "w");
    if (!export.out)
        return error_system("%s", path);
    err = all_write(cli, &export);
    if (!err && (fflush(export.out) != 0 || ferror(export.out)))
        err = error_system("%s", path);
    if (!err)
        err = new_file_name(&file, false);
    if (!err)
        result_print(cli, path, &export);
    return err;
}
