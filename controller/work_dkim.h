/* work_dkim.h - the DKIM key of a domain that comes, begins to sign, or goes (SPEC F-022, F-037, F-039)
 *
 * Every domain has one key, made along with it and taken from the pool (keypool.h).  Where the pool has not enough the change
 * says how many are missing: who works it out decides whether it waits for them or these domains get theirs later.
 */
#pragma once
#include "work.h"

/* The domain is stored.  Its key is there and awake afterwards, or counted as missing. */
CHECKED Error *dkim_domain_comes(Work *work, const Object *domain);
/* Its key sleeps until it returns, or is forgotten (rules.purge). */
CHECKED Error *dkim_domain_goes(Work *work, const ObjectRef *domain);
