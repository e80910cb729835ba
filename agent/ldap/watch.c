#include "ldap/watch.h"

#include "base/alloc.h"
#include "ldap/sync.h"

#include <stdlib.h>
#include <string.h>
#include <uthash.h>

/* Who was said to be there. */
typedef struct Known {
    UT_hash_handle hh;
    char uuid[UUID_TEXT];
    Mail__AccountKind kind;
    unsigned seen; /* the refresh that mentioned it */
} Known;

struct Watch {
    const Place *place;
    Conn *conn;  /* NULL: not on */
    bool polled; /* nothing tells of changes */
    Known *known;
    unsigned refresh;

    bool refreshing, whole; /* a refresh is under way; it is of everything */
    bool open;              /* a batch was begun, and is not said to its end */
    bool due;               /* ... and holds something */
    AccountList list;
    bool cut_off, was_cut_off; /* seen at two beats in a row; at the last */
    size_t left_out;
    char database[64]; /* that 'cookie' is of: entryUUID of the suffix */
    char *cookie;      /* as of the last batch that ended; NULL: none */
    char *next;        /* ... of the one that is open */
    char *state;       /* contextCSN, as of what was said last; NULL: unknown */
    Msec beat_at;
};

Watch *watch_new(const Place *place)
{
    Watch *watch = xcalloc(1, sizeof *watch);

    watch->place = place;
    return watch;
}

static void forget(Watch *watch)
{
    Known *known = watch->known;

    HASH_CLEAR(hh, watch->known); /* the table; its members still hold each other */
    while (known) {
        Known *next = known->hh.next;
        free(known);
        known = next;
    }
    xfree(&watch->cookie);
    xfree(&watch->state);
}

void watch_stop(Watch *watch)
{
    conn_free(&watch->conn);
    account_list_done(&watch->list);
    xfree(&watch->next);
    if (watch->open) /* who listened has half of it */
        forget(watch);
    watch->open = watch->due = watch->refreshing = false;
}

void watch_free(Watch **watch)
{
    if (!*watch)
        return;
    watch_stop(*watch);
    forget(*watch);
    free(*watch);
    *watch = NULL;
}

bool watch_on(const Watch *watch)
{
    return watch->conn != NULL;
}

size_t watch_left_out(const Watch *watch)
{
    return watch->left_out;
}

/* ---- starting ---- */

typedef struct Top { /* the suffix */
    char database[64];
    bool whole; /* it has a contextCSN: a copy gets it when everything was copied */
} Top;

static Error *take_top(void *context, const Entry *entry)
{
    const Attribute *uuid = entry_attribute(entry, "entryUUID"), *csn = entry_attribute(entry, "contextCSN");
    Top *top = context;

    if (uuid && uuid->n && uuid->values[0].size < sizeof top->database)
        memcpy(top->database, uuid->values[0].data, uuid->values[0].size + 1);
    top->whole = csn && csn->n;
    return NULL;
}

static Error *top_read(Watch *watch, Top *top)
{
    Error *err = conn_search(watch->conn, watch->place->suffix, SCOPE_BASE, "(objectClass=*)",
                             (const char *const[]){"entryUUID", "contextCSN", NULL}, take_top, top);
    bool empty = err && err->code == ERROR_NOT_FOUND;

    if (err && !empty)
        return err;
    error_free(&err);
    return top->whole ? NULL
                      : error_new(ERROR_UNAVAILABLE, "directory: %s",
                                  empty ? "it is empty: nothing was copied yet" : "it is not copied to its end yet");
}

