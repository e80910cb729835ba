/* generations.h - a root with generations of one small configuration, for the tests of what stands on them */
#pragma once
#include "engine/generation.h"
#include "expect.h"

#include <stdio.h>
#include <sys/stat.h>

static inline void pack_object(Object *object, ProtobufCBinaryData *out)
{
    DEFER(buf_done) Buf bytes = {0};

    object_pack(object, &bytes);
    out->len = bytes.size;
    out->data = xmemdup(bytes.data, bytes.size);
    object_free(&object);
}

/* A node and nothing on it, described so; packed. */
static inline void prepare_of(uint64_t revision, const char *description, Buf *out)
{
    Mail__EnginePrepare prepare = MAIL__ENGINE_PREPARE__INIT;
    Object *node = object_new(MAIL__OBJECT__BODY_NODE, NULL, "mx1");
    ProtobufCBinaryData bytes;

    node->node->description = xstrdup(description);
    pack_object(node, &bytes);
    prepare.objects = &bytes;
    prepare.n_objects = 1;
    prepare.has_revision = true;
    prepare.revision = revision;
    size_t size = mail__engine_prepare__get_packed_size(&prepare);
    mail__engine_prepare__pack(&prepare, buf_reserve(out, size + 1));
    out->size += size;
    free(bytes.data);
}

/* As rendered: two files of Postfix, one of Dovecot that only root reads, one in a folder of Rspamd. */
static inline Rendered rendered_of(uint64_t revision, const char *text)
{
    Rendered rendered = {.files = fileset_new()};

    prepare_of(revision, text, &rendered.prepare);
    buf_printf(fileset_add(rendered.files, "postfix/main.cf", "daemon"), "a = 1\ntext = %s\nb = 2\n", text);
    buf_append_text(fileset_add(rendered.files, "postfix/master.cf", "daemon"), "smtp\n");
    buf_append_text(fileset_add(rendered.files, "dovecot/dovecot.conf", NULL), "secret = 1\n");
    buf_append_text(fileset_add(rendered.files, "rspamd/local.d/options.inc", "daemon"), "");
    fileset_restart_on(rendered.files, "postfix", "inet_interfaces", text);
    return rendered;
}

static inline char *root_make(void)
{
    char *root = xstrdup("/tmp/gen-XXXXXX");

    assert_non_null(mkdtemp(root));
    ok(folder_make(path_in(root, "var/lib/mailnode/engine/gen").text, 0711, 0, 0));
    return root;
}

/* Whole and with its own name; the link stays where it is. */
static inline void generation_there(const char *root, uint64_t number, const char *text)
{
    DEFER(rendered_done) Rendered rendered = rendered_of(number * 10, text);

    ok(generation_write(root, number, &rendered));
    ok(generation_name(root, number));
}

static inline void spoil(const char *root, uint64_t number, const char *file)
{
    DEFER(xfree) char *path = xasprintf("%s/%s", generation_path(root, number, "").text, file);

    assert_int_equal(truncate(path, 20), 0);
}

static inline bool there(const char *root, const char *name)
{
    struct stat st;

    return lstat(path_in(root, "var/lib/mailnode/engine/%s", name).text, &st) == 0;
}
