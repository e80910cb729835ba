#include "engine/diff.h"

#include "base/alloc.h"
#include "base/utf8.h"

#include <stdint.h>
#include <string.h>

/* Beyond this the middle is shown as all gone and all new: the table would be larger than everything else here. */
enum { TABLE_MAX = 400, LINE_BYTES_MAX = 200 };

typedef struct Line {
    const uint8_t *text;
    size_t len;
} Line;

typedef struct Lines {
    Line *items;
    size_t n;
} Lines;

typedef struct Writer {
    Buf *out;
    size_t n, left_out;
} Writer;

static Lines lines_of(const Buf *text)
{
    Lines lines = {0};
    const uint8_t *at = text->data, *end = text->size ? text->data + text->size : text->data;
    size_t room = 0;

    while (at < end) {
        const uint8_t *stop = memchr(at, '\n', (size_t)(end - at));
        if (lines.n == room) {
            room = room ? 2 * room : 64;
            lines.items = xrealloc(lines.items, room * sizeof *lines.items);
        }
        lines.items[lines.n++] = (Line){at, (size_t)((stop ? stop : end) - at)};
        at = stop ? stop + 1 : end;
    }
    return lines;
}

static void lines_done(Lines *lines)
{
    xfree(&lines->items);
}

static bool line_equal(const Line *a, const Line *b)
{
    return a->len == b->len && memcmp(a->text, b->text, a->len) == 0;
}

static void shown(const Line *line, Buf *out)
{
    size_t len = line->len < LINE_BYTES_MAX ? line->len : LINE_BYTES_MAX;

    for (size_t i = 0; i < len;) {
        const char *at = (const char *)line->text + i;
        size_t octets = utf8_char_len(at, line->len - i);
        bool control = octets == 1 && ((unsigned char)*at < ' ' || *at == 0x7f) && *at != '\t';
        bool c1 = octets == 2 && (unsigned char)at[0] == 0xc2 && (unsigned char)at[1] < 0xa0;
        if (octets == 0 || control || c1)
            buf_append(out, "?", 1);
        else
            buf_append(out, at, octets);
        i += octets ? octets : 1;
    }
    if (len < line->len)
        buf_append_text(out, "...");
}

static void write_line(Writer *writer, char sign, const Line *line)
{
    if (writer->n == DIFF_LINES_MAX - 1) {
        writer->left_out++;
        return;
    }
    buf_printf(writer->out, "%s%c ", writer->n ? "\n" : "", sign);
    shown(line, writer->out);
    writer->n++;
}

/* Longest common subsequence, from the ends: table[i][j] is its length for was[i..] and is[j..]. */
static uint16_t *table_of(const Lines *was, const Lines *is)
{
    size_t wide = is->n + 1;
    uint16_t *table = xcalloc((was->n + 1) * wide, sizeof *table);

    for (size_t i = was->n; i-- > 0;) {
        for (size_t j = is->n; j-- > 0;) {
            uint16_t down = table[(i + 1) * wide + j], right = table[i * wide + j + 1];
            if (line_equal(&was->items[i], &is->items[j]))
                table[i * wide + j] = (uint16_t)(table[(i + 1) * wide + j + 1] + 1);
            else
                table[i * wide + j] = down > right ? down : right;
        }
    }
    return table;
}

static void walk(const Lines *was, const Lines *is, const uint16_t *table, Writer *writer)
{
    size_t i = 0, j = 0, wide = is->n + 1;

    while (i < was->n || j < is->n) {
        if (i < was->n && j < is->n && line_equal(&was->items[i], &is->items[j])) {
            i++;
            j++;
        } else if (i < was->n && (j == is->n || !table || table[(i + 1) * wide + j] >= table[i * wide + j + 1])) {
            write_line(writer, '-', &was->items[i++]);
        } else {
            write_line(writer, '+', &is->items[j++]);
        }
    }
}

void diff_lines(const Buf *was, const Buf *is, Buf *out)
{
    DEFER(lines_done) Lines before = lines_of(was), after = lines_of(is);
    Lines left = before, right = after;
    Writer writer = {.out = out};

    while (left.n && right.n && line_equal(left.items, right.items)) {
        left = (Lines){left.items + 1, left.n - 1};
        right = (Lines){right.items + 1, right.n - 1};
    }
    while (left.n && right.n && line_equal(&left.items[left.n - 1], &right.items[right.n - 1])) {
        left.n--;
        right.n--;
    }
    DEFER(xfree) uint16_t *table = left.n <= TABLE_MAX && right.n <= TABLE_MAX ? table_of(&left, &right) : NULL;
    walk(&left, &right, table, &writer);
    if (writer.left_out)
        buf_printf(out, "\n... and %zu more lines", writer.left_out);
}
