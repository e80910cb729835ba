/* shadow.h - a second tree of hard links to the mail, which nobody writes in while it is backed up
 *
 * restic reads the names of a folder and then opens each: on a live Maildir it loses what is renamed between the two,
 * silently on newer versions (BACKUP.md 5).  A backup therefore reads the shadow.  It is kept from one run to the next, so
 * that a run costs what has changed: making it anew would change the ctime of all mail.
 *
 * Everything is linked first, folders that moved meanwhile are looked at again until none does, and only then goes what is
 * gone: the shadow is what the mail was at one instant.  Where it never comes to rest, what was there before and after a run
 * is in the shadow all the same, wherever it was moved and however it was flagged meanwhile; what was moved several times may
 * be there twice, and what was expunged meanwhile may go with the next run.  A message is known by the part of its name
 * before ':' and by its inode.
 *
 * Runs as root over a tree that vmail writes: only regular files and folders of the tree's owner are taken, nothing is
 * followed, and no name leads outside.  Not taken: tmp, Dovecot's indexes, logs, caches and locks, compiled scripts.
 */
#pragma once
#include "base/error.h"

#include <stdbool.h>
#include <stdint.h>

/* What lies directly in the source. */
typedef enum ShadowForm {
    SHADOW_HOMES,    /* NAME/Maildir, NAME/sieve, NAME/.dovecot.sieve: PLACE_MAIL */
    SHADOW_MAILDIRS, /* .NAME, a maildir each, as in a Maildir++: PLACE_PUBLIC */
} ShadowForm;

typedef struct ShadowCounts {
    uint64_t linked;  /* of messages and other files: new in the shadow */
    uint64_t renamed; /* had another name: a flag was set, or a client has seen it */
    uint64_t dropped; /* gone from the source */
    uint64_t refused; /* links, devices, files of another owner: not in the shadow */
    bool still;       /* at one instant the shadow was exactly the source; otherwise mail was moved all the time */
} ShadowCounts;

/* 'source' and 'shadow' are folders on one file system; the shadow is root's alone.  cancelled (may be NULL) is asked for
 * each folder.  CONFLICT: it was cancelled; what is in the shadow serves the next run.  SYSTEM: with a hint if the two are
 * on different file systems. */
CHECKED Error *shadow_sync(const char *source, const char *shadow, ShadowForm form, bool (*cancelled)(void *context),
                           void *context, ShadowCounts *ret_counts);
