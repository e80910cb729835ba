/* A daemon's data that must be there before its first start.  A mark stands beside the run-files while it is loaded:
 * half of a load is not taken for the whole after a crash or a power cut. */
#include "engine/supervise_inside.h"

#include "base/alloc.h"
#include "base/crash.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { LOAD_MS = 120000, AGAIN_MS = 5000 };

static Path mark_of(const Supervise *supervise, const Unit *unit)
{
    return path_in(supervise->root, "var/lib/mailnode/engine/run/%s.loading-%s", unit->daemon->name,
                   unit->before_what.name);
}

static bool exists(const char *path)
{
    return access(path, F_OK) == 0;
}

static bool sync_path(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    bool done = fd >= 0 && fsync(fd) == 0;

    if (fd >= 0)
        close(fd);
    return done;
}

static int run_program(const Argv *argv)
{
    int status = 0;
    pid_t pid = fork();

    if (pid == 0) {
        execv(argv->items[0], argv->items);
        _exit(127);
    }
    if (pid < 0 || waitpid(pid, &status, 0) != pid)
        return 1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

/* All of it as the daemon's user: the folder lies in one that this user owns, and root is not led astray there.  A quick
 * load (-q) syncs nothing: that is done here. */
static int load(void *context)
{
    const DaemonBefore *what = context;

    if (mkdir(what->folder, 0700) != 0 && errno != EEXIST) {
        dprintf(STDOUT_FILENO, "%s: %s\n", what->folder, strerror(errno));
        return 1;
    }
    if (unlink(what->file) != 0 && errno != ENOENT) {
        dprintf(STDOUT_FILENO, "%s: %s\n", what->file, strerror(errno));
        return 1;
    }
    int code = run_program(&what->argv);
    if (code == 0 && !(sync_path(what->file) && sync_path(what->folder))) {
        dprintf(STDOUT_FILENO, "%s: not on the disk: %s\n", what->file, strerror(errno));
        return 1;
    }
    return code;
}

static void failed(Supervise *supervise, Unit *unit, const char *words, Msec now)
{
    DEFER(xfree) char *why = xasprintf("data of %s not loaded: %s", unit->before_what.name, words);

    happened_add(supervise->happened, MAIL__FACT_STATE__BAD, "daemon cannot be started", "%s: %s", unit->daemon->name,
                 why);
    unit_reason(unit, "%s", why);
    unit_load_failed(supervise, unit, why);
    unit->before_at = now + AGAIN_MS;
    daemon_before_done(&unit->before_what);
}

static void begin(Supervise *supervise, Unit *unit, Msec now)
{
    ChildSpec spec = {.user = unit->before_what.user, .deadline_ms = LOAD_MS};

    CRASH_POINT("engine.load.marking");
    Error *err = file_write(mark_of(supervise, unit).text, "", 0, 0600, (gid_t)-1);
    CRASH_POINT("engine.load.marked");
    if (!err)
        err = child_fork(&spec, load, &unit->before_what, &unit->before);
    if (err)
        failed(supervise, unit, err->what, now);
    error_free(&err);
}

/* True: loaded. */
static bool take_result(Supervise *supervise, Unit *unit, Msec now)
{
    DEFER(child_free) Child *child = unit->before;

    unit->before = NULL;
    if (!child_succeeded(child)) {
        failed(supervise, unit, child_words(child), now);
        return false;
    }
    CRASH_POINT("engine.load.done");
    if (unlink(mark_of(supervise, unit).text) != 0) {
        failed(supervise, unit, strerror(errno), now);
        return false;
    }
    CRASH_POINT("engine.load.unmarked");
    happened_add(supervise->happened, MAIL__FACT_STATE__GOOD, "data loaded", "%s: %s", unit->daemon->name,
                 unit->before_what.name);
    daemon_before_done(&unit->before_what);
    return true;
}

bool unit_before_run(Supervise *supervise, Unit *unit, Msec now)
{
    if (unit->before && !child_run(unit->before, now))
        return false;
    if (unit->before && !take_result(supervise, unit, now))
        return false;
    if (now < unit->before_at)
        return false;
    unit->before_at = 0;
    while (supervise->how->before(unit->id, supervise->state, unit->before_index, &unit->before_what)) {
        if (!exists(unit->before_what.file) || exists(mark_of(supervise, unit).text)) {
            begin(supervise, unit, now);
            return false;
        }
        daemon_before_done(&unit->before_what);
        unit->before_index++;
    }
    unit->before_index = 0;
    return true;
}
