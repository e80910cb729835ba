/* publish.h - public mailboxes on the disk: their folders, and who may do what in them
 *
 * Called in a child that is vmail: mail.db says what there should be.  Each list of
 * rights (dovecot-acl) is written whole and takes the old one's place in one step.
 *
 * What an owner has changed by IMAP (RFC 4314, SETACL) stays until something else is
 * stated: mailnode-acl beside dovecot-acl is what was stated last.  A mailbox that is
 * no longer stated loses its rights, and so is seen by nobody; its mail stays.
 *
 * The list of the folder itself says who may make mailboxes.  Dovecot copies it to what is
 * made there, and holds it against whoever no line of a mailbox's own list is for: so while
 * it has somebody in it, each list has a line by which anyone has no right.
 *
 * Source: Dovecot 2.3, acl-backend.c: acl_backend_get_default_rights.
 */
#pragma once
#include "base/error.h"

#include <dirent.h>
#include <stdbool.h>

#define PUBLISH_RIGHTS "dovecot-acl"
#define PUBLISH_STATED "mailnode-acl"

/* folder: PLACE_PUBLIC.  UNAVAILABLE: mail.db cannot be read; what was written before an error is right. */
CHECKED Error *publish(const char *mail_db, const char *folder);

/* Of an entry of that folder: is it one with a name as the model makes them, and was it stated by that name (path: where it
 * is)? */
bool publish_is_folder(const struct dirent *entry);
bool publish_stated(const char *path, const char *name);
