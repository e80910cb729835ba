#include "render/override.h"

#include "base/alloc.h"
#include "base/buf.h"
#include "base/path.h"
#include "tables/places.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const struct {
    const char *folder;
    const char *suffixes[2];
} places[N_OVERRIDES] = {
    [OVERRIDE_POSTFIX] = {"postfix.d", {".cf"}},
    [OVERRIDE_DOVECOT] = {"dovecot.d", {".conf"}},
    [OVERRIDE_RSPAMD] = {"rspamd.d", {".inc", ".conf"}},
};

typedef struct Reading { /* of one folder */
    OverrideOf of;
    int fd;
    size_t bytes_left;
} Reading;

/* ---- who may write it -------------------------------------------------------------- */

static Error *owner_check(const struct stat *st)
{
    if (st->st_uid != 0)
        return error_hint(
            error_new(ERROR_DENIED, "belongs to uid %ld: only root may write overrides", (long)st->st_uid),
            "chown root");
    if (st->st_mode & (S_IWGRP | S_IWOTH))
        return error_hint(error_new(ERROR_DENIED, "%s may write it: only root may write overrides",
                                    st->st_mode & S_IWOTH ? "everybody" : "its group"),
                          "chmod go-w");
    return NULL;
}

static Error *opened_check(int fd, int flags)
{
    struct stat st;

    if (fstat(fd, &st) != 0)
        return error_system("stat");
    if (!(flags & O_DIRECTORY) && !S_ISREG(st.st_mode))
        return error_new(ERROR_DENIED, "no regular file");
    return owner_check(&st);
}

/* A link is refused: what it leads to may be somebody else's. */
static Error *open_checked(int at, const char *name, int flags, int *ret_fd)
{
    int fd = openat(at, name, flags | O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);

    if (fd < 0 && errno == ENOENT)
        return error_new(ERROR_NOT_FOUND, "there is none");
    if (fd < 0 && (errno == ELOOP || errno == ENOTDIR))
        return error_new(ERROR_DENIED, flags & O_DIRECTORY ? "no folder" : "a link: only regular files count");
    if (fd < 0)
        return error_system("open");
    Error *err = opened_check(fd, flags);
    if (err)
        close(fd);
    else
        *ret_fd = fd;
    return err;
}

/* ---- one file ---------------------------------------------------------------------- */

static Error *read_whole(int fd, size_t limit, Buf *out)
{
    for (;;) {
        uint8_t chunk[8192];
        ssize_t got = read(fd, chunk, sizeof chunk);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return error_system("read");
        if (got == 0)
            return NULL;
        if (out->size + (size_t)got > limit)
            return error_new(ERROR_INVALID, "overrides of one daemon are at most %d octets", OVERRIDE_BYTES_MAX);
        buf_append(out, chunk, (size_t)got);
    }
}

static Error *file_take(Reading *reading, const char *file, OverrideFile *out)
{
    DEFER(fd_close) int fd = -1;
    DEFER(buf_done) Buf text = {0};

    Error *err = open_checked(reading->fd, file, 0, &fd);
    if (!err)
        err = read_whole(fd, reading->bytes_left, &text);
    if (!err && text.size && memchr(text.data, '\0', text.size))
        err = error_new(ERROR_INVALID, "holds a NUL: no text");
    if (err)
        return err;
    reading->bytes_left -= text.size;
    out->file = xstrdup(file);
    out->text = xstrdup(buf_text(&text));
    return NULL;
}

/* ---- one folder -------------------------------------------------------------------- */

static bool ends_with(const char *name, const char *suffix)
{
    size_t len = strlen(name), suffix_len = strlen(suffix);

    return len > suffix_len && strcmp(name + len - suffix_len, suffix) == 0;
}

/* Others are notes, or what an editor left behind. */
static bool counts(OverrideOf of, const char *name)
{
    if (name[0] == '.')
        return false;
    for (size_t i = 0; i < 2 && places[of].suffixes[i]; i++)
        if (ends_with(name, places[of].suffixes[i]))
            return true;
    return false;
}

/* The name goes into configuration and paths. */
static Error *name_check(const char *name)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";

    if (name[0] != '-' && name[strspn(name, plain)] == '\0')
        return NULL;
    return error_new(ERROR_INVALID, "its name: write letters, digits, '.', '_' and '-'");
}

