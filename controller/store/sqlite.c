#include "store/sqlite.h"

#include "base/alloc.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    CACHE_KB = 8000,          /* of pages: a large change spills into the WAL instead of growing in memory */
    WAL_KEPT_BYTES = 4000000, /* what a large change left of the WAL is given back */
    OTHERS_MS = 1000,         /* an admin's sqlite3 may hold the file that long */
};

/* ---- errors ---- */

Error *sql_damaged(const Sql *sql, const char *words)
{
    Error *err = error_new(ERROR_DAMAGED, "%s is damaged: %s", sql->path, words);
    return error_hint(err, "stop mail-controller, put a copy of it from the last backup in its place, start again; "
                           "mail goes on meanwhile, and nodes that know more are shown as forked until you decide");
}

static bool disk_full(sqlite3 *db)
{
    int code = sqlite3_errcode(db);

    return code == SQLITE_FULL || (code == SQLITE_IOERR && sqlite3_system_errno(db) == ENOSPC);
}

static Error *error_now(Sql *sql)
{
    int code = sqlite3_errcode(sql->db);
    const char *words = sqlite3_errmsg(sql->db);

    if (code == SQLITE_CORRUPT || code == SQLITE_NOTADB || strncmp(words, "no such ", 8) == 0)
        return sql_damaged(sql, words);
    if (disk_full(sql->db))
        return error_hint(error_new(ERROR_SYSTEM, "%s: disk full", sql->path), "make room and try again");
    if (code == SQLITE_BUSY)
        return error_hint(error_new(ERROR_SYSTEM, "%s is locked by another program", sql->path),
                          "end the program that has it open");
    if (code == SQLITE_IOERR && sqlite3_system_errno(sql->db))
        return error_new(ERROR_SYSTEM, "%s: %s: %s", sql->path, words, strerror(sqlite3_system_errno(sql->db)));
    return error_new(ERROR_SYSTEM, "%s: %s", sql->path, words);
}

static Error *copy_of(const Error *err)
{
    Error *copy = error_new(err->code, "%s", err->what);
    return err->hint ? error_hint(copy, "%s", err->hint) : copy;
}

void sql_lose(Sql *sql, const Error *why)
{
    if (sql->in_transaction && !sql->lost)
        sql->lost = copy_of(why);
}

Error *sql_error(Sql *sql)
{
    Error *err = error_now(sql);

    if (sqlite3_get_autocommit(sql->db))
        sql_lose(sql, err);
    return err;
}

Error *sql_lost(const Sql *sql)
{
    return sql->lost ? copy_of(sql->lost) : NULL;
}

/* ---- the connection ---- */

/* Made before SQLite does it with 0644; -wal and -shm take its mode.  A copy put back by hand may be readable by others. */
static Error *file_make(const char *path)
{
    struct stat st;
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

    if (fd < 0)
        return error_in(error_system("open"), "%s", path);
    if (fstat(fd, &st) == 0 && (st.st_mode & 077) && fchmod(fd, 0600) != 0) {
        Error *err = error_in(error_system("chmod"), "%s", path);
        close(fd);
        return err;
    }
    close(fd);
    return NULL;
}

Error *sql_open(Sql *sql, const char *path)
{
    *sql = (Sql){.path = xstrdup(path)};
    Error *err = file_make(path);
    if (err)
        return err;
    if (sqlite3_open_v2(path, &sql->db, SQLITE_OPEN_READWRITE, NULL) != SQLITE_OK)
        return sql_error(sql);
    sqlite3_extended_result_codes(sql->db, 0);
    sqlite3_busy_timeout(sql->db, OTHERS_MS);
    char *pragmas = xasprintf("PRAGMA cache_size=-%d; PRAGMA synchronous=FULL; PRAGMA secure_delete=ON; "
                              "PRAGMA journal_size_limit=%d",
                              CACHE_KB, WAL_KEPT_BYTES);
    err = sql_exec(sql, pragmas);
    free(pragmas);
    return err;
}

Error *sql_prepare_all(Sql *sql)
{
    for (int i = 0; i < N_SQL; i++)
        if (!sql->kept[i] &&
            sqlite3_prepare_v3(sql->db, statements[i], -1, SQLITE_PREPARE_PERSISTENT, &sql->kept[i], NULL) != SQLITE_OK)
            return sql_error(sql);
    return NULL;
}

void sql_close(Sql *sql)
{
    for (int i = 0; i < N_SQL; i++)
        sqlite3_finalize(sql->kept[i]);
    sqlite3_close(sql->db);
    error_free(&sql->lost);
    free(sql->path);
    *sql = (Sql){0};
}

Error *sql_exec(Sql *sql, const char *text)
{
    Error *err = sql_lost(sql);

    if (err)
        return err;
    return sqlite3_exec(sql->db, text, NULL, NULL, NULL) == SQLITE_OK ? NULL : sql_error(sql);
}

/* ---- transactions ---- */

Error *sql_begin(Sql *sql)
{
    assert(!sql->in_transaction);
    Error *err = query_run(sql, SQL_BEGIN, "");
    sql->in_transaction = !err;
    return err;
}

