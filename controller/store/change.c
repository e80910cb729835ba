/* One change: versions, sums, subscriptions and chain move together.
 *
 * An object may be altered many times within a change.  What counts is how it stood before ('ended' in table past, or still
 * in place) and how it stands now; when both are the same nothing is left of it, and no version has an empty interval.
 */
#include "store/store_inside.h"

#include "base/alloc.h"

#include <assert.h>
#include <string.h>
#include <time.h>

/* A version in a table. */
typedef struct Version {
    bool there;
    uint64_t from;
} Version;

void change_done(Change *change)
{
    if (change->chain)
        (void)chain_end(&change->chain);
    scopesums_done(&change->scopes);
    buf_done(&change->wanted);
    buf_done(&change->stated);
    buf_done(&change->ended);
    *change = (Change){0};
}

Error *change_begin(Store *store)
{
    assert(store->in_batch && !store->change.open);
    Error *err = query_run(&store->sql, SQL_CHANGE, "");
    if (err)
        return err;
    store->change = (Change){.open = true, .before = store->now, .revision = store->now.revision + 1};
    return NULL;
}

Error *change_undo(Store *store)
{
    if (!store->change.open) /* change_end could not, and has undone it */
        return NULL;
    Head before = store->change.before;
    change_done(&store->change);
    store->now = before;
    if (store->sql.lost) /* all of the batch is, and store_commit says so */
        return NULL;
    Error *err = query_run(&store->sql, SQL_CHANGE_UNDO, "");
    if (!err)
        err = query_run(&store->sql, SQL_CHANGE_END, "");
    if (err) /* half of it may be there */
        sql_lose(&store->sql, err);
    return err;
}

size_t change_size(const Store *store)
{
    return store->change.n_changed;
}

/* ---- chain ---- */

static void chain_number(Chain *chain, uint32_t number)
{
    const uint8_t octets[4] = {(uint8_t)(number >> 24), (uint8_t)(number >> 16), (uint8_t)(number >> 8),
                               (uint8_t)number};
    chain_add(chain, octets, sizeof octets);
}

static void chain_text(Chain *chain, const char *text)
{
    chain_add(chain, text ? text : "", strlen(text ? text : "") + 1);
}

/* Change bytes: 'P', size, octets; or 'R', kind, instance, name.  As they come: the order is the change's own. */
static void chain_alter(Store *store, const ObjectRef *ref, const Buf *wanted)
{
    Change *change = &store->change;

    if (!change->chain)
        change->chain = chain_begin(&change->before.chain, change->revision);
    chain_add(change->chain, wanted ? "P" : "R", 1);
    if (wanted) {
        chain_number(change->chain, (uint32_t)wanted->size);
        chain_add(change->chain, wanted->data, wanted->size);
        return;
    }
    chain_number(change->chain, (uint32_t)ref->kind);
    chain_text(change->chain, ref->instance);
    chain_text(change->chain, ref->name);
}

/* ---- versions ---- */

static Error *version_take(Query *query, Buf *out, Version *ret_version)
{
    bool row = false;

    Error *err = query_row(query, &row);
    if (err)
        return err;
    buf_clear(out);
    *ret_version = (Version){.there = row};
    if (!row)
        return NULL;
    size_t size = 0;
    const void *bytes = query_bytes(query, 1, &size);
    buf_append(out, bytes, size);
    ret_version->from = query_number(query, 0);
    return NULL;
}

static Error *stated_read(Store *store, const ObjectRef *ref, Version *ret_stated)
{
    DEFER(query_done) Query query = {0};

    Error *err = query_start(&store->sql, SQL_STATED, &query, "ikk", (int64_t)ref->kind, ref->instance, ref->name);
    return err ? err : version_take(&query, &store->change.stated, ret_stated);
}

/* How it stood before the change, if that is in table past already.  Only for what this change has altered: a first
 * apply of 100,000 objects asks nothing here. */
static Error *ended_read(Store *store, const ObjectRef *ref, const Version *stated, Version *ret_ended)
{
    const Change *change = &store->change;
    DEFER(query_done) Query query = {0};

    *ret_ended = (Version){0};
    if (stated->there ? stated->from != change->revision : !change->removed)
        return NULL;
    Error *err = query_start(&store->sql, SQL_ENDED, &query, "ikki", (int64_t)ref->kind, ref->instance, ref->name,
                             (int64_t)change->revision);
    return err ? err : version_take(&query, &store->change.ended, ret_ended);
}

static bool buf_same(const Buf *a, const Buf *b)
{
    return a->size == b->size && (!a->size || memcmp(a->data, b->data, a->size) == 0);
}

static Error *object_row(Store *store, const ObjectRef *ref, const Version *stated, const Buf *wanted, uint64_t from,
                         int64_t scope)
{
    Sql *sql = &store->sql;
    int64_t kind = (int64_t)ref->kind;

    if (!wanted)
        return stated->there ? query_run(sql, SQL_OBJECT_DROP, "ikk", kind, ref->instance, ref->name) : NULL;
    if (stated->there)
        return query_run(sql, SQL_OBJECT_SET, "ikkib", kind, ref->instance, ref->name, (int64_t)from, wanted->data,
                         wanted->size);
    return query_run(sql, SQL_OBJECT_ADD, "ikkiib", kind, ref->instance, ref->name, scope, (int64_t)from, wanted->data,
                     wanted->size);
}

/* Brings table past into line: *ret_from is where the version to come begins, *ret_step how the count of altered objects
 * moves. */
