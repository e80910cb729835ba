/* What was, and what differs. */
#include "store/store_inside.h"

#include "base/alloc.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { KEEP_DAYS_LEAST = 365, DAY_S = 24 * 60 * 60 };

static int64_t limit_of(size_t limit)
{
    return limit && limit <= INT64_MAX ? (int64_t)limit : -1;
}

Error *store_history(Store *store, const ObjectRef *ref, uint64_t before, size_t limit,
                     Error *(*each)(void *context, const RevisionRow *row), void *context)
{
    int64_t below = before && before <= INT64_MAX ? (int64_t)before : INT64_MAX;
    DEFER(query_done) Query query = {0};
    bool row = false;

    Error *err = ref ? query_start(&store->sql, SQL_HISTORY_OF, &query, "ikkii", (int64_t)ref->kind, ref->instance,
                                   ref->name, below, limit_of(limit))
                     : query_start(&store->sql, SQL_HISTORY, &query, "ii", below, limit_of(limit));
    while (!err && !(err = query_row(&query, &row)) && row) {
        RevisionRow one = {.revision = query_number(&query, 0),
                           .time_s = query_number(&query, 1),
                           .who = query_words(&query, 2),
                           .message = query_words(&query, 3),
                           .via = query_words(&query, 4),
                           .n_changed = query_number(&query, 5)};
        err = each(context, &one);
    }
    return err;
}

Error *store_changed_since(Store *store, const ObjectRef *ref, uint64_t revision, uint64_t *ret_revision)
{
    DEFER(query_done) Query query = {0};
    bool row = false;

    Error *err = query_start(&store->sql, SQL_CHANGED_SINCE, &query, "ikki", (int64_t)ref->kind, ref->instance,
                             ref->name, (int64_t)revision);
    if (!err)
        err = query_row(&query, &row);
    if (!err)
        *ret_revision = query_number(&query, 0);
    return err;
}

/* ---- chain ---- */

static Error *chain_find(Store *store, uint64_t revision, Digest *ret_chain, bool *ret_there)
{
    DEFER(query_done) Query query = {0};

    if (!revision || revision == store->now.revision) {
        *ret_chain = revision ? store->now.chain : (Digest){{0}};
        *ret_there = true;
        return NULL;
    }
    Error *err = query_start(&store->sql, SQL_CHAIN, &query, "i", (int64_t)revision);
    if (!err)
        err = query_row(&query, ret_there);
    if (!err && *ret_there)
        err = query_digest(&query, 0, ret_chain);
    return err;
}

Error *store_chain_check(Store *store, uint64_t revision, const Digest *chain, ChainCheck *ret_check)
{
    Digest ours;
    bool there = false;

    Error *err = chain_find(store, revision, &ours, &there);
    if (!err)
        *ret_check = there && digest_equal(&ours, chain) ? CHAIN_KNOWN : CHAIN_UNKNOWN;
    return err;
}

Error *store_chain(Store *store, uint64_t revision, Digest *ret_chain)
{
    Digest chain;
    bool there = false;

    Error *err = revision_check(store, revision);
    if (!err)
        err = chain_find(store, revision, &chain, &there);
    if (!err && !there)
        err = error_new(ERROR_NOT_FOUND, "revision %" PRIu64 " is not kept", revision);
    if (!err)
        *ret_chain = chain;
    return err;
}

/* ---- forgetting ---- */

/* The newest revision of the oldest day that is kept: all from here on reads back. */
static Error *horizon_find(Store *store, uint64_t keep_days, uint64_t oldest_needed, uint64_t *ret_horizon)
{
    int64_t kept_s = (int64_t)(keep_days < KEEP_DAYS_LEAST ? KEEP_DAYS_LEAST : keep_days) * DAY_S;
    DEFER(query_done) Query query = {0};
    bool row = false;

    Error *err = query_start(&store->sql, SQL_HORIZON, &query, "i", (int64_t)time(NULL) - kept_s);
    if (!err)
        err = query_row(&query, &row);
    if (err)
        return err;
    uint64_t horizon = query_number(&query, 0);
    *ret_horizon = oldest_needed && oldest_needed < horizon ? oldest_needed : horizon;
    return NULL;
}

Error *store_compact(Store *store, uint64_t keep_days, uint64_t oldest_needed)
{
    static const SqlId forget[] = {SQL_FORGET_PAST, SQL_FORGET_SUBSCRIPTIONS, SQL_FORGET_TOUCHED, SQL_FORGET_REVISIONS};
    uint64_t horizon = 0;

    Error *err = horizon_find(store, keep_days, oldest_needed, &horizon);
    if (err || horizon <= 1 || horizon <= store->now.oldest)
        return err;
    err = fact_begin(store);
    for (size_t i = 0; !err && i < sizeof forget / sizeof *forget; i++)
        err = query_run(&store->sql, forget[i], "i", (int64_t)horizon);
    err = fact_end(store, err);
    if (!err)
        store->now.oldest = horizon;
    return err;
}
