#include "local/local.h"

#include "base/alloc.h"
#include "local/peer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { BACKLOG = 4096, PAUSE_MS = 100 }; /* somaxconn caps it; pause: no descriptor is left for another peer */

struct LocalServer {
    int fd; /* -1: not yet */
    char *path;
    dev_t device; /* of the socket file, so that another's is not removed */
    ino_t inode;
    Msec pause_until;
    LocalPeer *peers[LOCAL_PEERS_MAX]; /* silent ones are ours, the others are only counted */
};

/* ---- binding ---- */

/* An Error names who holds the socket. */
static Error *stale_remove(const char *path)
{
    struct stat st;
    struct ucred other = {.pid = 0};
    socklen_t size = sizeof other;

    if (lstat(path, &st) != 0)
        return errno == ENOENT ? NULL : error_system("stat");
    if (!S_ISSOCK(st.st_mode))
        return error_new(ERROR_CONFLICT, "something that is no socket lies there");
    int fd = peer_socket(path, 0);
    if (fd >= 0) {
        getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &other, &size);
        close(fd);
        return error_new(ERROR_CONFLICT, "pid %ld listens there", (long)other.pid);
    }
    if (errno == EAGAIN)
        return error_new(ERROR_CONFLICT, "somebody listens there");
    if (errno != ECONNREFUSED && errno != ENOENT)
        return error_system("connect");
    return unlink(path) == 0 || errno == ENOENT ? NULL : error_system("unlink");
}

/* Nobody can connect before listen(2), so the mode is right before anybody can come in. */
static Error *bind_now(LocalServer *server, mode_t mode, gid_t gid)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct stat st;

    memcpy(address.sun_path, server->path, strlen(server->path) + 1);
    server->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (server->fd < 0)
        return error_system("socket");
    if (bind(server->fd, (struct sockaddr *)&address, sizeof address) != 0)
        return error_system("bind");
    if (lstat(server->path, &st) != 0)
        return error_system("stat");
    server->device = st.st_dev;
    server->inode = st.st_ino;
    if (gid != (gid_t)-1 && chown(server->path, (uid_t)-1, gid) != 0)
        return error_system("chown");
    if (chmod(server->path, mode) != 0)
        return error_system("chmod");
    return listen(server->fd, BACKLOG) == 0 ? NULL : error_system("listen");
}

Error *local_listen(const char *path, mode_t mode, gid_t gid, LocalServer **ret_server)
{
    Error *err = path_check(path);
    if (err)
        return err;
    DEFER(local_server_free) LocalServer *server = xcalloc(1, sizeof *server);
    server->fd = -1;
    server->path = xstrdup(path);
    err = stale_remove(path);
    if (!err)
        err = bind_now(server, mode, gid);
    if (err)
        return error_in(err, "socket %s", path);
    *ret_server = server;
    server = NULL;
    return NULL;
}

void local_server_free(LocalServer **server)
{
    struct stat st;

    if (!*server)
        return;
    for (size_t i = 0; i < LOCAL_PEERS_MAX; i++) {
        LocalPeer *peer = (*server)->peers[i];
        if (peer && peer->handed)
            peer->server = NULL;
        else if (peer)
            local_peer_free(&peer);
    }
    if ((*server)->fd >= 0)
        close((*server)->fd);
    if ((*server)->inode && lstat((*server)->path, &st) == 0 && st.st_dev == (*server)->device &&
        st.st_ino == (*server)->inode)
        unlink((*server)->path);
    free((*server)->path);
    free(*server);
    *server = NULL;
}

/* ---- who comes ---- */

void server_forget(LocalServer *server, const LocalPeer *peer)
{
    server->peers[peer->slot] = NULL;
}

/* An empty slot; where there is none, that of whoever has been silent longest: he who speaks at once gets in, whoever
 * else keeps connections open.  LOCAL_PEERS_MAX: all have spoken. */
static size_t slot_for_one_more(LocalServer *server)
{
    size_t oldest = LOCAL_PEERS_MAX;

    for (size_t i = 0; i < LOCAL_PEERS_MAX; i++) {
        const LocalPeer *peer = server->peers[i];
        if (!peer)
            return i;
        if (!peer->handed && !peer->greeted &&
            (oldest == LOCAL_PEERS_MAX || peer->since < server->peers[oldest]->since))
            oldest = i;
    }
    if (oldest < LOCAL_PEERS_MAX) {
        LocalPeer *peer = server->peers[oldest];
        local_peer_free(&peer);
    }
    return oldest;
}

static void peer_hear(LocalServer *server, size_t slot, Msec now)
{
    LocalPeer *peer = server->peers[slot];

    if (!peer || peer->handed || peer->greeted)
        return;
    Error *err = local_peer_run(peer);
    if (err || (!peer->greeted && now >= peer->since + LOCAL_SILENT_MS))
        local_peer_free(&peer);
    error_free(&err);
}

/* Nobody but root may take all places: the socket is open to every user. */
static bool may_have_one_more(const LocalServer *server, uid_t uid)
{
    size_t n = 0;

    for (size_t i = 0; i < LOCAL_PEERS_MAX; i++)
        if (server->peers[i] && local_peer_uid(server->peers[i]) == uid)
            n++;
    return uid == 0 || n < LOCAL_PEERS_OF_USER;
}

static void peer_add(LocalServer *server, int fd, Msec now)
{
    LocalPeer *peer = NULL;
    size_t slot = slot_for_one_more(server);

    if (slot == LOCAL_PEERS_MAX) {
        close(fd);
        return;
    }
    Error *err = peer_new(fd, program_invocation_short_name, &peer);
    if (err) {
        error_free(&err); /* gone already */
        return;
    }
    if (!may_have_one_more(server, local_peer_uid(peer))) {
        local_peer_free(&peer);
        return;
    }
    peer->server = server;
    peer->slot = slot;
    peer->since = now;
    server->peers[slot] = peer;
    peer_hear(server, slot, now); /* before the next one comes, who may push out only the silent */
}

static void accept_all(LocalServer *server, Msec now)
{
    if (now < server->pause_until)
        return;
    for (int n = 0; n < LOCAL_PEERS_MAX; n++) {
        int fd = accept4(server->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd >= 0)
            peer_add(server, fd, now);
        else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
            server->pause_until = now + PAUSE_MS;
        if (fd < 0 && errno != EINTR && errno != ECONNABORTED)
            return;
    }
}

LocalPeer *local_accept(LocalServer *server, Msec now)
{
    for (size_t i = 0; i < LOCAL_PEERS_MAX; i++)
        peer_hear(server, i, now);
    accept_all(server, now);
    for (size_t i = 0; i < LOCAL_PEERS_MAX; i++) {
        peer_hear(server, i, now);
        if (server->peers[i] && !server->peers[i]->handed && server->peers[i]->greeted) {
            server->peers[i]->handed = true;
            return server->peers[i];
        }
    }
    return NULL;
}

void local_server_wait(LocalServer *server, Waiter *wake)
{
    if (server->pause_until > clock_ms())
        waiter_at(wake, server->pause_until);
    else
        waiter_fd(wake, server->fd, POLLIN);
    for (size_t i = 0; i < LOCAL_PEERS_MAX; i++) {
        LocalPeer *peer = server->peers[i];
        if (!peer || peer->handed)
            continue;
        if (peer->greeted)
            waiter_now(wake);
        else
            local_peer_wait(peer, wake);
        waiter_at(wake, peer->since + LOCAL_SILENT_MS);
    }
}
