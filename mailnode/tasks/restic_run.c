#include "tasks/restic_run.h"

#include "base/alloc.h"
#include "base/loop.h"
#include "base/path.h"
#include "base/proc.h"
#include "engine/spawn.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/ioprio.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define RESTIC_PROGRAM "/usr/bin/restic"
#define RESTIC_USER "mailbackup"

enum {
    FD_REPOSITORY = 3,
    FD_PASSWORD,
    FD_KEY,
    FD_HOSTS,
    FD_GOOGLE,
    FD_END,
    FD_ASIDE = 64, /* where they wait while the low ones are set */
    TICK_MS = 250,
    LOOK_MS = 1000,
    OBEY_MS = 10000,
    MOVED_BYTES = 64 * 1024, /* more than retries and their words make in five minutes */
    MOVED_CPU_S = 5,
    ENV_ROOM = RESTIC_ENV_MAX + 12,
    NICE = 10,
    EXIT_NOT_PREPARED = 126
};

/* ---- descriptors ---- */

Error *restic_memfd(const char *name, const void *data, size_t size, int *ret_fd)
{
    DEFER(fd_close) int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    const uint8_t *at = data;

    while (fd >= 0 && size) {
        ssize_t put = write(fd, at, size);
        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0)
            return error_system("memfd");
        at += put;
        size -= (size_t)put;
    }
    if (fd < 0 || fchmod(fd, 0444) != 0 ||
        fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL) != 0)
        return error_system("memfd");
    *ret_fd = fd;
    fd = -1; /* NOLINT(clang-analyzer-deadcode.DeadStores): DEFER looks at it */
    return NULL;
}

/* ---- the child ---- */

static void __attribute__((noreturn)) not_prepared(const char *what)
{
    dprintf(STDERR_FILENO, "%s: %s\n", what, strerror(errno));
    _exit(EXIT_NOT_PREPARED);
}

static void signals_as_new(void)
{
    sigset_t none;

    for (int number = 1; number < NSIG; number++)
        signal(number, SIG_DFL); /* those that cannot be set are as they should be */
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

/* First all aside: one may stand where another is to go. */
static void descriptors(const ResticUse *use, int out, int err)
{
    int from[FD_END] = {-1, out, err, use->repository, use->password, use->key, use->hosts, use->google};

    from[0] = open("/dev/null", O_RDONLY | O_CLOEXEC);
    for (int i = 0; i < FD_END; i++)
        if (from[i] >= 0 && (from[i] = fcntl(from[i], F_DUPFD_CLOEXEC, FD_ASIDE)) < 0)
            _exit(EXIT_NOT_PREPARED);
    for (int i = 0; i < FD_END; i++)
        if (from[i] >= 0 ? dup2(from[i], i) < 0 : close(i) != 0 && errno != EBADF)
            _exit(EXIT_NOT_PREPARED);
    if (close_range(FD_END, ~0U, 0) != 0)
        not_prepared("close descriptors");
}

/* Below what serves mail; where the kernel knows no such thing it goes without. */
static void low_priority(void)
{
    setpriority(PRIO_PROCESS, 0, NICE);
    syscall(SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0, IOPRIO_PRIO_VALUE(IOPRIO_CLASS_BE, 7));
}

/* Permitted, effective and inheritable: this one alone. */
static int one_capability(unsigned number)
{
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct data[2] = {0};

    data[number / 32].permitted = data[number / 32].effective = data[number / 32].inheritable = 1U << (number % 32);
    return (int)syscall(SYS_capset, &header, data);
}

/* No program that it starts can get more, either. */
static void bound_by(unsigned kept)
{
    for (unsigned number = 0; prctl(PR_CAPBSET_READ, number, 0, 0, 0) >= 0; number++)
        if (number != kept && prctl(PR_CAPBSET_DROP, number, 0, 0, 0) != 0)
            not_prepared("drop capabilities");
}

static void become(uid_t uid, gid_t gid, bool reads_all)
{
    bound_by(reads_all ? CAP_DAC_READ_SEARCH : ~0U);
    if (reads_all && prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) != 0)
        not_prepared("keep capabilities");
    if (initgroups(RESTIC_USER, gid) != 0 || setresgid(gid, gid, gid) != 0 || setresuid(uid, uid, uid) != 0)
        not_prepared("become " RESTIC_USER);
    if (reads_all && (one_capability(CAP_DAC_READ_SEARCH) != 0 ||
                      prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_DAC_READ_SEARCH, 0, 0) != 0))
        not_prepared("keep CAP_DAC_READ_SEARCH");
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        not_prepared("no new privileges");
}

