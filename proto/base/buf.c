#include "base/buf.h"

#include "base/alloc.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FIRST_ROOM = 256 };

void buf_init(Buf *buf, size_t limit_bytes)
{
    *buf = (Buf){.limit = limit_bytes};
}

void buf_done(Buf *buf)
{
    free(buf->data);
    buf_init(buf, buf->limit);
}

void buf_clear(Buf *buf)
{
    buf->size = 0;
}

/* One octet more than asked for, so that buf_text always has room for its NUL. */
static bool grow(Buf *buf, size_t size)
{
    if (size >= SIZE_MAX - buf->size - 1 || (buf->limit && buf->size + size > buf->limit))
        return false;
    if (buf->room > buf->size + size)
        return true;

    size_t room = buf->room ? buf->room : FIRST_ROOM;
    while (room <= buf->size + size)
        room = room > SIZE_MAX / 2 ? buf->size + size + 1 : room * 2;
    buf->data = xrealloc(buf->data, room);
    buf->room = room;
    return true;
}

uint8_t *buf_reserve(Buf *buf, size_t size)
{
    return grow(buf, size) ? buf->data + buf->size : NULL;
}

bool buf_append(Buf *buf, const void *data, size_t size)
{
    if (!grow(buf, size))
        return false;
    if (size)
        memcpy(buf->data + buf->size, data, size);
    buf->size += size;
    return true;
}

bool buf_append_text(Buf *buf, const char *text)
{
    return buf_append(buf, text, strlen(text));
}

bool buf_printf(Buf *buf, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    DEFER(xfree) char *text = xvasprintf(format, args);
    va_end(args);
    return buf_append_text(buf, text);
}

void buf_drop(Buf *buf, size_t size)
{
    if (size >= buf->size) {
        buf->size = 0;
        return;
    }
    memmove(buf->data, buf->data + size, buf->size - size);
    buf->size -= size;
}

const char *buf_text(Buf *buf)
{
    if (!buf->data && !grow(buf, 0))
        return "";
    assert(buf->data);
    buf->data[buf->size] = '\0';
    return (const char *)buf->data;
}
