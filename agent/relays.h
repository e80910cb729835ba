/* relays.h - relay rules on their way from node.db to secrets.db
 *
 *     relays_touch, relays_touch_all    what has changed
 *     relays_write                      before the tables commit: "applied" is said when both stand
 */
#pragma once
#include "journal.h"

typedef struct Relays Relays;

/* tables: the folder of the tables, in which secrets.db has one of its own. */
Relays *relays_new(const char *tables, Journal *journal);
void relays_free(Relays **relays);

void relays_touch(Relays *relays, const ObjectRef *ref);
void relays_touch_all(Relays *relays);
/* Something is to be written, though no object has changed: secrets.db was not there, or lost. */
bool relays_due(const Relays *relays);
void relays_look(Relays *relays); /* are its files still those that are open? */

CHECKED Error *relays_write(Relays *relays, const TablesView *view);
/* Computes the rows again; says how many differed, and were mended. */
CHECKED Error *relays_audit(Relays *relays, const TablesView *view, size_t *ret_n_mended);
