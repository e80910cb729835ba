/* work_replica.h - the pair by which a user domain's node and its replicas know each other (SPEC F-179) */
#pragma once
#include "work.h"

/* 'after' is about to be stored, 'before' is what it replaces (NULL: nothing).  Whoever was told the old pair and is no node of
 * it any more shall not be believed, and the certificate names the addresses: a new one is made when node, replicas or listen
 * change.  Without replicas there is none. */
CHECKED Error *replica_pair_follow(Work *work, const Object *before, Object *after);

/* The machine that was this node shall not be believed: a new pair for each user domain that it knows the pair of. */
CHECKED Error *replica_pairs_renew(Work *work, const char *node);
