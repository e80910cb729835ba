/* set.h - users and groups on their way to the tables: all of a directory at one moment, or what changed since
 *
 * Sets are chained in the order in which they came; one that is whole makes those before it needless.
 */
#pragma once
#include "base/error.h"
#include "tables/mail_db.h"

typedef struct AccountSet AccountSet;

AccountSet *account_set_new(bool whole);
void account_set_free(AccountSet **set); /* with those behind it */

/* Takes 'next', which may be NULL or a chain. */
void account_set_append(AccountSet **set, AccountSet *next);

/* Copied. */
void account_set_user(AccountSet *set, const AccountUser *user);
void account_set_group(AccountSet *set, const AccountGroup *group);
/* More users of the group that was said last, if it has this UUID; false: it has not. */
bool account_set_more(AccountSet *set, const char *uuid, const char *const *users, size_t n_users);

/* In a set that is not whole, after all that changed.  What comes back belongs into another one. */
void account_set_gone(AccountSet *set, bool user, const char *uuid);

const AccountSet *account_set_next(const AccountSet *set); /* in the chain; NULL: it is the last */
bool account_set_whole(const AccountSet *set);
bool account_set_empty(const AccountSet *set);   /* it is not whole, and nothing is in it */
size_t account_set_users(const AccountSet *set); /* of it alone, as is the next */
size_t account_set_groups(const AccountSet *set);
bool account_set_shrinks(const AccountSet *set); /* it may: somebody is gone, or it is whole */

/* Between tables_begin and tables_commit: hands all of the chain over. */
CHECKED Error *account_set_write(const AccountSet *set, Tables *tables);
