#include "tasks/shadow_inside.h"

#include "base/alloc.h"
#include "base/path.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* A round looks at what has moved since the one before.  Rounds become short at once, so a few more find an instant at
 * which nothing moves, if there is one.  The kernel's clock for files ticks every 1 to 10 ms. */
enum { ROUNDS_MAX = 8, TICK_NS = 10 * 1000 * 1000 };

/* What a folder was when its names were read. */
typedef struct Seen {
    ino_t ino; /* 0: not there */
    struct timespec mtime;
} Seen;

typedef struct Unit {
    char *name;
    ShadowLevel level;
    bool sure; /* a change after 'seen' shows in mtime */
    Seen seen[SHADOW_PARTS];
    ShadowList stale, stale_folders;
    struct Unit **children; /* sorted by name */
    size_t n_children;
} Unit;

/* ---- units ---- */

static Unit *unit_new(const char *name, ShadowLevel level)
{
    Unit *unit = xcalloc(1, sizeof *unit);

    unit->name = xstrdup(name);
    unit->level = level;
    return unit;
}

static void unit_free(Unit **unit)
{
    if (!*unit)
        return;
    for (size_t i = 0; i < (*unit)->n_children; i++)
        unit_free(&(*unit)->children[i]);
    xfree(&(*unit)->children);
    shadow_list_done(&(*unit)->stale);
    shadow_list_done(&(*unit)->stale_folders);
    xfree(&(*unit)->name);
    xfree(unit);
}

/* The folders that the source has now become its children.  Both lists are sorted. */
static void unit_children(Unit *unit, const ShadowList *folders)
{
    DEFER(xfree) Unit **old = unit->children;
    size_t n_old = unit->n_children, at = 0;

    unit->children = xcalloc(folders->n + 1, sizeof *unit->children);
    unit->n_children = 0;
    for (size_t i = 0; i < folders->n; i++) {
        const char *name = shadow_text(folders, &folders->names[i]);
        ShadowLevel level = LEVEL_FOLDER;
        for (; at < n_old && strcmp(old[at]->name, name) < 0; at++)
            unit_free(&old[at]);
        if (at < n_old && strcmp(old[at]->name, name) == 0)
            unit->children[unit->n_children++] = old[at++];
        else if (shadow_child(unit->level, name, &level))
            unit->children[unit->n_children++] = unit_new(name, level);
    }
    for (; at < n_old; at++)
        unit_free(&old[at]);
}

/* ---- both sides ---- */

static void pair_close(ShadowPair *pair)
{
    shadow_side_close(&pair->source);
    shadow_side_close(&pair->shadow);
}

