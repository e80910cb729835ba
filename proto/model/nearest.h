/* nearest.h - "did you mean": the candidate with the fewest typing errors
 *
 * Source: Damerau's distance (inserted, lost, changed, swapped neighbours), over
 * octets, at most a third of the word's length and never more than 3.  '-' and '_'
 * are alike.  Ties go to the first one offered.
 */
#pragma once
#include <stddef.h>

enum { NEAREST_TEXT_MAX = 255 }; /* longer words are near to nothing */

typedef struct Nearest {
    const char *word; /* borrowed */
    size_t least;     /* typing errors of the best so far */
    char best[NEAREST_TEXT_MAX + 1];
} Nearest;

void nearest_init(Nearest *nearest, const char *word);
void nearest_offer(Nearest *nearest, const char *candidate); /* copied if it is the best so far */
const char *nearest_found(const Nearest *nearest);           /* NULL: nothing is near */

/* The same over a list that is there; the candidate itself, not a copy. */
const char *nearest_of(const char *word, const char *const *candidates, size_t n_candidates);
