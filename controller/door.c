#include "door.h"

#include "base/alloc.h"
#include "base/log.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum {
    MAIN_PER_RUN = 1024, /* messages; then the others have their turn */
    ENROL_PER_RUN = 256,
    QUEUE_MAX = 4096,      /* arrivals that a part has not taken yet */
    TOLD_FIRST_MS = 60000, /* refused handshakes as events: at most so often, and rarer while it goes on */
    TOLD_LAST_MS = 3600000,
    COMPLAIN_MS = 60000,
    LOOK_MS = 5000,
};

typedef struct Key {
    char text[CURVE_KEY_SIZE];
    Whose whose;
    char *name;
    bool complained; /* that it says what is not understood */
} Key;

typedef struct Waiting {
    CurveRoute route;
    Envelope *envelope;
} Waiting;

typedef struct Queue {
    Waiting *items;
    size_t first, n, room;
} Queue;

struct Door {
    const Identity *identity;
    Events *events;
    CurveContext *context;
    CurveServer *main, *enrol;
    Key **keys; /* in the order of their text */
    size_t n_keys, room;
    Queue queues[N_WHOSE];
    bool more; /* the limit of a turn was reached */
    uint64_t refused;
    uint64_t told; /* handshakes refused, as of the last event */
    Msec told_at, told_ms;
    Msec look_at;       /* the count rises without a message that wakes us */
    Msec complained_at; /* about strangers at the enrolment port; 0: never */
};

Error *door_new(const Identity *identity, Events *events, Door **ret_door)
{
    DEFER(door_free) Door *door = xcalloc(1, sizeof *door);

    door->identity = identity;
    door->events = events;
    Error *err = curve_context_new(&door->context);
    if (!err)
        err = curve_listen(door->context, (const char *const *)identity->endpoints, identity->n_endpoints, identity,
                           CURVE_KNOWN_KEYS, &door->main);
    if (!err)
        err = curve_listen(door->context, (const char *const *)identity->enrol_endpoints, identity->n_enrol_endpoints,
                           identity, CURVE_ANY_KEY, &door->enrol);
    if (err)
        return error_in(err, "listen");
    *ret_door = door;
    door = NULL;
    return NULL;
}

static void key_free(Key *key)
{
    free(key->name);
    free(key);
}

void door_free(Door **door)
{
    if (!*door)
        return;
    for (size_t whose = 0; whose < N_WHOSE; whose++) {
        Queue *queue = &(*door)->queues[whose];
        for (size_t i = 0; i < queue->n; i++)
            envelope_free(&queue->items[queue->first + i].envelope);
        free(queue->items);
    }
    for (size_t i = 0; i < (*door)->n_keys; i++)
        key_free((*door)->keys[i]);
    free((*door)->keys);
    curve_server_free(&(*door)->main);
    curve_server_free(&(*door)->enrol);
    curve_context_free(&(*door)->context);
    free(*door);
    *door = NULL;
}

/* ---- keys ---- */

