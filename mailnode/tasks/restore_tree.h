/* restore_tree.h - a whole tree of mail that restic wrote becomes the mail store's: nothing of it is believed
 *
 * A backup's content is anybody's (THREATS B40, S43).  The tree is walked through open folders that are not followed into;
 * regular files and folders get owner and rights anew, everything else is removed: links, devices, sockets.  Kept as a link is
 * one that names the active script beside it, as Dovecot makes it.  Lists of numbers are raised on the way
 * (restore_uidlist.h); one that cannot be is removed, so that its folder begins anew, and counted.
 *
 * Nobody else may reach the tree meanwhile: it lies in a folder of root's.
 */
#pragma once
#include "base/error.h"
#include "tasks/manifest.h"

#include <stdint.h>
#include <sys/types.h>

typedef struct TreeCounts {
    uint64_t files, bytes;
    uint64_t refused;  /* removed: no file and no folder */
    uint64_t raised;   /* lists of numbers */
    uint64_t unraised; /* removed: not as Dovecot writes them */
} TreeCounts;

/* 'folder' is open; it, and all that is in it. */
CHECKED Error *tree_take(int folder, uid_t uid, gid_t gid, TreeCounts *counts);

/* Does every message of the list, or of the folder 'only' in it, stand in this store (a Maildir, or the folder of public
 * mailboxes) with its size?  Adds to both. */
CHECKED Error *tree_compare(int store, const MailboxList *list, const char *only, uint64_t *messages,
                            uint64_t *missing);
