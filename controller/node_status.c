/* How a revision stands on a node, and what is shown of nodes. */
#include "node_inside.h"

#include "base/alloc.h"
#include "base/log.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* 0: never. */
static uint64_t seen_ms(const Node *node, Msec now)
{
    uint64_t now_s = (uint64_t)time(NULL);

    if (node->heard_at)
        return now > node->heard_at ? now - node->heard_at : 1;
    return node->seen_s ? (now_s > node->seen_s ? (now_s - node->seen_s) * 1000 : 1) : 0;
}

static bool away(const Node *node)
{
    return !node->connected || node->silent;
}

static Mail__NodeState state_of(const Node *node)
{
    if (!node->key[0])
        return MAIL__NODE_STATE__NEVER_JOINED;
    if (node->revoked)
        return MAIL__NODE_STATE__REVOKED;
    if (node->connected && node->state == SESSION_FORKED)
        return MAIL__NODE_STATE__NODE_FORKED; /* the alarm stands while it is away, too */
    if (away(node))
        return MAIL__NODE_STATE__OFFLINE;
    return node->cloned_at ? MAIL__NODE_STATE__CLONED : MAIL__NODE_STATE__ONLINE;
}

/* ---- in force ---- */

/* The revision that the node must have for 'revision' to be in force there: the newest up to it that concerns the node. */
static Error *needed_for(Nodes *nodes, const Node *node, uint64_t revision, uint64_t *ret_needed)
{
    if (!revision || revision >= node->revision)
        *ret_needed = node->revision;
    else if (node->applied >= revision && node->config >= revision)
        *ret_needed = revision; /* at most that */
    else
        return store_node_revision(nodes->store, node->name, revision, ret_needed);
    return NULL;
}

static Mail__ForceState force_of(const Node *node, uint64_t needed)
{
    if (node->connected && node->state == SESSION_FORKED)
        return MAIL__FORCE_STATE__PENDING;
    if (node->applied >= needed)
        return node->config >= needed ? MAIL__FORCE_STATE__IN_FORCE : MAIL__FORCE_STATE__HELD;
    /* Later revisions wait for what becomes of the refused one. */
    return node->refused && needed <= node->refused ? MAIL__FORCE_STATE__NODE_REFUSED : MAIL__FORCE_STATE__PENDING;
}

static void why_not(const Node *node, Mail__ForceState state, uint64_t ours, char *out, size_t size)
{
    const char *words = node->why ? node->why : "";

    out[0] = '\0';
    if (state == MAIL__FORCE_STATE__IN_FORCE)
        return;
    if (!node->key[0])
        snprintf(out, size, "has not joined yet");
    else if (node->revoked)
        snprintf(out, size, "revoked");
    else if (node->connected && node->state == SESSION_FORKED)
        snprintf(out, size,
                 "forked: it is at revision %" PRIu64 ", which is not in this store (at %" PRIu64
                 "); mailctl node resync %s --force gives its state up",
                 node->fork, ours, node->name);
    else if (state == MAIL__FORCE_STATE__NODE_REFUSED || state == MAIL__FORCE_STATE__HELD)
        words_into(out, size, words);
    else if (away(node))
        snprintf(out, size, "offline");
    else if (node->schema_old)
        snprintf(out, size, "needs %s", MAILNODE_RELEASE);
    else if (node->unsupported || node->refused) {
        DEFER(xfree)
        char *text = node->unsupported ? xasprintf("needs %s: %s", MAILNODE_RELEASE, words)
                                       : xasprintf("revision %" PRIu64 " refused: %s", node->refused, words);
        words_into(out, size, text);
    }
}

void nodes_force(Nodes *nodes, const char *name, uint64_t revision, Msec now, NodeForce *ret_force)
{
    const Node *node = node_find(nodes, name);
    uint64_t needed = 0;

    *ret_force = (NodeForce){.state = MAIL__FORCE_STATE__PENDING};
    if (nodes->revision < (revision ? revision : store_revision(nodes->store))) {
        words_into(ret_force->why, sizeof ret_force->why, "not looked through yet"); /* change_learn */
        return;
    }
    if (!node) {
        ret_force->state = MAIL__FORCE_STATE__IN_FORCE; /* it was removed: nothing is wanted of it any more */
        return;
    }
    Error *err = needed_for(nodes, node, revision, &needed);
    if (err) {
        words_into(ret_force->why, sizeof ret_force->why, err->what);
        error_free(&err);
        return;
    }
    ret_force->state = force_of(node, needed);
    why_not(node, ret_force->state, nodes->revision, ret_force->why, sizeof ret_force->why);
    if (ret_force->state == MAIL__FORCE_STATE__IN_FORCE || !away(node) || node->revoked || !node->key[0])
        return;
    ret_force->offline_for_ms = seen_ms(node, now);
    if (!ret_force->offline_for_ms)
        ret_force->offline_for_ms = now > nodes->started_at ? now - nodes->started_at : 1; /* never seen by us */
}

