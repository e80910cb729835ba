#include "tasks/restic_inside.h"

#include "base/alloc.h"
#include "base/path.h"
#include "seal/digest.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum { ANSWER_S = 30, STALL_S = 300, SNAPSHOTS_MAX = 32 * 1024 * 1024, SAID_MAX = 1024 * 1024, ITEMS_MAX = 3 };

/* ---- opening ---- */

void restic_free(Restic **restic)
{
    if (!*restic)
        return;
    fd_close(&(*restic)->use.repository);
    fd_close(&(*restic)->use.password);
    fd_close(&(*restic)->use.key);
    fd_close(&(*restic)->use.hosts);
    fd_close(&(*restic)->use.google);
    fd_close(&(*restic)->lock);
    restic_place_done(&(*restic)->place);
    xfree(restic);
}

ResticTrouble restic_trouble(const Restic *restic)
{
    return restic->trouble;
}

static Error *memfd_of(const char *name, const Secret *secret, int *ret_fd)
{
    return secret ? restic_memfd(name, secret_data(secret), secret_size(secret), ret_fd) : NULL;
}

static Error *ssh_open(Restic *restic)
{
    const Mail__Destination *destination = restic->spec.destination;
    DEFER(buf_done) Buf hosts = {0};

    if (!restic->place.ssh_host)
        return NULL;
    for (size_t i = 0; i < destination->n_known_hosts; i++)
        buf_printf(&hosts, "%s\n", destination->known_hosts[i]);
    if (!restic->spec.ssh_key || !hosts.size)
        return error_hint(error_new(ERROR_INVALID, "sftp: needs ssh-key and known-hosts"),
                          "mailctl destination set %s ssh-key=@FILE known-hosts=@FILE", restic->spec.destination_name);
    Error *err = restic_memfd("known-hosts", hosts.data, hosts.size, &restic->use.hosts);
    return err ? err : memfd_of("ssh-key", restic->spec.ssh_key, &restic->use.key);
}

