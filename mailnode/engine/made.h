/* made.h - public mailboxes that users have made by IMAP, for the controller to take over (SPEC F-055)
 *
 * When a folder has come, gone or been renamed below PLACE_PUBLIC, a child with the uid of vmail brings the disk in line
 * with mail.db (publish.h) and tells which folders nobody has stated.  They are told, with the rights that Dovecot has
 * given them, until they are stated or gone; while nothing comes of that they are looked at every 30 s.  What lies below "Restored folder" stays as it is.
 *
 * A folder is told when its rights have been the same for a second: Dovecot copies those of the folder above one by one.
 *
 * Source: Dovecot 2.3, acl-mailbox.c: acl_mailbox_copy_acls_from_parent; RFC 4314.
 */
#pragma once
#include "engine/change.h"

typedef struct Made Made;

enum { MADE_MAX = 20 }; /* told at a time */

Made *made_new(const char *root, Happened *happened); /* both outlive it */
void made_free(Made **made);
void made_run(Made *made, const NodeState *state, Msec now); /* state: in force; NULL: none */
void made_again(Made *made);                                 /* what is stated has changed */
void made_wait(const Made *made, Waiter *wake);
Mail__PublicMade *const *made_list(const Made *made, size_t *ret_n); /* borrowed until the next made_run */

/* What the child does behind publish: name is a public mailbox's, acl as the model has it, at most MADE_ACL_BYTES_MAX
 * octets in all.  NULL name: 'folder' has a name that the model does not have.  now_s: of the wall clock.
 * *ret_again: rights of one are too young, and to be looked at again. */
enum { MADE_ACL_BYTES_MAX = 40 * 1024 };
typedef void MadeEach(void *context, const char *folder, const char *name, char *const *acl, size_t n_acl);
CHECKED Error *made_look(const char *public_folder, uint64_t now_s, MadeEach *each, void *context, bool *ret_again);
