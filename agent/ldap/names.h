/* names.h - names of users and groups, on their way into a directory
 *
 * New names are those of model/account.h.  Whatever is there already may be looked at,
 * changed and removed.
 *
 * Source: RFC 4514 (DNs), RFC 4515 (filters).
 */
#pragma once
#include "base/error.h"
#include "control.pb-c.h"

typedef Mail__AccountKind AccountKind;

const char *account_kind_name(AccountKind kind); /* "user", "group" */

/* Of one that is to be made.  INVALID: "user Bob Smith: ' ' is not allowed", "user vmail: the name is taken by the system". */
CHECKED Error *name_new(AccountKind kind, const char *name, char **ret_name);

/* Of one that may be there: folded to lower case; nothing else but what cannot be a name is refused. */
CHECKED Error *name_known(AccountKind kind, const char *name, char **ret_name);

/* 'value' as a value in a DN, and in a filter; owned by the caller. */
char *dn_escape(const char *value);
char *filter_escape(const char *value);
