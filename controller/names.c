#include "names.h"

#include "base/alloc.h"

#include <stdlib.h>
#include <string.h>

/* Where it is, or where it would have to be. */
static size_t place_of(const Names *names, const char *name, bool *ret_there)
{
    size_t low = 0, high = names->n;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = strcmp(names->names[middle], name);
        if (order == 0) {
            *ret_there = true;
            return middle;
        }
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    *ret_there = false;
    return low;
}

void names_add(Names *names, const char *name)
{
    bool there = false;
    size_t at = place_of(names, name, &there);

    if (there)
        return;
    if (names->n == names->room) {
        names->room = names->room ? 2 * names->room : 8;
        names->names = xrealloc(names->names, names->room * sizeof *names->names);
    }
    memmove(names->names + at + 1, names->names + at, (names->n - at) * sizeof *names->names);
    names->names[at] = xstrdup(name);
    names->n++;
}

bool names_has(const Names *names, const char *name)
{
    bool there = false;

    if (names->n)
        place_of(names, name, &there);
    return there;
}

void names_done(Names *names)
{
    for (size_t i = 0; i < names->n; i++)
        free(names->names[i]);
    free(names->names);
    *names = (Names){0};
}