Error *sql_commit(Sql *sql)
{
    Error *err = query_run(sql, SQL_COMMIT, "");

    if (err) {
        sql_rollback(sql);
        return err;
    }
    sql->in_transaction = false;
    return NULL;
}

void sql_rollback(Sql *sql)
{
    if (!sqlite3_get_autocommit(sql->db))
        sqlite3_exec(sql->db, "ROLLBACK", NULL, NULL, NULL);
    sql->in_transaction = false;
    error_free(&sql->lost);
}

/* ---- statements ---- */

static void bind_all(sqlite3_stmt *stmt, const char *types, va_list args)
{
    for (int i = 0; types[i]; i++) {
        const char *text = NULL;
        const void *octets = NULL;
        switch (types[i]) {
        case 'i':
            sqlite3_bind_int64(stmt, i + 1, va_arg(args, int64_t));
            break;
        case 'd':
            sqlite3_bind_blob(stmt, i + 1, va_arg(args, const Digest *)->octets, DIGEST_SIZE, SQLITE_STATIC);
            break;
        case 'b':
            octets = va_arg(args, const void *);
            sqlite3_bind_blob64(stmt, i + 1, octets ? octets : "", va_arg(args, size_t), SQLITE_STATIC);
            break;
        default:
            text = va_arg(args, const char *);
            sqlite3_bind_text(stmt, i + 1, !text && types[i] == 'k' ? "" : text, -1, SQLITE_STATIC);
        }
    }
}

static Error *start(Sql *sql, SqlId id, Query *ret_query, const char *types, va_list args)
{
    *ret_query = (Query){.sql = sql, .id = N_SQL};
    Error *err = sql_lost(sql);
    if (err)
        return err;
    if (!sql->kept[id] || sql->lent[id]) { /* in use further out: a twin */
        if (sqlite3_prepare_v3(sql->db, statements[id], -1, 0, &ret_query->stmt, NULL) != SQLITE_OK)
            return sql_error(sql);
    } else {
        sql->lent[id] = true;
        *ret_query = (Query){.sql = sql, .stmt = sql->kept[id], .id = (int)id};
    }
    bind_all(ret_query->stmt, types, args);
    return NULL;
}

Error *query_start(Sql *sql, SqlId id, Query *ret_query, const char *types, ...)
{
    va_list args;

    va_start(args, types);
    Error *err = start(sql, id, ret_query, types, args);
    va_end(args);
    return err;
}

Error *query_text(Sql *sql, const char *text, Query *ret_query)
{
    sqlite3_stmt *stmt = NULL;

    Error *err = sql_lost(sql);
    if (err)
        return err;
    if (sqlite3_prepare_v3(sql->db, text, -1, 0, &stmt, NULL) != SQLITE_OK)
        return sql_error(sql);
    *ret_query = (Query){.sql = sql, .stmt = stmt, .id = N_SQL};
    return NULL;
}

void query_bind(Query *query, const char *name, const char *text)
{
    int index = sqlite3_bind_parameter_index(query->stmt, name);

    if (index)
        sqlite3_bind_text(query->stmt, index, text ? text : "", -1, SQLITE_STATIC);
}

void query_bind_number(Query *query, const char *name, int64_t number)
{
    int index = sqlite3_bind_parameter_index(query->stmt, name);

    if (index)
        sqlite3_bind_int64(query->stmt, index, number);
}

Error *query_row(Query *query, bool *ret_row)
{
    int code = sqlite3_step(query->stmt);

    if (code != SQLITE_ROW && code != SQLITE_DONE)
        return sql_error(query->sql);
    *ret_row = code == SQLITE_ROW;
    return NULL;
}

Error *query_run(Sql *sql, SqlId id, const char *types, ...)
{
    DEFER(query_done) Query query = {0};
    bool row = false;
    va_list args;

    va_start(args, types);
    Error *err = start(sql, id, &query, types, args);
    va_end(args);
    return err ? err : query_row(&query, &row);
}

void query_again(Query *query)
{
    sqlite3_reset(query->stmt);
}

void query_done(Query *query)
{
    if (!query->stmt)
        return;
    if (query->id == N_SQL) {
        sqlite3_finalize(query->stmt);
    } else {
        sqlite3_reset(query->stmt);
        query->sql->lent[query->id] = false;
    }
    *query = (Query){0};
}

uint64_t query_number(const Query *query, int column)
{
    return (uint64_t)sqlite3_column_int64(query->stmt, column);
}

const char *query_words(const Query *query, int column)
{
    return (const char *)sqlite3_column_text(query->stmt, column);
}

const void *query_bytes(const Query *query, int column, size_t *ret_size)
{
    const void *bytes = sqlite3_column_blob(query->stmt, column);

    *ret_size = (size_t)sqlite3_column_bytes(query->stmt, column);
    return bytes ? bytes : "";
}

Error *query_digest(const Query *query, int column, Digest *ret_digest)
{
    size_t size = 0;
    const void *bytes = query_bytes(query, column, &size);

    return digest_from(bytes, size, ret_digest) ? NULL : sql_damaged(query->sql, "a digest has not its size");
}
