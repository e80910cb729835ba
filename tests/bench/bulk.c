/* bulk SOURCE.db TARGET.db ...: how long do the rows of SOURCE take to get into an empty TARGET of the same schema?
 *
 * The floor of an apply: all rows in memory, one prepared INSERT per table, one transaction, WAL and synchronous=FULL as in
 * the product.  INSERT ... SELECT is not used: between two like tables SQLite copies pages.  Prints the sum in microseconds.
 */
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef struct Row {
    sqlite3_value **values;
} Row;

typedef struct Table {
    char *insert;
    int n_columns;
    Row *rows;
    size_t n_rows;
} Table;

static void must(sqlite3 *db, int result)
{
    if (result != SQLITE_OK && result != SQLITE_DONE && result != SQLITE_ROW) {
        fprintf(stderr, "bulk: %s\n", sqlite3_errmsg(db));
        exit(3);
    }
}

static void run(sqlite3 *db, const char *sql)
{
    must(db, sqlite3_exec(db, sql, NULL, NULL, NULL));
}

static double now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static void table_read(sqlite3 *db, const char *name, Table *table)
{
    sqlite3_stmt *select = NULL;
    char *sql = sqlite3_mprintf("SELECT * FROM \"%w\"", name);
    size_t room = 0;

    must(db, sqlite3_prepare_v2(db, sql, -1, &select, NULL));
    sqlite3_free(sql);
    table->n_columns = sqlite3_column_count(select);
    char *marks = sqlite3_mprintf("?");
    for (int i = 1; i < table->n_columns; i++) {
        char *more = sqlite3_mprintf("%s,?", marks);
        sqlite3_free(marks);
        marks = more;
    }
    table->insert = sqlite3_mprintf("INSERT INTO \"%w\" VALUES(%s)", name, marks);
    sqlite3_free(marks);
    while (sqlite3_step(select) == SQLITE_ROW) {
        if (table->n_rows == room) {
            room = room ? room * 2 : 64;
            table->rows = realloc(table->rows, room * sizeof *table->rows);
        }
        Row *row = &table->rows[table->n_rows++];
        row->values = calloc((size_t)table->n_columns, sizeof *row->values);
        for (int i = 0; i < table->n_columns; i++)
            row->values[i] = sqlite3_value_dup(sqlite3_column_value(select, i));
    }
    sqlite3_finalize(select);
}

static void table_write(sqlite3 *db, const Table *table)
{
    sqlite3_stmt *insert = NULL;

    must(db, sqlite3_prepare_v2(db, table->insert, -1, &insert, NULL));
    for (size_t r = 0; r < table->n_rows; r++) {
        for (int i = 0; i < table->n_columns; i++)
            must(db, sqlite3_bind_value(insert, i + 1, table->rows[r].values[i]));
        must(db, sqlite3_step(insert));
        sqlite3_reset(insert);
    }
    sqlite3_finalize(insert);
}

static double copy(const char *source, const char *target)
{
    sqlite3 *from = NULL, *to = NULL;
    sqlite3_stmt *schema = NULL;
    Table *tables = NULL;
    size_t n_tables = 0;

    must(from, sqlite3_open_v2(source, &from, SQLITE_OPEN_READWRITE, NULL));
    must(to, sqlite3_open(target, &to));
    run(to, "PRAGMA journal_mode=WAL");
    run(to, "PRAGMA synchronous=FULL");
    must(from, sqlite3_prepare_v2(
                   from,
                   "SELECT name, sql, type FROM sqlite_schema WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite_%'"
                   " ORDER BY type DESC",
                   -1, &schema, NULL));
    while (sqlite3_step(schema) == SQLITE_ROW) {
        run(to, (const char *)sqlite3_column_text(schema, 1));
        if (strcmp((const char *)sqlite3_column_text(schema, 2), "table") != 0)
            continue;
        tables = realloc(tables, (n_tables + 1) * sizeof *tables);
        memset(&tables[n_tables], 0, sizeof *tables);
        table_read(from, (const char *)sqlite3_column_text(schema, 0), &tables[n_tables++]);
    }
    sqlite3_finalize(schema);
    double start = now_us();
    run(to, "BEGIN IMMEDIATE");
    for (size_t i = 0; i < n_tables; i++)
        table_write(to, &tables[i]);
    run(to, "COMMIT");
    double took = now_us() - start;
    sqlite3_close(to);
    sqlite3_close(from);
    return took; /* the rows end with the process */
}

int main(int argc, char **argv)
{
    double sum = 0;

    if (argc < 3 || argc % 2 == 0) {
        fputs("usage: bulk SOURCE.db TARGET.db ...\n", stderr);
        return 2;
    }
    for (int i = 1; i + 1 < argc; i += 2)
        sum += copy(argv[i], argv[i + 1]);
    printf("%.0f\n", sum);
    return 0;
}
