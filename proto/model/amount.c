#include "model/amount.h"

#include "base/alloc.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

typedef struct Unit {
    const char *name;
    uint64_t size;
} Unit;

static const Unit sizes[] = {
    {"", 1},
    {"K", UINT64_C(1000)},
    {"M", UINT64_C(1000000)},
    {"G", UINT64_C(1000000000)},
    {"T", UINT64_C(1000000000000)},
    {"Ki", UINT64_C(1) << 10},
    {"Mi", UINT64_C(1) << 20},
    {"Gi", UINT64_C(1) << 30},
    {"Ti", UINT64_C(1) << 40},
};
static const Unit spans[] = {{"s", 1}, {"m", 60}, {"h", 3600}, {"d", 86400}};
static const Unit numbers[] = {{"", 1}};

typedef struct Units {
    const Unit *units;
    size_t n_units;
    const char *example;
} Units;

static Units units_of(Mail__FieldType type)
{
    switch (type) {
    case MAIL__FIELD_TYPE__SIZE:
        return (Units){sizes, sizeof sizes / sizeof *sizes, "a size: 500M, 2Gi"};
    case MAIL__FIELD_TYPE__SPAN:
        return (Units){spans, sizeof spans / sizeof *spans, "a span of time: 90s, 15m, 8h, 7d"};
    default:
        return (Units){numbers, 1, "a whole number"};
    }
}

typedef enum Reading { READ, NO_AMOUNT, TOO_LARGE } Reading;

/* The digits at the beginning; false: beyond 64 bits. */
static bool digits_parse(const char *text, size_t n_digits, uint64_t *ret_amount)
{
    uint64_t amount = 0;
    bool fits = true;

    for (size_t i = 0; i < n_digits; i++)
        fits = fits && !__builtin_mul_overflow(amount, 10, &amount) &&
               !__builtin_add_overflow(amount, (uint64_t)(text[i] - '0'), &amount);
    *ret_amount = amount;
    return fits;
}

static Reading amount_parse(const Units *units, const char *text, uint64_t *ret_amount)
{
    uint64_t amount;
    size_t n_digits = strspn(text, "0123456789");
    bool fits = digits_parse(text, n_digits, &amount);

    for (size_t i = 0; n_digits && i < units->n_units; i++) {
        if (strcmp(text + n_digits, units->units[i].name) != 0)
            continue;
        if (!fits || __builtin_mul_overflow(amount, units->units[i].size, ret_amount))
            return TOO_LARGE;
        return READ;
    }
    return NO_AMOUNT;
}

enum { GUESS_SIZE = 24 };

/* What may have been meant: without spaces, the unit in the case that is ours. */
static bool guess(Mail__FieldType type, const Units *units, const char *text, char out[GUESS_SIZE])
{
    uint64_t amount;
    size_t n = 0;

    for (; *text && n < GUESS_SIZE - 1; text++)
        if (*text != ' ')
            out[n++] = *text;
    out[n] = '\0';
    char *unit = out + strspn(out, "0123456789");
    if (type == MAIL__FIELD_TYPE__SIZE && *unit >= 'a' && *unit <= 'z')
        *unit = (char)(*unit - 'a' + 'A');
    if (type == MAIL__FIELD_TYPE__SIZE && *unit && strcmp(unit + 1, "B") == 0)
        unit[1] = '\0';
    if (type == MAIL__FIELD_TYPE__SPAN && *unit >= 'A' && *unit <= 'Z')
        *unit = (char)(*unit - 'A' + 'a');
    if (type == MAIL__FIELD_TYPE__SPAN && !*unit && n && n < GUESS_SIZE - 1)
        memcpy(unit, "s", 2);
    return amount_parse(units, out, &amount) == READ;
}

/* ---- scores ---- */

enum { SCORE_ONE = 100 };

static Reading score_parse(const char *text, uint64_t *ret_score)
{
    size_t n_whole = strspn(text, "0123456789"), n_part = 0;
    const char *behind = text + n_whole, *digits = behind;
    uint64_t whole, part = 0;

    if (*behind == '.') {
        digits = behind + 1;
        n_part = strspn(digits, "0123456789");
        behind = n_part == 1 || n_part == 2 ? digits + n_part : digits - 1;
    }
    if (!n_whole || *behind)
        return NO_AMOUNT;
    if (!digits_parse(text, n_whole, &whole) || __builtin_mul_overflow(whole, SCORE_ONE, &whole))
        return TOO_LARGE;
    if (n_part)
        digits_parse(digits, n_part, &part);
    return __builtin_add_overflow(whole, n_part == 1 ? 10 * part : part, ret_score) ? TOO_LARGE : READ;
}

/* What may have been meant: a point for the comma, no spaces. */
static bool score_guess(const char *text, char out[GUESS_SIZE])
{
    uint64_t score;
    size_t n = 0;

    for (; *text && n < GUESS_SIZE - 1; text++)
        if (*text != ' ')
            out[n++] = (char)(*text == ',' ? '.' : *text);
    out[n] = '\0';
    return !*text && score_parse(out, &score) == READ;
}

static Error *score_read(const char *text, uint64_t *ret_score)
{
    char meant[GUESS_SIZE] = "";

    switch (score_parse(text, ret_score)) {
    case READ:
        return NULL;
    case TOO_LARGE:
        return error_new(ERROR_INVALID, "too large");
    case NO_AMOUNT:
        break;
    }
    return error_new(ERROR_INVALID, "write %s", score_guess(text, meant) ? meant : "a score: 6, 6.5");
}

static char *score_text(uint64_t score)
{
    uint64_t part = score % SCORE_ONE;

    if (!part)
        return xasprintf("%" PRIu64, score / SCORE_ONE);
    if (part % 10 == 0)
        return xasprintf("%" PRIu64 ".%" PRIu64, score / SCORE_ONE, part / 10);
    return xasprintf("%" PRIu64 ".%02" PRIu64, score / SCORE_ONE, part);
}

/* ---- all of them ---- */

Error *amount_read(Mail__FieldType type, const char *text, uint64_t *ret_amount)
{
    Units units = units_of(type);
    char meant[GUESS_SIZE] = "";
    uint64_t amount;

    if (type == MAIL__FIELD_TYPE__SCORE)
        return score_read(text, ret_amount);
    switch (amount_parse(&units, text, &amount)) {
    case READ:
        *ret_amount = amount;
        return NULL;
    case TOO_LARGE:
        return error_new(ERROR_INVALID, "too large");
    case NO_AMOUNT:
        break;
    }
    return error_new(ERROR_INVALID, "write %s", guess(type, &units, text, meant) ? meant : units.example);
}

char *amount_text(Mail__FieldType type, uint64_t amount)
{
    Units units = units_of(type);
    char *best = NULL;

    if (type == MAIL__FIELD_TYPE__SCORE)
        return score_text(amount);
    for (size_t i = 0; i < units.n_units; i++) {
        if (amount % units.units[i].size != 0)
            continue;
        char *text = xasprintf("%" PRIu64 "%s", amount / units.units[i].size, units.units[i].name);
        /* Of two that are as short the later, larger unit: 60s is 1m, 1000K is 1M. */
        if (best && strlen(text) > strlen(best)) {
            free(text);
            continue;
        }
        free(best);
        best = text;
    }
    return best;
}
