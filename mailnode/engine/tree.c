#include "engine/tree.h"

#include "base/alloc.h"
#include "base/proc.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* Postfix's programs wait until main.cf is about two seconds old, so that they never read a half-written one.  Ours
 * becomes visible as a whole, with the link. */
enum { POSTFIX_AGE_S = 10 };

Error *folder_sync(const char *folder)
{
    DEFER(fd_close) int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0 || fsync(fd) != 0)
        return error_in(error_system("fsync"), "%s", folder);
    return NULL;
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *where)
{
    (void)st;
    (void)kind;
    (void)where;
    (void)remove(path); /* what stays is found by the next sweep */
    return 0;
}

void tree_remove(const char *folder)
{
    nftw(folder, remove_one, 8, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
}

static bool half_written(const char *name)
{
    const char *dot = strrchr(name, '.');

    return dot && dot != name && strlen(dot) == 7 &&
           strspn(dot + 1, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789") == 6;
}

void tree_sweep(const char *folder, unsigned levels)
{
    DEFER(dir_close) DIR *dir = opendir(folder);

    for (struct dirent *entry; dir && (entry = readdir(dir));) {
        DEFER(xfree) char *path = xasprintf("%s/%s", folder, entry->d_name);
        if (entry->d_type == DT_REG && half_written(entry->d_name))
            (void)unlink(path); /* what stays does no harm */
        else if (entry->d_type == DT_DIR && entry->d_name[0] != '.' && levels)
            tree_sweep(path, levels - 1);
    }
}

Error *tree_file_owner(const File *file, TreeOwner *ret_owner)
{
    TreeOwner owner = {0600, 0};

    if (file->group) {
        Error *err = proc_group(file->group, &owner.gid);
        if (err)
            return err;
        owner.mode = 0640;
    }
    *ret_owner = owner;
    return NULL;
}

Error *tree_folder_owner(const FileSet *files, const char *path, TreeOwner *ret_owner)
{
    size_t name_len = strcspn(path, "/");
    const char *group = NULL;
    TreeOwner owner = {0700, 0};

    for (size_t i = 0; i < fileset_count(files); i++) {
        File file = fileset_file(files, i);
        if (strncmp(file.path, path, name_len) != 0 || file.path[name_len] != '/' || !file.group)
            continue;
        if (group && strcmp(group, file.group) != 0) {
            *ret_owner = (TreeOwner){0711, 0};
            return NULL;
        }
        group = file.group;
    }
    if (group) {
        Error *err = proc_group(group, &owner.gid);
        if (err)
            return err;
        owner.mode = 0750;
    }
    *ret_owner = owner;
    return NULL;
}

/* Every folder between 'folder' and the file. */
static Error *folders_make(const char *folder, const FileSet *files, const char *path)
{
    TreeOwner owner;

    Error *err = tree_folder_owner(files, path, &owner);
    for (const char *slash = strchr(path, '/'); slash && !err; slash = strchr(slash + 1, '/')) {
        DEFER(xfree) char *name = xasprintf("%s/%.*s", folder, (int)(slash - path), path);
        err = folder_make(name, owner.mode, 0, owner.gid);
    }
    return err;
}

/* The text with each 'from' written as 'to'. */
static void replaced(const Buf *text, const TreeWay *way, Buf *out)
{
    const uint8_t *at = text->data, *end = text->data + text->size;
    size_t from_len = strlen(way->from);

    while (at < end) {
        const uint8_t *hit = memmem(at, (size_t)(end - at), way->from, from_len);
        const uint8_t *until = hit ? hit : end;
        buf_append(out, at, (size_t)(until - at));
        if (hit)
            buf_append_text(out, way->to);
        at = hit ? hit + from_len : end;
    }
}

static bool waits_for_age(const char *path)
{
    return strcmp(path, "postfix/main.cf") == 0 || strcmp(path, "postfix/master.cf") == 0;
}

static Error *put_all(int fd, const Buf *text)
{
    for (size_t done = 0; done < text->size;) {
        ssize_t put = write(fd, text->data + done, text->size - done);
        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0)
            return error_system("write");
        done += (size_t)put;
    }
    return NULL;
}

static Error *set_age(int fd)
{
    struct timespec times[2];

    clock_gettime(CLOCK_REALTIME, &times[0]);
    times[0].tv_sec -= POSTFIX_AGE_S;
    times[1] = times[0];
    return futimens(fd, times) == 0 ? NULL : error_system("futimens");
}

static Error *file_put(const char *name, const File *file, const TreeWay *way)
{
    DEFER(fd_close) int fd = open(name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    DEFER(buf_done) Buf other = {0};
    TreeOwner owner;

    if (fd < 0)
        return error_system("create");
    if (way->from)
        replaced(file->text, way, &other);

    Error *err = tree_file_owner(file, &owner);
    if (!err)
        err = put_all(fd, way->from ? &other : file->text);
    if (!err && fchown(fd, 0, owner.gid) != 0)
        err = error_system("chown");
    if (!err && fchmod(fd, owner.mode) != 0)
        err = error_system("chmod");
    if (!err && waits_for_age(file->path))
        err = set_age(fd);
    return err;
}

static Error *sync_one(const char *name)
{
    DEFER(fd_close) int fd = open(name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);

    if (fd < 0 || fsync(fd) != 0)
        return error_in(error_system("fsync"), "%s", name);
    return NULL;
}

/* The folders of this file that the file before it is not in: paths come in the order of their names. */
static Error *sync_folders(const char *folder, const char *before, const char *path)
{
    Error *err = NULL;

    for (const char *slash = strchr(path, '/'); slash && !err; slash = strchr(slash + 1, '/')) {
        size_t len = (size_t)(slash - path);
        if (strncmp(before, path, len + 1) == 0)
            continue;
        DEFER(xfree) char *name = xasprintf("%s/%.*s", folder, (int)len, path);
        err = folder_sync(name);
    }
    return err;
}

/* Everything is written before the first sync: one commit of the file system's journal then carries nearly all. */
static Error *sync_all(const char *folder, const FileSet *files)
{
    const char *before = "";
    Error *err = NULL;

    for (size_t i = 0; i < fileset_count(files) && !err; i++) {
        const char *path = fileset_file(files, i).path;
        DEFER(xfree) char *name = xasprintf("%s/%s", folder, path);
        err = sync_one(name);
        if (!err)
            err = sync_folders(folder, before, path);
        before = path;
    }
    return err ? err : folder_sync(folder);
}

static bool is_left_out(const TreeWay *way, const char *path)
{
    size_t len = strcspn(path, "/");

    for (const char *const *name = way->without; name && *name; name++)
        if (path[len] == '/' && strlen(*name) == len && memcmp(*name, path, len) == 0)
            return true;
    return false;
}

/* Paths come in the order of their names: folders that the file before it is in are there. */
static bool same_folder(const char *before, const char *path)
{
    const char *slash = strrchr(path, '/');
    size_t len = slash ? (size_t)(slash - path) + 1 : 0;

    return strncmp(before, path, len) == 0;
}

Error *tree_write(const char *folder, const FileSet *files, const TreeWay *way)
{
    if (mkdir(folder, 0711) != 0 || chmod(folder, 0711) != 0)
        return error_in(error_system("mkdir"), "%s", folder);

    const char *before = "";
    Error *err = NULL;
    for (size_t i = 0; i < fileset_count(files) && !err; i++) {
        File file = fileset_file(files, i);
        if (is_left_out(way, file.path))
            continue;
        DEFER(xfree) char *name = xasprintf("%s/%s", folder, file.path);
        if (!same_folder(before, file.path))
            err = folders_make(folder, files, file.path);
        if (!err)
            err = error_in(file_put(name, &file, way), "%s", name);
        before = file.path;
    }
    if (!err && way->durable)
        err = sync_all(folder, files);
    if (err)
        tree_remove(folder);
    return err;
}

Error *tree_write_one(const char *folder, const FileSet *files, const File *file)
{
    DEFER(xfree) char *name = xasprintf("%s/%s", folder, file->path);
    TreeOwner owner;

    Error *err = folders_make(folder, files, file->path);
    if (!err)
        err = tree_file_owner(file, &owner);
    if (!err)
        err = file_write(name, file->text->data, file->text->size, owner.mode, owner.gid);
    if (err || !waits_for_age(file->path))
        return err;
    DEFER(fd_close) int fd = open(name, O_WRONLY | O_NOFOLLOW | O_CLOEXEC);
    return fd < 0 ? error_in(error_system("open"), "%s", name) : error_in(set_age(fd), "%s", name);
}
