#include "csv.h"

#include <stdbool.h>
#include <string.h>

static char separator_of(const char *text, const char *end)
{
    for (; text < end && *text != '\n'; text++)
        if (*text == ',')
            return ',';
        else if (*text == ';')
            return ';';
    return ',';
}

void csv_init(Csv *csv, char *text, size_t size)
{
    static const char mark[] = "\xef\xbb\xbf";

    *csv = (Csv){.at = text, .end = text + size, .line = 1};
    if (size >= 3 && memcmp(text, mark, 3) == 0)
        csv->at += 3;
    csv->separator = separator_of(csv->at, csv->end);
}

static void line_skip(Csv *csv)
{
    char *end = memchr(csv->at, '\n', (size_t)(csv->end - csv->at));

    csv->line += end != NULL;
    csv->at = end ? end + 1 : csv->end;
}

/* Behind the last octet of a cell: is it the last one of its row? */
static Error *cell_end(Csv *csv, bool *ret_last)
{
    char *at = csv->at;

    *ret_last = true;
    if (at < csv->end && *at == csv->separator) {
        *ret_last = false;
        csv->at = at + 1;
        return NULL;
    }
    if (at < csv->end && *at == '\r')
        at++;
    if (at < csv->end && *at != '\n')
        return error_new(ERROR_INVALID, "something stands behind the closing quote");
    csv->line += at < csv->end;
    csv->at = at < csv->end ? at + 1 : at;
    return NULL;
}

/* Shrinks as it goes: '*out' is never before what is still to be read. */
static Error *quoted(Csv *csv, char **ret_end)
{
    char *out = csv->at, *at = csv->at + 1;
    size_t lines = 0;

    for (;; at++) {
        if (at == csv->end)
            return error_new(ERROR_INVALID, "a quote is opened and never closed");
        if (*at == '"' && (at + 1 == csv->end || at[1] != '"'))
            break;
        if (*at == '"')
            at++;
        lines += *at == '\n';
        *out++ = *at;
    }
    csv->at = at + 1;
    csv->line += lines;
    *ret_end = out;
    return NULL;
}

static Error *plain(Csv *csv, char **ret_end)
{
    char *at = csv->at;

    for (; at < csv->end && *at != csv->separator && *at != '\n'; at++)
        if (*at == '"')
            return error_hint(error_new(ERROR_INVALID, "a quote in the middle of a field"),
                              "put the whole field in quotes, and each quote in it twice");
    csv->at = at > csv->at && at[-1] == '\r' && (at == csv->end || *at == '\n') ? at - 1 : at;
    *ret_end = csv->at;
    return NULL;
}

static Error *row_read(Csv *csv, CsvRow *row)
{
    bool last = false;

    while (!last) {
        char *begin = csv->at, *end = begin;
        if (row->n == CSV_CELLS_MAX)
            return error_new(ERROR_INVALID, "over %d fields", CSV_CELLS_MAX);
        Error *err = begin < csv->end && *begin == '"' ? quoted(csv, &end) : plain(csv, &end);
        if (!err)
            err = cell_end(csv, &last);
        if (err)
            return err;
        *end = '\0'; /* over what was just read past */
        row->cells[row->n++] = begin;
    }
    return NULL;
}

Error *csv_next(Csv *csv, CsvRow *row)
{
    while (csv->at < csv->end) {
        *row = (CsvRow){.line = csv->line};
        Error *err = row_read(csv, row);
        if (err) {
            line_skip(csv);
            return err;
        }
        if (row->n > 1 || *row->cells[0])
            return NULL;
    }
    *row = (CsvRow){.line = csv->line};
    return NULL;
}
