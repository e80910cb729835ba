/* stage.h - what a backup keeps of the desired state: everything that this node holds, at one revision
 *
 * One file in the agent's folder "stage", for mail-engine to copy (mailnode/tasks/job.h): its form is that of
 * proto/seal/state_file.h.  With the secrets that its objects name: it is 0600, lives as long as the job, and from then
 * on lies in a repository that only its password opens.
 */
#pragma once
#include "journal.h"

/* folder: PLACE_STAGE, made when it is not there.  *ret_revision: of what was written. */
CHECKED Error *stage_write(Journal *journal, const char *folder, const char *name);
/* A file beside it, another name of what lies at 'path'. */
CHECKED Error *stage_link(const char *path, const char *folder, const char *name);
void stage_remove(const char *folder, const char *name);
/* What dead jobs have left. */
void stage_sweep(const char *folder);
