/* refresh.h - users whose sessions do not know their new rows yet */
#pragma once
#include <stdbool.h>
#include <stddef.h>

enum { REFRESH_MAX = 1000 }; /* users by name; beyond that, all of them */

typedef struct Refresh {
    char **users;
    size_t n, asked; /* asked: the first ones, that are being refreshed */
    char **left;     /* who lost a right: their sessions end */
    size_t n_left;
    bool all_left; /* it may be anybody */
    bool public;   /* public mailboxes on the disk are behind */
    bool all;      /* it is not known whose: after a start, or too many */
    bool owed;     /* somebody's rows did change: nothing is in force before it has happened */
} Refresh;

void refresh_done(Refresh *refresh);
void refresh_add(Refresh *refresh, const char *const *users, size_t n);
void refresh_add_left(Refresh *refresh, const char *const *users, size_t n, bool all);
void refresh_add_public(Refresh *refresh);
bool refresh_due(const Refresh *refresh);
/* What was asked for has happened; what was added meanwhile stays. */
void refresh_happened(Refresh *refresh);
