#include "ldap/serve.h"

#include "base/alloc.h"
#include "base/log.h"
#include "ldap/change.h"
#include "ldap/watch.h"
#include "model/account.h"

#include <stdlib.h>
#include <string.h>

enum {
    QUEUED_MOST = LOCAL_QUEUE_MAX / 4,
    ACCOUNT_BYTES_MAX = 384 * 1024, /* more members than fit into this are said in several accounts */
    CATCH_UP_MS = 2000,             /* after a change of ours, until the directory tells of it */
};

struct Serve {
    Place place;
    Numbers numbers;
    Conn *conn;
    size_t left_out; /* said once */
    Watch *watch;
    uint64_t watch_id; /* of who asked for it */
    uint32_t watch_seq;
};

Serve *serve_new(const char *socket, const char *user_domain)
{
    Serve *serve = xcalloc(1, sizeof *serve);

    serve->place = place_of(socket, user_domain);
    serve->watch = watch_new(&serve->place);
    return serve;
}

void serve_free(Serve **serve)
{
    if (!*serve)
        return;
    watch_free(&(*serve)->watch);
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
    bool watched, whole, cut_off;
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
    body.has_whole = body.whole = parts->whole;
    body.has_cut_off = body.cut_off = parts->cut_off;
    reply.body_case = MAIL__ENVELOPE__BODY_ACCOUNTS;
    reply.accounts = &body;
    parts->n = parts->octets = 0;
    return say(parts->agent, &reply, parts->id, parts->seq++, state != NULL && !parts->watched);
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
        piece.has_more = piece.more = at > 0;
        err = part_add(parts, &piece);
        if (!err)
            err = part_say(parts, NULL); /* at once: 'piece' changes */
    }
    return err;
}

/* With those it has; the rest of 'parts' says how. */
static Error *accounts_say(Parts *parts, const AccountList *list, const char *state)
{
    Error *err = NULL;

    for (size_t i = 0; !err && i < list->n; i++)
        err = account_say(parts, list->items[i]);
    return err || (!state && !parts->n) ? err : part_say(parts, state);
}

static Error *list_say(const Serve *serve, LocalPeer *agent, uint64_t id, const AccountList *list)
{
    Parts *parts = xcalloc(1, sizeof *parts);

    *parts = (Parts){.agent = agent, .id = id, .place = &serve->place};
    Error *err = accounts_say(parts, list, list->state);
    free(parts);
    return err;
}

/* ---- who watches ---- */

typedef struct Watcher {
    Serve *serve;
    LocalPeer *agent;
} Watcher;

/* They are there, to be seen and removed; where mail for them bounces, the log has said why. */
static void tell_unreachable(const Serve *serve, const AccountList *accounts)
{
    const char *first = NULL;
    size_t n = 0;

    for (size_t i = 0; i < accounts->n; i++) {
        const Mail__Account *account = accounts->items[i];
        if (account->kind != MAIL__ACCOUNT_KIND__USER || !account->name ||
            !account->name[strspn(account->name, ACCOUNT_LOGIN_CHARS)])
            continue;
        first = first ? first : account->name;
        n++;
    }
    if (n)
        log_warning("users whose names Dovecot refuses can neither log in nor get mail: rename them",
                    kv("user_domain", serve->place.user_domain), kv("users", n), kv("first", first));
}

static Error *batch_say(void *context, const Batch *batch)
{
    const Watcher *watcher = context;
    Serve *serve = watcher->serve;
    Parts *parts = xcalloc(1, sizeof *parts);

    *parts = (Parts){
        .agent = watcher->agent,
        .id = serve->watch_id,
        .seq = serve->watch_seq,
        .place = &serve->place,
        .watched = true,
        .whole = batch->whole,
        .cut_off = batch->cut_off,
    };
    tell_unreachable(serve, batch->accounts);
    Error *err = accounts_say(parts, batch->accounts, batch->state);
    serve->watch_seq = parts->seq;
    free(parts);
    return err;
}

static void tell_left_out(Serve *serve, size_t n)
{
    if (n > serve->left_out)
        log_warning("accounts whose names cannot be said are left out", kv("user_domain", serve->place.user_domain),
                    kv("left_out", n));
    serve->left_out = n;
}

