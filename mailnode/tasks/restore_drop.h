/* restore_drop.h - a tree of somebody else's, removed by root
 *
 * What lies in it was made by vmail or came out of a backup, and a process of theirs may still hold a folder of it open:
 * no path is walked and no link followed.  A folder in the tree is moved to the top and emptied there, so that no depth
 * costs descriptors or stack.
 */
#pragma once
#include "base/error.h"

#include <dirent.h>

/* 'name' in the folder 'at', which is root's; with all that is in it.  There is none: done.  Meanwhile, and after a death,
 * there may be folders of DROP_PREFIX and a number in 'at': they are dropped like any other. */
#define DROP_PREFIX ".drop-"
CHECKED Error *drop_tree(int at, const char *name);

/* For what walks a folder that is open: 'fd' stays the caller's.  NULL with errno. */
DIR *folder_walk(int fd);
