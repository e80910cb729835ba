#include "tasks/restore_uidlist.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { LINE_MAX_OCTETS = 1000 };

static bool number_read(const char *digits, size_t len, uint64_t *ret_number)
{
    char text[16] = "";

    if (len == 0 || len > 10 || strspn(digits, "0123456789") < len)
        return false;
    memcpy(text, digits, len);
    *ret_number = strtoull(text, NULL, 10);
    return *ret_number > 0 && *ret_number <= UINT32_MAX;
}

/* Where the next number stands in the first line: its field in version 3, the third word in version 1. */
static const char *next_of(const char *line, size_t *ret_len)
{
    bool named = strncmp(line, "3 ", 2) == 0;
    const char *at = line;

    if (!named && strncmp(line, "1 ", 2) != 0)
        return NULL;
    for (int word = 0; *at; word++) {
        size_t len = strcspn(at, " ");
        if (named ? word > 0 && *at == 'N' : word == 2) {
            *ret_len = len - named;
            return at + named;
        }
        at += len + strspn(at + len, " ");
    }
    return NULL;
}

bool uidlist_raise(const Buf *list, uint32_t by, Buf *out)
{
    char line[LINE_MAX_OCTETS + 1] = "";
    const uint8_t *end = list->size ? memchr(list->data, '\n', list->size) : NULL;
    size_t line_len = end ? (size_t)(end - list->data) : 0, len = 0;
    uint64_t next = 0;

    if (line_len == 0 || line_len > LINE_MAX_OCTETS || memchr(list->data, '\0', line_len))
        return false;
    memcpy(line, list->data, line_len);
    const char *at = next_of(line, &len);
    if (!at || !number_read(at, len, &next) || next + by > UINT32_MAX)
        return false;
    size_t before = (size_t)(at - line);
    return buf_append(out, list->data, before) && buf_printf(out, "%" PRIu64, next + by) &&
           buf_append(out, list->data + before + len, list->size - before - len);
}
