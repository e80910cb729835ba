/* restore_exchange.h - the new "Restored folder" takes the place of the old one, whatever dies in between
 *
 * Both are families of Maildir++: on the disk a folder and its children are siblings, "NAME" and "NAME." with anything
 * behind it.  The room of a restore (restore_room.h) holds
 *
 *     new/           the complete new family, with its final names, owners and modes, on the disk
 *     old/           what stood in the store, by number
 *     exchange-out   the journal: the old family is being moved out
 *     exchange-in    the same file: all of the old is out, the new one is being moved in
 *
 * Without a journal nothing of the store has been touched, and the room can go.  With one the exchange is gone on with:
 * what was left of the family when it was written is the complete old one, what stands when it is removed is the complete
 * new one.  The old family is deleted with the room, last.
 *
 * The store is vmail's and root works in it: nothing is followed, and everything is below an open folder.
 */
#pragma once
#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>

typedef struct ExchangePlace {
    const char *user;   /* whose Maildir; NULL: the folder of public mailboxes */
    const char *family; /* as it stands on the disk: ".Restored folder", ".Sales.Restored folder" */
} ExchangePlace;

/* Opens the store that this place is in.  NOT_FOUND: there is none. */
CHECKED Error *exchange_store(const char *root, const ExchangePlace *place, int *ret_fd);

/* Is this name, in the store, of that family? */
bool exchange_of_family(const char *family, const char *name);

/* new/ is complete and synced. */
CHECKED Error *exchange_run(const char *root, int room, const ExchangePlace *place);

/* Is there a journal?  Then the room must stay. */
bool exchange_pending(int room);

/* Goes on with what the journal says; there is one.  After an error it still stands. */
CHECKED Error *exchange_resume(const char *root, int room);
