/* What lies in a repository: its snapshots, the folders of a mailbox in one of them, and what was stated then */
#include "tasks/folder_name.h"
#include "tasks/job.h"
#include "tasks/restic.h"
#include "tasks/snapshot_list.h"
#include "tasks/stage.h"

#include "base/alloc.h"
#include "model/shown.h"
#include "seal/state_file.h"

#include <stdlib.h>
#include <string.h>

/* Answers travel in parts. */
enum { PART_OCTETS = 32 * 1024, ROW_OCTETS = 64, STATE_MAX = 256 * 1024 * 1024 };

typedef struct Question {
    Job *job;
    const Mail__BackupRead *read;
    Restic *restic;
    Mailbox mailbox; /* of read->mailbox; name NULL: all */
} Question;

static void question_done(Question *question)
{
    mailbox_done(&question->mailbox);
    restic_free(&question->restic);
}

/* ---- snapshots ---- */

/* What is left of a snapshot when restic's list has gone. */
typedef struct Snapshot {
    char *id, *plan;
    uint64_t time_s;
} Snapshot;

typedef struct Snapshots {
    Snapshot *list;
    size_t n, room;
} Snapshots;

static void snapshots_done(Snapshots *snapshots)
{
    for (size_t i = 0; i < snapshots->n; i++) {
        free(snapshots->list[i].id);
        free(snapshots->list[i].plan);
    }
    free(snapshots->list);
}

static const char *plan_of(const ResticSnapshot *snapshot)
{
    for (size_t i = 0; i < snapshot->n_tags; i++)
        if (strncmp(snapshot->tags[i], "plan=", 5) == 0)
            return snapshot->tags[i] + 5;
    return NULL;
}

static Error *snapshot_take(void *context, const ResticSnapshot *snapshot)
{
    Snapshots *to = context;
    const char *plan = plan_of(snapshot);

    if (to->n == to->room) {
        to->room = to->room ? 2 * to->room : 32;
        to->list = xrealloc(to->list, to->room * sizeof *to->list);
    }
    to->list[to->n++] = (Snapshot){xstrdup(snapshot->id), plan ? xstrdup(plan) : NULL, snapshot->time_s};
    return NULL;
}

static Error *snapshot_say(const Question *question, const Snapshot *snapshot, const ManifestEntry *figures)
{
    Mail__BackupRows rows = MAIL__BACKUP_ROWS__INIT;
    Mail__SnapshotIs is = MAIL__SNAPSHOT_IS__INIT, *list[] = {&is};

    is.id = snapshot->id;
    is.has_time = true;
    is.time = snapshot->time_s;
    is.plan = snapshot->plan;
    is.has_messages = is.has_bytes = figures != NULL;
    is.messages = figures ? figures->messages : 0;
    is.bytes = figures ? figures->bytes : 0;
    rows.snapshots = list;
    rows.n_snapshots = 1;
    return job_rows(question->job, &rows);
}

/* With what is in it if that was read before: a list of all does not open each. */
static Error *snapshot_whole(const Question *question, const Snapshot *snapshot)
{
    DEFER(manifest_free) Manifest *manifest = snapshot_manifest_kept(job_root(question->job), snapshot->id);
    ManifestEntry all = {.name = ""};

    for (size_t i = 0; manifest && i < manifest_count(manifest); i++) {
        all.messages += manifest_entry(manifest, i)->messages;
        all.bytes += manifest_entry(manifest, i)->bytes;
    }
    return snapshot_say(question, snapshot, manifest ? &all : NULL);
}

/* F-064: only if the mailbox is in it.  One without a manifest is not of our making. */
static Error *snapshot_with_mailbox(const Question *question, const Snapshot *snapshot)
{
    DEFER(manifest_free) Manifest *manifest = NULL;
    Error *err = snapshot_manifest(question->restic, job_root(question->job), snapshot->id, &manifest);

    if (err && err->code == ERROR_NOT_FOUND) {
        error_free(&err);
        return NULL;
    }
    if (err)
        return err;
    const ManifestEntry *entry =
        manifest_find(manifest, question->mailbox.kind, mailbox_entry_name(&question->mailbox));
    return entry ? snapshot_say(question, snapshot, entry) : NULL;
}

