#include "engine/logs.h"

#include "base/alloc.h"
#include "base/log.h"
#include "base/path.h"
#include "engine/child.h"
#include "tables/places.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

enum { NAME_SIZE = 80, LINE_END_MAX = 64 * 1024, CUT_DEADLINE_MS = 120000, AGAIN_MS = 60000 };

static const uint64_t bytes_default = 50 * 1024 * 1024;

struct Logs {
    Path folder;
    uint64_t limit_bytes;
    Msec look_at;
    char name[NAME_SIZE]; /* that the child cuts */
    Child *child;
};

/* ---- cutting, in the child ---- */

/* Appends [from, to) of 'in'; true: all of it. */
static bool copy(int in, off_t from, off_t to, int out)
{
    char chunk[65536];

    while (from < to) {
        size_t want = to - from < (off_t)sizeof chunk ? (size_t)(to - from) : sizeof chunk;
        ssize_t got = pread(in, chunk, want, from);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return false;
        for (ssize_t put = 0, more; put < got; put += more) {
            more = write(out, chunk + put, (size_t)(got - put));
            if (more < 0 && errno == EINTR)
                more = 0;
            if (more < 0)
                return false;
        }
        from += got;
    }
    return true;
}

/* Octets from 'at' to the end of the line there, with its newline; 0: none ends near. */
static off_t rest_of_line(int in, off_t at)
{
    char chunk[4096];

    for (off_t done = 0; done < LINE_END_MAX;) {
        ssize_t got = pread(in, chunk, sizeof chunk, at + done);
        if (got <= 0)
            return 0;
        const char *end = memchr(chunk, '\n', (size_t)got);
        if (end)
            return done + (end - chunk) + 1;
        done += got;
    }
    return 0;
}

/* All of [0, size) but its last block: the range must end within the file, at a whole block. */
static off_t front_of(int in, off_t size)
{
    struct statvfs fs;

    if (fstatvfs(in, &fs) != 0 || fs.f_bsize == 0 || fs.f_bsize > 1024 * 1024)
        return 0;
    off_t block = (off_t)fs.f_bsize;
    return (size - 1) / block * block;
}

/* NAME.4 becomes NAME.5, ..., the new part NAME.1. */
static Error *parts_move(int at, const char *name, const char *part)
{
    char from[NAME_SIZE + 16], to[NAME_SIZE + 16];

    for (int n = LOGS_KEPT; n > 1; n--) {
        snprintf(from, sizeof from, "%s.%d", name, n - 1);
        snprintf(to, sizeof to, "%s.%d", name, n);
        if (renameat(at, from, at, to) != 0 && errno != ENOENT)
            return error_in(error_system("rename"), "%s", from);
    }
    snprintf(to, sizeof to, "%s.1", name);
    return renameat(at, part, at, to) == 0 ? NULL : error_in(error_system("rename"), "%s", part);
}

/* The rest of a cut line becomes spaces, so that nobody takes it for one. */
static void blank(int fd, off_t size)
{
    char spaces[1024];

    memset(spaces, ' ', sizeof spaces);
    for (off_t at = 0; at < size - 1;) {
        size_t want = size - 1 - at < (off_t)sizeof spaces ? (size_t)(size - 1 - at) : sizeof spaces;
        ssize_t put = pwrite(fd, spaces, want, at);
        if (put <= 0)
            return; /* half a line stays: nothing is lost */
        at += put;
    }
}

/* Only when the part is safe: after a crash here lines are there twice, not gone.  False: the file system cannot do it. */
static bool take_out(int fd, off_t front, off_t rest)
{
    if (front == 0 || fallocate(fd, FALLOC_FL_COLLAPSE_RANGE, 0, front) != 0)
        return false;
    if (rest)
        blank(fd, rest);
    return true;
}

/* Until nothing came while the last bit was copied. */
static Error *empty(int fd, off_t copied, int out)
{
    struct stat st;

    if (ftruncate(out, copied) != 0 || lseek(out, copied, SEEK_SET) < 0)
        return error_system("copy");
    for (;; copied = st.st_size) {
        if (fstat(fd, &st) != 0)
            return error_system("stat");
        if (st.st_size == copied)
            return ftruncate(fd, 0) == 0 ? NULL : error_system("truncate");
        if (!copy(fd, copied, st.st_size, out))
            return error_system("copy");
    }
}

