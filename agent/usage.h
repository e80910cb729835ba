/* usage.h - how much is in each mailbox, as Dovecot writes it down
 *
 * Dovecot's dict process writes usage.db after each delivery and whenever a session
 * has saved or expunged (quota_clone); we make the file, and only read it then.  It
 * is Dovecot's word and can be had again: one that does not read back is begun anew.
 *
 * What was read is kept here, and changes in usage_run alone: all that is computed
 * from it between two runs stands on the same figures.
 */
#pragma once
#include "base/error.h"
#include "base/loop.h"

#include <sys/types.h>

typedef struct Usage Usage;

/* folder: exists, and Dovecot's dict process may write in it.  gid: of its group. */
Usage *usage_new(const char *folder, gid_t gid);
void usage_free(Usage **usage);
void usage_run(Usage *usage, Msec now);
void usage_wait(const Usage *usage, Waiter *wake);

typedef struct UsageOf {
    uint64_t bytes, messages;
} UsageOf;

/* False: Dovecot has not said anything about this mailbox yet. */
bool usage_of(const Usage *usage, const char *name, UsageOf *ret_usage);
/* All of them, in no order. */
void usage_each(const Usage *usage, void (*each)(void *context, const char *name), void *context);

/* A mailbox whose figures moved since it was last taken; NULL: none.  Good until the next usage_run. */
const char *usage_moved(Usage *usage);

const char *usage_trouble(const Usage *usage); /* NULL: it is read */
