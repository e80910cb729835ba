/* new_file.h - a file that nobody else may read, and that has its name when it is whole
 *
 * Order of calls: new_file_make, writing to 'fd', new_file_name.
 */
#pragma once
#include "base/error.h"

#include <stdbool.h>

typedef struct NewFile {
    const char *path; /* the caller's */
    char *temp;       /* beside it, 0600; NULL: not made, or named */
    int fd;           /* -1: not made */
} NewFile;

CHECKED Error *new_file_make(const char *path, NewFile *ret_file);
void new_file_done(NewFile *file); /* without a name it goes */

/* On the disk before it is seen.  EXISTS: something is there, and 'replace' was not said. */
CHECKED Error *new_file_name(NewFile *file, bool replace);
