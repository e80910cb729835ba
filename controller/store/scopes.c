/* Scopes: their sums, and which node needs which of them. */
#include "store/store_inside.h"

#include "base/alloc.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* ---- the scopes of an open change ---- */

static size_t name_hash(const char *name)
{
    uint64_t hash = 14695981039346656037U; /* FNV-1a */

    for (; *name; name++)
        hash = (hash ^ (uint8_t)*name) * 1099511628211U;
    return (size_t)(hash ^ (hash >> 32));
}

/* The place of this name, or the free one where it belongs. */
static size_t *place_of(const ScopeSums *scopes, const char *name)
{
    size_t mask = scopes->room * 2 - 1;

    for (size_t i = name_hash(name) & mask;; i = (i + 1) & mask) {
        size_t *place = &scopes->places[i];
        if (!*place || strcmp(scopes->sums[*place - 1].name.text, name) == 0)
            return place;
    }
}

static ScopeSum *scopesums_add(ScopeSums *scopes, const ScopeSum *sum)
{
    if (scopes->n == scopes->room) {
        scopes->room = scopes->room ? scopes->room * 2 : 16;
        scopes->sums = xrealloc(scopes->sums, scopes->room * sizeof *scopes->sums);
        free(scopes->places);
        scopes->places = xcalloc(scopes->room * 2, sizeof *scopes->places);
        for (size_t i = 0; i < scopes->n; i++)
            *place_of(scopes, scopes->sums[i].name.text) = i + 1;
    }
    *place_of(scopes, sum->name.text) = scopes->n + 1;
    scopes->sums[scopes->n] = *sum;
    return &scopes->sums[scopes->last = scopes->n++];
}

static ScopeSum *scopesums_find(ScopeSums *scopes, const char *name)
{
    if (!scopes->n)
        return NULL;
    if (strcmp(scopes->sums[scopes->last].name.text, name) == 0)
        return &scopes->sums[scopes->last];
    const size_t *place = place_of(scopes, name);
    return *place ? &scopes->sums[scopes->last = *place - 1] : NULL;
}

void scopesums_done(ScopeSums *scopes)
{
    free(scopes->sums);
    free(scopes->places);
    *scopes = (ScopeSums){0};
}

static Error *scope_read(Store *store, const char *name, ScopeSum *ret_sum, bool *ret_there)
{
    DEFER(query_done) Query query = {0};

    Error *err = query_start(&store->sql, SQL_SCOPE, &query, "t", name);
    if (!err)
        err = query_row(&query, ret_there);
    if (err || !*ret_there)
        return err;
    ret_sum->id = (int64_t)query_number(&query, 0);
    ret_sum->n_objects = (int64_t)query_number(&query, 2);
    return query_digest(&query, 1, &ret_sum->digest);
}

Error *scope_use(Store *store, const char *name, ScopeSum **ret_sum)
{
    ScopeSum sum = {0};
    bool there = false;

    *ret_sum = scopesums_find(&store->change.scopes, name);
    if (*ret_sum)
        return NULL;
    Error *err = scope_read(store, name, &sum, &there);
    if (!err && !there) {
        err = query_run(&store->sql, SQL_SCOPE_ADD, "td", name, &sum.digest);
        sum.id = sqlite3_last_insert_rowid(store->sql.db);
    }
    if (err)
        return err;
    size_t len = strlen(name);
    memcpy(sum.name.text, name, (len < SCOPE_SIZE ? len : SCOPE_SIZE - 1));
    *ret_sum = scopesums_add(&store->change.scopes, &sum);
    return NULL;
}

Error *scopes_write(Store *store)
{
    const Change *change = &store->change;
    int64_t revision = (int64_t)change->revision;
    Error *err = NULL;

    for (size_t i = 0; !err && i < change->scopes.n; i++) {
        const ScopeSum *sum = &change->scopes.sums[i];
        if (!sum->n_altered) /* what changed and changed back left the sum as it was */
            continue;
        err = query_run(&store->sql, SQL_SCOPE_SET, "idii", sum->id, &sum->digest, sum->n_objects, revision);
        if (!err)
            err = query_run(&store->sql, SQL_TOUCHED_ADD, "iii", sum->id, revision, (int64_t)sum->kinds);
    }
    return err;
}

