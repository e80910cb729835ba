#include "base/child.h"

#include "base/alloc.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

struct Child {
    pid_t pid;
};

enum { NAMES_MAX = 16 };

/* What a test says to our programs, and to their sanitizers. */
static void environment(char *out[NAMES_MAX + 1])
{
    static const char *const kept[] = {"PATH=", "MAILNODE_", "ASAN_OPTIONS=", "UBSAN_OPTIONS=", "LSAN_OPTIONS="};
    size_t n = 0;

    for (char **at = environ; *at && n < NAMES_MAX; at++)
        for (size_t i = 0; i < sizeof kept / sizeof *kept && n < NAMES_MAX; i++)
            if (strncmp(*at, kept[i], strlen(kept[i])) == 0)
                out[n++] = *at;
    out[n] = NULL;
}

static int spawn(const char *const *argv, int end, pid_t *ret_pid)
{
    posix_spawn_file_actions_t files;
    posix_spawnattr_t attributes;
    char *env[NAMES_MAX + 1];
    sigset_t none, usual;

    environment(env);
    sigemptyset(&none);
    sigemptyset(&usual);
    sigaddset(&usual, SIGPIPE);
    sigaddset(&usual, SIGHUP);
    sigaddset(&usual, SIGTERM);
    sigaddset(&usual, SIGINT);
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_adddup2(&files, end, 0);
    posix_spawn_file_actions_addclosefrom_np(&files, 3); /* a library may have opened one without close-on-exec */
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setsigdefault(&attributes, &usual);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    int number = posix_spawn(ret_pid, argv[0], &files, &attributes, (char *const *)argv, env);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&files);
    return number;
}

Error *child_start(const char *const *argv, Child **ret_child, int *ret_fd)
{
    int ends[2];
    pid_t pid = 0;

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0)
        return error_system("socketpair");
    errno = spawn(argv, ends[1], &pid);
    Error *err = errno ? error_system("%s", argv[0]) : NULL;
    close(ends[1]);
    if (err) {
        close(ends[0]);
        err->code = ERROR_UNAVAILABLE;
        return err;
    }
    *ret_child = xcalloc(1, sizeof **ret_child);
    (*ret_child)->pid = pid;
    *ret_fd = ends[0];
    return NULL;
}

void child_free(Child **child)
{
    if (!*child)
        return;
    kill((*child)->pid, SIGKILL); /* whatever it does: it keeps nothing that must be put in order */
    while (waitpid((*child)->pid, NULL, 0) < 0 && errno == EINTR)
        continue;
    free(*child);
    *child = NULL;
}

char *child_beside_us(const char *program)
{
    char self[PATH_MAX];
    ssize_t len = readlink("/proc/self/exe", self, sizeof self - 1);

    self[len < 0 ? 0 : len] = '\0';
    char *slash = strrchr(self, '/');
    if (slash)
        *slash = '\0';
    return xasprintf("%s/%s", self, program);
}