static int name_compare(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static Error *names_read(const Reading *reading, char **names, size_t *ret_n)
{
    int fd = dup(reading->fd); /* closedir closes it */
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    size_t n = 0;
    Error *err = NULL;

    if (!dir) {
        err = error_system("opendir");
        fd_close(&fd);
        return err;
    }
    for (const struct dirent *entry; !err && (entry = readdir(dir));) {
        if (!counts(reading->of, entry->d_name))
            continue;
        if (n == OVERRIDE_FILES_MAX)
            err = error_new(ERROR_INVALID, "more than %d files", OVERRIDE_FILES_MAX);
        else
            names[n++] = xstrdup(entry->d_name);
    }
    closedir(dir);
    qsort(names, n, sizeof *names, name_compare);
    *ret_n = n;
    return err;
}

static Error *files_take(Reading *reading, char **names, size_t n, Overrides *overrides)
{
    OverrideFile *files = overrides->files[reading->of] = xcalloc(n + 1, sizeof *files);
    Error *err = NULL;

    for (size_t i = 0; !err && i < n; i++) {
        OverrideFile *file = &files[overrides->n[reading->of]++];
        file->name = xasprintf("override/%s/%s", places[reading->of].folder, names[i]);
        err = name_check(names[i]);
        if (!err)
            err = file_take(reading, names[i], file);
        err = error_in(err, "%s", file->name);
    }
    return err;
}

static Error *folder_take(int at, OverrideOf of, Overrides *overrides)
{
    Reading reading = {of, -1, OVERRIDE_BYTES_MAX};
    char *names[OVERRIDE_FILES_MAX];
    size_t n = 0;

    Error *err = open_checked(at, places[of].folder, O_DIRECTORY, &reading.fd);
    if (err && err->code == ERROR_NOT_FOUND) {
        error_free(&err);
        return NULL;
    }
    if (!err)
        err = names_read(&reading, names, &n);
    err = error_in(err, "override/%s", places[of].folder);
    if (!err)
        err = files_take(&reading, names, n, overrides);
    for (size_t i = 0; i < n; i++)
        free(names[i]);
    fd_close(&reading.fd);
    return err;
}

/* ---- all --------------------------------------------------------------------------- */

static void digest_make(Overrides *overrides)
{
    DEFER(buf_done) Buf all = {0};

    for (size_t of = 0; of < N_OVERRIDES; of++)
        for (size_t i = 0; i < overrides->n[of]; i++) {
            const OverrideFile *file = &overrides->files[of][i];
            buf_append(&all, file->name, strlen(file->name) + 1);
            buf_append(&all, file->text, strlen(file->text) + 1);
        }
    if (all.size)
        overrides->digest = digest_of(all.data, all.size);
}

Error *overrides_read(const char *root, Overrides **ret_overrides)
{
    DEFER(overrides_free) Overrides *overrides = xcalloc(1, sizeof *overrides);
    DEFER(xfree) char *folder = xasprintf(PLACE_OVERRIDE, strcmp(root, "/") == 0 ? "" : root);
    DEFER(fd_close) int at = -1;

    Error *err = error_in(open_checked(AT_FDCWD, folder, O_DIRECTORY, &at), "override");
    if (err && err->code == ERROR_NOT_FOUND) {
        error_free(&err);
    } else {
        for (size_t of = 0; !err && of < N_OVERRIDES; of++)
            err = folder_take(at, (OverrideOf)of, overrides);
    }
    if (err)
        return err;

    digest_make(overrides);
    *ret_overrides = overrides;
    overrides = NULL;
    return NULL;
}

void overrides_free(Overrides **overrides)
{
    if (!*overrides)
        return;
    for (size_t of = 0; of < N_OVERRIDES; of++) {
        for (size_t i = 0; i < (*overrides)->n[of]; i++) {
            free((*overrides)->files[of][i].name);
            free((*overrides)->files[of][i].file);
            free((*overrides)->files[of][i].text);
        }
        free((*overrides)->files[of]);
    }
    free(*overrides);
    *overrides = NULL;
}

bool overrides_any(const Overrides *overrides)
{
    for (size_t of = 0; overrides && of < N_OVERRIDES; of++)
        if (overrides->n[of])
            return true;
    return false;
}
