/* line.h - one command line, taken apart
 *
 * Wrong grammar is an error here, before anything is sent: "usage" errors end with
 * exit 2.  Values are not understood here: the controller has the one parser of them.
 */
#pragma once
#include "commands.h"

enum {
    LINE_VALUE_MAX = 256 * 1024, /* octets of a value from a file or from stdin */
    LINE_SECRETS_MAX = 4,
};

/* Where a secret field's value is. */
typedef struct LineSecret {
    const char *from; /* "@FILE" or "-" */
    char *field;      /* its name, owned */
} LineSecret;

struct Line {
    const Command *command;
    const char *key;          /* NULL: none; borrowed from argv, as all that is not said to be owned */
    const char *const *words; /* everything behind the verb, for commands that take words */
    size_t n_words;
    Mail__FieldEdit *fields; /* owned, with their strings */
    size_t n_fields;
    char *joined; /* owned: a key of two words, "recipient/example.com" */
    LineSecret secrets[LINE_SECRETS_MAX];
    size_t n_secrets;
    const char *given[N_FLAGS]; /* the value, or "" for a flag without one; NULL: not there */
    const char **all;           /* owned: the words without flags */
};

void line_free(Line **line);

/* argv without the program.  *ret_usage: the error is one of grammar (exit 2).  With --help or --version *ret_line may be
 * incomplete: 'command' is NULL when the words do not name one; words[0], if there is one, is the noun. */
CHECKED Error *line_parse(int argc, char **argv, Line **ret_line, bool *ret_usage);

bool line_has(const Line *line, FlagId flag);
/* Of a command that takes one secret: where it is; NULL: not said. */
const char *line_secret_from(const Line *line);

/* "500ms" "30s" "5m" "2h"; INVALID otherwise. */
CHECKED Error *span_parse(const char *text, uint64_t *ret_ms);
/* "2026-11-17 14:30", a day ("2026-11-17": its first second, with 'day_end' its last) or "2h", so long ago; since 1970. */
CHECKED Error *moment_parse(const char *text, bool day_end, uint64_t *ret_s);
CHECKED Error *number_parse(const char *text, uint64_t *ret_number);
/* "41..43", "41.." (to is 0). */
CHECKED Error *range_parse(const char *text, uint64_t *ret_from, uint64_t *ret_to);

/* The output form that a line asks for, whatever else is wrong with it; NULL: none.  For errors of grammar in JSON. */
const char *line_output(int argc, char **argv);
