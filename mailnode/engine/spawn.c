#include "engine/spawn.h"

#include "base/error.h"
#include "base/proc.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { EXIT_NOT_PREPARED = 126, EXIT_NOT_RUN = 127 };

static void __attribute__((noreturn)) give_up(int code, const char *what, const char *subject)
{
    dprintf(STDERR_FILENO, "%s %s: %s\n", what, subject, strerror(errno));
    _exit(code);
}

static void signals_as_new(void)
{
    sigset_t none;

    for (int number = 1; number < NSIG; number++)
        signal(number, SIG_DFL); /* those that cannot be set are as they should be */
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

static void descriptors(int in, int out)
{
    if (!in)
        in = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (in < 0 || dup2(in, STDIN_FILENO) < 0 || dup2(out, STDOUT_FILENO) < 0 || dup2(out, STDERR_FILENO) < 0)
        _exit(EXIT_NOT_PREPARED);
    if (close_range(3, ~0U, 0) != 0)
        give_up(EXIT_NOT_PREPARED, "close", "descriptors");
}

/* The list is read before the environment is emptied: it may point into it. */
static void environment(const char *const *env)
{
    clearenv();
    setenv("PATH", "/usr/sbin:/usr/bin:/sbin:/bin", 1);
    for (size_t i = 0; env && env[i]; i++)
        putenv((char *)env[i]); /* NOLINT: putenv takes no const, and changes nothing */
}

static void become(const char *user)
{
    Error *err = proc_become(user);

    if (!err)
        return;
    dprintf(STDERR_FILENO, "%s\n", err->what);
    error_free(&err);
    _exit(EXIT_NOT_PREPARED);
}

void spawn_clean(const SpawnSpec *spec, pid_t parent)
{
    const char *folder = spec->folder ? spec->folder : "/";

    setsid();
    signals_as_new();
    descriptors(spec->in, spec->out);
    environment(spec->env);
    umask(spec->umask);
    if (spec->user)
        become(spec->user);
    if (chdir(folder) != 0)
        give_up(EXIT_NOT_PREPARED, "enter", folder);
    if (!spec->with_us)
        return;
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* after the user: a change of it takes this back */
    if (getppid() != parent)
        _exit(EXIT_NOT_PREPARED);
}

void spawn_exec(const char *const *argv)
{
    execv(argv[0], (char *const *)argv);
    give_up(EXIT_NOT_RUN, "run", argv[0]);
}

int spawn_pidfd(pid_t pid)
{
    return (int)syscall(SYS_pidfd_open, pid, 0);
}
