/* winner.h - which definition a local part has, and what SMTP says of it: pure decisions
 *
 * F-079: exactly one definition applies: specific address, wildcard address, group,
 * user, catch-all.  Groups count where a domain has group addresses, users where it
 * has user addresses.  A name that just left the directory is still held against
 * strangers' mail, but never against one that is there.
 */
#pragma once
#include <stdbool.h>

/* How much of a destination is there, from nothing to all: of several the greatest counts. */
typedef enum Standing {
    STANDING_NOBODY, /* no such name: 550 5.1.1 */
    STANDING_CLOSED, /* disabled, or a group in which nobody is open: 550 5.2.1 */
    STANDING_GONE,   /* left the directory in the last ten minutes, or is there twice: 450 */
    STANDING_FULL,   /* over quota: 452 4.2.2, or 552; what was accepted before goes there, and waits */
    STANDING_OPEN,
} Standing;

typedef enum Presence { PRESENCE_NONE, PRESENCE_GONE, PRESENCE_THERE } Presence;

/* The switches of a domain, as they are written in domain.class and rcpt.scope. */
enum { CLASS_USERS = 1, CLASS_GROUPS = 2, N_CLASSES = 4 };
extern const char *const class_names[N_CLASSES]; /* "-" "-u" "-g" "-ug" */

typedef enum Winner {
    WINNER_NONE,
    WINNER_SPECIFIC,
    WINNER_WILDCARD,
    WINNER_GROUP,
    WINNER_USER,
    WINNER_CATCH_ALL
} Winner;

typedef struct Candidates {
    bool specific, wildcard, catch_all;
    Presence group, user;
} Candidates;

Winner winner_of(const Candidates *candidates, int class_);

/* What Postfix is told at RCPT: an answer, or the name of a restriction class (render/postfix.c).  An internal address has
 * one for each: to strangers it says no more than that. */
#define VERDICT_GONE "450 4.2.1 mailbox is not there at the moment, try again"
#define VERDICT_CLOSED "550 5.2.1 mailbox is disabled"
#define VERDICT_NOBODY "550 5.1.1 no such recipient"
const char *verdict_of(Standing standing, bool internal);

/* F-085, and '+' for names of the directory (F-046): 1 to 64 of a-z 0-9 . _ - ' +; no dot first, last or doubled. */
bool local_part_valid(const char *name);
