#include "tasks/restore_tree.h"

#include "tasks/restore_uidlist.h"

#include "base/alloc.h"
#include "base/path.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { DEPTH_MAX = 16, TARGET_MAX = 300 }; /* a home has four levels */

typedef struct Taking {
    uid_t uid;
    gid_t gid;
    TreeCounts *counts;
} Taking;

static const char uidlist[] = "dovecot-uidlist";

/* ---- one file ---- */

static Error *own(const Taking *taking, int fd, mode_t mode)
{
    if (fchown(fd, taking->uid, taking->gid) != 0 || fchmod(fd, mode) != 0)
        return error_system("chown");
    return NULL;
}

static Error *whole_read(int fd, uint64_t size, Buf *out)
{
    uint8_t *room = size <= UIDLIST_BYTES_MAX ? buf_reserve(out, (size_t)size + 1) : NULL;

    while (room && out->size < size) {
        ssize_t got = read(fd, room + out->size, (size_t)size - out->size);
        if (got < 0)
            return error_system("read");
        if (got == 0)
            break;
        out->size += (size_t)got;
    }
    return NULL;
}

static Error *whole_write(int fd, const Buf *content)
{
    size_t done = 0;

    if (ftruncate(fd, 0) != 0 || lseek(fd, 0, SEEK_SET) != 0)
        return error_system("truncate");
    while (done < content->size) {
        ssize_t put = write(fd, content->data + done, content->size - done);
        if (put < 0)
            return error_system("write");
        done += (size_t)put;
    }
    return NULL;
}

/* In place: the tree is nobody's yet, and goes as a whole where this ends in the middle. */
static Error *raise(const Taking *taking, int fd, uint64_t size, bool *ret_raised)
{
    DEFER(buf_done) Buf list = {0};
    DEFER(buf_done) Buf raised = {0};

    Error *err = whole_read(fd, size, &list);
    if (err)
        return err;
    *ret_raised = uidlist_raise(&list, UIDLIST_RAISE, &raised);
    taking->counts->raised += *ret_raised;
    taking->counts->unraised += !*ret_raised;
    return *ret_raised ? whole_write(fd, &raised) : NULL;
}

static Error *gone(int folder, const char *name)
{
    return unlinkat(folder, name, 0) == 0 ? NULL : error_in(error_system("unlink"), "%s", name);
}

static Error *file_take(const Taking *taking, int folder, const char *name)
{
    DEFER(fd_close) int fd = openat(folder, name, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    struct stat st;
    bool raised = true;

    if (fd < 0 || fstat(fd, &st) != 0)
        return error_in(error_system("open"), "%s", name);
    Error *err = S_ISREG(st.st_mode) ? own(taking, fd, S_IRUSR | S_IWUSR) : error_new(ERROR_DAMAGED, "it changes");
    if (!err && strcmp(name, uidlist) == 0)
        err = raise(taking, fd, (uint64_t)st.st_size, &raised);
    if (!err && !raised)
        return gone(folder, name);
    taking->counts->files++;
    taking->counts->bytes += (uint64_t)st.st_size;
    return error_in(err, "%s", name);
}

/* "sieve/NAME": what ManageSieve makes for the active script. */
static bool script_link(int folder, const char *name)
{
    char target[TARGET_MAX];
    ssize_t len = strcmp(name, ".dovecot.sieve") == 0 ? readlinkat(folder, name, target, sizeof target) : -1;

    return len > 6 && (size_t)len < sizeof target && memcmp(target, "sieve/", 6) == 0 && target[6] != '.' &&
           !memchr(target + 6, '/', (size_t)len - 6);
}

/* ---- folders ---- */

static Error *folder_take(const Taking *taking, int fd, int depth);

static Error *entry_take(const Taking *taking, int folder, const char *name, int depth)
{
    struct stat st;

    if (fstatat(folder, name, &st, AT_SYMLINK_NOFOLLOW) != 0)
        return error_in(error_system("stat"), "%s", name);
    if (S_ISREG(st.st_mode))
        return file_take(taking, folder, name);
    if (S_ISDIR(st.st_mode)) {
        DEFER(fd_close) int fd = openat(folder, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (fd < 0)
            return error_in(error_system("open"), "%s", name);
        return error_in(folder_take(taking, fd, depth + 1), "%s", name);
    }
    if (S_ISLNK(st.st_mode) && script_link(folder, name))
        return fchownat(folder, name, taking->uid, taking->gid, AT_SYMLINK_NOFOLLOW) == 0 ? NULL
                                                                                          : error_system("chown");
    taking->counts->refused++;
    return gone(folder, name);
}

static Error *folder_take(const Taking *taking, int fd, int depth)
{
    const struct dirent *entry;
    int again = depth > DEPTH_MAX ? -1 : openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (depth > DEPTH_MAX)
        return error_new(ERROR_DAMAGED, "deeper than a mail store is");
    DEFER(dir_close) DIR *dir = again < 0 ? NULL : fdopendir(again);
    if (!dir) {
        Error *err = error_system("open");
        fd_close(&again);
        return err;
    }
    Error *err = NULL;
    while (!err && (entry = readdir(dir)) != NULL)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            err = entry_take(taking, fd, entry->d_name, depth);
    return err ? err : own(taking, fd, S_IRWXU);
}

Error *tree_take(int folder, uid_t uid, gid_t gid, TreeCounts *counts)
{
    const Taking taking = {.uid = uid, .gid = gid, .counts = counts};

    return folder_take(&taking, folder, 0);
}

/* ---- compared with the list ---- */

static Error *folder_compare(int store, const ManifestFolder *folder, uint64_t *messages, uint64_t *missing)
{
    DEFER(fd_close)
    int fd = openat(store, *folder->name ? folder->name : ".", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

    if (fd < 0 && errno != ENOENT)
        return error_in(error_system("open"), "%s", folder->name);
    for (size_t i = 0; i < folder->n_messages; i++) {
        const ManifestMessage *message = &folder->messages[i];
        DEFER(xfree) char *path = xasprintf("%s/%s", message->fresh ? "new" : "cur", message->name);
        struct stat st;
        bool there = fd >= 0 && fstatat(fd, path, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode) &&
                     (uint64_t)st.st_size == message->size;
        *messages += there;
        *missing += !there;
    }
    return NULL;
}

Error *tree_compare(int store, const MailboxList *list, const char *only, uint64_t *messages, uint64_t *missing)
{
    Error *err = NULL;

    for (size_t i = 0; !err && i < mailbox_list_count(list); i++) {
        const ManifestFolder *folder = mailbox_list_folder(list, i);
        if (!only || strcmp(folder->name, only) == 0)
            err = folder_compare(store, folder, messages, missing);
    }
    return err;
}
