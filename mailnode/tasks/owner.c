#include "tasks/owner.h"

#include "base/alloc.h"
#include "base/path.h"
#include "base/proc.h"
#include "engine/spawn.h"
#include "tables/places.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { LOOK_MS = 200, WORDS_MAX = 1000 };

static const off_t copy_max_bytes = 4LL << 30;

/* ---- files ---- */

static Error *make_file(const char *path, int *ret_fd)
{
    *ret_fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    return *ret_fd < 0 ? error_in(error_system("create"), "%s", path) : NULL;
}

static Error *open_file(int folder, const char *name, int *ret_fd)
{
    struct stat st;

    *ret_fd = openat(folder, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
    if (*ret_fd < 0 && errno == ENOENT)
        return error_new(ERROR_NOT_FOUND, "%s: is not there", name);
    if (*ret_fd < 0 || fstat(*ret_fd, &st) != 0)
        return error_in(error_system("open"), "%s", name);
    if (!S_ISREG(st.st_mode) || st.st_size > copy_max_bytes)
        return error_new(ERROR_INVALID, "%s: no regular file of a size that is taken", name);
    return NULL;
}

Error *owner_take(int folder, const char *name, const char *to)
{
    DEFER(fd_close) int in = -1;
    DEFER(fd_close) int out = -1;

    Error *err = open_file(folder, name, &in);
    if (!err)
        err = make_file(to, &out);
    for (off_t left = err ? 0 : lseek(in, 0, SEEK_END), at = 0; left > 0 && !err;) {
        ssize_t got = sendfile(out, in, &at, (size_t)left); /* copy_file_range stops at the end of a disk: EXDEV */
        if (got == 0)
            err = error_new(ERROR_CONFLICT, "%s: became shorter while it was copied", name);
        else if (got < 0 && errno != EINTR)
            err = error_in(error_system("copy"), "%s", name);
        else if (got > 0)
            left -= got;
    }
    return err;
}

/* ---- programs ---- */

static Error *failed(const char *program, int status, int words)
{
    const char *slash = strrchr(program, '/');
    char text[WORDS_MAX];
    ssize_t got = pread(words, text, sizeof text - 1, 0);

    text[got < 0 ? 0 : got] = '\0';
    text[strcspn(text, "\r\n")] = '\0';
    for (char *at = text; *at; at++)
        if ((unsigned char)*at < ' ' || (unsigned char)*at > '~')
            *at = '?';
    return error_new(ERROR_SYSTEM, "%s: %s (status %d)", slash ? slash + 1 : program, text, status);
}

static Error *wait_for(Job *job, const char *program, pid_t pid, int words)
{
    DEFER(fd_close) int pidfd = spawn_pidfd(pid); /* -1: it is looked for now and then */
    int status = 0;
    pid_t ended;

    while ((ended = waitpid(pid, &status, WNOHANG)) == 0 || (ended < 0 && errno == EINTR)) {
        struct pollfd wake[] = {{job_fd(job), POLLIN, 0}, {pidfd, POLLIN, 0}};
        Error *err = job_go_on(job);
        if (err) {
            kill(pid, SIGKILL);
            waitpid(pid, &status, 0);
            return err;
        }
        poll(wake, sizeof wake / sizeof *wake, LOOK_MS);
    }
    return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? NULL : failed(program, status, words);
}

Error *owner_run(Job *job, const char *user, const char *const *argv, int in)
{
    DEFER(fd_close) int words = memfd_create("words", MFD_CLOEXEC);
    pid_t parent = getpid();

    if (words < 0)
        return error_system("memfd");
    pid_t pid = fork();
    if (pid == 0) {
        spawn_clean(&(SpawnSpec){.user = user, .in = in, .out = words, .umask = 077, .with_us = true}, parent);
        spawn_exec(argv);
    }
    return pid < 0 ? error_system("fork") : wait_for(job, argv[0], pid, words);
}

/* It opens its stdin to write: a file that is slapd's for that long, in a folder that slapd cannot enter. */
Error *owner_slapcat(Job *job, const char *conf, const char *domain, const char *to)
{
    DEFER(xfree) char *suffix = xasprintf(DIRECTORY_SUFFIX, domain);
    const char *const argv[] = {"/usr/sbin/slapcat", "-f", conf, "-b", suffix, "-l", "/proc/self/fd/0", NULL};
    DEFER(fd_close) int file = -1;
    uid_t uid = 0;
    gid_t gid = 0;

    Error *err = proc_user("openldap", &uid, &gid);
    if (!err)
        err = make_file(to, &file);
    if (err)
        return err;
    if (fchown(file, uid, gid) != 0)
        return error_system("chown");
    err = owner_run(job, "openldap", argv, file);
    return !err && fchown(file, 0, 0) != 0 ? error_system("chown") : err;
}
