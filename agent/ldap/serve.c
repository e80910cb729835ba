#include "ldap/serve.h"

#include "base/alloc.h"
#include "base/log.h"
#include "ldap/change.h"

#include <stdlib.h>
#include <string.h>

enum {
    QUEUED_MOST = LOCAL_QUEUE_MAX / 4,
    ACCOUNT_BYTES_MAX = 384 * 1024, /* more members than fit into this are said in several accounts */
};

struct Serve {
    Place place;
    Numbers numbers;
    Conn *conn;
    size_t left_out; /* said once */
};

Serve *serve_new(const char *socket, const char *user_domain)
{
    Serve *serve = xcalloc(1, sizeof *serve);

    serve->place = place_of(socket, user_domain);
    return serve;
}

void serve_free(Serve **serve)
{
    if (!*serve)
        return;
    conn_free(&(*serve)->conn);
    place_done(&(*serve)->place);
    free(*serve);
    *serve = NULL;
}

/* ---- saying ---- */

/* Until little waits: who does not listen slows us down, and nothing grows. */
static Error *flush(LocalPeer *agent, size_t left)
{
    for (;;) {
        Error *err = local_peer_run(agent);
        if (err || local_queued(agent) <= left)
            return err;
        Waiter wake = waiter_start();
        waiter_fd(&wake, local_peer_fd(agent), POLLOUT);
        waiter_block(&wake);
    }
}

static Error *say(LocalPeer *agent, Envelope *reply, uint64_t id, uint32_t seq, bool last)
{
    reply->has_in_reply_to = reply->has_seq = reply->has_last = true;
    reply->in_reply_to = id;
    reply->seq = seq;
    reply->last = last;
    if (!local_send(agent, reply)) /* an envelope that is too large: never, by construction */
        return error_new(ERROR_UNAVAILABLE, "the agent hung up");
    return flush(agent, QUEUED_MOST);
}

static Error *say_done(LocalPeer *agent, uint64_t id)
{
    Envelope reply = MAIL__ENVELOPE__INIT;
    Mail__Done done = MAIL__DONE__INIT;

    reply.body_case = MAIL__ENVELOPE__BODY_DONE;
    reply.done = &done;
    return say(agent, &reply, id, 0, true);
}

/* Takes why. */
static Error *say_failure(LocalPeer *agent, uint64_t id, Error *why)
{
    Envelope reply = MAIL__ENVELOPE__INIT;
    Mail__Failure failure = failure_of(why);

    reply.body_case = MAIL__ENVELOPE__BODY_FAILURE;
    reply.failure = &failure;
    Error *err = say(agent, &reply, id, 0, true);
    error_free(&why);
    return err;
}

/* ---- accounts in parts ---- */

typedef struct Parts {
    LocalPeer *agent;
    uint64_t id;
    uint32_t seq;
    const Place *place;
    Mail__Account *items[ENVELOPE_PART_BYTES / 8]; /* of the part that grows; none is smaller than 8 octets */
    size_t n, octets;
} Parts;

static Error *part_say(Parts *parts, const char *state)
{
    Envelope reply = MAIL__ENVELOPE__INIT;
    Mail__Accounts body = MAIL__ACCOUNTS__INIT;

    body.n_accounts = parts->n;
    body.accounts = parts->items;
    body.user_domain = parts->place->user_domain;
    body.state = (char *)state;
    reply.body_case = MAIL__ENVELOPE__BODY_ACCOUNTS;
    reply.accounts = &body;
    parts->n = parts->octets = 0;
    return say(parts->agent, &reply, parts->id, parts->seq++, state != NULL);
}

static Error *part_add(Parts *parts, Mail__Account *account)
{
    size_t size = mail__account__get_packed_size(account) + 8;
    Error *err = NULL;

    if (parts->n &&
        (parts->octets + size > ENVELOPE_PART_BYTES || parts->n == sizeof parts->items / sizeof *parts->items))
        err = part_say(parts, NULL);
    if (err)
        return err;
    parts->items[parts->n++] = account;
    parts->octets += size;
    return NULL;
}

