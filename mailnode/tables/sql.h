/* sql.h - prepared statements over one connection, with Errors */
#pragma once
#include "base/error.h"

#include <sqlite3.h>
#include <stdint.h>

typedef enum SqlId {
    SQL_STATE,
    SQL_STATE_SET,
    SQL_POLICY,
    SQL_FACTS,
    SQL_USER,
    SQL_GROUP,
    SQL_GONE,
    SQL_NAMED,
    SQL_PUBLIC,
    SQL_MEMBERS,
    SQL_GROUP_GROUPS,
    SQL_GROUP_USERS,
    SQL_GROUP_MEMBERS,
    SQL_GROUPS_ABOVE,
    SQL_DEPENDENTS,
    SQL_EXEMPT,
    SQL_USER_NAMES,
    SQL_GROUP_NAMES,
    SQL_LOCAL_NAMES,
    SQL_FORWARDERS,
    SQL_USERDB_NAMES,
    SQL_WITHOUT_QUOTA,
    SQL_FULL_DIFFERS,
    SQL_EXPIRED,
    SQL_NEXT_EXPIRY,
    SQL_ALL_ACCOUNTS,
    SQL_ACCOUNT,
    SQL_ACCOUNT_COUNTS,
    SQL_ACCOUNT_NAMED,
    SQL_ACCOUNT_ADD,
    SQL_ACCOUNT_SET,
    SQL_ACCOUNT_DROP,
    SQL_MEMBER_ADD,
    SQL_MEMBER_DROP,
    SQL_MEMBERS_DROP,
    SQL_GONE_ADD,
    SQL_GONE_DROP,
    SQL_PEOPLE,
    SQL_PERSON,
    SQL_MAY_SEND,
    SQL_SENDERS,
    SQL_ORPHANS,
    N_SQL
} SqlId;

typedef struct Sql {
    sqlite3 *db;
    sqlite3_stmt *kept[N_SQL];
} Sql;

/* DAMAGED for what cannot be read, SYSTEM otherwise (disk full, I/O). */
CHECKED Error *sql_error(sqlite3 *db, const char *what);

CHECKED Error *sql_exec(sqlite3 *db, const char *text);
/* The first column of the first row; 0 when there is none. */
CHECKED Error *sql_number(sqlite3 *db, const char *text, int64_t *ret_number);

/* Binds and is ready to step.  types: t text or NULL, i int64_t, d Digest.  The statement is reset by its next start. */
CHECKED Error *sql_start(Sql *sql, SqlId id, sqlite3_stmt **ret_statement, const char *types, ...);
CHECKED Error *sql_row(Sql *sql, sqlite3_stmt *statement, bool *ret_got); /* false: that was all, and it is reset */
CHECKED Error *sql_run(Sql *sql, SqlId id, const char *types, ...);       /* rows are not looked at */

const char *sql_column(sqlite3_stmt *statement, int column); /* text, NULL for NULL; until the next step */

void sql_reset(Sql *sql); /* nothing reads any more */
void sql_done(Sql *sql);  /* finalizes; the connection is its owner's */
