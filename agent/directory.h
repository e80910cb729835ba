/* directory.h - the user domains whose slapd is on this node, each behind a child of ours
 *
 * For each internal user domain whose 'node', or one of whose 'replicas', we are, mail-ldap runs as a child over a
 * pair of sockets; one that ended is started again with back-off, one that does not get
 * on is killed.  Requests of the controller (Directory) go through it one after the other;
 * beside them it tells the mirror what changes.
 *
 * A change is answered when the tables know it, or after DIRECTORY_HOLD_MS; requests and
 * answers are never logged.
 */
#pragma once
#include "journal.h"
#include "link.h"

typedef struct Directory Directory;

enum {
    DIRECTORY_QUEUE_MAX = 32,   /* requests that wait for one child */
    DIRECTORY_START_MS = 10000, /* how long a request waits for a child that is not there */
    DIRECTORY_STEP_MS = 30000,  /* between two words of a child that was asked */
    DIRECTORY_HOLD_MS = 3000,
    DIRECTORY_ACCEPT_MS = 20000, /* until what is accepted was read and written */
};

typedef struct DirectoryParts { /* all outlive it */
    Link *link;
    Journal *journal;
    const char *node;    /* our name */
    const char *socket;  /* of slapd: PLACE_LDAPI */
    const char *program; /* mail-ldap; NULL: beside our own executable */
} DirectoryParts;

Directory *directory_new(const DirectoryParts *parts);
void directory_free(Directory **directory); /* ends the children */
void directory_run(Directory *directory, Msec now);
void directory_wait(const Directory *directory, Waiter *wake);

/* ---- for the mirror: it watches one user domain ---- */

/* Asks to be told what changes in a user domain; who watched before is told no more.  whole: beginning with everything.
 * False: no directory of that name is here. */
bool directory_watch(Directory *directory, const char *user_domain, bool whole, Msec now);
void directory_unwatch(Directory *directory);

typedef enum DirectoryNews {
    NEWS_NONE,
    NEWS_PART, /* *ret_part is the caller's: Accounts, the last of a batch with a state */
    NEWS_OVER, /* *ret_why is the caller's: nobody watches any more */
} DirectoryNews;
DirectoryNews directory_heard(Directory *directory, Envelope **ret_part, Error **ret_why);

/* Users that were to be removed through us, of all user domains. */
uint64_t directory_removals(const Directory *directory);

/* Somebody accepts what is held of this user domain; false: nobody does.  He is answered by directory_accepted. */
bool directory_acceptance(Directory *directory, const char *user_domain);
void directory_accepted(Directory *directory, Error *why); /* NULL: it was taken.  Takes why. */

/* The mailbox that somebody gives to who has its name, NULL: nobody does.  He is answered by directory_claimed. */
const char *directory_claim(Directory *directory, const char *user_domain);
void directory_claimed(Directory *directory, const char *user_domain, Error *why); /* NULL: it is done.  Takes why. */

/* How many parts were taken by now.  A change of ours is answered when all that had come before it was said to be in the
 * tables. */
uint64_t directory_taken(const Directory *directory);
void directory_mirrored(Directory *directory, uint64_t taken);
