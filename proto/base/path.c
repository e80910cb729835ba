#include "base/path.h"

#include "base/alloc.h"
#include "base/crash.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

Error *path_root_check(const char *root)
{
    struct stat st;

    if (root[0] != '/')
        return error_new(ERROR_INVALID, "root '%s': write an absolute path", root);
    if (strlen(root) > PATH_ROOT_MAX)
        return error_new(ERROR_INVALID, "root '%s' has %zu octets: at most %d, so that sockets fit below it", root,
                         strlen(root), PATH_ROOT_MAX);
    if (strstr(root, ".."))
        return error_new(ERROR_INVALID, "root '%s': write it without '..'", root);
    if (stat(root, &st) != 0)
        return error_in(error_system("stat"), "root '%s'", root);
    if (!S_ISDIR(st.st_mode))
        return error_new(ERROR_INVALID, "root '%s' is no folder", root);
    return NULL;
}

Path path_in(const char *root, const char *format, ...)
{
    Path path;
    va_list args;
    int len = snprintf(path.text, sizeof path.text, "%s/", strcmp(root, "/") == 0 ? "" : root);

    assert(len >= 0 && (size_t)len < sizeof path.text);
    va_start(args, format);
    int more = vsnprintf(path.text + len, sizeof path.text - (size_t)len, format, args);
    va_end(args);
    assert(more >= 0 && (size_t)len + (size_t)more < sizeof path.text);
    return path;
}

void fd_close(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

void dir_close(DIR **dir)
{
    if (*dir)
        closedir(*dir);
    *dir = NULL;
}

Error *file_read(const char *path, size_t limit_bytes, Buf *out)
{
    DEFER(fd_close) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    struct stat st;

    if (fd < 0 && errno == ENOENT)
        return error_new(ERROR_NOT_FOUND, "%s: no such file", path);
    if (fd < 0 || fstat(fd, &st) != 0)
        return error_in(error_system("open"), "%s", path);
    if (!S_ISREG(st.st_mode))
        return error_new(ERROR_INVALID, "%s: not a regular file", path);

    for (;;) {
        uint8_t chunk[16384];
        ssize_t got = read(fd, chunk, sizeof chunk);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return error_in(error_system("read"), "%s", path);
        if (got == 0)
            return NULL;
        if (out->size + (size_t)got > limit_bytes || !buf_append(out, chunk, (size_t)got))
            return error_new(ERROR_INVALID, "%s: larger than %zu octets", path, limit_bytes);
    }
}

static Error *write_all(int fd, const uint8_t *data, size_t size)
{
    while (size) {
        ssize_t put = write(fd, data, size);
        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0)
            return error_system("write");
        data += put;
        size -= (size_t)put;
    }
    return NULL;
}

static Error *sync_folder_of(const char *path)
{
    char folder[PATH_MAX];

    snprintf(folder, sizeof folder, "%s", path);
    char *slash = strrchr(folder, '/');
    if (!slash)
        snprintf(folder, sizeof folder, ".");
    else
        slash[slash == folder ? 1 : 0] = '\0';

    DEFER(fd_close) int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || fsync(fd) != 0)
        return error_in(error_system("fsync"), "%s", folder);
    return NULL;
}

static Error *file_replace(const char *path, const void *data, size_t size, mode_t mode, gid_t gid, bool durable)
{
    char temp[PATH_MAX];

    if (snprintf(temp, sizeof temp, "%s.XXXXXX", path) >= (int)sizeof temp)
        return error_new(ERROR_INVALID, "%s: path too long", path);
    DEFER(fd_close) int fd = mkostemp(temp, O_CLOEXEC);
    if (fd < 0)
        return error_in(error_system("create"), "%s", path);

    Error *err = NULL;
    if (gid != (gid_t)-1 && fchown(fd, (uid_t)-1, gid) != 0)
        err = error_system("chown");
    if (!err && fchmod(fd, mode) != 0)
        err = error_system("chmod");
    if (!err)
        err = write_all(fd, data, size);
    if (!err && durable && fsync(fd) != 0)
        err = error_system("fsync");
    if (!err)
        CRASH_POINT("file.written");
    if (!err && rename(temp, path) != 0)
        err = error_system("rename");
    if (err) {
        unlink(temp);
        return error_in(err, "%s", path);
    }
    CRASH_POINT("file.renamed");
    return durable ? sync_folder_of(path) : NULL;
}

