#include "engine/refresh.h"

#include "base/alloc.h"
#include "base/path.h"
#include "base/proc.h"
#include "engine/publish.h"
#include "engine/runfile.h"
#include "engine/sessions.h"
#include "model/name.h"
#include "tables/places.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    USERS_MAX = 10000,
    FLUSH_NAMED_MAX = CHILD_ARGS_MAX - 8, /* more: everything is forgotten */
    CHILD_MS = 10000,
    WHO_BYTES_MAX = 8 * 1024 * 1024,
    END_LOOK_MS = 20,
    END_MS = 3000, /* then SIGKILL: a session must be over within 5 s */
    GONE_MS = 10000,
    PID_DIGITS = 10,
};

static const char doveadm[] = "/usr/bin/doveadm";

typedef enum Step { PUBLISHING, FLUSHING, LOOKING, ENDING, OVER } Step;

struct Refreshing {
    Path conf, mail_db, public;
    char **users, **left; /* sorted */
    size_t n_users, n_left;
    bool all_left, nobody;

    Step step;
    pid_t dovecot; /* leads the session that its processes are in */
    Child *child;
    pid_t *ended; /* sessions that were told to end */
    size_t n_ended;
    Msec ended_at, look_at;
    Error *err;
};

/* ---- whom ---- */

