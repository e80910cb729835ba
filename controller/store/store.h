/* store.h - the desired state with its history: verbs of the domain, no SQL outside
 *
 * Every version of an object is kept with its validity interval [from, to), so that
 * history, diff, revert and "what was it then" are one indexed query, and the way
 * from revision A to B costs what changed between them.
 *
 * Order of calls for a change (group commit: many changes, one fsync):
 *
 *     store_begin                          the batch: one transaction
 *       change_begin                       a savepoint
 *         store_put, store_remove ...
 *       change_end  or  change_undo        a revision (or none, when nothing changed)
 *     store_commit                         now, and not before, answers may leave
 *
 * Reads inside a batch see it; reads outside see what is committed.  Not thread-safe.
 * Reads may nest, and who is called by one may change what it reads.  A full or failing disk can undo the whole batch
 * in the middle of a change: everything then fails with those words until store_commit or store_rollback.
 * Another database shall fit behind this header.
 */
#pragma once
#include "base/error.h"
#include "control.pb-c.h"
#include "model/object.h"
#include "model/validate.h"
#include "seal/digest.h"
#include "seal/secret.h"

typedef struct Store Store;

enum { STORE_SCHEMA = 2 }; /* user_version; each older one has its migration */

/* Opens or makes the database at path (0600), and secrets.key (0600) beside it.  UNSUPPORTED: made by a newer program, with both numbers;
 * DAMAGED: does not read back (quick_check): the words name the file and say how to restore it.  The same for a key file
 * that is gone, or another, while secrets are kept; DENIED: others may read it. */
CHECKED Error *store_open(const char *path, Store **ret_store);
void store_free(Store **store);

/* The whole store at 'path', which another program may have open and go on changing, as it is at one moment: to 'to', which
 * must not be there (0600).  Without its key file. */
CHECKED Error *store_copy(const char *path, const char *to);

/* ---- changing ---- */

CHECKED Error *store_begin(Store *store);
CHECKED Error *store_commit(Store *store); /* on error everything of the batch is undone */
void store_rollback(Store *store);

CHECKED Error *change_begin(Store *store);
CHECKED Error *store_put(Store *store, const Object *object);    /* equal bytes: nothing happens */
CHECKED Error *store_remove(Store *store, const ObjectRef *ref); /* NOT_FOUND */

/* ---- secrets: what the objects name by number (model/secret_field.h) ---- */

/* Within an open change, for an object of this scope that is put in the same change.  What an object names no longer is
 * erased with the same commit. */
CHECKED Error *store_secret_add(Store *store, const char *scope, const Secret *secret, uint64_t *ret_id);
/* *ret_secret (the caller's) NULL: there is none of this number, or it was erased. */
CHECKED Error *store_secret(Store *store, uint64_t id, Secret **ret_secret);
Secret *store_key_derive(const Store *store, const char *purpose); /* seal_key_derive of the store's key file */

typedef struct Author {
    const char *who;     /* "root", "helpdesk (uid 1000)", "controller" */
    const char *message; /* may be NULL */
    const char *via;     /* NULL, "apply", "revert 41", "refused by mx1" */
} Author;

/* *ret_revision is 0 when nothing changed. */
CHECKED Error *change_end(Store *store, const Author *author, uint64_t *ret_revision);
CHECKED Error *change_undo(Store *store);
size_t change_size(const Store *store); /* objects that the open change has altered so far */

/* ---- the state, now or then ---- */

uint64_t store_revision(const Store *store); /* newest */
uint64_t store_count(const Store *store);    /* objects now */

/* *ret_object NULL when there is none.  revision 0: now. */
CHECKED Error *store_get(Store *store, const ObjectRef *ref, uint64_t revision, Object **ret_object);

/* The rules of model/validate.h look through this at what the open batch shows. */
StateView store_view(Store *store);

typedef struct StoreFilter {
    Kind kind;            /* 0: every kind, in the order of kinds[] */
    const char *instance; /* NULL: all */
    const char *name;     /* NULL: all; exactly this */
    const char *prefix;   /* NULL: all; of the name */
    const char *domain;   /* NULL: all; addresses of this domain ("*": wildcards) */
    const char *scope;    /* NULL: all */
    uint64_t revision;    /* 0: now */
    /* Page on behind this object, in the order of the answer (kind, instance, name); kind 0: from the start. */
    ObjectRef after;
    size_t limit; /* 0: all */
} StoreFilter;

/* Canonical bytes as stored; borrowed for the call. */
typedef Error *StoreEach(void *context, const ObjectRef *ref, const void *bytes, size_t size);
CHECKED Error *store_each(Store *store, const StoreFilter *filter, StoreEach *each, void *context);

/* ---- history ---- */

typedef struct RevisionRow {
    uint64_t revision;
    uint64_t time_s;                 /* since 1970 */
    const char *who, *message, *via; /* borrowed for the call; message and via may be NULL */
    uint64_t n_changed;
} RevisionRow;

/* Newest first, below 'before' (0: from the newest), at most limit; ref NULL: all, else those that changed it. */
CHECKED Error *store_history(Store *store, const ObjectRef *ref, uint64_t before, size_t limit,
                             Error *(*each)(void *context, const RevisionRow *row), void *context);

