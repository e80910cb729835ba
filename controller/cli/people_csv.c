/* Users as rows of CSV: the first row says what the others hold. */
#include "csv.h"
#include "people_file.h"

#include "base/alloc.h"
#include "model/nearest.h"
#include "model/shown.h"

#include <stdlib.h>
#include <string.h>

typedef enum Column {
    COLUMN_NAME,
    COLUMN_FULL_NAME,
    COLUMN_PASSWORD,
    COLUMN_HASH,
    COLUMN_GROUPS,
    COLUMN_LOCKED
} Column;

static const char *const columns[] = {"name", "full-name", "password", "password-hash", "groups", "locked"};
enum { N_COLUMNS = sizeof columns / sizeof *columns };

typedef struct Head {
    Column of[CSV_CELLS_MAX];
    size_t n;
} Head;

static Error *column_of(char *text, Column *ret_column)
{
    for (char *at = text; *at; at++)
        if (*at == '_')
            *at = '-';
    for (size_t i = 0; i < N_COLUMNS; i++)
        if (strcmp(text, columns[i]) == 0) {
            *ret_column = (Column)i;
            return NULL;
        }
    DEFER(xfree) char *seen = shown(text);
    const char *near = nearest_of(text, columns, N_COLUMNS);
    return near ? error_new(ERROR_INVALID, "column '%s' is not known, did you mean %s?", seen, near)
                : error_new(ERROR_INVALID,
                            "column '%s' is not known: name, full-name, password, password-hash, groups, locked are",
                            seen);
}

static Error *head_read(const CsvRow *row, Head *head)
{
    unsigned seen = 0;
    Error *err = NULL;

    for (size_t i = 0; !err && i < row->n; i++) {
        err = column_of(row->cells[i], &head->of[i]);
        if (!err && seen & 1U << head->of[i])
            err = error_new(ERROR_INVALID, "column %s is there twice", row->cells[i]);
        if (!err)
            seen |= 1U << head->of[i];
    }
    if (!err && !(seen & 1U << COLUMN_NAME))
        err = error_new(ERROR_INVALID, "the first row has no column 'name'");
    head->n = row->n;
    return err;
}

static bool groups_take(PeopleFile *file, FileAccount *account, char *cell)
{
    bool good = true;

    for (char *rest = cell, *name; good && (name = strsep(&rest, " ,;"));)
        if (*name)
            good = account_other_is(file, account, name);
    return good;
}

static bool locked_take(PeopleFile *file, FileAccount *account, const char *cell)
{
    account->locked = strcmp(cell, "yes") == 0;
    if (!*cell || account->locked || strcmp(cell, "no") == 0)
        return true;
    people_file_wrong(file, account->line, account, error_new(ERROR_INVALID, "locked: write yes or no"));
    return false;
}

static bool cell_take(PeopleFile *file, FileAccount *account, Column column, char *cell)
{
    switch (column) {
    case COLUMN_FULL_NAME:
        return account_full_name_is(file, account, cell);
    case COLUMN_PASSWORD:
    case COLUMN_HASH:
        if (*cell && account->password) {
            people_file_wrong(file, account->line, account,
                              error_new(ERROR_INVALID, "a password and a hash of one: which is it?"));
            return false;
        }
        return !*cell || account_password_is(file, account, cell, strlen(cell), column == COLUMN_HASH);
    case COLUMN_GROUPS:
        return groups_take(file, account, cell);
    case COLUMN_LOCKED:
        return locked_take(file, account, cell);
    case COLUMN_NAME:
    default:
        return true;
    }
}

/* The name first: the rest is said of it.  One thing that is wrong is enough for a line. */
static void row_take(PeopleFile *file, const Head *head, CsvRow *row)
{
    FileAccount *account = people_file_add(file, MAIL__ACCOUNT_KIND__USER, row->line);
    bool good = row->n == head->n;

    if (!good)
        people_file_wrong(file, row->line, NULL,
                          error_new(ERROR_INVALID, "%zu fields, and the first row has %zu", row->n, head->n));
    for (size_t i = 0; good && i < row->n; i++)
        if (head->of[i] == COLUMN_NAME)
            good = account_name_is(file, account, row->cells[i]);
    for (size_t i = 0; good && i < row->n; i++)
        good = cell_take(file, account, head->of[i], row->cells[i]);
}

void people_csv_read(PeopleFile *file)
{
    Head head = {.n = 0};
    CsvRow row;
    Csv csv;

    csv_init(&csv, file->text, file->size);
    Error *err = csv_next(&csv, &row);
    if (!err && row.n)
        err = head_read(&row, &head);
    if (err) {
        people_file_wrong(file, row.line, NULL, err);
        return;
    }
    for (;;) {
        err = csv_next(&csv, &row);
        if (err)
            people_file_wrong(file, row.line, NULL, err);
        else if (row.n)
            row_take(file, &head, &row);
        else
            return;
    }
}
