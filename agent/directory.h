/* directory.h - the user domains whose slapd is on this node, each behind a child of ours
 *
 * For each internal user domain whose 'node' we are, mail-ldap runs as a child over a
 * pair of sockets; one that ended is started again with back-off, one that does not get
 * on is killed.  Requests of the controller (Directory) and the mirror's readings go
 * through it one after the other.
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

/* ---- for the mirror: one reading at a time ---- */

/* Asks for all accounts of a user domain.  False: no directory of that name is here. */
bool directory_look(Directory *directory, const char *user_domain, const char *unless, Msec now);

typedef enum DirectoryLook {
    LOOK_PENDING,
    LOOK_PART,  /* *ret_part is the caller's */
    LOOK_LAST,  /* with the last one */
    LOOK_SAME,  /* it is still as 'unless' says */
    LOOK_FAILED /* *ret_why is the caller's */
} DirectoryLook;
DirectoryLook directory_looked(Directory *directory, Envelope **ret_part, Error **ret_why);

/* Whose changes wait for the tables; NULL: nobody's. */
void directory_mirrors(Directory *directory, const char *user_domain);
/* Changes that were made through us; the mirror looks at once, and says what the tables know then. */
uint64_t directory_writes(const Directory *directory, const char *user_domain);
void directory_mirrored(Directory *directory, uint64_t writes);
