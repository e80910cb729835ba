#include "tables/rows.h"

#include "base/alloc.h"
#include "base/buf.h"
#include "tables/sql.h"

#include <stdlib.h>
#include <string.h>

static const struct {
    const char *name;
    int n_keys, n_columns;
    const char *columns[ROW_CELLS_MAX];
} tables[N_ROW_TABLES] = {
    [ROWS_GATE] = {"gate", 1, 3, {"one", "known", "rest"}},
    [ROWS_POLICY] = {"policy", 1, 6, {"one", "quota", "spam_retention", "login", "senders", "creators"}},
    [ROWS_DOMAIN] = {"domain", 1, 4, {"name", "class", "verdict", "catchall"}},
    [ROWS_RCPT] = {"rcpt", 2, 5, {"local", "scope", "verdict", "dest", "senders"}},
    [ROWS_EXPAND] = {"expand", 2, 2, {"key", "target"}},
    [ROWS_LOGIN] = {"login", 1, 2, {"name", "action"}},
    [ROWS_USERDB] = {"userdb", 1, 6, {"name", "uuid", "login", "quota", "spam_retention", "acl_groups"}},
    [ROWS_PUBLIC] = {"public", 1, 4, {"name", "key", "folder", "acl"}},
    [ROWS_EDGE] = {"edge", 2, 2, {"src", "dst"}},
    [ROWS_STANDING] = {"standing", 1, 2, {"name", "facts"}},
    [ROWS_RELAY_CLIENT] = {"relay_client", 1, 3, {"network", "low", "high"}},
};

enum { BLOCK_SIZE = 256 * 1024 - 64 }; /* over malloc's mmap threshold: given back to the system when freed */
enum { SMALL_BLOCK_SIZE = 4096 };

typedef struct Block Block;
struct Block {
    Block *next;
    size_t used, size;
    char text[];
};

void rows_init(Rows *rows, RowTable table)
{
    *rows = (Rows){.table = table};
}

void rows_clear(Rows *rows)
{
    rows->n_rows = 0;
    while (rows->blocks && rows->blocks->next) {
        Block *block = rows->blocks;
        rows->blocks = block->next;
        free(block);
    }
    if (rows->blocks)
        rows->blocks->used = 0;
}

void rows_done(Rows *rows)
{
    rows_clear(rows);
    xfree(&rows->blocks);
    xfree(&rows->cells);
    rows->room = 0;
}

static const char *text_keep(Rows *rows, const char *text)
{
    size_t size = strlen(text) + 1;
    Block *block = rows->blocks;
    if (!block || block->size - block->used < size) {
        size_t room = block ? BLOCK_SIZE : SMALL_BLOCK_SIZE;
        if (room < size)
            room = size;
        block = xmalloc(sizeof *block + room);
        *block = (Block){.next = rows->blocks, .size = room};
        rows->blocks = block;
    }
    char *kept = block->text + block->used;
    memcpy(kept, text, size);
    block->used += size;
    return kept;
}

static const char **row_new(Rows *rows)
{
    int n = tables[rows->table].n_columns;

    if (rows->n_rows == rows->room) {
        rows->room = rows->room ? rows->room * 2 : 8;
        rows->cells = xrealloc(rows->cells, rows->room * (size_t)n * sizeof *rows->cells);
    }
    return rows->cells + rows->n_rows++ * (size_t)n;
}

void rows_add(Rows *rows, const char *const cells[])
{
    const char **row = row_new(rows);

    for (int i = 0; i < tables[rows->table].n_columns; i++)
        row[i] = cells[i] ? text_keep(rows, cells[i]) : NULL;
}

/* The texts stay those of another set. */
static void row_borrow(Rows *rows, const char *const cells[])
{
    memcpy(row_new(rows), cells, (size_t)tables[rows->table].n_columns * sizeof *cells);
}

static int keys_compare(const char *const *a, const char *const *b, int n_keys)
{
    int order = 0;
    for (int i = 0; i < n_keys && !order; i++)
        order = strcmp(a[i] ? a[i] : "", b[i] ? b[i] : ""); /* as SQLite's BINARY collation orders UTF-8 */
    return order;
}

static int compare_one(const void *a, const void *b)
{
    return keys_compare(a, b, 1);
}

static int compare_two(const void *a, const void *b)
{
    return keys_compare(a, b, 2);
}

static void rows_sort(Rows *rows)
{
    int n_keys = tables[rows->table].n_keys, n = tables[rows->table].n_columns;
    size_t size = (size_t)n * sizeof *rows->cells;
    if (rows->n_rows < 2)
        return;
    qsort(rows->cells, rows->n_rows, size, n_keys == 1 ? compare_one : compare_two);

    size_t kept = 1;
    for (size_t i = 1; i < rows->n_rows; i++) {
        const char **row = rows->cells + i * (size_t)n, **last = rows->cells + (kept - 1) * (size_t)n;
        if (keys_compare(row, last, n_keys) != 0)
            memmove(last + n, row, size), kept++;
    }
    rows->n_rows = kept;
}

