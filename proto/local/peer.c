#include "local/peer.h"

#include "base/alloc.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

enum {
    LENGTH_SIZE = 4,
    GREETING_BYTES_MAX = 4096, /* before the Greeting a stranger costs no more than this */
    READ_BYTES = 32 * 1024,
    KEEP_BYTES = 64 * 1024, /* of an empty buffer */
};

/* ---- birth and death ---- */

static void greet(LocalPeer *peer, const char *program)
{
    Envelope envelope = MAIL__ENVELOPE__INIT;
    Mail__Greeting greeting = MAIL__GREETING__INIT;

    greeting.has_protocol = true;
    greeting.protocol = ENVELOPE_VERSION;
    greeting.release = (char *)MAILNODE_RELEASE;
    greeting.program = (char *)program;
    envelope.body_case = MAIL__ENVELOPE__BODY_GREETING;
    envelope.greeting = &greeting;
    local_send(peer, &envelope);
}

Error *peer_new(int fd, const char *program, LocalPeer **ret_peer)
{
    struct ucred other;
    socklen_t size = sizeof other;

    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &other, &size) != 0) {
        Error *err = error_system("peer credentials");
        close(fd);
        return err;
    }
    LocalPeer *peer = xcalloc(1, sizeof *peer);
    *peer = (LocalPeer){.fd = fd, .uid = other.uid, .gid = other.gid, .pid = other.pid, .next_id = 1};
    greet(peer, program);
    *ret_peer = peer;
    return NULL;
}

void local_peer_free(LocalPeer **peer)
{
    if (!*peer)
        return;
    if ((*peer)->server)
        server_forget((*peer)->server, *peer);
    close((*peer)->fd);
    buf_done(&(*peer)->in);
    buf_done(&(*peer)->out);
    error_free(&(*peer)->end);
    free(*peer);
    *peer = NULL;
}

uid_t local_peer_uid(const LocalPeer *peer)
{
    return peer->uid;
}

gid_t local_peer_gid(const LocalPeer *peer)
{
    return peer->gid;
}

pid_t local_peer_pid(const LocalPeer *peer)
{
    return peer->pid;
}

int local_peer_fd(const LocalPeer *peer)
{
    return peer->fd;
}

bool local_greeted(const LocalPeer *peer)
{
    return peer->greeted;
}

size_t local_queued(const LocalPeer *peer)
{
    return peer->out.size - peer->out_at;
}

/* Takes err; the first reason counts. */
static void end(LocalPeer *peer, Error *err)
{
    if (peer->end)
        error_free(&err);
    else
        peer->end = err;
}

static Error *end_copy(const LocalPeer *peer)
{
    Error *err = error_new(peer->end->code, "%s", peer->end->what);

    return peer->end->hint ? error_hint(err, "%s", peer->end->hint) : err;
}

/* ---- writing ---- */

static void buf_rest(Buf *buf, size_t *at)
{
    if (*at < buf->size)
        return;
    *at = 0;
    buf_clear(buf);
    if (buf->room > KEEP_BYTES)
        buf_done(buf);
}

static void write_now(LocalPeer *peer)
{
    while (!peer->mute && local_queued(peer)) {
        ssize_t put = send(peer->fd, peer->out.data + peer->out_at, local_queued(peer), MSG_NOSIGNAL);
        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0 && errno == EAGAIN)
            break;
        peer->mute = put < 0;
        peer->out_at = put < 0 ? peer->out.size : peer->out_at + (size_t)put;
    }
    buf_rest(&peer->out, &peer->out_at);
}

Error *peer_send(LocalPeer *peer, Envelope *envelope)
{
    Buf *out = &peer->out;

    if (peer->end || peer->mute)
        return error_new(ERROR_UNAVAILABLE, "the other side hung up");
    if (peer->out_at > out->size / 2) { /* so that each octet moves at most once */
        buf_drop(out, peer->out_at);
        peer->out_at = 0;
    }
    size_t before = out->size;
    if (!envelope->has_id || envelope->id == 0) {
        envelope->has_id = true;
        envelope->id = peer->next_id;
    }
    buf_append(out, "\0\0\0\0", LENGTH_SIZE);
    Error *err = envelope_pack(envelope, out);
    if (!err && local_queued(peer) > LOCAL_QUEUE_MAX)
        err = error_new(ERROR_CONFLICT, "over %d octets wait for it", LOCAL_QUEUE_MAX);
    if (err) {
        out->size = before;
        return err;
    }
    size_t size = out->size - before - LENGTH_SIZE;
    for (int i = 0; i < LENGTH_SIZE; i++)
        out->data[before + (size_t)i] = (uint8_t)(size >> 8 * i);
    if (envelope->id >= peer->next_id)
        peer->next_id = envelope->id + 1;
    return NULL;
}

