#include "tasks/restore_folder.h"

#include "base/alloc.h"
#include "base/path.h"
#include "base/proc.h"
#include "engine/publish.h"
#include "tables/places.h"
#include "tasks/manifest.h"
#include "tasks/restic.h"
#include "tasks/restore_drop.h"
#include "tasks/restore_exchange.h"
#include "tasks/restore_family.h"
#include "tasks/restore_fetch.h"
#include "tasks/restore_mail.h"
#include "tasks/restore_room.h"
#include "tasks/restore_scan.h"
#include "tasks/restore_stage.h"
#include "tasks/snapshot_list.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

enum { BLOCK = 4096, FILES_OF_FOLDER = 6, ACL_BYTES_MAX = 1024 * 1024, SHORT_ID = 8 };

typedef struct Restore {
    Job *job;
    const char *root;
    const Mail__RestoreFolder *wish;

    Family *family;
    Room *room;
    int store;
    uid_t uid;
    gid_t gid;

    Restic *restic;
    char snapshot[65];
    MailboxList *list;
    ManifestFamily found;

    StageFolder *folders; /* as many as the family has */
    StageCount count;
    uint64_t infected;
} Restore;

static void restore_done(Restore *restore)
{
    for (size_t i = 0; restore->folders && i < restore->family->n; i++) {
        free((char *)restore->folders[i].from);
        free(restore->folders[i].files);
    }
    free(restore->folders);
    xfree(&restore->found.folders);
    mailbox_list_free(&restore->list);
    restic_free(&restore->restic);
    fd_close(&restore->store);
    room_free(&restore->room);
    family_free(&restore->family);
}

/* ---- the mailbox ---- */

