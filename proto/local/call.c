#include "local/peer.h"

enum { PLACE_WAIT_MS = 10000 }; /* for a place in the listener's queue, and then for its Greeting */

static void sleep_for(LocalPeer *peer, Msec until)
{
    Waiter wake = waiter_start();

    local_peer_wait(peer, &wake);
    waiter_at(&wake, until);
    waiter_block(&wake);
}

static Error *greeting_wait(LocalPeer *peer)
{
    Msec until = clock_ms() + PLACE_WAIT_MS;

    for (;;) {
        Error *err = local_peer_run(peer);
        if (err || local_greeted(peer))
            return err;
        if (clock_ms() >= until)
            return error_new(ERROR_UNAVAILABLE, "no greeting for %d s", PLACE_WAIT_MS / 1000);
        sleep_for(peer, until);
    }
}

Error *local_call_open(const char *path, const char *program, LocalPeer **ret_peer)
{
    DEFER(local_peer_free) LocalPeer *peer = NULL;

    Error *err = peer_connect(path, program, PLACE_WAIT_MS, &peer);
    if (err)
        return err;
    err = greeting_wait(peer);
    if (err)
        return error_in(err, "%s", path);
    *ret_peer = peer;
    peer = NULL;
    return NULL;
}

/* Until at most 'left' octets wait; what comes meanwhile is kept, one frame of it.  When the other side has closed but
 * said something before, that is worth more than our complaint: local_call_next hands it out. */
static Error *flush(LocalPeer *peer, size_t left)
{
    for (;;) {
        Error *err = local_peer_run(peer);
        if (err && peer->mute)
            return error_in(err, "the link broke while sending");
        error_free(&err); /* all is written: local_call_next says what became of it */
        if (local_queued(peer) <= left)
            return NULL;
        Waiter wake = waiter_start();
        waiter_fd(&wake, peer->fd, peer_has_frame(peer) || peer->end ? POLLOUT : POLLIN | POLLOUT);
        waiter_block(&wake);
    }
}

Error *local_call_send(LocalPeer *peer, Envelope *envelope)
{
    for (;;) {
        Error *err = peer_send(peer, envelope);
        if (!err)
            return flush(peer, 0);
        if (err->code == ERROR_UNAVAILABLE && peer_has_frame(peer)) {
            error_free(&err); /* it said why */
            return NULL;
        }
        if (err->code != ERROR_CONFLICT)
            return error_in(err, "the link broke while sending");
        error_free(&err);
        err = flush(peer, LOCAL_QUEUE_MAX / 2);
        if (err)
            return err;
    }
}

static Error *lost(Error *err)
{
    err->code = ERROR_UNAVAILABLE; /* whatever ended it: what became of the request is not known */
    return error_in(err, "lost after sending");
}

Error *local_call_next(LocalPeer *peer, uint64_t id, Envelope **ret_envelope)
{
    for (;;) {
        DEFER(envelope_free) Envelope *envelope = NULL;
        uint64_t about = 0;
        Error *err = local_peer_run(peer);
        if (err)
            return lost(err);
        err = local_receive(peer, &envelope, &about);
        if (err)
            return err->code == ERROR_UNSUPPORTED ? err : lost(err);
        if (envelope && envelope->in_reply_to == id) {
            *ret_envelope = envelope;
            envelope = NULL;
            return NULL;
        }
        if (!envelope)
            sleep_for(peer, MSEC_NEVER);
    }
}
