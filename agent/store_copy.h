/* store_copy.h - the controller's store, sealed, for the backups of this node (SPEC F-185)
 *
 * Asked for when a run is about to begin, and kept: a backup that is made while the controller is away holds what there was
 * last.  The node cannot open it: its key is the controller's own, and stands on each recovery sheet.
 *
 *     RESTING ──want──► ASKING ──parts──► TAKING ──the last one──► RESTING
 *        ▲                 └── refused, the link gone, nothing for 30 s ──┘
 */
#pragma once
#include "link.h"

typedef struct StoreCopy StoreCopy;

StoreCopy *store_copy_new(Link *link, const char *folder); /* both outlive it; the folder is made */
void store_copy_free(StoreCopy **copy);
void store_copy_run(StoreCopy *copy, Msec now);
void store_copy_wait(const StoreCopy *copy, Waiter *wake);

/* Asks for the newest, unless that is under way. */
void store_copy_want(StoreCopy *copy, Msec now);
bool store_copy_settled(const StoreCopy *copy); /* nothing is under way */

/* Borrowed until the next store_copy_run. */
typedef struct StoreCopyHeld {
    const char *path;           /* NULL: none */
    const Mail__CopyInfo *info; /* NULL: as path */
    const char *trouble;        /* why there is none, or may be a newer one; NULL: nothing */
} StoreCopyHeld;
StoreCopyHeld store_copy_held(const StoreCopy *copy);