static uint64_t entries(int folder, const char *part)
{
    DEFER(fd_close) int fd = openat(folder, part, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DEFER(dir_close) DIR *dir = fd < 0 ? NULL : folder_walk(fd);
    uint64_t n = 0;

    for (struct dirent *entry; dir && (entry = readdir(dir));)
        n += entry->d_name[0] != '.';
    return n;
}

/* What would go, with figures. */
static Error *old_one(const Restore *restore)
{
    DEFER(dir_close) DIR *dir = folder_walk(restore->store);
    uint64_t folders = 0, messages = 0;

    if (!dir)
        return error_system("open");
    for (struct dirent *entry; (entry = readdir(dir));) {
        if (!exchange_of_family(restore->family->place, entry->d_name))
            continue;
        DEFER(fd_close)
        int folder = openat(restore->store, entry->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        folders++;
        messages += folder < 0 ? 0 : entries(folder, "cur") + entries(folder, "new");
    }
    if (!folders || (restore->wish->has_replace && restore->wish->replace))
        return NULL;
    return error_hint(
        error_new(ERROR_EXISTS, "%s has a 'Restored folder' already: %" PRIu64 " folder%s, %" PRIu64 " message%s",
                  restore->wish->mailbox, folders, folders == 1 ? "" : "s", messages, messages == 1 ? "" : "s"),
        "it would go: say --yes");
}

/* A public mailbox is there as long as it is stated, and notes by what. */
static Error *public_there(const Restore *restore)
{
    DEFER(xfree) char *stated = xasprintf("%s/" PUBLISH_STATED, restore->family->base);

    if (faccessat(restore->store, stated, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
        return NULL;
    return error_new(ERROR_NOT_FOUND, "there is no public mailbox %s", restore->family->mailbox);
}

static Error *mailbox_open(Restore *restore)
{
    const Family *family = restore->family;

    Error *err = proc_user("vmail", &restore->uid, &restore->gid);
    if (!err && family->user)
        err = mail_user_there(restore->root, family->user);
    if (!err)
        err = exchange_store(restore->root, &(ExchangePlace){.user = family->user}, &restore->store);
    if (!err && !family->user)
        err = public_there(restore);
    return err ? err : old_one(restore);
}

/* ---- the backup ---- */

static Error *list_get(Restore *restore)
{
    const Family *family = restore->family;

    Error *err = snapshot_mailbox(restore->restic, restore->root, restore->snapshot,
                                  family->user ? MAILBOX_USER : MAILBOX_PUBLIC,
                                  family->user ? family->user : family->base, &restore->list);
    if (!err || err->code != ERROR_NOT_FOUND)
        return err;
    error_free(&err);
    err = error_new(ERROR_NOT_FOUND, "snapshot %.*s has nothing of %s", SHORT_ID, restore->snapshot,
                    restore->wish->mailbox);
    return error_hint(err, "mailctl snapshot list destination=%s mailbox=%s", restore->wish->destination,
                      restore->wish->mailbox);
}

static Error *family_get(Restore *restore)
{
    Family *family = restore->family;

    Error *err = mailbox_list_family(restore->list, family->from, &restore->found);
    if (err && err->code == ERROR_NOT_FOUND) {
        error_free(&err);
        err = error_new(ERROR_NOT_FOUND, "snapshot %.*s has no folder %s of %s", SHORT_ID, restore->snapshot,
                        restore->wish->folder, restore->wish->mailbox);
        return error_hint(err, "mailctl snapshot folders %.*s destination=%s mailbox=%s", SHORT_ID, restore->snapshot,
                          restore->wish->destination, restore->wish->mailbox);
    }
    for (size_t i = 0; !err && i < restore->found.n; i++)
        err = family_add(family, restore->found.folders[i]->name);
    return err ? err : family_named(family);
}

/* Where a folder lies in the backup, without the first slash. */
static char *from_of(const Family *family, const char *on_disk)
{
    if (!family->user)
        return xasprintf("public/%s", on_disk);
    return xasprintf("mail/%s/Maildir%s%s", family->user, *on_disk ? "/" : "", on_disk);
}

static Error *folders_get(Restore *restore)
{
    const Family *family = restore->family;
    Error *err = NULL;

    restore->folders = xcalloc(family->n, sizeof *restore->folders);
    for (size_t i = 0; !err && i < family->n; i++) {
        const ManifestFolder *found = restore->found.folders[i];
        StageFolder *folder = &restore->folders[i];
        *folder = (StageFolder){.from = from_of(family, found->name), .to = family->folders[i].to};
        folder->n = found->n_messages;
        folder->files = xcalloc(found->n_messages + 1, sizeof *folder->files);
        for (size_t m = 0; m < found->n_messages; m++)
            folder->files[m] = (StageFile){.name = (char *)found->messages[m].name,
                                           .size = found->messages[m].size,
                                           .in_new = found->messages[m].fresh};
        err = stage_sort(folder->files, folder->n);
    }
    if (err)
        err->code = ERROR_DAMAGED; /* it is the backup's list */
    return err;
}

static Error *backup_open(Restore *restore)
{
    const Mail__RestoreFolder *wish = restore->wish;

    Error *err = restic_open_job(restore->job, wish->destination, 0, &restore->restic);
    if (!err)
        err = restic_resolve(restore->restic, wish->snapshot ? wish->snapshot : "", wish->has_at ? wish->at : 0,
                             restore->snapshot);
    if (!err)
        err = list_get(restore);
    if (!err)
        err = family_get(restore);
    return err ? err : folders_get(restore);
}

/* ---- space ---- */

/* "12.3 MiB": for people; owned by the caller. */
static char *size_words(uint64_t octets)
{
    static const char *const units[] = {"octets", "KiB", "MiB", "GiB", "TiB"};
    size_t unit = 0;
    double size = (double)octets;

    for (; size >= 1024 && unit + 1 < sizeof units / sizeof *units; unit++)
        size /= 1024;
    return unit ? xasprintf("%.1f %s", size, units[unit]) : xasprintf("%" PRIu64 " octets", octets);
}

static uint64_t reserve_of(const Restore *restore)
{
    Mail__Settings defaults = MAIL__SETTINGS__INIT;
    const Object *settings = job_object(restore->job, MAIL__OBJECT__BODY_SETTINGS, NULL);

    return settings ? settings->settings->restore_reserve : defaults.restore_reserve;
}

/* As the file system counts: whole blocks. */
static uint64_t octets_needed(const Restore *restore)
{
    uint64_t sum = restore->family->n * FILES_OF_FOLDER * BLOCK;

    for (size_t i = 0; i < restore->found.n; i++)
        for (size_t m = 0; m < restore->found.folders[i]->n_messages; m++)
            sum += (restore->found.folders[i]->messages[m].size + BLOCK - 1) / BLOCK * BLOCK;
    return sum;
}

/* What is there already goes last: both are on the disk for a while. */
static Error *space_look(const Restore *restore)
{
    uint64_t files = restore->found.messages + restore->family->n * FILES_OF_FOLDER, needed = octets_needed(restore);
    uint64_t reserve = reserve_of(restore);
    struct statvfs space;

    if (restore->wish->has_force && restore->wish->force)
        return NULL;
    if (fstatvfs(room_fd(restore->room), &space) != 0)
        return error_system("free space");
    uint64_t free_octets = (uint64_t)space.f_bavail * space.f_frsize,
             room = free_octets > reserve ? free_octets - reserve : 0;
    bool inodes = space.f_files && space.f_favail < files;
    if (needed <= room && !inodes)
        return NULL;
    DEFER(xfree) char *wants = size_words(needed), *has = size_words(room), *kept = size_words(reserve);
    Error *err = inodes ? error_new(ERROR_UNAVAILABLE, "%" PRIu64 " files are needed, and %" PRIu64 " can be made",
                                    files, (uint64_t)space.f_favail)
                        : error_new(ERROR_UNAVAILABLE, "%s are needed, and %s are free beside the reserve of %s", wants,
                                    has, kept);
    return error_hint(err, "make room, or lower settings restore-reserve; --force does not look");
}

/* ---- what comes ---- */

static Error *count_check(const Restore *restore)
{
    const StageCount *count = &restore->count;

    if (!count->missing && !count->wrong && !count->extra)
        return NULL;
    return error_hint(error_new(ERROR_DAMAGED,
                                "the backup is not as its list says: of %" PRIu64 " messages %" PRIu64
                                " are missing, %" PRIu64 " are no files of that size, and %" PRIu64 " others are there",
                                restore->found.messages, count->missing, count->wrong, count->extra),
                      "mailctl backup verify, or another snapshot");
}

/* Those of the folder that this was, where it still stands; otherwise of the one above it. */
static Error *rights_of(const Restore *restore, const char *on_disk, Buf *out)
{
    DEFER(xfree) char *folder = xstrdup(on_disk);

    for (;;) {
        DEFER(xfree) char *rights = xasprintf("%s/dovecot-acl", folder);
        DEFER(fd_close) int at = openat(restore->store, folder, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        DEFER(fd_close)
        int fd = at < 0 ? -1 : openat(at, "dovecot-acl", O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
        char *dot = strrchr(folder, '.');
        struct stat st;
        if (fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size <= ACL_BYTES_MAX) {
            uint8_t *room = buf_reserve(out, (size_t)st.st_size + 1);
            ssize_t got = room ? read(fd, room, (size_t)st.st_size) : -1;
            if (got < 0)
                return error_system("%s", rights);
            out->size += (size_t)got;
            return NULL;
        }
        if (!dot || dot == folder)
            return error_new(ERROR_NOT_FOUND, "%s has no rights any more", restore->wish->mailbox);
        *dot = '\0';
    }
}

static Error *rights_put(const Restore *restore, int new, const char *on_disk, const char *to)
{
    DEFER(buf_done) Buf rights = {0};

    if (restore->family->user)
        return NULL;
    Error *err = rights_of(restore, on_disk, &rights);
    return err ? err : stage_put(new, to, "dovecot-acl", rights.data, rights.size, restore->uid, restore->gid);
}

static Error *take_over(Restore *restore, int stage, int new)
{
    const Family *family = restore->family;

    Error *err = stage_empty(new, family->place, restore->uid, restore->gid);
    if (!err)
        err = rights_put(restore, new, family->base, family->place);
    for (size_t i = 0; !err && i < family->n; i++) {
        err = stage_take(stage, new, &restore->folders[i], restore->uid, restore->gid, &restore->count);
        if (!err)
            err = rights_put(restore, new, family->folders[i].from, family->folders[i].to);
    }
    return err ? err : count_check(restore);
}

static bool goes_on(void *context)
{
    const Restore *restore = context;

    return !job_cancelled(restore->job);
}

static void infected(void *context, const char *folder, const char *message, const char *what)
{
    const Restore *restore = context;

    job_found(restore->job, MAIL__FACT_STATE__BAD, folder, "%s: %s, left out", message, what);
}

static Error *scan(Restore *restore, int new)
{
    const ScanWays ways = {.root = restore->root, .tick = goes_on, .infected = infected, .context = restore};

    if (!restore->wish->has_scan || !restore->wish->scan)
        return NULL;
    return scan_folders(new, &ways, &restore->infected);
}

static Error *bring(Restore *restore)
{
    int room = room_fd(restore->room);
    DEFER(fd_close) int stage = -1;
    DEFER(fd_close) int new = -1;
    bool force = restore->wish->has_force && restore->wish->force;
    const FetchPlan plan = {.job = restore->job,
                            .restic = restore->restic,
                            .snapshot = restore->snapshot,
                            .family = restore->family,
                            .folders = restore->folders,
                            .messages = restore->found.messages,
                            .bytes = restore->found.bytes,
                            .free_min = force ? 0 : reserve_of(restore) / 2,
                            .room_path = room_path(restore->room),
                            .room = room};

    Error *err = fetch_run(&plan, &stage);
    if (!err && mkdirat(room, "new", 0700) != 0)
        err = error_system("new");
    if (err)
        return err;
    new = openat(room, "new", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (new < 0)
        return error_system("new");
    err = take_over(restore, stage, new);
    if (!err)
        err = drop_tree(room, "stage");
    if (!err)
        err = scan(restore, new);
    if (!err && syncfs(room) != 0) /* restic does not */
        err = error_system("sync");
    return err ? err : job_go_on(restore->job);
}

/* ---- in its place ---- */

static Error *read_back(Restore *restore)
{
    uint64_t wanted = restore->count.messages - restore->infected, found = 0;
    bool over = false;

    Error *err = mail_restored(restore->root, restore->family, &found);
    if (!err && found < wanted)
        err = error_new(ERROR_DAMAGED, "%" PRIu64 " messages were put in place, and Dovecot finds %" PRIu64, wanted,
                        found);
    if (!err && restore->family->user)
        err = mail_over_quota(restore->root, restore->family->user, &over);
    if (!err && over)
        job_over_quota(restore->job);
    return error_in(err, "restored, but");
}

static Error *put_in_place(Restore *restore)
{
    const ExchangePlace place = {.user = restore->family->user, .family = restore->family->place};

    Error *err = exchange_run(restore->root, room_fd(restore->room), &place);
    if (!err)
        err = room_end(&restore->room);
    return err ? err : read_back(restore);
}

static char *verdict(const Restore *restore)
{
    const Family *family = restore->family;
    uint64_t messages = restore->count.messages - restore->infected;
    DEFER(xfree) char *size = size_words(restore->count.bytes), *shown = family_shown(family);
    DEFER(xfree)
    char *left_out = restore->infected ? xasprintf(", %" PRIu64 " infected left out", restore->infected) : xstrdup("");

    return xasprintf("%" PRIu64 " message%s (%s) in %zu folder%s of snapshot %.*s are in '%s' of %s%s%s", messages,
                     messages == 1 ? "" : "s", size, family->n, family->n == 1 ? "" : "s", SHORT_ID, restore->snapshot,
                     shown, restore->wish->mailbox, family->shortened ? ", under a name that is short enough" : "",
                     left_out);
}

/* ---- the whole ---- */

static Error *wish_check(const Mail__RestoreFolder *wish)
{
    if (!wish->mailbox || !wish->folder)
        return error_new(ERROR_INVALID, "a restore needs mailbox= and folder=");
    if (!wish->destination || !*wish->destination)
        return error_hint(error_new(ERROR_INVALID, "from which destination?"),
                          "destination=NAME: mailctl destination list");
    if ((!wish->snapshot || !*wish->snapshot) && !wish->has_at)
        return error_hint(error_new(ERROR_INVALID, "which snapshot?"), "snapshot=ID, snapshot=latest or at=DATE");
    return NULL;
}

/* By the one form of its name. */
static Error *room_of(Restore *restore)
{
    const Family *family = restore->family;
    DEFER(xfree) char *mailbox = xasprintf("%s:%s", family->user ? "user" : "public", family->mailbox);

    return room_take(restore->root, job_id(restore->job), mailbox, &restore->room);
}

Error *restore_folder(Job *job, const Mail__TaskStart *task, char **ret_verdict)
{
    DEFER(restore_done)
    Restore restore = {.job = job, .root = job_root(job), .wish = task->restore_folder, .store = -1};

    Error *err = wish_check(restore.wish);
    if (!err)
        err = family_new(restore.wish->mailbox, restore.wish->folder, &restore.family);
    if (!err)
        err = room_of(&restore);
    if (!err)
        err = mailbox_open(&restore);
    if (!err)
        err = backup_open(&restore);
    if (!err)
        err = space_look(&restore);
    if (!err)
        err = bring(&restore);
    if (!err)
        err = put_in_place(&restore);
    if (err)
        return err;
    *ret_verdict = verdict(&restore);
    return NULL;
}
