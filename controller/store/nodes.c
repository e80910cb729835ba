/* Keys and tokens of nodes: facts, no part of the desired state. */
#include "store/store_inside.h"

#include <string.h>
#include <time.h>

Error *store_node_keys(Store *store, Error *(*each)(void *context, const NodeKey *key), void *context)
{
    DEFER(query_done) Query query = {0};
    bool row = false;

    Error *err = query_start(&store->sql, SQL_KEYS, &query, "");
    while (!err && !(err = query_row(&query, &row)) && row) {
        NodeKey key = {.node = query_words(&query, 0),
                       .public_key = query_words(&query, 1),
                       .revoked = query_number(&query, 2) != 0,
                       .joined_s = query_number(&query, 3),
                       .last_seen_s = query_number(&query, 4)};
        err = each(context, &key);
    }
    return err;
}

/* The key is the identity: it cannot be two nodes'. */
static Error *key_is_free(Store *store, const char *node, const char *public_key)
{
    DEFER(query_done) Query query = {0};
    bool row = false;

    Error *err = query_start(&store->sql, SQL_KEY_HOLDER, &query, "t", public_key);
    if (!err)
        err = query_row(&query, &row);
    if (!err && row && strcmp(query_words(&query, 0), node) != 0)
        err = error_new(ERROR_CONFLICT, "this key is that of node %s", query_words(&query, 0));
    return err;
}

Error *store_node_key_set(Store *store, const char *node, const char *public_key)
{
    Error *err = key_is_free(store, node, public_key);

    if (!err)
        err = fact_begin(store);
    if (err)
        return err;
    return fact_end(store, query_run(&store->sql, SQL_KEY_SET, "tti", node, public_key, (int64_t)time(NULL)));
}

Error *store_node_key_revoke(Store *store, const char *node)
{
    Error *err = fact_begin(store);
    if (err)
        return err;
    err = query_run(&store->sql, SQL_KEY_REVOKE, "t", node);
    if (!err && !sqlite3_changes(store->sql.db))
        err = error_new(ERROR_NOT_FOUND, "node %s has never joined", node);
    return fact_end(store, err);
}

Error *store_node_key_forget(Store *store, const char *node)
{
    static const SqlId forget[] = {SQL_KEY_FORGET, SQL_TOKEN_DROP, SQL_HAPPENING_FORGET};

    Error *err = fact_begin(store);
    if (err)
        return err;
    for (size_t i = 0; !err && i < sizeof forget / sizeof *forget; i++)
        err = query_run(&store->sql, forget[i], "t", node);
    return fact_end(store, err);
}

Error *store_node_seen(Store *store, const char *node, uint64_t time_s)
{
    Error *err = fact_begin(store);
    if (err)
        return err;
    return fact_end(store, query_run(&store->sql, SQL_KEY_SEEN, "ti", node, (int64_t)time_s));
}

/* ---- tokens ---- */

Error *store_token_add(Store *store, const char *node, const Digest *hash, uint64_t expires_s)
{
    Error *err = fact_begin(store);
    if (err)
        return err;
    return fact_end(store, query_run(&store->sql, SQL_TOKEN_ADD, "tdi", node, hash, (int64_t)expires_s));
}

static Error *token_check(Store *store, const char *node, const Digest *hash, uint64_t now_s)
{
    DEFER(query_done) Query query = {0};
    Digest kept = {{0}};
    bool row = false;

    Error *err = query_start(&store->sql, SQL_TOKEN, &query, "t", node);
    if (!err)
        err = query_row(&query, &row);
    if (!err && row)
        err = query_digest(&query, 0, &kept);
    if (err)
        return err;
    if (!row || !digest_equal(&kept, hash)) /* which of them it was is nobody's business */
        return error_hint(error_new(ERROR_NOT_FOUND, "no such token for node %s", node),
                          "each is for one use and one name: make a new one with mailctl node add or node replace");
    if (query_number(&query, 1) <= now_s)
        return error_hint(error_new(ERROR_DENIED, "the token for node %s has expired", node), "mailctl node replace %s",
                          node);
    return NULL;
}

Error *store_token_spend(Store *store, const char *node, const Digest *hash, uint64_t now_s)
{
    Error *err = token_check(store, node, hash, now_s);

    if (!err)
        err = fact_begin(store);
    if (err)
        return err;
    return fact_end(store, query_run(&store->sql, SQL_TOKEN_DROP, "t", node));
}
