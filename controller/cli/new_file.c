#include "new_file.h"

#include "base/alloc.h"
#include "base/path.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

Error *new_file_make(const char *path, NewFile *ret_file)
{
    DEFER(xfree) char *temp = xasprintf("%s.XXXXXX", path);
    int fd = mkostemp(temp, O_CLOEXEC); /* 0600 */

    if (fd < 0)
        return error_system("%s", path);
    *ret_file = (NewFile){.path = path, .temp = temp, .fd = fd};
    temp = NULL;
    return NULL;
}

void new_file_done(NewFile *file)
{
    if (file->temp)
        unlink(file->temp);
    xfree(&file->temp);
    fd_close(&file->fd);
}

static Error *folder_sync(const char *path)
{
    DEFER(xfree) char *folder = xstrdup(path);
    char *slash = strrchr(folder, '/');

    if (slash)
        slash[slash == folder] = '\0';
    DEFER(fd_close) int fd = open(slash ? folder : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd < 0 || fsync(fd) != 0 ? error_system("%s", path) : NULL;
}

Error *new_file_name(NewFile *file, bool replace)
{
    if (fsync(file->fd) != 0)
        return error_system("%s", file->path);
    if (renameat2(AT_FDCWD, file->temp, AT_FDCWD, file->path, replace ? 0 : RENAME_NOREPLACE) != 0)
        return errno == EEXIST ? error_new(ERROR_EXISTS, "%s is there already", file->path)
                               : error_system("%s", file->path);
    xfree(&file->temp);
    return folder_sync(file->path);
}
