#include "tasks/manifest_inside.h"

#include "base/alloc.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define MAILBOX_HEAD "mailnode-mailbox "
#define MANIFEST_HEAD "mailnode-manifest "

enum { VERSION = 1, FIELDS_MAX = 5, NAME_OCTETS_MAX = 255, DIGITS_MAX = 18 };

const char *const mailbox_kind_name[] = {[MAILBOX_USER] = "user", [MAILBOX_PUBLIC] = "public"};

/* ---- written ---- */

static bool is_plain(unsigned char octet)
{
    return octet >= 0x20 && octet <= 0x7e && octet != '\\';
}

static void name_put(Buf *out, const char *name)
{
    for (size_t plain; *name; name += plain) {
        for (plain = 0; is_plain((unsigned char)name[plain]);)
            plain++;
        buf_append(out, name, plain);
        if (!name[plain])
            break;
        buf_printf(out, "\\x%02x", (unsigned char)name[plain++]);
    }
}

void mailbox_text_begin(MailboxText *text, Buf *out)
{
    *text = (MailboxText){.out = out};
    buf_printf(out, MAILBOX_HEAD "%d\n", VERSION);
}

static void folder_end(MailboxText *text)
{
    if (!text->folder)
        return;
    buf_append_text(text->out, "F\t");
    name_put(text->out, text->folder);
    buf_printf(text->out, "\t%" PRIu64 "\t%" PRIu64 "\n", text->n, text->bytes);
    buf_append(text->out, text->lines.data, text->lines.size);
    buf_clear(&text->lines);
    text->totals.folders++;
    text->totals.messages += text->n;
    text->totals.bytes += text->bytes;
    text->n = text->bytes = 0;
    xfree(&text->folder);
}

void mailbox_text_folder(MailboxText *text, const char *name)
{
    folder_end(text);
    text->folder = xstrdup(name);
}

void mailbox_text_message(MailboxText *text, const char *name, uint64_t size, bool fresh)
{
    buf_printf(&text->lines, "%s\t%" PRIu64 "\t", fresh ? "N" : "C", size);
    name_put(&text->lines, name);
    buf_append_text(&text->lines, "\n");
    text->n++;
    text->bytes += size;
}

void mailbox_text_end(MailboxText *text)
{
    folder_end(text);
    buf_printf(text->out, "E\t%" PRIu64 "\t%" PRIu64 "\t%" PRIu64 "\n", text->totals.folders, text->totals.messages,
               text->totals.bytes);
    buf_done(&text->lines);
}

static int by_kind_and_name(const void *one, const void *other)
{
    const ManifestEntry *a = one, *b = other;

    return a->kind != b->kind ? (a->kind < b->kind ? -1 : 1) : strcmp(a->name, b->name);
}

void manifest_text(ManifestEntry *entries, size_t n, Buf *out)
{
    uint64_t messages = 0, bytes = 0;

    if (n)
        qsort(entries, n, sizeof *entries, by_kind_and_name);
    buf_printf(out, MANIFEST_HEAD "%d\n", VERSION);
    for (size_t i = 0; i < n; i++) {
        buf_printf(out, "%s\t", mailbox_kind_name[entries[i].kind]);
        name_put(out, entries[i].name);
        buf_printf(out, "\t%" PRIu64 "\t%" PRIu64 "\t%" PRIu64 "\n", entries[i].folders, entries[i].messages,
                   entries[i].bytes);
        messages += entries[i].messages;
        bytes += entries[i].bytes;
    }
    buf_printf(out, "E\t%zu\t%" PRIu64 "\t%" PRIu64 "\n", n, messages, bytes);
}

char *manifest_path(MailboxKind kind, const char *name)
{
    const char *top = kind == MAILBOX_PUBLIC ? name + 1 : name;
    size_t len = kind == MAILBOX_PUBLIC ? strcspn(top, ".") : strlen(top);

    return xasprintf(MANIFEST_MAILBOXES "/%s/%.*s", mailbox_kind_name[kind], (int)len, top);
}

/* ---- read: lines and fields ---- */

typedef struct Field {
    const char *text;
    size_t len;
} Field;

typedef struct Lines {
    const char *at, *end;
    size_t number;
    Field fields[FIELDS_MAX];
    size_t n_fields;
    char *texts, *texts_at; /* the names, without escapes: never longer than they are written */
} Lines;

static Error *damaged(const Lines *lines, const char *why)
{
    return error_new(ERROR_DAMAGED, "line %zu: %s", lines->number, why);
}

