#include "model/mutf7.h"

#include "base/alloc.h"
#include "base/buf.h"
#include "base/utf8.h"

#include <assert.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

typedef struct Shifted {
    Buf *out;
    uint32_t bits; /* the lowest n_bits are still to be written */
    int n_bits;
} Shifted;

static void digit_put(Shifted *shifted, uint32_t value)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,";

    buf_append(shifted->out, &digits[value & 63], 1);
}

static void unit_put(Shifted *shifted, uint32_t unit)
{
    shifted->bits = (shifted->bits & 63) << 16 | unit;
    shifted->n_bits += 16;
    for (; shifted->n_bits >= 6; shifted->n_bits -= 6)
        digit_put(shifted, shifted->bits >> (shifted->n_bits - 6));
    shifted->bits &= (1u << shifted->n_bits) - 1;
}

static void character_put(Shifted *shifted, uint32_t character)
{
    if (character < 0x10000) {
        unit_put(shifted, character);
        return;
    }
    character -= 0x10000;
    unit_put(shifted, 0xd800 | character >> 10);
    unit_put(shifted, 0xdc00 | (character & 0x3ff));
}

static void shift_end(Shifted *shifted)
{
    if (shifted->n_bits)
        digit_put(shifted, shifted->bits << (6 - shifted->n_bits));
    buf_append_text(shifted->out, "-");
    shifted->bits = 0;
    shifted->n_bits = 0;
}

static uint32_t character_of(const char *text, size_t len)
{
    const unsigned char *octets = (const unsigned char *)text;
    uint32_t character = len == 1 ? octets[0] : octets[0] & (0x7fu >> len);

    for (size_t i = 1; i < len; i++)
        character = character << 6 | (octets[i] & 0x3f);
    return character;
}

char *mutf7_of(const char *utf8)
{
    DEFER(buf_done) Buf out = {0};
    Shifted shifted = {.out = &out};
    bool inside = false;

    for (size_t len; *utf8; utf8 += len) {
        len = utf8_char_len(utf8, strlen(utf8));
        assert(len);
        bool plain = *utf8 >= 0x20 && *utf8 <= 0x7e;
        if (inside && plain)
            shift_end(&shifted);
        if (!inside && !plain)
            buf_append_text(&out, "&");
        inside = !plain;
        if (!plain)
            character_put(&shifted, character_of(utf8, len));
        else
            buf_append_text(&out, *utf8 == '&' ? "&-" : (char[]){*utf8, '\0'});
    }
    if (inside)
        shift_end(&shifted);
    return xstrdup(buf_text(&out));
}
