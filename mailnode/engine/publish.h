/* publish.h - public mailboxes on the disk: their folders, and who may do what in them
 *
 * Called in a child that is vmail: mail.db says what there should be.  Each list of
 * rights (dovecot-acl) is written whole and takes the old one's place in one step.
 *
 * What an owner has changed by IMAP (RFC 4314, SETACL) stays until something else is
 * stated: mailnode-acl beside dovecot-acl is what was stated last.  A mailbox that is
 * no longer stated loses its rights, and so is seen by nobody; its mail stays.
 */
#pragma once
#include "base/error.h"

/* folder: PLACE_PUBLIC.  UNAVAILABLE: mail.db cannot be read; what was written before an error is right. */
CHECKED Error *publish(const char *mail_db, const char *folder);
