/* file.h - users and groups from a JSON file instead of a directory: for tests
 *
 *     {"users":  [{"uuid": "...", "name": "alice", "full_name": "Alice A.", "enabled": true}],
 *      "groups": [{"uuid": "...", "name": "staff", "users": ["alice"], "groups": []}]}
 *
 * Read again when the file changes.  A file that cannot be read as a whole changes nothing.
 */
#pragma once
#include "accounts/set.h"
#include "base/loop.h"

enum { ACCOUNTS_FILE_MAX = 64 * 1024 * 1024, ACCOUNTS_LOOK_MS = 200 };

typedef struct AccountFile AccountFile;

AccountFile *account_file_new(const char *path);
void account_file_free(AccountFile **file);
AccountSet *account_file_run(AccountFile *file, Msec now); /* looks each ACCOUNTS_LOOK_MS; NULL: nothing new */
void account_file_wait(const AccountFile *file, Waiter *wake);
void account_file_again(AccountFile *file);            /* shall be read anew */
const char *account_file_bad(const AccountFile *file); /* why it is not taken as it is now; NULL: it is */

/* Reads one file.  INVALID: "accounts.json: users[3]: name is missing". */
CHECKED Error *account_set_read(const char *file, AccountSet **ret_set);
