/* backup.h - the verbs of backup jobs: a run, a check of what was saved, a look at a destination
 *
 * A run makes the tree once (stage.h, shadow.h, manifest.h) and gives it to each destination of the plan, one after the
 * other; one that fails does not keep the others from their part, and is the error.  Good is a run of which everything was
 * saved: what could not be staged makes it fail with a snapshot of the rest, after which nothing is forgotten.
 */
#pragma once
#include "tasks/job.h"

JobVerb job_backup_run;
JobVerb job_backup_verify;
JobVerb job_destination_check;
