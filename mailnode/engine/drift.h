/* drift.h - files of a generation that are no longer as they were rendered
 *
 * Edited, gone, added, with another owner or mode.  'found' gets path ("postfix/main.cf") and what differs: a diff of
 * lines (diff.h), words about owner and mode; of files that only root may read not the text.
 */
#pragma once
#include "engine/generation.h"

typedef struct DriftFound {
    void (*found)(void *context, const char *path, const char *diff);
    void *context;
} DriftFound;

/* 'daemons_of' gets the bits (1 << DaemonId) of those whose files differed. */
CHECKED Error *drift_look(const char *root, const Generation *generation, const DriftFound *found, size_t *ret_n,
                          unsigned *ret_daemons);

/* The same, and puts right what it finds.  What was added is set aside below engine/aside/, not removed: somebody wrote it. */
CHECKED Error *drift_mend(const char *root, const Generation *generation, const DriftFound *found, size_t *ret_n,
                          unsigned *ret_daemons);