bool local_send(LocalPeer *peer, Envelope *envelope)
{
    Error *err = peer_send(peer, envelope);
    bool sent = !err;

    error_free(&err);
    return sent;
}

/* Says why, as far as the other side still listens, and ends it.  Takes err. */
static void break_off(LocalPeer *peer, Error *err)
{
    Envelope envelope = MAIL__ENVELOPE__INIT;
    Mail__Failure failure = failure_of(err);

    envelope.body_case = MAIL__ENVELOPE__BODY_FAILURE;
    envelope.failure = &failure;
    local_send(peer, &envelope);
    write_now(peer);
    peer->in_at = peer->in.size; /* whatever else it said */
    end(peer, err);
}

/* ---- reading ---- */

static size_t frame_size(const LocalPeer *peer)
{
    const uint8_t *head = peer->in.data + peer->in_at;

    return (size_t)head[0] | (size_t)head[1] << 8 | (size_t)head[2] << 16 | (size_t)head[3] << 24;
}

bool peer_has_frame(LocalPeer *peer)
{
    size_t there = peer->in.size - peer->in_at;

    if (there < LENGTH_SIZE)
        return false;
    size_t size = frame_size(peer);
    size_t most = peer->greeted ? ENVELOPE_BYTES_MAX : GREETING_BYTES_MAX;
    if (size == 0 || size > most) {
        break_off(peer, error_new(ERROR_INVALID, "a message of %zu octets: 1 to %zu are taken", size, most));
        return false;
    }
    return there >= LENGTH_SIZE + size;
}

/* What read(2) gave when it gave nothing.  True: something may come still. */
static bool read_again(LocalPeer *peer, ssize_t got)
{
    if (got < 0 && errno == EINTR)
        return true;
    if (got < 0 && errno == EAGAIN && !peer->mute)
        return false;
    if (got < 0 && errno != EAGAIN && errno != ECONNRESET)
        end(peer, error_system("read"));
    else
        end(peer, error_new(ERROR_UNAVAILABLE, "the other side hung up"));
    return false;
}

static void read_now(LocalPeer *peer)
{
    while (!peer->end && !peer_has_frame(peer)) {
        if (peer->end)
            return;
        buf_drop(&peer->in, peer->in_at);
        peer->in_at = 0;
        size_t most = peer->greeted ? READ_BYTES : GREETING_BYTES_MAX;
        uint8_t *room = buf_reserve(&peer->in, most);
        ssize_t got = recv(peer->fd, room, most, 0);
        if (got > 0)
            peer->in.size += (size_t)got;
        else if (!read_again(peer, got))
            return;
    }
}

static Error *frame_take(LocalPeer *peer, Envelope **ret_envelope, uint64_t *ret_id)
{
    size_t size = frame_size(peer);

    Error *err = envelope_unpack(peer->in.data + peer->in_at + LENGTH_SIZE, size, ret_envelope, ret_id);
    peer->in_at += LENGTH_SIZE + size;
    buf_rest(&peer->in, &peer->in_at);
    return err;
}

static Error *greeting_check(const Envelope *envelope)
{
    const Mail__Greeting *greeting = envelope->greeting;

    if (envelope->body_case == MAIL__ENVELOPE__BODY_FAILURE)
        return error_of(envelope->failure);
    if (envelope->body_case != MAIL__ENVELOPE__BODY_GREETING)
        return error_new(ERROR_INVALID, "the first message is %s, not a greeting", body_name(envelope->body_case));
    if (greeting->protocol != ENVELOPE_VERSION)
        return error_new(ERROR_UNSUPPORTED, "%s %s speaks protocol %" PRIu32 ", %s %s speaks %d",
                         greeting->program ? greeting->program : "the other side",
                         greeting->release ? greeting->release : "-", greeting->protocol, program_invocation_short_name,
                         MAILNODE_RELEASE, ENVELOPE_VERSION);
    return NULL;
}