static Error *line_next(Lines *lines)
{
    const char *end = lines->at < lines->end ? memchr(lines->at, '\n', (size_t)(lines->end - lines->at)) : NULL;

    lines->number++;
    lines->n_fields = 0;
    if (!end)
        return damaged(lines, "the end is missing");
    for (;;) {
        const char *tab = memchr(lines->at, '\t', (size_t)(end - lines->at)), *until = tab ? tab : end;
        if (lines->n_fields == FIELDS_MAX)
            return damaged(lines, "too many fields");
        lines->fields[lines->n_fields++] = (Field){lines->at, (size_t)(until - lines->at)};
        lines->at = until + 1;
        if (!tab)
            return NULL;
    }
}

static bool field_is(const Lines *lines, size_t i, const char *word)
{
    const Field *field = &lines->fields[i];

    return field->len == strlen(word) && memcmp(field->text, word, field->len) == 0;
}

static Error *field_number(const Lines *lines, size_t i, uint64_t *ret_number)
{
    const Field *field = &lines->fields[i];
    uint64_t number = 0;

    if (!field->len || field->len > DIGITS_MAX || (field->text[0] == '0' && field->len > 1))
        return damaged(lines, "no such number");
    for (size_t at = 0; at < field->len; at++) {
        if (field->text[at] < '0' || field->text[at] > '9')
            return damaged(lines, "no such number");
        number = number * 10 + (uint64_t)(field->text[at] - '0');
    }
    *ret_number = number;
    return NULL;
}

static int digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : (c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1);
}

/* The octet of "\xHH" that is written so; 0: it is not. */
static unsigned char escaped(const char *text, size_t len)
{
    if (len < 4 || text[1] != 'x' || digit(text[2]) < 0 || digit(text[3]) < 0)
        return 0;
    unsigned char octet = (unsigned char)(digit(text[2]) << 4 | digit(text[3]));
    return is_plain(octet) ? 0 : octet;
}

static Error *field_name(Lines *lines, size_t i, const char **ret_name)
{
    const Field *field = &lines->fields[i];
    char *name = lines->texts_at;
    size_t len = 0;

    for (size_t at = 0; at < field->len; len++) {
        unsigned char octet = (unsigned char)field->text[at], step = 1;
        if (octet == '\\') {
            octet = escaped(field->text + at, field->len - at);
            step = 4;
        } else if (!is_plain(octet)) {
            octet = 0;
        }
        if (!octet || octet == '/')
            return damaged(lines, "no such name");
        name[len] = (char)octet;
        at += step;
    }
    name[len] = '\0';
    if (len > NAME_OCTETS_MAX)
        return damaged(lines, "the name is too long");
    lines->texts_at += len + 1;
    *ret_name = name;
    return NULL;
}

static bool name_of_home(const char *name)
{
    return *name && strcmp(name, ".") != 0 && strcmp(name, "..") != 0;
}

static bool name_of_subfolder(const char *name)
{
    return name[0] == '.' && name[1] && name[1] != '.';
}

/* The first line says what it is, and which version. */
static Error *lines_begin(Lines *lines, const Buf *text, const char *head)
{
    size_t len = strlen(head);
    uint64_t version = 0;

    *lines = (Lines){.at = (const char *)text->data, .end = (const char *)text->data + text->size};
    lines->texts = lines->texts_at = xmalloc(text->size + 1);
    if (!text->size)
        return error_new(ERROR_DAMAGED, "it is empty");
    Error *err = line_next(lines);
    if (err)
        return err;
    Field *field = &lines->fields[0];
    if (lines->n_fields != 1 || field->len <= len || memcmp(field->text, head, len) != 0)
        return damaged(lines, "it is no such list");
    *field = (Field){field->text + len, field->len - len};
    err = field_number(lines, 0, &version);
    if (!err && version > VERSION)
        err = error_new(ERROR_UNSUPPORTED, "written by a later version (%" PRIu64 ", known is %d)", version, VERSION);
    if (!err && version != VERSION)
        err = damaged(lines, "no such version");
    return err;
}

/* "E" and three figures, which must be those of what was read, and nothing behind. */
static Error *lines_end(Lines *lines, const uint64_t wanted[3])
{
    if (lines->n_fields != 4)
        return damaged(lines, "no such line");
    for (size_t i = 0; i < 3; i++) {
        uint64_t number = 0;
        Error *err = field_number(lines, i + 1, &number);
        if (!err && number != wanted[i])
            err = damaged(lines, "the figures do not add up");
        if (err)
            return err;
    }
    return lines->at == lines->end ? NULL : damaged(lines, "something follows the end");
}

static bool add(uint64_t *sum, uint64_t number)
{
    return !__builtin_add_overflow(*sum, number, sum);
}

/* ---- read: all mailboxes ---- */

struct Manifest {
    ManifestEntry *entries;
    size_t n, room;
    uint64_t messages, bytes;
    char *texts;
};

