/* error.h - what can fail returns an Error *
 *
 * NULL is done.  Anything else is owned by the caller, must be looked at, and its
 * code says what the caller can do.  Who knows where adds it with error_in, so the
 * words read outside in; who knows the way out adds it with error_hint.
 */
#pragma once
#include "base/attributes.h"

#include <stdbool.h>

typedef enum ErrorCode {                    /* the same list in control.proto; CLI maps it to exit codes */
                         ERROR_INVALID = 1, /* the input is wrong; repeating it is no use */
                         ERROR_NOT_FOUND,
                         ERROR_EXISTS,
                         ERROR_DENIED,
                         ERROR_CONFLICT,    /* somebody else was first, or holds it: look again */
                         ERROR_UNAVAILABLE, /* the other side is away: try later */
                         ERROR_REFUSED,     /* a daemon's own checker said no; its words are in 'what' */
                         ERROR_UNSUPPORTED, /* the other side is older than this */
                         ERROR_SYSTEM,      /* a system call failed */
                         ERROR_DAMAGED,     /* stored data does not read back */
} ErrorCode;

typedef struct Error {
    ErrorCode code;
    char *what; /* one line, no newline at the end; daemons' own words may follow on further lines */
    char *hint; /* NULL, or something that can be pasted */
} Error;

CHECKED Error *error_new(ErrorCode code, const char *format, ...) PRINTF_LIKE(2, 3);

/* ERROR_SYSTEM with the text of errno behind the words. */
CHECKED Error *error_system(const char *format, ...) PRINTF_LIKE(1, 2);

/* Puts "words: " before what is said; takes err and gives it back.  NULL stays NULL. */
CHECKED Error *error_in(Error *err, const char *format, ...) PRINTF_LIKE(2, 3);

/* Sets the way out unless somebody deeper, who knew better, has set one. */
CHECKED Error *error_hint(Error *err, const char *format, ...) PRINTF_LIKE(2, 3);

void error_free(Error **err);

const char *error_code_name(ErrorCode code); /* "invalid", "not-found", ... */
