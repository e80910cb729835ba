#include "tasks/restore_fetch.h"

#include "base/alloc.h"
#include "base/loop.h"
#include "base/path.h"
#include "base/proc.h"
#include "tables/places.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define STAGE "stage"

enum { PARTS = 3, PATHS_OCTETS_MAX = 400 * 1024 /* of one run's arguments, before they are escaped */ };

typedef struct Fetch {
    const FetchPlan *plan;
    int stage;
    Msec began;
    uint64_t done; /* messages that came in the runs before this one, and in it */
    bool full;
} Fetch;

/* ---- while it works ---- */

/* In MiB, as one looks at a line that moves. */
static unsigned long mib(uint64_t bytes)
{
    return (unsigned long)(bytes >> 20);
}

static void progress(Fetch *fetch)
{
    const FetchPlan *plan = fetch->plan;
    uint64_t done = fetch->done < plan->messages ? fetch->done : plan->messages;
    Msec took = clock_ms() - fetch->began;
    uint64_t left_s = done ? took * (plan->messages - done) / done / 1000 : 0;
    DEFER(xfree) char *left = done ? xasprintf("  %" PRIu64 " s left", left_s) : xstrdup("");
    DEFER(xfree)
    char *unit = xasprintf("messages  %lu/%lu MiB%s", mib(plan->messages ? plan->bytes * done / plan->messages : 0),
                           mib(plan->bytes), left);

    if (plan->messages)
        job_progress(plan->job, done, plan->messages, unit);
}

/* A backup that holds more than its list says, or whoever writes meanwhile, would fill the disk that mail is delivered to. */
static bool space_left(const FetchPlan *plan)
{
    struct statvfs space;

    if (!plan->free_min || fstatvfs(plan->room, &space) != 0)
        return true;
    return (uint64_t)space.f_bavail * space.f_frsize >= plan->free_min;
}

static bool tick(void *context)
{
    Fetch *fetch = context;

    fetch->done = 0;
    for (size_t i = 0; i < fetch->plan->family->n; i++)
        fetch->done += stage_came(fetch->stage, &fetch->plan->folders[i]);
    progress(fetch);
    fetch->full = fetch->full || !space_left(fetch->plan);
    return !fetch->full;
}

/* ---- one run ---- */

static Error *restic_fetch(Fetch *fetch, char **paths, size_t n)
{
    const FetchPlan *plan = fetch->plan;
    DEFER(xfree) char *target = xasprintf("%s/" STAGE, plan->room_path);

    Error *err = restic_restore(plan->restic, plan->snapshot, target, (const char *const *)paths, n, tick, fetch);
    if (!fetch->full)
        return err;
    error_free(&err);
    Path folder = path_in(job_root(plan->job), "%s", &PLACE_RESTORE[3]);
    err = error_new(ERROR_UNAVAILABLE,
                    "stopped: the disk of %s ran short, with less than %lu MiB free that are kept for mail",
                    folder.text, mib(plan->free_min));
    return error_hint(err, "make room, or lower settings restore-reserve; --force does not look");
}

static void paths_free(char **paths, size_t *n)
{
    while (*n)
        free(paths[--*n]);
}

/* Only where mail is: what else a backup has of a folder does not come.  A new run where the arguments get too long. */
static Error *all_fetch(Fetch *fetch)
{
    static const char *const parts[PARTS] = {"cur", "new", "dovecot-keywords"};
    const FetchPlan *plan = fetch->plan;
    char **paths = xcalloc(plan->family->n * PARTS + 1, sizeof *paths);
    size_t n = 0, octets = 0;
    Error *err = NULL;

    for (size_t i = 0; !err && i < plan->family->n; i++) {
        for (size_t part = 0; part < PARTS; part++) {
            paths[n] = xasprintf("/%s/%s", plan->folders[i].from, parts[part]);
            octets += strlen(paths[n++]) + 32;
        }
        if (octets < PATHS_OCTETS_MAX && i + 1 < plan->family->n)
            continue;
        err = restic_fetch(fetch, paths, n);
        paths_free(paths, &n);
        octets = 0;
    }
    paths_free(paths, &n);
    free(paths);
    return err;
}

/* ---- the whole ---- */

static Error *stage_owned(int stage, uid_t uid, gid_t gid)
{
    return fchown(stage, uid, gid) == 0 && fchmod(stage, 0700) == 0 ? NULL : error_system(STAGE);
}

Error *fetch_run(const FetchPlan *plan, int *ret_stage)
{
    Fetch fetch = {.plan = plan, .stage = -1, .began = clock_ms()};
    uid_t uid = 0;
    gid_t gid = 0;

    Error *err = proc_user("mailbackup", &uid, &gid);
    if (err)
        return err;
    if (mkdirat(plan->room, STAGE, 0700) != 0)
        return error_system(STAGE);
    DEFER(fd_close) int stage = openat(plan->room, STAGE, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (stage < 0)
        return error_system(STAGE);
    fetch.stage = stage;
    err = stage_owned(stage, uid, gid);
    if (!err)
        err = all_fetch(&fetch);
    if (!err)
        err = stage_owned(stage, 0, 0);
    if (err)
        return err;
    *ret_stage = stage;
    stage = -1; /* NOLINT(clang-analyzer-deadcode.DeadStores): DEFER looks at it */
    return NULL;
}
