/* stage.h - what a backup holds beside mail: each database copied by its owner
 *
 *     STATE/objects              the node's state at one revision with its secrets, as the agent staged it
 *     STATE/controller           the controller's store, sealed: no node can open it; when the agent has one
 *     STATE/directory-NAME.ldif  each user domain whose slapd is here, or a whole copy (slapcat, which reads one moment of it)
 *     STATE/redis.rdb            what the spam filter has learned (BGSAVE, then the file that it made)
 *
 * The manifest comes beside them later (manifest.h).
 */
#pragma once
#include "base/error.h"
#include "tasks/job.h"

#include <limits.h>
#include <stdbool.h>

#define STATE_OBJECTS "objects"
#define STATE_CONTROLLER "controller"
#define STATE_DIRECTORY "directory-%s.ldif"
#define STATE_REDIS "redis.rdb"

/* All of the above into the folder 'state', which is empty and root's.  An owner that fails does not keep the others from being
 * staged: the first one that did is the error.  CONFLICT: cancelled. */
CHECKED Error *stage_state(Job *job, const char *state);

/* Each user domain whose directory, or a copy of it, is on this node; ends with the first error of 'each'. */
typedef Error *DirectoryEach(void *context, const char *domain, bool copy);
CHECKED Error *stage_directories(const char *root, DirectoryEach *each, void *context);
bool stage_is_directory(const char *file, char ret_domain[NAME_MAX + 1]); /* is it STATE_DIRECTORY of this domain? */
