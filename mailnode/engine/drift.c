#include "engine/drift.h"

#include "base/alloc.h"
#include "engine/daemon.h"
#include "engine/diff.h"
#include "engine/tree.h"

#include <errno.h>
#include <fts.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct Look {
    const char *root;
    Path folder;
    const FileSet *files;
    const DriftFound *found;
    bool mend;
    size_t n;
    unsigned daemons;
} Look;

static void fts_done(FTS **fts)
{
    if (*fts)
        fts_close(*fts);
    *fts = NULL;
}

static void found(Look *look, const char *path, const char *words)
{
    size_t len = strcspn(path, "/");

    for (DaemonId id = 0; id < N_DAEMONS; id++) {
        if (strlen(daemons[id].name) == len && strncmp(daemons[id].name, path, len) == 0)
            look->daemons |= 1U << id;
    }
    look->n++;
    look->found->found(look->found->context, path, words);
}

/* ---- files that shall be there ----------------------------------------------------- */

static void owner_words(const struct stat *st, const TreeOwner *wanted, Buf *words)
{
    if ((st->st_mode & 07777) != wanted->mode)
        buf_printf(words, "%smode %04o, not %04o", words->size ? "\n" : "", st->st_mode & 07777, wanted->mode);
    if (st->st_uid != 0 || st->st_gid != wanted->gid)
        buf_printf(words, "%sowner %u:%u, not 0:%u", words->size ? "\n" : "", st->st_uid, st->st_gid, wanted->gid);
}

static Error *text_words(const char *name, const File *file, Buf *words)
{
    DEFER(buf_done) Buf is = {0};

    Error *err = file_read(name, GENERATION_BYTES_MAX, &is);
    if (err && err->code != ERROR_INVALID)
        return err;
    if (err) {
        error_free(&err);
        buf_append_text(words, "is very large");
    } else if (is.size != file->text->size || (is.size && memcmp(is.data, file->text->data, is.size) != 0)) {
        if (file->group)
            diff_lines(file->text, &is, words);
        else
            buf_append_text(words, "differs; its text holds secrets and is not shown");
        if (!words->size)
            buf_append_text(words, "differs in the end of its last line");
    }
    return NULL;
}

static Error *file_words(const char *name, const File *file, Buf *words)
{
    struct stat st;
    TreeOwner owner;

    if (lstat(name, &st) != 0) {
        if (errno != ENOENT && errno != ENOTDIR)
            return error_in(error_system("stat"), "%s", name);
        buf_append_text(words, "is gone");
        return NULL;
    }
    if (!S_ISREG(st.st_mode)) {
        buf_append_text(words, "is no regular file");
        return NULL;
    }
    Error *err = text_words(name, file, words);
    if (!err)
        err = tree_file_owner(file, &owner);
    if (!err)
        owner_words(&st, &owner, words);
    return err;
}

/* A folder in its place would refuse the file that belongs there. */
static Error *out_of_the_way(const char *root, const char *name, const char *path)
{
    Path aside = path_in(root, "var/lib/mailnode/engine/aside"), to;
    DEFER(xfree) char *flat = xstrdup(path);

    for (char *at = flat; *at; at++) {
        if (*at == '/')
            *at = '-';
    }
    Error *err = folder_make(aside.text, 0700, 0, 0);
    for (unsigned n = 1; !err; n++) {
        to = path_in(root, "var/lib/mailnode/engine/aside/%.100s.%u", flat, n);
        if (access(to.text, F_OK) == 0)
            continue;
        return rename(name, to.text) == 0 ? NULL : error_in(error_system("rename"), "%s", name);
    }
    return err;
}

static Error *look_at_file(Look *look, const File *file)
{
    DEFER(xfree) char *name = xasprintf("%s/%s", look->folder.text, file->path);
    DEFER(buf_done) Buf words = {0};
    struct stat st;

    Error *err = file_words(name, file, &words);
    if (err || !words.size)
        return err;
    found(look, file->path, buf_text(&words));
    if (!look->mend)
        return NULL;
    if (lstat(name, &st) == 0 && S_ISDIR(st.st_mode))
        err = out_of_the_way(look->root, name, file->path);
    return err ? err : tree_write_one(look->folder.text, look->files, file);
}

/* ---- what else is there ------------------------------------------------------------ */

static bool holds_files(const FileSet *files, const char *folder)
{
    size_t len = strlen(folder);

    for (size_t i = 0; i < fileset_count(files); i++) {
        const char *path = fileset_file(files, i).path;
        if (strncmp(path, folder, len) == 0 && path[len] == '/')
            return true;
    }
    return false;
}

static Error *look_at_folder(Look *look, const char *name, const char *path, const struct stat *st)
{
    DEFER(buf_done) Buf words = {0};
    TreeOwner owner;

    Error *err = tree_folder_owner(look->files, path, &owner);
    if (err)
        return err;
    owner_words(st, &owner, &words);
    if (!words.size)
        return NULL;
    found(look, path, buf_text(&words));
    if (look->mend && (lchown(name, 0, owner.gid) != 0 || chmod(name, owner.mode) != 0))
        return error_in(error_system("chown"), "%s", name);
    return NULL;
}

static Error *look_at_added(Look *look, const char *name, const char *path)
{
    found(look, path, "does not belong here");
    return look->mend ? out_of_the_way(look->root, name, path) : NULL;
}

static bool own_of_generation(const char *path)
{
    return strcmp(path, "objects") == 0 || strcmp(path, "rendered") == 0;
}

static Error *look_at_entry(Look *look, FTS *fts, FTSENT *entry)
{
    const char *path = entry->fts_path + strlen(look->folder.text) + 1;
    File file;

    if (entry->fts_info == FTS_DP || entry->fts_level == 0 || own_of_generation(path))
        return NULL;
    if (entry->fts_info == FTS_D && holds_files(look->files, path))
        return look_at_folder(look, entry->fts_path, path, entry->fts_statp);
    if (fileset_find(look->files, path, &file))
        return NULL;
    fts_set(fts, entry, FTS_SKIP);
    return look_at_added(look, entry->fts_path, path);
}

static Error *look_around(Look *look)
{
    char *const folders[] = {look->folder.text, NULL};
    DEFER(fts_done) FTS *fts = fts_open(folders, FTS_PHYSICAL | FTS_NOCHDIR, NULL);
    Error *err = NULL;

    if (!fts)
        return error_in(error_system("open"), "%s", look->folder.text);
    for (FTSENT *entry; !err && (entry = fts_read(fts));)
        err = look_at_entry(look, fts, entry);
    return err;
}

static Error *look_all(const char *root, const Generation *generation, Look *look, size_t *ret_n, unsigned *ret_daemons)
{
    Error *err = NULL;

    look->root = root;
    look->folder = generation_path(root, generation->number, "");
    look->files = generation->rendered.files;
    for (size_t i = 0; i < fileset_count(look->files) && !err; i++) {
        File file = fileset_file(look->files, i);
        err = look_at_file(look, &file);
    }
    if (!err)
        err = look_around(look);
    *ret_n = look->n;
    *ret_daemons = look->daemons;
    return error_in(err, "drift");
}

Error *drift_look(const char *root, const Generation *generation, const DriftFound *what, size_t *ret_n,
                  unsigned *ret_daemons)
{
    Look look = {.found = what};

    return look_all(root, generation, &look, ret_n, ret_daemons);
}

Error *drift_mend(const char *root, const Generation *generation, const DriftFound *what, size_t *ret_n,
                  unsigned *ret_daemons)
{
    Look look = {.found = what, .mend = true};

    return look_all(root, generation, &look, ret_n, ret_daemons);
}
