/* A list out of a snapshot, of all mailboxes or of one: refused, or written again as the same octets. */
#include "fuzz.h"

#include "base/alloc.h"
#include "tasks/manifest_inside.h"

#include <string.h>

static void is_refusal(const Error *err)
{
    REQUIRE(err->code == ERROR_DAMAGED || err->code == ERROR_UNSUPPORTED);
    REQUIRE(!strchr(err->what, '\n'));
}

/* No name leads anywhere. */
static void is_name(const char *name)
{
    REQUIRE(!strchr(name, '/') && strcmp(name, ".") != 0 && strcmp(name, "..") != 0 && strlen(name) <= 255);
}

static void same(const Buf *out, const uint8_t *data, size_t size)
{
    REQUIRE(out->size == size && memcmp(out->data, data, size) == 0);
}

static void mailbox(const Buf *in)
{
    DEFER(mailbox_list_free) MailboxList *list = NULL;
    DEFER(error_free) Error *err = mailbox_list_read(in, &list);
    DEFER(buf_done) Buf out = {0};
    MailboxText text;

    REQUIRE((err == NULL) == (list != NULL));
    if (err) {
        is_refusal(err);
        return;
    }
    mailbox_text_begin(&text, &out);
    for (size_t i = 0; i < mailbox_list_count(list); i++) {
        const ManifestFolder *folder = mailbox_list_folder(list, i);
        is_name(folder->name);
        mailbox_text_folder(&text, folder->name);
        for (size_t j = 0; j < folder->n_messages; j++) {
            is_name(folder->messages[j].name);
            mailbox_text_message(&text, folder->messages[j].name, folder->messages[j].size, folder->messages[j].fresh);
        }
    }
    mailbox_text_end(&text);
    same(&out, in->data, in->size);
}

static void mailboxes(const Buf *in)
{
    DEFER(manifest_free) Manifest *manifest = NULL;
    DEFER(error_free) Error *err = manifest_read(in, &manifest);
    DEFER(buf_done) Buf out = {0};

    REQUIRE((err == NULL) == (manifest != NULL));
    if (err) {
        is_refusal(err);
        return;
    }
    size_t n = manifest_count(manifest);
    DEFER(xfree) ManifestEntry *entries = xcalloc(n + 1, sizeof *entries);
    for (size_t i = 0; i < n; i++) {
        entries[i] = *manifest_entry(manifest, i);
        is_name(entries[i].name);
        REQUIRE(manifest_find(manifest, entries[i].kind, entries[i].name) == manifest_entry(manifest, i));
    }
    manifest_text(entries, n, &out);
    same(&out, in->data, in->size);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    DEFER(buf_done) Buf in = {0};

    buf_append(&in, data, size);
    mailbox(&in);
    mailboxes(&in);
    return 0;
}