/* The place of this key, or where it would be. */
static size_t key_place(const Door *door, const char *text, bool *ret_there)
{
    size_t low = 0, high = door->n_keys;

    *ret_there = false;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = strcmp(text, door->keys[middle]->text);
        if (order == 0) {
            *ret_there = true;
            return middle;
        }
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

static Key *key_of(const Door *door, const char *text)
{
    bool there = false;
    size_t place = key_place(door, text, &there);

    return there ? door->keys[place] : NULL;
}

void door_admit(Door *door, const char *text, Whose whose, const char *name)
{
    bool there = false;
    size_t place = key_place(door, text, &there);

    if (there) {
        if (door->keys[place]->whose != whose) /* validation says so first; whoever had it keeps it */
            log_error("a key cannot be a node's and an admin's", kv("key", key_fingerprint(text).text));
        return;
    }
    if (door->n_keys == door->room) {
        door->room = door->room ? door->room * 2 : 16;
        door->keys = xrealloc(door->keys, door->room * sizeof(Key *));
    }
    Key *key = xcalloc(1, sizeof *key);
    strncpy(key->text, text, sizeof key->text - 1);
    key->whose = whose;
    key->name = name ? xstrdup(name) : NULL;
    memmove(door->keys + place + 1, door->keys + place, (door->n_keys++ - place) * sizeof(Key *));
    door->keys[place] = key;
    curve_allow(door->context, text);
}

void door_refuse(Door *door, const char *text)
{
    bool there = false;
    size_t place = key_place(door, text, &there);

    if (!there)
        return;
    curve_disallow(door->context, text);
    key_free(door->keys[place]);
    memmove(door->keys + place, door->keys + place + 1, (--door->n_keys - place) * sizeof(Key *));
}

bool door_knows(const Door *door, const char *text)
{
    return key_of(door, text);
}

const Identity *door_identity(const Door *door)
{
    return door->identity;
}

uint64_t door_refused(const Door *door)
{
    return door->refused + curve_refused(door->context);
}

/* ---- sending ---- */

Error *door_send(Door *door, Whose whose, const CurveRoute *route, Envelope *envelope)
{
    return curve_send(whose == WHOSE_NEWCOMER ? door->enrol : door->main, route, envelope);
}

void door_answer_error(Door *door, Whose whose, const CurveRoute *route, uint64_t id, Error **err)
{
    Envelope reply = MAIL__ENVELOPE__INIT;
    Mail__Failure failure = failure_of(*err);

    reply.body_case = MAIL__ENVELOPE__BODY_FAILURE;
    reply.failure = &failure;
    reply.has_in_reply_to = reply.has_last = reply.last = true;
    reply.in_reply_to = id;
    Error *lost = door_send(door, whose, route, &reply);
    error_free(&lost); /* who does not listen misses it */
    error_free(err);
}

/* ---- receiving ---- */

static bool enqueue(Queue *queue, const CurveRoute *route, Envelope *envelope)
{
    if (queue->n == QUEUE_MAX)
        return false;
    if (queue->first && queue->first + queue->n == queue->room) {
        memmove(queue->items, queue->items + queue->first, queue->n * sizeof *queue->items);
        queue->first = 0;
    }
    if (queue->n == queue->room) {
        queue->room = queue->room ? queue->room * 2 : 64;
        queue->items = xrealloc(queue->items, queue->room * sizeof *queue->items);
    }
    queue->items[queue->first + queue->n++] = (Waiting){*route, envelope};
    return true;
}

bool door_take(Door *door, Whose whose, Arrival *ret_arrival)
{
    Queue *queue = &door->queues[whose];

    while (queue->n) {
        Waiting next = queue->items[queue->first];
        queue->first = --queue->n ? queue->first + 1 : 0;
        /* Its key may have been refused since it came in. */
        const Key *key = whose == WHOSE_NEWCOMER ? NULL : key_of(door, next.route.key);
        if (whose == WHOSE_NEWCOMER || (key && key->whose == whose)) {
            *ret_arrival = (Arrival){next.route, key ? key->name : NULL, next.envelope};
            return true;
        }
        door->refused++;
        envelope_free(&next.envelope);
    }
    return false;
}

/* Says once per key that it talks rubbish; strangers may choose a key for each message, so they share one a minute. */
static void complain(Door *door, Key *key, const CurveRoute *route, const char *why, Msec now)
{
    if (key ? key->complained : door->complained_at && now < door->complained_at + COMPLAIN_MS)
        return;
    if (key)
        key->complained = true;
    else
        door->complained_at = now;
    log_warning("message not understood", kv("from", key && key->name ? key->name : "-"),
                kv("key", key_fingerprint(route->key).text), kv("why", why));
}

/* Takes err. */
static void not_understood(Door *door, Whose whose, const CurveRoute *route, uint64_t id, Error *err, Msec now)
{
    Key *key = whose == WHOSE_NEWCOMER ? NULL : key_of(door, route->key);

    door->refused++;
    if (whose != WHOSE_NEWCOMER && !key) {
        error_free(&err); /* refused since it came in: dropped unseen */
        return;
    }
    complain(door, key, route, err->what, now);
    if (id)
        door_answer_error(door, whose, route, id, &err);
    error_free(&err);
}

static void sort_in(Door *door, Whose whose, const CurveRoute *route, Envelope *envelope)
{
    if (whose != WHOSE_NEWCOMER) {
        const Key *key = key_of(door, route->key);
        if (!key) {
            door->refused++;
            envelope_free(&envelope);
            return;
        }
        whose = key->whose;
    }
    if (enqueue(&door->queues[whose], route, envelope))
        return;
    Error *err = error_new(ERROR_UNAVAILABLE, "%d messages wait already", QUEUE_MAX);
    door_answer_error(door, whose, route, envelope->id, &err);
    envelope_free(&envelope);
}

/* True: something came, and more may be there. */
static bool receive_one(Door *door, Whose whose, Msec now)
{
    Envelope *envelope = NULL;
    CurveRoute route = {.id_size = 0};
    uint64_t id = 0;

    Error *err = curve_receive(whose == WHOSE_NEWCOMER ? door->enrol : door->main, &route, &envelope, &id);
    if (err) {
        not_understood(door, whose, &route, id, err, now);
        return true;
    }
    if (envelope)
        sort_in(door, whose, &route, envelope);
    return envelope;
}

static bool receive(Door *door, Whose whose, int limit, Msec now)
{
    int n = 0;

    while (n < limit && receive_one(door, whose, now))
        n++;
    return n == limit;
}

/* Handshakes are refused where no message of ours can be logged: an admin shall see that somebody tries. */
static void tell_refused(Door *door, Msec now)
{
    uint64_t refused = curve_refused(door->context);

    if (door->told_at && now < door->told_at + door->told_ms)
        return;
    if (refused == door->told) {
        door->told_ms = 0;
        return;
    }
    events_add(door->events, MAIL__FACT_STATE__DEGRADED, NULL, "handshakes refused",
               "%" PRIu64 " with keys that are not known", refused - door->told);
    door->told = refused;
    door->told_at = now;
    door->told_ms = door->told_ms ? door->told_ms * 2 : TOLD_FIRST_MS;
    if (door->told_ms > TOLD_LAST_MS)
        door->told_ms = TOLD_LAST_MS;
}

void door_run(Door *door, Msec now)
{
    bool more_main = receive(door, WHOSE_NODE, MAIN_PER_RUN, now);
    bool more_enrol = receive(door, WHOSE_NEWCOMER, ENROL_PER_RUN, now);

    door->more = more_main || more_enrol;
    door->look_at = now + LOOK_MS;
    tell_refused(door, now);
}

void door_wait(Door *door, Waiter *wake)
{
    curve_server_wait(door->main, wake);
    curve_server_wait(door->enrol, wake);
    if (door->more)
        waiter_now(wake);
    waiter_at(wake, door->look_at);
}