static Error *open_shadow(int above, const char *name, int *ret_fd)
{
    *ret_fd = openat(above, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (*ret_fd < 0 && errno == ENOENT && mkdirat(above, name, 0700) == 0)
        *ret_fd = openat(above, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    return *ret_fd < 0 ? error_system("open in the shadow") : NULL;
}

static Error *pair_open_shadow(ShadowPair *pair, int above, const char *name)
{
    Error *err = open_shadow(above, name, &pair->shadow.fd[SHADOW_SELF]);

    for (int part = SHADOW_NEW; !err && shadow_has_mail(pair->level) && part < SHADOW_PARTS; part++)
        err = open_shadow(pair->shadow.fd[SHADOW_SELF], shadow_parts[part], &pair->shadow.fd[part]);
    return err;
}

static Error *seen_now(const ShadowPair *pair, Seen seen[SHADOW_PARTS])
{
    for (int part = 0; part < SHADOW_PARTS; part++) {
        struct stat st;
        seen[part] = (Seen){0};
        if (pair->source.fd[part] < 0)
            continue;
        if (fstat(pair->source.fd[part], &st) != 0)
            return error_system("stat");
        seen[part] = (Seen){st.st_ino, st.st_mtim};
    }
    return NULL;
}

static bool earlier(const struct timespec *one, const struct timespec *other)
{
    return one->tv_sec != other->tv_sec ? one->tv_sec < other->tv_sec : one->tv_nsec < other->tv_nsec;
}

static bool unmoved(const Unit *unit, const Seen now[SHADOW_PARTS])
{
    for (int part = 0; part < SHADOW_PARTS; part++)
        if (unit->seen[part].ino != now[part].ino || earlier(&unit->seen[part].mtime, &now[part].mtime) ||
            earlier(&now[part].mtime, &unit->seen[part].mtime))
            return false;
    return unit->sure;
}

/* A folder that changed in this very tick may change again without its time showing it: not sure, so it is read again. */
static void unit_saw(Unit *unit, const Seen now[SHADOW_PARTS], const struct timespec *tick)
{
    unit->sure = true;
    for (int part = 0; part < SHADOW_PARTS; part++) {
        unit->seen[part] = now[part];
        if (now[part].ino && !earlier(&now[part].mtime, tick))
            unit->sure = false;
    }
}

/* ---- rounds ---- */

/* Folders of the shadow that the source does not have. */
static void stale_folders(Unit *unit, const ShadowList *folders, const ShadowList *there)
{
    shadow_list_done(&unit->stale_folders);
    for (size_t i = 0, at = 0; i < there->n; i++) {
        const char *name = shadow_text(there, &there->names[i]);
        int order = -1;
        for (; at < folders->n; at++) {
            order = strcmp(shadow_text(folders, &folders->names[at]), name);
            if (order >= 0)
                break;
        }
        if (at == folders->n || order != 0)
            shadow_list_add(&unit->stale_folders, name, 0, SHADOW_SELF);
    }
}

/* Reads both sides, and links unless it is the last look. */
static Error *unit_read(ShadowRun *run, Unit *unit, const ShadowPair *pair, bool link)
{
    DEFER(shadow_list_done) ShadowList files = {0};
    DEFER(shadow_list_done) ShadowList folders = {0};
    DEFER(shadow_list_done) ShadowList files_there = {0};
    DEFER(shadow_list_done) ShadowList folders_there = {0};
    uint64_t refused = 0;

    Error *err = shadow_list(&pair->source, unit->level, &files, &folders, &refused);
    if (!err)
        err = shadow_list(&pair->shadow, unit->level, &files_there, &folders_there, NULL);
    if (err)
        return err;
    shadow_list_done(&unit->stale);
    stale_folders(unit, &folders, &folders_there);
    if (!link) {
        shadow_stale(&files, &files_there, &unit->stale);
        return NULL;
    }
    run->counts.refused += run->rounds ? 0 : refused;
    unit_children(unit, &folders);
    return shadow_link(run, pair, &files, &files_there, &unit->stale);
}

static Error *unit_link(ShadowRun *run, Unit *unit, const ShadowPair *pair)
{
    struct timespec tick;
    Seen now[SHADOW_PARTS];

    clock_gettime(CLOCK_REALTIME_COARSE, &tick);
    Error *err = seen_now(pair, now);
    if (err || unmoved(unit, now))
        return err;
    run->moved = true;
    err = unit_read(run, unit, pair, true);
    if (!err)
        unit_saw(unit, now, &tick);
    return err;
}

static Error *unit_drop(ShadowRun *run, Unit *unit, const ShadowPair *pair)
{
    Seen now[SHADOW_PARTS];

    Error *err = seen_now(pair, now);
    if (!err && !run->counts.still && !unmoved(unit, now))
        err = unit_read(run, unit, pair, false);
    if (!err)
        err = shadow_drop(run, pair, &unit->stale);
    for (size_t i = 0; !err && i < unit->stale_folders.n; i++) {
        const char *name = shadow_text(&unit->stale_folders, &unit->stale_folders.names[i]);
        err = shadow_drop_folder(run, pair->shadow.fd[SHADOW_SELF], name);
    }
    return err;
}

typedef Error *(*Visit)(ShadowRun *run, Unit *unit, const ShadowPair *pair);

/* A folder, then those below it.  The depth is that of ShadowLevel. */
static Error *unit_visit(ShadowRun *run, Unit *unit, int source, int shadow, Visit visit)
{
    DEFER(pair_close) ShadowPair pair = {SHADOW_NO_SIDE, SHADOW_NO_SIDE, unit->level};

    if (run->cancelled && run->cancelled(run->context))
        return error_new(ERROR_CONFLICT, "cancelled");
    Error *err = shadow_side_open(source, unit->name, unit->level, run->dev, &pair.source);
    if (!err && pair.source.fd[SHADOW_SELF] < 0) {
        run->moved = true; /* the folder above will say so */
        return NULL;
    }
    if (!err)
        err = pair_open_shadow(&pair, shadow, unit->name);
    if (!err)
        err = visit(run, unit, &pair);
    for (size_t i = 0; !err && i < unit->n_children; i++)
        err = unit_visit(run, unit->children[i], pair.source.fd[SHADOW_SELF], pair.shadow.fd[SHADOW_SELF], visit);
    return strcmp(unit->name, ".") == 0 ? err : error_in(err, "%s", unit->name);
}

static Error *rounds(ShadowRun *run, Unit *unit, int source, int shadow)
{
    const struct timespec tick = {.tv_nsec = TICK_NS};
    Error *err = NULL;

    for (run->rounds = 0; !err && run->rounds < ROUNDS_MAX && !run->counts.still; run->rounds++) {
        if (run->rounds)
            nanosleep(&tick, NULL);
        run->moved = false;
        err = unit_visit(run, unit, source, shadow, unit_link);
        run->counts.still = !run->moved;
    }
    if (!err)
        err = shadow_drop_begin(run, shadow);
    return err ? err : unit_visit(run, unit, source, shadow, unit_drop);
}

static void run_done(ShadowRun *run)
{
    xfree(&run->names);
}

Error *shadow_sync(const char *source, const char *shadow, ShadowForm form, bool (*cancelled)(void *context),
                   void *context, ShadowCounts *ret_counts)
{
    DEFER(fd_close) int from = open(source, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DEFER(fd_close) int to = open(shadow, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DEFER(run_done) ShadowRun run = {.cancelled = cancelled, .context = context};
    DEFER(unit_free) Unit *unit = NULL;
    struct stat from_st, to_st;

    if (from < 0 || fstat(from, &from_st) != 0)
        return error_in(error_system("open"), "%s", source);
    if (to < 0 || fstat(to, &to_st) != 0)
        return error_in(error_system("open"), "%s", shadow);
    if (from_st.st_dev != to_st.st_dev)
        return error_in(shadow_other_file_system(), "%s", source);
    run.dev = from_st.st_dev;
    run.owner = from_st.st_uid;
    unit = unit_new(".", form == SHADOW_HOMES ? LEVEL_HOMES : LEVEL_MAILDIRS);
    Error *err = rounds(&run, unit, from, to);
    if (err)
        return error_in(err, "%s", source);
    *ret_counts = run.counts;
    return NULL;
}