/* ---- status ---- */

typedef struct Placed {
    char **nodes, **instances;
    size_t n, room;
} Placed;

static Error *place(void *context, const ObjectRef *ref, const void *bytes, size_t size)
{
    Placed *placed = context;
    DEFER(object_free) Object *object = NULL;

    Error *err = object_unpack(bytes, size, &object);
    if (err || !object->instance->node || !object->instance->node[0])
        return err;
    if (placed->n == placed->room) {
        placed->room = placed->room ? placed->room * 2 : 16;
        placed->nodes = xrealloc(placed->nodes, placed->room * sizeof *placed->nodes);
        placed->instances = xrealloc(placed->instances, placed->room * sizeof *placed->instances);
    }
    placed->nodes[placed->n] = xstrdup(object->instance->node);
    placed->instances[placed->n++] = xstrdup(ref->name);
    return NULL;
}

static void placed_done(Placed *placed)
{
    for (size_t i = 0; i < placed->n; i++) {
        free(placed->nodes[i]);
        free(placed->instances[i]);
    }
    free(placed->nodes);
    free(placed->instances);
}

enum { MIRROR_OLD_MS = 60 * 1000 };

/* SPEC F-181, X-05: a mirror that is held, away or old, and backups that are, are seen without asking for them. */
static bool shown_by_itself(const Mail__Fact *fact)
{
    const char *name = fact->name ? fact->name : "";
    bool mirror = strcmp(name, "accounts") == 0;

    if (!mirror && strcmp(name, "backup") != 0)
        return false;
    return fact->state == MAIL__FACT_STATE__DEGRADED || fact->state == MAIL__FACT_STATE__BAD ||
           (mirror && fact->state == MAIL__FACT_STATE__GOOD && fact->age_ms > MIRROR_OLD_MS);
}

static uint64_t older(uint64_t age_ms, uint64_t by_ms)
{
    return age_ms < UINT64_MAX - by_ms ? age_ms + by_ms : UINT64_MAX;
}

static void facts_of(const Node *node, bool all, Msec now, Mail__NodeStatus *status)
{
    uint64_t age = now > node->report_at ? now - node->report_at : 0;

    if (!node->report)
        return;
    status->facts = xcalloc(node->report->n_facts + 1, sizeof(Mail__Fact *));
    for (size_t i = 0; i < node->report->n_facts; i++) {
        const Mail__Fact *known = node->report->facts[i];
        if (!all && !shown_by_itself(known))
            continue;
        Mail__Fact *fact = xcalloc(1, sizeof *fact);
        mail__fact__init(fact);
        fact->name = xstrdup(known->name ? known->name : "?");
        fact->text = xstrdup(known->text ? known->text : "");
        fact->has_state = fact->has_age_ms = fact->has_since_ms = true;
        fact->state = known->has_state ? known->state : MAIL__FACT_STATE__UNKNOWN;
        fact->age_ms = older(known->age_ms, age);
        fact->since_ms = older(known->since_ms, age);
        status->facts[status->n_facts++] = fact;
    }
}

static void backups_of(const Node *node, Msec now, Mail__NodeStatus *status)
{
    uint64_t age = now > node->report_at ? now - node->report_at : 0;

    if (!node->report)
        return;
    status->backups = xcalloc(node->report->n_backups + 1, sizeof(Mail__BackupStanding *));
    for (size_t i = 0; i < node->report->n_backups; i++) {
        const Mail__BackupStanding *known = node->report->backups[i];
        Mail__BackupStanding *standing = xmalloc(sizeof *standing);
        *standing = *known;
        standing->plan = xstrdup(known->plan ? known->plan : "?");
        standing->destination = xstrdup(known->destination ? known->destination : "?");
        standing->text = xstrdup(known->text ? known->text : "");
        standing->snapshot = known->snapshot ? xstrdup(known->snapshot) : NULL;
        standing->base.n_unknown_fields = 0;
        standing->base.unknown_fields = NULL;
        standing->ended_age_ms = older(known->ended_age_ms, age);
        standing->good_age_ms = older(known->good_age_ms, age);
        standing->next_ms = known->next_ms > age ? known->next_ms - age : 0;
        status->backups[status->n_backups++] = standing;
    }
}

