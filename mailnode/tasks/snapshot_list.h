/* snapshot_list.h - the lists that a snapshot has of itself (manifest.h), read out of the repository once
 *
 * Opening a repository costs a second or more, and a snapshot never changes: what was read stays in PLACE_LISTS/ID, as it
 * came.  Keeping is a courtesy: what cannot be kept, or does not read back, is read from the repository again.
 */
#pragma once
#include "tasks/manifest.h"
#include "tasks/restic.h"

/* id: 64 hex digits.  NOT_FOUND: the snapshot has no such list; DAMAGED, UNSUPPORTED: what it has is none that we read. */
CHECKED Error *snapshot_manifest(Restic *restic, const char *root, const char *id, Manifest **ret_manifest);
/* name: as a manifest has it. */
CHECKED Error *snapshot_mailbox(Restic *restic, const char *root, const char *id, MailboxKind kind, const char *name,
                                MailboxList **ret_list);

/* The manifest of a snapshot if it is here already; NULL otherwise. */
Manifest *snapshot_manifest_kept(const char *root, const char *id);

bool snapshot_mailbox_kept(const char *root, const char *id, MailboxKind kind, const char *name);

/* Of a backup that was just made: what manifest_write wrote into 'state' needs not be read back. */
void snapshot_manifest_keep(const char *root, const char *id, const char *state);
