/* The state, now or then. */
#include "store/store_inside.h"

#include "model/meta.h"

#include <string.h>

Error *stored_unpack(const Store *store, const void *bytes, size_t size, Object **ret_object)
{
    Error *err = object_unpack(bytes, size, ret_object);

    if (!err || err->code == ERROR_UNSUPPORTED) /* a newer program stated it */
        return error_in(err, "%s", store->sql.path);
    Error *damaged = sql_damaged(&store->sql, err->what);
    error_free(&err);
    return damaged;
}

static Error *get_start(Store *store, const ObjectRef *ref, uint64_t revision, Query *ret_query)
{
    Error *err = revision_check(store, revision);
    if (err)
        return err;
    if (!revision || revision == store->now.revision)
        return query_start(&store->sql, SQL_GET, ret_query, "ikk", (int64_t)ref->kind, ref->instance, ref->name);
    return query_start(&store->sql, SQL_GET_THEN, ret_query, "ikki", (int64_t)ref->kind, ref->instance, ref->name,
                       (int64_t)revision);
}

Error *store_get(Store *store, const ObjectRef *ref, uint64_t revision, Object **ret_object)
{
    DEFER(query_done) Query query = {0};
    size_t size = 0;
    bool row = false;

    Error *err = get_start(store, ref, revision, &query);
    if (!err)
        err = query_row(&query, &row);
    if (err)
        return err;
    if (!row) {
        *ret_object = NULL;
        return NULL;
    }
    const void *bytes = query_bytes(&query, 0, &size);
    return stored_unpack(store, bytes, size, ret_object);
}

/* ---- for the rules ---- */

static Error *view_get(void *self, const ObjectRef *ref, Object **ret_object)
{
    return store_get(self, ref, 0, ret_object);
}

static Error *view_start(Store *store, Kind kind, const char *instance, const char *name, Query *ret_query)
{
    const KindInfo *info = kind_info(kind);
    Sql *sql = &store->sql;

    if (!instance && name && info && !info->meta->in_instance)
        instance = "";
    if (instance && name)
        return query_start(sql, SQL_GET, ret_query, "itt", (int64_t)kind, instance, name);
    if (name)
        return query_start(sql, strchr(name, '@') ? SQL_OF_NAME : SQL_OF_PLAIN_NAME, ret_query, "itt", (int64_t)kind,
                           "", name);
    if (instance)
        return query_start(sql, SQL_OF_INSTANCE, ret_query, "it", (int64_t)kind, instance);
    return query_start(sql, SQL_OF_KIND, ret_query, "i", (int64_t)kind);
}

static Error *view_each(void *self, Kind kind, const char *instance, const char *name,
                        Error *(*each)(void *context, const Object *object), void *context)
{
    Store *store = self;
    DEFER(query_done) Query query = {0};
    bool row = false;

    Error *err = view_start(store, kind, instance, name, &query);
    while (!err && !(err = query_row(&query, &row)) && row) {
        DEFER(object_free) Object *object = NULL;
        size_t size = 0;
        const void *bytes = query_bytes(&query, 0, &size);
        err = stored_unpack(store, bytes, size, &object);
        if (!err)
            err = each(context, object);
    }
    return err;
}

StateView store_view(Store *store)
{
    return (StateView){.self = store, .get = view_get, .each = view_each};
}

/* ---- lists ---- */

/* A name without its instance: goes from instance to instance instead of through all objects. */
static const char all_instances[] =
    "WITH RECURSIVE i(one) AS (SELECT min(instance) FROM object WHERE kind=:kind UNION ALL"
    " SELECT (SELECT min(instance) FROM object WHERE kind=:kind AND instance>one) FROM i WHERE one IS NOT NULL) ";

/* What a filter asks of each kind, as SQL with named parameters. */
static void conditions(const StoreFilter *filter, bool by_instances, bool paged, Buf *out)
{
    buf_append_text(out, " WHERE kind=:kind");
    if (filter->instance)
        buf_append_text(out, " AND instance=:instance");
    if (by_instances)
        buf_append_text(out, " AND instance IN (SELECT one FROM i)");
    if (filter->name)
        buf_append_text(out, " AND name=:name");
    if (filter->prefix) /* 0xFF is in no name: what begins so lies before it */
        buf_append_text(out, " AND name>=:prefix AND name<:prefix||CAST(x'ff' AS TEXT)");
    if (filter->domain)
        buf_append_text(out, " AND substr(name, instr(name, '@') + 1)=:domain");
    if (filter->scope) /* the unary plus: few lists ask for a scope, none may be sorted for it */
        buf_append_text(out, " AND +scope=(SELECT id FROM scope WHERE name=:scope)");
    if (paged && filter->instance && filter->after.instance && strcmp(filter->instance, filter->after.instance) == 0)
        buf_append_text(out, " AND name>:after_name");
    else if (paged) /* the unary plus leaves the index to the names */
        buf_printf(out, " AND (%sinstance, name)>(:after_instance, :after_name)", by_instances ? "+" : "");
}

