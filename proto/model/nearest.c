#include "model/nearest.h"

#include <stdbool.h>
#include <string.h>

enum { ERRORS_MAX = 3 };

static char alike(char c)
{
    return c == '_' ? '-' : c;
}

static size_t least_of(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Row by row; the one before the last is kept for swapped neighbours. */
static size_t distance(const char *a, size_t a_len, const char *b, size_t b_len)
{
    size_t rows[3][NEAREST_TEXT_MAX + 1];

    for (size_t j = 0; j <= b_len; j++)
        rows[0][j] = j;
    for (size_t i = 1; i <= a_len; i++) {
        size_t *now = rows[i % 3], *last = rows[(i + 2) % 3], *before = rows[(i + 1) % 3];

        now[0] = i;
        for (size_t j = 1; j <= b_len; j++) {
            bool same = alike(a[i - 1]) == alike(b[j - 1]);
            now[j] = least_of(last[j - 1] + !same, least_of(last[j], now[j - 1]) + 1);
            if (i > 1 && j > 1 && alike(a[i - 1]) == alike(b[j - 2]) && alike(a[i - 2]) == alike(b[j - 1]))
                now[j] = least_of(now[j], before[j - 2] + 1);
        }
    }
    return rows[a_len % 3][b_len];
}

static size_t allowed(size_t len)
{
    return least_of(ERRORS_MAX, (len + 2) / 3);
}

/* How far apart, or SIZE_MAX when that is too far. */
static size_t apart(const char *word, const char *candidate)
{
    size_t a = strnlen(word, NEAREST_TEXT_MAX + 1), b = strnlen(candidate, NEAREST_TEXT_MAX + 1);
    size_t differ = a > b ? a - b : b - a;

    if (a > NEAREST_TEXT_MAX || b > NEAREST_TEXT_MAX || !a || !b || differ > allowed(a))
        return (size_t)-1;
    size_t errors = distance(word, a, candidate, b);
    /* A word of which nothing is left is not "near", however short it is. */
    return errors <= allowed(a) && errors < b ? errors : (size_t)-1;
}

void nearest_init(Nearest *nearest, const char *word)
{
    nearest->word = word;
    nearest->least = (size_t)-1;
    nearest->best[0] = '\0';
}

void nearest_offer(Nearest *nearest, const char *candidate)
{
    size_t errors = apart(nearest->word, candidate);

    if (errors >= nearest->least)
        return;
    nearest->least = errors;
    memcpy(nearest->best, candidate, strlen(candidate) + 1);
}

const char *nearest_found(const Nearest *nearest)
{
    return nearest->best[0] ? nearest->best : NULL;
}

const char *nearest_of(const char *word, const char *const *candidates, size_t n_candidates)
{
    const char *best = NULL;
    size_t least = (size_t)-1;

    for (size_t i = 0; i < n_candidates; i++) {
        size_t errors = apart(word, candidates[i]);
        if (errors < least) {
            least = errors;
            best = candidates[i];
        }
    }
    return best;
}
