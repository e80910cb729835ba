/* What differs between two revisions: costs what changed between them.
 *
 * Table touched says which kinds in which scopes.  Their keys are taken before anybody is called, who may change what is
 * read here: a revert does.
 */
#include "store/store_inside.h"

#include "base/alloc.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* Keys of one kind: instance NUL name NUL, one behind the other, and where each begins. */
typedef struct Keys {
    Buf text;
    size_t *at;
    size_t n, room;
} Keys;

static void keys_done(Keys *keys)
{
    buf_done(&keys->text);
    free(keys->at);
    *keys = (Keys){.n = 0};
}

static void keys_add(Keys *keys, const char *instance, const char *name)
{
    if (keys->n == keys->room) {
        keys->room = keys->room ? keys->room * 2 : 16;
        keys->at = xrealloc(keys->at, keys->room * sizeof *keys->at);
    }
    keys->at[keys->n++] = keys->text.size;
    buf_append(&keys->text, instance, strlen(instance) + 1);
    buf_append(&keys->text, name, strlen(name) + 1);
}

static ObjectRef key_of(const Keys *keys, size_t i, Kind kind)
{
    const char *instance = (const char *)keys->text.data + keys->at[i];

    return (ObjectRef){kind, instance, instance + strlen(instance) + 1};
}

static int keys_compare(const void *a, const void *b, void *context)
{
    const char *text = context, *x = text + *(const size_t *)a, *y = text + *(const size_t *)b;
    int order = strcmp(x, y);

    return order ? order : strcmp(x + strlen(x) + 1, y + strlen(y) + 1);
}

/* In the order of instance and name, each once. */
static void keys_sort(Keys *keys)
{
    size_t kept = 0, sorted = 1;

    if (!keys->n)
        return;
    while (sorted < keys->n && keys_compare(&keys->at[sorted - 1], &keys->at[sorted], keys->text.data) < 0)
        sorted++;
    if (sorted == keys->n) /* a first apply comes in order */
        return;
    qsort_r(keys->at, keys->n, sizeof *keys->at, keys_compare, keys->text.data);
    for (size_t i = 1; i < keys->n; i++)
        if (keys_compare(&keys->at[kept], &keys->at[i], keys->text.data) != 0)
            keys->at[++kept] = keys->at[i];
    keys->n = kept + 1;
}

/* ---- where to look ---- */

typedef struct Span {
    uint64_t low, high; /* changes after low, up to high */
    uint64_t *kinds;    /* by id of the scope */
    size_t n;
    uint64_t all_kinds;
} Span;

static void span_done(Span *span)
{
    free(span->kinds);
}

static Error *span_read(Store *store, Span *span)
{
    DEFER(query_done) Query query = {0};
    bool row = false;

    Error *err = query_start(&store->sql, SQL_DIFF_SCOPES, &query, "ii", (int64_t)span->low, (int64_t)span->high);
    while (!err && !(err = query_row(&query, &row)) && row) {
        size_t id = (size_t)query_number(&query, 0);
        if (id >= span->n) {
            size_t n = id * 2 + 16;
            span->kinds = xrealloc(span->kinds, n * sizeof *span->kinds);
            memset(span->kinds + span->n, 0, (n - span->n) * sizeof *span->kinds);
            span->n = n;
        }
        span->kinds[id] |= query_number(&query, 1);
        span->all_kinds |= query_number(&query, 1);
    }
    return err;
}

static Error *keys_read(Store *store, const Span *span, Kind kind, size_t scope, Keys *out)
{
    static const SqlId parts[] = {SQL_DIFF_BEGUN, SQL_DIFF_ENDED, SQL_DIFF_PASSED};
    Error *err = NULL;

    for (size_t i = 0; !err && i < sizeof parts / sizeof *parts; i++) {
        DEFER(query_done) Query query = {0};
        bool row = false;
        err = query_start(&store->sql, parts[i], &query, "iiii", (int64_t)scope, (int64_t)kind, (int64_t)span->low,
                          (int64_t)span->high);
        while (!err && !(err = query_row(&query, &row)) && row)
            keys_add(out, query_words(&query, 0), query_words(&query, 1));
    }
    return err;
}

/* ---- telling ---- */

/* Like store_get, but revision 0 is the empty beginning. */
static Error *version_at(Store *store, const ObjectRef *ref, uint64_t revision, Object **ret_object)
{
    return revision ? store_get(store, ref, revision, ret_object) : NULL;
}

static Error *diff_one(Store *store, const ObjectRef *ref, uint64_t from, uint64_t to, StoreDiffEach *each,
                       void *context)
{
    DEFER(object_free) Object *before = NULL;
    DEFER(object_free) Object *after = NULL;

    Error *err = version_at(store, ref, from, &before);
    if (!err)
        err = version_at(store, ref, to, &after);
    if (err || (!before && !after) || (before && after && object_equal(before, after)))
        return err;
    return each(context, before, after);
}

/* The instance itself belongs to what is the instance's. */
static bool is_of_instance(const ObjectRef *ref, const char *instance)
{
    return !instance || strcmp(ref->instance, instance) == 0 ||
           (ref->kind == MAIL__OBJECT__BODY_INSTANCE && strcmp(ref->name, instance) == 0);
}

typedef struct Telling {
    uint64_t from, to;
    const char *instance;
    StoreDiffEach *each;
    void *context;
} Telling;

static Error *diff_kind(Store *store, const Span *span, Kind kind, const Telling *telling)
{
    DEFER(keys_done) Keys keys = {.n = 0};
    Error *err = NULL;

    for (size_t scope = 0; !err && scope < span->n; scope++)
        if (span->kinds[scope] & kind_bit(kind))
            err = keys_read(store, span, kind, scope, &keys);
    keys_sort(&keys);
    for (size_t i = 0; !err && i < keys.n; i++) {
        ObjectRef ref = key_of(&keys, i, kind);
        if (is_of_instance(&ref, telling->instance))
            err = diff_one(store, &ref, telling->from, telling->to, telling->each, telling->context);
    }
    return err;
}

static Error *span_check(const Store *store, uint64_t from, uint64_t to)
{
    Error *err = revision_check(store, from);

    if (!err)
        err = revision_check(store, to);
    if (!err && !from && store->now.oldest)
        err = error_new(ERROR_NOT_FOUND, "the beginning is no longer kept, the oldest revision is %" PRIu64,
                        store->now.oldest);
    return err;
}

Error *store_diff(Store *store, uint64_t from, uint64_t to, const char *instance, StoreDiffEach *each, void *context)
{
    if (!to)
        to = store->now.revision;
    const Telling telling = {from, to, instance, each, context};
    DEFER(span_done) Span span = {.low = from < to ? from : to, .high = from < to ? to : from};

    Error *err = span_check(store, from, to);
    if (!err)
        err = span_read(store, &span);
    for (size_t i = 0; !err && i < n_kinds; i++)
        if (span.all_kinds & kind_bit(kinds[i]))
            err = diff_kind(store, &span, kinds[i], &telling);
    return err;
}
