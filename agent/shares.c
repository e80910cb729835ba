#include "shares.h"

#include "base/alloc.h"
#include "base/log.h"
#include "base/path.h"
#include "db.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SCHEMA = 1, FILE_MODE = 0660, BUSY_MS = 1000 };

static const char schema[] = "CREATE TABLE shared_user(to_name TEXT NOT NULL, from_user TEXT NOT NULL, there TEXT,"
                             " PRIMARY KEY (to_name, from_user)) WITHOUT ROWID;"
                             "CREATE TABLE shared_group(to_name TEXT NOT NULL, from_user TEXT NOT NULL, there TEXT,"
                             " PRIMARY KEY (to_name, from_user)) WITHOUT ROWID;"
                             "CREATE TABLE shared_anyone(from_user TEXT PRIMARY KEY, there TEXT) WITHOUT ROWID;";

/* Made before SQLite does it with another mode; -wal and -shm take it. */
static Error *file_there(const char *path, gid_t gid)
{
    DEFER(fd_close) int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, FILE_MODE);
    struct stat st;

    bool good = fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_uid == geteuid() &&
                (gid == (gid_t)-1 || fchown(fd, (uid_t)-1, gid) == 0) && fchmod(fd, FILE_MODE) == 0;
    return good ? NULL : error_new(ERROR_DAMAGED, "%s is no file of ours", path);
}

static Error *tables_there(sqlite3 *db)
{
    DEFER(db_finalize) sqlite3_stmt *get = NULL;
    bool row = false;

    Error *err = db_prepare(db, "PRAGMA user_version", &get);
    if (!err)
        err = db_row(get, &row);
    if (err)
        return err;
    int version = row ? sqlite3_column_int(get, 0) : -1;
    db_finalize(&get);
    if (version == SCHEMA)
        return db_exec(db, "SELECT 1 FROM shared_user LIMIT 1; SELECT 1 FROM shared_group LIMIT 1;"
                           " SELECT 1 FROM shared_anyone LIMIT 1");
    if (version != 0)
        return error_new(ERROR_DAMAGED, "shares.db has schema %d", version);
    DEFER(xfree) char *make = xasprintf("BEGIN IMMEDIATE; %s PRAGMA user_version=%d; COMMIT", schema, SCHEMA);
    err = db_exec(db, make);
    if (err)
        err->code = ERROR_DAMAGED; /* somebody else's tables */
    return err;
}

/* The dict process writes it, too: no code of the file's own runs here. */
static Error *make(const char *path, gid_t gid)
{
    DEFER(db_close) sqlite3 *db = NULL;

    Error *err = file_there(path, gid);
    if (err)
        return err;
    if (sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOFOLLOW, NULL) != SQLITE_OK)
        return db_error(db, "shares.db");
    sqlite3_busy_timeout(db, BUSY_MS);
    sqlite3_db_config(db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    sqlite3_db_config(db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
    err = db_exec(db, "PRAGMA journal_mode=WAL");
    return err ? err : tables_there(db);
}

Error *shares_make(const char *folder, gid_t gid)
{
    static const char *const parts[] = {"", "-wal", "-shm"};
    DEFER(xfree) char *path = xasprintf("%s/shares.db", folder);

    Error *err = make(path, gid);
    if (!err || err->code != ERROR_DAMAGED)
        return err;
    log_warning("shares.db begun anew: folders are listed again with the next SETACL of their owner",
                kv("why", err->what));
    error_free(&err);
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        DEFER(xfree) char *part = xasprintf("%s%s", path, parts[i]);
        unlink(part);
    }
    return make(path, gid);
}