/* What differs between two revisions (to 0: now; either may be the later one), in the order of kinds, instances and names;
 * before or after is NULL where there was none.  instance NULL: all, else what lies in it, and itself.  Borrowed for the
 * call.  NOT_FOUND: a revision that is not there yet, or no longer kept. */
typedef Error *StoreDiffEach(void *context, const Object *before, const Object *after);
CHECKED Error *store_diff(Store *store, uint64_t from, uint64_t to, const char *instance, StoreDiffEach *each,
                          void *context);

/* Has anything changed this object after 'revision'?  0: no; else the first revision that did. */
CHECKED Error *store_changed_since(Store *store, const ObjectRef *ref, uint64_t revision, uint64_t *ret_revision);

/* Forgets versions that ended, and revisions, older than keep_days (at least 365), but none that 'oldest_needed' (the least
 * revision that a node stands at) still needs for a delta. */
CHECKED Error *store_compact(Store *store, uint64_t keep_days, uint64_t oldest_needed);

/* ---- nodes: where one stands, and what leads on ---- */

typedef enum ChainCheck { CHAIN_KNOWN, CHAIN_UNKNOWN } ChainCheck;
CHECKED Error *store_chain_check(Store *store, uint64_t revision, const Digest *chain, ChainCheck *ret_check);
CHECKED Error *store_chain(Store *store, uint64_t revision, Digest *ret_chain); /* revision 0: all zeroes */

/* Newest revision (at most 'revision'; 0: now) that changed a scope of this node or what it subscribes to. 0: none. */
CHECKED Error *store_node_revision(Store *store, const char *node, uint64_t revision, uint64_t *ret_revision);
/* Sum over the scopes that the node subscribes to now. */
CHECKED Error *store_node_digest(Store *store, const char *node, Digest *ret_digest);
/* Sum over all objects recomputed from their bytes against what is kept: DAMAGED names the scope that differs. */
CHECKED Error *store_audit(Store *store);

CHECKED Error *store_node_scopes(Store *store, const char *node, uint64_t revision,
                                 Error *(*each)(void *context, const char *scope), void *context);

/* Nodes that a revision concerns: subscribed before or after to a scope that it touched.  0: every node. */
CHECKED Error *store_nodes_touched(Store *store, uint64_t revision, Error *(*each)(void *context, const char *node),
                                   void *context);

/* The way of a node from revision 'from' (0: everything) to the newest, streamed in the order of kinds:
 * scopes it no longer needs, objects that are gone, objects new or changed (all of a newly needed scope). */
typedef struct DeltaSink {
    void *context;
    Error *(*drop_scope)(void *context, const char *scope);
    Error *(*removed)(void *context, const ObjectRef *ref);
    Error *(*object)(void *context, const void *bytes, size_t size);
    Error *(*secret)(void *context, uint64_t id,
                     const Secret *secret); /* behind the object that names it; NULL: not wanted */
} DeltaSink;
CHECKED Error *store_delta(Store *store, const char *node, uint64_t from, const DeltaSink *sink);

/* ---- facts about nodes: keys, tokens (no part of the desired state, no revisions) ---- */

typedef struct NodeKey {
    const char *node;
    const char *public_key; /* Z85; NULL: none has joined */
    bool revoked;
    uint64_t joined_s, last_seen_s; /* since 1970; 0: never */
} NodeKey;
CHECKED Error *store_node_keys(Store *store, Error *(*each)(void *context, const NodeKey *key), void *context);
CHECKED Error *
store_node_key_set(Store *store, const char *node,
                   const char *public_key); /* a join: ends an older key; CONFLICT: another node has this one */
CHECKED Error *store_node_key_revoke(Store *store, const char *node); /* NOT_FOUND: never joined */
CHECKED Error *store_node_key_forget(Store *store, const char *node); /* the node was removed */
CHECKED Error *store_node_seen(Store *store, const char *node, uint64_t time_s);

CHECKED Error *store_token_add(Store *store, const char *node, const Digest *hash,
                               uint64_t expires_s); /* replaces an older one */
/* Spends it: NOT_FOUND: no such token, or another node's (the words do not say which); DENIED: expired. */
CHECKED Error *store_token_spend(Store *store, const char *node, const Digest *hash, uint64_t now_s);

/* ---- tasks and events ---- */

CHECKED Error *store_task_put(Store *store,
                              const Mail__TaskInfo *task); /* by task_id, whole; the newest 10,000 are kept */
CHECKED Error *store_task_each(Store *store, const char *task_id, size_t limit, /* NULL: newest first */
                               Error *(*each)(void *context, const Mail__TaskInfo *task), void *context);

/* *number is given to the event; the newest 10,000 are kept. */
CHECKED Error *store_event_add(Store *store, const Mail__EventInfo *event, uint64_t *ret_number);
CHECKED Error *store_event_each(Store *store, const char *node, uint64_t after,
                                size_t limit, /* newest 'limit', oldest first */
                                Error *(*each)(void *context, const Mail__EventInfo *event), void *context);

/* Happenings of nodes are told once: the highest number taken from each. */
CHECKED Error *store_happening_seen(Store *store, const char *node, uint64_t number, bool *ret_new);

/* Writing verbs of the last three groups join an open batch, or commit by themselves when there is none. */
