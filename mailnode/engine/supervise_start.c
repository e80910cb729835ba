/* A process begins behind a gate: it runs the daemon only when its run-file is on the disk, and ends when mail-engine
 * dies before that.  So there is never a daemon that nobody knows. */
#include "engine/supervise_inside.h"

#include "base/alloc.h"
#include "base/crash.h"
#include "base/path.h"
#include "engine/bounce.h"
#include "engine/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ORPHAN_TERM_MS = 2000, ORPHAN_LOOK_MS = 20 };

/* Whoever reads logs as group adm may read these, too, where there is such a group. */
static Error *log_open(const Supervise *supervise, Unit *unit, int *ret_fd)
{
    Path path = unit_log(supervise, unit);
    const struct group *readers = getgrnam("adm");
    struct stat st;

    int fd = open(path.text, O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0640);
    if (fd < 0)
        return error_in(error_system("open"), "%s", path.text);
    if (fchmod(fd, 0640) != 0 || (readers && fchown(fd, (uid_t)-1, readers->gr_gid) != 0) || fstat(fd, &st) != 0) {
        close(fd);
        return error_in(error_system("own"), "%s", path.text);
    }
    unit->log_from = (uint64_t)st.st_size;
    *ret_fd = fd;
    return NULL;
}

/* Waits in its own session, so that the run-file's pid leads to it from the first moment. */
static void __attribute__((noreturn)) behind_the_gate(const Unit *unit, const Argv *argv, int gate, int log)
{
    SpawnSpec spec = {.user = unit->daemon->user, .env = unit->daemon->env, .out = log, .umask = 022};
    char octet;
    unsigned low = (unsigned)(gate < log ? gate : log);
    unsigned high = (unsigned)(gate < log ? log : gate);

    setsid();
    close_range(3, low - 1, 0); /* the lock of mail-engine above all: the next one wants it */
    close_range(low + 1, high - 1, 0);
    close_range(high + 1, ~0U, 0);
    if (read(gate, &octet, 1) != 1)
        _exit(0);
    spawn_clean(&spec, 0);
    spawn_exec((const char *const *)argv->items);
}

static Error *know_process(const Supervise *supervise, Unit *unit, pid_t pid)
{
    uint64_t cpu_ticks = 0;
    char program[256];
    char letter = 0;
    RunFile file = {.pid = pid, .generation = unit->generation, .files = unit->files, .restart = unit->restart};

    snprintf(file.boot_id, sizeof file.boot_id, "%s", supervise->boot_id);
    snprintf(file.program, sizeof file.program, "%s", unit->program);
    if (!process_look(pid, &file.start_time, program, &letter, &cpu_ticks))
        return error_new(ERROR_SYSTEM, "the new process is gone");
    unit->pidfd = spawn_pidfd(pid);
    if (unit->pidfd < 0)
        return error_system("pidfd_open");
    unit->pid = pid;
    unit->file = file;
    return unit_write_runfile(supervise, unit);
}

Error *unit_write_runfile(const Supervise *supervise, const Unit *unit)
{
    return runfile_write(unit_runfile(supervise, unit).text, &unit->file);
}

/* Behind the gate nothing has happened yet: closing it ends the process. */
static void take_back(Unit *unit, pid_t pid)
{
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    fd_close(&unit->pidfd);
    unit->pid = 0;
}

Error *unit_spawn(Supervise *supervise, Unit *unit)
{
    DEFER(argv_done) Argv argv = {.n = 0};
    DEFER(fd_close) int log = -1;
    DEFER(fd_close) int gate = -1;
    DEFER(fd_close) int inside = -1;
    int ends[2];

    supervise->how->argv(unit->id, supervise->state, &argv);
    Error *err = log_open(supervise, unit, &log);
    if (err)
        return err;
    (void)daemon_bounced(supervise->root, unit->daemon); /* of a life before this one */
    if (pipe2(ends, O_CLOEXEC) != 0)
        return error_system("pipe");
    inside = ends[0];
    gate = ends[1];
    CRASH_POINT("engine.daemon.starting");
    pid_t pid = fork();
    if (pid < 0)
        return error_system("fork");
    if (pid == 0) {
        close(gate);
        behind_the_gate(unit, &argv, inside, log);
    }
    CRASH_POINT("engine.daemon.forked");
    err = know_process(supervise, unit, pid);
    if (!err && write(gate, "", 1) != 1)
        err = error_system("write");
    if (err) {
        take_back(unit, pid);
        return err;
    }
    CRASH_POINT("engine.daemon.started");
    unit->loads++;
    unit->silent = 0;
    unit->answered_at = 0;
    unit->reloading = false;
    return NULL;
}

/* ---- the end ----------------------------------------------------------------------- */

