/* The child that copies a running controller. */
#include "copy_inside.h"

#include "base/alloc.h"
#include "base/loop.h"
#include "local/local.h"
#include "seal/keys.h"
#include "seal/parcel.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { PATIENCE_MS = 10 * 1000, PART_BYTES = 128 * 1024 };

/* One for an admin and one for a node may be made at the same time: each in a folder of its own. */
typedef struct Making {
    const char *root, *work;
} Making;

static Path made_in(const Making *making, const char *file)
{
    return copy_work_in(making->root, making->work, file);
}

/* ---- what goes in ---- */

/* Without leaving a second name for the octets: the buffer is wiped by its owner. */
static Error *secret_file_read(const char *path, size_t max, ProtobufCBinaryData *out)
{
    DEFER(buf_done) Buf content = {0};

    buf_reserve(&content, max); /* at once: growing would leave copies behind */
    Error *err = file_read(path, max, &content);
    if (!err) {
        out->data = xmemdup(content.data, content.size);
        out->len = content.size;
    }
    wipe(content.data, content.room);
    return err;
}

static void binary_set(ProtobufCBinaryData *out, const void *data, size_t size)
{
    free(out->data);
    out->data = xmemdup(data, size);
    out->len = size;
}

/* What the copied store says of itself, as a controller would read it. */
static Error *store_ask(const Making *making, Mail__CopyInfo *info)
{
    Path copied = made_in(making, "store.db");
    DEFER(store_free) Store *store = NULL;
    Digest chain;

    Error *err = copy_audit(copied.text, &store);
    if (!err)
        err = store_chain(store, store_revision(store), &chain);
    if (err)
        return err;
    info->has_revision = info->has_n_objects = info->has_chain = true;
    info->revision = store_revision(store);
    info->n_objects = store_count(store);
    binary_set(&info->chain, chain.octets, sizeof chain.octets);
    return NULL;
}

static Error *identity_ask(const char *path, Mail__CopyHead *head)
{
    DEFER(identity_free) Identity *identity = NULL;

    Error *err = identity_read(path, &identity);
    if (!err)
        err = secret_file_read(path, COPY_IDENTITY_MAX, &head->identity);
    if (!err)
        head->info->controller_key = xstrdup(identity->public_key);
    head->has_identity = !err;
    return err;
}

/* The store's copy stands in the work folder afterwards, with its key file: audited. */
static Error *collect(const Making *making, Mail__CopyHead *head)
{
    Path store = path_in(making->root, "var/lib/mailnode/controller/store.db");
    Path key = path_in(making->root, "var/lib/mailnode/controller/secrets.key");
    Path identity = path_in(making->root, "etc/mailnode/controller/identity");

    Error *err = store_copy(store.text, made_in(making, "store.db").text);
    if (!err && link(key.text, made_in(making, "secrets.key").text) != 0)
        err = error_system("%s", key.text);
    if (!err)
        err = store_ask(making, head->info);
    if (!err)
        err = identity_ask(identity.text, head);
    if (!err)
        err = secret_file_read(key.text, COPY_KEY_SIZE, &head->seal_key);
    head->has_seal_key = !err;
    return err;
}

static Mail__CopyHead *head_new(void)
{
    Mail__CopyHead *head = xcalloc(1, sizeof *head);

    mail__copy_head__init(head);
    head->info = xcalloc(1, sizeof *head->info);
    mail__copy_info__init(head->info);
    head->info->has_time = true;
    head->info->time = (uint64_t)time(NULL);
    head->info->release = xstrdup(MAILNODE_RELEASE);
    return head;
}

/* ---- sealing ---- */

static Error *own_key(const char *path, Secret **ret_key)
{
    DEFER(seal_key_free) SealKey *key = NULL;

    Error *err = seal_key_open(path, false, &key);
    if (!err)
        *ret_key = seal_key_derive(key, COPY_KEY_PURPOSE);
    return err;
}

