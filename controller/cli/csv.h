/* csv.h - rows of a file of comma separated values (RFC 4180), taken apart where they lie
 *
 * The cells are in the caller's own memory, which is changed: what is secret in it is in
 * one place, and wiped there.  A field with a comma, a quote or a line break is written in
 * quotes, a quote in it twice.  Where the first row has ';' and no ',', as spreadsheets write
 * it in some languages, ';' separates.
 */
#pragma once
#include "base/error.h"

#include <stddef.h>

enum { CSV_CELLS_MAX = 32 };

typedef struct Csv {
    char *at, *end;
    size_t line; /* where 'at' is, from 1 */
    char separator;
} Csv;

typedef struct CsvRow {
    char *cells[CSV_CELLS_MAX];
    size_t n;    /* 0: there are no more rows */
    size_t line; /* where it begins */
} CsvRow;

/* 'text' has size octets, none of them NUL, and one more to write to.  A byte order mark is skipped. */
void csv_init(Csv *csv, char *text, size_t size);

/* Empty lines are skipped.  INVALID: this row is wrong; the next call goes on behind its line. */
CHECKED Error *csv_next(Csv *csv, CsvRow *row);
