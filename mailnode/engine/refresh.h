/* refresh.h - after rows of users changed: Dovecot forgets what it cached, sessions of those who may not log in end
 *
 * Children only (doveadm, and one with the uid of dovecot that reads 'login' in mail.db).
 */
#pragma once
#include "engine/change.h"
#include "engine/child.h"

typedef struct Refreshing Refreshing;

/* users: canonical names, validated again; none: it may be anybody.  Without a running Dovecot it is done at once. */
CHECKED Error *refreshing_start(const InForce *in_force, const char *root, char *const *users, size_t n_users,
                                Refreshing **ret_refreshing);
bool refreshing_run(Refreshing *refreshing, Msec now); /* true: ended */
void refreshing_wait(const Refreshing *refreshing, Waiter *wake);
CHECKED Error *refreshing_error(Refreshing *refreshing); /* after the end: what went wrong, NULL: nothing */
void refreshing_free(Refreshing **refreshing);
