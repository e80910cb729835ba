/* node_inside.h - what the files of nodes.h share; nobody else includes it */
#pragma once
#include "node_decide.h"
#include "node_table.h"
#include "nodes.h"
#include "tasks.h"

#include "base/buf.h"

enum {
    WORDS_MAX = 1024, /* of what a node says, per text */
    RETRY_FIRST_MS = 200,
    RETRY_LAST_MS = 5000,
};

/* A revision with what proves it. */
typedef struct Stand {
    uint64_t revision; /* 0: nothing */
    Digest chain, digest;
} Stand;

/* A connection that wants to count while another one does. */
typedef struct Rival {
    CurveRoute route;
    Envelope *hello; /* NULL: nobody waits */
    uint64_t ping;   /* id of what the other was asked */
    Msec until;
} Rival;

typedef struct Node {
    char *name;

    /* what is wanted */
    uint64_t revision, previous; /* the two newest that concern it */
    Digest digest;               /* at 'revision' */

    /* who it is */
    uint64_t seen_s;          /* last word, as stored, since 1970; 0: never */
    char key[CURVE_KEY_SIZE]; /* empty: none has joined */
    char boot_id[64], release[64];

    /* its session; 'route' counts when 'connected' is set */
    SessionState state;
    Msec heard_at, pinged_at;
    CurveRoute route, clone; /* clone: refused last */
    Msec cloned_at;          /* 0: none */
    Rival rival;

    /* what it has, and what is on its way */
    Stand stand;  /* its node.db */
    Stand flight; /* revision 0: nothing is on its way */
    Msec flight_at;
    Msec retry_at, retry_ms;

    /* what it says is in force */
    uint64_t applied, config;
    uint64_t came_with; /* applied, by its last Hello alone: where the search for what it refuses begins */

    /* what it could not do */
    uint64_t refused;      /* by a checker; 0: nothing */
    uint64_t refusal_told; /* handed on in this session */
    uint64_t unsupported;  /* what it did not understand; not sent again until something newer */
    uint64_t fork;         /* its revision, in SESSION_FORKED */
    Msec copied_at;        /* when a copy of the store was begun for it; 0: never */
    char *why;             /* words of a refusal; NULL: none */

    /* its report */
    Mail__Report *report; /* NULL: none yet */
    Msec report_at;
    Mail__PublicMade **made; /* that nobody has taken yet */
    size_t n_made;
    Msec making_at;    /* of the first within this minute */
    unsigned making;   /* since then */
    Msec happened_at;  /* of the first happening within this minute */
    unsigned happened; /* since then */

    bool digest_known;
    bool revoked;
    bool seen_news; /* since 'seen_s' was stored */
    bool connected; /* a Hello was answered */
    bool silent;    /* for too long: offline */
    bool awaited;   /* since the start: not back yet, and nobody was told */
    bool schema_old;
    bool whole;   /* a snapshot is due */
    bool ordered; /* an admin ordered it */
    bool flight_forced;
    bool drift_told, fork_told;

    size_t questions; /* chain of those that wait: index + 1 */
} Node;

/* What a small revision changed, when it changed one scope and no subscription: all nodes of that scope need the same. */
typedef struct Share {
    uint64_t revision; /* 0: none */
    ProtobufCBinaryData *objects;
    Mail__Ref **removed;
    size_t n_objects, n_removed;
} Share;

typedef struct Question Question;
typedef struct Relay Relay;
typedef struct NodeCopy NodeCopy;

struct Nodes {
    Store *store;
    Door *door;
    Events *events;
    Tasks *tasks;
    NodesOptions options;

    Node **list; /* in the order of names */
    size_t n, room;
    uint64_t revision; /* up to which changes are known here */
    bool learn_failed; /* said once */
    uint64_t moves;
    Share share;
    uint64_t chain_of; /* revision that 'chain' belongs to */
    Digest chain;

    Question *questions;
    size_t n_questions, n_open, room_questions; /* n_open of n_questions places are in use */
    uint64_t asked;

    Relay *relays;
    size_t n_relays;
    uint64_t relayed;

    NodeCopy *copy; /* being made; NULL: none */

    Refusal *refusals;
    size_t n_refusals;

    Msec scan_at, started_at, seen_at;
    uint64_t not_believed; /* words that did not fit */
};

/* nodes.c */
Node *node_add(Nodes *nodes, const char *name); /* or the one that is there */
void node_remove(Nodes *nodes, const char *name);
Node *node_find(const Nodes *nodes, const char *name);

/* node_session.c */
void session_take(Nodes *nodes, Arrival *arrival, Msec now);
void session_scan(Nodes *nodes, Node *node, Msec now); /* what is due for it; lowers nodes->scan_at */
void session_end(Nodes *nodes, Node *node);            /* its key counts no more */
void session_up(Nodes *nodes, Node *node, Msec now);
bool session_online(const Node *node);
bool session_say(Nodes *nodes, Node *node, Envelope *envelope);

/* node_words.c */
void words_applied(Nodes *nodes, Node *node, const Mail__Applied *applied, Msec now);
void words_refused(Nodes *nodes, Node *node, const Mail__Refused *refused);
void words_made_done(Node *node);
void words_report(Nodes *nodes, Node *node, const Mail__Report *report, Msec now);
char *words_short(const char *text);                       /* at most WORDS_MAX octets; NULL becomes "" */
void words_into(char *out, size_t size, const char *text); /* whole characters, and a NUL */

/* node_change.c */
void change_learn(Nodes *nodes, Msec now); /* what has been committed since */
void share_done(Share *share);

/* node_delta.c */
void delta_send(Nodes *nodes, Node *node, Msec now); /* what is missing, if nothing is on its way and now is the time */
CHECKED Error *delta_digest(Nodes *nodes, Node *node, Digest *ret_digest); /* of today */

/* node_relay.c */
bool relay_heard(Nodes *nodes, const Node *node, Envelope **envelope); /* true: it answers one, and is taken over */
void relay_ended(Nodes *nodes, const Node *node);                      /* the node is away: nobody answers */
void relay_done(Nodes *nodes);

/* node_copy.c */
void copy_asked(Nodes *nodes, Node *node, const Envelope *asked, Msec now);
void copy_run(Nodes *nodes, Msec now); /* hands on what is there of the one that is being made */
void copy_wait(const Nodes *nodes, Waiter *wake);
void copy_ended(Nodes *nodes, const Node *node); /* the node is away: nobody takes it */
void copy_done(Nodes *nodes);

/* node_ask.c */
void ask_answered(Nodes *nodes, Node *node, const Envelope *envelope);
void ask_ended(Nodes *nodes, Node *node); /* the node is away: nobody answers */
void ask_wait(const Nodes *nodes, Waiter *wake);
void ask_done(Nodes *nodes);
