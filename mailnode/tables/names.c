#include "tables/names.h"

#include "base/alloc.h"

bool names_have(const Names *names, const char *text)
{
    Name *found;
    HASH_FIND(hh, names->first, text, strlen(text), found);
    return found != NULL;
}

bool names_add(Names *names, const char *text)
{
    size_t len = strlen(text);
    Name *name;
    HASH_FIND(hh, names->first, text, len, name);
    if (name)
        return false;
    name = xmalloc(sizeof *name + len + 1);
    memcpy(name->text, text, len + 1);
    HASH_ADD(hh, names->first, text[0], len, name);
    return true;
}

size_t names_count(const Names *names)
{
    return HASH_COUNT(names->first);
}

static int by_text(const Name *a, const Name *b)
{
    return strcmp(a->text, b->text);
}

void names_sort(Names *names)
{
    HASH_SORT(names->first, by_text);
}

void names_done(Names *names)
{
    Name *first = names->first;

    HASH_CLEAR(hh, names->first); /* they stay linked */
    for (Name *name = first, *next = NULL; name; name = next) {
        next = name->hh.next;
        free(name);
    }
}
