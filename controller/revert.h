/* revert.h - taking back: one revision, or one instance as a whole
 *
 * Both are changes like any other: rules between objects hold, and the history shows
 * them.  rules.deferred and rules.restoring are set; work_finish is called.
 */
#pragma once
#include "work.h"

/* NOT_FOUND: no such revision.  CONFLICT: something of it was changed since, both revisions and the object are named. */
CHECKED Error *revert_work(Work *work, uint64_t revision);

/* The instance and all in it as it was then; what came since goes.  NOT_FOUND: it was not there then. */
CHECKED Error *rollback_work(Work *work, uint64_t revision, const char *instance);
