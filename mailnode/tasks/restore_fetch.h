/* restore_fetch.h - one run of restic for all folders of a family, into the room of a restore, looked at while it works
 *
 * restic is mailbackup and writes into ROOM/stage, which is its own until it has ended and root's from then on.
 */
#pragma once
#include "base/error.h"
#include "tasks/job.h"
#include "tasks/restic.h"
#include "tasks/restore_family.h"
#include "tasks/restore_stage.h"

typedef struct FetchPlan {
    Job *job;
    Restic *restic;
    const char *snapshot;
    const Family *family;
    const StageFolder *folders; /* as many as the family has */
    uint64_t messages, bytes;   /* in all of them */
    uint64_t free_min;          /* octets that must stay free meanwhile; 0: none */
    const char *room_path;
    int room;
} FetchPlan;

/* ret_stage: open, root's.  What came is not looked at: stage_take does.  UNAVAILABLE: no space is left, though the list
 * of the backup said that there would be. */
CHECKED Error *fetch_run(const FetchPlan *plan, int *ret_stage);
