/* work.h - a change while it is worked out, inside an open change of the store
 *
 *     work_init, work_put and work_remove in any order, work_finish; then what came of it is read
 *
 * Here are the rules that reach beyond one object: who may, what goes along with a
 * domain, a public mailbox or an instance, what a new domain would take over.  An error leaves the
 * store's change half done: it is the caller's to undo.
 *
 * deferred: rules between objects are asked at the end, so that a file may state its
 * objects in any order, and two instances may change places.
 */
#pragma once
#include "authorise.h"
#include "keypool.h"
#include "memo.h"
#include "names.h"

#include "store/store.h"

typedef struct WorkRules {
    const Asker *asker; /* NULL: the controller itself, which may all */
    bool lenient;       /* what is there, or gone, already is no error */
    bool purge;         /* a removed domain takes its addresses along */
    bool yes;           /* the admin knows what a new domain takes over */
    bool force;         /* a relay client may be everybody */
    bool deferred;
    bool restoring;      /* what was, comes back as it was: postmaster, too, may be missing */
    bool refused;        /* by a node: that is why it is taken back */
    const KeyPool *keys; /* for domains that come; NULL: they come without */
    size_t keys_from;    /* the first ones are promised to others */
    size_t keep_n;       /* differences that are kept; 0: none */
    size_t keep_bytes;
} WorkRules;

typedef struct Kept {
    Object *before, *after; /* NULL: was not there; is gone */
    size_t number;          /* in the order in which they came */
} Kept;

typedef struct Late Late;

typedef struct Work {
    Store *store;
    WorkRules rules;
    StateView view; /* what the rules look through */

    /* what came of it, complete after work_finish */
    bool config; /* something of class config */
    bool admins; /* who may has changed */
    Names nodes; /* whose configuration may differ now */
    Kept *kept;  /* in the order of kinds, each object once */
    size_t n_kept;
    bool kept_all; /* nothing was left out */
    char **warnings;
    size_t n_warnings;
    size_t keys_taken, keys_missing; /* of the pool */
    Names keyless;                   /* "main example.org": for them one is missing */

    /* on the way */
    size_t kept_room, kept_size;
    Names new_domains;             /* "main example.org" */
    Names relays;                  /* rules that were stated */
    Names user_domains, instances; /* altered; of which something of class config inside was */
    Memo *memo;
    Late *late;
    const Late *asking; /* whose rules are being asked */
    ObjectRef fresh;    /* known not to be stored; kind 0: none */
} Work;

void work_init(Work *work, Store *store, const WorkRules *rules);
void work_done(Work *work);

/* 'object' is in its one form (object_validate).  place: "site.yaml:14", NULL: none; fresh: known not to be there. */
CHECKED Error *work_put(Work *work, const Object *object, const char *place, bool fresh);
/* NOT_FOUND without a hint; CONFLICT: still needed. */
CHECKED Error *work_remove(Work *work, const ObjectRef *ref, const char *place);
CHECKED Error *work_finish(Work *work);

/* What goes along with another object, by no word of the asker: nothing is asked.  before NULL: was not there. */
CHECKED Error *work_put_along(Work *work, const Object *before, const Object *after);
CHECKED Error *work_remove_along(Work *work, const Object *before);

/* SPEC F-083: a public mailbox with the address postmaster@*, where the instance has none. */
CHECKED Error *work_postmaster(Work *work, const char *instance);

/* May the asker do this?  instance NULL: not known yet. */
CHECKED Error *work_may(const Work *work, Kind kind, Mail__Verb verb, const char *instance);

void work_warn(Work *work, const char *format, ...) PRINTF_LIKE(2, 3);
