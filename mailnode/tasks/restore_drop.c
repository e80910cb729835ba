#include "tasks/restore_drop.h"

#include "base/path.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { NAME_SIZE = 32, NUMBERS_MAX = 10000000 };

typedef struct Drop {
    int at;
    unsigned long first, next; /* the numbers of folders that wait */
} Drop;

DIR *folder_walk(int fd)
{
    int own = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = own < 0 ? NULL : fdopendir(own);

    if (!dir && own >= 0)
        close(own);
    return dir;
}

/* The number of one that a death has left is passed over. */
static Error *move_up(Drop *drop, int from, const char *name)
{
    char to[NAME_SIZE];

    for (; drop->next < NUMBERS_MAX; drop->next++) {
        snprintf(to, sizeof to, DROP_PREFIX "%lu", drop->next);
        if (renameat2(from, name, drop->at, to, RENAME_NOREPLACE) == 0) {
            drop->next++;
            return NULL;
        }
        if (errno == ENOENT) /* somebody else drops the same */
            return NULL;
        if (errno != EEXIST)
            return error_system("rename");
    }
    return error_new(ERROR_DAMAGED, "too many folders");
}

static Error *one_out(Drop *drop, int folder, const char *name)
{
    if (unlinkat(folder, name, 0) == 0 || errno == ENOENT)
        return NULL;
    if (errno != EISDIR && errno != EPERM)
        return error_system("unlink");
    return move_up(drop, folder, name);
}

static Error *empty(Drop *drop, const char *name)
{
    DEFER(fd_close) int fd = openat(drop->at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DEFER(dir_close) DIR *dir = fd < 0 ? NULL : folder_walk(fd);
    Error *err = NULL;

    if (!dir)
        return errno == ENOENT ? NULL : error_system("open");
    for (struct dirent *entry; !err && (entry = readdir(dir));)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            err = one_out(drop, fd, entry->d_name);
    return err;
}

/* Who still holds it open may put something in while it is emptied. */
static Error *folder_out(Drop *drop, const char *name)
{
    Error *err = NULL;

    for (int tries = 0; !err && tries < 3; tries++) {
        err = empty(drop, name);
        if (!err && (unlinkat(drop->at, name, AT_REMOVEDIR) == 0 || errno == ENOENT))
            return NULL;
    }
    return err ? err : error_system("rmdir");
}

Error *drop_tree(int at, const char *name)
{
    Drop drop = {.at = at};

    if (unlinkat(at, name, 0) == 0 || errno == ENOENT)
        return NULL;
    Error *err = folder_out(&drop, name);
    for (; !err && drop.first < drop.next; drop.first++) {
        char waiting[NAME_SIZE];
        snprintf(waiting, sizeof waiting, DROP_PREFIX "%lu", drop.first);
        err = folder_out(&drop, waiting);
    }
    return err;
}
