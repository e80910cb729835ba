/* The way of a node from one revision to the newest.
 *
 * Scopes that it had and has not are dropped, those that it has and had not come whole, and of the others what changed.
 * An object lies in one scope for ever, so that the three do not meet.
 */
#include "store/store_inside.h"

#include "base/alloc.h"
#include "model/secret_field.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* A scope in which there is something to tell. */
typedef struct Leg {
    const char *node; /* whose way it is */
    int64_t scope;
    uint64_t from;  /* 0: all of it */
    uint64_t kinds; /* that lie in it, as bits of their places in kinds[] */
} Leg;

typedef struct Way {
    Leg *legs;
    size_t n, room;
} Way;

static void way_done(Way *way)
{
    free(way->legs);
}

/* Asking for every kind in every scope would be most of a small delta's cost: a scope is an instance's, or one object's. */
static uint64_t kinds_in(const char *scope)
{
    const char *slash = strchr(scope, '/');
    const char *name = slash ? slash + 1 : "";
    uint64_t found = 0;

    assert(n_kinds <= 64);
    for (size_t k = 0; k < n_kinds; k++)
        if (strcmp(object_scope(&(ObjectRef){kinds[k], name, name}).text, scope) == 0)
            found |= UINT64_C(1) << k;
    return found;
}

static void leg_add(Way *way, const char *node, int64_t scope, const char *name, uint64_t from)
{
    if (way->n == way->room) {
        way->room = way->room ? way->room * 2 : 8;
        way->legs = xrealloc(way->legs, way->room * sizeof *way->legs);
    }
    way->legs[way->n++] = (Leg){.node = node, .scope = scope, .from = from, .kinds = kinds_in(name)};
}

static Error *way_plan(Store *store, const char *node, uint64_t from, const DeltaSink *sink, Way *out)
{
    DEFER(query_done) Query query = {0};
    bool row = false;

    Error *err = query_start(&store->sql, SQL_DELTA_SCOPES, &query, "ti", node, (int64_t)from);
    while (!err && !(err = query_row(&query, &row)) && row) {
        const char *name = query_words(&query, 1);
        bool has = query_number(&query, 3) != 0, had = query_number(&query, 4) != 0;
        if (!has && had)
            err = sink->drop_scope(sink->context, name);
        else if (has && (!had || query_number(&query, 2) > from))
            leg_add(out, node, (int64_t)query_number(&query, 0), name, had ? from : 0);
    }
    return err;
}

static Error *leg_removed(Store *store, const Leg *leg, Kind kind, const DeltaSink *sink)
{
    DEFER(query_done) Query query = {0};
    bool row = false;

    if (!leg->from) /* it had nothing of it */
        return NULL;
    Error *err =
        query_start(&store->sql, SQL_DELTA_REMOVED, &query, "iii", leg->scope, (int64_t)kind, (int64_t)leg->from);
    while (!err && !(err = query_row(&query, &row)) && row) {
        ObjectRef ref = {kind, query_words(&query, 0), query_words(&query, 1)};
        err = sink->removed(sink->context, &ref);
    }
    return err;
}

static Error *leg_secrets(Store *store, const char *node, const void *bytes, size_t size, const DeltaSink *sink)
{
    SecretUse uses[OBJECT_SECRETS_MAX];
    DEFER(object_free) Object *object = NULL;

    Error *err = stored_unpack(store, bytes, size, &object);
    size_t n = err ? 0 : object_secrets_told(object, node, uses);
    for (size_t i = 0; !err && i < n; i++) {
        DEFER(secret_free) Secret *secret = NULL;
        err = store_secret(store, uses[i].id, &secret);
        if (!err && secret)
            err = sink->secret(sink->context, uses[i].id, secret);
    }
    return err;
}

static Error *leg_objects(Store *store, const Leg *leg, Kind kind, const DeltaSink *sink)
{
    DEFER(query_done) Query query = {0};
    bool row = false, secrets = sink->secret && kind_has_secrets(kind);

    Error *err =
        query_start(&store->sql, SQL_DELTA_OBJECTS, &query, "iii", leg->scope, (int64_t)kind, (int64_t)leg->from);
    while (!err && !(err = query_row(&query, &row)) && row) {
        size_t size = 0;
        const void *bytes = query_bytes(&query, 0, &size);
        err = sink->object(sink->context, bytes, size);
        if (!err && secrets)
            err = leg_secrets(store, leg->node, bytes, size, sink);
    }
    return err;
}

static Error *way_tell(Store *store, const Way *way, const DeltaSink *sink,
                       Error *(*tell)(Store *store, const Leg *leg, Kind kind, const DeltaSink *sink))
{
    Error *err = NULL;

    for (size_t k = 0; !err && k < n_kinds; k++)
        for (size_t i = 0; !err && i < way->n; i++)
            if (way->legs[i].kinds & (UINT64_C(1) << k))
                err = tell(store, &way->legs[i], kinds[k], sink);
    return err;
}

Error *store_delta(Store *store, const char *node, uint64_t from, const DeltaSink *sink)
{
    DEFER(way_done) Way way = {0};

    Error *err = revision_check(store, from);
    if (!err)
        err = way_plan(store, node, from, sink, &way);
    if (!err)
        err = way_tell(store, &way, sink, leg_removed);
    return err ? err : way_tell(store, &way, sink, leg_objects);
}