static Error *file_take(void *context, const void *data, size_t size)
{
    const uint8_t *octets = data;

    while (size) {
        ssize_t put = write(*(const int *)context, octets, size);
        if (put < 0)
            return error_system("write");
        octets += put;
        size -= (size_t)put;
    }
    return NULL;
}

static Error *head_add(ParcelOut *parcel, const Mail__CopyHead *head)
{
    size_t size = mail__copy_head__get_packed_size(head);
    uint8_t octets[4] = {(uint8_t)(size >> 24), (uint8_t)(size >> 16), (uint8_t)(size >> 8), (uint8_t)size};
    DEFER(xfree) uint8_t *packed = xmalloc(size);

    mail__copy_head__pack(head, packed);
    Error *err = parcel_add(parcel, octets, sizeof octets);
    if (!err)
        err = parcel_add(parcel, packed, size);
    wipe(packed, size);
    return err;
}

static Error *seal_into(int fd, const Secret *password, const Mail__CopyHead *head, const Mapped *store)
{
    DEFER(parcel_out_free) ParcelOut *parcel = NULL;

    Error *err = parcel_begin(password, file_take, &fd, &parcel);
    if (!err)
        err = head_add(parcel, head);
    if (!err)
        err = parcel_add(parcel, store->data, store->size);
    return err ? err : parcel_close(parcel);
}

/* ---- opening it again ---- */

typedef struct Compared {
    const Mapped *with;
    size_t at;
} Compared;

static Error *compare(void *context, const void *data, size_t size)
{
    Compared *compared = context;
    const uint8_t *store = compared->with->data;

    if (size > compared->with->size - compared->at || memcmp(store + compared->at, data, size) != 0)
        return error_new(ERROR_DAMAGED, "the store is not what was put in");
    compared->at += size;
    return NULL;
}

static Error *read_back(int fd, const Secret *password, const Mail__CopyHead *head, const Mapped *store)
{
    DEFER(copy_head_free) Mail__CopyHead *found = NULL;
    Compared compared = {.with = store};

    if (lseek(fd, 0, SEEK_SET) != 0)
        return error_system("lseek");
    Error *err = copy_read(fd, password, &found, compare, &compared);
    if (!err && (compared.at != store->size || found->info->revision != head->info->revision ||
                 found->identity.len != head->identity.len || found->seal_key.len != head->seal_key.len ||
                 memcmp(found->identity.data, head->identity.data, head->identity.len) != 0 ||
                 memcmp(found->seal_key.data, head->seal_key.data, head->seal_key.len) != 0))
        err = error_new(ERROR_DAMAGED, "it is not what was put in");
    return error_in(err, "the copy was opened again");
}

/* password NULL: the controller's own key.  *ret_fd, the caller's in any case, holds the sealed copy. */
static Error *make(const Making *making, const Secret *password, Mail__CopyHead *head, int *ret_fd)
{
    Path sealed = made_in(making, "sealed");
    DEFER(mapped_done) Mapped store = {0};
    DEFER(secret_free) Secret *own = NULL;

    Error *err = collect(making, head);
    if (!err)
        err = mapped_open(made_in(making, "store.db").text, &store);
    if (!err && !password)
        err = own_key(made_in(making, "secrets.key").text, &own);
    if (err)
        return err;
    password = password ? password : own;
    Digest digest = digest_of(store.data, store.size);
    head->info->has_store_bytes = head->info->has_store_digest = true;
    head->info->store_bytes = store.size;
    binary_set(&head->info->store_digest, digest.octets, sizeof digest.octets);
    int fd = *ret_fd = open(sealed.text, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, S_IRUSR | S_IWUSR);
    if (fd < 0)
        return error_system("%s", sealed.text);
    err = seal_into(fd, password, head, &store);
    return err ? err : read_back(fd, password, head, &store);
}

/* ---- to the controller ---- */

