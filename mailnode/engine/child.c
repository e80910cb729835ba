#include "engine/child.h"

#include "base/alloc.h"
#include "base/path.h"
#include "base/proc.h"
#include "engine/spawn.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { KILLED_AT_DEADLINE = -1000 };

struct Child {
    pid_t pid;
    int pidfd, out;
    Msec until;
    bool late, ended;
    int exit;
    Buf words;
};

typedef struct Body {
    const char *const *argv;
    int (*run)(void *context);
    void *context;
} Body;

static void __attribute__((noreturn)) be_the_child(const ChildSpec *spec, const Body *body, int out, pid_t parent)
{
    SpawnSpec spawn = {.user = spec->user, .folder = spec->folder, .env = spec->env};

    spawn.out = out;
    spawn.umask = 027;
    spawn.with_us = true;
    spawn_clean(&spawn, parent);
    if (body->argv)
        spawn_exec(body->argv);
    _exit(body->run(body->context));
}

static Error *start(const ChildSpec *spec, const Body *body, Child **ret_child)
{
    DEFER(child_free) Child *child = xcalloc(1, sizeof *child);
    DEFER(fd_close) int out = -1;
    int ends[2];
    uid_t uid = 0;
    gid_t gid = 0;

    child->pidfd = child->out = -1;
    child->ended = true; /* nothing to kill yet */
    buf_init(&child->words, CHILD_OUTPUT_MAX);
    if (spec->user) {
        Error *err = proc_user(spec->user, &uid, &gid);
        if (err)
            return err;
    }
    if (pipe2(ends, O_CLOEXEC) != 0)
        return error_system("pipe");
    child->out = ends[0];
    out = ends[1];
    if (fcntl(child->out, F_SETFL, O_NONBLOCK) != 0)
        return error_system("fcntl");

    pid_t parent = getpid();
    child->pid = fork();
    if (child->pid < 0)
        return error_system("fork");
    if (child->pid == 0)
        be_the_child(spec, body, out, parent);
    child->ended = false;
    child->until = clock_ms() + spec->deadline_ms;
    child->pidfd = spawn_pidfd(child->pid);
    if (child->pidfd < 0)
        return error_system("pidfd_open");
    *ret_child = child;
    child = NULL;
    return NULL;
}

Error *child_start(const ChildSpec *spec, Child **ret_child)
{
    assert(spec->argv[0][0] == '/');
    return error_in(start(spec, &(Body){.argv = spec->argv}, ret_child), "%s", spec->argv[0]);
}

Error *child_fork(const ChildSpec *spec, int (*run)(void *context), void *context, Child **ret_child)
{
    return start(spec, &(Body){.run = run, .context = context}, ret_child);
}

/* What goes beyond the limit is read and forgotten: a program that says much still comes to its end. */
static void take_words(Child *child)
{
    char chunk[4096];

    while (child->out >= 0) {
        ssize_t got = read(child->out, chunk, sizeof chunk);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0 && errno == EAGAIN)
            return;
        if (got <= 0) {
            fd_close(&child->out);
            return;
        }
        size_t room = CHILD_OUTPUT_MAX - child->words.size;
        buf_append(&child->words, chunk, (size_t)got < room ? (size_t)got : room);
    }
}

/* Its session before itself: while it is not reaped no stranger can have its number, nor the group's. */
static void kill_group(const Child *child)
{
    kill(-child->pid, SIGKILL);
    kill(child->pid, SIGKILL); /* where it had not yet come to its session */
}

bool child_run(Child *child, Msec now)
{
    siginfo_t end = {0};
    int status = 0;

    if (child->ended)
        return true;
    take_words(child);
    if (now >= child->until && !child->late) {
        child->late = true;
        kill_group(child);
    }
    if (waitid(P_PID, (id_t)child->pid, &end, WEXITED | WNOHANG | WNOWAIT) != 0 || end.si_pid == 0)
        return false;
    kill_group(child);
    waitpid(child->pid, &status, 0);
    take_words(child);
    child->ended = true;
    if (child->late)
        child->exit = KILLED_AT_DEADLINE;
    else
        child->exit = WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
    return true;
}

void child_wait(const Child *child, Waiter *wake)
{
    if (child->ended) {
        waiter_now(wake);
        return;
    }
    waiter_fd(wake, child->pidfd, POLLIN);
    waiter_fd(wake, child->out, POLLIN);
    if (!child->late)
        waiter_at(wake, child->until);
}

void child_free(Child **child)
{
    if (!*child)
        return;
    if (!(*child)->ended) {
        kill_group(*child);
        waitpid((*child)->pid, NULL, 0);
    }
    fd_close(&(*child)->pidfd);
    fd_close(&(*child)->out);
    buf_done(&(*child)->words);
    xfree(child);
}

bool child_succeeded(const Child *child)
{
    return child->ended && child->exit == 0;
}

int child_exit(const Child *child)
{
    return child->exit;
}

const char *child_words(Child *child)
{
    Buf *words = &child->words;

    while (words->size && (words->data[words->size - 1] == '\n' || words->data[words->size - 1] == '\0'))
        words->size--;
    for (size_t i = 0; i < words->size; i++) {
        if (words->data[i] == '\0')
            words->data[i] = ' ';
    }
    return buf_text(words);
}

void argv_add(Argv *argv, const char *format, ...)
{
    va_list args;

    assert(argv->n < CHILD_ARGS_MAX);
    va_start(args, format);
    argv->items[argv->n++] = xvasprintf(format, args);
    va_end(args);
    argv->items[argv->n] = NULL;
}

void argv_done(Argv *argv)
{
    for (size_t i = 0; i < argv->n; i++)
        xfree(&argv->items[i]);
    argv->n = 0;
}
