/* store_inside.h - the Store for its own files
 *
 * migrate.c makes and checks the file, store.c keeps batches, change.c writes versions, scopes.c knows scopes and who
 * needs them, secrets.c what they must not show, state.c, history.c, diff.c and delta.c read, nodes.c, tasks.c and events.c keep facts.
 */
#pragma once
#include "store/sqlite.h"
#include "store/store.h"

#include "base/buf.h"

extern const char store_schema[]; /* schema.sql */

/* Where the store stands, as its connection sees it. */
typedef struct Head {
    uint64_t revision, oldest; /* oldest that is kept; 0: from the beginning */
    uint64_t n_objects;
    Digest chain;
} Head;

/* A scope in an open change: its row as it will be. */
typedef struct ScopeSum {
    Scope name;
    int64_t id;
    Digest digest;
    int64_t n_objects;
    size_t n_altered; /* objects that differ from before the change */
    uint64_t kinds;   /* of these, as bits */
} ScopeSum;

typedef struct ScopeSums {
    ScopeSum *sums;
    size_t n, room;
    size_t *places; /* hash of the name -> index + 1; twice as many as room */
    size_t last;    /* objects come scope by scope */
} ScopeSums;

typedef struct Change {
    bool open;
    Head before;
    uint64_t revision; /* that it will be */
    size_t n_changed;
    bool removed; /* something was: what is put may be a return */
    Chain *chain; /* NULL: nothing was altered yet */
    ScopeSums scopes;
    Buf wanted, stated, ended; /* octets of the object at hand: as it shall be, is, was before the change */
} Change;

struct Store {
    Sql sql;
    SealKey *key;
    Head now, before_batch;
    bool in_batch;
    size_t batch_changed; /* objects */
    Change change;
};

/* ---- migrate.c ---- */

CHECKED Error *store_check_file(Store *store, int *ret_version); /* 0: empty */
CHECKED Error *store_migrate(Store *store, int version);

/* ---- store.c ---- */

CHECKED Error *head_read(Store *store);

/* Facts join an open batch, or are a transaction of their own: return fact_end(store, err) in the end. */
CHECKED Error *fact_begin(Store *store);
CHECKED Error *fact_end(Store *store, Error *err);

/* NOT_FOUND: not there yet, or no longer kept.  0 is now. */
CHECKED Error *revision_check(const Store *store, uint64_t revision);

/* ---- change.c ---- */

void change_done(Change *change);

/* ---- scopes.c ---- */

static inline uint64_t kind_bit(Kind kind)
{
    return UINT64_C(1) << (unsigned)kind; /* numbers of kinds are below 64 */
}

/* The scope's row for the open change, made when there is none; valid until the next call. */
CHECKED Error *scope_use(Store *store, const char *name, ScopeSum **ret_sum);
CHECKED Error *scopes_write(Store *store); /* at the end of the change */
void scopesums_done(ScopeSums *scopes);

/* What 'before' stated and 'after' does not is closed, and the other way round; either may be NULL. */
CHECKED Error *subscriptions_move(Store *store, const ObjectRef *ref, const Object *before, const Object *after);

/* ---- secrets.c ---- */

CHECKED Error *secrets_open(Store *store);
/* 'before' and 'after' are octets of one object, either may be NULL: what only the first names is erased. */
CHECKED Error *secrets_follow(Store *store, Kind kind, const Buf *before, const Object *after);

/* ---- state.c ---- */

/* Octets of ours that do not read are damage. */
CHECKED Error *stored_unpack(const Store *store, const void *bytes, size_t size, Object **ret_object);
