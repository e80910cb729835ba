/* copy.h - all that makes a controller, as one sealed file: the store at one revision, its key file, its identity
 *
 * Made by a child of the running controller ("mail-controller --copy"), since it costs seconds and the loop has none to
 * give: SQLite copies the store as it is at one moment, the copy is opened and audited like any store, sealed
 * (seal/parcel.h), opened again and compared, and only then handed on.  What lies on the disk meanwhile lies in the store's own
 * folder and goes with the child, or with the next one.
 *
 * Restored by mail-controller itself, before it ever runs on a machine.
 */
#pragma once
#include "control.pb-c.h"
#include "seal/secret.h"

#include "base/error.h"

/* seal_key_derive of the store's key file, for this: opens the copies that nodes keep in their backups.  It comes back with
 * the store, and no node has it. */
#define COPY_KEY_PURPOSE "mailnode: copies of the controller in backups, 1"

/* The child's work: descriptor 0 speaks local/local.h; StoreCopy is asked, CopyPart... or a failure is the answer. */
CHECKED Error *copy_serve(const char *root);

/* Puts what 'fd' holds (from its place on) where a controller looks for it.  Everything is checked in a folder of its own
 * before anything stands there; the identity comes last, and without it no controller runs, so that a restore that was
 * broken off is repeated from the start.  Needs the controller's user and its lock.  EXISTS: a controller, or a store, is there
 * already; DENIED: another password; INVALID, DAMAGED: it is no copy, or not whole.  *ret_info is the caller's: copy_info_free. */
CHECKED Error *copy_restore(const char *root, int fd, const Secret *password, Mail__CopyInfo **ret_info);
void copy_info_free(Mail__CopyInfo **info);

/* Is there a restore that was broken off? */
bool copy_restore_broken(const char *root);
/* What a finished one may have left. */
void copy_restore_sweep(const char *root);
