/* path.h - where things are, and files that are whole or not there
 *
 * All paths of the product lie below one root, normally "/" (--root moves all of
 * it).  A root over 40 octets is refused: sockets must fit into 108.
 */
#pragma once
#include "base/buf.h"
#include "base/error.h"

#include <dirent.h>
#include <sys/types.h>

enum { PATH_ROOT_MAX = 40, PATH_SIZE = 256 };

typedef struct Path {
    char text[PATH_SIZE];
} Path;

/* Absolute, at most PATH_ROOT_MAX octets, no "..", an existing folder.  INVALID otherwise. */
CHECKED Error *path_root_check(const char *root);

/* root + "/" + format...; too long for a Path is a broken promise of ours (assert). */
Path path_in(const char *root, const char *format, ...) PRINTF_LIKE(2, 3);

/* Reads a whole regular file.  NOT_FOUND if there is none; INVALID beyond limit_bytes. */
CHECKED Error *file_read(const char *path, size_t limit_bytes, Buf *out);

/* Temp file in the same folder, mode set, fsync, rename, fsync of the folder: the old or the new content, nothing
 * else.  gid -1 leaves the group. */
CHECKED Error *file_write(const char *path, const void *data, size_t size, mode_t mode, gid_t gid);
/* The same without a sync: for what means nothing after the machine's end. */
CHECKED Error *file_write_of_boot(const char *path, const void *data, size_t size, mode_t mode);

/* Makes the folder (and its parents, 0755) with this mode and owner; an existing one keeps its own.  -1: as created. */
CHECKED Error *folder_make(const char *path, mode_t mode, uid_t uid, gid_t gid);

/* Sets a damaged file aside as PATH.damaged-YYYYMMDD-HHMMSS (a number behind it if that exists) and says where. */
CHECKED Error *file_set_aside(const char *path, Path *ret_where);

/* Takes a lock file for as long as the process lives (fcntl OFD lock), writes our pid into it.
 * CONFLICT names the pid that holds it; one that is dead and whose child is about to let go is waited for, 2 s at most.
 * The descriptor is close-on-exec and never closed. */
CHECKED Error *file_lock(const char *path);

/* For DEFER: -1 and NULL are nothing. */
void fd_close(int *fd);
void dir_close(DIR **dir);
