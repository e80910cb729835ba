/* restore_room.h - the folder that one restore works in, and one restore of a mailbox at a time
 *
 * PLACE_RESTORE/ID, root's.  The file 'holder' in it names the mailbox and is locked while the restore lives; a room
 * whose lock is free is of a dead one.  Whoever comes next, for whatever mailbox, ends what died: an exchange whose
 * journal stands is gone on with, then the room goes.
 */
#pragma once
#include "base/error.h"

#include <stddef.h>

#define ROOM_OF_INSTANCE "instance" /* in the place of a mailbox: of all of them */

typedef struct Room Room;

/* CONFLICT: a restore of this mailbox is running, and its id is named. */
CHECKED Error *room_take(const char *root, const char *id, const char *mailbox, Room **ret_room);
int room_fd(const Room *room);
const char *room_path(const Room *room);
/* Of an instance's restore, whose databases change places with others where work is a link to the disk of mail: an empty folder
 * on theirs, PLACE_ASIDE.  Both are the room's, and end with it. */
CHECKED Error *room_aside(Room *room, int *ret_fd, const char **ret_path);
/* 'name' in 'folder' and what stands at the path 'place' change places in one step, on the disk. */
CHECKED Error *room_exchange(int folder, const char *name, const char *place);
CHECKED Error *room_end(Room **room); /* removes it, with all that is in it, unless an exchange is to be gone on with */
void room_free(Room **room);          /* the same, and an error is nobody's */

/* At the start of mail-engine.  'found' hears what was ended, in one line each. */
CHECKED Error *rooms_sweep(const char *root, void (*found)(void *context, const char *text), void *context);
