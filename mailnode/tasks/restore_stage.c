#include "tasks/restore_stage.h"

#include "base/alloc.h"
#include "base/path.h"
#include "tasks/restore_drop.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#define KEYWORDS "dovecot-keywords"
#define MARK "maildirfolder"

enum { XATTRS_MAX = 65536, KEYWORDS_MAX = 65536 };

typedef struct Owner {
    uid_t uid;
    gid_t gid;
} Owner;

/* ---- the list ---- */

static int by_place(const void *one, const void *other)
{
    const StageFile *a = one, *b = other;

    return a->in_new != b->in_new ? a->in_new - b->in_new : strcmp(a->name, b->name);
}

Error *stage_sort(StageFile *files, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!*files[i].name || files[i].name[0] == '.' || strchr(files[i].name, '/'))
            return error_new(ERROR_INVALID, "'%s' is no name of a message", files[i].name);
    if (n)
        qsort(files, n, sizeof *files, by_place);
    for (size_t i = 1; i < n; i++)
        if (by_place(&files[i - 1], &files[i]) == 0)
            return error_new(ERROR_INVALID, "'%s' is in it twice", files[i].name);
    return NULL;
}

/* ---- folders ---- */

/* From folder to folder, none of them a link.  -1 with errno. */
static int reach(int at, const char *path)
{
    DEFER(xfree) char *parts = xstrdup(path);
    char *rest = NULL;
    int fd = openat(at, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    for (char *part = strtok_r(parts, "/", &rest); part && fd >= 0; part = strtok_r(NULL, "/", &rest)) {
        int next = openat(fd, part, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        int number = errno;
        close(fd);
        errno = number;
        fd = next;
    }
    return fd;
}

static Error *folder_new(int at, const char *name, const Owner *owner, int *ret_fd)
{
    if (mkdirat(at, name, 0700) != 0)
        return error_system("mkdir %s", name);
    *ret_fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (*ret_fd < 0 || fchown(*ret_fd, owner->uid, owner->gid) != 0 || fchmod(*ret_fd, 0700) != 0)
        return error_system("%s", name);
    return NULL;
}

static Error *file_new(int at, const char *name, const void *data, size_t size, const Owner *owner)
{
    DEFER(fd_close) int fd = openat(at, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);

    if (fd < 0 || write(fd, data, size) != (ssize_t)size || fchown(fd, owner->uid, owner->gid) != 0)
        return error_system("%s", name);
    return NULL;
}

/* cur, new and tmp are made apart: the one who is asked for them gets them open. */
static Error *maildir_new(int new, const char *to, const Owner *owner, int *ret_folder, int ret_parts[2])
{
    DEFER(fd_close) int tmp = -1;

    Error *err = folder_new(new, to, owner, ret_folder);
    if (!err)
        err = folder_new(*ret_folder, "cur", owner, &ret_parts[0]);
    if (!err)
        err = folder_new(*ret_folder, "new", owner, &ret_parts[1]);
    if (!err)
        err = folder_new(*ret_folder, "tmp", owner, &tmp);
    return err ? err : file_new(*ret_folder, MARK, "", 0, owner);
}

/* ---- one file ---- */

/* Rights can hide there (system.posix_acl_access). */
static bool attributes_off(int fd)
{
    ssize_t size = flistxattr(fd, NULL, 0);

    if (size == 0 || (size < 0 && errno == ENOTSUP))
        return true;
    if (size < 0 || size > XATTRS_MAX)
        return false;
    DEFER(xfree) char *names = xcalloc(1, (size_t)size + 1);
    size = flistxattr(fd, names, (size_t)size);
    for (char *name = names; size > 0 && name < names + size; name += strlen(name) + 1)
        if (fremovexattr(fd, name) != 0)
            return false;
    return size >= 0;
}

static bool is_message(const struct stat *st, uint64_t size)
{
    return S_ISREG(st->st_mode) && (uint64_t)st->st_size == size;
}

/* False: it is not what it should be, and stays where it is.  Its time is not touched. */
static Error *file_take(int from, const char *name, uint64_t size, int to, const Owner *owner, bool *ret_taken)
{
    struct stat st;

    *ret_taken = false;
    if (fstatat(from, name, &st, AT_SYMLINK_NOFOLLOW) != 0)
        return error_system("%s", name);
    if (!is_message(&st, size))
        return NULL;
    DEFER(fd_close) int fd = openat(from, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) != 0)
        return error_system("%s", name);
    if (!is_message(&st, size) || !attributes_off(fd))
        return NULL;
    if (fchown(fd, owner->uid, owner->gid) != 0 || fchmod(fd, 0600) != 0) /* chown takes setuid away */
        return error_system("%s", name);
    if (renameat2(from, name, to, name, RENAME_NOREPLACE) != 0)
        return error_system("%s", name);
    *ret_taken = true;
    return NULL;
}

/* ---- one folder ---- */

typedef struct Take {
    StageFolder *folder;
    Owner owner;
    StageCount *count;
} Take;

static Error *entry_take(Take *take, int from, const char *name, bool in_new, int to)
{
    const StageFile wanted = {.name = (char *)name, .in_new = in_new};
    StageFile *file =
        take->folder->n ? bsearch(&wanted, take->folder->files, take->folder->n, sizeof wanted, by_place) : NULL;

    if (!file) {
        take->count->extra++;
        return NULL;
    }
    bool taken = false;
    Error *err = file_take(from, name, file->size, to, &take->owner, &taken);
    file->came = !err;
    if (taken) {
        take->count->messages++;
        take->count->bytes += file->size;
    } else if (!err) {
        take->count->wrong++;
    }
    return err;
}

/* One that is not there had nothing in it: what is missing is counted by the list. */
static Error *part_take(Take *take, int folder, bool in_new, int to)
{
    DEFER(fd_close) int from = openat(folder, in_new ? "new" : "cur", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DEFER(dir_close) DIR *dir = from < 0 ? NULL : folder_walk(from);
    Error *err = NULL;

    if (!dir && (errno == ENOENT || errno == ENOTDIR || errno == ELOOP))
        return NULL;
    if (!dir)
        return error_system("open");
    for (struct dirent *entry; !err && (entry = readdir(dir));)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            err = entry_take(take, from, entry->d_name, in_new, to);
    return err;
}

/* Without it the labels of a mailbox are called unknown-0. */
static Error *keywords_take(const Take *take, int from, int to)
{
    struct stat st;
    bool taken = false;

    if (fstatat(from, KEYWORDS, &st, AT_SYMLINK_NOFOLLOW) != 0)
        return errno == ENOENT ? NULL : error_system(KEYWORDS);
    if (!S_ISREG(st.st_mode) || st.st_size > KEYWORDS_MAX) {
        take->count->extra++;
        return NULL;
    }
    return file_take(from, KEYWORDS, (uint64_t)st.st_size, to, &take->owner, &taken);
}

Error *stage_take(int stage, int new, StageFolder *folder, uid_t uid, gid_t gid, StageCount *count)
{
    DEFER(fd_close) int to = -1;
    DEFER(fd_close) int cur = -1;
    DEFER(fd_close) int fresh = -1;
    int parts[2] = {-1, -1};
    Take take = {.folder = folder, .owner = {uid, gid}, .count = count};

    Error *err = maildir_new(new, folder->to, &take.owner, &to, parts);
    cur = parts[0];
    fresh = parts[1];
    DEFER(fd_close) int from = reach(stage, folder->from);
    if (!err && from < 0 && errno != ENOENT && errno != ENOTDIR && errno != ELOOP)
        err = error_system("%s", folder->from);
    if (!err && from >= 0)
        err = part_take(&take, from, false, cur);
    if (!err && from >= 0)
        err = part_take(&take, from, true, fresh);
    if (!err && from >= 0)
        err = keywords_take(&take, from, to);
    for (size_t i = 0; !err && i < folder->n; i++)
        count->missing += !folder->files[i].came;
    return error_in(err, "%s", folder->to);
}

Error *stage_empty(int new, const char *to, uid_t uid, gid_t gid)
{
    DEFER(fd_close) int folder = -1;
    int parts[2] = {-1, -1};

    Error *err = maildir_new(new, to, &(Owner){uid, gid}, &folder, parts);
    fd_close(&parts[0]);
    fd_close(&parts[1]);
    return error_in(err, "%s", to);
}

Error *stage_put(int new, const char *to, const char *name, const void *data, size_t size, uid_t uid, gid_t gid)
{
    DEFER(fd_close) int folder = openat(new, to, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

    if (folder < 0)
        return error_system("%s", to);
    return error_in(file_new(folder, name, data, size, &(Owner){uid, gid}), "%s", to);
}

static uint64_t entries(int folder, const char *name)
{
    DEFER(fd_close) int fd = openat(folder, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DEFER(dir_close) DIR *dir = fd < 0 ? NULL : folder_walk(fd);
    uint64_t n = 0;

    for (struct dirent *entry; dir && (entry = readdir(dir));)
        n += entry->d_name[0] != '.';
    return n;
}

uint64_t stage_came(int stage, const StageFolder *folder)
{
    DEFER(fd_close) int fd = reach(stage, folder->from);

    return fd < 0 ? 0 : entries(fd, "cur") + entries(fd, "new");
}
