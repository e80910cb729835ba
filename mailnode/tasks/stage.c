#include "tasks/stage.h"

#include "base/alloc.h"
#include "base/path.h"
#include "base/proc.h"
#include "engine/dialogue.h"
#include "engine/spawn.h"
#include "engine/tree.h"
#include "tables/places.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { REDIS_WAIT_MS = 600000, LOOK_MS = 200, WORDS_MAX = 1000, INFO_MAX = 16384 };

static const off_t copy_max_bytes = 4LL << 30;

/* ---- files ---- */

static Error *make_file(const char *path, int *ret_fd)
{
    *ret_fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    return *ret_fd < 0 ? error_in(error_system("create"), "%s", path) : NULL;
}

/* From a folder in which another user writes: a regular file, or nothing. */
static Error *copy_file(const char *from, const char *to)
{
    DEFER(fd_close) int in = open(from, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
    DEFER(fd_close) int out = -1;
    struct stat st;

    if (in < 0 || fstat(in, &st) != 0)
        return error_in(error_system("open"), "%s", from);
    if (!S_ISREG(st.st_mode) || st.st_size > copy_max_bytes)
        return error_new(ERROR_INVALID, "%s: no regular file of a size that is taken", from);
    Error *err = make_file(to, &out);
    for (off_t left = st.st_size; left > 0 && !err;) {
        ssize_t got = copy_file_range(in, NULL, out, NULL, (size_t)left, 0);
        if (got == 0)
            err = error_new(ERROR_CONFLICT, "%s: became shorter while it was copied", from);
        else if (got < 0 && errno != EINTR)
            err = error_in(error_system("copy"), "%s", from);
        else if (got > 0)
            left -= got;
    }
    return err;
}

/* ---- slapd ---- */

/* What slapcat said, one line, for the error. */
static Error *slapcat_failed(int status, int words)
{
    char text[WORDS_MAX];
    ssize_t got = pread(words, text, sizeof text - 1, 0);

    text[got < 0 ? 0 : got] = '\0';
    text[strcspn(text, "\r\n")] = '\0';
    for (char *at = text; *at; at++)
        if ((unsigned char)*at < ' ' || (unsigned char)*at > '~')
            *at = '?';
    return error_new(ERROR_SYSTEM, "slapcat: %s (status %d)", text, status);
}

static Error *wait_for(Job *job, pid_t pid, int words)
{
    int status = 0;
    pid_t ended;

    while ((ended = waitpid(pid, &status, WNOHANG)) == 0 || (ended < 0 && errno == EINTR)) {
        struct pollfd wake = {job_fd(job), POLLIN, 0};
        Error *err = job_go_on(job);
        if (err) {
            kill(pid, SIGKILL);
            waitpid(pid, &status, 0);
            return err;
        }
        poll(&wake, 1, LOOK_MS);
    }
    return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? NULL : slapcat_failed(status, words);
}

/* It opens its stdin to write: a file that is slapd's for that long, in a folder that slapd cannot enter. */
static Error *slapcat(Job *job, const char *domain, const char *path)
{
    Path conf = path_in(job_root(job), "%s/slapd/slapd.conf", &PLACE_CURRENT[3]);
    DEFER(xfree) char *suffix = xasprintf(DIRECTORY_SUFFIX, domain);
    const char *const argv[] = {"/usr/sbin/slapcat", "-f", conf.text, "-b", suffix, "-l", "/proc/self/fd/0", NULL};
    DEFER(fd_close) int file = -1;
    DEFER(fd_close) int words = memfd_create("words", MFD_CLOEXEC);
    uid_t uid = 0;
    gid_t gid = 0;
    pid_t parent = getpid();

    Error *err = proc_user("openldap", &uid, &gid);
    if (!err)
        err = make_file(path, &file);
    if (err)
        return err;
    if (words < 0 || fchown(file, uid, gid) != 0)
        return error_system("chown");
    pid_t pid = fork();
    if (pid == 0) {
        spawn_clean(&(SpawnSpec){.user = "openldap", .in = file, .out = words, .umask = 077, .with_us = true}, parent);
        spawn_exec(argv);
    }
    err = pid < 0 ? error_system("fork") : wait_for(job, pid, words);
    return !err && fchown(file, 0, 0) != 0 ? error_system("chown") : err;
}

/* tree-NAME.ldif of the configuration in force names each. */
static bool directory_of(const char *file, char ret_domain[NAME_MAX + 1])
{
    size_t len = strlen(file);

    if (strncmp(file, "tree-", 5) != 0 || len < 11 || strcmp(file + len - 5, ".ldif") != 0)
        return false;
    memcpy(ret_domain, file + 5, len - 10);
    ret_domain[len - 10] = '\0';
    return true;
}

/* Keeps the first error; takes the other. */
static void keep_first(Error **first, Error *err)
{
    if (*first)
        error_free(&err);
    else
        *first = err;
}

static Error *directories(Job *job, const char *state)
{
    Path folder = path_in(job_root(job), "%s/slapd", &PLACE_CURRENT[3]);
    DEFER(dir_close) DIR *dir = opendir(folder.text);
    char domain[NAME_MAX + 1];
    Error *first = NULL;

    for (const struct dirent *entry; dir && (entry = readdir(dir));) {
        if (!directory_of(entry->d_name, domain))
            continue;
        DEFER(xfree) char *path = xasprintf("%s/" STATE_DIRECTORY, state, domain);
        keep_first(&first, error_in(slapcat(job, domain, path), "directory of %s", domain));
    }
    return first;
}

/* ---- Redis ---- */

/* Is a BGSAVE under way, and did the last one go well? */
static Error *redis_saving(Dialogue *redis, bool *ret_saving, bool *ret_good)
{
    char line[DIALOGUE_LINE_MAX], info[INFO_MAX];

    Error *err = dialogue_say_line(redis, "INFO persistence");
    if (!err)
        err = dialogue_line(redis, line);
    unsigned long size = !err && line[0] == '$' ? strtoul(line + 1, NULL, 10) : 0;
    if (!err && (size == 0 || size + 2 >= sizeof info))
        err = error_new(ERROR_UNAVAILABLE, "answered '%.100s'", line);
    if (!err)
        err = dialogue_take(redis, info, size + 2);
    if (err)
        return err;
    info[size] = '\0';
    *ret_saving = !strstr(info, "rdb_bgsave_in_progress:0");
    *ret_good = strstr(info, "rdb_last_bgsave_status:ok");
    return NULL;
}

static Error *redis_until_saved(Job *job, Dialogue *redis, bool *ret_good)
{
    bool saving = true;
    Error *err = NULL;

    while (!err && saving) {
        err = redis_saving(redis, &saving, ret_good);
        if (!err)
            err = job_go_on(job);
        if (!err && saving)
            usleep(LOOK_MS * 1000);
    }
    return err;
}

static Error *redis_save(Job *job)
{
    DEFER(xfree) char *path = xasprintf(PLACE_REDIS_SOCKET, job_root(job));
    DEFER(dialogue_free) Dialogue *redis = NULL;
    bool good = false;

    Error *err = dialogue_unix(path, clock_ms() + REDIS_WAIT_MS, &redis);
    if (!err)
        err = redis_until_saved(job, redis, &good); /* one that others asked for */
    if (!err)
        err = dialogue_say_line(redis, "BGSAVE SCHEDULE"); /* its log may just be written anew */
    if (!err)
        err = dialogue_expect(redis, "+Background saving");
    if (!err)
        err = redis_until_saved(job, redis, &good);
    return !err && !good ? error_new(ERROR_SYSTEM, "could not write its copy") : err;
}

static Error *redis(Job *job, const char *state)
{
    Path made = path_in(job_root(job), "%s/dump.rdb", &PLACE_REDIS_DATA[3]);
    DEFER(xfree) char *copy = xasprintf("%s/" STATE_REDIS, state);

    Error *err = redis_save(job);
    if (!err)
        err = copy_file(made.text, copy);
    return error_in(err, "Redis");
}

/* ---- the whole ---- */

/* What the agent has staged; path NULL: nothing of the kind. */
static Error *staged(const char *path, const char *state, const char *name, const char *what)
{
    DEFER(xfree) char *copy = xasprintf("%s/%s", state, name);

    return path ? error_in(copy_file(path, copy), "%s", what) : NULL;
}

Error *stage_state(Job *job, const char *state)
{
    Error *first = NULL;

    tree_remove(state);
    if (mkdir(state, 0700) != 0)
        return error_in(error_system("create"), "%s", state);
    keep_first(&first, staged(job_staged(job), state, STATE_OBJECTS, "state of the node"));
    keep_first(&first, staged(job_copy(job).path, state, STATE_CONTROLLER, "copy of the controller"));
    keep_first(&first, directories(job, state));
    keep_first(&first, redis(job, state));
    if (job_cancelled(job)) {
        error_free(&first);
        return job_go_on(job);
    }
    return first;
}
