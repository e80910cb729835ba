#include "base/utf8.h"

#include <stdint.h>

static bool follows(uint8_t octet, uint8_t least, uint8_t most)
{
    return octet >= least && octet <= most;
}

/* The table of RFC 3629, section 4, row by row. */
size_t utf8_char_len(const char *text, size_t size)
{
    const uint8_t *c = (const uint8_t *)text;

    if (size >= 1 && c[0] < 0x80)
        return 1;
    if (size >= 2 && follows(c[0], 0xc2, 0xdf) && follows(c[1], 0x80, 0xbf))
        return 2;
    if (size >= 3 && follows(c[0], 0xe0, 0xef)) {
        uint8_t least = c[0] == 0xe0 ? 0xa0 : 0x80;
        uint8_t most = c[0] == 0xed ? 0x9f : 0xbf;
        return follows(c[1], least, most) && follows(c[2], 0x80, 0xbf) ? 3 : 0;
    }
    if (size >= 4 && follows(c[0], 0xf0, 0xf4)) {
        uint8_t least = c[0] == 0xf0 ? 0x90 : 0x80;
        uint8_t most = c[0] == 0xf4 ? 0x8f : 0xbf;
        return follows(c[1], least, most) && follows(c[2], 0x80, 0xbf) && follows(c[3], 0x80, 0xbf) ? 4 : 0;
    }
    return 0;
}

bool utf8_valid(const char *text, size_t size)
{
    for (size_t at = 0; at < size;) {
        size_t len = utf8_char_len(text + at, size - at);
        if (!len)
            return false;
        at += len;
    }
    return true;
}
