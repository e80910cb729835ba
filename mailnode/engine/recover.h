/* recover.h - which generation is in force, after whatever happened
 *
 *     trial is there                  the last good one: what was being proved is removed
 *     current leads to a whole one    that one
 *     no current, or it leads to a damaged one, or elsewhere
 *                                     the newest whole one: each was proved once; what is damaged is set aside
 *     no whole one                    nothing: the daemons that run go on, the agent says again what is wanted
 *
 * Anything but the first two lines is a happening.
 */
#pragma once
#include "engine/generation.h"
#include "engine/happened.h"

/* *ret_now: NULL, nothing is in force.  *ret_lost: something was, and could not be read.  SYSTEM: the disk. */
CHECKED Error *recover(const char *root, Happened *happened, Generation **ret_now, bool *ret_lost);
