/* set.h - all users and groups of a directory at one moment, on their way to the tables */
#pragma once
#include "base/error.h"
#include "seal/digest.h"
#include "tables/mail_db.h"

typedef struct AccountSet AccountSet;

AccountSet *account_set_new(void);
void account_set_free(AccountSet **set);

/* Copied. */
void account_set_user(AccountSet *set, const AccountUser *user);
void account_set_group(AccountSet *set, const AccountGroup *group);
/* More users of the group that was said last, if it has this UUID; false: it has not. */
bool account_set_more(AccountSet *set, const char *uuid, const char *const *users, size_t n_users);

size_t account_set_users(const AccountSet *set);
size_t account_set_groups(const AccountSet *set);

/* Over everything in it, in the order in which it was said. */
Digest account_set_digest(const AccountSet *set);

/* Between tables_begin and tables_commit: hands all of it over. */
CHECKED Error *account_set_write(const AccountSet *set, Tables *tables);
