#include "base/error.h"

#include "base/alloc.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static Error *error_take(ErrorCode code, char *what)
{
    Error *err = xmalloc(sizeof *err);

    *err = (Error){.code = code, .what = what};
    return err;
}

Error *error_new(ErrorCode code, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    char *what = xvasprintf(format, args);
    va_end(args);
    return error_take(code, what);
}

Error *error_system(const char *format, ...)
{
    int number = errno;
    va_list args;

    va_start(args, format);
    DEFER(xfree) char *what = xvasprintf(format, args);
    va_end(args);
    return error_new(ERROR_SYSTEM, "%s: %s", what, strerror(number));
}

Error *error_in(Error *err, const char *format, ...)
{
    if (!err)
        return NULL;

    va_list args;
    va_start(args, format);
    DEFER(xfree) char *where = xvasprintf(format, args);
    va_end(args);

    char *what = xasprintf("%s: %s", where, err->what);
    free(err->what);
    err->what = what;
    return err;
}

Error *error_hint(Error *err, const char *format, ...)
{
    if (!err || err->hint)
        return err;

    va_list args;
    va_start(args, format);
    err->hint = xvasprintf(format, args);
    va_end(args);
    return err;
}

void error_free(Error **err)
{
    if (!*err)
        return;
    free((*err)->what);
    free((*err)->hint);
    free(*err);
    *err = NULL;
}

const char *error_code_name(ErrorCode code)
{
    static const char *const names[] = {
        [ERROR_INVALID] = "invalid", [ERROR_NOT_FOUND] = "not-found",     [ERROR_EXISTS] = "exists",
        [ERROR_DENIED] = "denied",   [ERROR_CONFLICT] = "conflict",       [ERROR_UNAVAILABLE] = "unavailable",
        [ERROR_REFUSED] = "refused", [ERROR_UNSUPPORTED] = "unsupported", [ERROR_SYSTEM] = "system",
        [ERROR_DAMAGED] = "damaged",
    };

    if ((size_t)code >= sizeof names / sizeof *names || !names[code])
        return "unknown";
    return names[code];
}
