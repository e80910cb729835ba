/* file.h - users and groups from a JSON file, until the directory mirror brings them
 *
 *     {"users":  [{"uuid": "...", "name": "alice", "full_name": "Alice A.", "enabled": true}],
 *      "groups": [{"uuid": "...", "name": "staff", "users": ["alice"], "groups": []}]}
 *
 * Read again when the file changes.  While there is none, no accounts are known and
 * the gate stays closed; a file that cannot be read as a whole changes nothing.
 */
#pragma once
#include "base/loop.h"
#include "report.pb-c.h"
#include "tables/mail_db.h"

typedef struct Accounts Accounts;

enum { ACCOUNTS_FILE_MAX = 64 * 1024 * 1024, ACCOUNTS_LOOK_MS = 200 };

Accounts *accounts_new(const char *file); /* NULL: no accounts ever */
void accounts_free(Accounts **accounts);
void accounts_run(Accounts *accounts, Msec now); /* looks at the file each ACCOUNTS_LOOK_MS */
void accounts_wait(const Accounts *accounts, Waiter *wake);

bool accounts_pending(const Accounts *accounts); /* what was read is not in the tables yet */
/* Between tables_begin and tables_commit: hands all of it over. */
CHECKED Error *accounts_write(const Accounts *accounts, Tables *tables);
void accounts_written(Accounts *accounts); /* the tables committed it */
void accounts_again(Accounts *accounts);   /* the tables lost it: read it anew */

/* As a fact; the text lives until the next call. */
Mail__FactState accounts_state(Accounts *accounts, const char **ret_text);

/* Reads one file.  INVALID: "accounts.json: users[3]: name is missing". */
typedef struct AccountSet AccountSet;
CHECKED Error *account_set_read(const char *file, AccountSet **ret_set);
void account_set_free(AccountSet **set);
size_t account_set_users(const AccountSet *set);
size_t account_set_groups(const AccountSet *set);
