/* manifest.h - what a snapshot holds: every mailbox, every folder, every message with its size
 *
 * Written from the shadow just before restic reads it, so it says exactly what the snapshot has; read back from the
 * snapshot, where it spares a walk over a tree of any size and is what a restore is compared with.
 *
 *     STATE/manifest               a line for each mailbox: kind, name, folders, messages, bytes
 *     STATE/mailboxes/user/NAME    one for each user: for each folder its messages
 *     STATE/mailboxes/public/TOP   one for each public mailbox of the first level, with those below it
 *
 * What comes from a snapshot is hostile: a name that leads anywhere, a figure that does not add up, an order that is not the
 * writer's, an end that is missing are all DAMAGED, with the number of the line.
 */
#pragma once
#include "base/buf.h"
#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MANIFEST_FILE "manifest"
#define MANIFEST_MAILBOXES "mailboxes"

enum { MANIFEST_BYTES_MAX = 256 * 1024 * 1024 }; /* of one file: some 2.5 million messages */

/* ---- all mailboxes ---- */

typedef enum MailboxKind { MAILBOX_USER, MAILBOX_PUBLIC } MailboxKind;
extern const char *const mailbox_kind_name[]; /* "user", "public" */

typedef struct ManifestEntry {
    MailboxKind kind;
    const char *name; /* of the user; of a public mailbox the folder on the disk, ".A.B" */
    uint64_t folders, messages, bytes;
} ManifestEntry;

typedef struct Manifest Manifest;

CHECKED Error *manifest_read(const Buf *text, Manifest **ret_manifest); /* UNSUPPORTED: of a later version */
void manifest_free(Manifest **manifest);
size_t manifest_count(const Manifest *manifest);
const ManifestEntry *manifest_entry(const Manifest *manifest, size_t i);                          /* by kind and name */
const ManifestEntry *manifest_find(const Manifest *manifest, MailboxKind kind, const char *name); /* NULL: not there */

/* Where in a snapshot's STATE the list of this mailbox is: "mailboxes/user/alice"; owned by the caller. */
char *manifest_path(MailboxKind kind, const char *name);

/* ---- one mailbox ---- */

typedef struct ManifestMessage {
    const char *name; /* of the file, as it was */
    uint64_t size;
    bool fresh; /* in new, not in cur */
} ManifestMessage;

typedef struct ManifestFolder {
    const char *name; /* on the disk: "" is the mailbox itself (INBOX), ".Projects.Two" */
    uint64_t bytes;
    const ManifestMessage *messages;
    size_t n_messages;
} ManifestFolder;

typedef struct MailboxList MailboxList;

CHECKED Error *mailbox_list_read(const Buf *text, MailboxList **ret_list); /* UNSUPPORTED: of a later version */
void mailbox_list_free(MailboxList **list);
size_t mailbox_list_count(const MailboxList *list);
const ManifestFolder *mailbox_list_folder(const MailboxList *list, size_t i); /* sorted by name, octet by octet */

/* A folder with all that is below it: F itself and each "F." (Maildir++: they lie beside it).  Of "" (INBOX) its own
 * messages and what is really below it, ".INBOX.", not its siblings. */
typedef struct ManifestFamily {
    const ManifestFolder **folders; /* the array is the caller's to free, with xfree */
    size_t n;
    uint64_t messages, bytes;
} ManifestFamily;

/* NOT_FOUND: neither the folder nor one below it was there. */
CHECKED Error *mailbox_list_family(const MailboxList *list, const char *folder, ManifestFamily *ret_family);

/* Is 'name' the folder 'of', or below it? */
bool folder_within(const char *name, const char *of);

/* ---- written ---- */

typedef struct ManifestTotals {
    uint64_t mailboxes, folders, messages, bytes;
} ManifestTotals;

/* 'mail' and 'public' are the two shadows, 'state' an empty folder that nobody else writes in.  CONFLICT: cancelled. */
CHECKED Error *manifest_write(const char *mail, const char *public, const char *state, bool (*cancelled)(void *context),
                              void *context, ManifestTotals *ret_totals);