static char *env_line(const char *name, const char *root, const char *folder)
{
    Path path = path_in(root, "var/lib/mailnode/restic%s", folder);

    return xasprintf("%s=%s", name, path.text);
}

static void environment(const ResticUse *use, char *env[ENV_ROOM])
{
    size_t n = 0;

    env[n++] = xstrdup("PATH=/usr/sbin:/usr/bin:/sbin:/bin");
    env[n++] = env_line("HOME", use->root, "");
    env[n++] = env_line("RESTIC_CACHE_DIR", use->root, "/cache");
    env[n++] = env_line("TMPDIR", use->root, "/tmp");
    env[n++] = xstrdup("RESTIC_PROGRESS_FPS=2");
    env[n++] = xasprintf("RESTIC_REPOSITORY_FILE=/proc/self/fd/%d", FD_REPOSITORY);
    env[n++] = xasprintf("RESTIC_PASSWORD_FILE=/proc/self/fd/%d", FD_PASSWORD);
    if (use->google >= 0)
        env[n++] = xasprintf("GOOGLE_APPLICATION_CREDENTIALS=/proc/self/fd/%d", FD_GOOGLE);
    for (size_t i = 0; i < use->place->n_env; i++)
        env[n++] = xstrdup(secret_text(use->place->env[i]));
    assert(n < ENV_ROOM);
    env[n] = NULL;
}

/* ssh closes what it inherits, so it finds key and host keys at restic, whose process we are about to become.  restic
 * splits this line at spaces; none of the words has one. */
static char *ssh_command(const ResticPlace *place)
{
    Buf line = {0};
    int self = getpid();

    buf_printf(&line, "sftp.command=/usr/bin/ssh -F none -s -o BatchMode=yes -o StrictHostKeyChecking=yes");
    buf_printf(&line, " -o UserKnownHostsFile=/proc/%d/fd/%d -o GlobalKnownHostsFile=/dev/null", self, FD_HOSTS);
    buf_printf(&line, " -o IdentitiesOnly=yes -o IdentityAgent=none -o IdentityFile=/proc/%d/fd/%d", self, FD_KEY);
    buf_printf(&line, " -o PreferredAuthentications=publickey -o UpdateHostKeys=no");
    buf_printf(&line, " -o LogLevel=ERROR -E /proc/%d/fd/%d", self, STDERR_FILENO); /* restic may lose the last words */
    buf_printf(&line, " -o ConnectTimeout=20 -o ServerAliveInterval=15 -o ServerAliveCountMax=4");
    if (place->ssh_port)
        buf_printf(&line, " -p %s", place->ssh_port);
    if (place->ssh_user)
        buf_printf(&line, " -l %s", place->ssh_user);
    buf_printf(&line, " -- %s sftp", place->ssh_host);
    return xstrdup(buf_text(&line));
}

static char **arguments(const ResticUse *use, const char *const *argv)
{
    size_t n = 0, at = 0;

    while (argv[n])
        n++;
    char **all = xcalloc(n + 5, sizeof *all);
    all[at++] = xstrdup("restic");
    if (use->place->ssh_host) {
        all[at++] = xstrdup("-o");
        all[at++] = ssh_command(use->place);
    }
    for (size_t i = 0; i < n; i++)
        all[at++] = xstrdup(argv[i]);
    return all;
}

typedef struct Start {
    uid_t uid;
    gid_t gid;
    pid_t parent;
    int out, err; /* the ends that restic writes to */
} Start;

static void __attribute__((noreturn)) be_restic(const ResticUse *use, const ResticRun *run, const Start *start)
{
    char *env[ENV_ROOM];

    setsid();
    signals_as_new();
    descriptors(use, start->out, start->err);
    umask(077);
    low_priority();
    become(start->uid, start->gid, run->reads_all);
    if (chdir(run->folder ? run->folder : "/") != 0)
        not_prepared("enter the folder");
    prctl(PR_SET_PDEATHSIG, SIGINT); /* after the user: a change of it takes this back */
    if (getppid() != start->parent)
        _exit(EXIT_NOT_PREPARED);
    environment(use, env);
    execve(RESTIC_PROGRAM, arguments(use, run->argv), env);
    not_prepared("run " RESTIC_PROGRAM);
}

/* ---- the run ---- */

typedef struct Running {
    const ResticUse *use;
    ResticRun *run;
    pid_t pid;
    int pidfd, out, err;
    Buf line, said; /* what has not come to its end yet, of stdout and stderr */
    uint64_t piped; /* octets that came through the pipes */
    Msec until, kill_at, tick_at, look_at, moved_at;
    uint64_t moved_bytes, moved_ticks; /* when something moved last */
    bool exited;
} Running;