Error *file_write(const char *path, const void *data, size_t size, mode_t mode, gid_t gid)
{
    return file_replace(path, data, size, mode, gid, true);
}

Error *file_write_of_boot(const char *path, const void *data, size_t size, mode_t mode)
{
    return file_replace(path, data, size, mode, (gid_t)-1, false);
}

Error *folder_make(const char *path, mode_t mode, uid_t uid, gid_t gid)
{
    char part[PATH_MAX];

    if (snprintf(part, sizeof part, "%s", path) >= (int)sizeof part)
        return error_new(ERROR_INVALID, "%s: path too long", path);
    for (char *slash = strchr(part + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        bool made = mkdir(part, 0755) == 0;
        if ((!made && errno != EEXIST) || (made && chmod(part, 0755) != 0)) /* past the umask */
            return error_in(error_system("mkdir"), "%s", part);
        *slash = '/';
    }
    if (mkdir(path, mode) != 0)
        return errno == EEXIST ? NULL : error_in(error_system("mkdir"), "%s", path);
    if (lchown(path, uid, gid) != 0 || chmod(path, mode) != 0) /* past the umask */
        return error_in(error_system("chmod"), "%s", path);
    return NULL;
}

Error *file_set_aside(const char *path, Path *ret_where)
{
    Path where;
    char stamp[32];
    time_t now = time(NULL);
    struct tm utc;

    gmtime_r(&now, &utc);
    strftime(stamp, sizeof stamp, "%Y%m%d-%H%M%S", &utc);
    for (int n = 0;; n++) {
        int len = n ? snprintf(where.text, sizeof where.text, "%s.damaged-%s-%d", path, stamp, n)
                    : snprintf(where.text, sizeof where.text, "%s.damaged-%s", path, stamp);
        if (len < 0 || (size_t)len >= sizeof where.text)
            return error_new(ERROR_INVALID, "%s: path too long", path);
        if (access(where.text, F_OK) != 0)
            break;
    }
    if (rename(path, where.text) != 0)
        return error_in(error_system("rename"), "%s", path);
    *ret_where = where;
    return sync_folder_of(path);
}

/* The pid that the file names; 0: none. */
static long lock_holder(int fd)
{
    char text[32] = "";

    return pread(fd, text, sizeof text - 1, 0) > 0 ? strtol(text, NULL, 10) : 0;
}

/* Who was killed between a fork and what its child does next leaves the lock with the child for an instant. */
static bool lock_dies(int fd)
{
    long holder = lock_holder(fd);

    return holder > 0 && kill((pid_t)holder, 0) != 0 && errno == ESRCH;
}

static int lock_try(int fd)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};

    return fcntl(fd, F_OFD_SETLK, &lock) == 0 ? 0 : errno;
}

static bool is_busy(int number)
{
    return number == EAGAIN || number == EACCES;
}

/* 0, or the error number. */
static int lock_take(int fd)
{
    enum { AGAIN_MS = 10, TRIES = 200 };
    int number = lock_try(fd);

    for (int i = 0; is_busy(number) && i < TRIES && lock_dies(fd); i++) {
        usleep(AGAIN_MS * 1000);
        number = lock_try(fd);
    }
    return number;
}

Error *file_lock(const char *path)
{
    char text[32] = "";
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

    if (fd < 0)
        return error_in(error_system("open"), "%s", path);
    int number = lock_take(fd);
    if (number) {
        errno = number;
        Error *err = is_busy(number) ? error_new(ERROR_CONFLICT, "%s is held by pid %ld", path, lock_holder(fd))
                                     : error_in(error_system("lock"), "%s", path);
        close(fd);
        return err;
    }
    int len = snprintf(text, sizeof text, "%ld\n", (long)getpid());
    if (ftruncate(fd, 0) != 0 || pwrite(fd, text, (size_t)len, 0) != len) {
        Error *err = error_in(error_system("write"), "%s", path);
        close(fd);
        return err;
    }
    return NULL;
}
