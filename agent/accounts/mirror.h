/* mirror.h - watches the user domain of this node's instance, and decides when to doubt
 *
 * Everything first, then what changes as it changes; everything again now and then, and
 * whenever that cannot be known otherwise.
 *
 * Away is a directory that did not answer twice in a row, or not for 30 s (SPEC F-028):
 * then known names go on and unknown ones are put off.  A reading that is not whole
 * changes nothing.
 *
 * A reading in which most users are missing is held (SPEC F-181): nothing of it is taken,
 * known names go on, and everything is read again each MIRROR_HELD_MS, until they are back
 * or somebody accepts it.
 */
#pragma once
#include "accounts/set.h"
#include "directory.h"
#include "journal.h"
#include "report.pb-c.h"

typedef struct Mirror Mirror;

enum {
    MIRROR_LOOK_MS = 1000,    /* until it is tried again */
    MIRROR_WHOLE_MS = 600000, /* also when nothing seems to have changed */
    MIRROR_HELD_MS = 10000,
    MIRROR_AWAY_MS = 30000,
    MIRROR_AWAY_LOOKS = 2,
    MIRROR_FEW = 20, /* users may go at once, if somebody is left */
};

Mirror *mirror_new(Journal *journal, Directory *directory, const char *node);
void mirror_free(Mirror **mirror);

/* What came since, owned by the caller; NULL: nothing new. */
AccountSet *mirror_run(Mirror *mirror, Msec now);
void mirror_wait(const Mirror *mirror, Waiter *wake);
void mirror_written(Mirror *mirror); /* the tables hold what mirror_run gave last */
void mirror_again(Mirror *mirror);   /* ... or lost it */

/* What mirror_run gave last makes 'after' users of 'before': is it to be held?  If so the mirror forgets it. */
bool mirror_holds(Mirror *mirror, size_t before, size_t after);

uint64_t mirror_removals(const Mirror *mirror); /* users that were removed through us */

/* Between tables_begin and tables_commit: what somebody claims becomes his; after the commit he is told. */
bool mirror_claims(const Mirror *mirror);
CHECKED Error *mirror_claim_write(Mirror *mirror, Tables *tables);
void mirror_claim_written(Mirror *mirror);

/* False: not known yet. */
bool mirror_away(const Mirror *mirror, bool *ret_away);

/* Why there is nothing (new) to be read, as a fact; NULL: there is. */
const char *mirror_trouble(Mirror *mirror, Mail__FactState *ret_state);
/* The node that holds the directory of which a copy is read here, and whether the copy is not connected to it; NULL: it is
 * read itself. */
const char *mirror_copied_from(const Mirror *mirror, bool *ret_cut_off);
/* When the directory was last known to be as it is here; 0: never. */
Msec mirror_seen_at(const Mirror *mirror);

/* ---- the decisions, for tests ---- */
typedef struct Looks {
    Msec good_at;      /* of the last answer; 0: none yet */
    Msec first_at;     /* of the first question */
    unsigned n_failed; /* since then */
} Looks;
bool looks_away(const Looks *looks, Msec now);
/* 0 users, or half of them and more than MIRROR_FEW are missing. */
bool shrinks_suddenly(size_t before, size_t after);
