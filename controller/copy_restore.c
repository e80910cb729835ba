#include "copy_inside.h"

#include "base/alloc.h"
#include "base/crash.h"
#include "base/utf8.h"
#include "seal/keys.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static const char work[] = "restoring"; /* its folder; as long as it is there, the restore is not over */

static Path place_of(const char *root, const char *file)
{
    return path_in(root, "var/lib/mailnode/controller/%s", file);
}

static Path identity_of(const char *root)
{
    return path_in(root, "etc/mailnode/controller/identity");
}

void copy_info_free(Mail__CopyInfo **info)
{
    if (*info)
        mail__copy_info__free_unpacked(*info, NULL);
    *info = NULL;
}

static bool there(const char *path)
{
    struct stat st;

    return lstat(path, &st) == 0;
}

bool copy_restore_broken(const char *root)
{
    return there(place_of(root, work).text) && !there(identity_of(root).text);
}

void copy_restore_sweep(const char *root)
{
    copy_work_remove(root, work);
}

/* ---- is the place empty? ---- */

static Error *exists(const char *path)
{
    return error_hint(error_new(ERROR_EXISTS, "there is a controller already: %s", path),
                      "restore on a machine without one, or move /etc/mailnode/controller and "
                      "/var/lib/mailnode/controller away");
}

/* Of a restore that was broken off: nobody has run with it, since the identity comes last. */
static void broken_remove(const char *root)
{
    static const char *const files[] = {"store.db", "store.db-wal", "store.db-shm", "secrets.key"};

    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        unlink(place_of(root, files[i]).text);
    copy_work_remove(root, work);
}

static Error *place_check(const char *root)
{
    static const char *const files[] = {"store.db", "secrets.key"};

    if (there(identity_of(root).text))
        return exists(identity_of(root).text);
    if (copy_restore_broken(root)) {
        broken_remove(root);
        return NULL;
    }
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        if (there(place_of(root, files[i]).text))
            return exists(place_of(root, files[i]).text);
    return NULL;
}

/* ---- unpacking, apart ---- */

static Error *file_take(void *context, const void *data, size_t size)
{
    const uint8_t *octets = data;

    while (size) {
        ssize_t put = write(*(const int *)context, octets, size);
        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0)
            return error_system("write");
        octets += put;
        size -= (size_t)put;
    }
    return NULL;
}

static Error *store_unpack(const char *root, int from, const Secret *password, Mail__CopyHead **ret_head)
{
    Path path = copy_work_in(root, work, "store.db");
    DEFER(fd_close) int fd = open(path.text, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, S_IRUSR | S_IWUSR);

    if (fd < 0)
        return error_system("%s", path.text);
    Error *err = copy_read(from, password, ret_head, file_take, &fd);
    if (!err && fsync(fd) != 0)
        err = error_system("%s", path.text);
    return err;
}

static Error *digest_check(const char *root, const Mail__CopyInfo *info)
{
    DEFER(mapped_done) Mapped store = {0};
    Digest wanted;

    Error *err = mapped_open(copy_work_in(root, work, "store.db").text, &store);
    if (err)
        return err;
    Digest digest = digest_of(store.data, store.size);
    if (digest_from(info->store_digest.data, info->store_digest.len, &wanted) && digest_equal(&wanted, &digest))
        return NULL;
    return error_new(ERROR_DAMAGED, "the store is not the one that was put in");
}

static Error *identity_check(const char *root, const Mail__CopyHead *head)
{
    Path path = copy_work_in(root, work, "identity");
    DEFER(identity_free) Identity *identity = NULL;

    Error *err = file_write(path.text, head->identity.data, head->identity.len, S_IRUSR | S_IWUSR, (gid_t)-1);
    if (!err)
        err = identity_read(path.text, &identity);
    if (!err && (identity->node || strcmp(identity->public_key, head->info->controller_key) != 0))
        err = error_new(ERROR_DAMAGED, "the identity is another one than it says");
    return err;
}

