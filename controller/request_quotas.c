/* A restore has filled a mailbox beyond its quota: it becomes unlimited, by a revision of its own (SPEC F-069).
 *
 * The task's result waits for it: a controller that dies in between hears the result again.  Whose mailbox it is says the
 * task as it was asked for, not the node.
 */
#include "request_inside.h"

#include "base/alloc.h"
#include "base/log.h"
#include "model/amount.h"
#include "model/name.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* What the job works on; it may be worked out more than once. */
typedef struct Lift {
    char *instance, *user;
    char *former; /* as one writes it: "5G", "" */
    bool stands;  /* it is unlimited already */
} Lift;

typedef struct Lifting {
    struct Lifting *next;
    char *task;
    Lift *lift; /* read when the job is done, and so not its own */
    Job *job;
} Lifting;

static void lift_free(Lift *lift)
{
    free(lift->instance);
    free(lift->user);
    free(lift->former);
    free(lift);
}

static Error *lift_work(void *context, Work *work)
{
    Lift *lift = context;
    const ObjectRef ref = {MAIL__OBJECT__BODY_MAILBOX, lift->instance, lift->user};
    DEFER(object_free) Object *before = NULL;

    Error *err = store_get(work->store, &ref, 0, &before);
    if (err)
        return err;
    DEFER(object_free)
    Object *after = before ? object_clone(before) : object_new(ref.kind, lift->instance, lift->user);
    free(lift->former);
    lift->former = before && before->mailbox->has_quota ? amount_text(MAIL__FIELD_TYPE__SIZE, before->mailbox->quota)
                                                        : xstrdup("");
    lift->stands = after->mailbox->has_quota && after->mailbox->quota == 0;
    after->mailbox->has_quota = true;
    after->mailbox->quota = 0;
    if (!lift->stands)
        err = work_put(work, after, NULL, !before);
    return err ? err : work_finish(work);
}

/* ---- whose ---- */

static Error *lift_new(Requests *requests, const TaskQuota *quota, Lift **ret_lift)
{
    DEFER(xfree) char *user = NULL, *instance = NULL;

    Error *err = text_normalise(MAIL__FIELD_TYPE__ACCOUNT, quota->user, &user);
    if (!err)
        err = named_instance_on(requests->with.store, quota->node, &instance);
    if (!err && !instance)
        err = error_new(ERROR_NOT_FOUND, "no instance is placed on %s any more", quota->node);
    if (err)
        return err;
    *ret_lift = xcalloc(1, sizeof **ret_lift);
    **ret_lift = (Lift){.instance = instance, .user = user};
    user = instance = NULL;
    return NULL;
}

/* ---- one after the other ---- */

static void not_lifted(Requests *requests, const char *task, const char *why)
{
    DEFER(xfree) char *words = xasprintf("the quota is exceeded, and could not be lifted: %s", why);

    tasks_quota_done(requests->with.tasks, task, words);
}

void quotas_run(Requests *requests)
{
    TaskQuota quota;

    while (tasks_take_quota(requests->with.tasks, &quota)) {
        Lift *lift = NULL;
        Error *err = lift_new(requests, &quota, &lift);
        if (err) {
            not_lifted(requests, quota.id, err->what);
            error_free(&err);
            continue;
        }
        DEFER(xfree) char *via = xasprintf("restore %s", quota.id);
        JobOrder order = {.work = lift_work, .context = lift, .who = quota.who, .via = via};
        Lifting *lifting = xcalloc(1, sizeof *lifting);
        *lifting = (Lifting){.next = requests->lifting, .task = xstrdup(quota.id), .lift = lift};
        lifting->job = batch_add(requests->batch, &order);
        requests->lifting = lifting;
    }
}

static void lifting_free(Lifting *lifting)
{
    free(lifting->task);
    job_release(&lifting->job);
    lift_free(lifting->lift);
    free(lifting);
}

static void finish(Requests *requests, const Lifting *lifting)
{
    JobResult result = job_result(lifting->job);
    const Lift *lift = lifting->lift;

    if (result.err) {
        not_lifted(requests, lifting->task, result.err->what);
        return;
    }
    DEFER(xfree)
    char *words = lift->stands
                      ? xasprintf("the quota of %s is unlimited: mailctl history mailbox/%s", lift->user, lift->user)
                      : xasprintf("the quota of %s was exceeded and is unlimited since revision %" PRIu64
                                  "; undo: mailctl -i %s mailbox set %s quota=%s",
                                  lift->user, result.revision, lift->instance, lift->user, lift->former);
    tasks_quota_done(requests->with.tasks, lifting->task, words);
}

void quotas_finish(Requests *requests)
{
    for (Lifting **at = &requests->lifting; *at;) {
        Lifting *lifting = *at;
        if (!job_done(lifting->job)) {
            at = &lifting->next;
            continue;
        }
        finish(requests, lifting);
        *at = lifting->next;
        lifting_free(lifting);
    }
}

void quotas_free(Requests *requests)
{
    while (requests->lifting) {
        Lifting *next = requests->lifting->next;
        lifting_free(requests->lifting);
        requests->lifting = next;
    }
}
