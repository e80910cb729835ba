/* sqlite.h - one connection for the store: kept statements on loan, and SQLite's failures as our errors
 *
 *     DEFER(query_done) Query query = {0};
 *     Error *err = query_start(sql, SQL_GET, &query, "ikk", (int64_t)ref->kind, ref->instance, ref->name);
 *     while (!err && !(err = query_row(&query, &row)) && row)
 *         ... query_number(&query, 0) ...
 *
 * A statement that is lent already gets a twin, so that loops may nest.  DAMAGED: the file does not read back;
 * SYSTEM: the disk is full, or failed.  SQLite undoes a whole transaction when it cannot go on: what comes after that
 * fails with the first words until sql_forgive.
 */
#pragma once
#include "base/error.h"
#include "seal/digest.h"
#include "store/statements.h"

#include <sqlite3.h>
#include <stddef.h>
#include <stdint.h>

typedef struct Sql {
    sqlite3 *db;
    char *path;
    sqlite3_stmt *kept[N_SQL];
    bool lent[N_SQL];
    bool in_transaction; /* as we know it */
    Error *lost;         /* SQLite knows better: why */
} Sql;

/* Opens or makes the file (0600); writes nothing into one that is there. */
CHECKED Error *sql_open(Sql *sql, const char *path);
CHECKED Error *sql_prepare_all(Sql *sql); /* a missing table is found here */
void sql_close(Sql *sql);

/* What the last call on this connection said. */
CHECKED Error *sql_error(Sql *sql);
CHECKED Error *sql_damaged(const Sql *sql, const char *words);

CHECKED Error *sql_exec(Sql *sql, const char *text);

CHECKED Error *sql_begin(Sql *sql);
CHECKED Error *sql_commit(Sql *sql); /* on error it is undone */
void sql_rollback(Sql *sql);
CHECKED Error *sql_lost(const Sql *sql);   /* a copy of why, NULL: the transaction lives */
void sql_lose(Sql *sql, const Error *why); /* what is open shall not be committed any more */

typedef struct Query {
    Sql *sql;
    sqlite3_stmt *stmt;
    int id; /* of the kept one; N_SQL: our own */
} Query;

/* Binds and is ready to step.  types: i int64_t; t text, NULL is NULL; k text, NULL is ""; d const Digest *;
 * b const void *, size_t.  Texts and octets are borrowed until query_done. */
CHECKED Error *query_start(Sql *sql, SqlId id, Query *ret_query, const char *types, ...);
/* A statement of one time: its parameters are bound by name. */
CHECKED Error *query_text(Sql *sql, const char *text, Query *ret_query);
void query_bind(Query *query, const char *name, const char *text); /* a parameter that is not there is left out */
void query_bind_number(Query *query, const char *name, int64_t number);
CHECKED Error *query_row(Query *query, bool *ret_row);
CHECKED Error *query_run(Sql *sql, SqlId id, const char *types, ...); /* without rows */
void query_again(Query *query);                                       /* back to before the first row */
void query_done(Query *query);

/* Columns of the row; texts and octets until the next step. */
uint64_t query_number(const Query *query, int column); /* NULL is 0 */
const char *query_words(const Query *query, int column);
const void *query_bytes(const Query *query, int column, size_t *ret_size);
CHECKED Error *query_digest(const Query *query, int column, Digest *ret_digest);