/* One that would be too large for an envelope comes as several of the same uuid. */
static Error *account_say(Parts *parts, Mail__Account *account)
{
    Mail__Account piece = *account;
    Error *err = NULL;

    if (mail__account__get_packed_size(account) <= ACCOUNT_BYTES_MAX)
        return part_add(parts, account);
    for (size_t at = 0; !err && at < account->n_members; at += piece.n_members) {
        size_t octets = 0;
        piece.members = account->members + at;
        piece.n_members = 0;
        while (at + piece.n_members < account->n_members && octets < ACCOUNT_BYTES_MAX / 2)
            octets += strlen(account->members[at + piece.n_members++]) + 4;
        err = part_add(parts, &piece);
        if (!err)
            err = part_say(parts, NULL); /* at once: 'piece' changes */
    }
    return err;
}

static Error *accounts_say(const Serve *serve, LocalPeer *agent, uint64_t id, const AccountList *list)
{
    Parts *parts = xcalloc(1, sizeof *parts);
    Error *err = NULL;

    *parts = (Parts){.agent = agent, .id = id, .place = &serve->place};
    for (size_t i = 0; !err && i < list->n; i++)
        err = account_say(parts, list->items[i]);
    if (!err)
        err = part_say(parts, list->state);
    free(parts);
    return err;
}

/* ---- one request ---- */

static Error *connected(Serve *serve)
{
    if (serve->conn && conn_lost(serve->conn))
        conn_free(&serve->conn);
    return serve->conn ? NULL : conn_open(serve->place.socket, &serve->conn);
}

static Error *still_stands(Serve *serve, const char *unless, bool *ret_stands)
{
    DEFER(xfree) char *state = NULL;

    *ret_stands = false;
    if (!unless || !*unless)
        return NULL;
    Error *err = people_state(serve->conn, &serve->place, &state);
    if (!err)
        *ret_stands = strcmp(state, unless) == 0;
    return err;
}

static void tell_left_out(Serve *serve, size_t n)
{
    if (n > serve->left_out)
        log_warning("accounts whose names cannot be said are left out", kv("user_domain", serve->place.user_domain),
                    kv("left_out", n));
    serve->left_out = n;
}

/* *ret_why: why it is refused. */
static Error *read_accounts(Serve *serve, LocalPeer *agent, uint64_t id, const Mail__DirectoryRead *read,
                            Error **ret_why)
{
    DEFER(account_list_done) AccountList list = {0};
    bool stands = false;

    *ret_why = still_stands(serve, read->unless, &stands);
    if (!*ret_why && stands)
        return say_done(agent, id);
    if (!*ret_why)
        *ret_why = people_read(serve->conn, &serve->place, read, &list);
    if (*ret_why)
        return NULL;
    if (!read->name)
        tell_left_out(serve, list.left_out);
    return accounts_say(serve, agent, id, &list);
}

static Error *answer(Serve *serve, LocalPeer *agent, const Envelope *request)
{
    const Mail__Directory *body = request->directory;
    Error *err = NULL, *why = NULL;

    if (request->body_case != MAIL__ENVELOPE__BODY_DIRECTORY || !body->read == !body->write)
        why = error_new(ERROR_INVALID, "neither one read nor one write");
    if (!why)
        why = connected(serve);
    if (!why && body->read)
        err = read_accounts(serve, agent, request->id, body->read, &why);
    else if (!why)
        why = people_change(serve->conn, &serve->place, &serve->numbers, body->write);
    if (err) {
        error_free(&why);
        return err;
    }
    if (why)
        return say_failure(agent, request->id, why);
    return body->write ? say_done(agent, request->id) : NULL;
}

Error *serve_run(Serve *serve, LocalPeer *agent)
{
    for (;;) {
        DEFER(envelope_free) Envelope *envelope = NULL;
        uint64_t id = 0;
        Error *err = local_receive(agent, &envelope, &id);
        if (err || !envelope)
            return err;
        err = answer(serve, agent, envelope);
        if (err)
            return err;
    }
}