static Error *entry_read(Manifest *manifest, Lines *lines)
{
    bool public = field_is(lines, 0, mailbox_kind_name[MAILBOX_PUBLIC]);
    ManifestEntry entry = {.kind = public ? MAILBOX_PUBLIC : MAILBOX_USER, .name = ""};

    if (lines->n_fields != 5 || !field_is(lines, 0, mailbox_kind_name[entry.kind]))
        return damaged(lines, "no such line");
    Error *err = field_name(lines, 1, &entry.name);
    if (!err)
        err = field_number(lines, 2, &entry.folders);
    if (!err)
        err = field_number(lines, 3, &entry.messages);
    if (!err)
        err = field_number(lines, 4, &entry.bytes);
    if (err)
        return err;
    if (entry.kind == MAILBOX_USER ? !name_of_home(entry.name) : !name_of_subfolder(entry.name))
        return damaged(lines, "no such name");
    if (manifest->n && by_kind_and_name(&manifest->entries[manifest->n - 1], &entry) >= 0)
        return damaged(lines, "out of order");
    if (!add(&manifest->messages, entry.messages) || !add(&manifest->bytes, entry.bytes))
        return damaged(lines, "the figures do not add up");
    if (manifest->n == manifest->room) {
        manifest->room = manifest->room ? 2 * manifest->room : 64;
        manifest->entries = xrealloc(manifest->entries, manifest->room * sizeof *manifest->entries);
    }
    manifest->entries[manifest->n++] = entry;
    return NULL;
}

Error *manifest_read(const Buf *text, Manifest **ret_manifest)
{
    DEFER(manifest_free) Manifest *manifest = xcalloc(1, sizeof *manifest);
    Lines lines;

    Error *err = lines_begin(&lines, text, MANIFEST_HEAD);
    manifest->texts = lines.texts;
    while (!err) {
        err = line_next(&lines);
        if (!err && field_is(&lines, 0, "E"))
            break;
        if (!err)
            err = entry_read(manifest, &lines);
    }
    if (!err)
        err = lines_end(&lines, (const uint64_t[]){manifest->n, manifest->messages, manifest->bytes});
    if (err)
        return error_in(err, "manifest");
    *ret_manifest = manifest;
    manifest = NULL;
    return NULL;
}

void manifest_free(Manifest **manifest)
{
    if (!*manifest)
        return;
    xfree(&(*manifest)->entries);
    xfree(&(*manifest)->texts);
    xfree(manifest);
}

size_t manifest_count(const Manifest *manifest)
{
    return manifest->n;
}

const ManifestEntry *manifest_entry(const Manifest *manifest, size_t i)
{
    return &manifest->entries[i];
}

const ManifestEntry *manifest_find(const Manifest *manifest, MailboxKind kind, const char *name)
{
    const ManifestEntry wanted = {.kind = kind, .name = name};

    if (!manifest->n)
        return NULL;
    return bsearch(&wanted, manifest->entries, manifest->n, sizeof wanted, by_kind_and_name);
}

/* ---- read: one mailbox ---- */

struct MailboxList {
    ManifestFolder *folders;
    size_t n_folders, folders_room;
    ManifestMessage *messages;
    size_t n_messages, messages_room;
    uint64_t bytes;
    char *texts;
};

/* What the last folder's line promised. */
typedef struct Promise {
    uint64_t messages, bytes;
} Promise;

static Error *folder_kept(const MailboxList *list, const Lines *lines, const Promise *promise)
{
    const ManifestFolder *last = list->n_folders ? &list->folders[list->n_folders - 1] : NULL;

    if (last && (last->n_messages != promise->messages || last->bytes != promise->bytes))
        return damaged(lines, "the figures of the folder above do not add up");
    return NULL;
}

static Error *folder_read(MailboxList *list, Lines *lines, Promise *promise)
{
    ManifestFolder folder = {.name = ""};

    if (lines->n_fields != 4)
        return damaged(lines, "no such line");
    Error *err = folder_kept(list, lines, promise);
    if (!err)
        err = field_name(lines, 1, &folder.name);
    if (!err)
        err = field_number(lines, 2, &promise->messages);
    if (!err)
        err = field_number(lines, 3, &promise->bytes);
    if (err)
        return err;
    if (*folder.name && !name_of_subfolder(folder.name))
        return damaged(lines, "no such name");
    if (list->n_folders && strcmp(list->folders[list->n_folders - 1].name, folder.name) >= 0)
        return damaged(lines, "out of order");
    if (list->n_folders == list->folders_room) {
        list->folders_room = list->folders_room ? 2 * list->folders_room : 64;
        list->folders = xrealloc(list->folders, list->folders_room * sizeof *list->folders);
    }
    list->folders[list->n_folders++] = folder;
    return NULL;
}

