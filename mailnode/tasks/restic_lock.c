/* Who is at the repository: jobs of this node by a lock of the kernel, everybody else by restic's own locks. */
#include "tasks/restic_inside.h"

#include "base/alloc.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/path.h"
#include "base/proc.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    AGAIN_MS = 250,
    LIST_MAX = 256 * 1024,
    LOCK_SIZE_MAX = 16384,
    UNLOCK_S = 60,
    LOCKS_MAX = 64,
    PAUSE_MAX_MS = 60000
};

Error *restic_once(Restic *restic, const char *what, ResticRun *run)
{
    Error *err = restic_run(&restic->use, run);

    if (err) {
        restic->trouble = RESTIC_OTHER;
        return error_in(error_in(err, "%s", what), "%s", restic->spec.destination_name);
    }
    return restic_failure(restic, what, run);
}

static bool cancelled(const Restic *restic)
{
    return restic->spec.job && job_cancelled(restic->spec.job);
}

static void waits(const Restic *restic, Msec begun, const char *whom)
{
    DEFER(xfree) char *unit = xasprintf("s of waiting for %s", whom);

    if (restic->spec.job && restic->spec.lock_wait_s)
        job_progress(restic->spec.job, (clock_ms() - begun) / 1000, restic->spec.lock_wait_s, unit);
}

static void pause_for(const Restic *restic, Msec ms)
{
    struct pollfd wake = {restic->spec.job ? job_fd(restic->spec.job) : -1, POLLIN, 0};

    poll(&wake, 1, (int)ms);
}

/* ---- jobs of this node ---- */

static Error *hold(Restic *restic, const char *what, int how, Msec until)
{
    Msec begun = clock_ms();

    while (flock(restic->lock, how | LOCK_NB) != 0) {
        if (errno != EWOULDBLOCK && errno != EINTR)
            return error_in(error_system("lock"), "%s", restic->spec.destination_name);
        if (cancelled(restic) || clock_ms() >= until) {
            restic->trouble = RESTIC_LOCKED;
            return restic_error(restic, what, ERROR_UNAVAILABLE, "another job of this node is at the repository", NULL);
        }
        waits(restic, begun, "another job of this node");
        pause_for(restic, AGAIN_MS);
    }
    return NULL;
}

/* ---- restic's locks ---- */

/* By a restic of this machine that is no more.  Whatever cannot be read counts as alive. */
static bool lock_dead(Restic *restic, const char *id)
{
    const char *const argv[] = {"cat", "lock", "--no-lock", "--quiet", "--", id, NULL};
    DEFER(restic_run_done) ResticRun run = {.argv = argv, .out_max = LOCK_SIZE_MAX, .limit_s = restic->spec.answer_s};
    char host[HOST_NAME_MAX + 1] = "";

    Error *err = restic_once(restic, "look at a lock", &run);
    bool read = !err;
    error_free(&err);
    DEFER(restic_json_free) json_t *lock = read ? json_loadb(buf_text(&run.out), run.out.size, 0, NULL) : NULL;
    const char *of = json_string_value(json_object_get(lock, "hostname"));
    json_int_t pid = json_integer_value(json_object_get(lock, "pid"));
    gethostname(host, sizeof host - 1);
    return of && strcmp(of, host) == 0 && pid > 0 && pid <= INT_MAX && kill((pid_t)pid, 0) != 0 && errno == ESRCH;
}

/* Every lock that is there.  A single one that may be alive: unlock would judge that one by its age. */
static bool all_dead(Restic *restic)
{
    const char *const argv[] = {"list", "locks", "--no-lock", "--quiet", NULL};
    DEFER(restic_run_done) ResticRun run = {.argv = argv, .out_max = LIST_MAX, .limit_s = restic->spec.answer_s};
    char *rest = NULL;
    size_t n = 0;

    Error *err = restic_once(restic, "list locks", &run);
    bool read = !err;
    error_free(&err);
    if (!read)
        return false;
    DEFER(xfree) char *ids = xstrdup(buf_text(&run.out));
    for (char *id = strtok_r(ids, "\n", &rest); id; id = strtok_r(NULL, "\n", &rest))
        if (!restic_id_valid(id) || n++ == LOCKS_MAX || !lock_dead(restic, id))
            return false;
    return n > 0;
}

static void unlock(Restic *restic)
{
    const char *const argv[] = {"unlock", "--quiet", NULL};
    DEFER(restic_run_done) ResticRun run = {.argv = argv, .out_max = LIST_MAX, .limit_s = UNLOCK_S};

    Error *err = restic_once(restic, "unlock", &run);
    error_free(&err); /* the next try says what is */
}