static int compare(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static Error *user_check(const char *user)
{
    DEFER(xfree) char *normal = NULL;

    Error *err = text_normalise(MAIL__FIELD_TYPE__ACCOUNT, user, &normal);
    if (!err && strcmp(normal, user) != 0)
        err = error_new(ERROR_INVALID, "not in its one form");
    return err ? error_in(err, "user '%s'", user) : NULL;
}

static Error *users_take(char *const *users, size_t n_users, char ***ret_users, size_t *ret_n)
{
    if (n_users > USERS_MAX)
        return error_new(ERROR_INVALID, "refresh: %zu users, at most %d", n_users, USERS_MAX);
    *ret_users = xcalloc(n_users + 1, sizeof **ret_users);
    for (size_t i = 0; i < n_users; i++) {
        Error *err = user_check(users[i]);
        if (err)
            return error_in(err, "refresh");
        (*ret_users)[(*ret_n)++] = xstrdup(users[i]);
    }
    qsort(*ret_users, *ret_n, sizeof **ret_users, compare);
    return NULL;
}

/* 0: it does not run, so that it remembers nothing and nobody is in. */
static pid_t dovecot_pid(const char *root)
{
    Path path = path_in(root, "%s/run/dovecot", &PLACE_ENGINE[3]);
    char boot_id[64];
    RunFile file;

    Error *err = proc_boot_id(boot_id);
    if (!err)
        err = runfile_read(path.text, &file);
    if (err) {
        error_free(&err);
        return 0;
    }
    return runfile_alive(&file, boot_id) ? file.pid : 0;
}

/* ---- public mailboxes ---- */

static int publish_in_child(void *context)
{
    const Refreshing *refreshing = context;

    Error *err = publish(refreshing->mail_db.text, refreshing->public.text);
    if (err)
        printf("%s\n", err->what);
    int status = err ? 1 : 0;
    error_free(&err);
    return fflush(stdout) == 0 ? status : 1;
}

static Error *publish_start(Refreshing *refreshing)
{
    const ChildSpec spec = {.user = "vmail", .deadline_ms = CHILD_MS};

    return child_fork(&spec, publish_in_child, refreshing, &refreshing->child);
}

/* ---- what is remembered ---- */

static Error *flush_start(Refreshing *refreshing)
{
    DEFER(argv_done) Argv argv = {0};

    argv_add(&argv, "%s", doveadm);
    argv_add(&argv, "-c");
    argv_add(&argv, "%s", refreshing->conf.text);
    argv_add(&argv, "auth");
    argv_add(&argv, "cache");
    argv_add(&argv, "flush");
    argv_add(&argv, "--");
    for (size_t i = 0; i < refreshing->n_users && refreshing->n_users <= FLUSH_NAMED_MAX; i++)
        argv_add(&argv, "%s", refreshing->users[i]);
    const ChildSpec spec = {.argv = (const char *const *)argv.items, .deadline_ms = CHILD_MS};
    return child_start(&spec, &refreshing->child);
}

/* ---- who is in: what follows runs in a child ---- */

/* As root: Dovecot's list of sessions is root's. */
static bool who_read(const Refreshing *refreshing, Buf *out)
{
    const char *argv[] = {doveadm, "-c", refreshing->conf.text, "-f", "tab", "who", "-1", NULL};
    int ends[2], status = -1;

    if (pipe2(ends, O_CLOEXEC) != 0)
        return false;
    pid_t pid = fork();
    if (pid == 0) {
        if (dup2(ends[1], STDOUT_FILENO) >= 0)
            execv(argv[0], (char *const *)argv);
        _exit(127);
    }
    close(ends[1]);
    buf_init(out, WHO_BYTES_MAX);
    for (bool more = pid > 0; more;) {
        uint8_t chunk[16384];
        ssize_t got = read(ends[0], chunk, sizeof chunk);
        more = (got < 0 && errno == EINTR) || (got > 0 && buf_append(out, chunk, (size_t)got));
    }
    close(ends[0]); /* what is too long ends by SIGPIPE, and is an error */
    return pid > 0 && waitpid(pid, &status, 0) == pid && status == 0;
}

/* Of one length, so that a number that was cut off is not taken for another. */
static void pid_say(void *context, pid_t pid)
{
    (void)context;
    printf("%0*ld\n", PID_DIGITS, (long)pid);
}

static int look_in_child(void *context)
{
    const Refreshing *refreshing = context;
    const SessionsOf of = {.users = (const char *const *)refreshing->users,
                           .n = refreshing->n_users,
                           .left = (const char *const *)refreshing->left,
                           .n_left = refreshing->n_left,
                           .all_left = refreshing->all_left,
                           .nobody = refreshing->nobody};
    DEFER(buf_done) Buf who = {0};

    Error *err = who_read(refreshing, &who) ? NULL : error_new(ERROR_UNAVAILABLE, "doveadm who did not end well");
    if (!err)
        err = proc_become("dovecot");
    if (!err)
        err = sessions_closed(&who, refreshing->mail_db.text, &of, pid_say, NULL);
    if (err)
        printf("%s\n", err->what);
    int status = err ? 1 : 0;
    error_free(&err);
    return fflush(stdout) == 0 ? status : 1;
}

static Error *look_start(Refreshing *refreshing)
{
    const ChildSpec spec = {.deadline_ms = CHILD_MS};

    return child_fork(&spec, look_in_child, refreshing, &refreshing->child);
}

/* ---- who must go ---- */

/* doveadm kick does the same, but takes names for patterns and addresses.  The list comes from a child without
 * privilege: no process is touched that is not Dovecot's. */
static bool session_signal(const Refreshing *refreshing, pid_t pid, int number)
{
    return pid != refreshing->dovecot && getsid(pid) == refreshing->dovecot && kill(pid, number) == 0;
}

static void sessions_end(Refreshing *refreshing, const char *words, Msec now)
{
    refreshing->ended = xcalloc(strlen(words) / PID_DIGITS + 1, sizeof *refreshing->ended);
    for (const char *line = words; *line; line += strcspn(line, "\n"), line += *line == '\n') {
        char *end = NULL;
        if (strspn(line, "0123456789") != PID_DIGITS)
            continue;
        pid_t pid = (pid_t)strtol(line, &end, 10);
        if (pid > 1 && session_signal(refreshing, pid, SIGTERM))
            refreshing->ended[refreshing->n_ended++] = pid;
    }
    refreshing->ended_at = refreshing->look_at = now;
}

static bool sessions_gone(Refreshing *refreshing, Msec now)
{
    size_t left = 0;

    if (now < refreshing->look_at)
        return false;
    for (size_t i = 0; i < refreshing->n_ended; i++)
        if (session_signal(refreshing, refreshing->ended[i], now >= refreshing->ended_at + END_MS ? SIGKILL : 0))
            refreshing->ended[left++] = refreshing->ended[i];
    refreshing->n_ended = left;
    refreshing->look_at = now + END_LOOK_MS;
    return left == 0 || now >= refreshing->ended_at + GONE_MS; /* killed, and still there: nothing more can be done */
}

/* ---- one step after the other ---- */

/* The next one that there is something to do for. */
static Error *next_step(Refreshing *refreshing)
{
    bool sessions = !refreshing->nobody || refreshing->n_left || refreshing->all_left;

    refreshing->step++;
    if (refreshing->step == FLUSHING && refreshing->nobody)
        refreshing->step = LOOKING;
    if (!refreshing->dovecot || (refreshing->step == LOOKING && !sessions))
        refreshing->step = OVER;
    if (refreshing->step == FLUSHING)
        return flush_start(refreshing);
    return refreshing->step == LOOKING ? look_start(refreshing) : NULL;
}

Error *refreshing_start(const InForce *in_force, const char *root, const Mail__EngineRefresh *wanted,
                        Refreshing **ret_refreshing)
{
    DEFER(refreshing_free) Refreshing *refreshing = xcalloc(1, sizeof *refreshing);
    bool placed = in_force->state && in_force->state->instance_name;

    refreshing->conf = path_in(root, "%s/dovecot/dovecot.conf", &PLACE_CURRENT[3]);
    refreshing->mail_db = path_in(root, "%s/mail.db", &PLACE_TABLES[3]);
    refreshing->public = path_in(root, "%s", &PLACE_PUBLIC[3]);
    refreshing->all_left = wanted->all_left;
    refreshing->nobody = wanted->nobody && !wanted->n_users;
    Error *err = users_take(wanted->users, wanted->n_users, &refreshing->users, &refreshing->n_users);
    if (!err)
        err = users_take(wanted->left, wanted->n_left, &refreshing->left, &refreshing->n_left);
    if (err)
        return err;
    refreshing->dovecot = placed ? dovecot_pid(root) : 0;
    refreshing->step = PUBLISHING;
    err = placed && wanted->public_ ? publish_start(refreshing) : next_step(refreshing);
    if (err)
        return error_in(err, "refresh");
    *ret_refreshing = refreshing;
    refreshing = NULL;
    return NULL;
}

static void fail(Refreshing *refreshing, Error *err)
{
    refreshing->err = error_in(err, "refresh");
    refreshing->step = OVER;
}

static void child_ended(Refreshing *refreshing, Msec now)
{
    DEFER(child_free) Child *child = refreshing->child;
    const char *words = child_words(child);
    Error *err = NULL;

    refreshing->child = NULL;
    if (!child_succeeded(child)) {
        err = error_new(ERROR_UNAVAILABLE, "%s", *words ? words : "doveadm did not answer in time");
    } else if (refreshing->step < LOOKING) {
        err = next_step(refreshing);
    } else {
        refreshing->step = ENDING;
        sessions_end(refreshing, words, now);
    }
    if (err)
        fail(refreshing, err);
}

bool refreshing_run(Refreshing *refreshing, Msec now)
{
    if (refreshing->child && child_run(refreshing->child, now))
        child_ended(refreshing, now);
    if (refreshing->step == ENDING && sessions_gone(refreshing, now))
        refreshing->step = OVER;
    return refreshing->step == OVER;
}

void refreshing_wait(const Refreshing *refreshing, Waiter *wake)
{
    if (refreshing->child)
        child_wait(refreshing->child, wake);
    else if (refreshing->step == ENDING)
        waiter_at(wake, refreshing->look_at);
    else
        waiter_now(wake);
}

Error *refreshing_error(Refreshing *refreshing)
{
    Error *err = refreshing->err;

    assert(refreshing->step == OVER);
    refreshing->err = NULL;
    return err;
}

void refreshing_free(Refreshing **refreshing)
{
    if (!*refreshing)
        return;
    child_free(&(*refreshing)->child);
    for (size_t i = 0; i < (*refreshing)->n_users; i++)
        free((*refreshing)->users[i]);
    for (size_t i = 0; i < (*refreshing)->n_left; i++)
        free((*refreshing)->left[i]);
    free((*refreshing)->users);
    free((*refreshing)->left);
    free((*refreshing)->ended);
    error_free(&(*refreshing)->err);
    xfree(refreshing);
}
