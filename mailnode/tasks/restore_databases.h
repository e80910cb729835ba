/* restore_databases.h - what a backup holds beside mail, back to its owners: each user domain's directory, and Redis
 *
 * Made beside what is there, aside of the room (room_aside), and looked at; then each changes places with what stood there, in one step:
 *
 *     STATE/directory-NAME.ldif   admitted (restore_ldif.h), loaded by slapadd, read again by slapcat: octet for octet the same
 *     STATE/redis.rdb             looked at by redis-check-rdb, then the first part of Redis' log, which it begins with
 *
 * A directory with people in it is left as it is.  All of it runs as the database's own user.  Redis does not run meanwhile:
 * it goes with the instance.  slapd does, and is started anew.
 */
#pragma once
#include "base/error.h"
#include "tasks/job.h"
#include "tasks/restore_room.h"

#include <stdbool.h>

typedef struct Databases Databases;

/* 'state': the snapshot's, opened, in a folder that is root's.  'again': after a restore that died.
 * DAMAGED: one does not read back; CONFLICT: Redis runs, or cancelled.  Nothing is touched yet. */
CHECKED Error *databases_make(Job *job, Room *room, int state, bool again, Databases **ret_databases);
void databases_free(Databases **databases);

/* Into place, and slapd answers with it.  After a crash all of it is made and placed once more: 'again' then. */
CHECKED Error *databases_place(const Databases *databases);

/* ", directory of staff with 214 entries, what the filter had learned": for the verdict; borrowed. */
const char *databases_words(Databases *databases);