static Mail__NodeStatus *status_of(Nodes *nodes, const Node *node, const StatusWish *wish, Msec now)
{
    Mail__NodeStatus *status = xcalloc(1, sizeof *status);
    NodeForce force;

    mail__node_status__init(status);
    nodes_force(nodes, node->name, 0, now, &force);
    status->name = xstrdup(node->name);
    status->has_state = status->has_force = status->has_revision = status->has_applied_revision =
        status->has_config_revision = true;
    status->state = state_of(node);
    status->force = force.state;
    status->revision = node->revision;
    status->applied_revision = node->applied;
    status->config_revision = node->config;
    status->seen_ms = seen_ms(node, now);
    status->has_seen_ms = status->seen_ms;
    status->release = node->release[0] ? xstrdup(node->release) : NULL;
    status->why = force.why[0] ? xstrdup(force.why) : NULL;
    if (!status->why && node->cloned_at)
        status->why = xstrdup("a clone was refused: another machine has its key");
    facts_of(node, wish->facts, now, status);
    if (wish->backups)
        backups_of(node, now, status);
    return status;
}

static size_t collect(Nodes *nodes, const StatusWish *wish, Msec now, Mail__NodeStatus **out)
{
    size_t n = 0;

    for (size_t i = 0; i < nodes->n; i++)
        if (!wish->node || strcmp(wish->node, nodes->list[i]->name) == 0)
            out[n++] = status_of(nodes, nodes->list[i], wish, now);
    return n;
}

static int status_order(const void *a, const void *b)
{
    return strcmp((*(Mail__NodeStatus *const *)a)->name, (*(Mail__NodeStatus *const *)b)->name);
}

/* There may be more instances than nodes that are asked for: each looks for its node. */
static void name_instances(const Placed *placed, Mail__NodeStatus **status, size_t n)
{
    for (size_t i = 0; i < placed->n; i++) {
        Mail__NodeStatus wanted = MAIL__NODE_STATUS__INIT, *key = &wanted;
        wanted.name = placed->nodes[i];
        Mail__NodeStatus **found = bsearch(&key, status, n, sizeof(Mail__NodeStatus *), status_order);
        if (found && !(*found)->instance)
            (*found)->instance = xstrdup(placed->instances[i]);
    }
}

Error *nodes_status(Nodes *nodes, const StatusWish *wish, Msec now, Mail__NodeStatus ***ret_status, size_t *ret_n)
{
    DEFER(placed_done) Placed placed = {0};

    if (wish->node && !node_find(nodes, wish->node))
        return error_new(ERROR_NOT_FOUND, "node %s does not exist", wish->node);
    Error *err = store_each(nodes->store, &(StoreFilter){.kind = MAIL__OBJECT__BODY_INSTANCE}, place, &placed);
    if (err)
        return error_in(err, "instances");
    Mail__NodeStatus **status = xcalloc(nodes->n + 1, sizeof(Mail__NodeStatus *));
    size_t n = collect(nodes, wish, now, status);
    if (n)
        name_instances(&placed, status, n);
    *ret_status = status;
    *ret_n = n;
    return NULL;
}

static void clock_text(uint64_t ms_ago, char *out, size_t size)
{
    time_t then = time(NULL) - (time_t)(ms_ago / 1000);
    struct tm when;

    localtime_r(&then, &when);
    strftime(out, size, ms_ago < 12 * 3600 * 1000 ? "%H:%M" : "%Y-%m-%d %H:%M", &when);
}

AwayWords nodes_away(const Nodes *nodes, const char *name, Msec now)
{
    const Node *node = node_find(nodes, name);
    AwayWords words = {"is offline"};
    char since[32];

    if (!node || !node->key[0])
        return (AwayWords){"has not joined yet"};
    if (node->revoked)
        return (AwayWords){"is revoked"};
    if (!away(node) && node->state == SESSION_FORKED)
        return (AwayWords){"is forked"};
    if (!away(node))
        return (AwayWords){"takes nothing more for now"};
    uint64_t ago_ms = seen_ms(node, now);
    if (ago_ms) {
        clock_text(ago_ms, since, sizeof since);
        snprintf(words.text, sizeof words.text, "is offline since %s", since);
    }
    return words;
}

Mail__NodeState nodes_state(const Nodes *nodes, const char *name)
{
    const Node *node = node_find(nodes, name);

    return node ? state_of(node) : MAIL__NODE_STATE__NEVER_JOINED;
}

void nodes_status_free(Mail__NodeStatus ***status, size_t n)
{
    if (!*status)
        return;
    for (size_t i = 0; i < n; i++)
        mail__node_status__free_unpacked((*status)[i], NULL);
    free(*status);
    *status = NULL;
}