static int message_order(const ManifestMessage *a, const ManifestMessage *b)
{
    size_t a_len = strcspn(a->name, ":"), b_len = strcspn(b->name, ":");
    int order = memcmp(a->name, b->name, a_len < b_len ? a_len : b_len);

    if (order)
        return order;
    if (a_len != b_len)
        return a_len < b_len ? -1 : 1;
    return a->fresh != b->fresh ? (a->fresh ? -1 : 1) : strcmp(a->name, b->name);
}

static Error *message_read(MailboxList *list, Lines *lines, bool fresh)
{
    ManifestFolder *folder = list->n_folders ? &list->folders[list->n_folders - 1] : NULL;
    ManifestMessage message = {.name = "", .fresh = fresh};

    if (!folder || lines->n_fields != 3)
        return damaged(lines, "no such line");
    Error *err = field_number(lines, 1, &message.size);
    if (!err)
        err = field_name(lines, 2, &message.name);
    if (err)
        return err;
    if (!*message.name || *message.name == '.')
        return damaged(lines, "no such name");
    if (folder->n_messages && message_order(&list->messages[list->n_messages - 1], &message) >= 0)
        return damaged(lines, "out of order");
    if (!add(&folder->bytes, message.size) || !add(&list->bytes, message.size))
        return damaged(lines, "the figures do not add up");
    if (list->n_messages == list->messages_room) {
        list->messages_room = list->messages_room ? 2 * list->messages_room : 256;
        list->messages = xrealloc(list->messages, list->messages_room * sizeof *list->messages);
    }
    list->messages[list->n_messages++] = message;
    folder->n_messages++;
    return NULL;
}

static Error *list_line(MailboxList *list, Lines *lines, Promise *promise)
{
    if (field_is(lines, 0, "F"))
        return folder_read(list, lines, promise);
    if (field_is(lines, 0, "C"))
        return message_read(list, lines, false);
    if (field_is(lines, 0, "N"))
        return message_read(list, lines, true);
    return damaged(lines, "no such line");
}

Error *mailbox_list_read(const Buf *text, MailboxList **ret_list)
{
    DEFER(mailbox_list_free) MailboxList *list = xcalloc(1, sizeof *list);
    Promise promise = {0};
    Lines lines;

    Error *err = lines_begin(&lines, text, MAILBOX_HEAD);
    list->texts = lines.texts;
    while (!err) {
        err = line_next(&lines);
        if (!err && field_is(&lines, 0, "E"))
            break;
        if (!err)
            err = list_line(list, &lines, &promise);
    }
    if (!err)
        err = folder_kept(list, &lines, &promise);
    if (!err)
        err = lines_end(&lines, (const uint64_t[]){list->n_folders, list->n_messages, list->bytes});
    if (err)
        return error_in(err, "list of the mailbox");

    for (size_t i = 0, at = 0; i < list->n_folders; at += list->folders[i++].n_messages)
        list->folders[i].messages = list->messages ? list->messages + at : NULL; /* no message at all */
    *ret_list = list;
    list = NULL;
    return NULL;
}

void mailbox_list_free(MailboxList **list)
{
    if (!*list)
        return;
    xfree(&(*list)->folders);
    xfree(&(*list)->messages);
    xfree(&(*list)->texts);
    xfree(list);
}

size_t mailbox_list_count(const MailboxList *list)
{
    return list->n_folders;
}

const ManifestFolder *mailbox_list_folder(const MailboxList *list, size_t i)
{
    return &list->folders[i];
}

/* Dovecot keeps the folders below INBOX as ".INBOX.NAME", beside all others. */
bool folder_within(const char *name, const char *of)
{
    size_t len = strlen(of);

    if (!len)
        return !*name || strncmp(name, ".INBOX.", strlen(".INBOX.")) == 0;
    return strncmp(name, of, len) == 0 && (!name[len] || name[len] == '.');
}

Error *mailbox_list_family(const MailboxList *list, const char *folder, ManifestFamily *ret_family)
{
    ManifestFamily family = {0};

    for (size_t i = 0; i < list->n_folders; i++) {
        const ManifestFolder *one = &list->folders[i];
        if (!folder_within(one->name, folder))
            continue;
        family.folders = xrealloc(family.folders, (family.n + 1) * sizeof *family.folders);
        family.folders[family.n++] = one;
        family.messages += one->n_messages;
        family.bytes += one->bytes;
    }
    if (!family.n)
        return error_new(ERROR_NOT_FOUND, "there is no such folder");
    *ret_family = family;
    return NULL;
}