enum { STATEMENT_HELD, STATEMENT_CLASSES, STATEMENT_PUT, STATEMENT_DROP, STATEMENT_KEYS, N_STATEMENTS };

static char *statement_text(RowTable table, int which)
{
    DEFER(buf_done) Buf columns = {0}, marks = {0}, keys = {0}, where = {0};
    int n_keys = tables[table].n_keys;

    for (int i = 0; i < tables[table].n_columns; i++) {
        const char *column = tables[table].columns[i];
        buf_printf(&columns, "%s%s", i ? "," : "", column);
        buf_printf(&marks, "%s?%d", i ? "," : "", i + 1);
        if (i < n_keys) {
            buf_printf(&keys, "%s%s", i ? "," : "", column);
            buf_printf(&where, "%s%s=?%d", i ? " AND " : "", column, i + 1);
        }
    }
    const char *name = tables[table].name, *all = buf_text(&columns), *key = buf_text(&keys);
    switch (which) {
    case STATEMENT_HELD:
        if (table == ROWS_EXPAND)
            return xasprintf("SELECT %s FROM expand WHERE key=?1 UNION ALL"
                             " SELECT %s FROM expand WHERE key>=?1||'==' AND key<?1||'=>' ORDER BY 1,2",
                             all, all);
        if (table == ROWS_EDGE)
            return xasprintf("SELECT %s FROM edge WHERE src=?1 ORDER BY 2", all);
        return xasprintf("SELECT %s FROM %s WHERE %s", all, name, buf_text(&where));
    case STATEMENT_CLASSES: /* they begin with '-', domains never do */
        return xasprintf("SELECT %s FROM rcpt WHERE local=?1 AND scope<'.' ORDER BY 2", all);
    case STATEMENT_PUT:
        return xasprintf("INSERT OR REPLACE INTO %s(%s) VALUES(%s)", name, all, buf_text(&marks));
    case STATEMENT_DROP:
        return xasprintf("DELETE FROM %s WHERE %s", name, buf_text(&where));
    default:
        return n_keys == 1 ? xasprintf("SELECT %s FROM %s WHERE %s>?1 ORDER BY 1 LIMIT ?2", key, name, key)
                           : xasprintf("SELECT %s FROM %s WHERE (%s)>(?1,?2) ORDER BY 1,2 LIMIT ?3", key, name, key);
    }
}

static Error *statement_get(RowWriter *writer, RowTable table, int which, sqlite3_stmt **ret_statement)
{
    sqlite3_stmt **kept = &writer->statements[table][which];

    if (!*kept) {
        DEFER(xfree) char *text = statement_text(table, which);
        if (sqlite3_prepare_v3(writer->db, text, -1, SQLITE_PREPARE_PERSISTENT, kept, NULL) != SQLITE_OK)
            return sql_error(writer->db, "mail.db");
    }
    sqlite3_reset(*kept);
    *ret_statement = *kept;
    return NULL;
}

void row_writer_reset(RowWriter *writer)
{
    for (int table = 0; table < N_ROW_TABLES; table++)
        for (int which = 0; which < N_STATEMENTS; which++)
            sqlite3_reset(writer->statements[table][which]);
}

void row_writer_done(RowWriter *writer)
{
    for (int table = 0; table < N_ROW_TABLES; table++)
        for (int which = 0; which < N_STATEMENTS; which++)
            sqlite3_finalize(writer->statements[table][which]);
    memset(writer->statements, 0, sizeof writer->statements);
}

const char *row_table_name(RowTable table)
{
    return tables[table].name;
}

const char *const *rows_at(const Rows *rows, size_t i)
{
    return (const char *const *)rows->cells + i * (size_t)tables[rows->table].n_columns;
}

static Error *write_each(RowWriter *writer, const Rows *rows, int which)
{
    sqlite3_stmt *statement = NULL;
    int n = tables[rows->table].n_columns;
    int n_bound = which == STATEMENT_DROP ? tables[rows->table].n_keys : n;

    Error *err = rows->n_rows ? statement_get(writer, rows->table, which, &statement) : NULL;
    for (size_t i = 0; !err && i < rows->n_rows; i++) {
        for (int column = 0; column < n_bound; column++)
            sqlite3_bind_text(statement, column + 1, rows->cells[i * (size_t)n + (size_t)column], -1, SQLITE_STATIC);
        int code = sqlite3_step(statement);
        sqlite3_reset(statement);
        if (code != SQLITE_DONE)
            err = sql_error(writer->db, "mail.db");
    }
    return err;
}

