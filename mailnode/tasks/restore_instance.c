#include "tasks/restore_instance.h"

#include "tables/places.h"
#include "tasks/manifest.h"
#include "tasks/restic.h"
#include "tasks/restore_databases.h"
#include "tasks/restore_origin.h"
#include "tasks/restore_room.h"
#include "tasks/restore_tree.h"
#include "tasks/restore_uidlist.h"
#include "tasks/stage.h"

#include "base/alloc.h"
#include "base/crash.h"
#include "base/loop.h"
#include "base/path.h"
#include "base/proc.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define STAGE "stage"

enum { LOCK_WAIT_S = 60, BLOCK_OVERHEAD = 2048, SPACE_SPARE = 64 * 1024 * 1024 };

typedef struct Restore {
    Job *job;
    const char *root;
    const Mail__RestoreInstance *wish;
    const Object *instance;
    Restic *restic;
    char snapshot[65];
    Manifest *manifest;
    Room *room;
    int stage; /* in the room: what restic wrote */
    Databases *databases;
    bool again; /* after one that died */
    uint64_t bytes, files;
    uint64_t free_before;
    TreeCounts taken;
    uint64_t messages, missing;
} Restore;

static void restore_done(Restore *restore)
{
    databases_free(&restore->databases);
    fd_close(&restore->stage);
    room_free(&restore->room);
    manifest_free(&restore->manifest);
    restic_free(&restore->restic);
}

/* ---- may it? ---- */

/* What somebody would miss: a message, as Maildir names it, or a script. */
static bool is_missed(const char *name)
{
    size_t len = strlen(name);

    return strstr(name, ".M") || strchr(name, ',') || (len > 6 && strcmp(name + len - 6, ".sieve") == 0);
}

/* In this folder, or in one below it? */
static bool has_mail(int folder, int depth)
{
    int again = depth > 4 ? -1 : openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DEFER(dir_close) DIR *dir = again < 0 ? NULL : fdopendir(again);
    const struct dirent *entry;
    bool found = false;

    while (dir && !found && (entry = readdir(dir)) != NULL) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        DEFER(fd_close) int fd = openat(folder, entry->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (fd >= 0)
            found = has_mail(fd, depth + 1);
        else
            found = is_missed(entry->d_name) && strcmp(entry->d_name, ".dovecot.sieve") != 0;
    }
    return found;
}

static Path journal_of(const char *root)
{
    return path_in(root, "var/lib/mailnode/work/instance-journal");
}

static Error *empty_check(const Restore *restore, const char *place)
{
    Path path = path_in(restore->root, "var/lib/mailnode/%s", place);
    DEFER(fd_close)
    int fd = open(path.text, O_RDONLY | O_DIRECTORY | O_CLOEXEC); /* root's: or a link to another disk */

    if (fd < 0 || !has_mail(fd, 0))
        return fd < 0 && errno != ENOENT ? error_system("%s", path.text) : NULL;
    return error_hint(error_new(ERROR_CONFLICT, "mail is there already, in %s: nothing is restored over it", path.text),
                      "restore onto a node without mail, or single folders: mailctl restore folder");
}

/* Before hours of work: what is made in the room changes places with it at the end, which a disk's root cannot. */
static Error *disk_check(const Restore *restore, const char *name)
{
    Path path = path_in(restore->root, "var/lib/mailnode/%s", name);
    DEFER(xfree) char *above = xasprintf("%s/..", path.text); /* of what a link leads to */
    struct stat room, place, parent;

    if (fstat(room_fd(restore->room), &room) != 0 || stat(path.text, &place) != 0 || stat(above, &parent) != 0)
        return error_system("%s", path.text);
    if (room.st_dev == place.st_dev && room.st_dev == parent.st_dev)
        return NULL;
    return error_hint(error_new(ERROR_CONFLICT, "%s and %s are not folders of one disk", path.text,
                                path_in(restore->root, "%s", &PLACE_WORK[3]).text),
                      "make each a link to a folder on the disk of mail, none of them its mount point");
}

