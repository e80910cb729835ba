/* dkim.h - which domains sign, as files for Rspamd (tables/dkim_files.h)
 *
 * In the order of a change: dkim_touch for each object that changed, dkim_add before the tables commit (a domain signs with
 * its first message), dkim_remove after it.  What was touched is kept until it has been removed, too: a step that failed is
 * done again.  A domain signs when it is there, dkim is on, and its key is awake.
 */
#pragma once
#include "journal.h"

typedef struct Dkim Dkim;

Dkim *dkim_new(const char *folder, Journal *journal); /* of the tables; both outlive it */
void dkim_free(Dkim **dkim);

void dkim_touch(Dkim *dkim, const ObjectRef *ref); /* what is neither domain nor key says nothing here */
void dkim_touch_all(Dkim *dkim);
bool dkim_due(const Dkim *dkim); /* something touched has not been seen to */

CHECKED Error *dkim_add(Dkim *dkim, const TablesView *view);
CHECKED Error *dkim_remove(Dkim *dkim, const TablesView *view);

/* All files against what they should be; *ret_n_mended: written again or removed. */
CHECKED Error *dkim_audit(Dkim *dkim, const TablesView *view, size_t *ret_n_mended);