static Error *sync_start(Watch *watch, bool whole)
{
    static const char filter[] = "(|(objectClass=posixAccount)(objectClass=posixGroup))";
    static const char *const wanted[] = {
        "uid", "cn", "displayName", "memberUid", "entryUUID", "pwdAccountLockedTime", "pwdEndTime", NULL};
    Top top = {0};

    Error *err = top_read(watch, &top);
    if (err)
        return err;
    if (whole || !watch->cookie || !*top.database || strcmp(top.database, watch->database) != 0)
        forget(watch);
    memcpy(watch->database, top.database, sizeof top.database);
    watch->refresh++;
    watch->refreshing = true;
    watch->whole = !watch->cookie;
    watch->open = watch->due = watch->whole;
    if (watch->whole)
        watch->left_out = 0;
    return conn_sync(watch->conn, watch->place->suffix, filter, wanted, watch->cookie);
}

/* Nothing tells of changes. */
static Error *poll_start(Watch *watch, Msec now)
{
    watch_stop(watch);
    forget(watch);
    watch->polled = true;
    watch->beat_at = now;
    return conn_open(watch->place->socket, &watch->conn);
}

Error *watch_start(Watch *watch, bool whole, Msec now)
{
    watch_stop(watch);
    watch->polled = false;
    watch->beat_at = now + WATCH_BEAT_MS;
    Error *err = conn_open(watch->place->socket, &watch->conn);
    if (!err)
        err = conn_may_sync(watch->conn);
    if (!err)
        err = sync_start(watch, whole);
    if (err && err->code == ERROR_UNSUPPORTED) {
        error_free(&err);
        err = poll_start(watch, now);
    }
    if (err)
        watch_stop(watch);
    return err;
}

/* ---- batches ---- */

/* What has gathered is said; state: and the batch ends. */
static Error *gathered_say(Watch *watch, const WatchSay *say, const char *state)
{
    Batch batch = {&watch->list, watch->refreshing && watch->whole, watch->cut_off, state};

    Error *err = say->say(say->context, &batch);
    account_list_done(&watch->list);
    return err;
}

static Error *batch_end(Watch *watch, const WatchSay *say)
{
    char csn[SYNC_COOKIE_MAX + 1];

    if (watch->next) {
        sync_cookie_csn(watch->next, csn);
        free(watch->state);
        watch->state = xstrdup(csn);
    }
    Error *err = watch->due ? gathered_say(watch, say, watch->state ? watch->state : "") : NULL;
    if (err)
        return err;
    if (watch->next) {
        free(watch->cookie);
        watch->cookie = watch->next;
        watch->next = NULL;
    }
    watch->open = watch->due = false;
    return NULL;
}

typedef struct Hearing {
    Watch *watch;
    const WatchSay *say;
    Error *unsaid; /* what 'say' returned */
} Hearing;

/* Takes the account. */
static Error *gather(Hearing *hearing, Mail__Account *account)
{
    Watch *watch = hearing->watch;

    watch->open = watch->due = true;
    Error *err = account_list_take(&watch->list, account);
    if (!err && watch->list.octets >= WATCH_PIECE)
        err = hearing->unsaid = gathered_say(watch, hearing->say, NULL);
    return err;
}

/* ---- what is there ---- */

static Known *known_find(Watch *watch, const char *uuid)
{
    Known *known = NULL;

    HASH_FIND_STR(watch->known, uuid, known);
    return known;
}

static Error *gone(Hearing *hearing, Known *known)
{
    Mail__Account *account = xcalloc(1, sizeof *account);

    mail__account__init(account);
    account->has_kind = account->has_gone = account->gone = true;
    account->kind = known->kind;
    account->uuid = xstrdup(known->uuid);
    HASH_DEL(hearing->watch->known, known);
    free(known);
    return gather(hearing, account);
}

static Error *there(Hearing *hearing, const char *uuid, Mail__Account *account)
{
    Watch *watch = hearing->watch;
    Known *known = known_find(watch, uuid);

    if (known && known->kind != account->kind) { /* moved into the other part of the tree */
        Error *err = gone(hearing, known);
        if (err) {
            account_free(&account);
            return err;
        }
        known = NULL;
    }
    if (!known) {
        known = xcalloc(1, sizeof *known);
        memcpy(known->uuid, uuid, UUID_TEXT);
        HASH_ADD_STR(watch->known, uuid, known);
    }
    known->kind = account->kind;
    known->seen = watch->refresh;
    return gather(hearing, account);
}

