/* A sealed copy of all that makes this controller, for an admin: handed on as its child makes it. */
#include "request_inside.h"

#include "base/alloc.h"
#include "copier.h"
#include "seal/secret.h"

#include <inttypes.h>
#include <stdlib.h>

enum { PART_RETRY_MS = 20 };

typedef struct Copying {
    Requests *of;
    Copier *copier;
    Envelope *part; /* that the admin had no room for; NULL: none */
} Copying;

static bool copying_run(Ask *ask, Msec now);

static void copying_done(void *data)
{
    Copying *copying = data;

    copying->of->copying = false;
    envelope_free(&copying->part);
    copier_free(&copying->copier);
    free(copying);
}

static void copying_wait(const Ask *ask, Waiter *wake)
{
    const Copying *copying = ask->data;

    if (!copying->part)
        copier_wait(copying->copier, wake);
}

static const AskType copying_type = {.run = copying_run, .done = copying_done, .wait = copying_wait};

static void finished(const Ask *ask, const Mail__CopyInfo *info)
{
    events_add(ask->of->with.events, MAIL__FACT_STATE__GOOD, NULL, "controller copied", "by %s, revision %" PRIu64,
               ask->asker->who, info->revision);
}

/* True: this was the last, or nobody takes it. */
static bool hand_on(Ask *ask, Copying *copying, Msec now)
{
    Envelope envelope = MAIL__ENVELOPE__INIT;
    Mail__CopyPart *part = copying->part->copy_part;

    envelope.body_case = MAIL__ENVELOPE__BODY_COPY_PART;
    envelope.copy_part = part;
    if (!ask_say(ask, &envelope, part->info != NULL)) {
        ask->at = now + PART_RETRY_MS;
        return ask->talk->ended;
    }
    ask->at = now; /* there may be more */
    bool last = part->info != NULL;
    if (last)
        finished(ask, part->info);
    envelope_free(&copying->part);
    return last;
}

static bool copying_run(Ask *ask, Msec now)
{
    Copying *copying = ask->data;

    ask->at = MSEC_NEVER;
    if (!copying->part && ask_has_room(ask)) {
        Error *err = copier_next(copying->copier, &copying->part);
        if (err) {
            ask_fail(ask, err);
            return true;
        }
    }
    return copying->part ? hand_on(ask, copying, now) : false;
}

static Error *copy_check(const Ask *ask, const Mail__StoreCopy *wish)
{
    if (!wish->has_password || wish->password.len == 0)
        return error_new(ERROR_INVALID, "a copy without a password would be the whole cluster for whoever finds it");
    if (ask->of->copying)
        return error_hint(error_new(ERROR_UNAVAILABLE, "another copy is being made"), "try again when it is there");
    return NULL;
}

void request_copy(Ask *ask, Envelope **envelope, Msec now)
{
    Mail__StoreCopy *wish = (*envelope)->store_copy;
    Error *err = copy_check(ask, wish);

    if (!err) {
        Copying *copying = xcalloc(1, sizeof *copying);
        copying->of = ask->of;
        ask->of->copying = true;
        err = copier_start(ask->of->with.root, wish, &copying->copier);
        if (err)
            copying_done(copying);
        else
            ask_keep(ask, &copying_type, copying);
    }
    if (wish->password.data)
        wipe(wish->password.data, wish->password.len);
    if (err)
        ask_fail(ask, err);
    else
        ask->at = now;
}
