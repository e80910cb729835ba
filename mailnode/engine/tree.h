/* tree.h - a set of files as a folder on the disk
 *
 * Folders and files with the owners and modes that the set asks for: a daemon's folder is 0750 with the one group that
 * may read in it, 0711 where there are several, 0700 where there is none; files 0640 or 0600, all of root.
 */
#pragma once
#include "base/path.h"
#include "render/fileset.h"

typedef struct TreeWay {
    bool durable;               /* every file and folder is synced before it returns */
    const char *from;           /* NULL, or: where this path is in a text ... */
    const char *to;             /* ... this one is written */
    const char *const *without; /* NULL, or names of folders at the top that are not written; NULL ends */
} TreeWay;

/* Makes 'folder' (0711), which must not be there yet.  SYSTEM: what was begun is removed. */
CHECKED Error *tree_write(const char *folder, const FileSet *files, const TreeWay *way);

/* One file of the set, replaced as a whole, with the folders that it needs. */
CHECKED Error *tree_write_one(const char *folder, const FileSet *files, const File *file);

/* What a file, or the folder of a file, shall be. */
typedef struct TreeOwner {
    mode_t mode;
    gid_t gid;
} TreeOwner;
CHECKED Error *tree_file_owner(const File *file, TreeOwner *ret_owner);
CHECKED Error *tree_folder_owner(const FileSet *files, const char *path, TreeOwner *ret_owner);

void tree_remove(const char *folder); /* with all that is in it; links are not followed */

/* What file_write leaves when its program dies in it: NAME. and six letters or digits.  In the folder, and as many levels
 * below it; others must not write there meanwhile. */
void tree_sweep(const char *folder, unsigned levels);
CHECKED Error *folder_sync(const char *folder);