/* One file for each repository, whatever the destination is called. */
static Error *lock_open(Restic *restic)
{
    Digest digest = digest_of(restic->place.shown, strlen(restic->place.shown));
    char hex[DIGEST_HEX_SIZE];

    digest_hex(&digest, hex);
    Path path = path_in(restic->use.root, "run/mailnode/engine/restic-%.16s.lock", hex);
    restic->lock = open(path.text, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    return restic->lock < 0 ? error_in(error_system("open"), "%s", path.text) : NULL;
}

Error *restic_open(const ResticSpec *spec, Restic **ret_restic)
{
    DEFER(restic_free) Restic *restic = xcalloc(1, sizeof *restic);

    restic->spec = *spec;
    restic->spec.answer_s = spec->answer_s ? spec->answer_s : ANSWER_S;
    restic->spec.stall_s = spec->stall_s ? spec->stall_s : STALL_S;
    restic->lock = -1;
    restic->use = (ResticUse){.root = spec->job ? job_root(spec->job) : spec->root,
                              .job = spec->job,
                              .place = &restic->place,
                              .repository = -1,
                              .password = -1,
                              .key = -1,
                              .hosts = -1,
                              .google = -1};
    Error *err =
        restic_place_read(restic->use.root, spec->destination->repository, spec->instance, spec->env, &restic->place);
    if (!err)
        err = ssh_open(restic);
    if (!err)
        err = memfd_of("repository", restic->place.repository, &restic->use.repository);
    if (!err)
        err = memfd_of("password", spec->password, &restic->use.password);
    if (!err)
        err = memfd_of("account", restic->place.google, &restic->use.google);
    if (!err)
        err = lock_open(restic);
    if (err)
        return error_in(err, "%s", spec->destination_name);
    *ret_restic = restic;
    restic = NULL;
    return NULL;
}

/* ---- is it there? ---- */

Error *restic_probe(Restic *restic, unsigned seconds)
{
    const char *const argv[] = {"cat", "config", "--no-lock", "--quiet", NULL};
    DEFER(restic_run_done)
    ResticRun run = {.argv = argv, .out_max = SAID_MAX, .limit_s = seconds ? seconds : restic->spec.answer_s};

    return restic_once(restic, "open", &run);
}

/* Whose config file is lost, its data are still somebody's. */
static bool local_folder_holds(const Restic *restic)
{
    const char *path = restic_place_folder(&restic->place);
    DEFER(dir_close) DIR *dir = path ? opendir(path) : NULL;

    for (const struct dirent *entry; dir && (entry = readdir(dir));)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            return true;
    return false;
}

Error *restic_init(Restic *restic)
{
    const char *const argv[] = {"init", "--quiet", NULL};
    DEFER(restic_run_done) ResticRun run = {.argv = argv, .out_max = SAID_MAX, .stall_s = restic->spec.stall_s};

    Error *err = restic_probe(restic, 0);
    if (!err)
        return restic_error(restic, "init", ERROR_EXISTS, "there is a repository already", NULL);
    if (restic->trouble != RESTIC_MISSING)
        return err;
    error_free(&err);
    if (local_folder_holds(restic))
        return restic_error(restic, "init", ERROR_EXISTS, "the folder holds something that is no repository", NULL);
    return restic_held(restic, "init", LOCK_EX, &run);
}

/* ---- snapshots ---- */

static Error *snapshots_get(Restic *restic, const char *id, ResticSnapshots *ret_snapshots)
{
    const char *const argv[] = {"snapshots", "--json", "--no-lock", id ? "--" : NULL, id, NULL};
    DEFER(restic_run_done) ResticRun run = {.argv = argv, .out_max = SNAPSHOTS_MAX, .limit_s = restic->spec.answer_s};

    Error *err = restic_once(restic, "list snapshots", &run);
    if (!err)
        err = restic_snapshots_read(buf_text(&run.out), run.out.size, ret_snapshots);
    return err;
}

Error *restic_snapshots(Restic *restic, Error *(*each)(void *context, const ResticSnapshot *snapshot), void *context)
{
    DEFER(restic_snapshots_done) ResticSnapshots snapshots = {0};

    Error *err = snapshots_get(restic, NULL, &snapshots);
    for (size_t i = 0; i < snapshots.n && !err; i++)
        err = each(context, &snapshots.list[i]);
    return err;
}

/* In a local repository the files of snapshots are called by their ids, and a look costs no restic (0.5 s).  False: not
 * exactly one begins so, or it is elsewhere; restic's list says what is wrong. */
static bool local_id(const Restic *restic, const char *digits, char ret_id[65])
{
    const char *place = restic_place_folder(&restic->place);
    DEFER(xfree) char *path = place ? xasprintf("%s/snapshots", place) : NULL;
    size_t len = strlen(digits), n = 0;

    if (!place || len < 4 || strspn(digits, "0123456789abcdef") != len)
        return false;
    DEFER(dir_close) DIR *dir = opendir(path);
    char found[65] = "";
    for (const struct dirent *entry; dir && (entry = readdir(dir));) {
        if (strncmp(entry->d_name, digits, len) != 0 || !restic_id_valid(entry->d_name))
            continue;
        memcpy(found, entry->d_name, sizeof found);
        n++;
    }
    if (n == 1)
        memcpy(ret_id, found, sizeof found);
    return n == 1;
}

Error *restic_resolve(Restic *restic, const char *wanted, uint64_t at_s, char ret_id[65])
{
    DEFER(restic_snapshots_done) ResticSnapshots snapshots = {0};
    const ResticSnapshot *found = NULL;

    if (!at_s && local_id(restic, wanted, ret_id))
        return NULL;
    Error *err = snapshots_get(restic, NULL, &snapshots);
    if (!err)
        err = error_in(restic_snapshot_choose(&snapshots, wanted, at_s, &found), "%s", restic->spec.destination_name);
    if (!err)
        memcpy(ret_id, found->id, 65);
    return err;
}

static Error *id_check(const char *snapshot)
{
    return restic_id_valid(snapshot) ? NULL : error_new(ERROR_INVALID, "snapshot: not an id of 64 digits");
}

/* ---- arguments made at run time ---- */

typedef struct Words {
    char **list; /* NULL behind the last */
    size_t n, bytes;
} Words;

static void words_done(Words *words)
{
    for (size_t i = 0; i < words->n; i++)
        free(words->list[i]);
    xfree(&words->list);
}

static void words_take(Words *words, char *word)
{
    words->list = xrealloc(words->list, (words->n + 2) * sizeof *words->list);
    words->list[words->n++] = word;
    words->list[words->n] = NULL;
    words->bytes += strlen(word) + 1;
}

static void words_add(Words *words, const char *word)
{
    words_take(words, xstrdup(word));
}

/* Octets a second; restic counts KiB, and takes 0 for no limit. */
static void words_limit(Words *words, const char *option, uint64_t bytes)
{
    if (bytes)
        words_take(words, xasprintf("%s=%llu", option, (unsigned long long)(bytes < 1024 ? 1 : bytes / 1024)));
}

/* ---- backup ---- */

typedef struct Backing {
    Restic *restic;
    ResticSummary summary;
    bool ended;
    size_t n_unread;
    Buf unread; /* the first ones */
} Backing;

static Error *backing_line(void *context, const char *line, size_t size)
{
    Backing *backing = context;
    ResticStep step = restic_step_read(line, size);

    if (step.kind == RESTIC_STEP_STATUS && backing->restic->spec.job) {
        job_progress(backing->restic->spec.job, step.bytes, step.of_bytes, "bytes");
    } else if (step.kind == RESTIC_STEP_SUMMARY) {
        backing->ended = true;
        backing->summary.files = step.files;
        backing->summary.bytes = step.bytes;
        backing->summary.added = step.added;
        memcpy(backing->summary.snapshot, step.snapshot, sizeof step.snapshot);
    }
    free(step.item);
    return NULL;
}

static void backing_said(void *context, const char *line, size_t size)
{
    Backing *backing = context;
    ResticStep step = restic_step_read(line, size);

    if (step.kind == RESTIC_STEP_ERROR && backing->n_unread++ < ITEMS_MAX)
        buf_printf(&backing->unread, "%s%s", backing->unread.size ? ", " : "", step.item);
    free(step.item);
}

/* restic says 0 for a source that is not there, and leaves it out. */
static Error *sources_check(const char *folder, const char *const *names)
{
    for (size_t i = 0; names[i]; i++) {
        DEFER(xfree) char *path = xasprintf("%s/%s", folder, names[i]);
        struct stat st;
        if (lstat(path, &st) != 0)
            return error_in(error_system("look at what is to be backed up"), "%s", path);
    }
    return NULL;
}

/* 0.14 says 8 digits of its id. */
static Error *snapshot_known(Restic *restic, ResticSummary *summary)
{
    DEFER(restic_snapshots_done) ResticSnapshots snapshots = {0};
    size_t len = strlen(summary->snapshot);

    if (restic_id_valid(summary->snapshot))
        return NULL;
    if (!len)
        return restic_error(restic, "backup", ERROR_DAMAGED, "restic named no snapshot", NULL);
    if (local_id(restic, summary->snapshot, summary->snapshot))
        return NULL;
    Error *err = snapshots_get(restic, summary->snapshot, &snapshots);
    if (!err && (snapshots.n != 1 || strncmp(snapshots.list[0].id, summary->snapshot, len) != 0))
        err = restic_error(restic, "backup", ERROR_DAMAGED, "the snapshot is not there", NULL);
    if (!err)
        memcpy(summary->snapshot, snapshots.list[0].id, sizeof summary->snapshot);
    return err;
}

static void backup_words(const Restic *restic, const char *const *names, const char *const *tags, Words *words)
{
    static const char *const first[] = {"backup", "--json", "--ignore-ctime"}; /* the shadow's links change ctimes */

    for (size_t i = 0; i < sizeof first / sizeof *first; i++)
        words_add(words, first[i]);
    words_take(words, xasprintf("--host=%s", restic->spec.instance));
    for (size_t i = 0; tags[i]; i++)
        words_take(words, xasprintf("--tag=%s", tags[i]));
    words_limit(words, "--limit-upload", restic->spec.destination->upload_limit);
    words_limit(words, "--limit-download", restic->spec.destination->download_limit);
    words_add(words, "--");
    for (size_t i = 0; names[i]; i++)
        words_add(words, names[i]);
}

Error *restic_backup(Restic *restic, const char *folder, const char *const *names, const char *const *tags,
                     ResticSummary *ret_summary)
{
    Backing backing = {.restic = restic};
    DEFER(words_done) Words words = {0};

    Error *err = sources_check(folder, names);
    if (err)
        return err;
    backup_words(restic, names, tags, &words);
    DEFER(restic_run_done)
    ResticRun run = {.argv = (const char *const *)words.list,
                     .folder = folder,
                     .reads_all = true,
                     .stall_s = restic->spec.stall_s,
                     .line = backing_line,
                     .said = backing_said,
                     .context = &backing};
    err = restic_held(restic, "backup", LOCK_SH, &run);
    if (backing.n_unread) {
        DEFER(xfree)
        char *why = xasprintf("%zu file%s could not be read: %s%s", backing.n_unread, backing.n_unread == 1 ? "" : "s",
                              buf_text(&backing.unread), backing.n_unread > ITEMS_MAX ? ", ..." : "");
        error_free(&err);
        err = restic_error(restic, "backup", ERROR_SYSTEM, why, NULL);
    }
    buf_done(&backing.unread);
    if (!err && !backing.ended)
        err = restic_error(restic, "backup", ERROR_SYSTEM, "restic ended without a summary", &run.words);
    if (!err)
        err = snapshot_known(restic, &backing.summary);
    if (!err)
        *ret_summary = backing.summary;
    return err;
}

/* ---- reading ---- */

Error *restic_dump(Restic *restic, const char *snapshot, const char *path, size_t max, Buf *out)
{
    const char *const argv[] = {"dump", "--no-lock", "--quiet", "--", snapshot, path, NULL};
    DEFER(restic_run_done) ResticRun run = {.argv = argv, .out_max = max, .stall_s = restic->spec.answer_s};

    Error *err = id_check(snapshot);
    if (!err)
        err = restic_once(restic, "read a file", &run);
    if (err && strstr(buf_text(&run.words), "not found in snapshot")) {
        error_free(&err);
        err = restic_error(restic, "read a file", ERROR_NOT_FOUND, "it is not in the snapshot", &run.words);
        restic->trouble = RESTIC_OTHER;
    }
    if (!err && !buf_append(out, run.out.data, run.out.size))
        err = error_new(ERROR_INVALID, "%s: larger than is taken", path);
    return err;
}

typedef struct Listing {
    Error *(*each)(void *context, const ResticNode *node);
    void *context;
    bool begun; /* the snapshot's line was there: without it the list is none, whatever the exit code */
} Listing;

static Error *listing_line(void *context, const char *line, size_t size)
{
    Listing *listing = context;
    DEFER(restic_json_free) json_t *kept = NULL;
    ResticNode node;
    bool is_node = false;

    Error *err = restic_node_read(line, size, &node, &is_node, &kept);
    if (err)
        return err;
    listing->begun = listing->begun || !is_node;
    return is_node ? listing->each(listing->context, &node) : NULL;
}

/* As many from 'paths' as one vector takes: at least one. */
static size_t words_fill(Words *words, const char *const *paths, size_t n, char *(*form)(const char *path))
{
    size_t i = 0;

    for (; i < n && (i == 0 || words->bytes + 2 * strlen(paths[i]) + 16 < RESTIC_ARGS_BYTES); i++)
        words_take(words, form(paths[i]));
    return i;
}

static Error *ls_some(Restic *restic, const char *snapshot, Words *words, Listing *listing)
{
    DEFER(restic_run_done)
    ResticRun run = {.argv = (const char *const *)words->list,
                     .stall_s = restic->spec.answer_s,
                     .line = listing_line,
                     .context = listing};

    listing->begun = false;
    Error *err = restic_once(restic, "list files", &run);
    if (!err && !listing->begun)
        err = restic_error(restic, "list files", ERROR_NOT_FOUND, snapshot, &run.words);
    return err;
}

Error *restic_ls(Restic *restic, const char *snapshot, const char *const *paths, size_t n,
                 Error *(*each)(void *context, const ResticNode *node), void *context)
{
    Listing listing = {.each = each, .context = context};

    Error *err = id_check(snapshot);
    for (size_t done = 0; done < n && !err;) {
        DEFER(words_done) Words words = {0};
        static const char *const first[] = {"ls", "--json", "--no-lock", "--"};
        for (size_t i = 0; i < sizeof first / sizeof *first; i++)
            words_add(&words, first[i]);
        words_add(&words, snapshot);
        done += words_fill(&words, paths + done, n - done, xstrdup);
        err = ls_some(restic, snapshot, &words, &listing);
    }
    return err;
}

/* ---- restore ---- */

static char *include_of(const char *path)
{
    DEFER(xfree) char *literal = restic_literal(path);

    return xasprintf("--include=%s", literal);
}

static Error *restore_some(Restic *restic, Words *words, const char *target, bool (*tick)(void *context), void *context)
{
    DEFER(restic_run_done)
    ResticRun run = {.argv = (const char *const *)words->list,
                     .out_max = SAID_MAX,
                     .stall_s = restic->spec.stall_s,
                     .tick = tick,
                     .context = context};

    Error *err = restic_held(restic, "restore", LOCK_SH, &run);
    if (!err || restic->trouble != RESTIC_FULL)
        return err;
    error_free(&err); /* not there, but here */
    restic->trouble = RESTIC_OTHER;
    DEFER(xfree) char *why = restic_full_where(restic, &run, target);
    return error_hint(restic_error(restic, "restore", ERROR_UNAVAILABLE, why, NULL),
                      "nothing was changed; make room there");
}

Error *restic_restore(Restic *restic, const char *snapshot, const char *target, const char *const *literal_paths,
                      size_t n, bool (*tick)(void *context), void *context)
{
    Error *err = id_check(snapshot);

    for (size_t done = 0; done < n && !err;) {
        DEFER(words_done) Words words = {0};
        words_add(&words, "restore");
        words_add(&words, snapshot);
        words_take(&words, xasprintf("--target=%s", target));
        words_limit(&words, "--limit-download", restic->spec.destination->download_limit);
        done += words_fill(&words, literal_paths + done, n - done, include_of);
        err = restore_some(restic, &words, target, tick, context);
    }
    return err;
}

/* ---- upkeep ---- */

static size_t forgotten(const Buf *said)
{
    DEFER(restic_json_free) json_t *groups = json_loadb((const char *)said->data, said->size, 0, NULL);
    size_t n = 0;

    for (size_t i = 0; i < json_array_size(groups); i++)
        n += json_array_size(json_object_get(json_array_get(groups, i), "remove"));
    return n;
}

Error *restic_forget(Restic *restic, const char *tag, const ResticKeep *keep, size_t *ret_n_forgotten)
{
    const struct {
        const char *option;
        uint32_t n;
    } keeps[] = {{"last", keep->last},     {"hourly", keep->hourly},   {"daily", keep->daily},
                 {"weekly", keep->weekly}, {"monthly", keep->monthly}, {"yearly", keep->yearly}};
    DEFER(words_done) Words words = {0};
    bool any = false;

    words_add(&words, "forget");
    words_add(&words, "--json");
    words_add(&words,
              "--group-by=host,tags"); /* by default paths, too: a moved root would make a group that never ends */
    words_take(&words, xasprintf("--host=%s", restic->spec.instance));
    words_take(&words, xasprintf("--tag=%s", tag));
    for (size_t i = 0; i < sizeof keeps / sizeof *keeps; i++) {
        if (keeps[i].n)
            words_take(&words, xasprintf("--keep-%s=%u", keeps[i].option, (unsigned)keeps[i].n));
        any = any || keeps[i].n;
    }
    *ret_n_forgotten = 0;
    if (!any)
        return NULL;
    DEFER(restic_run_done)
    ResticRun run = {
        .argv = (const char *const *)words.list, .out_max = SNAPSHOTS_MAX, .stall_s = restic->spec.stall_s};
    Error *err = restic_held(restic, "forget", LOCK_EX, &run);
    if (!err)
        *ret_n_forgotten = forgotten(&run.out);
    return err;
}

Error *restic_prune(Restic *restic)
{
    DEFER(words_done) Words words = {0};

    words_add(&words, "prune");
    words_add(&words, "--quiet");
    words_limit(&words, "--limit-upload", restic->spec.destination->upload_limit);
    words_limit(&words, "--limit-download", restic->spec.destination->download_limit);
    DEFER(restic_run_done)
    ResticRun run = {.argv = (const char *const *)words.list, .out_max = SAID_MAX, .stall_s = restic->spec.stall_s};
    return restic_held(restic, "prune", LOCK_EX, &run);
}

Error *restic_check(Restic *restic, unsigned percent)
{
    DEFER(words_done) Words words = {0};

    words_add(&words, "check");
    words_add(&words, "--quiet");
    if (percent >= 100)
        words_add(&words, "--read-data");
    else if (percent)
        words_take(&words, xasprintf("--read-data-subset=%u%%", percent));
    words_limit(&words, "--limit-download", restic->spec.destination->download_limit);
    DEFER(restic_run_done)
    ResticRun run = {.argv = (const char *const *)words.list, .out_max = SAID_MAX, .stall_s = restic->spec.stall_s};
    return restic_held(restic, "check", LOCK_EX, &run);
}
