/* target.h - where mail goes, as Postfix reads it: mailboxes and keys of expand, below pseudo-domains */
#pragma once
#include <stdbool.h>

/* Said at RCPT of what is refused anyway; nobody can have it.  So that mail that never passed RCPT falls through to no
 * catch-all, and bounces. */
#define TARGET_REFUSED "refused=@u.internal"

/* All are owned by the caller. */
char *target_mailbox(const char *user); /* "alice@u.internal"; what is no plain local part is quoted */

/* Of a public mailbox: 32 hex digits of its name's digest, so that no name is ever part of an address. */
char *target_public_key(const char *name);
char *target_public(const char *name); /* "p=KEY@u.internal" */

/* kind 'u' or 'g'.  "u=alice"; what a local part cannot have, and '+', as /XX: Postfix would cut a tag off. */
char *target_key(char kind, const char *name);
char *target_of_key(const char *key);                                   /* "u=alice@x.internal" */
bool target_key_read(const char *key, char *ret_kind, char **ret_name); /* false: not a key of ours; buckets are none */

char *name_fold(const char *name);  /* as all names in the tables: lower case */
bool name_usable(const char *name); /* not empty, without control characters */
