#include "tasks/snapshot_list.h"

#include "base/alloc.h"
#include "base/path.h"
#include "engine/tree.h"
#include "tables/places.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { KEPT_MAX = 200 /* snapshots */ };

static Path lists_in(const char *root)
{
    return path_in(root, "%s", &PLACE_LISTS[3]);
}

/* ---- kept ---- */

/* The one that was not used for longest goes when there are too many. */
static void kept_sweep(const char *lists)
{
    DEFER(dir_close) DIR *dir = opendir(lists);
    DEFER(xfree) char *oldest = NULL;
    time_t oldest_s = 0;
    unsigned n = 0;

    for (struct dirent *entry; dir && (entry = readdir(dir));) {
        struct stat st;
        if (!restic_id_valid(entry->d_name) || fstatat(dirfd(dir), entry->d_name, &st, 0) != 0)
            continue;
        n++;
        if (oldest && st.st_mtime >= oldest_s)
            continue;
        xfree(&oldest);
        oldest = xasprintf("%s/%s", lists, entry->d_name);
        oldest_s = st.st_mtime;
    }
    if (n >= KEPT_MAX && oldest)
        tree_remove(oldest);
}

/* The folder of this snapshot, and in it that of 'file'. */
static Error *kept_folder(const char *root, const char *id, const char *file)
{
    Path lists = lists_in(root);
    DEFER(xfree) char *folder = xasprintf("%s/%s", lists.text, id), *path = xasprintf("%s/%s", folder, file);
    struct stat st;

    Error *err = folder_make(lists.text, 0700, 0, 0);
    if (!err && stat(folder, &st) != 0)
        kept_sweep(lists.text);
    for (char *slash = strchr(path + strlen(lists.text) + 1, '/'); slash && !err; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        err = folder_make(path, 0700, 0, 0);
        *slash = '/';
    }
    return err;
}

static void keep(const char *root, const char *id, const char *file, const Buf *text)
{
    DEFER(xfree) char *path = xasprintf("%s/%s/%s", lists_in(root).text, id, file);

    Error *err = kept_folder(root, id, file);
    if (!err)
        err = file_write(path, text->data, text->size, 0600, (gid_t)-1);
    error_free(&err);
}

static bool kept(const char *root, const char *id, const char *file, Buf *out)
{
    DEFER(xfree) char *path = xasprintf("%s/%s/%s", lists_in(root).text, id, file);
    Error *err = file_read(path, MANIFEST_BYTES_MAX, out);
    bool there = !err;

    error_free(&err);
    return there;
}

void snapshot_manifest_keep(const char *root, const char *id, const char *state)
{
    DEFER(xfree) char *path = xasprintf("%s/" MANIFEST_FILE, state);
    DEFER(buf_done) Buf text = {0};
    Error *err = restic_id_valid(id) ? file_read(path, MANIFEST_BYTES_MAX, &text) : NULL;

    if (!err && text.size)
        keep(root, id, MANIFEST_FILE, &text);
    error_free(&err);
}

/* ---- read ---- */

/* Manifest and list of a mailbox are read alike. */
typedef Error *Reader(const Buf *text, void *ret_read);

static Error *manifest_reader(const Buf *text, void *ret_read)
{
    return manifest_read(text, ret_read);
}

static Error *mailbox_reader(const Buf *text, void *ret_read)
{
    return mailbox_list_read(text, ret_read);
}

static Error *list_read(Restic *restic, const char *root, const char *id, const char *file, Reader *reader, void *ret)
{
    DEFER(buf_done) Buf text = {0};
    DEFER(xfree) char *path = xasprintf("/state/%s", file);

    if (kept(root, id, file, &text)) {
        Error *err = reader(&text, ret);
        if (!err)
            return NULL;
        error_free(&err);
        buf_clear(&text);
    }
    Error *err = restic_dump(restic, id, path, MANIFEST_BYTES_MAX, &text);
    if (err)
        return err;
    err = reader(&text, ret);
    if (err)
        return error_in(err, "snapshot %.12s", id);
    keep(root, id, file, &text);
    return NULL;
}

Error *snapshot_manifest(Restic *restic, const char *root, const char *id, Manifest **ret_manifest)
{
    return list_read(restic, root, id, MANIFEST_FILE, manifest_reader, ret_manifest);
}

Error *snapshot_mailbox(Restic *restic, const char *root, const char *id, MailboxKind kind, const char *name,
                        MailboxList **ret_list)
{
    DEFER(xfree) char *file = manifest_path(kind, name);

    return list_read(restic, root, id, file, mailbox_reader, ret_list);
}

Manifest *snapshot_manifest_kept(const char *root, const char *id)
{
    DEFER(buf_done) Buf text = {0};
    Manifest *manifest = NULL;
    Error *err = kept(root, id, MANIFEST_FILE, &text) ? manifest_read(&text, &manifest) : NULL;

    error_free(&err);
    return manifest;
}

bool snapshot_mailbox_kept(const char *root, const char *id, MailboxKind kind, const char *name)
{
    DEFER(xfree) char *file = manifest_path(kind, name);
    DEFER(xfree) char *path = xasprintf("%s/%s/%s", lists_in(root).text, id, file);

    return access(path, R_OK) == 0;
}
