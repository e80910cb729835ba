#include "waits.h"

#include "base/alloc.h"
#include "base/utf8.h"

#include <stdlib.h>
#include <string.h>

enum {
    AWAY_MS = 5000,    /* shorter than this, a node is only restarting */
    TELL_MS = 100,     /* no more often than this */
    LOOK_MS = 500,     /* while somebody is away */
    LOOK_ALL_MAX = 16, /* of so many nodes each is looked at every time */
};

typedef struct Awaited {
    char *name;
    bool settled;
    NodeForce force; /* as last seen */
    Msec settled_at;
} Awaited;

struct Wait {
    Store *store;
    Nodes *nodes;
    WaitOrder order;
    Awaited *awaited;
    size_t n, n_settled;
    size_t first; /* those before it are settled */

    bool moved;
    Msec told_at;
    bool somebody_away;
    uint64_t taken_back_by;

    Mail__NodeOutcome *outcomes;
    Mail__NodeOutcome **list;
};

static Error *name_take(void *context, const char *name)
{
    names_add(context, name);
    return NULL;
}

static Error *names_of(Wait *wait, Names *names)
{
    if (wait->order.node) {
        names_add(names, wait->order.node);
        return NULL;
    }
    return store_nodes_touched(wait->store, wait->order.every ? 0 : wait->order.revision, name_take, names);
}

Error *wait_new(Store *store, Nodes *nodes, const WaitOrder *order, Msec now, Wait **ret_wait)
{
    DEFER(wait_free) Wait *wait = xcalloc(1, sizeof *wait);
    DEFER(names_done) Names names = {0};

    *wait = (Wait){.store = store, .nodes = nodes, .order = *order, .told_at = now};
    Error *err = names_of(wait, &names);
    if (err)
        return err;
    wait->awaited = xcalloc(names.n + 1, sizeof *wait->awaited);
    wait->outcomes = xcalloc(names.n + 1, sizeof *wait->outcomes);
    wait->list = xcalloc(names.n + 1, sizeof(Mail__NodeOutcome *));
    for (size_t i = 0; i < names.n; i++)
        if (!order->without || strcmp(names.names[i], order->without) != 0)
            wait->awaited[wait->n++].name = xstrdup(names.names[i]);
    wait->order.node = wait->order.without = NULL; /* the caller's */
    *ret_wait = wait;
    wait = NULL;
    return NULL;
}

void wait_free(Wait **wait)
{
    if (!*wait)
        return;
    for (size_t i = 0; i < (*wait)->n; i++)
        free((*wait)->awaited[i].name);
    free((*wait)->awaited);
    free((*wait)->outcomes);
    free((*wait)->list);
    free(*wait);
    *wait = NULL;
}

/* ---- looking ---- */

/* Will it come by itself? */
static bool is_worth_it(Wait *wait, const Awaited *node, Msec now)
{
    Mail__NodeStatus **status = NULL;
    size_t n = 0;

    if (nodes_online(wait->nodes, node->name))
        return strncmp(node->force.why, "needs ", 6) != 0; /* a newer release: that takes an admin */
    Error *err = nodes_status(wait->nodes, &(StatusWish){.node = node->name}, now, &status, &n);
    bool away = !err && n == 1 &&
                (status[0]->state == MAIL__NODE_STATE__OFFLINE || status[0]->state == MAIL__NODE_STATE__CLONED);
    error_free(&err);
    nodes_status_free(&status, n);
    if (!away)
        return false;
    wait->somebody_away = true;
    return wait->order.patient || node->force.offline_for_ms < AWAY_MS || now < wait->order.young_until;
}

static void look_at(Wait *wait, Awaited *node, Msec now)
{
    if (node->settled)
        return;
    nodes_force(wait->nodes, node->name, wait->order.revision, now, &node->force);
    /* What a node refused is taken back, or the node is held: either follows at once. */
    bool moving =
        node->force.state == MAIL__FORCE_STATE__PENDING || node->force.state == MAIL__FORCE_STATE__NODE_REFUSED;
    if (moving && is_worth_it(wait, node, now))
        return;
    node->settled = true;
    node->settled_at = now;
    wait->n_settled++;
    wait->moved = true;
}