/* Told among the events, since who looks at the history a year later should find it. */
static Error *event_add(Store *store, const Mail__CopyInfo *info)
{
    Mail__EventInfo event = MAIL__EVENT_INFO__INIT;
    char made[32] = "";
    time_t at = (time_t)info->time;
    struct tm utc;
    uint64_t number = 0;

    strftime(made, sizeof made, "%Y-%m-%d %H:%M:%S UTC", gmtime_r(&at, &utc));
    DEFER(xfree)
    char *text =
        xasprintf("from a copy of %s, revision %" PRIu64 ", made by release %s", made, info->revision, info->release);
    event.has_time = event.has_severity = true;
    event.time = (uint64_t)time(NULL);
    event.severity = MAIL__FACT_STATE__GOOD;
    event.what = (char *)(uintptr_t) "controller restored";
    event.text = text;
    return store_event_add(store, &event, &number);
}

static Error *store_check(const char *root, const Mail__CopyInfo *info)
{
    DEFER(store_free) Store *store = NULL;
    Digest chain, wanted;

    Error *err = copy_audit(copy_work_in(root, work, "store.db").text, &store);
    if (!err)
        err = store_chain(store, store_revision(store), &chain);
    if (err)
        return err;
    if (store_revision(store) != info->revision || !digest_from(info->chain.data, info->chain.len, &wanted) ||
        !digest_equal(&wanted, &chain))
        return error_new(ERROR_DAMAGED, "the store stands at another revision than it says");
    return event_add(store, info);
}

static Error *stage(const char *root, int fd, const Secret *password, Mail__CopyHead **ret_head)
{
    Path key = copy_work_in(root, work, "secrets.key");

    Error *err = copy_work_make(root, work);
    if (!err)
        err = store_unpack(root, fd, password, ret_head);
    if (err)
        return err;
    assert(*ret_head);
    err = digest_check(root, (*ret_head)->info);
    if (!err)
        err = file_write(key.text, (*ret_head)->seal_key.data, (*ret_head)->seal_key.len, S_IRUSR | S_IWUSR, (gid_t)-1);
    if (!err)
        err = identity_check(root, *ret_head);
    return err ? err : store_check(root, (*ret_head)->info);
}

/* ---- into its place ---- */

static Error *folder_sync(const char *path)
{
    DEFER(fd_close) int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    return fd < 0 || fsync(fd) != 0 ? error_system("%s", path) : NULL;
}

static Error *move(const char *root, const char *file)
{
    Path from = copy_work_in(root, work, file), to = place_of(root, file);

    return rename(from.text, to.text) == 0 ? NULL : error_system("%s", to.text);
}

static Error *place(const char *root, const Mail__CopyHead *head)
{
    CRASH_POINT("controller.restore.checked");
    Error *err = move(root, "secrets.key");
    if (!err)
        err = move(root, "store.db");
    if (!err)
        err = folder_sync(path_in(root, "var/lib/mailnode/controller").text);
    if (err)
        return err;
    CRASH_POINT("controller.restore.placed");
    err = file_write(identity_of(root).text, head->identity.data, head->identity.len, S_IRUSR | S_IWUSR, (gid_t)-1);
    if (err)
        return err;
    CRASH_POINT("controller.restore.known");
    return NULL;
}

Error *copy_restore(const char *root, int fd, const Secret *password, Mail__CopyInfo **ret_info)
{
    DEFER(copy_head_free) Mail__CopyHead *head = NULL;

    Error *err = place_check(root);
    if (err)
        return err;
    err = stage(root, fd, password, &head);
    if (!err)
        err = place(root, head);
    if (err) {
        if (!there(identity_of(root).text))
            broken_remove(root);
        return err;
    }
    copy_work_remove(root, work);
    *ret_info = head->info;
    head->info = NULL;
    return NULL;
}
