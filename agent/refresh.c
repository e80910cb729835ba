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

static void left_drop(Refresh *refresh)
{
    for (size_t i = 0; i < refresh->n_left; i++)
        free(refresh->left[i]);
    xfree(&refresh->left);
    refresh->n_left = 0;
    refresh->all_left = false;
}

void refresh_done(Refresh *refresh)
{
    drop_first(refresh, refresh->n);
    left_drop(refresh);
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

void refresh_add_left(Refresh *refresh, const char *const *users, size_t n, bool all)
{
    if (all || refresh->n_left + n > REFRESH_MAX) {
        left_drop(refresh);
        refresh->all_left = true;
    }
    refresh->owed = refresh->owed || n || all;
    if (refresh->all_left || !n)
        return;
    refresh->left = xrealloc(refresh->left, (refresh->n_left + n) * sizeof *refresh->left);
    for (size_t i = 0; i < n; i++)
        refresh->left[refresh->n_left++] = xstrdup(users[i]);
}

void refresh_add_public(Refresh *refresh)
{
    refresh->public = refresh->owed = true;
}

bool refresh_due(const Refresh *refresh)
{
    return refresh->n || refresh->n_left || refresh->all_left || refresh->public || refresh->all;
}

void refresh_happened(Refresh *refresh)
{
    drop_first(refresh, refresh->asked);
    left_drop(refresh); /* nothing is committed while mail-engine is at it */
    refresh->all = refresh->public = false;
    refresh->owed = refresh->n > 0;
}
