/* print.h - how answers look: tables for people, JSON and YAML for programs
 *
 * What came over the wire is escaped for terminals: letters of all scripts stay, what
 * moves the cursor, ends a line or turns the direction of writing is shown as \xNN.
 */
#pragma once
#include "base/buf.h"
#include "base/error.h"
#include "model/object.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

typedef enum OutputForm { OUTPUT_TABLE, OUTPUT_JSON, OUTPUT_YAML, OUTPUT_NAME } OutputForm;

/* INVALID names the four. */
CHECKED Error *output_form(const char *word, OutputForm *ret_form);

void escape_text(Buf *out, const char *text);
char *escaped(const char *text); /* owned by the caller */
void print_text(FILE *out, const char *text);
/* With what stands below it (a checker's or restic's own words): line by line, each of those indented. */
void print_lines(FILE *out, const char *text);
bool has_words_below(const char *text); /* as restic's stand: "what\n    words" */
char *without_words(const char *text);  /* the line above them; owned by the caller */
size_t text_columns(const char *text);  /* characters of escaped text */

/* Rows of cells below headings, aligned; the widths are settled with the first TABLE_SETTLE rows, then rows stream. */
enum { TABLE_SETTLE = 500, TABLE_COLUMNS_MAX = 16 };
typedef struct Table Table;
Table *table_new(FILE *out, const char *const *headings, size_t n_columns); /* n_columns up to TABLE_COLUMNS_MAX */
void table_cell(Table *table, const char *text); /* of the row that is being filled; escaped here; NULL or "": - */
void table_row(Table *table);                    /* ends it */
void table_end(Table **table);                   /* writes what is kept; nothing at all when there was no row */

/* "4 ms", "1.2 s", "3 min", "5 h", "2 d". */
typedef struct ShortText {
    char text[32];
} ShortText;
ShortText age_text(uint64_t ms);
ShortText time_text(uint64_t time_s); /* "2026-11-24 10:41:07", local time; "-" for 0 */

/* A whole document, or one line of a stream; taken over. */
void print_document(FILE *out, OutputForm form, json_t **json);
void print_json_line(FILE *out, json_t **json);

json_t *json_text(const char *text);                                    /* NULL: null */
void json_put_text(json_t *object, const char *name, const char *text); /* nothing for NULL */
void json_put_number(json_t *object, const char *name, uint64_t number);
json_t *json_object_of(const Object *object); /* as one item of model/text.h */
