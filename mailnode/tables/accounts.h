/* accounts.h - users, groups and memberships as a directory has them, on their way into the tables
 *
 * The interface between whoever reads a directory (the mirror; in tests a file) and
 * the tables.  Rows are keyed by UUID, never by name: names change, people do not.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>

typedef struct AccountUser {
    const char *uuid;
    const char *name;      /* as the directory writes it; folded to lower case inside */
    const char *full_name; /* may be NULL */
    bool enabled;          /* no: logins are refused, mail is still accepted */
} AccountUser;

typedef struct AccountGroup {
    const char *uuid;
    const char *name;
    const char *const *users; /* names of members */
    size_t n_users;
    const char *const *groups; /* names of nested groups */
    size_t n_groups;
} AccountGroup;