static Error *past_row(Store *store, const ObjectRef *ref, const Version *stated, const Buf *wanted, int64_t scope,
                       uint64_t *ret_from, int *ret_step)
{
    Change *change = &store->change;
    Version ended;

    Error *err = ended_read(store, ref, stated, &ended);
    if (err)
        return err;
    bool fresh = stated->there && stated->from == change->revision;
    bool was_there = ended.there || (stated->there && !fresh);
    const Buf *was = ended.there ? &change->ended : &change->stated;
    bool altered_before = ended.there || fresh;
    bool altered = wanted ? !was_there || !buf_same(was, wanted) : was_there;

    *ret_step = (int)altered - (int)altered_before;
    *ret_from = altered ? change->revision : ended.from;
    if (ended.there && !altered)
        return query_run(&store->sql, SQL_PAST_DROP, "ikki", (int64_t)ref->kind, ref->instance, ref->name,
                         (int64_t)ended.from);
    if (stated->there && !fresh)
        return query_run(&store->sql, SQL_PAST_ADD, "ikkiiib", (int64_t)ref->kind, ref->instance, ref->name,
                         (int64_t)stated->from, (int64_t)change->revision, scope, change->stated.data,
                         change->stated.size);
    return NULL;
}

static void sums_move(Store *store, Kind kind, ScopeSum *sum, const Version *stated, const Buf *wanted, int step)
{
    Change *change = &store->change;

    if (stated->there) {
        Digest old = digest_of(change->stated.data, change->stated.size);
        digest_subtract(&sum->digest, &old);
    }
    if (wanted) {
        Digest now = digest_of(wanted->data, wanted->size);
        digest_add(&sum->digest, &now);
    }
    int more = (int)(wanted != NULL) - (int)stated->there;
    sum->n_objects += more;
    sum->kinds |= kind_bit(kind);
    store->now.n_objects = (uint64_t)((int64_t)store->now.n_objects + more);
    sum->n_altered = (size_t)((ptrdiff_t)sum->n_altered + step);
    change->n_changed = (size_t)((ptrdiff_t)change->n_changed + step);
}

static Error *subscriptions_follow(Store *store, const ObjectRef *ref, const Version *stated, const Object *after)
{
    DEFER(object_free) Object *before = NULL;
    const Buf *bytes = &store->change.stated;
    Error *err = NULL;

    if (stated->there)
        err = stored_unpack(store, bytes->data, bytes->size, &before);
    return err ? err : subscriptions_move(store, ref, before, after);
}

/* 'wanted' NULL: it goes. */
static Error *alter(Store *store, const ObjectRef *ref, const Version *stated, const Object *after, const Buf *wanted)
{
    Scope scope = object_scope(ref);
    ScopeSum *sum = NULL;
    uint64_t from = 0;
    int step = 0;

    Error *err = subscriptions_follow(store, ref, stated, after);
    if (!err)
        err = scope_use(store, scope.text, &sum);
    if (!err)
        err = secrets_follow(store, ref->kind, stated->there ? &store->change.stated : NULL, after);
    if (!err)
        err = past_row(store, ref, stated, wanted, sum->id, &from, &step);
    if (!err)
        err = object_row(store, ref, stated, wanted, from, sum->id);
    if (err)
        return err;
    sums_move(store, ref->kind, sum, stated, wanted, step);
    chain_alter(store, ref, wanted);
    if (!wanted)
        store->change.removed = true;
    return NULL;
}

Error *store_put(Store *store, const Object *object)
{
    Change *change = &store->change;
    ObjectRef ref = object_ref(object);
    Version stated;

    assert(change->open);
    buf_clear(&change->wanted);
    object_pack(object, &change->wanted);
    Error *err = stated_read(store, &ref, &stated);
    if (err || (stated.there && buf_same(&change->stated, &change->wanted)))
        return err;
    return alter(store, &ref, &stated, object, &change->wanted);
}

Error *store_remove(Store *store, const ObjectRef *ref)
{
    Version stated;

    assert(store->change.open);
    Error *err = stated_read(store, ref, &stated);
    if (err)
        return err;
    if (!stated.there)
        return error_new(ERROR_NOT_FOUND, "%s does not exist", object_title(ref).text);
    return alter(store, ref, &stated, NULL, NULL);
}

/* ---- the end ---- */

static Error *revision_write(Store *store, const Author *author)
{
    Change *change = &store->change;

    Digest chain = chain_end(&change->chain);
    Error *err = query_run(&store->sql, SQL_REVISION_ADD, "iitttid", (int64_t)change->revision, (int64_t)time(NULL),
                           author->who, author->message, author->via, (int64_t)change->n_changed, &chain);
    if (!err)
        err = scopes_write(store);
    if (err)
        return err;
    store->now.revision = change->revision;
    store->now.chain = chain;
    return NULL;
}

Error *change_end(Store *store, const Author *author, uint64_t *ret_revision)
{
    Change *change = &store->change;

    assert(change->open);
    Error *err = change->n_changed ? revision_write(store, author) : NULL;
    if (!err)
        err = query_run(&store->sql, SQL_CHANGE_END, "");
    if (err) {
        Error *undone = change_undo(store);
        error_free(&undone); /* the first words count */
        return err;
    }
    *ret_revision = change->n_changed ? change->revision : 0;
    store->batch_changed += change->n_changed;
    change_done(change);
    return NULL;
}
