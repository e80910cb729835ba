/* db.h - SQLite with our errors
 *
 * DAMAGED: the file does not read back (also when a table is missing); SYSTEM: the disk is full, or failed.
 */
#pragma once
#include "base/error.h"

#include <sqlite3.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Opens or makes the file (0600) in WAL mode, synchronous=FULL, with a small page cache. */
CHECKED Error *db_open(const char *path, sqlite3 **ret_db);
void db_close(sqlite3 **db);

/* What the last call on this connection said; never NULL. */
Error *db_error(sqlite3 *db, const char *doing);

CHECKED Error *db_exec(sqlite3 *db, const char *sql);
CHECKED Error *db_prepare(sqlite3 *db, const char *sql, sqlite3_stmt **ret_stmt);
void db_finalize(sqlite3_stmt **stmt);

/* Runs a statement that gives no rows, and resets it. */
CHECKED Error *db_run(sqlite3_stmt *stmt);
/* The next row, if there is one; after the last (and on error) the statement is reset. */
CHECKED Error *db_row(sqlite3_stmt *stmt, bool *ret_row);

/* NULL is bound as "": keys have no NULLs. */
void db_bind_text(sqlite3_stmt *stmt, int column, const char *text);
uint64_t db_number(sqlite3_stmt *stmt, int column);