static Error *place_check(Restore *restore)
{
    if (restore->instance->instance->running)
        return error_hint(error_new(ERROR_CONFLICT, "instance %s is not stopped", restore->instance->name),
                          "mailctl instance stop %s", restore->instance->name);
    Error *err = disk_check(restore, "mail");
    if (!err)
        err = disk_check(restore, "public");
    if (err)
        return err;
    restore->again = access(journal_of(restore->root).text, F_OK) == 0;
    if (restore->again)
        return NULL; /* what stands there is of a restore that died */
    err = empty_check(restore, "mail");
    return err ? err : empty_check(restore, "public");
}

/* ---- what the snapshot says ---- */

static Error *dump(const Restore *restore, const char *file, Buf *out)
{
    DEFER(xfree) char *path = xasprintf("/state/%s", file);

    return restic_dump(restore->restic, restore->snapshot, path, MANIFEST_BYTES_MAX, out);
}

static Error *manifest_fetch(Restore *restore)
{
    DEFER(buf_done) Buf text = {0};

    Error *err = dump(restore, MANIFEST_FILE, &text);
    if (!err)
        err = manifest_read(&text, &restore->manifest);
    for (size_t i = 0; !err && i < manifest_count(restore->manifest); i++) {
        restore->bytes += manifest_entry(restore->manifest, i)->bytes;
        restore->files += manifest_entry(restore->manifest, i)->messages;
    }
    return err;
}

/* What has no state of a node in it was made by hand: nobody can say whose it is. */
static Error *origin_check(Restore *restore)
{
    Buf state = {0};
    DEFER(xfree) char *other = NULL;

    Error *err = dump(restore, STATE_OBJECTS, &state);
    if (!err)
        err = origin_compare(&state, restore->instance, &other);
    else if (err->code == ERROR_NOT_FOUND)
        error_free(&err);
    if (state.room)
        wipe(state.data, state.room); /* secrets lie in it */
    buf_done(&state);
    if (err || !other || restore->wish->adopt)
        return err;
    return error_hint(error_new(ERROR_CONFLICT, "snapshot %.8s is of another instance: %s", restore->snapshot, other),
                      "if it is meant all the same: --adopt");
}

static Error *space_check(Restore *restore)
{
    struct statvfs space;
    uint64_t needed = restore->bytes + restore->files * BLOCK_OVERHEAD + SPACE_SPARE;

    if (fstatvfs(room_fd(restore->room), &space) != 0)
        return error_system("%s", room_path(restore->room));
    restore->free_before = (uint64_t)space.f_bavail * space.f_frsize;
    if (restore->free_before < needed)
        return error_new(ERROR_UNAVAILABLE, "no space: %" PRIu64 " MiB are needed, %" PRIu64 " MiB are free",
                         needed >> 20, restore->free_before >> 20);
    if (space.f_files && space.f_favail < restore->files + restore->files / 8)
        return error_new(ERROR_UNAVAILABLE, "no space: %" PRIu64 " files are to come, %" PRIu64 " inodes are free",
                         restore->files, (uint64_t)space.f_favail);
    return NULL;
}

/* ---- fetching ---- */

/* By what has gone of the free space: nothing is counted in a tree of any size. */
static bool tick(void *context)
{
    Restore *restore = context;
    struct statvfs space;

    if (restore->bytes && fstatvfs(room_fd(restore->room), &space) == 0) {
        uint64_t now = (uint64_t)space.f_bavail * space.f_frsize;
        uint64_t done = now < restore->free_before ? restore->free_before - now : 0;
        job_progress(restore->job, (done < restore->bytes ? done : restore->bytes) >> 20, (restore->bytes >> 20) + 1,
                     "MiB");
    }
    return true;
}

static Error *stage_own(int stage, uid_t uid, gid_t gid)
{
    return fchown(stage, uid, gid) == 0 && fchmod(stage, S_IRWXU) == 0 ? NULL : error_system(STAGE);
}