static Error *part_send(LocalPeer *parent, uint64_t about, const void *data, size_t size, Mail__CopyInfo *info)
{
    Envelope envelope = MAIL__ENVELOPE__INIT;
    Mail__CopyPart part = MAIL__COPY_PART__INIT;

    part.has_octets = size > 0;
    part.octets = (ProtobufCBinaryData){.len = size, .data = (uint8_t *)(uintptr_t)data};
    part.info = info;
    envelope.body_case = MAIL__ENVELOPE__BODY_COPY_PART;
    envelope.copy_part = &part;
    envelope.has_in_reply_to = envelope.has_last = true;
    envelope.in_reply_to = about;
    envelope.last = info != NULL;
    return local_call_send(parent, &envelope);
}

static Error *parts_send(LocalPeer *parent, uint64_t about, int fd, Mail__CopyInfo *info)
{
    DEFER(xfree) uint8_t *octets = xmalloc(PART_BYTES);
    Error *err = lseek(fd, 0, SEEK_SET) == 0 ? NULL : error_system("lseek");
    ssize_t got = 1;

    while (!err && got > 0) {
        got = read(fd, octets, PART_BYTES);
        if (got < 0)
            return error_system("read");
        err = got > 0 ? part_send(parent, about, octets, (size_t)got, NULL) : part_send(parent, about, NULL, 0, info);
    }
    return err;
}

static Error *failure_send(LocalPeer *parent, uint64_t about, Error *err)
{
    Envelope envelope = MAIL__ENVELOPE__INIT;
    Mail__Failure failure = failure_of(err);

    envelope.body_case = MAIL__ENVELOPE__BODY_FAILURE;
    envelope.failure = &failure;
    envelope.has_in_reply_to = envelope.has_last = envelope.last = true;
    envelope.in_reply_to = about;
    Error *unsaid = local_call_send(parent, &envelope);
    error_free(&err);
    return unsaid;
}

static Error *answer(const char *root, LocalPeer *parent, const Envelope *asked)
{
    const Mail__StoreCopy *wish = asked->store_copy;
    Making making = {.root = root, .work = wish->has_password ? "copy" : "copy-node"};
    DEFER(secret_free)
    Secret *password = wish->has_password ? secret_new(wish->password.data, wish->password.len) : NULL;
    DEFER(copy_head_free) Mail__CopyHead *head = head_new();
    DEFER(fd_close) int fd = -1;

    if (wish->password.data)
        wipe(wish->password.data, wish->password.len);
    Error *err = copy_work_make(making.root, making.work);
    if (!err)
        err = make(&making, password, head, &fd);
    copy_work_remove(making.root, making.work);
    return err ? failure_send(parent, asked->id, err) : parts_send(parent, asked->id, fd, head->info);
}

Error *copy_serve(const char *root)
{
    DEFER(local_peer_free) LocalPeer *parent = NULL;
    DEFER(envelope_free) Envelope *asked = NULL;
    Msec until = clock_ms() + PATIENCE_MS;
    uint64_t about = 0;

    signal(SIGPIPE, SIG_IGN);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    Error *err = local_adopt(STDIN_FILENO, "mail-controller", &parent);
    while (!err && !asked) {
        err = local_peer_run(parent);
        if (!err)
            err = local_receive(parent, &asked, &about);
        if (!err && !asked && clock_ms() >= until)
            err = error_new(ERROR_UNAVAILABLE, "nobody asks");
        if (err || asked)
            break;
        Waiter wake = waiter_start();
        local_peer_wait(parent, &wake);
        waiter_at(&wake, until);
        waiter_block(&wake);
    }
    if (err)
        return err;
    if (asked->body_case != MAIL__ENVELOPE__BODY_STORE_COPY)
        return error_new(ERROR_INVALID, "%s: nobody asks this of a copier", body_name(asked->body_case));
    return answer(root, parent, asked);
}
