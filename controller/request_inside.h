/* request_inside.h - what the files of requests.h share; nobody else includes it
 *
 * A Talk is one connection of an admin, an Ask one request on it that is not answered
 * to the end.  A handler answers at once, or leaves what goes on in the Ask: 'run' is
 * called in every turn until it says that nothing is left.
 */
#pragma once
#include "admins.h"
#include "apply.h"
#include "batch.h"
#include "events.h"
#include "keyless.h"
#include "named.h"
#include "nodes.h"
#include "request_table.h"
#include "requests.h"
#include "tasks.h"
#include "waits.h"

enum {
    ASKS_MAX = 16,             /* at once, per connection */
    PAGE_OBJECTS = 500,        /* read in one turn */
    QUEUE_ENOUGH = 256 * 1024, /* octets on their way: nothing is read for this peer meanwhile */
    WAIT_DEFAULT_MS = 30 * 1000,
    WAIT_MAX_MS = 24 * 60 * 60 * 1000,
    TAKEN_BACK_MAX = 16,
};

typedef struct TakenBack {
    uint64_t revision, by;
} TakenBack;

typedef struct Ask Ask;
typedef struct Talk Talk;

/* How a change is wished: a Manner, checked. */
typedef struct Wish {
    bool dry_run, lenient, no_wait, purge, yes, force;
    Msec wait_ms;
    char *message; /* NULL: none */
} Wish;
void wish_done(Wish *wish);

struct Requests {
    RequestsParts with;
    LocalServer *server;
    Admins *admins;
    KeyPool *keys;
    Batch *batch;
    Keyless *keyless;
    Talk *talks;
    size_t n_remote;
    bool again;   /* something came while answers went out */
    bool copying; /* one at a time */
    Msec started_at;
    uint64_t nodes_seen, tasks_seen, events_seen; /* moves, as far as looked at */
    struct Refusing *refusing;                    /* being taken back */
    struct Lifting *lifting;                      /* quotas that restores exceeded */
    struct Making *making;                        /* public mailboxes that users made */
    struct Full *full;                            /* instances that take no more of them, and have said so */
    TakenBack taken_back[TAKEN_BACK_MAX];         /* lately; round and round */
    size_t n_taken_back;
    uint64_t doors_seen; /* refused handshakes; when that last rose: */
    Msec doors_at;
    char *audit; /* what the store's audit found at the start; NULL: nothing */
};

struct Talk {
    Talk *next;
    Requests *of;
    LocalPeer *peer; /* NULL: over CURVE */
    CurveRoute route;
    bool greeted, ended;
    Msec heard_at, full_at; /* full_at 0: what was said last went out */
    Caller caller;
    Ask *asks;
    size_t n_asks;
    Apply *apply;     /* being received; NULL: none */
    Error *apply_err; /* why it ended; said again at its end */
    Wish apply_wish;
};

typedef struct AskType {
    bool (*run)(Ask *ask, Msec now);            /* true: answered to the end, or given up */
    void (*done)(void *data);                   /* frees what goes on; may be NULL */
    void (*wait)(const Ask *ask, Waiter *wake); /* what else wakes it; may be NULL */
} AskType;

struct Ask {
    Ask *next;
    Talk *talk;
    Requests *of; /* the talk's */
    uint64_t id;
    uint32_t seq;
    Msec since;
    Asker *asker;
    bool answered;
    const AskType *type; /* NULL: nothing goes on */
    void *data;
    Msec at; /* when to run again though nothing was heard */
};

/* A handler may look into 'envelope', and takes it over by setting it to NULL. */
typedef void RequestHandler(Ask *ask, Envelope **envelope, Msec now);

/* ---- request_talk.c ---- */

/* Says one part; 'last' ends the answer.  False: not now (a remote peer whose queue is full), or never. */
bool ask_say(Ask *ask, Envelope *envelope, bool last);
void ask_fail(Ask *ask, Error *err); /* takes err; NULL: Done */
void ask_keep(Ask *ask, const AskType *type, void *data);
bool ask_has_room(const Ask *ask); /* the peer takes what it is told */
void ask_free(Ask **ask);

Talk *talk_local(Requests *requests, LocalPeer *peer, Msec now); /* takes the peer over */
Talk *talk_remote(Requests *requests, const CurveRoute *route, Msec now);
void talk_free(Talk **talk);
void talk_greet(Talk *talk, const Envelope *envelope);
void talk_refuse(Talk *talk, uint64_t id, Error *err); /* takes err */
/* For who waits, on all talks. */
void talks_refused(Requests *requests, uint64_t revision, const char *node, const char *why, uint64_t taken_back_by);

/* ---- request_changes.c ---- */

Error *error_copy(const Error *err);
RequestHandler request_change, request_apply_begin, request_apply_part, request_apply_end, request_revert,
    request_rollback, request_undelete, request_node_token, request_node_revoke, request_wait;
bool change_ask_is(const Ask *ask); /* a change, or a wait for one */
void change_ask_refused(Ask *ask, uint64_t revision, const char *node, const char *why, uint64_t taken_back_by);

/* ---- request_reads.c, request_list.c, request_diff.c, request_follow.c ---- */

RequestHandler request_list, request_history, request_diff, request_status, request_events, request_tasks,
    request_task_new, request_task_wait;

/* ---- request_nodes.c ---- */

RequestHandler request_node_resync, request_task_stop;

/* ---- request_directory.c: users and groups, what the tables of a node know, and its backups ---- */

RequestHandler request_directory;
RequestHandler request_tables, request_backups, request_trace;
bool directory_ask_is(const Ask *ask);

/* ---- request_copy.c ---- */

RequestHandler request_copy;

/* ---- request_secrets.c ---- */

RequestHandler request_secrets;

/* ---- request_refusals.c: what nodes refused after the commit ---- */

void refusals_run(Requests *requests, Msec now);    /* before the batch */
void refusals_finish(Requests *requests, Msec now); /* after it */
void refusals_free(Requests *requests);

/* ---- request_quotas.c: mailboxes that a restore filled ---- */

void quotas_run(Requests *requests);    /* before the batch */
void quotas_finish(Requests *requests); /* after it */
void quotas_free(Requests *requests);

/* ---- request_made.c: public mailboxes that users made by IMAP ---- */

void makings_run(Requests *requests);    /* before the batch */
void makings_finish(Requests *requests); /* after it */
void makings_free(Requests *requests);