/* One that does not read back does not hide the others; where nothing answers any more the rest is not tried. */
static Error *snapshots_answer(const Question *question)
{
    DEFER(snapshots_done) Snapshots snapshots = {0};
    Error *first = NULL;

    Error *err = restic_snapshots(question->restic, snapshot_take, &snapshots);
    for (size_t i = 0; !err && i < snapshots.n; i++) {
        err = job_go_on(question->job);
        if (!err && !question->mailbox.name)
            err = snapshot_whole(question, &snapshots.list[i]);
        else if (!err)
            err = snapshot_with_mailbox(question, &snapshots.list[i]);
        if (!err || (err->code != ERROR_DAMAGED && err->code != ERROR_UNSUPPORTED))
            continue;
        if (first)
            error_free(&err);
        else
            first = err;
        err = NULL;
    }
    if (!err)
        return first;
    error_free(&first);
    return err;
}

/* ---- folders ---- */

typedef struct Part {
    const Question *question;
    const char *snapshot;
    Mail__FolderIs **list;
    size_t n, room, octets;
} Part;

static void part_clear(Part *part)
{
    for (size_t i = 0; i < part->n; i++) {
        free(part->list[i]->name);
        free(part->list[i]);
    }
    part->n = part->octets = 0;
}

static void part_done(Part *part)
{
    part_clear(part);
    free(part->list);
}

static Error *part_say(Part *part)
{
    Mail__BackupRows rows = MAIL__BACKUP_ROWS__INIT;

    rows.snapshot = (char *)(uintptr_t)part->snapshot;
    rows.folders = part->list;
    rows.n_folders = part->n;
    Error *err = job_rows(part->question->job, &rows);
    part_clear(part);
    return err;
}

static Error *folder_take(Part *part, const ManifestFolder *folder, size_t *n_of_mailbox)
{
    const Question *question = part->question;
    DEFER(xfree) char *name = folder_shown(&question->mailbox, folder->name);

    if (!name)
        return NULL;
    ++*n_of_mailbox;
    if (question->read->filter && !folder_matches(name, question->read->filter))
        return NULL;
    if (part->n == part->room) {
        part->room = part->room ? 2 * part->room : 64;
        part->list = xrealloc(part->list, part->room * sizeof *part->list);
    }
    Mail__FolderIs *is = xmalloc(sizeof *is);
    mail__folder_is__init(is);
    part->octets += strlen(name) + ROW_OCTETS;
    is->name = name;
    name = NULL;
    is->has_messages = is->has_bytes = true;
    is->messages = folder->n_messages;
    is->bytes = folder->bytes;
    part->list[part->n++] = is;
    return part->octets < PART_OCTETS ? NULL : part_say(part);
}

static Error *not_in_it(const Question *question, const char *id)
{
    DEFER(xfree) char *mailbox = shown(question->read->mailbox);
    DEFER(xfree) char *destination = shown(question->read->destination);

    return error_hint(error_new(ERROR_NOT_FOUND, "mailbox %s is not in snapshot %.12s", mailbox, id),
                      "mailctl snapshot list destination=%s mailbox=%s", destination, mailbox);
}

/* B41: what was meant is found out once, and said.  One that is written out and whose list is here costs no repository. */
static Error *which(const Question *question, char ret_id[65])
{
    const char *wanted = question->read->snapshot, *root = job_root(question->job);
    const Mailbox *mailbox = &question->mailbox;

    if (!restic_id_valid(wanted) || !snapshot_mailbox_kept(root, wanted, mailbox->kind, mailbox_entry_name(mailbox)))
        return restic_resolve(question->restic, wanted, 0, ret_id);
    memcpy(ret_id, wanted, 65);
    return NULL;
}

