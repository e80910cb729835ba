/* node_decide.h - what a node's Hello means, and which of two connections counts: looks up, does nothing */
#pragma once
#include "base/loop.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct HelloFacts {
    uint64_t revision, applied; /* as the node says; 0: nothing */
    uint64_t ours;              /* newest of the cluster */
    uint64_t newest;            /* newest that concerns this node */
    bool chain_known;           /* the chain that it says for 'revision' is ours */
    bool digest_equal;          /* to ours of today; counts where nothing after 'revision' concerns it */
    bool schema_old;            /* it cannot know all that objects may say today */
} HelloFacts;

typedef enum HelloVerdict {
    HELLO_CURRENT,
    HELLO_BEHIND,  /* a delta from where it is */
    HELLO_EMPTY,   /* a snapshot: it has nothing */
    HELLO_DRIFTED, /* a snapshot: same history, other content */
    HELLO_FORKED,  /* nothing, until an admin decides */
    HELLO_TOO_OLD, /* nothing, until it has a newer release */
    N_HELLO_VERDICTS
} HelloVerdict;

HelloVerdict hello_decide(const HelloFacts *facts);
const char *hello_verdict_name(HelloVerdict verdict);

/* A Hello on another connection than the one that counts. */
typedef enum ConnectionVerdict {
    CONNECTION_COUNTS,  /* from now on this one */
    CONNECTION_WAITS,   /* until the other has answered, or has not */
    CONNECTION_IGNORED, /* somebody is being waited for already; it will say Hello again */
} ConnectionVerdict;

typedef struct ConnectionFacts {
    bool there;     /* one counts already */
    bool same;      /* it is this one */
    bool same_boot; /* same boot id: a node that came back before its old connection was seen dead */
    bool waiting;   /* another one waits */
} ConnectionFacts;

ConnectionVerdict connection_decide(const ConnectionFacts *facts);

/* How long a node may be silent before it counts as offline.  A forked one says Hello now and then, and nothing else. */
Msec silence_limit_ms(Msec report_ms, bool forked);
