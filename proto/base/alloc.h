/* alloc.h - memory that does not fail: without it the program ends, as after kill -9 */
#pragma once
#include "base/attributes.h"

#include <stdarg.h>
#include <stddef.h>

void *xmalloc(size_t size);
void *xcalloc(size_t n, size_t size);
void *xrealloc(void *old, size_t size); /* the caller has checked that size did not overflow */
char *xstrdup(const char *text);
char *xstrndup(const char *text, size_t len);
void *xmemdup(const void *data, size_t size);
char *xasprintf(const char *format, ...) PRINTF_LIKE(1, 2);
char *xvasprintf(const char *format, va_list args) PRINTF_LIKE(1, 0);

/* For DEFER on any 'T *': frees what the variable points to and sets it to NULL. */
void xfree(void *pointer_to_variable);