static void running_done(Running *running)
{
    fd_close(&running->pidfd);
    fd_close(&running->out);
    fd_close(&running->err);
    buf_done(&running->line);
    buf_done(&running->said);
}

/* The first reason counts. */
static void stop(Running *running, ResticEnd why, Msec now)
{
    if (running->kill_at != MSEC_NEVER)
        return;
    running->run->end = why;
    running->kill_at = now + OBEY_MS;
    kill(running->pid, SIGINT);
}

static void stopped_by(Running *running, Error *why)
{
    if (running->run->why) {
        error_free(&why);
        return;
    }
    running->run->why = why;
    stop(running, RESTIC_STOPPED, clock_ms());
}

static void lines_out(Running *running, Buf *from, bool all)
{
    ResticRun *run = running->run;
    size_t done = 0;

    while (done < from->size) {
        const uint8_t *at = from->data + done, *end = memchr(at, '\n', from->size - done);
        if (!end && !all)
            break;
        size_t size = end ? (size_t)(end - at) : from->size - done;
        done += size + (end != NULL);
        if (from == &running->said) {
            if (run->said)
                run->said(run->context, (const char *)at, size);
        } else if (size && !run->why) {
            Error *why = run->line(run->context, (const char *)at, size);
            if (why)
                stopped_by(running, why);
        }
    }
    buf_drop(from, done);
}

static void take_out(Running *running, const char *chunk, size_t size)
{
    ResticRun *run = running->run;

    if (run->line) {
        buf_append(&running->line, chunk, size);
        lines_out(running, &running->line, false);
        if (running->line.size > RESTIC_LINE_MAX)
            stopped_by(running, error_new(ERROR_DAMAGED, "restic says a line without end"));
    } else if (run->out.size + size > run->out_max) {
        stopped_by(running, error_new(ERROR_INVALID, "restic says more than %zu octets", run->out_max));
    } else {
        buf_append(&run->out, chunk, size);
    }
}

static void take_words(Running *running, const char *chunk, size_t size)
{
    Buf *words = &running->run->words;
    size_t room = RESTIC_WORDS_MAX - words->size;

    buf_append(words, chunk, size < room ? size : room);
    if (!running->run->said)
        return;
    buf_append(&running->said, chunk, size);
    lines_out(running, &running->said, running->said.size > RESTIC_LINE_MAX);
}

/* All that is there. */
static void take(Running *running, int *fd)
{
    char chunk[32768];

    while (*fd >= 0) {
        ssize_t got = read(*fd, chunk, sizeof chunk);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0 && errno == EAGAIN)
            return;
        if (got <= 0) {
            fd_close(fd);
            return;
        }
        running->piped += (uint64_t)got;
        if (fd == &running->out)
            take_out(running, chunk, (size_t)got);
        else
            take_words(running, chunk, (size_t)got);
    }
}

/* proc(5): octets that it read and wrote wherever, and its CPU time in ticks; what it said to us does not count. */
static bool figures(const Running *running, uint64_t *ret_bytes, uint64_t *ret_ticks)
{
    DEFER(xfree) char *io_path = xasprintf("/proc/%d/io", (int)running->pid);
    DEFER(xfree) char *stat_path = xasprintf("/proc/%d/stat", (int)running->pid);
    DEFER(buf_done) Buf io = {0}, stat = {0};
    unsigned long long rchar = 0, wchar = 0, user = 0, kernel = 0;

    Error *err = file_read(io_path, 4096, &io);
    if (!err)
        err = file_read(stat_path, 4096, &stat);
    const char *after = err ? NULL : strrchr(buf_text(&stat), ')');
    bool read =
        after && sscanf(buf_text(&io), "rchar: %llu wchar: %llu", &rchar, &wchar) == 2 &&              /* NOLINT */
        sscanf(after, ") %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu", &user, &kernel) == 2; /* NOLINT */
    error_free(&err);
    *ret_bytes = rchar + wchar > running->piped ? rchar + wchar - running->piped : 0;
    *ret_ticks = user + kernel;
    return read;
}

