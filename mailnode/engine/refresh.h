/* refresh.h - after rows changed: public mailboxes stand on the disk as they are stated, Dovecot forgets what it cached,
 * sessions of those who may not log in, or who lost a right, end
 *
 * Children only (doveadm, one with the uid of dovecot that reads 'login' in mail.db, one with that of vmail).
 */
#pragma once
#include "engine/change.h"
#include "engine/child.h"

typedef struct Refreshing Refreshing;

/* Names are canonical, and validated again.  Without a running Dovecot nobody remembers anything. */
CHECKED Error *refreshing_start(const InForce *in_force, const char *root, const Mail__EngineRefresh *wanted,
                                Refreshing **ret_refreshing);
bool refreshing_run(Refreshing *refreshing, Msec now); /* true: ended */
void refreshing_wait(const Refreshing *refreshing, Waiter *wake);
CHECKED Error *refreshing_error(Refreshing *refreshing); /* after the end: what went wrong, NULL: nothing */
void refreshing_free(Refreshing **refreshing);
