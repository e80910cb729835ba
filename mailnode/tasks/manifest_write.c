#include "tasks/manifest_inside.h"
#include "tasks/shadow_inside.h"

#include "base/alloc.h"
#include "base/path.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct Writer {
    dev_t dev;
    int lists[2]; /* STATE/mailboxes/user, public */
    ManifestEntry *entries;
    char **names; /* of the entries */
    size_t n, room;
    bool (*cancelled)(void *context);
    void *context;
} Writer;

static void writer_done(Writer *writer)
{
    for (size_t i = 0; i < writer->n; i++)
        free(writer->names[i]);
    xfree(&writer->names);
    xfree(&writer->entries);
    fd_close(&writer->lists[MAILBOX_USER]);
    fd_close(&writer->lists[MAILBOX_PUBLIC]);
}

static void entry_add(Writer *writer, MailboxKind kind, const char *name, const ManifestTotals *figures)
{
    if (writer->n == writer->room) {
        writer->room = writer->room ? 2 * writer->room : 64;
        writer->entries = xrealloc(writer->entries, writer->room * sizeof *writer->entries);
        writer->names = xrealloc(writer->names, writer->room * sizeof *writer->names);
    }
    writer->names[writer->n] = xstrdup(name);
    writer->entries[writer->n] =
        (ManifestEntry){kind, writer->names[writer->n], figures->folders, figures->messages, figures->bytes};
    writer->n++;
}

