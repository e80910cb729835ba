/* mirror.h - reads the user domain of this node's instance, and decides when to doubt
 *
 * Everything first, then each second "unless it is still as it was", which costs one
 * small read; after a change of ours at once.  Everything again now and then.
 *
 * Away is a directory that did not answer twice in a row, or not for 30 s (SPEC F-028):
 * then known names go on and unknown ones are put off.  A reading that is not whole
 * changes nothing.
 */
#pragma once
#include "accounts/set.h"
#include "directory.h"
#include "journal.h"
#include "report.pb-c.h"

typedef struct Mirror Mirror;

enum {
    MIRROR_LOOK_MS = 1000,
    MIRROR_WHOLE_MS = 600000, /* also when nothing seems to have changed */
    MIRROR_AWAY_MS = 30000,
    MIRROR_AWAY_LOOKS = 2,
    MIRROR_REST = 4, /* times as long as a reading took, between two of them */
};

Mirror *mirror_new(Journal *journal, Directory *directory, const char *node);
void mirror_free(Mirror **mirror);

/* What was read, owned by the caller; NULL: nothing new. */
AccountSet *mirror_run(Mirror *mirror, Msec now);
void mirror_wait(const Mirror *mirror, Waiter *wake);
void mirror_written(Mirror *mirror); /* the tables hold what mirror_run gave last */
void mirror_again(Mirror *mirror);   /* ... or lost it */

/* False: not known yet. */
bool mirror_away(const Mirror *mirror, bool *ret_away);

/* Why there is nothing (new) to be read, as a fact; NULL: there is. */
const char *mirror_trouble(const Mirror *mirror, Mail__FactState *ret_state);

/* ---- the decision, for tests ---- */
typedef struct Looks {
    Msec good_at;      /* of the last answer; 0: none yet */
    Msec first_at;     /* of the first question */
    unsigned n_failed; /* since then */
} Looks;
bool looks_away(const Looks *looks, Msec now);