static Error *folders_answer(const Question *question)
{
    const Mailbox *mailbox = &question->mailbox;
    DEFER(mailbox_list_free) MailboxList *list = NULL;
    DEFER(part_done) Part part = {.question = question};
    size_t n_of_mailbox = 0;
    char id[65];

    Error *err = which(question, id);
    if (err)
        return err;
    part.snapshot = id;
    err = snapshot_mailbox(question->restic, job_root(question->job), id, mailbox->kind, mailbox_entry_name(mailbox),
                           &list);
    if (err && err->code == ERROR_NOT_FOUND) {
        error_free(&err);
        return not_in_it(question, id);
    }
    for (size_t i = 0; !err && i < mailbox_list_count(list); i++)
        err = folder_take(&part, mailbox_list_folder(list, i), &n_of_mailbox);
    if (!err && !n_of_mailbox)
        err = not_in_it(question, id);
    return err ? err : part_say(&part);
}

/* ---- state ---- */

typedef struct Objects {
    const Question *question;
    const char *snapshot;
    ProtobufCBinaryData *list;
    size_t n, room, octets;
} Objects;

static void objects_clear(Objects *objects)
{
    for (size_t i = 0; i < objects->n; i++)
        free(objects->list[i].data);
    objects->n = objects->octets = 0;
}

static void objects_done(Objects *objects)
{
    objects_clear(objects);
    free(objects->list);
}

static Error *objects_say(Objects *objects)
{
    Mail__BackupRows rows = MAIL__BACKUP_ROWS__INIT;

    rows.snapshot = (char *)(uintptr_t)objects->snapshot;
    rows.objects = objects->list;
    rows.n_objects = objects->n;
    Error *err = job_rows(objects->question->job, &rows);
    objects_clear(objects);
    return err;
}

/* Only what reads back as an object goes on. */
static Error *object_take(void *context, const void *bytes, size_t size)
{
    Objects *to = context;
    DEFER(object_free) Object *object = NULL;
    Error *err = object_unpack(bytes, size, &object);

    if (err)
        return err;
    if (to->n == to->room) {
        to->room = to->room ? 2 * to->room : 64;
        to->list = xrealloc(to->list, to->room * sizeof *to->list);
    }
    ProtobufCBinaryData *one = &to->list[to->n++];
    *one = (ProtobufCBinaryData){.len = size, .data = xmalloc(size)};
    memcpy(one->data, bytes, size);
    to->octets += size;
    return to->octets < PART_OCTETS ? NULL : objects_say(to);
}

static Error *state_answer(const Question *question)
{
    DEFER(objects_done) Objects objects = {.question = question};
    Buf file = {0};
    uint64_t revision = 0;
    char id[65];

    Error *err = restic_resolve(question->restic, question->read->snapshot, 0, id);
    if (!err)
        err = restic_dump(question->restic, id, "/state/" STATE_OBJECTS, STATE_MAX, &file);
    objects.snapshot = id;
    if (!err)
        err = error_in(state_file_read(file.data, file.size, &revision, object_take, &objects), "snapshot %.12s: state",
                       id);
    if (!err)
        err = objects_say(&objects);
    if (file.room)
        wipe(file.data, file.room); /* secrets lie in it */
    buf_done(&file);
    return err;
}

Error *job_answer(Job *job, const Mail__BackupRead *read)
{
    DEFER(question_done) Question question = {.job = job, .read = read};
    bool whole = read->has_state && read->state;
    bool folders = read->snapshot && *read->snapshot, mailbox = read->mailbox && *read->mailbox;

    if (whole && !folders)
        return error_new(ERROR_INVALID, "which snapshot's state is not said");
    if (folders && !mailbox && !whole)
        return error_new(ERROR_INVALID, "which mailbox's folders is not said");
    if (!read->destination)
        return error_new(ERROR_INVALID, "which destination is not said");
    Error *err = mailbox ? mailbox_read(read->mailbox, &question.mailbox) : NULL;
    if (!err)
        err = restic_open_job(job, read->destination, 0, &question.restic);
    if (err)
        return err;
    if (whole)
        return state_answer(&question);
    return folders ? folders_answer(&question) : snapshots_answer(&question);
}
