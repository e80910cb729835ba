/* What a task is to do: compared, and in words. */
#include "task_inside.h"

#include "base/alloc.h"
#include "base/buf.h"

#include <string.h>

Mail__TaskStart task_verb_of(const Mail__TaskStart *start)
{
    Mail__TaskStart verb = *start;

    verb.task_id = NULL;
    verb.has_deadline_ms = false;
    return verb;
}

static void verb_pack(const Mail__TaskStart *start, Buf *out)
{
    Mail__TaskStart verb = task_verb_of(start);
    size_t size = mail__task_start__get_packed_size(&verb);

    out->size += mail__task_start__pack(&verb, buf_reserve(out, size + 1));
}

bool task_verb_equal(const Mail__TaskStart *a, const Mail__TaskStart *b)
{
    DEFER(buf_done) Buf left = {0};
    DEFER(buf_done) Buf right = {0};

    verb_pack(a, &left);
    verb_pack(b, &right);
    return left.size == right.size && memcmp(left.data, right.data, left.size) == 0;
}

static const char *or_none(const char *text)
{
    return text ? text : "";
}

char *task_verb_words(const Mail__TaskStart *start)
{
    switch (start->verb_case) {
    case MAIL__TASK_START__VERB_NODE_CHECK:
        return xstrdup(start->node_check->repair ? "node check --repair" : "node check");
    case MAIL__TASK_START__VERB_NODE_DOCTOR:
        return xstrdup("doctor");
    case MAIL__TASK_START__VERB_DESTINATION_CHECK:
        return xasprintf("destination check %s%s", or_none(start->destination_check->destination),
                         start->destination_check->init ? " --init" : "");
    case MAIL__TASK_START__VERB_BACKUP_RUN:
        return xasprintf("backup run %s", or_none(start->backup_run->plan));
    case MAIL__TASK_START__VERB_BACKUP_VERIFY:
        return xasprintf("backup verify %s", or_none(start->backup_verify->plan));
    case MAIL__TASK_START__VERB_RESTORE_FOLDER:
        return xasprintf("restore folder '%s' of %s", or_none(start->restore_folder->folder),
                         or_none(start->restore_folder->mailbox));
    case MAIL__TASK_START__VERB_RESTORE_INSTANCE:
        return xasprintf("restore instance from %s", or_none(start->restore_instance->destination));
    case MAIL__TASK_START__VERB__NOT_SET:
    default:
        return NULL;
    }
}
