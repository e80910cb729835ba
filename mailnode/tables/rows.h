/* rows.h - computed rows as data, and their way into a table
 *
 * Rows are computed as a set and laid beside what the table holds: what is equal is
 * not written.  The same comparison serves the increment, a snapshot and the audit.
 */
#pragma once
#include "tables/names.h"

#include "base/error.h"

#include <sqlite3.h>

typedef enum RowTable {
    ROWS_GATE,
    ROWS_POLICY,
    ROWS_DOMAIN,
    ROWS_RCPT,
    ROWS_EXPAND,
    ROWS_LOGIN,
    ROWS_USERDB,
    ROWS_PUBLIC,
    ROWS_EDGE,
    ROWS_STANDING,
    ROWS_RELAY_CLIENT,
    N_ROW_TABLES
} RowTable;

enum { ROW_CELLS_MAX = 6 };

typedef struct Rows {
    RowTable table;
    const char **cells; /* n_rows times the table's columns, NULL for NULL; keys first */
    size_t n_rows, room;
    struct Block *blocks; /* the texts */
} Rows;

void rows_init(Rows *rows, RowTable table);
void rows_done(Rows *rows);
void rows_clear(Rows *rows);
void rows_add(Rows *rows, const char *const cells[]); /* copies; of two equal keys the second is left out */

/* What becomes of differences, summed up over many calls. */
typedef struct Settle {
    size_t n_rows;                /* that differed, and were written */
    size_t n_there[N_ROW_TABLES]; /* rows that there should be, of those that were looked at */
    char *example;                /* the first that differed, told; owned by the caller */
    Names *users;                 /* when not NULL: whose row of userdb differed, up to users_max */
    size_t users_max;
    Names *left;   /* when not NULL: who lost a group, or a right to a public mailbox, up to users_max */
    bool all_left; /* or it may be anybody */
    bool public;   /* a row of that table differed */
} Settle;

/* The statements over the tables, prepared when first used. */
typedef struct RowWriter {
    sqlite3 *db;
    sqlite3_stmt *statements[N_ROW_TABLES][5];
} RowWriter;
void row_writer_reset(RowWriter *writer); /* nothing reads any more */
void row_writer_done(RowWriter *writer);

/* Makes the table's rows with this first key be 'rows', which are sorted by this.  Of expand a key goes with its
 * buckets; of rcpt the second key names one row, and without it the rows of the classes are meant. */
CHECKED Error *rows_settle(RowWriter *writer, Rows *rows, const char *first, const char *second, Settle *settle);

const char *row_table_name(RowTable table);
const char *const *rows_at(const Rows *rows, size_t i); /* its cells */

/* Up to 'limit' rows behind these keys, in their order: their keys go to 'out' (an empty key before all others). */
CHECKED Error *rows_keys(RowWriter *writer, RowTable table, const char *first, const char *second, size_t limit,
                         Rows *out);
