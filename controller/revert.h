/* revert.h - taking back: one revision, or one instance as a whole
 *
 * Both are changes like any other: rules between objects hold, and the history shows
 * them.  rules.deferred and rules.restoring are set; work_finish is called.
 */
#pragma once
#include "work.h"

/* NOT_FOUND: no such revision.  CONFLICT: something of it was changed since, both revisions and the object are named. */
CHECKED Error *revert_work(Work *work, uint64_t revision);

/* The same for a revision that removed this public mailbox, and beside it took nothing but addresses away or their way to
 * it.  CONFLICT: it did something else: who may bring a mailbox back may not take back just anything. */
CHECKED Error *undelete_work(Work *work, uint64_t revision, const char *instance, const char *name);

/* The instance and all in it as it was then; what came since goes.  NOT_FOUND: it was not there then. */
CHECKED Error *rollback_work(Work *work, uint64_t revision, const char *instance);
