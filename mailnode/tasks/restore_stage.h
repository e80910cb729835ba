/* restore_stage.h - what restic wrote becomes folders of mail: only what the list has, and nothing of it is believed
 *
 * A backup's content is anybody's (THREATS B40, S43).  Root looks at each entry through open folders that are not followed
 * into: a message is a regular file of the size in the list; extended attributes, rights and owner are set anew; it moves
 * into a folder that root has made, which nobody else can reach.  Whatever else came stays behind and is dropped.
 *
 * Kept: the name with its flags, the content, the time of its change (INTERNALDATE), the keywords' file.  Not kept:
 * dovecot-uidlist, which would give two folders the same GUID and UIDVALIDITY.
 */
#pragma once
#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

typedef struct StageFile {
    char *name;
    uint64_t size;
    bool in_new; /* of cur otherwise */
    bool came;
} StageFile;

typedef struct StageFolder {
    const char *from; /* below what restic wrote into: "mail/alice/Maildir/.Projects" */
    const char *to;   /* ".Restored folder.Projects" */
    StageFile *files; /* sorted by stage_sort */
    size_t n;
} StageFolder;

typedef struct StageCount {
    uint64_t messages, bytes; /* taken over */
    uint64_t missing;         /* in the list, and did not come */
    uint64_t wrong;           /* came, but not as a regular file of that size */
    uint64_t extra;           /* came, and not in the list */
} StageCount;

/* INVALID: a name that is none of a file in a folder, or twice. */
CHECKED Error *stage_sort(StageFile *files, size_t n);

/* stage, new: folders that are root's.  Adds to the count; the folder is complete where nothing is missing or wrong. */
CHECKED Error *stage_take(int stage, int new, StageFolder *folder, uid_t uid, gid_t gid, StageCount *count);

/* A folder of mail with nothing in it. */
CHECKED Error *stage_empty(int new, const char *to, uid_t uid, gid_t gid);

/* A small file into a folder below 'new'. */
CHECKED Error *stage_put(int new, const char *to, const char *name, const void *data, size_t size, uid_t uid,
                         gid_t gid);

/* How many entries of this folder have come so far. */
uint64_t stage_came(int stage, const StageFolder *folder);
