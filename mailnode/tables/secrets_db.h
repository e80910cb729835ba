/* secrets_db.h - secrets.db: relay rules and their logins, as Postfix reads them
 *
 * Apart from mail.db, which Dovecot and the mail's user read, too: it lies in a folder
 * of its own whose group is postfix, which its files inherit.  Small, so it is always
 * written as a whole; what is equal is not written.
 */
#pragma once
#include "tables/relays.h"

#include "base/error.h"

enum { SECRETS_SCHEMA = 1 }; /* user_version */

typedef struct SecretsDb SecretsDb;

/* folder: .../tables/relay, made when it is not there.  *ret_empty: it was made, or did not read back and was emptied. */
CHECKED Error *secrets_db_open(const char *folder, SecretsDb **ret_db, bool *ret_empty);
void secrets_db_free(SecretsDb **db); /* keeps -wal and -shm: its reader has no privilege */

/* DAMAGED: somebody removed one of its files, or put another in its place, or its
 * group is not the folder's. */
CHECKED Error *secrets_db_check(const SecretsDb *db);

/* Makes its rows these, in one commit; says how many differed. */
CHECKED Error *secrets_db_write(SecretsDb *db, const RelayRows *rows, size_t *ret_n_written);
