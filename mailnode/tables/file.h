/* file.h - mail.db and secrets.db as files: made, checked, with the owners that their readers need
 *
 * The three files of a WAL database are all needed by readers without privilege, and
 * none may be replaced under them: PERSIST_WAL keeps -wal and -shm at the end, and a
 * damaged database is emptied in place (CONTROL.md 3).
 */
#pragma once
#include "base/error.h"

#include <sqlite3.h>
#include <stdbool.h>
#include <sys/types.h>

extern const char tables_schema[]; /* schema.sql */

/* Which database. */
typedef struct FileForm {
    const char *name; /* "mail.db", for words */
    const char *schema;
    int version;       /* user_version */
    const char *state; /* the statement that makes the one row of its table 'state' */
} FileForm;
extern const FileForm file_mail_db;

enum { FILE_PARTS = 3 }; /* mail.db, -wal, -shm */

/* Which files are open, to see whether the path still leads to them. */
typedef struct FileIds {
    dev_t dev[FILE_PARTS];
    ino_t ino[FILE_PARTS];
} FileIds;

/* Opens for writing, makes what is not there.  *ret_rebuilt: it did not read back and was emptied.
 * UNSUPPORTED: of a newer schema; SYSTEM: not possible now. */
CHECKED Error *file_open(const FileForm *form, const char *path, gid_t gid, sqlite3 **ret_db, FileIds *ret_ids,
                         bool *ret_rebuilt);
CHECKED Error *file_open_reader(const char *path, sqlite3 **ret_db);

/* DAMAGED: somebody removed one, or put another in its place: what is written no reader sees. */
CHECKED Error *file_check(const char *path, const FileIds *ids);
