#include "tasks/backup.h"

#include "base/alloc.h"
#include "base/crash.h"
#include "base/path.h"
#include "engine/tree.h"
#include "tables/places.h"
#include "tasks/manifest.h"
#include "tasks/restic.h"
#include "tasks/shadow.h"
#include "tasks/snapshot_list.h"
#include "tasks/stage.h"
#include "tasks/upkeep.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { LOCK_WAIT_S = 600, PRUNE_EVERY_S = 7 * 86400 };

/* ---- the tree ---- */

typedef struct Tree {
    Path folder, state;
    int lock; /* one run at a time: they share it */
    ManifestTotals totals;
    Error *unstaged; /* what is not in it, though it should */
} Tree;

static void tree_done(Tree *tree)
{
    fd_close(&tree->lock);
    error_free(&tree->unstaged);
}

static bool cancelled(void *context)
{
    return job_cancelled(context);
}

static Error *tree_lock(Job *job, Tree *tree)
{
    Path path = path_in(job_root(job), "run/mailnode/engine/backup.lock");

    tree->lock = open(path.text, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (tree->lock < 0)
        return error_in(error_system("open"), "%s", path.text);
    for (Msec begun = clock_ms(); flock(tree->lock, LOCK_EX | LOCK_NB) != 0;) {
        Error *err = job_go_on(job);
        if (err)
            return err;
        if (errno != EWOULDBLOCK && errno != EINTR)
            return error_system("lock");
        Msec waited_s = (clock_ms() - begun) / 1000;
        if (waited_s >= LOCK_WAIT_S)
            return error_new(ERROR_UNAVAILABLE, "another backup of this node is under way");
        job_progress(job, waited_s, LOCK_WAIT_S, "s of waiting for another backup of this node");
        usleep(250000);
    }
    return NULL;
}

/* restic, and a shadow, would take a folder that is not there for an empty one. */
static Error *source_check(const char *path)
{
    struct stat st;

    if (stat(path, &st) != 0)
        return error_in(error_system("look at mail"), "%s", path);
    return S_ISDIR(st.st_mode) ? NULL : error_new(ERROR_DAMAGED, "%s: no folder", path);
}

static Error *shadow_of(Job *job, const char *source, const char *shadow, ShadowForm form)
{
    ShadowCounts counts = {0};

    if (mkdir(shadow, 0700) != 0 && errno != EEXIST)
        return error_in(error_system("create"), "%s", shadow);
    return shadow_sync(source, shadow, form, cancelled, job, &counts);
}

static Error *folder_anew(const char *path)
{
    tree_remove(path);
    return mkdir(path, 0700) == 0 ? NULL : error_in(error_system("create"), "%s", path);
}

static Error *tree_make(Job *job, Tree *tree)
{
    const char *root = job_root(job);
    Path mail = path_in(root, "%s", &PLACE_MAIL[3]), public = path_in(root, "%s", &PLACE_PUBLIC[3]);

    tree->folder = path_in(root, "%s", &PLACE_TREE[3]);
    tree->state = path_in(root, "%s/state", &PLACE_TREE[3]);
    Path mail_shadow = path_in(root, "%s/mail", &PLACE_TREE[3]);
    Path public_shadow = path_in(root, "%s/public", &PLACE_TREE[3]);
    Error *err = source_check(mail.text);
    if (!err)
        err = source_check(public.text);
    if (!err)
        err = tree_lock(job, tree);
    if (!err)
        err = folder_anew(tree->state.text);
    if (err)
        return err;
    tree->unstaged = stage_state(job, tree->state.text);
    err = job_go_on(job);
    CRASH_POINT("backup.staged");
    if (!err)
        err = shadow_of(job, mail.text, mail_shadow.text, SHADOW_HOMES);
    if (!err)
        err = shadow_of(job, public.text, public_shadow.text, SHADOW_MAILDIRS);
    CRASH_POINT("backup.shadowed");
    if (!err)
        err = manifest_write(mail_shadow.text, public_shadow.text, tree->state.text, cancelled, job, &tree->totals);
    CRASH_POINT("backup.listed");
    return err;
}

/* ---- one destination ---- */

/* "3.5 GB": for people, three digits at most. */
static char *bytes_words(uint64_t bytes)
{
    static const char *const units[] = {"B", "kB", "MB", "GB", "TB", "PB"};
    double shown = (double)bytes;
    size_t unit = 0;

    for (; shown >= 999.5 && unit + 1 < sizeof units / sizeof *units; unit++)
        shown /= 1000;
    return xasprintf(unit && shown < 99.5 ? "%.1f %s" : "%.0f %s", shown, units[unit]);
}

static ResticKeep keep_of(const Mail__Plan *plan)
{
    return (ResticKeep){.last = plan->keep_last,
                        .hourly = plan->keep_hourly,
                        .daily = plan->keep_daily,
                        .weekly = plan->keep_weekly,
                        .monthly = plan->keep_monthly,
                        .yearly = plan->keep_yearly};
}

/* Prune and check, each when its time has come; both with a word in the verdict. */
static Error *upkeep(Job *job, Restic *restic, const char *destination, const Mail__Plan *plan, Buf *words)
{
    uint64_t now_s = (uint64_t)time(NULL);
    const char *root = job_root(job);
    Error *err = NULL;

    if (!upkeep_ever(root, destination, "prune")) { /* there is nothing yet that it could take away: its time begins */
        err = upkeep_done(root, destination, "prune", now_s);
    } else if (upkeep_due(root, destination, "prune", PRUNE_EVERY_S, now_s)) {
        err = restic_prune(restic);
        if (!err)
            err = upkeep_done(root, destination, "prune", now_s);
        if (!err)
            buf_append_text(words, ", pruned");
    }
    CRASH_POINT("backup.pruned");
    if (!err && plan->check && upkeep_due(root, destination, "check", plan->check, now_s)) {
        err = restic_check(restic, plan->check_data);
        if (!err)
            err = upkeep_done(root, destination, "check", now_s);
        if (!err)
            buf_append_text(words, ", checked");
    }
    return err;
}

/* What is kept is more than is wanted, until the next run: no reason to call the backup bad, unless it is damaged. */
static Error *after(Job *job, Restic *restic, const Object *plan, const char *destination, Buf *words)
{
    ResticKeep keep = keep_of(plan->plan);
    DEFER(xfree) char *tag = xasprintf("plan=%s", plan->name);
    size_t n = 0;

    Error *err = restic_forget(restic, tag, &keep, &n);
    CRASH_POINT("backup.forgotten");
    if (!err && n)
        buf_printf(words, ", %zu forgotten", n);
    if (!err)
        err = upkeep(job, restic, destination, plan->plan, words);
    if (err && err->code != ERROR_DAMAGED && err->code != ERROR_CONFLICT) {
        job_found(job, MAIL__FACT_STATE__DEGRADED, destination, "%s", err->what);
        error_free(&err);
    }
    return err;
}

static Error *save(Job *job, const Object *plan, const char *destination, const Tree *tree, Buf *verdict)
{
    static const char *const names[] = {"mail", "public", "state", NULL};
    DEFER(xfree) char *tag = xasprintf("plan=%s", plan->name);
    const char *const tags[] = {"mailnode", tag, NULL};
    DEFER(restic_free) Restic *restic = NULL;
    DEFER(buf_done) Buf words = {0};
    ResticSummary summary = {0};

    Error *err = restic_open_job(job, destination, LOCK_WAIT_S, &restic);
    if (!err)
        err = restic_backup(restic, tree->folder.text, names, tags, &summary);
    CRASH_POINT("backup.saved");
    if (err)
        return err;
    job_saved(job, destination, summary.snapshot);
    snapshot_manifest_keep(job_root(job), summary.snapshot, tree->state.text);
    DEFER(xfree) char *bytes = bytes_words(tree->totals.bytes), *added = bytes_words(summary.added);
    buf_printf(&words, "%s: snapshot %.8s, %" PRIu64 " messages in %" PRIu64 " mailboxes, %s, %s new", destination,
               summary.snapshot, tree->totals.messages, tree->totals.mailboxes, bytes, added);
    if (!tree->unstaged)
        err = after(job, restic, plan, destination, &words);
    buf_printf(verdict, "%s%s", verdict->size ? "; " : "", buf_text(&words));
    return err;
}

/* Of the controller's store (SPEC F-185): a backup of mail is good without a new one, but nobody shall believe it has one. */
static void copy_note(const Job *job, Buf *verdict)
{
    JobCopy copy = job_copy(job);
    char when[32] = "an unknown time";
    time_t made = copy.info ? (time_t)copy.info->time : 0;
    struct tm utc;

    if (!copy.path || !copy.info) {
        buf_printf(verdict, "; without the controller's store: %s", copy.trouble ? copy.trouble : "there is none here");
        return;
    }
    buf_printf(verdict, "; controller at revision %" PRIu64, copy.info->revision);
    if (!copy.trouble)
        return;
    if (gmtime_r(&made, &utc))
        strftime(when, sizeof when, "%Y-%m-%d %H:%M UTC", &utc);
    buf_printf(verdict, " of %s, none newer: %s", when, copy.trouble);
}

/* ---- which plan, which destinations ---- */

static Error *plan_of(const Job *job, const char *name, const Object **ret_plan)
{
    *ret_plan = job_object(job, MAIL__OBJECT__BODY_PLAN, name ? name : "");
    return *ret_plan ? NULL : error_new(ERROR_NOT_FOUND, "plan %s is not known here", name ? name : "(none)");
}

/* Keeps the first error, and tells each where it belongs. */
static void note(Job *job, Error **first, Error *err, const char *destination)
{
    if (!err)
        return;
    job_found(job, MAIL__FACT_STATE__BAD, destination, "%s", err->what);
    if (*first)
        error_free(&err);
    else
        *first = err;
}

Error *job_backup_run(Job *job, const Mail__TaskStart *task, char **ret_verdict)
{
    const char *only = task->backup_run->destination;
    DEFER(tree_done) Tree tree = {.lock = -1};
    DEFER(buf_done) Buf verdict = {0};
    const Object *plan = NULL;
    Error *first = NULL;
    bool any = false;

    Error *err = plan_of(job, task->backup_run->plan, &plan);
    if (!err)
        err = tree_make(job, &tree);
    if (err)
        return err;
    for (size_t i = 0; i < plan->plan->n_destinations && !job_cancelled(job); i++) {
        const char *destination = plan->plan->destinations[i];
        if (only && *only && strcmp(only, destination) != 0)
            continue;
        any = true;
        note(job, &first, save(job, plan, destination, &tree, &verdict), destination);
    }
    if (verdict.size)
        copy_note(job, &verdict);
    if (verdict.size)
        *ret_verdict = xstrdup(buf_text(&verdict));
    if (!any && !job_cancelled(job))
        return error_new(ERROR_NOT_FOUND, "plan %s has no destination %s", plan->name, only ? only : "");
    if (!first && tree.unstaged) {
        first = error_in(tree.unstaged, "everything else was saved, but");
        tree.unstaged = NULL;
    }
    return first ? first : job_go_on(job);
}

Error *job_backup_verify(Job *job, const Mail__TaskStart *task, char **ret_verdict)
{
    DEFER(buf_done) Buf verdict = {0};
    const Object *plan = NULL;
    Error *first = NULL;

    Error *err = plan_of(job, task->backup_verify->plan, &plan);
    if (err)
        return err;
    for (size_t i = 0; i < plan->plan->n_destinations && !job_cancelled(job); i++) {
        const char *destination = plan->plan->destinations[i];
        DEFER(restic_free) Restic *restic = NULL;
        err = restic_open_job(job, destination, LOCK_WAIT_S, &restic);
        if (!err)
            err = restic_check(restic, plan->plan->check_data);
        if (!err)
            err = upkeep_done(job_root(job), destination, "check", (uint64_t)time(NULL));
        if (!err)
            buf_printf(&verdict, "%s%s: no errors, %u%% of the data read", verdict.size ? "; " : "", destination,
                       (unsigned)plan->plan->check_data);
        note(job, &first, err, destination);
    }
    if (verdict.size)
        *ret_verdict = xstrdup(buf_text(&verdict));
    return first ? first : job_go_on(job);
}

/* ---- destination check ---- */

typedef struct Seen {
    size_t n;
    char newest[32]; /* its time, as restic wrote it, to the minute */
} Seen;

static Error *see(void *context, const ResticSnapshot *snapshot)
{
    Seen *seen = context;

    if (!seen->n++) {
        strncat(seen->newest, snapshot->time_text, 16);
        seen->newest[10] = ' '; /* for the T; a time that was read has it there */
    }
    return NULL;
}

Error *job_destination_check(Job *job, const Mail__TaskStart *task, char **ret_verdict)
{
    const char *destination = task->destination_check->destination ? task->destination_check->destination : "";
    DEFER(restic_free) Restic *restic = NULL;
    Seen seen = {0};

    Error *err = restic_open_job(job, destination, 0, &restic);
    if (err)
        return err;
    if (task->destination_check->init) {
        err = restic_init(restic);
        if (!err)
            *ret_verdict = xasprintf("%s: an empty repository was made", destination);
        if (!err || err->code != ERROR_EXISTS || restic_trouble(restic) != RESTIC_FINE)
            return err;
        error_free(&err); /* it is there, and it opens: what was asked for */
    }
    err = restic_snapshots(restic, see, &seen);
    if (err)
        return err;
    *ret_verdict = seen.n ? xasprintf("%s: the repository opens, %zu snapshots, the newest from %s", destination,
                                      seen.n, seen.newest)
                          : xasprintf("%s: the repository opens, no snapshot yet", destination);
    return NULL;
}