static Error *fetch(Restore *restore)
{
    static const char *const paths[] = {"/mail", "/public", "/state"};
    DEFER(xfree) char *target = xasprintf("%s/" STAGE, room_path(restore->room));
    uid_t uid = 0;
    gid_t gid = 0;

    Error *err = proc_user("mailbackup", &uid, &gid);
    if (err)
        return err;
    if (mkdirat(room_fd(restore->room), STAGE, S_IRWXU) != 0)
        return error_system(STAGE);
    restore->stage = openat(room_fd(restore->room), STAGE, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (restore->stage < 0)
        return error_system(STAGE);
    err = stage_own(restore->stage, uid, gid);
    if (!err)
        err = restic_restore(restore->restic, restore->snapshot, target, paths, sizeof paths / sizeof *paths, tick,
                             restore);
    return err ? err : stage_own(restore->stage, 0, 0);
}

/* ---- is it whole? ---- */

static Error *folder_open(int above, const char *name, int *ret_fd)
{
    *ret_fd = openat(above, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    return *ret_fd < 0 ? error_in(error_system("open"), "%s", name) : NULL;
}

static Error *part_take(Restore *restore, const char *name, uid_t uid, gid_t gid)
{
    DEFER(fd_close) int fd = -1;

    if (mkdirat(restore->stage, name, S_IRWXU) != 0 && errno != EEXIST) /* a snapshot without any is one all the same */
        return error_system("%s", name);
    Error *err = folder_open(restore->stage, name, &fd);
    if (!err)
        err = tree_take(fd, uid, gid, &restore->taken);
    if (!err && fchmod(fd, S_IRWXU | S_IRGRP | S_IXGRP) != 0) /* as the engine makes it: PLACE_MAIL */
        err = error_system("%s", name);
    return error_in(err, "%s", name);
}

static Error *list_fetch(const Restore *restore, MailboxKind kind, const char *name, MailboxList **ret_list)
{
    DEFER(xfree) char *file = manifest_path(kind, name);
    DEFER(xfree) char *path = xasprintf("%s/" STAGE "/state/%s", room_path(restore->room), file);
    DEFER(buf_done) Buf text = {0};

    Error *err = file_read(path, MANIFEST_BYTES_MAX, &text);
    return err ? err : mailbox_list_read(&text, ret_list);
}

static Error *user_compare(Restore *restore, const char *name)
{
    DEFER(xfree) char *store = xasprintf("mail/%s/Maildir", name);
    DEFER(mailbox_list_free) MailboxList *list = NULL;
    DEFER(fd_close) int fd = -1;

    Error *err = list_fetch(restore, MAILBOX_USER, name, &list);
    if (!err)
        err = folder_open(restore->stage, store, &fd);
    return err ? err : tree_compare(fd, list, NULL, &restore->messages, &restore->missing);
}

/* One list is of all public mailboxes of a first level; the entry is one folder in it, ".A.B". */
static Error *public_compare(Restore *restore, const char *name)
{
    DEFER(mailbox_list_free) MailboxList *list = NULL;
    DEFER(fd_close) int fd = -1;

    Error *err = list_fetch(restore, MAILBOX_PUBLIC, name, &list);
    if (!err)
        err = folder_open(restore->stage, "public", &fd);
    return err ? err : tree_compare(fd, list, name, &restore->messages, &restore->missing);
}

static Error *all_compare(Restore *restore)
{
    Error *err = NULL;

    for (size_t i = 0; !err && i < manifest_count(restore->manifest); i++) {
        const ManifestEntry *entry = manifest_entry(restore->manifest, i);
        err = job_go_on(restore->job);
        if (err)
            return err;
        err = entry->kind == MAILBOX_USER ? user_compare(restore, entry->name) : public_compare(restore, entry->name);
        err = error_in(err, "%s %s", mailbox_kind_name[entry->kind], entry->name);
    }
    if (err || (!restore->missing && restore->messages == restore->files))
        return err;
    return error_new(ERROR_DAMAGED, "%" PRIu64 " of %" PRIu64 " messages did not come as the backup lists them",
                     restore->files - restore->messages, restore->files);
}

static Error *take_all(Restore *restore)
{
    DEFER(fd_close) int state = -1;
    uid_t uid = 0;
    gid_t gid = 0;

    Error *err = proc_user("vmail", &uid, &gid);
    if (!err)
        err = part_take(restore, "mail", uid, gid);
    if (!err)
        err = part_take(restore, "public", uid, gid);
    if (!err)
        err = all_compare(restore);
    if (!err)
        err = folder_open(restore->stage, "state", &state);
    if (!err)
        err = databases_make(restore->job, restore->room, state, restore->again, &restore->databases);
    if (!err && syncfs(restore->stage) != 0)
        err = error_system("sync");
    return err;
}

/* ---- into place ---- */

static Error *folder_sync(const char *path)
{
    DEFER(fd_close) int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    return fd < 0 || fsync(fd) != 0 ? error_system("%s", path) : NULL;
}

/* What stood there goes with the room; a link to it stays. */
static Error *exchange(const Restore *restore, const char *name)
{
    Path path = path_in(restore->root, "var/lib/mailnode/%s", name);
    DEFER(xfree) char *place = realpath(path.text, NULL);

    return place ? room_exchange(restore->stage, name, place) : error_system("%s", path.text);
}

static Error *place(const Restore *restore)
{
    Path journal = journal_of(restore->root);

    CRASH_POINT("restore.instance.taken");
    Error *err = file_write(journal.text, restore->snapshot, strlen(restore->snapshot), S_IRUSR | S_IWUSR, (gid_t)-1);
    if (!err)
        err = databases_place(restore->databases);
    if (!err)
        err = exchange(restore, "public");
    if (err)
        return err;
    CRASH_POINT("restore.instance.public");
    err = exchange(restore, "mail");
    if (err)
        return err;
    CRASH_POINT("restore.instance.mail");
    if (unlink(journal.text) != 0)
        return error_system("%s", journal.text);
    return folder_sync(path_in(restore->root, "var/lib/mailnode/work").text);
}

/* ---- the whole ---- */

static char *verdict_of(const Restore *restore)
{
    return xasprintf("%" PRIu64 " messages, %" PRIu64
                     " MiB in %zu mailboxes%s; snapshot %.8s; next UIDs raised by %d in %" PRIu64 " folders%s",
                     restore->messages, restore->bytes >> 20, manifest_count(restore->manifest),
                     databases_words(restore->databases), restore->snapshot, (int)UIDLIST_RAISE, restore->taken.raised,
                     restore->taken.unraised ? "; some lists of UIDs did not read, and those folders begin anew" : "");
}

static Error *run(Restore *restore)
{
    const char *wanted = restore->wish->snapshot ? restore->wish->snapshot : "latest";

    Error *err = place_check(restore);
    if (!err)
        err = restic_resolve(restore->restic, wanted, 0, restore->snapshot);
    if (!err)
        err = manifest_fetch(restore);
    if (!err)
        err = origin_check(restore);
    if (!err)
        err = space_check(restore);
    if (!err)
        err = fetch(restore);
    if (!err)
        err = job_go_on(restore->job);
    if (!err)
        err = take_all(restore);
    if (!err)
        err = job_go_on(restore->job);
    return err ? err : place(restore);
}

Error *restore_instance(Job *job, const Mail__TaskStart *task, char **ret_verdict)
{
    DEFER(restore_done)
    Restore restore = {.job = job, .root = job_root(job), .wish = task->restore_instance, .stage = -1};

    restore.instance = job_object(job, MAIL__OBJECT__BODY_INSTANCE, NULL);
    if (!restore.instance)
        return error_new(ERROR_NOT_FOUND, "no instance is placed on this node");
    Error *err =
        restic_open_job(job, restore.wish->destination ? restore.wish->destination : "", LOCK_WAIT_S, &restore.restic);
    if (!err)
        err = room_take(restore.root, job_id(job), ROOM_OF_INSTANCE, &restore.room);
    if (!err)
        err = run(&restore);
    if (!err)
        *ret_verdict = verdict_of(&restore);
    return err;
}