void unit_signal(const Unit *unit, int number)
{
    if (unit->pidfd >= 0)
        syscall(SYS_pidfd_send_signal, unit->pidfd, number, NULL, 0);
}

void unit_kill(const Unit *unit)
{
    const pid_t *pids = NULL;
    size_t n = unit_session(unit, &pids);

    unit_signal(unit, SIGKILL);
    for (size_t i = 0; i < n; i++)
        kill(pids[i], SIGKILL);
}

/* The status of one that was adopted is its parent's to know. */
static bool has_ended(const Unit *unit, char *ret_how, size_t size)
{
    struct pollfd poll_fd = {.fd = unit->pidfd, .events = POLLIN};
    int status = 0;

    pid_t got = waitpid(unit->pid, &status, WNOHANG);
    if (got == 0)
        return false;
    if (got == unit->pid && WIFSIGNALED(status))
        snprintf(ret_how, size, "killed by signal %d", WTERMSIG(status));
    else if (got == unit->pid)
        snprintf(ret_how, size, "exit status %d", WEXITSTATUS(status));
    else if (poll(&poll_fd, 1, 0) == 1)
        snprintf(ret_how, size, "ended");
    else
        return false;
    return true;
}

static void tell_end(Supervise *supervise, Unit *unit, ServiceState before, const char *how, Msec now)
{
    if (before == SERVICE_STOPPING) {
        happened_add(supervise->happened, MAIL__FACT_STATE__GOOD, "daemon ended", "%s: %s, as asked",
                     unit->daemon->name, how);
        return;
    }
    unit_reason(unit, "%s", how);
    Msec again = unit->service.at > now ? unit->service.at - now : 0;
    happened_add(supervise->happened, MAIL__FACT_STATE__DEGRADED, "daemon ended", "%s: %s, restarting in %llu ms",
                 unit->daemon->name, how, (unsigned long long)again);
}

void unit_take_exit(Supervise *supervise, Unit *unit, Msec now)
{
    enum { EARLY_EXITS_MAX = 2 };
    bool reloading = unit->reloading;
    char how[64];

    if (unit->pid == 0 || !has_ended(unit, how, sizeof how))
        return;
    CRASH_POINT("engine.daemon.ended");
    if (daemon_bounced(supervise->root, unit->daemon))
        unit_event(supervise, unit, SERVICE_UNWANTED, now);
    ServiceState before = unit->service.state;
    fd_close(&unit->pidfd);
    unit->pid = 0;
    unit->reloading = false;
    child_free(&unit->probe);
    unit_orphans_begin(unit, now);
    unit_event(supervise, unit, SERVICE_EXITED, now);
    tell_end(supervise, unit, before, how, now);
    if (before == SERVICE_STARTING)
        unit->early_exits++;
    if ((before == SERVICE_STARTING && unit->early_exits >= EARLY_EXITS_MAX) || reloading)
        unit_load_failed(supervise, unit, how);
}

/* ---- what outlives it -------------------------------------------------------------- */

void unit_orphans_begin(Unit *unit, Msec now)
{
    unit->has_orphans = true;
    unit->orphans_since = now;
    unit->orphans_at = now;
}

/* The number of its session belongs to it as long as somebody is in there.  With nobody in it somebody else may have got
 * it: then there is a leader, of another start time. */
static size_t orphans(const Unit *unit, const pid_t **ret_pids)
{
    uint64_t start_time = 0;
    uint64_t cpu_ticks = 0;
    char program[256];
    char letter = 0;

    if (process_look(unit->file.pid, &start_time, program, &letter, &cpu_ticks) && start_time != unit->file.start_time)
        return 0;
    return unit_session(unit, ret_pids);
}

void unit_orphans_run(Supervise *supervise, Unit *unit, Msec now)
{
    const pid_t *pids = NULL;

    if (!unit->has_orphans || now < unit->orphans_at)
        return;
    size_t n = orphans(unit, &pids);
    Msec age = now - unit->orphans_since;
    Msec patience = unit->service.stop_ms < ORPHAN_TERM_MS ? unit->service.stop_ms : ORPHAN_TERM_MS;
    int number = age < unit->daemon->orphan_ms + patience ? SIGTERM : SIGKILL;
    for (size_t i = 0; i < n && age >= unit->daemon->orphan_ms; i++) {
        kill(pids[i], number);
        kill(pids[i], SIGCONT);
    }
    unit->orphans_at = now + ORPHAN_LOOK_MS;
    if (n)
        return;
    Error *err = runfile_remove(unit_runfile(supervise, unit).text);
    if (err) {
        happened_add(supervise->happened, MAIL__FACT_STATE__DEGRADED, "run-file stays", "%s: %s", unit->daemon->name,
                     err->what);
        error_free(&err);
    }
    unit->has_orphans = false;
    supervise->moved = true;
}
