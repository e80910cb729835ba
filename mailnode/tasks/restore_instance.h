/* restore_instance.h - all mail of an instance, back from a backup onto a node that has none
 *
 *     the instance is stopped, and no message is in the store
 *     → what the snapshot says of itself
 *     → there is space → one run of restic into the room → taken over (restore_tree.h) → every message of every list is there
 *     → on the disk → the folders of users and of public mailboxes change places with what stood there
 *
 * Until they do nothing of the node is touched, and an error or a cancel leaves nothing.  Between the two exchanges stands a
 * journal: a restore that died there may be repeated over what it had put in place, and nothing else may.
 */
#pragma once
#include "base/error.h"
#include "control.pb-c.h"
#include "tasks/job.h"

/* Its verdict: one line for people, owned by the caller.  CONFLICT: the instance runs, or mail is there;
 * UNAVAILABLE: no space, with both numbers; DAMAGED: not every message came. */
CHECKED Error *restore_instance(Job *job, const Mail__TaskStart *task, char **ret_verdict);