static void differs(RowTable table, const char *const *row, const char *how, Settle *settle)
{
    settle->n_rows++;
    settle->public = settle->public || table == ROWS_PUBLIC;
    if (settle->users && table == ROWS_USERDB && names_count(settle->users) < settle->users_max)
        names_add(settle->users, row[0]);
    if (!settle->example)
        settle->example = tables[table].n_keys == 1
                              ? xasprintf("table %s: row %s %s", tables[table].name, row[0], how)
                              : xasprintf("table %s: row %s, %s %s", tables[table].name, row[0], row[1], how);
}

enum { USERDB_GROUPS = 5 }; /* its column */

static bool list_has(const char *list, const char *item, size_t len)
{
    for (const char *at = list; at && *at; at += strcspn(at, ","), at += *at == ',')
        if (strcspn(at, ",") == len && memcmp(at, item, len) == 0)
            return true;
    return false;
}

static void groups_lost(const char *const *there, const char *const *row, Settle *settle)
{
    const char *before = there[USERDB_GROUPS], *now = row[USERDB_GROUPS];

    for (const char *at = before; at && *at; at += strcspn(at, ","), at += *at == ',')
        if (!list_has(now, at, strcspn(at, ",")) && names_count(settle->left) < settle->users_max)
            names_add(settle->left, there[0]);
}

static bool cells_equal(const char *const *a, const char *const *b, int n)
{
    for (int i = 0; i < n; i++) {
        if (!a[i] != !b[i] || (a[i] && strcmp(a[i], b[i]) != 0))
            return false;
    }
    return true;
}

/* What of 'rows' is to be put, and what of 'held' is to be dropped: both in the order of their keys. */
static Error *compare(RowWriter *writer, const Rows *rows, sqlite3_stmt *held, Rows *put, Rows *drop, Settle *settle)
{
    RowTable table = rows->table;
    int n = tables[table].n_columns, n_keys = tables[table].n_keys;
    int code = sqlite3_step(held);

    for (size_t i = 0; code == SQLITE_ROW || (code == SQLITE_DONE && i < rows->n_rows);) {
        const char *there[ROW_CELLS_MAX] = {NULL};
        for (int column = 0; code == SQLITE_ROW && column < n; column++)
            there[column] = sql_column(held, column);
        const char *const *row = i < rows->n_rows ? rows_at(rows, i) : there;
        int order = code == SQLITE_DONE ? -1 : row == there ? 1 : keys_compare(row, there, n_keys);

        if (order > 0) {
            differs(table, there, "should not be there", settle);
            rows_add(drop, there);
        } else if (order < 0 || !cells_equal(row, there, n)) {
            differs(table, row, order ? "is missing" : "has other content", settle);
            if (table == ROWS_USERDB && order == 0 && settle->left)
                groups_lost(there, row, settle);
            row_borrow(put, row);
        }
        if (order <= 0)
            i++;
        if (order >= 0)
            code = sqlite3_step(held);
    }
    Error *err = code == SQLITE_DONE ? NULL : sql_error(writer->db, "mail.db");
    sqlite3_reset(held);
    return err;
}

Error *rows_settle(RowWriter *writer, Rows *rows, const char *first, const char *second, Settle *settle)
{
    RowTable table = rows->table;
    DEFER(rows_done) Rows drop = {.table = table}, put = {.table = table};
    bool classes = table == ROWS_RCPT && !second;
    sqlite3_stmt *held = NULL;

    rows_sort(rows);
    settle->n_there[table] += rows->n_rows;
    Error *err = statement_get(writer, table, classes ? STATEMENT_CLASSES : STATEMENT_HELD, &held);
    if (err)
        return err;
    sqlite3_bind_text(held, 1, first, -1, SQLITE_STATIC);
    if (second)
        sqlite3_bind_text(held, 2, second, -1, SQLITE_STATIC);
    err = compare(writer, rows, held, &put, &drop, settle);
    if (!err)
        err = write_each(writer, &drop, STATEMENT_DROP);
    if (!err)
        err = write_each(writer, &put, STATEMENT_PUT);
    return err;
}

Error *rows_keys(RowWriter *writer, RowTable table, const char *first, const char *second, size_t limit, Rows *out)
{
    sqlite3_stmt *keys = NULL;
    int n = tables[table].n_keys, code;

    Error *err = statement_get(writer, table, STATEMENT_KEYS, &keys);
    if (err)
        return err;
    sqlite3_bind_text(keys, 1, first, -1, SQLITE_STATIC);
    if (n == 2)
        sqlite3_bind_text(keys, 2, second, -1, SQLITE_STATIC);
    sqlite3_bind_int64(keys, n + 1, (int64_t)limit);
    while ((code = sqlite3_step(keys)) == SQLITE_ROW) {
        const char *cells[ROW_CELLS_MAX] = {NULL};
        for (int column = 0; column < n; column++)
            cells[column] = sql_column(keys, column);
        rows_add(out, cells);
    }
    if (code != SQLITE_DONE)
        err = sql_error(writer->db, "mail.db");
    sqlite3_reset(keys);
    return err;
}
