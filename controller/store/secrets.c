/* Secrets: sealed rows that objects name by number.
 *
 * A row belongs to one object.  Erasing zeroes the octets in the file (secure_delete); in the WAL they stay, sealed, until
 * it is written over.
 */
#include "store/store_inside.h"

#include "base/alloc.h"
#include "model/secret_field.h"

#include <inttypes.h>
#include <string.h>

/* What is authenticated with it: no row passes for another. */
static char *name_of(uint64_t id, const char *scope)
{
    return xasprintf("%" PRIu64 " of %s", id, scope);
}

static Error *lost(Error *err)
{
    return error_hint(err, "put back secrets.key from the backup that the store is from");
}

/* One is enough: another key file opens none of them. */
static Error *key_check(Store *store, bool *ret_any)
{
    DEFER(query_done) Query query = {0};
    DEFER(secret_free) Secret *secret = NULL;

    Error *err = query_start(&store->sql, SQL_SECRET_NEWEST, &query, "");
    if (!err)
        err = query_row(&query, ret_any);
    if (err || !*ret_any || !store->key)
        return err;
    err = store_secret(store, query_number(&query, 0), &secret);
    return err && err->code == ERROR_DAMAGED ? lost(err) : err;
}

Error *secrets_open(Store *store)
{
    const char *slash = strrchr(store->sql.path, '/');
    int len = slash ? (int)(slash - store->sql.path) : 1;
    DEFER(xfree) char *path = xasprintf("%.*s/secrets.key", len, slash ? store->sql.path : ".");
    bool any = false;

    Error *err = key_check(store, &any);
    if (!err)
        err = seal_key_open(path, !any, &store->key);
    if (err && err->code == ERROR_NOT_FOUND)
        err->code = ERROR_DAMAGED;
    if (err)
        return err->code == ERROR_DAMAGED ? lost(err) : err;
    return key_check(store, &any);
}

static Error *number_next(Store *store, uint64_t *ret_id)
{
    DEFER(query_done) Query query = {0};
    bool row = false;

    Error *err = query_start(&store->sql, SQL_SECRET_NEXT, &query, "");
    if (!err)
        err = query_row(&query, &row);
    if (!err)
        *ret_id = row ? query_number(&query, 0) + 1 : 1;
    return err;
}

Error *store_secret_add(Store *store, const char *scope, const Secret *secret, uint64_t *ret_id)
{
    DEFER(buf_done) Buf sealed = {0};
    uint64_t id = 0;

    Error *err = number_next(store, &id);
    if (err)
        return err;
    DEFER(xfree) char *name = name_of(id, scope);
    err = seal(store->key, name, secret, &sealed);
    if (!err)
        err = query_run(&store->sql, SQL_SECRET_ADD, "itb", (int64_t)id, scope, sealed.data, sealed.size);
    if (!err)
        *ret_id = id;
    return err;
}

Secret *store_key_derive(const Store *store, const char *purpose)
{
    return seal_key_derive(store->key, purpose);
}

Error *store_secret(Store *store, uint64_t id, Secret **ret_secret)
{
    DEFER(query_done) Query query = {0};
    size_t size = 0;
    bool row = false;

    *ret_secret = NULL;
    Error *err = query_start(&store->sql, SQL_SECRET, &query, "i", (int64_t)id);
    if (!err)
        err = query_row(&query, &row);
    if (err || !row)
        return err;
    DEFER(xfree) char *name = name_of(id, query_words(&query, 0));
    const void *sealed = query_bytes(&query, 1, &size);
    return unseal(store->key, name, sealed, size, ret_secret);
}

Error *secrets_follow(Store *store, Kind kind, const Buf *before, const Object *after)
{
    SecretUse uses[OBJECT_SECRETS_MAX];
    DEFER(object_free) Object *was = NULL;
    Error *err = NULL;

    if (!before || !kind_has_secrets(kind))
        return NULL;
    err = stored_unpack(store, before->data, before->size, &was);
    if (err)
        return err;
    size_t n = object_secrets(was, uses);
    for (size_t i = 0; !err && i < n; i++)
        if (!after || !object_names_secret(after, uses[i].id))
            err = query_run(&store->sql, SQL_SECRET_DROP, "i", (int64_t)uses[i].id);
    return err;
}