/* Takes err, which ended the watch; said: the agent's connection is over, too. */
static Error *watch_ended(Serve *serve, LocalPeer *agent, Error *err, bool said)
{
    if (!err || said)
        return err;
    return say_failure(agent, serve->watch_id, err);
}

static Error *watch_mind(Serve *serve, LocalPeer *agent)
{
    Watcher watcher = {serve, agent};
    bool said = false;

    Error *err = watch_run(serve->watch, &(WatchSay){batch_say, &watcher}, clock_ms(), &said);
    tell_left_out(serve, watch_left_out(serve->watch));
    return watch_ended(serve, agent, err, said);
}

static Error *watch_begin(Serve *serve, LocalPeer *agent, uint64_t id, const Mail__DirectoryWatch *asked)
{
    serve->watch_id = id;
    serve->watch_seq = 0;
    return watch_ended(serve, agent, watch_start(serve->watch, asked->whole, clock_ms()), false);
}

/* What a change did is said before it is answered, so that who asked can wait for both. */
static Error *watch_follow(Serve *serve, LocalPeer *agent)
{
    Watcher watcher = {serve, agent};
    DEFER(xfree) char *state = NULL;
    bool said = false;

    if (!watch_on(serve->watch))
        return NULL;
    Error *err = people_state(serve->conn, &serve->place, &state);
    if (err) { /* the change was made: it is seen some other time */
        error_free(&err);
        return NULL;
    }
    err = watch_catch_up(serve->watch, &(WatchSay){batch_say, &watcher}, state, clock_ms() + CATCH_UP_MS, &said);
    return watch_ended(serve, agent, err, said);
}

/* ---- one request ---- */

static Error *connected(Serve *serve)
{
    if (serve->conn && conn_lost(serve->conn))
        conn_free(&serve->conn);
    return serve->conn ? NULL : conn_open(serve->place.socket, &serve->conn);
}

/* *ret_why: why it is refused. */
static Error *read_accounts(Serve *serve, LocalPeer *agent, uint64_t id, const Mail__DirectoryRead *read,
                            Error **ret_why)
{
    DEFER(account_list_done) AccountList list = {0};

    *ret_why = people_read(serve->conn, &serve->place, read, &list);
    if (*ret_why)
        return NULL;
    if (!read->name)
        tell_left_out(serve, list.left_out);
    return list_say(serve, agent, id, &list);
}

static Error *write_account(Serve *serve, LocalPeer *agent, uint64_t id, Mail__DirectoryWrite *write, Error **ret_why)
{
    *ret_why = people_change(serve->conn, &serve->place, &serve->numbers, write);
    if (*ret_why)
        return NULL;
    Error *err = watch_follow(serve, agent);
    return err ? err : say_done(agent, id);
}

static Error *answer(Serve *serve, LocalPeer *agent, const Envelope *request)
{
    const Mail__Directory *body = request->directory;
    bool asks = request->body_case == MAIL__ENVELOPE__BODY_DIRECTORY;
    Error *err = NULL, *why = NULL;

    if (!asks || (body->read != NULL) + (body->write != NULL) + (body->watch != NULL) != 1)
        why = error_new(ERROR_INVALID, "neither one read, one write nor one watch");
    if (!why && body->watch)
        return watch_begin(serve, agent, request->id, body->watch);
    if (!why)
        why = connected(serve);
    if (!why && body->read)
        err = read_accounts(serve, agent, request->id, body->read, &why);
    else if (!why)
        err = write_account(serve, agent, request->id, body->write, &why);
    if (err) {
        error_free(&why);
        return err;
    }
    return why ? say_failure(agent, request->id, why) : NULL;
}

void serve_wait(const Serve *serve, Waiter *wake)
{
    watch_wait(serve->watch, wake);
}

Error *serve_run(Serve *serve, LocalPeer *agent)
{
    for (;;) {
        DEFER(envelope_free) Envelope *envelope = NULL;
        uint64_t id = 0;
        Error *err = local_receive(agent, &envelope, &id);
        if (err)
            return err;
        if (!envelope)
            return watch_mind(serve, agent);
        err = answer(serve, agent, envelope);
        if (err)
            return err;
    }
}
