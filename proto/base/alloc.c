#include "base/alloc.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void *here(void *memory)
{
    static const char words[] = "out of memory\n";

    if (memory)
        return memory;
    if (write(STDERR_FILENO, words, sizeof words - 1) < 0)
        _exit(10);
    _exit(10);
}

void *xmalloc(size_t size)
{
    return here(malloc(size ? size : 1));
}

void *xcalloc(size_t n, size_t size)
{
    return here(calloc(n ? n : 1, size ? size : 1));
}

void *xrealloc(void *old, size_t size)
{
    return here(realloc(old, size ? size : 1));
}

char *xstrdup(const char *text)
{
    return here(strdup(text));
}

char *xstrndup(const char *text, size_t len)
{
    return here(strndup(text, len));
}

void *xmemdup(const void *data, size_t size)
{
    void *copy = xmalloc(size);

    if (size)
        memcpy(copy, data, size);
    return copy;
}

char *xvasprintf(const char *format, va_list args)
{
    char *text = NULL;

    if (vasprintf(&text, format, args) < 0)
        here(NULL);
    return text;
}

char *xasprintf(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    char *text = xvasprintf(format, args);
    va_end(args);
    return text;
}

void xfree(void *pointer_to_variable)
{
    void **variable = pointer_to_variable;

    free(*variable);
    *variable = NULL;
}
