/* restore_mail.h - what the mail store itself says of what was restored: asked of Dovecot, as its users ask
 *
 * doveadm with the configuration in force.  Masks end in "/": a folder's name may hold what stands for others.
 */
#pragma once
#include "base/error.h"
#include "tasks/restore_family.h"

#include <stdbool.h>
#include <stdint.h>

/* NOT_FOUND: nobody of this name.  The mailbox is made where it was never used yet. */
CHECKED Error *mail_user_there(const char *root, const char *user);

/* Messages in all folders below "Restored folder". */
CHECKED Error *mail_restored(const char *root, const Family *family, uint64_t *ret_messages);

/* Counts the user's mail anew.  Is it more than the limit?  Without a limit it is not. */
CHECKED Error *mail_over_quota(const char *root, const char *user, bool *ret_over);
