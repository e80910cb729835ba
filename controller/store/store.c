#include "store/store_inside.h"

#include "base/alloc.h"
#include "base/crash.h"

#include <assert.h>
#include <inttypes.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>

/* A batch of so many objects leaves a WAL worth giving back at once. */
enum { LARGE_BATCH = 5000 };

/* ---- opening ---- */

static Error *number_now(Store *store, SqlId id, uint64_t *ret_number)
{
    DEFER(query_done) Query query = {0};
    bool row = false;

    Error *err = query_start(&store->sql, id, &query, "");
    if (!err)
        err = query_row(&query, &row);
    if (!err)
        *ret_number = query_number(&query, 0);
    return err;
}

Error *head_read(Store *store)
{
    DEFER(query_done) Query newest = {0};
    Head head = {0};
    bool row = false;

    Error *err = query_start(&store->sql, SQL_HEAD, &newest, "");
    if (!err)
        err = query_row(&newest, &row);
    if (!err && row) {
        head.revision = query_number(&newest, 0);
        err = query_digest(&newest, 1, &head.chain);
    }
    if (!err)
        err = number_now(store, SQL_N_OBJECTS, &head.n_objects);
    if (!err)
        err = number_now(store, SQL_OLDEST, &head.oldest);
    if (err)
        return err;
    if (head.oldest <= 1)
        head.oldest = 0;
    store->now = head;
    return NULL;
}

static Error *store_read_in(Store *store, const char *path)
{
    int version = 0;

    Error *err = sql_open(&store->sql, path);
    if (!err)
        err = store_check_file(store, &version);
    if (!err)
        err = sql_exec(&store->sql, "PRAGMA journal_mode=WAL");
    if (!err)
        err = store_migrate(store, version);
    if (!err)
        err = sql_prepare_all(&store->sql);
    if (!err)
        err = secrets_open(store);
    return err ? err : head_read(store);
}

Error *store_open(const char *path, Store **ret_store)
{
    DEFER(store_free) Store *store = xcalloc(1, sizeof *store);

    Error *err = store_read_in(store, path);
    if (err)
        return err;
    *ret_store = store;
    store = NULL;
    return NULL;
}

void store_free(Store **store)
{
    if (!*store)
        return;
    if ((*store)->in_batch)
        store_rollback(*store);
    change_done(&(*store)->change);
    seal_key_free(&(*store)->key);
    sql_close(&(*store)->sql);
    free(*store);
    *store = NULL;
}

/* ---- batches ---- */

Error *store_begin(Store *store)
{
    assert(!store->in_batch);
    Error *err = sql_begin(&store->sql);
    if (err)
        return err;
    store->in_batch = true;
    store->before_batch = store->now;
    store->batch_changed = 0;
    return NULL;
}

static void batch_over(Store *store)
{
    change_done(&store->change);
    store->in_batch = false;
}

static Error *revisions_commit(Sql *sql)
{
    CRASH_POINT("controller.store.committing");
    Error *err = sql_commit(sql);
    if (!err)
        CRASH_POINT("controller.store.committed");
    return err;
}

static Error *facts_commit(Sql *sql)
{
    CRASH_POINT("controller.store.facts_committing");
    Error *err = sql_commit(sql);
    if (!err)
        CRASH_POINT("controller.store.facts_committed");
    return err;
}

/* Best effort: what stays in the WAL is read from there, and moved later. */
static void wal_give_back(Store *store)
{
    sqlite3_wal_checkpoint_v2(store->sql.db, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
    malloc_trim(0);
}

Error *store_commit(Store *store)
{
    assert(store->in_batch);
    assert(!store->change.open || store->sql.lost);
    Error *err =
        store->now.revision == store->before_batch.revision ? facts_commit(&store->sql) : revisions_commit(&store->sql);
    if (err) {
        store_rollback(store);
        return err;
    }
    batch_over(store);
    if (store->batch_changed >= LARGE_BATCH)
        wal_give_back(store);
    return NULL;
}

void store_rollback(Store *store)
{
    assert(store->in_batch);
    batch_over(store);
    sql_rollback(&store->sql);
    store->now = store->before_batch;
}

Error *fact_begin(Store *store)
{
    return store->in_batch ? sql_lost(&store->sql) : sql_begin(&store->sql);
}

Error *fact_end(Store *store, Error *err)
{
    if (store->in_batch || !store->sql.in_transaction)
        return err;
    if (err) {
        sql_rollback(&store->sql);
        return err;
    }
    return facts_commit(&store->sql);
}

/* ---- where it stands ---- */

uint64_t store_revision(const Store *store)
{
    return store->now.revision;
}

uint64_t store_count(const Store *store)
{
    return store->now.n_objects;
}

Error *revision_check(const Store *store, uint64_t revision)
{
    if (revision > store->now.revision)
        return error_new(ERROR_NOT_FOUND, "there is no revision %" PRIu64 ", the newest is %" PRIu64, revision,
                         store->now.revision);
    if (revision && revision < store->now.oldest)
        return error_new(ERROR_NOT_FOUND, "revision %" PRIu64 " is no longer kept, the oldest is %" PRIu64, revision,
                         store->now.oldest);
    return NULL;
}
