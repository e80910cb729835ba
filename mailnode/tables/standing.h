/* standing.h - what others see of a user or group: a row of table 'standing'
 *
 * Its text is a word, and for a user who forwards more lines: "copy" or "move", and
 * each address.  The word alone decides about addresses; the rest about where
 * forwards end.
 */
#pragma once
#include "tables/sql.h"
#include "tables/winner.h"

typedef struct Seen {
    Presence presence;
    Standing standing;
    bool forwards;
    char *facts; /* the row's text, NULL: there is none */
} Seen;

void seen_done(Seen *seen);

Seen seen_of(const char *facts); /* NULL: nobody; copies nothing: 'facts' is NULL */
const char *seen_word(Presence presence, Standing standing, bool forwards); /* NULL: nobody */
bool seen_same_word(const char *facts, const char *others);                 /* NULL for none */

CHECKED Error *seen_get(Sql *sql, char kind, const char *name, Seen *ret_seen);
