#include "node_inside.h"

#include "base/alloc.h"
#include "base/log.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    SEEN_MS = 60000,    /* how often last words are stored, all in one transaction */
    AWAITED_MS = 30000, /* after the start: who is not back by then is offline */
    OLD_S = 400 * 86400,
};

/* ---- the list ---- */

static size_t node_place(const Nodes *nodes, const char *name, bool *ret_there)
{
    size_t low = 0, high = nodes->n;

    *ret_there = false;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = strcmp(name, nodes->list[middle]->name);
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

Node *node_find(const Nodes *nodes, const char *name)
{
    bool there = false;
    size_t place = node_place(nodes, name, &there);

    return there ? nodes->list[place] : NULL;
}

Node *node_add(Nodes *nodes, const char *name)
{
    bool there = false;
    size_t place = node_place(nodes, name, &there);

    if (there)
        return nodes->list[place];
    if (nodes->n == nodes->room) {
        nodes->room = nodes->room ? nodes->room * 2 : 16;
        nodes->list = xrealloc(nodes->list, nodes->room * sizeof(Node *));
    }
    Node *node = xcalloc(1, sizeof *node);
    node->name = xstrdup(name);
    node->retry_ms = RETRY_FIRST_MS;
    memmove(nodes->list + place + 1, nodes->list + place, (nodes->n++ - place) * sizeof(Node *));
    nodes->list[place] = node;
    return node;
}

static void node_free(Node *node)
{
    envelope_free(&node->rival.hello);
    if (node->report)
        mail__report__free_unpacked(node->report, NULL);
    words_made_done(node);
    free(node->why);
    free(node->name);
    free(node);
}

/* The node was removed from the state: its key goes with it. */
void node_remove(Nodes *nodes, const char *name)
{
    bool there = false;
    size_t place = node_place(nodes, name, &there);

    if (!there)
        return;
    Node *node = nodes->list[place];
    session_end(nodes, node);
    if (node->key[0])
        door_refuse(nodes->door, node->key);
    Error *err = store_node_key_forget(nodes->store, name);
    log_stop(LOG_LEVEL_ERROR, "key of a removed node not forgotten, at the next start again", &err);
    node_free(node);
    memmove(nodes->list + place, nodes->list + place + 1, (--nodes->n - place) * sizeof(Node *));
}

/* ---- opening ---- */

typedef struct Loading {
    Nodes *nodes;
    char **orphans; /* keys of nodes that are no more: the program ended between removal and forgetting */
    size_t n_orphans;
} Loading;

static Error *load_node(void *context, const ObjectRef *ref, const void *bytes, size_t size)
{
    (void)bytes;
    (void)size;
    node_add(context, ref->name);
    return NULL;
}

static Error *load_key(void *context, const NodeKey *key)
{
    Loading *loading = context;
    Node *node = node_find(loading->nodes, key->node);

    if (!node) {
        loading->orphans = xrealloc(loading->orphans, (loading->n_orphans + 1) * sizeof *loading->orphans);
        loading->orphans[loading->n_orphans++] = xstrdup(key->node);
        return NULL;
    }
    if (!key->public_key)
        return NULL;
    strncpy(node->key, key->public_key, sizeof node->key - 1);
    node->revoked = key->revoked;
    node->seen_s = key->last_seen_s;
    node->awaited = !key->revoked;
    if (!key->revoked)
        door_admit(loading->nodes->door, node->key, WHOSE_NODE, node->name);
    return NULL;
}

static Error *load_all(Nodes *nodes)
{
    Loading loading = {.nodes = nodes};

    Error *err = store_each(nodes->store, &(StoreFilter){.kind = MAIL__OBJECT__BODY_NODE}, load_node, nodes);
    if (!err)
        err = store_node_keys(nodes->store, load_key, &loading);
    for (size_t i = 0; i < loading.n_orphans; i++) {
        if (!err)
            err = store_node_key_forget(nodes->store, loading.orphans[i]);
        free(loading.orphans[i]);
    }
    free(loading.orphans);
    for (size_t i = 0; !err && i < nodes->n; i++)
        err = store_node_revision(nodes->store, nodes->list[i]->name, 0, &nodes->list[i]->revision);
    nodes->revision = store_revision(nodes->store);
    return err;
}

Error *nodes_new(Store *store, Door *door, Events *events, const NodesOptions *options, Nodes **ret_nodes)
{
    DEFER(nodes_free) Nodes *nodes = xcalloc(1, sizeof *nodes);

    nodes->store = store;
    nodes->door = door;
    nodes->events = events;
    nodes->options = *options;
    nodes->started_at = clock_ms();
    nodes->seen_at = nodes->started_at + SEEN_MS;
    Error *err = load_all(nodes);
    if (err)
        return error_in(err, "nodes");
    *ret_nodes = nodes;
    nodes = NULL;
    return NULL;
}

void nodes_tasks(Nodes *nodes, Tasks *tasks)
{
    nodes->tasks = tasks;
}

/* Last words cost no transaction each: what is lost with a crash is a minute of "last seen". */
static Error *store_seen(Nodes *nodes)
{
    uint64_t now_s = (uint64_t)time(NULL);
    Msec now = clock_ms();

    Error *err = store_begin(nodes->store);
    if (err)
        return err;
    for (size_t i = 0; !err && i < nodes->n; i++) {
        Node *node = nodes->list[i];
        if (!node->seen_news)
            continue;
        node->seen_s = now_s - (now - node->heard_at) / 1000;
        err = store_node_seen(nodes->store, node->name, node->seen_s);
    }
    if (err) {
        store_rollback(nodes->store);
        return err;
    }
    return store_commit(nodes->store);
}

static void keep_seen(Nodes *nodes)
{
    bool news = false;

    for (size_t i = 0; i < nodes->n; i++)
        news = news || nodes->list[i]->seen_news;
    if (!news)
        return;
    Error *err = store_seen(nodes);
    for (size_t i = 0; !err && i < nodes->n; i++)
        nodes->list[i]->seen_news = false;
    log_stop(LOG_LEVEL_WARNING, "last words of nodes not stored, in a minute again", &err);
}

void nodes_free(Nodes **nodes)
{
    if (!*nodes)
        return;
    keep_seen(*nodes);
    while ((*nodes)->n)
        node_free((*nodes)->list[--(*nodes)->n]);
    for (size_t i = 0; i < (*nodes)->n_refusals; i++)
        error_free(&(*nodes)->refusals[i].why);
    free((*nodes)->refusals);
    ask_done(*nodes);
    relay_done(*nodes);
    copy_done(*nodes);
    share_done(&(*nodes)->share);
    free((*nodes)->list);
    free(*nodes);
    *nodes = NULL;
}

/* ---- the loop ---- */

/* Who was there before we were started, and does not come back. */
static void miss(Nodes *nodes, Msec now)
{
    Msec limit = silence_limit_ms(nodes->options.report_ms, false);

    if (limit < AWAITED_MS)
        limit = AWAITED_MS;
    if (now < nodes->started_at + limit) {
        if (nodes->scan_at > nodes->started_at + limit)
            nodes->scan_at = nodes->started_at + limit;
        return;
    }
    for (size_t i = 0; i < nodes->n; i++) {
        Node *node = nodes->list[i];
        if (!node->awaited)
            continue;
        node->awaited = false;
        node->silent = true; /* so that its return is told, too */
        events_add(nodes->events, MAIL__FACT_STATE__BAD, node->name, "node offline",
                   "not back since the controller was started");
    }
}

static void scan(Nodes *nodes, Msec now)
{
    nodes->scan_at = MSEC_NEVER;
    for (size_t i = 0; i < nodes->n; i++)
        session_scan(nodes, nodes->list[i], now);
    miss(nodes, now);
    if (now >= nodes->seen_at) {
        keep_seen(nodes);
        nodes->seen_at = now + SEEN_MS;
    }
    if (nodes->scan_at > nodes->seen_at)
        nodes->scan_at = nodes->seen_at;
}

void nodes_run(Nodes *nodes, Msec now)
{
    Arrival arrival;

    change_learn(nodes, now);
    while (door_take(nodes->door, WHOSE_NODE, &arrival)) {
        session_take(nodes, &arrival, now);
        envelope_free(&arrival.envelope);
    }
    /* Words of nodes only put off what is due: deadlines are looked through when the first of them is reached. */
    if (now >= nodes->scan_at)
        scan(nodes, now);
    copy_run(nodes, now);
}

void nodes_wait(Nodes *nodes, Waiter *wake)
{
    waiter_at(wake, nodes->scan_at);
    ask_wait(nodes, wake);
    copy_wait(nodes, wake);
}

void nodes_changed(Nodes *nodes, uint64_t revision, Msec now)
{
    if (revision > nodes->revision)
        change_learn(nodes, now);
}

/* ---- small questions ---- */

bool nodes_online(const Nodes *nodes, const char *name)
{
    const Node *node = node_find(nodes, name);

    return node && session_online(node);
}

bool nodes_send(Nodes *nodes, const char *name, Envelope *envelope)
{
    Node *node = node_find(nodes, name);

    return node && session_online(node) && session_say(nodes, node, envelope);
}

uint64_t nodes_moves(const Nodes *nodes)
{
    return nodes->moves;
}

bool nodes_take_refusal(Nodes *nodes, Refusal *ret_refusal)
{
    if (!nodes->n_refusals)
        return false;
    *ret_refusal = nodes->refusals[0];
    memmove(nodes->refusals, nodes->refusals + 1, --nodes->n_refusals * sizeof *nodes->refusals);
    return true;
}

void nodes_hold(Nodes *nodes, const char *name, uint64_t revision)
{
    Envelope envelope = MAIL__ENVELOPE__INIT;
    Mail__Hold hold = MAIL__HOLD__INIT;

    hold.has_revision = true;
    hold.revision = revision;
    envelope.body_case = MAIL__ENVELOPE__BODY_HOLD;
    envelope.hold = &hold;
    if (!nodes_send(nodes, name, &envelope)) /* it says again what it refused when it is back, and is told again */
        log_info("hold not sent, the node is away", kv("node", name), kv("revision", revision));
}

bool nodes_oldest(const Nodes *nodes, uint64_t *ret_revision)
{
    uint64_t oldest = store_revision(nodes->store), now_s = (uint64_t)time(NULL);

    for (size_t i = 0; i < nodes->n; i++) {
        const Node *node = nodes->list[i];
        if (!node->key[0] || node->revoked)
            continue;
        if (!node->connected) {
            if (node->seen_s && node->seen_s + OLD_S < now_s)
                continue; /* should it ever come back, it is shown as forked */
            return false;
        }
        if (node->stand.revision && node->stand.revision < oldest) /* with nothing it gets all of today */
            oldest = node->stand.revision;
    }
    *ret_revision = oldest;
    return true;
}
