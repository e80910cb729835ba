#include "refresh.h"

#include "base/alloc.h"

#include <stdlib.h>
#include <string.h>

static void drop_first(Refresh *refresh, size_t n)
{
    for (size_t i = 0; i < n; i++)
        free(refresh->users[i]);
    if (n)
        memmove(refresh->users, refresh->users + n, (refresh->n - n) * sizeof *refresh->users);
    refresh->n -= n;
    refresh->asked = 0;
}

void refresh_done(Refresh *refresh)
{
    drop_first(refresh, refresh->n);
    free(refresh->users);
    *refresh = (Refresh){0};
}

void refresh_add(Refresh *refresh, const char *const *users, size_t n)
{
    if (refresh->n + n > REFRESH_MAX) {
        drop_first(refresh, refresh->n);
        refresh->all = refresh->owed = true;
        return;
    }
    refresh->owed = refresh->owed || n;
    if (n)
        refresh->users = xrealloc(refresh->users, (refresh->n + n) * sizeof *refresh->users);
    for (size_t i = 0; i < n; i++)
        refresh->users[refresh->n++] = xstrdup(users[i]);
}

bool refresh_due(const Refresh *refresh)
{
    return refresh->n || refresh->all;
}

void refresh_happened(Refresh *refresh)
{
    drop_first(refresh, refresh->asked);
    refresh->all = false;
    refresh->owed = refresh->n > 0;
}