static Error *cut(int at, const char *name, int fd, off_t size, bool collapse, LogCut *ret_how)
{
    char part[NAME_SIZE + 16];
    struct stat st;
    off_t front = collapse ? front_of(fd, size) : 0;
    off_t rest = front ? rest_of_line(fd, front) : 0;

    snprintf(part, sizeof part, "%s.new", name);
    unlinkat(at, part, 0);
    DEFER(fd_close) int out = openat(at, part, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (out < 0 || fstat(fd, &st) != 0 || fchown(out, st.st_uid, st.st_gid) != 0 || fchmod(out, st.st_mode & 0777) != 0)
        return error_system("create");
    if (!copy(fd, 0, front ? front + rest : size, out) || fsync(out) != 0)
        return error_system("copy");

    Error *err = parts_move(at, name, part);
    if (err)
        return err;
    *ret_how = CUT_COLLAPSED;
    if (take_out(fd, front, rest))
        return NULL;
    *ret_how = CUT_EMPTIED;
    return empty(fd, front ? front : size, out);
}

Error *log_cut(int at, const char *name, bool collapse, LogCut *ret_how)
{
    struct stat st;
    DEFER(fd_close) int fd = openat(at, name, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);

    if (fd < 0 || fstat(fd, &st) != 0)
        return error_in(error_system("open"), "%s", name);
    if (!S_ISREG(st.st_mode) || st.st_size == 0) {
        *ret_how = CUT_NOTHING;
        return NULL;
    }
    return error_in(cut(at, name, fd, st.st_size, collapse, ret_how), "%s", name);
}

/* ---- when ---- */

static uint64_t limit_bytes(void)
{
    const char *text = getenv("MAILNODE_LOG_BYTES");
    uint64_t given = text ? strtoull(text, NULL, 10) : 0;

    return given ? given : bytes_default;
}

Logs *logs_new(const char *root)
{
    Logs *logs = xcalloc(1, sizeof *logs);

    logs->folder = path_in(root, "%s", &PLACE_LOG[3]); /* behind "%s/" */
    logs->limit_bytes = limit_bytes();
    return logs;
}

void logs_free(Logs **logs)
{
    if (!*logs)
        return;
    child_free(&(*logs)->child);
    xfree(logs);
}

static bool is_log(const char *name)
{
    size_t len = strlen(name);

    return len > 4 && len < NAME_SIZE && strcmp(name + len - 4, ".log") == 0;
}

/* Into logs->name; false: none is too large. */
static bool too_large(Logs *logs)
{
    DIR *folder = opendir(logs->folder.text);
    struct stat st;
    bool found = false;

    for (struct dirent *entry; folder && !found && (entry = readdir(folder));) {
        found = is_log(entry->d_name) && fstatat(dirfd(folder), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
                S_ISREG(st.st_mode) && (uint64_t)st.st_size > logs->limit_bytes;
        if (found)
            snprintf(logs->name, sizeof logs->name, "%.*s", (int)sizeof logs->name - 1, entry->d_name);
    }
    if (folder)
        closedir(folder);
    return found;
}

static int cut_in_child(void *context)
{
    const Logs *logs = context;
    LogCut how = CUT_NOTHING;
    DEFER(fd_close) int at = open(logs->folder.text, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    Error *err = at < 0 ? error_system("open") : log_cut(at, logs->name, true, &how);
    if (!err)
        return 0;
    dprintf(STDOUT_FILENO, "%s\n", err->what);
    error_free(&err);
    return 1;
}

static void cut_begin(Logs *logs, Msec now)
{
    const ChildSpec spec = {.deadline_ms = CUT_DEADLINE_MS};

    Error *err = child_fork(&spec, cut_in_child, logs, &logs->child);
    if (err)
        logs->look_at = now + AGAIN_MS;
    log_stop(LOG_LEVEL_WARNING, "log not cut, trying again", &err);
}

static void cut_ended(Logs *logs, Msec now)
{
    bool done = child_succeeded(logs->child);

    if (done)
        log_info("log cut", kv("log", logs->name));
    else
        log_warning("log not cut, trying again", kv("log", logs->name), kv("why", child_words(logs->child)));
    logs->look_at = done ? now : now + AGAIN_MS; /* another one may be too large, too */
    child_free(&logs->child);
}

void logs_run(Logs *logs, Msec now)
{
    if (logs->child && child_run(logs->child, now))
        cut_ended(logs, now);
    if (logs->child || now < logs->look_at)
        return;
    logs->look_at = now + LOGS_LOOK_MS;
    if (too_large(logs))
        cut_begin(logs, now);
}

void logs_wait(const Logs *logs, Waiter *wake)
{
    if (logs->child)
        child_wait(logs->child, wake);
    else
        waiter_at(wake, logs->look_at);
}
