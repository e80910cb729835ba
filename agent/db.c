#include "db.h"

#include "base/alloc.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

Error *db_error(sqlite3 *db, const char *doing)
{
    int code = db ? sqlite3_errcode(db) : SQLITE_NOMEM;
    const char *words = db ? sqlite3_errmsg(db) : "no connection";

    if (code == SQLITE_CORRUPT || code == SQLITE_NOTADB || strncmp(words, "no such ", 8) == 0 ||
        strstr(words, "malformed"))
        return error_new(ERROR_DAMAGED, "%s: %s", doing, words);
    if (code == SQLITE_FULL)
        return error_new(ERROR_SYSTEM, "%s: disk full", doing);
    return error_new(ERROR_SYSTEM, "%s: %s", doing, words);
}

Error *db_exec(sqlite3 *db, const char *sql)
{
    return sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK ? NULL : db_error(db, "write");
}

Error *db_open(const char *path, sqlite3 **ret_db)
{
    DEFER(db_close) sqlite3 *db = NULL;

    /* Made before SQLite does it with 0644; -wal and -shm take its mode. */
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return error_in(error_system("open"), "%s", path);
    close(fd);
    if (sqlite3_open_v2(path, &db,
                        SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOFOLLOW | SQLITE_OPEN_NOMUTEX,
                        NULL) != SQLITE_OK)
        return error_in(db_error(db, "open"), "%s", path);
    sqlite3_extended_result_codes(db, 0);
    /* 4 MB of pages: a snapshot spills into the WAL instead of growing in memory. */
    Error *err = db_exec(db, "PRAGMA cache_size=-4000; PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;"
                             "PRAGMA journal_size_limit=4000000");
    if (err)
        return error_in(err, "%s", path);
    *ret_db = db;
    db = NULL;
    return NULL;
}

void db_close(sqlite3 **db)
{
    sqlite3_close_v2(*db);
    *db = NULL;
}

Error *db_prepare(sqlite3 *db, const char *sql, sqlite3_stmt **ret_stmt)
{
    return sqlite3_prepare_v3(db, sql, -1, SQLITE_PREPARE_PERSISTENT, ret_stmt, NULL) == SQLITE_OK
               ? NULL
               : db_error(db, "prepare");
}

void db_finalize(sqlite3_stmt **stmt)
{
    sqlite3_finalize(*stmt);
    *stmt = NULL;
}

Error *db_run(sqlite3_stmt *stmt)
{
    bool row = false;

    Error *err = db_row(stmt, &row);
    if (!err && row)
        sqlite3_reset(stmt);
    return err;
}

Error *db_row(sqlite3_stmt *stmt, bool *ret_row)
{
    Error *err = NULL;
    int code = sqlite3_step(stmt);

    if (code != SQLITE_ROW && code != SQLITE_DONE)
        err = db_error(sqlite3_db_handle(stmt), sqlite3_stmt_readonly(stmt) ? "read" : "write");
    if (code != SQLITE_ROW)
        sqlite3_reset(stmt);
    *ret_row = code == SQLITE_ROW;
    return err;
}

void db_bind_text(sqlite3_stmt *stmt, int column, const char *text)
{
    sqlite3_bind_text(stmt, column, text ? text : "", -1, SQLITE_STATIC);
}

uint64_t db_number(sqlite3_stmt *stmt, int column)
{
    return (uint64_t)sqlite3_column_int64(stmt, column);
}
