#include "enrol.h"

#include "node_table.h"

#include "base/alloc.h"
#include "base/crash.h"
#include "base/log.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    TURN_MAX = 256,
    FAILURES_MAX = 20, /* within a minute; then the door is shut for a while */
    WINDOW_MS = 60000,
    SHUT_MS = 10000,
};

typedef struct Joiner {
    Arrival arrival;
    Error *why; /* NULL: it is one of us after the commit */
    bool known; /* it was already: the answer to an earlier Join was lost */
} Joiner;

struct Enrol {
    Store *store;
    Door *door;
    Nodes *nodes;
    Events *events;
    Joiner turn[TURN_MAX];
    size_t n;
    unsigned failures;
    Msec window_at, shut_until;
};

Enrol *enrol_new(Store *store, Door *door, Nodes *nodes, Events *events)
{
    Enrol *enrol = xcalloc(1, sizeof *enrol);

    enrol->store = store;
    enrol->door = door;
    enrol->nodes = nodes;
    enrol->events = events;
    return enrol;
}

void enrol_free(Enrol **enrol)
{
    if (!*enrol)
        return;
    free(*enrol);
    *enrol = NULL;
}

/* ---- one joiner ---- */

/* A guess, a spent or replaced token, another name: nobody learns which.  That one has expired its holder may know. */
static Error *not_good(void)
{
    return error_new(ERROR_DENIED, "this token is not good: used, replaced, or for another node");
}

static Error *join_one(Enrol *enrol, Joiner *joiner)
{
    const Mail__Join *join = joiner->arrival.envelope->join;
    const char *key = joiner->arrival.route.key;

    if (!join->node || !join->has_secret || join->secret.len != DIGEST_SIZE)
        return not_good();
    joiner->known = nodes_key_is(enrol->nodes, join->node, key);
    if (joiner->known)
        return NULL; /* its key proves it better than a token */
    if (door_knows(enrol->door, key))
        return not_good();
    Digest hash = digest_of(join->secret.data, join->secret.len);
    Error *err = store_token_spend(enrol->store, join->node, &hash, (uint64_t)time(NULL));
    if (!err)
        return nodes_join(enrol->nodes, join->node, key);
    if (err->code == ERROR_NOT_FOUND) {
        error_free(&err);
        return not_good();
    }
    if (err->code == ERROR_DENIED) {
        error_free(&err);
        return error_new(ERROR_DENIED, "this token has expired: each is good for an hour");
    }
    return err;
}

static void answer(Enrol *enrol, Joiner *joiner)
{
    Envelope reply = MAIL__ENVELOPE__INIT;
    Mail__Joined joined = MAIL__JOINED__INIT;
    const Envelope *asked = joiner->arrival.envelope;

    if (joiner->why) {
        door_answer_error(enrol->door, WHOSE_NEWCOMER, &joiner->arrival.route, asked->id, &joiner->why);
        return;
    }
    joined.node = asked->join->node;
    reply.body_case = MAIL__ENVELOPE__BODY_JOINED;
    reply.joined = &joined;
    reply.has_in_reply_to = reply.has_last = reply.last = true;
    reply.in_reply_to = asked->id;
    Error *lost = door_send(enrol->door, WHOSE_NEWCOMER, &joiner->arrival.route, &reply);
    error_free(&lost); /* it asks again with the same key, and is told again */
}

/* ---- the turn ---- */

static void count_failure(Enrol *enrol, const Joiner *joiner, Msec now)
{
    const Mail__Join *join = joiner->arrival.envelope->join;

    if (now >= enrol->window_at + WINDOW_MS) {
        enrol->window_at = now;
        enrol->failures = 0;
    }
    events_add(enrol->events, MAIL__FACT_STATE__DEGRADED, NULL, "join refused", "as node %.63s, key %s: %s",
               join->node ? join->node : "-", key_fingerprint(joiner->arrival.route.key).text, joiner->why->what);
    if (++enrol->failures < FAILURES_MAX)
        return;
    enrol->shut_until = now + SHUT_MS;
    enrol->failures = 0;
    events_add(enrol->events, MAIL__FACT_STATE__BAD, NULL, "enrolment slowed",
               "%d joins with bad tokens within a minute: nobody can join for %d s", FAILURES_MAX, SHUT_MS / 1000);
}

/* All joins of a turn are one transaction: spent tokens and new keys, or neither. */
static Error *join_all(Enrol *enrol)
{
    Error *err = store_begin(enrol->store);

    if (err)
        return err;
    for (size_t i = 0; i < enrol->n; i++)
        enrol->turn[i].why = join_one(enrol, &enrol->turn[i]);
    CRASH_POINT("controller.node.joining");
    err = store_commit(enrol->store);
    if (!err)
        CRASH_POINT("controller.node.joined");
    return err;
}

static void fail_all(Enrol *enrol, Error *err)
{
    for (size_t i = 0; i < enrol->n; i++) {
        error_free(&enrol->turn[i].why);
        enrol->turn[i].why = error_new(err->code, "%s", err->what);
    }
    log_stop(LOG_LEVEL_ERROR, "joins not stored", &err);
}

static void settle(Enrol *enrol, Msec now)
{
    for (size_t i = 0; i < enrol->n; i++) {
        Joiner *joiner = &enrol->turn[i];
        if (joiner->why && joiner->why->code == ERROR_DENIED)
            count_failure(enrol, joiner, now);
        if (!joiner->why && !joiner->known)
            nodes_joined(enrol->nodes, joiner->arrival.envelope->join->node, joiner->arrival.route.key);
        answer(enrol, joiner);
        envelope_free(&joiner->arrival.envelope);
    }
    enrol->n = 0;
}

/* Everything but a Join ends here. */
static bool is_join(Enrol *enrol, Arrival *arrival)
{
    NodeVerb verb = NODE_NOT_EXPECTED;

    node_verb(arrival->envelope->body_case, ROLE_NEWCOMER, SESSION_NEW, &verb);
    if (verb == NODE_JOIN)
        return true;
    if (verb == NODE_NOT_EXPECTED) {
        Error *err = error_new(ERROR_INVALID, "%s is not expected at the enrolment port",
                               body_name(arrival->envelope->body_case));
        door_answer_error(enrol->door, WHOSE_NEWCOMER, &arrival->route, arrival->envelope->id, &err);
    }
    envelope_free(&arrival->envelope);
    return false;
}

static bool shut(Enrol *enrol, Arrival *arrival, Msec now)
{
    if (now >= enrol->shut_until)
        return false;
    Error *err = error_new(ERROR_UNAVAILABLE, "too many bad tokens came in: try again in a few seconds");
    door_answer_error(enrol->door, WHOSE_NEWCOMER, &arrival->route, arrival->envelope->id, &err);
    envelope_free(&arrival->envelope);
    return true;
}

void enrol_run(Enrol *enrol, Msec now)
{
    Arrival arrival;

    while (enrol->n < TURN_MAX && door_take(enrol->door, WHOSE_NEWCOMER, &arrival))
        if (is_join(enrol, &arrival) && !shut(enrol, &arrival, now))
            enrol->turn[enrol->n++] = (Joiner){.arrival = arrival};
    if (!enrol->n)
        return;
    Error *err = join_all(enrol);
    if (err)
        fail_all(enrol, err);
    settle(enrol, now);
}
