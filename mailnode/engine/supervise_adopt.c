/* Daemons outlive mail-engine.  Whom the run-files know and /proc confirms is watched on; what is left of one that is
 * gone is ended before a new one starts. */
#include "engine/supervise_inside.h"

#include "base/alloc.h"
#include "base/path.h"
#include "engine/spawn.h"

#include <dirent.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { ARGUMENTS_BYTES = 4096 };

static void set_aside(Supervise *supervise, const Unit *unit, Error *damage)
{
    Path where;

    Error *err = file_set_aside(unit_runfile(supervise, unit).text, &where);
    happened_add(supervise->happened, MAIL__FACT_STATE__DEGRADED, "run-file damaged", "%s: %s, %s %s",
                 unit->daemon->name, damage->what, err ? "and it stays:" : "set aside as",
                 err ? err->what : where.text);
    error_free(&err);
}

static void take_over(Supervise *supervise, Unit *unit, Msec now)
{
    unit->pid = unit->file.pid;
    service_next(&unit->service, SERVICE_WANTED, now);
    if (unit->file.answered)
        service_next(&unit->service, SERVICE_ANSWERED, now);
    happened_add(supervise->happened, MAIL__FACT_STATE__GOOD, "daemon adopted", "%s: pid %d", unit->daemon->name,
                 (int)unit->pid);
}

/* ---- without a run-file ------------------------------------------------------------ */

/* An argument that leads into our configuration: some daemons write over them, */
static bool names_us(const Supervise *supervise, pid_t pid)
{
    Path current = path_in(supervise->root, "var/lib/mailnode/engine/current/");
    char path[64];
    char part[ARGUMENTS_BYTES];

    snprintf(path, sizeof path, "/proc/%d/cmdline", (int)pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t len = fd < 0 ? -1 : read(fd, part, sizeof part - 1);
    if (fd >= 0)
        close(fd);
    if (len <= 0)
        return false;
    part[len] = '\0';
    for (const char *at = part; at < part + len; at += strlen(at) + 1) {
        if (strncmp(at, current.text, strlen(current.text)) == 0)
            return true;
    }
    return false;
}

/* ... others close what we gave them to write to. */
static bool writes_to_us(const Supervise *supervise, const Unit *unit, pid_t pid)
{
    Path log = unit_log(supervise, unit);

    for (int fd = 1; fd <= 2; fd++) {
        char path[64];
        char target[PATH_SIZE];
        snprintf(path, sizeof path, "/proc/%d/fd/%d", (int)pid, fd);
        ssize_t len = readlink(path, target, sizeof target - 1);
        if (len <= 0)
            continue;
        target[len] = '\0';
        if (strcmp(target, log.text) == 0)
            return true;
    }
    return false;
}

/* Anybody may run the daemon's program. */
static bool may_be_ours(const Unit *unit, pid_t pid)
{
    const struct passwd *user = unit->daemon->becomes ? getpwnam(unit->daemon->becomes) : NULL;
    char path[64];
    struct stat st;

    snprintf(path, sizeof path, "/proc/%d", (int)pid);
    return stat(path, &st) == 0 && (st.st_uid == 0 || (user && st.st_uid == user->pw_uid));
}

static bool is_this_one(const Supervise *supervise, const Unit *unit, pid_t pid, RunFile *out)
{
    uint64_t cpu_ticks = 0;
    char letter = 0;

    *out = (RunFile){.pid = pid};
    return getsid(pid) == pid && may_be_ours(unit, pid) &&
           process_look(pid, &out->start_time, out->program, &letter, &cpu_ticks) &&
           strcmp(out->program, unit->program) == 0 && (names_us(supervise, pid) || writes_to_us(supervise, unit, pid));
}

/* What it runs with is not known: it loads anew. */
static bool found_without(Supervise *supervise, Unit *unit)
{
    DEFER(dir_close) DIR *proc = opendir("/proc");
    const struct dirent *entry;

    while (proc && (entry = readdir(proc))) {
        RunFile file;
        long pid = strtol(entry->d_name, NULL, 10);
        if (pid <= 1 || !is_this_one(supervise, unit, (pid_t)pid, &file))
            continue;
        snprintf(file.boot_id, sizeof file.boot_id, "%s", supervise->boot_id);
        unit->file = file;
        Error *err = unit_write_runfile(supervise, unit);
        error_free(&err); /* written again when it has answered */
        return true;
    }
    return false;
}

void unit_adopt(Supervise *supervise, Unit *unit, Msec now)
{
    Error *err = runfile_read(unit_runfile(supervise, unit).text, &unit->file);

    if (err && err->code != ERROR_NOT_FOUND)
        set_aside(supervise, unit, err);
    bool lost = err != NULL;
    error_free(&err);
    if (lost && !found_without(supervise, unit))
        return;
    if (runfile_alive(&unit->file, supervise->boot_id)) {
        unit->pidfd = spawn_pidfd(unit->file.pid);
        /* Once more: the descriptor may be that of another one, which got the number just now. */
        if (unit->pidfd >= 0 && runfile_alive(&unit->file, supervise->boot_id)) {
            take_over(supervise, unit, now);
            return;
        }
        if (unit->pidfd >= 0)
            close(unit->pidfd);
        unit->pidfd = -1;
    }
    if (strcmp(unit->file.boot_id, supervise->boot_id) == 0) {
        unit_orphans_begin(unit, now);
        return;
    }
    err = runfile_remove(unit_runfile(supervise, unit).text);
    error_free(&err); /* of another boot: it says nothing, there or not */
}
