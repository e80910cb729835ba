/* accounts.h - asking for users and groups, page by page */
#pragma once
#include "call.h"

typedef void EachAccount(void *context, const Mail__Account *account);

/* At most 'limit' (0: all) behind the name 'after' (NULL: from the first), in the order of names.  *ret_user_domain (may be
 * NULL) is owned by the caller. */
CHECKED Error *accounts_each(Cli *cli, Mail__AccountKind kind, const char *name, const char *after, uint64_t limit,
                             EachAccount *each, void *context, char **ret_user_domain);
