/* What making and restoring share: the work folder, a file as memory, and the reader of a copy. */
#include "copy_inside.h"

#include "base/alloc.h"
#include "seal/keys.h"
#include "seal/parcel.h"

#include <assert.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PIECE = 64 * 1024 };

Error *mapped_open(const char *path, Mapped *ret_mapped)
{
    DEFER(fd_close) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    struct stat st;

    if (fd < 0 || fstat(fd, &st) != 0)
        return error_system("%s", path);
    if (st.st_size == 0)
        return error_new(ERROR_DAMAGED, "%s is empty", path);
    void *data = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (data == MAP_FAILED)
        return error_system("%s", path);
    *ret_mapped = (Mapped){.data = data, .size = (size_t)st.st_size};
    return NULL;
}

void mapped_done(Mapped *mapped)
{
    if (mapped->data)
        munmap(mapped->data, mapped->size);
    *mapped = (Mapped){0};
}

/* ---- the work folder ---- */

Path copy_work_in(const char *root, const char *name, const char *file)
{
    return path_in(root, "var/lib/mailnode/controller/%s/%s", name, file);
}

void copy_work_remove(const char *root, const char *name)
{
    Path folder = path_in(root, "var/lib/mailnode/controller/%s", name);
    DEFER(dir_close) DIR *dir = opendir(folder.text);
    const struct dirent *entry;

    while (dir && (entry = readdir(dir)) != NULL)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            unlinkat(dirfd(dir), entry->d_name, 0);
    rmdir(folder.text);
}

Error *copy_work_make(const char *root, const char *name)
{
    copy_work_remove(root, name);
    return folder_make(path_in(root, "var/lib/mailnode/controller/%s", name).text, S_IRWXU, (uid_t)-1, (gid_t)-1);
}

/* ---- reading a copy ---- */

void copy_head_free(Mail__CopyHead **head)
{
    if (!*head)
        return;
    if ((*head)->seal_key.data)
        wipe((*head)->seal_key.data, (*head)->seal_key.len);
    if ((*head)->identity.data)
        wipe((*head)->identity.data, (*head)->identity.len);
    mail__copy_head__free_unpacked(*head, NULL);
    *head = NULL;
}

/* NULL: all is there. */
static const char *head_lacks(const Mail__CopyHead *head)
{
    const Mail__CopyInfo *info = head->info;

    if (!info || !info->has_revision || !info->has_time || !info->release)
        return "what it is";
    if (info->chain.len != DIGEST_SIZE || info->store_digest.len != DIGEST_SIZE)
        return "a digest";
    if (info->store_bytes == 0)
        return "the store";
    if (!info->controller_key || !curve_key_valid(info->controller_key) || head->identity.len == 0 ||
        head->identity.len > COPY_IDENTITY_MAX)
        return "the identity";
    return head->seal_key.len == COPY_KEY_SIZE ? NULL : "the key of its secrets";
}

static Error *head_read(ParcelIn *in, Mail__CopyHead **ret_head)
{
    uint8_t octets[4];
    DEFER(copy_head_free) Mail__CopyHead *head = NULL;

    Error *err = parcel_read(in, octets, sizeof octets);
    if (err)
        return err;
    size_t size = (size_t)octets[0] << 24 | (size_t)octets[1] << 16 | (size_t)octets[2] << 8 | octets[3];
    if (size == 0 || size > COPY_HEAD_MAX)
        return error_new(ERROR_INVALID, "it is sealed, and no copy of a controller");
    DEFER(xfree) uint8_t *packed = xmalloc(size);
    err = parcel_read(in, packed, size);
    if (!err)
        head = mail__copy_head__unpack(NULL, size, packed);
    wipe(packed, size);
    if (err)
        return err;
    const char *lacks = head ? head_lacks(head) : "everything";
    if (lacks)
        return error_new(ERROR_DAMAGED, "%s is missing in it, or not as it should be", lacks);
    *ret_head = head;
    head = NULL;
    return NULL;
}

static Error *store_read(ParcelIn *in, uint64_t size, CopyTake *take, void *context)
{
    DEFER(xfree) uint8_t *piece = xmalloc(PIECE);
    Error *err = NULL;

    while (!err && size) {
        size_t now = size < PIECE ? (size_t)size : PIECE;
        err = parcel_read(in, piece, now);
        if (!err)
            err = take(context, piece, now);
        size -= now;
    }
    return err;
}

Error *copy_read(int fd, const Secret *password, Mail__CopyHead **ret_head, CopyTake *take, void *context)
{
    DEFER(parcel_in_free) ParcelIn *in = NULL;
    DEFER(copy_head_free) Mail__CopyHead *head = NULL;

    Error *err = parcel_open(fd, password, &in);
    if (!err)
        err = head_read(in, &head);
    if (err)
        return err;
    assert(head);
    err = store_read(in, head->info->store_bytes, take, context);
    if (!err)
        err = parcel_end(in);
    if (err)
        return err;
    *ret_head = head;
    head = NULL;
    return NULL;
}

Error *copy_audit(const char *store, Store **ret_store)
{
    DEFER(store_free) Store *opened = NULL;

    Error *err = store_open(store, &opened);
    if (!err)
        err = store_audit(opened);
    if (err)
        return err;
    *ret_store = opened;
    opened = NULL;
    return NULL;
}
