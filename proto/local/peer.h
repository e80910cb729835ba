/* peer.h - one side of a connection, as local.c and call.c see it
 *
 * Octets come in until one whole frame lies there, so a peer that is not listened to
 * is slowed down, not stored.  What ended the connection is kept, and told when all
 * that came before it has been taken.
 */
#pragma once
#include "local/local.h"

enum {
    LOCAL_PATH_MAX = 107,    /* octets without the NUL: unix(7) */
    LOCAL_SILENT_MS = 10000, /* how long a Greeting may take */
};

struct LocalPeer {
    int fd;
    uid_t uid;
    gid_t gid;
    pid_t pid;
    uint64_t next_id;
    bool greeted;

    Buf in, out;
    size_t in_at, out_at; /* taken, written */
    bool mute;            /* nothing can be written any more; what came may still be read */
    Error *end;           /* NULL: it lives */

    LocalServer *server; /* NULL: we connected, or the server is gone */
    size_t slot;
    bool handed; /* the caller of local_accept owns it */
    Msec since;
};

/* Takes the descriptor over and queues our Greeting. */
CHECKED Error *peer_new(int fd, const char *program, LocalPeer **ret_peer);

/* A connected descriptor that does not block, or -1 with errno; 'path' has been checked.  Blocks at most wait_ms (0: not
 * at all) for a place in the listener's queue. */
int peer_socket(const char *path, Msec wait_ms);
CHECKED Error *peer_connect(const char *path, const char *program, Msec wait_ms, LocalPeer **ret_peer);

/* As local_send, with the reason.  CONFLICT: it is full for now; INVALID: larger than an envelope may be;
 * UNAVAILABLE: the connection is over. */
CHECKED Error *peer_send(LocalPeer *peer, Envelope *envelope);

/* A whole frame lies there, or the frame that lies there is none (the peer is then over). */
bool peer_has_frame(LocalPeer *peer);

/* Out of the server's slots; local.c. */
void server_forget(LocalServer *server, const LocalPeer *peer);

CHECKED Error *path_check(const char *path);
