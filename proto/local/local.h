/* local.h - envelopes over unix stream sockets: u32 length (little endian), then the envelope
 *
 * Used by mailctl and the controller, by the agent and mail-engine.  Greeting goes
 * first on both sides; a wrong version ends with both numbers in the words.  Nothing
 * here blocks but local_call_*, which are for mailctl.
 *
 * Source: unix(7): SO_PEERCRED; sun_path holds 108 octets.
 */
#pragma once
#include "base/loop.h"
#include "local/envelope.h"

#include <sys/types.h>

typedef struct LocalServer LocalServer;
typedef struct LocalPeer LocalPeer;

enum {
    LOCAL_QUEUE_MAX = 4 * 1024 * 1024, /* octets waiting for a peer that does not read */
    LOCAL_PEERS_MAX = 256,
    LOCAL_PEERS_OF_USER = 64, /* of one user that is not root */
};

/* Binds path (a stale socket file is replaced, a live one is CONFLICT) with this mode and group (gid -1: leave). */
CHECKED Error *local_listen(const char *path, mode_t mode, gid_t gid, LocalServer **ret_server);
void local_server_free(LocalServer **server); /* removes the socket file */

/* The next new peer that has said its Greeting, NULL when there is none now.  Owned by the caller.  Peers over
 * LOCAL_PEERS_MAX or LOCAL_PEERS_OF_USER, and those silent for 10 s, are closed unseen.  'release' is answered in our
 * Greeting. */
LocalPeer *local_accept(LocalServer *server, Msec now);
void local_server_wait(LocalServer *server, Waiter *wake);

/* Connects without blocking and says our Greeting.  UNAVAILABLE: nobody listens. */
CHECKED Error *local_connect(const char *path, const char *program, LocalPeer **ret_peer);

/* Speaks over a connected socket that is there already: one end of socketpair(2), between a program and its child.  Takes
 * the descriptor over, which blocks no more. */
CHECKED Error *local_adopt(int fd, const char *program, LocalPeer **ret_peer);

void local_peer_free(LocalPeer **peer);
uid_t local_peer_uid(const LocalPeer *peer);
gid_t local_peer_gid(const LocalPeer *peer);
pid_t local_peer_pid(const LocalPeer *peer);

/* Reads and writes what can be now.  An error is the end of the connection: UNAVAILABLE (the peer hung up), INVALID
 * (it broke the protocol). */
CHECKED Error *local_peer_run(LocalPeer *peer);
void local_peer_wait(LocalPeer *peer, Waiter *wake);

/* The next whole envelope, NULL when there is none now.  UNSUPPORTED: not understood, *ret_id (if not 0) to be answered, and
 * the connection goes on.  INVALID: it broke the protocol; a failure has been written, the connection is over.
 * local_peer_wait wakes at once while one lies here, and local_peer_run tells the end only after the last was taken. */
CHECKED Error *local_receive(LocalPeer *peer, Envelope **ret_envelope, uint64_t *ret_id);

/* Queues; *envelope's id is chosen when it is 0, and given back.  False when more than LOCAL_QUEUE_MAX would wait: nothing
 * is queued. */
bool local_send(LocalPeer *peer, Envelope *envelope);
size_t local_queued(const LocalPeer *peer); /* octets not yet written */
int local_peer_fd(const LocalPeer *peer);   /* to wait for, when local_peer_wait is not what is wanted */
bool local_greeted(const LocalPeer *peer);  /* the other side's Greeting came and its version fits */

/* For mailctl, blocking: connects and greets; sends; waits for the next envelope that answers 'id' (others are dropped).
 * UNAVAILABLE when nobody listens or the link breaks, with "lost after sending" in the words of the latter. */
CHECKED Error *local_call_open(const char *path, const char *program, LocalPeer **ret_peer);
CHECKED Error *local_call_send(LocalPeer *peer, Envelope *envelope);
CHECKED Error *local_call_next(LocalPeer *peer, uint64_t id, Envelope **ret_envelope);
