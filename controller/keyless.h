/* keyless.h - domains that sign and have no key yet: a file had more new ones than keys are made while it waits
 *
 * They get theirs in revisions of the controller's own, some at a time, as the pool has them (5,000 domains: about ten
 * minutes on one core, niced).  After a restart they are found again by what is stored.
 */
#pragma once
#include "batch.h"

typedef struct Keyless Keyless;

/* Looks through all domains once.  batch and pool outlive it. */
CHECKED Error *keyless_new(Store *store, Batch *batch, KeyPool *pool, Keyless **ret_keyless);
void keyless_free(Keyless **keyless);

size_t keyless_count(const Keyless *keyless);

void keyless_run(Keyless *keyless, Msec now); /* before the batch: takes what it left, and gives it a job */