static void list_text(const StoreFilter *filter, bool now, bool paged, Buf *out)
{
    bool by_instances = now && !filter->instance && (filter->name || filter->prefix);

    buf_append_text(out, by_instances ? all_instances : "");
    buf_append_text(out, "SELECT instance, name, bytes FROM object");
    if (filter->domain) /* without statistics SQLite thinks that walking through the kind is as good */
        buf_append_text(out, " INDEXED BY object_domain");
    conditions(filter, by_instances, paged, out);
    if (!now) {
        buf_append_text(out, " AND from_revision<=:revision UNION ALL SELECT instance, name, bytes FROM past");
        conditions(filter, by_instances, paged, out);
        buf_append_text(out, " AND from_revision<=:revision AND to_revision>:revision");
    }
    buf_append_text(out, " ORDER BY instance, name LIMIT :limit");
}

static Error *list_start(Store *store, const StoreFilter *filter, bool paged, Query *ret_query)
{
    bool now = !filter->revision || filter->revision == store->now.revision;
    DEFER(buf_done) Buf text = {0};

    list_text(filter, now, paged, &text);
    Error *err = query_text(&store->sql, buf_text(&text), ret_query);
    if (err)
        return err;
    query_bind(ret_query, ":instance", filter->instance);
    query_bind(ret_query, ":name", filter->name);
    query_bind(ret_query, ":prefix", filter->prefix);
    query_bind(ret_query, ":domain", filter->domain);
    query_bind(ret_query, ":scope", filter->scope);
    query_bind(ret_query, ":after_instance", filter->after.instance);
    query_bind(ret_query, ":after_name", filter->after.name);
    query_bind_number(ret_query, ":revision", (int64_t)filter->revision);
    return NULL;
}

typedef struct Listing {
    StoreEach *each;
    void *context;
    size_t left; /* SIZE_MAX: no limit */
} Listing;

static Error *list_kind(Query *query, Kind kind, Listing *listing)
{
    bool row = false;

    query_again(query);
    query_bind_number(query, ":kind", (int64_t)kind);
    query_bind_number(query, ":limit", listing->left > INT64_MAX ? -1 : (int64_t)listing->left);
    Error *err = query_row(query, &row);
    while (!err && row) {
        size_t size = 0;
        const void *bytes = query_bytes(query, 2, &size);
        ObjectRef ref = {kind, query_words(query, 0), query_words(query, 1)};
        err = listing->each(listing->context, &ref, bytes, size);
        if (listing->left != SIZE_MAX)
            listing->left--;
        if (!err)
            err = query_row(query, &row);
    }
    return err;
}

/* The kind where the page ended goes on behind 'after'; the kinds before it are done. */
static Error *list_page(Store *store, const StoreFilter *filter, Listing *listing)
{
    DEFER(query_done) Query query = {0};

    Error *err = list_start(store, filter, true, &query);
    return err ? err : list_kind(&query, filter->after.kind, listing);
}

static bool kind_wanted(const StoreFilter *filter, Kind kind)
{
    return (!filter->kind || filter->kind == kind) && (!filter->domain || kind == MAIL__OBJECT__BODY_ADDRESS);
}

Error *store_each(Store *store, const StoreFilter *filter, StoreEach *each, void *context)
{
    Listing listing = {each, context, filter->limit ? filter->limit : SIZE_MAX};
    DEFER(query_done) Query query = {0};
    bool behind = filter->after.kind != 0;

    Error *err = revision_check(store, filter->revision);
    for (size_t i = 0; !err && i < n_kinds && listing.left; i++) {
        if (behind) {
            behind = kinds[i] != filter->after.kind;
            if (!behind && kind_wanted(filter, kinds[i]))
                err = list_page(store, filter, &listing);
            continue;
        }
        if (!kind_wanted(filter, kinds[i]))
            continue;
        if (!query.stmt)
            err = list_start(store, filter, false, &query);
        if (!err)
            err = list_kind(&query, kinds[i], &listing);
    }
    return err;
}
