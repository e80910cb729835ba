/* acl.h - who may do what in a public mailbox: one entry of its list, in its one form
 *
 *     user:alice:read    group:sales:write    anyone:lr
 *
 * Rights are the letters of RFC 4314 2.1 in its order, or the word for a set of them
 * where there is one.
 */
#pragma once
#include "base/error.h"

#include <stdbool.h>

#define ACL_LETTERS_ALL "lrswipkxtea"

enum { ACL_LETTERS_SIZE = 12 };

typedef enum AclWho { ACL_USER, ACL_GROUP, ACL_ANYONE } AclWho;

typedef struct AclEntry {
    AclWho who;
    char *name; /* of the user or group as it is written, or in its one form; NULL: anyone */
    char letters[ACL_LETTERS_SIZE];
} AclEntry;

/* Type, name and rights, each checked; the name is what stands there.  INVALID with a way out. */
CHECKED Error *acl_read(const char *text, AclEntry *ret_entry);
char *acl_text(const AclEntry *entry); /* owned by the caller */
void acl_done(AclEntry *entry);