/* Of a thousand nodes the first that is still awaited is enough to know that it goes on. */
bool wait_look(Wait *wait, Msec now)
{
    bool all = wait->n <= LOOK_ALL_MAX || now >= wait->told_at + TELL_MS || now >= wait->order.until;

    wait->somebody_away = false;
    while (wait->first < wait->n) {
        look_at(wait, &wait->awaited[wait->first], now);
        if (!wait->awaited[wait->first].settled)
            break;
        wait->first++;
    }
    for (size_t i = wait->first; all && i < wait->n; i++)
        look_at(wait, &wait->awaited[i], now);
    return wait->n_settled == wait->n || now >= wait->order.until;
}

bool wait_moved(const Wait *wait, Msec now)
{
    return wait->moved && now >= wait->told_at + TELL_MS;
}

Msec wait_at(const Wait *wait, Msec now)
{
    Msec at = wait->order.until;

    if (wait->moved && wait->told_at + TELL_MS < at)
        at = wait->told_at + TELL_MS;
    if (wait->n > LOOK_ALL_MAX && now + TELL_MS < at)
        at = now + TELL_MS;
    if (wait->somebody_away && now + LOOK_MS < at)
        at = now + LOOK_MS;
    return at;
}

/* ---- telling ---- */

static void outcome_fill(const Wait *wait, Awaited *node, Mail__NodeOutcome *out)
{
    mail__node_outcome__init(out);
    out->node = node->name;
    out->has_state = true;
    out->state = node->force.state;
    if (node->settled && node->force.state == MAIL__FORCE_STATE__IN_FORCE) {
        out->has_took_ms = true;
        out->took_ms = node->settled_at - wait->order.since;
    }
    if (*node->force.why)
        out->why = node->force.why;
    if (node->force.offline_for_ms) {
        out->has_offline_for_ms = true;
        out->offline_for_ms = node->force.offline_for_ms;
    }
}

void wait_outcome(Wait *wait, Msec now, Mail__Outcome *ret_outcome)
{
    for (size_t i = 0; i < wait->n; i++) {
        outcome_fill(wait, &wait->awaited[i], &wait->outcomes[i]);
        wait->list[i] = &wait->outcomes[i];
    }
    ret_outcome->has_revision = true;
    ret_outcome->revision = wait->order.revision;
    ret_outcome->nodes = wait->list;
    ret_outcome->n_nodes = wait->n;
    if (wait->taken_back_by) {
        ret_outcome->has_reverted_by = true;
        ret_outcome->reverted_by = wait->taken_back_by;
    }
    wait->moved = false;
    wait->told_at = now;
}

/* Whole characters: what is cut inside one could not be sent. */
static void words_copy(char *out, size_t size, const char *words)
{
    size_t len = 0, all = strlen(words);

    while (len < all) {
        size_t more = utf8_char_len(words + len, all - len);
        if (!more || len + more >= size)
            break;
        len += more;
    }
    memcpy(out, words, len);
    out[len] = '\0';
}

void wait_refused(Wait *wait, uint64_t revision, const char *node, const char *why, uint64_t taken_back_by)
{
    if (wait->order.revision != revision)
        return;
    for (size_t i = 0; i < wait->n; i++) {
        Awaited *awaited = &wait->awaited[i];
        /* what is taken back comes to nobody any more */
        if (strcmp(awaited->name, node) != 0 && awaited->settled)
            continue;
        if (strcmp(awaited->name, node) == 0) {
            awaited->force.state = MAIL__FORCE_STATE__NODE_REFUSED;
            words_copy(awaited->force.why, sizeof awaited->force.why, why);
        }
        if (!awaited->settled)
            wait->n_settled++;
        awaited->settled = true;
    }
    wait->taken_back_by = taken_back_by;
    wait->moved = true;
}
