/* One connection of an admin: what is said on it, and what is still owed. */
#include "request_inside.h"

#include "base/alloc.h"
#include "base/log.h"

#include <stdlib.h>
#include <string.h>

enum { FULL_MAX_MS = 30 * 1000 }; /* a remote peer that takes nothing for so long is given up */

/* ---- saying ---- */

static bool send_local(Talk *talk, Envelope *envelope)
{
    if (local_send(talk->peer, envelope))
        return true;
    talk->ended = true; /* gone, or it has stopped reading long ago */
    return false;
}

static bool send_remote(Talk *talk, Envelope *envelope)
{
    Error *err = door_send(talk->of->with.door, WHOSE_ADMIN, &talk->route, envelope);
    bool sent = !err;

    error_free(&err);
    if (sent) {
        talk->full_at = 0;
        return true;
    }
    Msec now = clock_ms();
    if (!talk->full_at)
        talk->full_at = now;
    talk->ended = now >= talk->full_at + FULL_MAX_MS;
    return false;
}

static bool talk_send(Talk *talk, Envelope *envelope)
{
    if (talk->ended)
        return false;
    return talk->peer ? send_local(talk, envelope) : send_remote(talk, envelope);
}

bool ask_say(Ask *ask, Envelope *envelope, bool last)
{
    envelope->id = 0;
    envelope->has_id = false;
    envelope->has_in_reply_to = true;
    envelope->in_reply_to = ask->id;
    envelope->has_seq = true;
    envelope->seq = ask->seq;
    envelope->has_last = last;
    envelope->last = last;
    if (!talk_send(ask->talk, envelope))
        return false;
    ask->seq++;
    ask->answered = ask->answered || last;
    return true;
}

void ask_fail(Ask *ask, Error *err)
{
    Envelope envelope = MAIL__ENVELOPE__INIT;
    Mail__Failure failure = MAIL__FAILURE__INIT;
    Mail__Done done = MAIL__DONE__INIT;

    if (err) {
        if (err->code == ERROR_SYSTEM || err->code == ERROR_DAMAGED)
            log_error("a request failed", kv("who", ask->asker ? ask->asker->who : NULL), kv("why", err->what));
        failure = failure_of(err);
        envelope.body_case = MAIL__ENVELOPE__BODY_FAILURE;
        envelope.failure = &failure;
    } else {
        envelope.body_case = MAIL__ENVELOPE__BODY_DONE;
        envelope.done = &done;
    }
    ask_say(ask, &envelope, true);
    ask->answered = true;
    error_free(&err);
}

bool ask_has_room(const Ask *ask)
{
    return ask->talk->peer ? local_queued(ask->talk->peer) < QUEUE_ENOUGH : true;
}

/* ---- asks ---- */

void ask_keep(Ask *ask, const AskType *type, void *data)
{
    ask->type = type;
    ask->data = data;
    ask->at = 0;
}

void ask_free(Ask **ask)
{
    if (!*ask)
        return;
    if ((*ask)->type && (*ask)->type->done)
        (*ask)->type->done((*ask)->data);
    asker_free(&(*ask)->asker);
    free(*ask);
    *ask = NULL;
}

/* ---- talks ---- */

static Talk *talk_new(Requests *requests, Msec now)
{
    Talk *talk = xcalloc(1, sizeof *talk);

    *talk = (Talk){.next = requests->talks, .of = requests, .heard_at = now};
    requests->talks = talk;
    return talk;
}

Talk *talk_local(Requests *requests, LocalPeer *peer, Msec now)
{
    Talk *talk = talk_new(requests, now);

    talk->peer = peer;
    talk->greeted = true;
    caller_local(&talk->caller, local_peer_uid(peer), local_peer_gid(peer));
    return talk;
}

Talk *talk_remote(Requests *requests, const CurveRoute *route, Msec now)
{
    Talk *talk = talk_new(requests, now);

    talk->route = *route;
    talk->caller = (Caller){.remote = true, .key = talk->route.key};
    requests->n_remote++;
    return talk;
}

void talk_free(Talk **talk)
{
    Talk *old = *talk;

    if (!old)
        return;
    if (!old->peer)
        old->of->n_remote--;
    while (old->asks) {
        Ask *ask = old->asks;
        old->asks = ask->next;
        ask_free(&ask);
    }
    apply_free(&old->apply);
    error_free(&old->apply_err);
    wish_done(&old->apply_wish);
    caller_done(&old->caller);
    local_peer_free(&old->peer);
    free(old);
    *talk = NULL;
}

/* Over CURVE; local.c greets by itself. */
void talk_greet(Talk *talk, const Envelope *envelope)
{
    const Mail__Greeting *theirs = envelope->greeting;
    Envelope answer = MAIL__ENVELOPE__INIT;
    Mail__Greeting ours = MAIL__GREETING__INIT;
    char release[] = MAILNODE_RELEASE, program[] = "mail-controller";

    if (theirs->protocol != ENVELOPE_VERSION) {
        talk_refuse(talk, envelope->id,
                    error_new(ERROR_UNSUPPORTED, "it speaks protocol %u, mail-controller %s speaks %d",
                              theirs->protocol, MAILNODE_RELEASE, ENVELOPE_VERSION));
        return;
    }
    ours.has_protocol = true;
    ours.protocol = ENVELOPE_VERSION;
    ours.release = release;
    ours.program = program;
    answer.body_case = MAIL__ENVELOPE__BODY_GREETING;
    answer.greeting = &ours;
    answer.has_in_reply_to = answer.has_last = answer.last = true;
    answer.in_reply_to = envelope->id;
    talk->greeted = talk_send(talk, &answer);
}

void talk_refuse(Talk *talk, uint64_t id, Error *err)
{
    Envelope envelope = MAIL__ENVELOPE__INIT;
    Mail__Failure failure = failure_of(err);

    envelope.body_case = MAIL__ENVELOPE__BODY_FAILURE;
    envelope.failure = &failure;
    envelope.has_in_reply_to = envelope.has_last = envelope.last = true;
    envelope.in_reply_to = id;
    talk_send(talk, &envelope);
    error_free(&err);
}

void talks_refused(Requests *requests, uint64_t revision, const char *node, const char *why, uint64_t taken_back_by)
{
    for (Talk *talk = requests->talks; talk; talk = talk->next)
        for (Ask *ask = talk->asks; ask; ask = ask->next)
            change_ask_refused(ask, revision, node, why, taken_back_by);
}