/* ---- subscriptions ---- */

typedef struct Wishes {
    Subscription list[OBJECT_SUBSCRIPTIONS_MAX];
    size_t n;
} Wishes;

static Error *wishes_of(const Object *object, Wishes *out)
{
    out->n = object ? object_subscriptions(object, out->list, OBJECT_SUBSCRIPTIONS_MAX) : 0;
    if (out->n <= OBJECT_SUBSCRIPTIONS_MAX)
        return NULL;
    ObjectRef ref = object_ref(object);
    return error_new(ERROR_INVALID, "%s names more than %d nodes", object_title(&ref).text, OBJECT_SUBSCRIPTIONS_MAX);
}

static bool wished(const Wishes *wishes, const Subscription *one)
{
    for (size_t i = 0; i < wishes->n; i++)
        if (strcmp(wishes->list[i].node, one->node) == 0 && strcmp(wishes->list[i].scope.text, one->scope.text) == 0)
            return true;
    return false;
}

static Error *subscription_run(Store *store, SqlId id, const ObjectRef *ref, const char *node, int64_t scope)
{
    return query_run(&store->sql, id, "tiikki", node, scope, (int64_t)ref->kind, ref->instance, ref->name,
                     (int64_t)store->change.revision);
}

static Error *subscription_close(Store *store, const ObjectRef *ref, const Subscription *one)
{
    ScopeSum *sum = NULL;

    Error *err = scope_use(store, one->scope.text, &sum);
    if (!err) /* begun by this very change: it never was */
        err = subscription_run(store, SQL_SUBSCRIPTION_DROP, ref, one->node, sum->id);
    return err ? err : subscription_run(store, SQL_SUBSCRIPTION_CLOSE, ref, one->node, sum->id);
}

static Error *subscription_open(Store *store, const ObjectRef *ref, const Subscription *one)
{
    ScopeSum *sum = NULL;

    Error *err = scope_use(store, one->scope.text, &sum);
    if (!err) /* ended by this very change: it goes on */
        err = subscription_run(store, SQL_SUBSCRIPTION_REOPEN, ref, one->node, sum->id);
    if (err || sqlite3_changes(store->sql.db))
        return err;
    return subscription_run(store, SQL_SUBSCRIPTION_ADD, ref, one->node, sum->id);
}

Error *subscriptions_move(Store *store, const ObjectRef *ref, const Object *before, const Object *after)
{
    Wishes old, new;

    Error *err = wishes_of(before, &old);
    if (!err)
        err = wishes_of(after, &new);
    if (err)
        return err;
    for (size_t i = 0; !err && i < old.n; i++)
        if (!wished(&new, &old.list[i]))
            err = subscription_close(store, ref, &old.list[i]);
    for (size_t i = 0; !err && i < new.n; i++)
        if (!wished(&old, &new.list[i]))
            err = subscription_open(store, ref, &new.list[i]);
    return err;
}

/* ---- what a node needs ---- */

/* revision 0, or the newest: now. */
static Error *node_scopes_start(Store *store, const char *node, uint64_t revision, Query *ret_query)
{
    if (!revision || revision == store->now.revision)
        return query_start(&store->sql, SQL_NODE_SCOPES, ret_query, "t", node);
    Error *err = revision_check(store, revision);
    return err ? err : query_start(&store->sql, SQL_NODE_SCOPES_THEN, ret_query, "ti", node, (int64_t)revision);
}

Error *store_node_scopes(Store *store, const char *node, uint64_t revision,
                         Error *(*each)(void *context, const char *scope), void *context)
{
    DEFER(query_done) Query query = {0};
    bool row = false;

    Error *err = node_scopes_start(store, node, revision, &query);
    while (!err && !(err = query_row(&query, &row)) && row)
        err = each(context, query_words(&query, 0));
    return err;
}

