/* buf.h - octets that grow up to a limit
 *
 * What a peer can make grow has a limit, checked first: appending beyond it adds
 * nothing and says false.  A Buf of zeroes is empty and has no limit.
 */
#pragma once
#include "base/attributes.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct Buf {
    uint8_t *data;
    size_t size;  /* octets in use */
    size_t room;  /* octets allocated */
    size_t limit; /* 0: none */
} Buf;

void buf_init(Buf *buf, size_t limit_bytes);
void buf_done(Buf *buf);  /* frees, leaves it empty with the same limit */
void buf_clear(Buf *buf); /* empty, keeps its memory */

bool buf_append(Buf *buf, const void *data, size_t size);
bool buf_append_text(Buf *buf, const char *text);
bool buf_printf(Buf *buf, const char *format, ...) PRINTF_LIKE(2, 3);

/* Room for 'size' more octets behind the used ones, NULL beyond the limit; buf->size is the caller's to raise. */
uint8_t *buf_reserve(Buf *buf, size_t size);

void buf_drop(Buf *buf, size_t size); /* the first octets; at most all */

/* The content with a NUL behind it (not counted in size); valid until the next call. */
const char *buf_text(Buf *buf);