static void look_for_movement(Running *running, Msec now)
{
    uint64_t bytes = 0, ticks = 0;
    uint64_t ticks_wanted = MOVED_CPU_S * (uint64_t)sysconf(_SC_CLK_TCK);

    if (!running->run->stall_s || now < running->look_at)
        return;
    running->look_at = now + LOOK_MS;
    if (!figures(running, &bytes, &ticks))
        return;
    if (bytes >= running->moved_bytes + MOVED_BYTES || ticks >= running->moved_ticks + ticks_wanted) {
        running->moved_bytes = bytes;
        running->moved_ticks = ticks;
        running->moved_at = now;
    } else if (now >= running->moved_at + running->run->stall_s * 1000ULL) {
        stop(running, RESTIC_STALLED, now);
    }
}

static void run_step(Running *running, Msec now)
{
    ResticRun *run = running->run;

    take(running, &running->out);
    take(running, &running->err);
    if (running->use->job && job_cancelled(running->use->job))
        stop(running, RESTIC_CANCELLED, now);
    if (now >= running->until)
        stop(running, RESTIC_LATE, now);
    look_for_movement(running, now);
    if (run->tick && now >= running->tick_at) {
        running->tick_at = now + TICK_MS;
        if (!run->tick(run->context))
            stop(running, RESTIC_STOPPED, now);
    }
    if (now >= running->kill_at && !run->killed) {
        run->killed = true;
        kill(-running->pid, SIGKILL);
        kill(running->pid, SIGKILL);
    }
}

static void run_sleep(const Running *running)
{
    bool stopping = running->kill_at != MSEC_NEVER;
    struct pollfd fds[] = {
        {running->pidfd, POLLIN, 0},
        {running->out, POLLIN, 0},
        {running->err, POLLIN, 0},
        /* once it hung up it would wake us for ever */
        {running->use->job && !stopping ? job_fd(running->use->job) : -1, POLLIN, 0},
    };

    poll(fds, sizeof fds / sizeof *fds, TICK_MS);
}

/* Its session goes with it: a child of its own (ssh) may hold the pipes. */
static void run_end(Running *running)
{
    ResticRun *run = running->run;
    int status = 0;

    kill(-running->pid, SIGKILL);
    while (waitpid(running->pid, &status, 0) < 0 && errno == EINTR)
        continue;
    take(running, &running->out);
    take(running, &running->err);
    if (run->line)
        lines_out(running, &running->line, true);
    if (run->said)
        lines_out(running, &running->said, true);
    run->exit = WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

static void run_through(Running *running)
{
    siginfo_t end = {0};

    for (;;) {
        run_step(running, clock_ms());
        end.si_pid = 0;
        if (waitid(P_PID, (id_t)running->pid, &end, WEXITED | WNOHANG | WNOWAIT) == 0 && end.si_pid != 0)
            break;
        run_sleep(running);
    }
    run_end(running);
}

static Error *pipe_make(int *ret_ours, int *ret_theirs)
{
    int ends[2];

    if (pipe2(ends, O_CLOEXEC) != 0)
        return error_system("pipe");
    *ret_ours = ends[0];
    *ret_theirs = ends[1];
    return fcntl(ends[0], F_SETFL, O_NONBLOCK) == 0 ? NULL : error_system("pipe");
}

static Error *start(Running *running)
{
    Start with = {.parent = getpid(), .out = -1, .err = -1};

    Error *err = proc_user(RESTIC_USER, &with.uid, &with.gid);
    if (!err && geteuid() != 0)
        err = error_new(ERROR_DENIED, "only root can run restic as " RESTIC_USER);
    if (!err)
        err = pipe_make(&running->out, &with.out);
    if (!err)
        err = pipe_make(&running->err, &with.err);
    if (!err && fchown(with.err, with.uid, with.gid) != 0) /* ssh opens it by its name */
        err = error_system("pipe");
    if (!err) {
        running->pid = fork();
        if (running->pid == 0)
            be_restic(running->use, running->run, &with);
        if (running->pid < 0)
            err = error_system("fork");
    }
    fd_close(&with.out);
    fd_close(&with.err);
    if (err)
        return err;
    running->pidfd = spawn_pidfd(running->pid);
    return NULL;
}

Error *restic_run(const ResticUse *use, ResticRun *run)
{
    Msec now = clock_ms();
    DEFER(running_done)
    Running running = {.use = use,
                       .run = run,
                       .pidfd = -1,
                       .out = -1,
                       .err = -1,
                       .until = run->limit_s ? now + run->limit_s * 1000ULL : MSEC_NEVER,
                       .kill_at = MSEC_NEVER,
                       .moved_at = now};

    run->end = RESTIC_ENDED;
    Error *err = start(&running);
    if (err)
        return error_in(err, "restic");
    run_through(&running);
    return NULL;
}

void restic_run_done(ResticRun *run)
{
    buf_done(&run->out);
    buf_done(&run->words);
    error_free(&run->why);
}
