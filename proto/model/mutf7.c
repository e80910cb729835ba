#include "model/mutf7.h"

#include "base/alloc.h"
#include "base/buf.h"
#include "base/utf8.h"

#include <assert.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,";

typedef struct Shifted {
    Buf *out;
    uint32_t bits; /* the lowest n_bits are still to be written */
    int n_bits;
} Shifted;

static void digit_put(Shifted *shifted, uint32_t value)
{
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

/* ---- back ---- */

static int digit_value(char c)
{
    const char *at = c ? strchr(digits, c) : NULL;

    return at ? (int)(at - digits) : -1;
}

static void utf8_put(Buf *out, uint32_t character)
{
    static const uint8_t marks[] = {0, 0, 0xc0, 0xe0, 0xf0};
    size_t len = character < 0x80 ? 1 : (character < 0x800 ? 2 : (character < 0x10000 ? 3 : 4));
    uint8_t octets[4];

    for (size_t i = len; i-- > 1; character >>= 6)
        octets[i] = (uint8_t)(0x80 | (character & 0x3f));
    octets[0] = (uint8_t)((len > 1 ? marks[len] : 0) | character);
    buf_append(out, octets, len);
}

/* UTF-16, unit by unit; 'high' is the first half of a pair. */
static void unit_take(Buf *out, uint32_t unit, uint32_t *high)
{
    if (unit >= 0xd800 && unit < 0xdc00) {
        *high = unit;
        return;
    }
    if (unit >= 0xdc00 && unit < 0xe000)
        unit = *high ? 0x10000 + ((*high & 0x3ff) << 10 | (unit & 0x3ff)) : unit;
    utf8_put(out, unit);
    *high = 0;
}

/* What stands between '&' and '-'; gives where '-' is, NULL if nowhere. */
static const char *shifted_read(const char *at, Buf *out)
{
    uint32_t bits = 0, high = 0;
    int n_bits = 0;

    for (int value; *at != '-'; at++) {
        value = digit_value(*at);
        if (value < 0)
            return NULL;
        bits = (bits & 0xffff) << 6 | (uint32_t)value;
        n_bits += 6;
        if (n_bits >= 16) {
            n_bits -= 16;
            unit_take(out, bits >> n_bits & 0xffff, &high);
        }
    }
    return at;
}

/* Read without care, and written again: what does not come back as it was (half pairs, a base64 that is longer than it need
 * be, ASCII in it) is no name. */
char *mutf7_read(const char *on_disk)
{
    DEFER(buf_done) Buf out = {0};

    for (const char *at = on_disk; *at; at++) {
        if (*at != '&')
            buf_append(&out, at, 1);
        else if (at[1] == '-')
            buf_append(&out, at++, 1);
        else if (!(at = shifted_read(at + 1, &out)))
            return NULL;
    }
    DEFER(xfree) char *utf8 = xstrdup(buf_text(&out));
    if (strlen(utf8) != out.size || !utf8_valid(utf8, out.size))
        return NULL;
    DEFER(xfree) char *again = mutf7_of(utf8);
    if (strcmp(again, on_disk) != 0)
        return NULL;
    char *text = utf8;
    utf8 = NULL;
    return text;
}
