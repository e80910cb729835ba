/* golden-render STATE.yaml FOLDER [ROOT] - what the renderers make of the objects in a file, written below FOLDER
 *
 * As on a node whose root is /node.  ROOT: where to look for etc/mailnode/override.
 */
#include "render/render.h"
#include "base/alloc.h"
#include "base/path.h"
#include "base/proc.h"
#include "model/text.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define GOLDEN_ROOT "/node"
#define GOLDEN_CERTIFICATE GOLDEN_ROOT "/var/lib/mailnode/engine/tls/5e1f51907ed0"

typedef struct Stated {
    ProtobufCBinaryData *bytes;
    size_t n;
} Stated;

static Error *take(void *context, Object *object, const char *place)
{
    Stated *stated = context;
    Buf bytes = {0};
    (void)place;

    object_pack(object, &bytes);
    object_free(&object);
    stated->bytes = xrealloc(stated->bytes, (stated->n + 1) * sizeof *stated->bytes);
    stated->bytes[stated->n++] = (ProtobufCBinaryData){bytes.size, bytes.data};
    return NULL;
}

static void stated_done(Stated *stated)
{
    for (size_t i = 0; i < stated->n; i++)
        free(stated->bytes[i].data);
    free(stated->bytes);
}

static Error *write_all(const FileSet *files, const char *folder)
{
    Error *err = NULL;

    for (size_t i = 0; !err && i < fileset_count(files); i++) {
        File file = fileset_file(files, i);
        Path path = path_in(folder, "%s", file.path);
        for (char *slash = path.text + strlen(folder) + 1; !err && (slash = strchr(slash, '/')); *slash++ = '/') {
            *slash = '\0';
            err = folder_make(path.text, 0755, (uid_t)-1, (gid_t)-1);
        }
        if (!err)
            err = file_write(path.text, file.text->data, file.text->size, 0644, (gid_t)-1);
    }
    return err;
}

static Error *render(const char *file, const char *folder, const char *override_root)
{
    DEFER(stated_done) Stated stated = {0};
    DEFER(node_state_free) NodeState *state = NULL;
    DEFER(overrides_free) Overrides *overrides = NULL;
    DEFER(fileset_free) FileSet *files = fileset_new();

    Error *err = text_read(file, take, &stated);
    if (!err)
        err = node_state_read(stated.bytes, stated.n, GOLDEN_ROOT, &state);
    if (!err && override_root)
        err = overrides_read(override_root, &overrides);
    if (err)
        return err;
    assert(state);
    state->certificate = GOLDEN_CERTIFICATE;
    state->uid_mailagent = 995;
    state->uid_dovecot = 103;
    render_all(state, overrides, files);
    err = fileset_refused(files);
    return err ? err : write_all(files, folder);
}

int main(int argc, char **argv)
{
    proc_start("golden-render");
    if (argc != 3 && argc != 4) {
        fputs("usage: golden-render STATE.yaml FOLDER [ROOT]\n", stderr);
        return 2;
    }
    Error *err = render(argv[1], argv[2], argc == 4 ? argv[3] : NULL);
    return err ? main_fail("golden-render", &err) : 0;
}
