/* Which verb is which job. */
#include "tasks/job.h"

#include <stddef.h>

JobVerb *job_verb(Mail__TaskStart__VerbCase verb)
{
    switch (verb) {
    default:
        return NULL;
    }
}

Error *job_answer(Job *job, const Mail__BackupRead *read)
{
    (void)job;
    (void)read;
    return error_new(ERROR_UNSUPPORTED, "this node answers no questions about backups");
}
