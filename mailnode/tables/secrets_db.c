#include "tables/secrets_db.h"

#include "base/alloc.h"
#include "base/crash.h"
#include "base/path.h"
#include "tables/file.h"
#include "tables/sql.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* state.written: its rows are those of some revision, be it none.  relay.kind r, s, d.  login: by destination, as a service of master.cf is given it. */
static const char schema[] = "CREATE TABLE state(one INTEGER PRIMARY KEY CHECK (one = 1), digest BLOB NOT NULL,"
                             " written INTEGER NOT NULL);\n"
                             "CREATE TABLE relay(kind TEXT NOT NULL, subject TEXT NOT NULL, nexthop TEXT NOT NULL,"
                             " PRIMARY KEY (kind, subject)) WITHOUT ROWID;\n"
                             "CREATE TABLE login(dest TEXT PRIMARY KEY, login TEXT NOT NULL) WITHOUT ROWID;\n";

static const FileForm form = {
    .name = "secrets.db",
    .schema = schema,
    .version = SECRETS_SCHEMA,
    .state = "INSERT INTO state VALUES(1, zeroblob(32), 0)",
};

struct SecretsDb {
    char *path, *folder;
    sqlite3 *db;
    FileIds ids;
    Sql sql;
};

static Error *written_check(sqlite3 *db, bool *ret_empty)
{
    int64_t n = 0;
    Error *err = sql_number(db, "SELECT count(*) FROM state WHERE written", &n);

    *ret_empty = n == 0;
    return err;
}

/* The folder's group may have become right after the files were made: the agent is no member of it, and cannot give them
 * away, but what it makes anew inherits it. */
static Error *group_check(const char *path, const char *folder)
{
    struct stat file, above;

    if (stat(path, &file) != 0 || stat(folder, &above) != 0 || file.st_gid == above.st_gid)
        return NULL;
    return error_new(ERROR_DAMAGED, "%s has not the group of its folder", path);
}

static void group_mend(const char *path, const char *folder)
{
    static const char *const parts[] = {"", "-wal", "-shm"};
    Error *err = group_check(path, folder);

    for (size_t i = 0; err && i < sizeof parts / sizeof *parts; i++) {
        DEFER(xfree) char *file = xasprintf("%s%s", path, parts[i]);
        unlink(file);
    }
    error_free(&err);
}

Error *secrets_db_open(const char *folder, SecretsDb **ret_db, bool *ret_empty)
{
    DEFER(secrets_db_free) SecretsDb *db = xcalloc(1, sizeof *db);
    bool rebuilt = false, empty = false;

    db->path = xasprintf("%s/secrets.db", folder);
    db->folder = xstrdup(folder);
    Error *err = folder_make(folder, 02750, (uid_t)-1, (gid_t)-1); /* setgid: what is made in it gets its group */
    if (!err)
        group_mend(db->path, folder);
    if (!err)
        err = file_open(&form, db->path, (gid_t)-1, &db->db, &db->ids, &rebuilt);
    db->sql.db = db->db;
    /* What is compared is laid beside it in memory, and what goes leaves no octets behind. */
    if (!err)
        err = sql_exec(db->db, "PRAGMA secure_delete=ON; PRAGMA temp_store=MEMORY;"
                               "CREATE TEMP TABLE wanted_relay(kind TEXT, subject TEXT, nexthop TEXT);"
                               "CREATE TEMP TABLE wanted_login(dest TEXT, login TEXT)");
    if (!err)
        err = written_check(db->db, &empty);
    if (err)
        return err;
    *ret_empty = rebuilt || empty;
    *ret_db = db;
    db = NULL;
    return NULL;
}

void secrets_db_free(SecretsDb **db)
{
    if (!*db)
        return;
    sqlite3_close_v2((*db)->db);
    free((*db)->path);
    free((*db)->folder);
    free(*db);
    *db = NULL;
}

Error *secrets_db_check(const SecretsDb *db)
{
    Error *err = file_check(db->path, &db->ids);

    return err ? err : group_check(db->path, db->folder);
}

/* ---- writing ---- */

static Error *add(sqlite3 *db, const char *text, const char *a, const char *b, const char *c)
{
    sqlite3_stmt *stmt = NULL;
    const char *const cells[] = {a, b, c};

    if (sqlite3_prepare_v2(db, text, -1, &stmt, NULL) != SQLITE_OK)
        return sql_error(db, form.name);
    for (int i = 0; i < 3 && cells[i]; i++)
        sqlite3_bind_text(stmt, i + 1, cells[i], -1, SQLITE_STATIC);
    Error *err = sqlite3_step(stmt) == SQLITE_DONE ? NULL : sql_error(db, form.name);
    sqlite3_finalize(stmt);
    return err;
}

static Error *wanted(sqlite3 *db, const RelayRows *rows)
{
    Error *err = sql_exec(db, "DELETE FROM wanted_relay; DELETE FROM wanted_login");

    for (size_t i = 0; !err && i < rows->n_rows; i++)
        err = add(db, "INSERT INTO wanted_relay VALUES(?,?,?)", rows->rows[i].kind, rows->rows[i].subject,
                  rows->rows[i].nexthop);
    for (size_t i = 0; !err && i < rows->n_logins; i++)
        err = add(db, "INSERT INTO wanted_login VALUES(?,?)", rows->logins[i].dest, rows->logins[i].login, NULL);
    return err;
}

static Error *differences(sqlite3 *db, size_t *ret_n)
{
    static const char insert_relay[] = "INSERT INTO relay SELECT kind, subject, nexthop FROM wanted_relay"
                                       " EXCEPT SELECT kind, subject, nexthop FROM relay";
    static const char *const steps[] = {
        "DELETE FROM relay WHERE (kind, subject, nexthop) NOT IN (SELECT kind, subject, nexthop FROM wanted_relay)",
        "DELETE FROM login WHERE (dest, login) NOT IN (SELECT dest, login FROM wanted_login)",
        "INSERT INTO login SELECT dest, login FROM wanted_login EXCEPT SELECT dest, login FROM login",
        insert_relay,
        "UPDATE state SET written=1 WHERE NOT written",
    };
    Error *err = NULL;

    *ret_n = 0;
    for (size_t i = 0; !err && i < sizeof steps / sizeof *steps; i++) {
        err = sql_exec(db, steps[i]);
        *ret_n += (size_t)sqlite3_changes(db);
    }
    return err;
}

Error *secrets_db_write(SecretsDb *db, const RelayRows *rows, size_t *ret_n_written)
{
    size_t n = 0;
    Error *err = sql_exec(db->db, "BEGIN IMMEDIATE");

    if (!err)
        err = wanted(db->db, rows);
    if (!err)
        err = differences(db->db, &n);
    if (!err && n)
        CRASH_POINT("agent.relays.committing");
    if (!err)
        err = sql_exec(db->db, n ? "DELETE FROM wanted_relay; DELETE FROM wanted_login; COMMIT" : "ROLLBACK");
    if (err && !sqlite3_get_autocommit(db->db))
        sqlite3_exec(db->db, "ROLLBACK", NULL, NULL, NULL);
    if (err)
        return err;
    if (n)
        CRASH_POINT("agent.relays.committed");
    *ret_n_written = n;
    return NULL;
}