Error *store_node_digest(Store *store, const char *node, Digest *ret_digest)
{
    DEFER(query_done) Query query = {0};
    Digest sum = {{0}}, one;
    bool row = false;

    Error *err = node_scopes_start(store, node, 0, &query);
    while (!err && !(err = query_row(&query, &row)) && row) {
        err = query_digest(&query, 1, &one);
        if (!err)
            digest_add(&sum, &one);
    }
    if (!err)
        *ret_digest = sum;
    return err;
}

Error *store_node_revision(Store *store, const char *node, uint64_t revision, uint64_t *ret_revision)
{
    DEFER(query_done) Query query = {0};
    bool row = false;

    Error *err = query_start(&store->sql, SQL_NODE_REVISION, &query, "ti", node,
                             (int64_t)(revision ? revision : store->now.revision));
    if (!err)
        err = query_row(&query, &row);
    if (!err)
        *ret_revision = query_number(&query, 0);
    return err;
}

Error *store_nodes_touched(Store *store, uint64_t revision, Error *(*each)(void *context, const char *node),
                           void *context)
{
    DEFER(query_done) Query query = {0};
    bool row = false;

    Error *err = revision ? query_start(&store->sql, SQL_NODES_TOUCHED, &query, "i", (int64_t)revision)
                          : query_start(&store->sql, SQL_NODES, &query, "");
    while (!err && !(err = query_row(&query, &row)) && row)
        err = each(context, query_words(&query, 0));
    return err;
}

/* ---- audit ---- */

typedef struct Sum {
    Digest digest;
    uint64_t n_objects;
} Sum;

typedef struct Sums {
    Sum *sums; /* by id of the scope: ids are dense, no scope is ever removed */
    size_t n;
} Sums;

static void sums_done(Sums *sums)
{
    free(sums->sums);
}

static Sum *sum_of(Sums *sums, uint64_t id)
{
    if (id >= sums->n) {
        size_t n = (size_t)id * 2 + 16;
        sums->sums = xrealloc(sums->sums, n * sizeof *sums->sums);
        memset(sums->sums + sums->n, 0, (n - sums->n) * sizeof *sums->sums);
        sums->n = n;
    }
    return &sums->sums[id];
}

static Error *sums_recompute(Store *store, Sums *sums, uint64_t newest)
{
    DEFER(query_done) Query query = {0};
    bool row = false;

    Error *err = query_start(&store->sql, SQL_SUMS, &query, "");
    while (!err && !(err = query_row(&query, &row)) && row) {
        uint64_t id = query_number(&query, 0);
        size_t size = 0;
        const void *bytes = query_bytes(&query, 1, &size);
        if (!id || id > newest)
            return sql_damaged(&store->sql, "an object lies in no scope");
        Digest one = digest_of(bytes, size);
        Sum *sum = sum_of(sums, id);
        digest_add(&sum->digest, &one);
        sum->n_objects++;
    }
    return err;
}

static Error *newest_scope(Store *store, uint64_t *ret_id)
{
    DEFER(query_done) Query query = {0};
    bool row = false;

    Error *err = query_start(&store->sql, SQL_SCOPES, &query, "");
    while (!err && !(err = query_row(&query, &row)) && row)
        *ret_id = query_number(&query, 0);
    return err;
}

static Error *scope_compare(Store *store, const Query *query, const Sum *sum)
{
    Digest kept;

    Error *err = query_digest(query, 2, &kept);
    if (err || (digest_equal(&kept, &sum->digest) && query_number(query, 3) == sum->n_objects))
        return err;
    char *words = xasprintf("the %" PRIu64 " objects of scope %s are not the %" PRIu64 " that were stored",
                            sum->n_objects, query_words(query, 1), query_number(query, 3));
    err = sql_damaged(&store->sql, words);
    free(words);
    return err;
}

Error *store_audit(Store *store)
{
    DEFER(sums_done) Sums sums = {0};
    DEFER(query_done) Query query = {0};
    uint64_t newest = 0;
    bool row = false;

    Error *err = newest_scope(store, &newest);
    if (!err)
        err = sums_recompute(store, &sums, newest);
    if (!err)
        err = query_start(&store->sql, SQL_SCOPES, &query, "");
    while (!err && !(err = query_row(&query, &row)) && row)
        err = scope_compare(store, &query, sum_of(&sums, query_number(&query, 0)));
    return err;
}