static void take_greeting(LocalPeer *peer)
{
    DEFER(envelope_free) Envelope *envelope = NULL;
    uint64_t id = 0;

    Error *err = frame_take(peer, &envelope, &id);
    if (!err)
        err = greeting_check(envelope);
    if (err && envelope && envelope->body_case == MAIL__ENVELOPE__BODY_FAILURE)
        end(peer, err); /* it has broken off */
    else if (err)
        break_off(peer, err);
    else
        peer->greeted = true;
}

Error *local_peer_run(LocalPeer *peer)
{
    write_now(peer);
    read_now(peer);
    if (!peer->greeted && peer_has_frame(peer))
        take_greeting(peer);
    if (!peer->end || peer_has_frame(peer))
        return NULL;
    return end_copy(peer);
}

void local_peer_wait(LocalPeer *peer, Waiter *wake)
{
    bool frame = peer_has_frame(peer);

    if (frame || peer->end)
        waiter_now(wake);
    else
        waiter_fd(wake, peer->fd, local_queued(peer) ? POLLIN | POLLOUT : POLLIN);
}

Error *local_receive(LocalPeer *peer, Envelope **ret_envelope, uint64_t *ret_id)
{
    *ret_envelope = NULL;
    *ret_id = 0;
    if (!peer->greeted || !peer_has_frame(peer))
        return NULL;
    Error *err = frame_take(peer, ret_envelope, ret_id);
    if (!err || err->code == ERROR_UNSUPPORTED)
        return err;
    break_off(peer, err);
    return end_copy(peer);
}

/* ---- connecting ---- */

Error *path_check(const char *path)
{
    size_t len = strlen(path);

    if (len > LOCAL_PATH_MAX)
        return error_new(ERROR_INVALID, "socket %s: %zu octets, a socket's path has at most %d", path, len,
                         (int)LOCAL_PATH_MAX);
    return NULL;
}

static Error *connect_failed(const char *path)
{
    switch (errno) {
    case ENOENT:
    case ECONNREFUSED:
        return error_new(ERROR_UNAVAILABLE, "nobody listens at %s", path);
    case EAGAIN:
        return error_new(ERROR_UNAVAILABLE, "too many wait at %s", path);
    case EACCES:
    case EPERM:
        return error_new(ERROR_DENIED, "%s: %s", path, strerror(errno));
    default:
        return error_in(error_system("connect"), "%s", path);
    }
}

int peer_socket(const char *path, Msec wait_ms)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct timeval wait = {.tv_sec = (time_t)(wait_ms / 1000), .tv_usec = (suseconds_t)(wait_ms % 1000) * 1000};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | (wait_ms ? 0 : SOCK_NONBLOCK), 0);

    if (fd < 0)
        return -1;
    memcpy(address.sun_path, path, strlen(path) + 1);
    if ((!wait_ms || setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof wait) == 0) &&
        connect(fd, (struct sockaddr *)&address, sizeof address) == 0 && fcntl(fd, F_SETFL, O_NONBLOCK) == 0)
        return fd;
    int number = errno;
    close(fd);
    errno = number;
    return -1;
}

Error *peer_connect(const char *path, const char *program, Msec wait_ms, LocalPeer **ret_peer)
{
    Error *err = path_check(path);
    if (err)
        return err;
    int fd = peer_socket(path, wait_ms);
    return fd < 0 ? connect_failed(path) : peer_new(fd, program, ret_peer);
}

Error *local_connect(const char *path, const char *program, LocalPeer **ret_peer)
{
    return peer_connect(path, program, 0, ret_peer);
}

Error *local_adopt(int fd, const char *program, LocalPeer **ret_peer)
{
    if (fcntl(fd, F_SETFL, O_NONBLOCK) == 0 && fcntl(fd, F_SETFD, FD_CLOEXEC) == 0)
        return peer_new(fd, program, ret_peer);
    Error *err = error_system("descriptor %d", fd);
    close(fd);
    return err;
}
