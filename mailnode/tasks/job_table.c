/* Which verb is which job. */
#include "tasks/job.h"

#include "tasks/backup.h"
#include "tasks/restore_folder.h"
#include "tasks/restore_instance.h"

#include <stddef.h>

JobVerb *job_verb(Mail__TaskStart__VerbCase verb)
{
    switch (verb) {
    case MAIL__TASK_START__VERB_DESTINATION_CHECK:
        return job_destination_check;
    case MAIL__TASK_START__VERB_BACKUP_RUN:
        return job_backup_run;
    case MAIL__TASK_START__VERB_BACKUP_VERIFY:
        return job_backup_verify;
    case MAIL__TASK_START__VERB_RESTORE_FOLDER:
        return restore_folder;
    case MAIL__TASK_START__VERB_RESTORE_INSTANCE:
        return restore_instance;
    default:
        return NULL;
    }
}
