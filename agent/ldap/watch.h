/* watch.h - what changes in one user domain, as it changes
 *
 *     watch_start                  RFC 4533 refresh and persist where it is offered, otherwise all of it again and again
 *     watch_run                    takes what has come, and says it in batches: upserts, and who is gone by UUID
 *     watch_caught_up              the batches hold all that the directory had done when it said 'state'
 *
 * A batch is everything ('whole': who is not in it is gone) or a change of what was said before.  The cookie is kept as long
 * as this program lives, and only while each batch that was begun has ended; it is not used over another database, nor
 * after all was asked for anew.  A watch that failed is started again by who asked.
 *
 * Source: RFC 4533; DIRECTORY.md 2: OpenLDAP ends even a refresh without cookie by refreshDelete, and the library's own
 * ldap_sync_init cannot tell its endings apart.
 */
#pragma once
#include "base/loop.h"
#include "ldap/people.h"

typedef struct Watch Watch;

enum {
    WATCH_BEAT_MS = 2000,    /* how often it is looked whether a silent directory is there */
    WATCH_POLL_MS = 10000,   /* between two readings, where nothing tells of changes */
    WATCH_REST = 4,          /* times as long as a reading took, between two of them */
    WATCH_PIECE = 48 * 1024, /* octets of accounts that are said at once */
};

/* One piece of a batch; with the last 'state' is set: the newest change it holds. */
typedef struct Batch {
    AccountList *accounts; /* account.gone: kind and uuid alone */
    bool whole;
    bool cut_off; /* the directory is a copy, and does not reach what it copies */
    const char *state;
} Batch;

typedef struct WatchSay {
    Error *(*say)(void *context, const Batch *batch);
    void *context;
} WatchSay;

Watch *watch_new(const Place *place);
void watch_free(Watch **watch);

/* whole: all anew.  On failure, here and below, the watch is over. */
CHECKED Error *watch_start(Watch *watch, bool whole, Msec now);
void watch_stop(Watch *watch);
bool watch_on(const Watch *watch);

/* *ret_said: the error is what 'say' returned. */
CHECKED Error *watch_run(Watch *watch, const WatchSay *say, Msec now, bool *ret_said);
/* 'state' is a contextCSN: asks until all up to it was said; not for longer than until. */
CHECKED Error *watch_catch_up(Watch *watch, const WatchSay *say, const char *state, Msec until, bool *ret_said);
void watch_wait(const Watch *watch, Waiter *wake);
size_t watch_left_out(const Watch *watch); /* entries whose names cannot be said, of those that came last */