/* Only alone: then no restic of ours is alive, and none begins meanwhile.  What we held is given up for it. */
static bool mended(Restic *restic)
{
    bool dead = flock(restic->lock, LOCK_EX | LOCK_NB) == 0 && all_dead(restic);

    if (dead)
        unlock(restic);
    flock(restic->lock, LOCK_UN);
    return dead;
}

/* One of root's, and nothing but a file that lies here alone. */
static void hand_over(int folder, const char *name, uid_t uid, gid_t gid)
{
    DEFER(fd_close) int fd = openat(folder, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    struct stat st;

    if (fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_nlink == 1 && st.st_uid == 0 &&
        fchown(fd, uid, gid) != 0)
        log_warning("lock of a repository stays root's", kv("lock", name), kv("why", strerror(errno)));
}

/* What root's own restic puts into a local repository mailbackup may not read, and its restic tries it for minutes before it
 * says so.  So root's locks become mailbackup's: root's restic refreshes and removes its own all the same, ours says at once
 * who it is, and takes a dead one away.  Only in a folder of mailbackup's: no link of its leads to files of others. */
static void root_locks_hand_over(const Restic *restic)
{
    const char *place = restic_place_folder(&restic->place);
    DEFER(xfree) char *path = place ? xasprintf("%s/locks", place) : NULL;
    DEFER(dir_close) DIR *dir = NULL;
    struct stat st;
    uid_t uid;
    gid_t gid;

    if (!path)
        return;
    Error *err = proc_user("mailbackup", &uid, &gid);
    int fd = err ? -1 : open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    error_free(&err); /* restic says it */
    if (fd < 0)
        return;
    dir = fdopendir(fd);
    if (!dir)
        close(fd);
    if (!dir || fstat(fd, &st) != 0 || st.st_uid != uid)
        return;
    for (const struct dirent *entry; (entry = readdir(dir));)
        if (restic_id_valid(entry->d_name))
            hand_over(fd, entry->d_name, uid, gid);
}

/* "PID 7 on nas by root (UID 0, GID 0)", out of restic's words.  Owned by the caller. */
static char *holder_of(ResticRun *run)
{
    const char *by = strstr(buf_text(&run->words), "already locked");

    by = by ? strstr(by, "by PID ") : NULL;
    return by ? xstrndup(by + strlen("by "), strcspn(by + strlen("by "), "\n")) : xstrdup("another restic");
}

/* An hour of silence looks like one of work: who waits sees for whom, and the log has it once. */
static void waiting_say(const Restic *restic, ResticRun *run, Msec begun, bool *said)
{
    DEFER(xfree) char *holder = holder_of(run);
    DEFER(xfree) char *whom = xasprintf("a lock of the repository that is held by %s", holder);

    if (!*said)
        log_warning("repository is locked, waiting", kv("destination", restic->spec.destination_name), kv("by", holder),
                    kv("at_most_s", restic->spec.lock_wait_s));
    *said = true;
    waits(restic, begun, whom);
}

static void run_again(ResticRun *run)
{
    buf_done(&run->out);
    buf_done(&run->words);
    run->killed = false;
}

static Error *held(Restic *restic, const char *what, int how, ResticRun *run, Msec until)
{
    bool looked = false, said = false;
    Msec begun = clock_ms(), pause_ms = 5000;

    for (;;) {
        Error *err = hold(restic, what, how, until);
        root_locks_hand_over(restic);
        if (!err)
            err = restic_once(restic, what, run);
        flock(restic->lock, LOCK_UN);
        if (!err || restic->trouble != RESTIC_LOCKED || run->end == RESTIC_CANCELLED)
            return err;
        bool free_now = !looked && mended(restic);
        looked = true;
        Msec now = clock_ms();
        restic->trouble = RESTIC_LOCKED;
        if (!free_now && (cancelled(restic) || now >= until))
            return err;
        error_free(&err);
        if (!free_now)
            waiting_say(restic, run, begun, &said);
        run_again(run);
        if (free_now)
            continue;
        pause_for(restic, pause_ms < until - now ? pause_ms : until - now);
        pause_ms = pause_ms * 2 < PAUSE_MAX_MS ? pause_ms * 2 : PAUSE_MAX_MS;
        looked = false;
    }
}

Error *restic_held(Restic *restic, const char *what, int how, ResticRun *run)
{
    Error *err = held(restic, what, how, run, clock_ms() + restic->spec.lock_wait_s * 1000ULL);

    if (run->killed) { /* it could not take its lock away */
        ResticTrouble trouble = restic->trouble;
        mended(restic);
        restic->trouble = trouble;
    }
    return err;
}
