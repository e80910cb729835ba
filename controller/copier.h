/* copier.h - the child that copies a running controller (copy.h), as its parent sees it */
#pragma once
#include "base/loop.h"
#include "local/envelope.h"

typedef struct Copier Copier;

CHECKED Error *copier_start(const char *root, const Mail__StoreCopy *wish, Copier **ret_copier);
void copier_free(Copier **copier); /* and the child ends */

/* *ret_part: its next CopyPart, the caller's (the last one has 'info'); NULL: none yet. */
CHECKED Error *copier_next(Copier *copier, Envelope **ret_part);
void copier_wait(const Copier *copier, Waiter *wake);