/* No sync: after a power cut there is no run that would read it. */
static Error *put(int folder, const char *name, const Buf *text)
{
    DEFER(fd_close) int fd = openat(folder, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);

    if (fd < 0)
        return error_in(error_system("create"), "%s", name);
    for (size_t done = 0; done < text->size;) {
        ssize_t n = write(fd, text->data + done, text->size - done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return error_in(error_system("write"), "%s", name);
        done += (size_t)n;
    }
    return NULL;
}

/* ---- one mailbox ---- */

/* What the folder holds; its subfolders are 'subfolders', if there can be some. */
static Error *messages_put(const ShadowSide *side, ShadowLevel level, const char *name, MailboxText *text,
                           ShadowList *subfolders)
{
    DEFER(shadow_list_done) ShadowList files = {0};

    mailbox_text_folder(text, name);
    Error *err = shadow_list(side, level, &files, subfolders, NULL);
    for (size_t i = 0; !err && i < files.n; i++) {
        const ShadowName *file = &files.names[i];
        struct stat st;
        if (file->part == SHADOW_SELF)
            continue;
        if (fstatat(side->fd[file->part], shadow_text(&files, file), &st, AT_SYMLINK_NOFOLLOW) != 0)
            err = error_system("stat");
        else
            mailbox_text_message(text, shadow_text(&files, file), (uint64_t)st.st_size, file->part == SHADOW_NEW);
    }
    return err;
}

static Error *subfolder_put(const Writer *writer, int store, const char *name, MailboxText *text)
{
    DEFER(shadow_side_close) ShadowSide side = SHADOW_NO_SIDE;
    DEFER(shadow_list_done) ShadowList none = {0};

    if (writer->cancelled && writer->cancelled(writer->context))
        return error_new(ERROR_CONFLICT, "cancelled");
    Error *err = shadow_side_open(store, name, LEVEL_FOLDER, writer->dev, &side);
    if (!err && side.fd[SHADOW_SELF] < 0)
        err = error_new(ERROR_CONFLICT, "it is gone");
    if (!err)
        err = messages_put(&side, LEVEL_FOLDER, name, text, &none);
    return error_in(err, "%s", name);
}

static Error *store_put(const Writer *writer, const ShadowSide *store, MailboxText *text)
{
    DEFER(shadow_list_done) ShadowList folders = {0};

    Error *err = messages_put(store, LEVEL_STORE, "", text, &folders);
    for (size_t i = 0; !err && i < folders.n; i++)
        err = subfolder_put(writer, store->fd[SHADOW_SELF], shadow_text(&folders, &folders.names[i]), text);
    return err;
}

static Error *user_put(Writer *writer, int homes, const char *name)
{
    DEFER(shadow_side_close) ShadowSide home = SHADOW_NO_SIDE;
    DEFER(shadow_side_close) ShadowSide store = SHADOW_NO_SIDE;
    DEFER(buf_done) Buf out = {0};
    MailboxText text;

    Error *err = shadow_side_open(homes, name, LEVEL_HOME, writer->dev, &home);
    if (!err && home.fd[SHADOW_SELF] >= 0)
        err = shadow_side_open(home.fd[SHADOW_SELF], "Maildir", LEVEL_STORE, writer->dev, &store);
    if (err || store.fd[SHADOW_SELF] < 0)
        return err; /* no mail yet: no mailbox */
    mailbox_text_begin(&text, &out);
    err = store_put(writer, &store, &text);
    mailbox_text_end(&text);
    if (!err)
        err = put(writer->lists[MAILBOX_USER], name, &out);
    if (!err)
        entry_add(writer, MAILBOX_USER, name, &text.totals);
    return err;
}

static Error *users_put(Writer *writer, const char *mail)
{
    DEFER(shadow_side_close) ShadowSide homes = SHADOW_NO_SIDE;
    DEFER(shadow_list_done) ShadowList files = {0};
    DEFER(shadow_list_done) ShadowList names = {0};

    Error *err = shadow_side_open(AT_FDCWD, mail, LEVEL_HOMES, writer->dev, &homes);
    if (!err)
        err = shadow_list(&homes, LEVEL_HOMES, &files, &names, NULL);
    for (size_t i = 0; !err && i < names.n; i++) {
        const char *name = shadow_text(&names, &names.names[i]);
        err = error_in(user_put(writer, homes.fd[SHADOW_SELF], name), "%s", name);
    }
    return error_in(err, "%s", mail);
}

/* ---- public mailboxes ---- */

static size_t top_len(const char *name)
{
    return 1 + strcspn(name + 1, ".");
}

/* By the first level, then by name: ".A B" stands between ".A" and ".A.B", and is another mailbox. */
static int by_top(const void *one, const void *other)
{
    const char *a = *(const char *const *)one, *b = *(const char *const *)other;
    size_t a_len = top_len(a), b_len = top_len(b);
    int order = memcmp(a, b, a_len < b_len ? a_len : b_len);

    if (order || a_len != b_len)
        return order ? order : (a_len < b_len ? -1 : 1);
    return strcmp(a, b);
}

/* Those of one first level are one list. */
static Error *top_put(Writer *writer, int store, const char *const *names, size_t n)
{
    DEFER(xfree) char *top = xstrndup(names[0] + 1, top_len(names[0]) - 1);
    DEFER(buf_done) Buf out = {0};
    MailboxText text;
    Error *err = NULL;

    mailbox_text_begin(&text, &out);
    for (size_t i = 0; !err && i < n; i++) {
        err = subfolder_put(writer, store, names[i], &text);
        ManifestTotals figures = {.folders = 1, .messages = text.n, .bytes = text.bytes};
        if (!err)
            entry_add(writer, MAILBOX_PUBLIC, names[i], &figures);
    }
    mailbox_text_end(&text);
    return err ? err : put(writer->lists[MAILBOX_PUBLIC], top, &out);
}

static Error *public_put(Writer *writer, const char *public)
{
    DEFER(shadow_side_close) ShadowSide store = SHADOW_NO_SIDE;
    DEFER(shadow_list_done) ShadowList files = {0};
    DEFER(shadow_list_done) ShadowList folders = {0};

    Error *err = shadow_side_open(AT_FDCWD, public, LEVEL_MAILDIRS, writer->dev, &store);
    if (!err)
        err = shadow_list(&store, LEVEL_MAILDIRS, &files, &folders, NULL);
    DEFER(xfree) const char **names = xcalloc(folders.n + 1, sizeof *names);
    for (size_t i = 0; i < folders.n; i++)
        names[i] = shadow_text(&folders, &folders.names[i]);
    qsort(names, folders.n, sizeof *names, by_top);
    for (size_t i = 0, n; !err && i < folders.n; i += n) {
        for (n = 1; i + n < folders.n && top_len(names[i + n]) == top_len(names[i]) &&
                    memcmp(names[i + n], names[i], top_len(names[i])) == 0;)
            n++;
        err = top_put(writer, store.fd[SHADOW_SELF], names + i, n);
    }
    return error_in(err, "%s", public);
}

/* ---- the whole ---- */

static Error *folder_new(int above, const char *name, int *ret_fd)
{
    if (mkdirat(above, name, 0700) != 0)
        return error_in(error_system("mkdir"), "%s", name);
    *ret_fd = openat(above, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    return *ret_fd < 0 ? error_in(error_system("open"), "%s", name) : NULL;
}

static Error *folders_new(Writer *writer, int state)
{
    DEFER(fd_close) int lists = -1;

    Error *err = folder_new(state, MANIFEST_MAILBOXES, &lists);
    for (int kind = MAILBOX_USER; !err && kind <= MAILBOX_PUBLIC; kind++)
        err = folder_new(lists, mailbox_kind_name[kind], &writer->lists[kind]);
    return err;
}

Error *manifest_write(const char *mail, const char *public, const char *state, bool (*cancelled)(void *context),
                      void *context, ManifestTotals *ret_totals)
{
    DEFER(fd_close) int fd = open(state, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DEFER(writer_done) Writer writer = {.lists = {-1, -1}, .cancelled = cancelled, .context = context};
    DEFER(buf_done) Buf out = {0};
    ManifestTotals totals = {0};
    struct stat st;

    if (fd < 0 || fstat(fd, &st) != 0)
        return error_in(error_system("open"), "%s", state);
    writer.dev = st.st_dev;
    Error *err = error_in(folders_new(&writer, fd), "%s", state);
    if (!err)
        err = users_put(&writer, mail);
    if (!err)
        err = public_put(&writer, public);
    if (err)
        return err;
    manifest_text(writer.entries, writer.n, &out);
    for (size_t i = 0; i < writer.n; i++) {
        totals.mailboxes++;
        totals.folders += writer.entries[i].folders;
        totals.messages += writer.entries[i].messages;
        totals.bytes += writer.entries[i].bytes;
    }
    err = put(fd, MANIFEST_FILE, &out);
    if (!err)
        *ret_totals = totals;
    return error_in(err, "%s", state);
}
