#include "model/shown.h"

#include "base/alloc.h"
#include "base/buf.h"
#include "base/utf8.h"

#include <inttypes.h>
#include <string.h>

uint32_t character_at(const char *text, size_t *ret_len)
{
    const uint8_t *octet = (const uint8_t *)text;
    size_t len = utf8_char_len(text, strnlen(text, 4));

    *ret_len = len ? len : 1;
    if (len <= 1)
        return octet[0];
    uint32_t character = octet[0] & (0xffU >> (len + 1));
    for (size_t i = 1; i < len; i++)
        character = character << 6 | (octet[i] & 0x3fU);
    return character;
}

bool character_hidden(uint32_t c)
{
    static const struct {
        uint32_t first, last;
    } hidden[] = {
        {0x00, 0x1f},     {0x7f, 0x9f},     {0xad, 0xad},       /* C0, DEL and C1; the soft hyphen */
        {0x61c, 0x61c},   {0x200b, 0x200b}, {0x200e, 0x200f},   /* zero width space, marks of direction */
        {0x2028, 0x202e}, {0x2060, 0x206f}, {0xfeff, 0xfeff},   /* separators, embeddings, isolates, the BOM */
        {0xfff9, 0xfffb}, {0xfffe, 0xffff}, {0xe0000, 0xe007f}, /* annotations, tags */
    };

    for (size_t i = 0; i < sizeof hidden / sizeof *hidden; i++)
        if (c >= hidden[i].first && c <= hidden[i].last)
            return true;
    return (c & 0xfffe) == 0xfffe; /* the last two of every plane are no characters */
}

char *shown(const char *text)
{
    DEFER(buf_done) Buf out = {0};
    size_t left = text ? strlen(text) : 0;

    for (size_t at = 0; left; text += at, left -= at) {
        size_t len = utf8_char_len(text, left);

        at = len ? len : 1;
        if (out.size + at > SHOWN_MAX) {
            buf_append_text(&out, "...");
            break;
        }
        uint32_t c = len ? character_at(text, &at) : 0;
        if (!len)
            buf_printf(&out, "<%02x>", (unsigned char)*text);
        else if (character_hidden(c))
            buf_printf(&out, "<U+%04" PRIX32 ">", c);
        else
            buf_append(&out, text, at);
    }
    return xstrdup(buf_text(&out));
}
