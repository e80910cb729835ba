/* restore_folder.h - one folder of a mailbox, with what is below it, back from a backup
 *
 *     the mailbox is free, is there, has no "Restored folder" that may not go
 *     → the backup's list: which folders, how many messages and octets → there is space
 *     → one run of restic into the room → taken over as the list has it → scanned, if asked for → on the disk
 *     → exchanged (restore_exchange.h) → read back over the mail store → quota
 *
 * Until the exchange begins nothing of the mailbox is touched, and an error or a cancel leaves nothing.
 */
#pragma once
#include "tasks/job.h"

/* The verdict is one line; infected messages are findings; a mailbox that has more than its quota now is said.
 * EXISTS: there is a "Restored folder", and the wish does not say that it may go.  CONFLICT: another restore of this
 * mailbox is running, or cancelled.  UNAVAILABLE: no space, with both numbers; the destination does not answer. */
CHECKED Error *restore_folder(Job *job, const Mail__TaskStart *task, char **ret_verdict);