/* In which part of the tree it is; false: in neither. */
static bool kind_of(const Place *place, const char *dn, Mail__AccountKind *ret_kind)
{
    if (dn_is_one_below(dn, place->people))
        *ret_kind = MAIL__ACCOUNT_KIND__USER;
    else if (dn_is_one_below(dn, place->groups))
        *ret_kind = MAIL__ACCOUNT_KIND__GROUP;
    else
        return false;
    return true;
}

static Error *changed(Hearing *hearing, const SyncNews *news)
{
    Watch *watch = hearing->watch;
    Mail__AccountKind kind = MAIL__ACCOUNT_KIND__USER;
    Mail__Account *account = NULL;
    char uuid[UUID_TEXT];
    Error *err = NULL;

    uuid_text(news->uuids[0], uuid);
    if (kind_of(watch->place, news->entry->dn, &kind)) {
        err = account_of_entry(kind, news->entry, &account);
        watch->left_out += !err && !account;
    }
    if (err)
        return err;
    if (account && strcmp(account->uuid, uuid) != 0) {
        account_free(&account);
        return error_new(ERROR_UNAVAILABLE, "directory: an entry of two UUIDs");
    }
    if (account)
        return there(hearing, uuid, account);
    Known *known = known_find(watch, uuid);
    return known ? gone(hearing, known) : NULL;
}

static Error *mentioned(Hearing *hearing)
{
    Known *known = NULL, *next = NULL;
    Error *err = NULL;

    HASH_ITER(hh, hearing->watch->known, known, next)
    {
        if (!err && known->seen != hearing->watch->refresh)
            err = gone(hearing, known);
    }
    return err;
}

static Error *each_uuid(Hearing *hearing, const SyncNews *news)
{
    Error *err = NULL;

    for (size_t i = 0; !err && i < news->n_uuids; i++) {
        char uuid[UUID_TEXT];
        uuid_text(news->uuids[i], uuid);
        Known *known = known_find(hearing->watch, uuid);
        if (known && news->what == SYNC_DELETED)
            err = gone(hearing, known);
        else if (known)
            known->seen = hearing->watch->refresh;
    }
    return err;
}

static Error *news_take(void *context, const SyncNews *news)
{
    Hearing *hearing = context;
    Watch *watch = hearing->watch;
    Error *err = NULL;

    switch (news->what) {
    case SYNC_CHANGED:
        err = changed(hearing, news);
        break;
    case SYNC_PRESENT:
    case SYNC_DELETED:
        err = each_uuid(hearing, news);
        break;
    case SYNC_MENTIONED: /* without cookie all that is there was said anyhow */
        err = mentioned(hearing);
        break;
    case SYNC_REFRESHED:
    case SYNC_COOKIE:
        break;
    }
    if (!err && news->cookie) {
        free(watch->next);
        watch->next = xstrdup(news->cookie);
    }
    if (err || news->what != SYNC_REFRESHED)
        return err;
    err = hearing->unsaid = batch_end(watch, hearing->say);
    watch->refreshing = false;
    return err;
}

/* ---- where nothing tells of changes ---- */

static Error *poll_all(Watch *watch, const WatchSay *say, bool *ret_said)
{
    Mail__DirectoryRead everything = MAIL__DIRECTORY_READ__INIT;

    Msec began = clock_ms();
    Error *err = people_read(watch->conn, watch->place, &everything, &watch->list);
    if (err)
        return err;
    watch->left_out = watch->list.left_out;
    free(watch->state);
    watch->state = xstrdup(watch->list.state);
    Batch batch = {&watch->list, true, false, watch->state};
    err = say->say(say->context, &batch);
    *ret_said = err != NULL;
    account_list_done(&watch->list);
    Msec took = clock_ms() - began;
    watch->beat_at = clock_ms() + (took * WATCH_REST > WATCH_POLL_MS ? took * WATCH_REST : WATCH_POLL_MS);
    return err;
}

