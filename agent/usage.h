/* usage.h - how much is in each mailbox, as Dovecot writes it down
 *
 * NAME.usage is written anew by Dovecot after each delivery before LMTP answers, and
 * whenever a session has saved or expunged (quota_clone with a dict of files).  It is
 * read when inotify says so, all of them at the start.  What does not read as figures
 * is passed over: the next delivery writes it again.
 *
 * What was read is kept here, and changes in usage_run alone: all that is computed
 * from it between two runs stands on the same figures.
 */
#pragma once
#include "base/loop.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct Usage Usage;

/* folder: Dovecot may write in it, we may read it; one that is not there is waited for. */
Usage *usage_new(const char *folder);
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
