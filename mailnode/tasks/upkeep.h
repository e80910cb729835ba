/* upkeep.h - when a repository was last thinned out and checked
 *
 * A small file in PLACE_WORK with a line for each repository and kind of work.  A time that lies in the future (the clock
 * was set back) counts as long ago; so does what cannot be read.
 */
#pragma once
#include "base/error.h"

#include <stdbool.h>
#include <stdint.h>

bool upkeep_due(const char *root, const char *repository, const char *work, uint64_t every_s, uint64_t now_s);
bool upkeep_ever(const char *root, const char *repository, const char *work); /* done once, as far as is known */
CHECKED Error *upkeep_done(const char *root, const char *repository, const char *work, uint64_t now_s);
