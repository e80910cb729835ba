/* walk.h - where forwards end: everything that mail reaches from a user or address, each once, cycles cut
 *
 * Names: targets are mailboxes and external addresses; edges are what was looked at,
 * so that a change of any of it is known to matter ('U:bob' 'G:sales' 'l:info'
 * 'd:example.org').
 */
#pragma once
#include "tables/compute.h"
#include "tables/winner.h"

typedef struct Walk {
    Compute *compute;
    Names
        items; /* "u:bob" "g:sales" "p:Sales" "a:info@example.org": met, in order; the walk is through when none is added */
    Names targets, edges;
    Standing most; /* the greatest of the users met: with no target it says why there is none */
} Walk;

void walk_user(Walk *walk, const char *name);
void walk_address(Walk *walk, const char *address);
CHECKED Error *walk_run(Walk *walk);
void walk_done(Walk *walk);

/* Is this domain one of ours? */
CHECKED Error *walk_domain(Compute *compute, const char *domain, Object **ret_object);
