#include "tasks/restore_room.h"

#include "base/alloc.h"
#include "base/crash.h"
#include "base/path.h"
#include "tables/places.h"
#include "tasks/restore_drop.h"
#include "tasks/restore_exchange.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define HOLDER "holder"
#define GATE ".gate"

enum { MAILBOX_MAX = 1024, ID_MAX = 64 };

struct Room {
    int rooms, fd, holder, aside;
    char *id;
    Path path, aside_path;
};

/* ---- locks: of open files, so that they end with the process and with the descriptor ---- */

static bool lock_now(int fd)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};

    return fcntl(fd, F_OFD_SETLK, &lock) == 0;
}

/* The folder of all rooms, and the lock under which one is made or ended. */
static Error *rooms_open(const char *root, int *ret_rooms, int *ret_gate)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    Path path = path_in(root, "%s", &PLACE_RESTORE[3]);

    Error *err = folder_make(path.text, 0711, 0, 0);
    if (err)
        return err;
    *ret_rooms = open(path.text, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (*ret_rooms < 0)
        return error_system("%s", path.text);
    *ret_gate = openat(*ret_rooms, GATE, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (*ret_gate < 0)
        return error_system("%s/" GATE, path.text);
    while (fcntl(*ret_gate, F_OFD_SETLKW, &lock) != 0)
        if (errno != EINTR)
            return error_system("%s/" GATE, path.text);
    return NULL;
}

/* Nobody but the one restore of an instance has anything there. */
static Error *aside_empty(const char *path)
{
    DEFER(fd_close) int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DEFER(dir_close) DIR *dir = fd < 0 ? NULL : folder_walk(fd);
    Error *err = NULL;

    if (!dir)
        return errno == ENOENT ? NULL : error_system("%s", path);
    for (struct dirent *entry; !err && (entry = readdir(dir));)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            err = error_in(drop_tree(fd, entry->d_name), "%s", path);
    return err;
}

/* ---- those that are there ---- */

typedef struct Sweep {
    const char *root, *mailbox; /* wanted; NULL: only what died is ended */
    int rooms;
    void (*found)(void *context, const char *text);
    void *context;
} Sweep;

static void tell(const Sweep *sweep, const char *text)
{
    if (sweep->found)
        sweep->found(sweep->context, text);
}

static bool is_of(int holder, const char *wanted)
{
    char mailbox[MAILBOX_MAX];
    ssize_t got = holder < 0 ? -1 : pread(holder, mailbox, sizeof mailbox, 0);

    return wanted && got == (ssize_t)strlen(wanted) && memcmp(mailbox, wanted, (size_t)got) == 0;
}

static Error *dead_end(const Sweep *sweep, int fd, int holder, const char *id)
{
    bool pending = exchange_pending(fd);

    Error *err = pending ? exchange_resume(sweep->root, fd) : NULL;
    if (!err && is_of(holder, ROOM_OF_INSTANCE))
        err = aside_empty(path_in(sweep->root, "%s", &PLACE_ASIDE[3]).text);
    if (!err)
        err = drop_tree(sweep->rooms, id);
    DEFER(xfree)
    char *text = xasprintf("restore %s died: %s", id,
                           err       ? err->what
                           : pending ? "its exchange was gone on with, the new folder is in place"
                                     : "nothing came of it");
    tell(sweep, text);
    return error_in(err, "restore %s died", id);
}

/* NULL where it is no obstacle: what cannot be ended is one for its own mailbox alone. */
static Error *one_look(const Sweep *sweep, const char *id)
{
    bool room = strncmp(id, DROP_PREFIX, strlen(DROP_PREFIX)) != 0; /* otherwise what is in it is nobody's word */
    DEFER(fd_close) int fd = room ? openat(sweep->rooms, id, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC) : -1;
    DEFER(fd_close) int holder = fd < 0 ? -1 : openat(fd, HOLDER, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
    bool wanted = is_of(holder, sweep->mailbox);
    Error *err = NULL;

    if (holder >= 0 && !lock_now(holder))
        err = error_hint(error_new(ERROR_CONFLICT, "restore %s of this mailbox is running", id), "mailctl task wait %s",
                         id);
    else
        err = fd < 0 ? drop_tree(sweep->rooms, id) : dead_end(sweep, fd, holder, id);
    if (!wanted)
        error_free(&err);
    return err;
}

static Error *all_look(const Sweep *sweep)
{
    DEFER(dir_close) DIR *dir = folder_walk(sweep->rooms);
    Error *err = NULL;

    if (!dir)
        return error_system("open");
    for (struct dirent *entry; !err && (entry = readdir(dir));)
        if (entry->d_name[0] != '.' || strncmp(entry->d_name, DROP_PREFIX, strlen(DROP_PREFIX)) == 0)
            err = one_look(sweep, entry->d_name);
    return err;
}

Error *rooms_sweep(const char *root, void (*found)(void *context, const char *text), void *context)
{
    DEFER(fd_close) int rooms = -1;
    DEFER(fd_close) int gate = -1;

    Error *err = rooms_open(root, &rooms, &gate);
    if (!err)
        err = all_look(&(Sweep){.root = root, .rooms = rooms, .found = found, .context = context});
    return error_in(err, "restore");
}

/* ---- a new one ---- */

static Error *id_check(const char *id)
{
    size_t len = strspn(id, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-");

    return len && !id[len] && len <= ID_MAX ? NULL : error_new(ERROR_INVALID, "task: no id");
}

static Error *room_make(Room *room, const char *mailbox)
{
    if (mkdirat(room->rooms, room->id, 0711) != 0 || fchmodat(room->rooms, room->id, 0711, 0) != 0) /* past the umask */
        return error_system("mkdir");
    room->fd = openat(room->rooms, room->id, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (room->fd < 0)
        return error_system("open");
    room->holder = openat(room->fd, HOLDER, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (room->holder < 0 || !lock_now(room->holder) ||
        write(room->holder, mailbox, strlen(mailbox)) != (ssize_t)strlen(mailbox))
        return error_system(HOLDER);
    CRASH_POINT("restore.room.made");
    return NULL;
}

static Room *room_new(const char *root, const char *id)
{
    Room *room = xcalloc(1, sizeof *room);

    room->rooms = room->fd = room->holder = room->aside = -1;
    room->aside_path = path_in(root, "%s", &PLACE_ASIDE[3]);
    room->id = xstrdup(id);
    room->path = path_in(root, "%s/%s", &PLACE_RESTORE[3], id);
    return room;
}

Error *room_take(const char *root, const char *id, const char *mailbox, Room **ret_room)
{
    DEFER(fd_close) int gate = -1;

    Error *err = id_check(id);
    if (err)
        return err;
    DEFER(room_free) Room *room = room_new(root, id);
    err = rooms_open(root, &room->rooms, &gate);
    if (!err)
        err = all_look(&(Sweep){.root = root, .rooms = room->rooms, .mailbox = mailbox});
    if (!err)
        err = error_in(room_make(room, mailbox), "%s", room->path.text);
    if (err)
        return err;
    *ret_room = room;
    room = NULL;
    return NULL;
}

int room_fd(const Room *room)
{
    return room->fd;
}

const char *room_path(const Room *room)
{
    return room->path.text;
}

Error *room_aside(Room *room, int *ret_fd, const char **ret_path)
{
    const char *path = room->aside_path.text;

    Error *err = aside_empty(path);
    if (!err)
        err = folder_make(path, 0711, 0, 0);
    if (err)
        return err;
    room->aside = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (room->aside < 0)
        return error_system("%s", path);
    *ret_fd = room->aside;
    *ret_path = path;
    return NULL;
}

static void room_forget(Room **room)
{
    fd_close(&(*room)->aside);
    fd_close(&(*room)->holder);
    fd_close(&(*room)->fd);
    fd_close(&(*room)->rooms);
    free((*room)->id);
    xfree(room);
}

/* While the journal of an exchange stands the room stays, for the next sweep. */
Error *room_exchange(int folder, const char *name, const char *place)
{
    DEFER(xfree) char *above = xstrndup(place, (size_t)(strrchr(place, '/') - place));
    DEFER(fd_close) int fd = open(above, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (renameat2(folder, name, AT_FDCWD, place, RENAME_EXCHANGE) != 0 || fd < 0 || fsync(fd) != 0)
        return error_system("%s", place);
    return NULL;
}

Error *room_end(Room **room)
{
    bool stays = (*room)->fd < 0 || exchange_pending((*room)->fd);

    Error *err = (*room)->aside < 0 ? NULL : aside_empty((*room)->aside_path.text);
    if (!err && !stays)
        err = error_in(drop_tree((*room)->rooms, (*room)->id), "%s", (*room)->path.text);
    CRASH_POINT("restore.room.gone");
    room_forget(room);
    return err;
}

void room_free(Room **room)
{
    if (!*room)
        return;
    Error *err = room_end(room);
    error_free(&err); /* the next sweep finds it */
}
