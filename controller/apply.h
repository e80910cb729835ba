/* apply.h - a whole file: taken in part by part, then worked out as one revision
 *
 * Each object is complete: a field that is not in it goes to its default.  Without
 * prune nothing is removed; with it, what the file does not have goes, within the
 * kinds and instances that the file names.
 */
#pragma once
#include "pile.h"

enum { APPLY_BYTES_MAX = 64 * 1024 * 1024 };

typedef struct Apply Apply;

Apply *apply_new(bool prune);
void apply_free(Apply **apply);

/* Checks each object by itself.  INVALID: "site.yaml:14: address sales: ...", or more than APPLY_BYTES_MAX in all. */
CHECKED Error *apply_part(Apply *apply, const Mail__ApplyPart *part);
size_t apply_count(const Apply *apply); /* objects so far */

/* rules.deferred is set.  May be called again, in another change.  work_finish is called. */
CHECKED Error *apply_work(Apply *apply, Work *work);