/* ---- going on ---- */

static Error *drain(Watch *watch, const WatchSay *say, bool *ret_said)
{
    Hearing hearing = {watch, say, NULL};

    Error *err = conn_synced(watch->conn, news_take, &hearing);
    if (!err && !watch->refreshing && (watch->due || watch->next))
        err = hearing.unsaid = batch_end(watch, say);
    *ret_said = hearing.unsaid != NULL;
    return err;
}

/* Where the control is not for this database, its first answer says so, whoever is the first to look. */
static Error *drain_or_poll(Watch *watch, const WatchSay *say, Msec now, bool *ret_said)
{
    Error *err = drain(watch, say, ret_said);

    if (!err || err->code != ERROR_UNSUPPORTED)
        return err;
    error_free(&err);
    return poll_start(watch, now);
}

/* A directory that was stopped has its connections still.  The agent learns that all is as was said. */
static Error *beat(Watch *watch, const WatchSay *say, Msec now, bool *ret_said)
{
    DEFER(xfree) char *state = NULL;
    bool cut_off = false;

    watch->beat_at = now + WATCH_BEAT_MS;
    Error *err = people_state(watch->conn, watch->place, &state);
    if (!err)
        err = people_cut_off(watch->conn, watch->place, &cut_off);
    watch->cut_off = cut_off && watch->was_cut_off;
    watch->was_cut_off = cut_off;
    if (!err)
        err = drain(watch, say, ret_said); /* what came before the answers */
    if (err || watch->open)
        return err;
    err = say->say(say->context, &(Batch){&watch->list, false, watch->cut_off, watch->state ? watch->state : ""});
    *ret_said = err != NULL;
    return err;
}

static Error *run_now(Watch *watch, const WatchSay *say, Msec now, bool *ret_said)
{
    bool late = now >= watch->beat_at;

    if (watch->polled)
        return late ? poll_all(watch, say, ret_said) : NULL;
    Error *err = drain_or_poll(watch, say, now, ret_said);
    return err || !late || watch->polled ? err : beat(watch, say, now, ret_said);
}

static Error *mind(Watch *watch, Error *err)
{
    if (!err)
        return NULL;
    if (err->code == ERROR_CONFLICT) /* the cookie is of a past that the directory does not have */
        forget(watch);
    watch_stop(watch);
    return err;
}

Error *watch_run(Watch *watch, const WatchSay *say, Msec now, bool *ret_said)
{
    *ret_said = false;
    return watch->conn ? mind(watch, run_now(watch, say, now, ret_said)) : NULL;
}

Error *watch_catch_up(Watch *watch, const WatchSay *say, const char *state, Msec until, bool *ret_said)
{
    Error *err = NULL;

    *ret_said = false;
    while (watch->conn && !watch->polled && !err) {
        Msec now = clock_ms();
        err = drain_or_poll(watch, say, now, ret_said);
        if (err || watch->polled || now >= until ||
            (!watch->refreshing && watch->state && strcmp(watch->state, state) >= 0))
            break;
        Waiter wake = waiter_start();
        waiter_fd(&wake, conn_fd(watch->conn), POLLIN);
        waiter_at(&wake, until);
        waiter_block(&wake);
    }
    if (watch->conn && watch->polled && !err)
        err = poll_all(watch, say, ret_said);
    return mind(watch, err);
}

void watch_wait(const Watch *watch, Waiter *wake)
{
    if (!watch->conn)
        return;
    waiter_at(wake, watch->beat_at);
    if (!watch->polled)
        waiter_fd(wake, conn_fd(watch->conn), POLLIN);
}
