#include "tasks/restore_scan.h"

#include "base/path.h"
#include "tables/places.h"
#include "tasks/restore_drop.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

enum { REPLY_SIZE = 512, PART_SIZE = 65536, ANSWER_S = 120 };

typedef struct Scan {
    const ScanWays *ways;
    const char *folder;
    uint64_t infected;
} Scan;

/* ---- clamd(8): INSTREAM ---- */

static Error *away(const char *what)
{
    return error_hint(error_new(ERROR_UNAVAILABLE, "clamd: %s: %s", what, strerror(errno)), "mailctl doctor");
}

static Error *clamd_open(const char *root, int *ret_fd)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const struct timeval patience = {.tv_sec = ANSWER_S};
    Path path = path_in(root, "%s", &PLACE_CLAMD_SOCKET[3]);

    if (strlen(path.text) >= sizeof address.sun_path)
        return error_new(ERROR_INVALID, "%s: too long for a socket", path.text);
    snprintf(address.sun_path, sizeof address.sun_path, "%s", path.text);
    *ret_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (*ret_fd < 0 || connect(*ret_fd, (struct sockaddr *)&address, sizeof address) != 0)
        return away("connect");
    if (setsockopt(*ret_fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) != 0)
        return away("time limit");
    return NULL;
}

static bool send_all(int clamd, const void *data, size_t size)
{
    const char *at = data;

    for (ssize_t put = 0; size; at += put, size -= (size_t)put) {
        put = send(clamd, at, size, MSG_NOSIGNAL);
        if (put < 0 && errno == EINTR)
            put = 0;
        if (put < 0)
            return false;
    }
    return true;
}

/* Each part with its length before it, and one of none at the end.  What clamd does not take any more it says why. */
static Error *message_send(int clamd, int fd)
{
    static const char command[] = "zINSTREAM";
    char part[PART_SIZE];
    ssize_t got = 1;
    bool taken = send_all(clamd, command, sizeof command);

    while (taken && got > 0) {
        got = read(fd, part, sizeof part);
        if (got < 0)
            return error_system("read");
        uint32_t size = htonl((uint32_t)got);
        taken = send_all(clamd, &size, sizeof size) && send_all(clamd, part, (size_t)got);
    }
    return taken || errno == EPIPE || errno == ECONNRESET ? NULL : away("write");
}

/* "stream: OK", "stream: Eicar-Signature FOUND" with a NUL behind it. */
static Error *answer_read(int clamd, char reply[REPLY_SIZE])
{
    size_t size = 0;

    while (size < REPLY_SIZE - 1) {
        ssize_t got = recv(clamd, reply + size, REPLY_SIZE - 1 - size, 0);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return away("read");
        size += (size_t)got;
        if (got == 0 || memchr(reply, '\0', size))
            break;
    }
    reply[size] = '\0';
    return NULL;
}

static bool ends_with(const char *text, const char *end)
{
    size_t len = strlen(text), end_len = strlen(end);

    return len >= end_len && strcmp(text + len - end_len, end) == 0;
}

/* ---- messages ---- */

/* ret_what: the name of what is in it; empty: nothing. */
static Error *message_look(const char *root, int part, const char *name, char reply[REPLY_SIZE], char **ret_what)
{
    DEFER(fd_close) int clamd = -1;
    DEFER(fd_close) int fd = openat(part, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);

    *ret_what = NULL;
    if (fd < 0)
        return error_system("%s", name);
    Error *err = clamd_open(root, &clamd);
    if (!err)
        err = message_send(clamd, fd);
    if (!err)
        err = answer_read(clamd, reply);
    if (err || ends_with(reply, ": OK"))
        return err;
    if (!ends_with(reply, " FOUND"))
        return error_hint(error_new(ERROR_UNAVAILABLE, "clamd could not look at message %s: %s", name, reply),
                          "restore it without --scan");
    reply[strlen(reply) - strlen(" FOUND")] = '\0';
    char *what = strstr(reply, ": ");
    *ret_what = what ? what + 2 : reply;
    return NULL;
}

static Error *message_scan(Scan *scan, int part, const char *name)
{
    char reply[REPLY_SIZE];
    char *what = NULL;

    if (!scan->ways->tick(scan->ways->context))
        return error_new(ERROR_CONFLICT, "cancelled");
    Error *err = message_look(scan->ways->root, part, name, reply, &what);
    if (err || !what)
        return err;
    if (unlinkat(part, name, 0) != 0)
        return error_system("%s", name);
    scan->infected++;
    scan->ways->infected(scan->ways->context, scan->folder, name, what);
    return NULL;
}

static Error *each_in(Scan *scan, int at, const char *name, Error *(*one)(Scan *scan, int at, const char *name))
{
    DEFER(fd_close) int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DEFER(dir_close) DIR *dir = fd < 0 ? NULL : folder_walk(fd);
    Error *err = NULL;

    if (!dir)
        return error_system("%s", name);
    for (struct dirent *entry; !err && (entry = readdir(dir));)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            err = one(scan, fd, entry->d_name);
    return err;
}

static Error *folder_scan(Scan *scan, int new, const char *name)
{
    DEFER(fd_close) int folder = openat(new, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

    scan->folder = name;
    if (folder < 0)
        return error_system("%s", name);
    Error *err = each_in(scan, folder, "cur", message_scan);
    return err ? err : each_in(scan, folder, "new", message_scan);
}

Error *scan_folders(int new, const ScanWays *ways, uint64_t *ret_infected)
{
    Scan scan = {.ways = ways};

    Error *err = each_in(&scan, new, ".", folder_scan);
    *ret_infected = scan.infected;
    return error_in(err, "scan");
}
