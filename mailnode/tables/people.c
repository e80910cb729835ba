/* Users and groups: what others see of them, what Dovecot knows of them, where their mail ends. */
#include "tables/compute.h"

#include "base/alloc.h"
#include "base/buf.h"
#include "tables/target.h"
#include "tables/walk.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BUCKET_MAX = 500, BUCKET_MEAN = 256 }; /* one flat set is quadratic in Postfix */

static const char closed_login[] = "554 5.7.1 this login is closed";

/* ---- users ---- */

typedef struct User {
    size_t n; /* how many have the name */
    char *uuid;
    bool enabled, gone, full;
    bool stranger, unowned; /* the mailbox of that name is another's; nobody's */
    Object *mailbox;        /* NULL: nothing stated */
} User;

static void user_done(User *user)
{
    free(user->uuid);
    object_free(&user->mailbox);
}

static Error *is_gone(Compute *compute, const char *kind, const char *name, bool *ret_gone)
{
    sqlite3_stmt *get = NULL;

    Error *err = sql_start(compute->sql, SQL_GONE, &get, "tt", kind, name);
    if (!err)
        err = sql_row(compute->sql, get, ret_gone);
    if (!err && *ret_gone)
        sqlite3_reset(get);
    return err;
}

static bool is_full(const Compute *compute, const char *name, const Object *mailbox)
{
    const TablesView *view = compute->view;
    uint64_t quota = mailbox && mailbox->mailbox->has_quota ? mailbox->mailbox->quota : compute->quota;

    return quota && view->usage && view->usage(view->usage_self, name) >= quota;
}

static Error *user_get(Compute *compute, const char *name, User *user)
{
    sqlite3_stmt *get = NULL;
    bool got = false;

    if (!compute->view->instance)
        return NULL;
    Error *err = sql_start(compute->sql, SQL_USER, &get, "t", name);
    while (!err && !(err = sql_row(compute->sql, get, &got)) && got) {
        const char *uuid = sql_column(get, 0);
        if (user->n++ && strcmp(uuid, user->uuid) > 0)
            continue; /* of several the first by UUID: the same whenever it is computed */
        free(user->uuid);
        user->uuid = xstrdup(uuid);
        user->enabled = sqlite3_column_int(get, 1) != 0;
    }
    if (!err && !user->n)
        err = is_gone(compute, "u", name, &user->gone);
    if (!err && user->n)
        err = compute_object(compute, MAIL__OBJECT__BODY_MAILBOX, name, &user->mailbox);
    if (!err && user->n)
        user->full = is_full(compute, name, user->mailbox);
    return err;
}

/* SPEC F-182: the mailbox of a name is that person's who had it first. */
static Error *owner_look(Compute *compute, const char *name, User *user)
{
    const TablesView *view = compute->view;
    DEFER(xfree) char *owner = NULL;

    if (user->n != 1 || !view->owner)
        return NULL;
    Error *err = view->owner(view->self, name, &owner);
    if (err)
        return err;
    user->unowned = !owner;
    user->stranger = owner && strcmp(owner, user->uuid) != 0;
    return NULL;
}

static void owner_note(Compute *compute, const char *name, const User *user, const Seen *before)
{
    bool waited = before->presence == PRESENCE_THERE && before->standing == STANDING_GONE;

    if (!user->unowned && (!user->stranger || waited))
        return;
    DEFER(xfree) char *note = xasprintf("%s\n%s", name, user->uuid);
    names_add(user->unowned ? compute->unowned : compute->strangers, note);
}

static bool user_closed(const User *user)
{
    return user->mailbox && !user->mailbox->mailbox->enabled;
}

/* NULL: there is no such user.  Owned by the caller. */
static char *user_facts(const User *user)
{
    DEFER(buf_done) Buf facts = {0};
    const Mail__Mailbox *mailbox = user->mailbox ? user->mailbox->mailbox : NULL;
    bool one = user->n == 1 && !user->stranger;
    Standing standing = one                     ? user_closed(user) ? STANDING_CLOSED : STANDING_OPEN
                        : user->n || user->gone ? STANDING_GONE
                                                : STANDING_NOBODY;
    bool forwards = standing == STANDING_OPEN && mailbox && mailbox->n_forward;

    if (standing == STANDING_OPEN && !forwards && user->full) /* where it is forwarded, too, there is room */
        standing = STANDING_FULL;
    if (standing == STANDING_NOBODY)
        return NULL;
    buf_append_text(&facts, seen_word(user->n ? PRESENCE_THERE : PRESENCE_GONE, standing, forwards));
    if (forwards)
        buf_append_text(&facts, mailbox->keep_copy ? "\ncopy" : "\nmove");
    for (size_t i = 0; forwards && i < mailbox->n_forward; i++)
        buf_printf(&facts, "\n%s", mailbox->forward[i]);
    return xstrdup(buf_text(&facts));
}

/* Comma-separated, NULL: none. */
static Error *groups_list(Compute *compute, const char *name, char **ret_groups)
{
    DEFER(names_done) Names groups = {0};
    DEFER(buf_done) Buf list = {0};

    Error *err = groups_above(&compute->groups, name, &groups);
    names_sort(&groups);
    for (const Name *group = groups.first; group; group = group->hh.next)
        if (!strchr(group->text, ',')) /* would be read as two */
            buf_printf(&list, "%s%s", list.size ? "," : "", group->text);
    if (!err && list.size)
        *ret_groups = xstrdup(buf_text(&list));
    return err;
}

static Error *userdb_settle(Compute *compute, const char *name, const User *user)
{
    const Mail__Mailbox *mailbox = user->mailbox ? user->mailbox->mailbox : NULL;
    DEFER(xfree) char *groups = NULL;
    char quota[24], retention[24];

    if (user->n) {
        bool may_login = user->n == 1 && !user->stranger && user->enabled && !user_closed(user);
        Error *err = groups_list(compute, name, &groups);
        if (err)
            return err;
        if (mailbox && mailbox->has_quota)
            snprintf(quota, sizeof quota, "%" PRIu64, mailbox->quota);
        if (mailbox && mailbox->has_spam_retention)
            snprintf(retention, sizeof retention, "%" PRIu64, mailbox->spam_retention);
        compute_row(compute, ROWS_USERDB,
                    (const char *const[]){name, user->uuid, may_login ? "1" : "0",
                                          mailbox && mailbox->has_quota ? quota : NULL,
                                          mailbox && mailbox->has_spam_retention ? retention : NULL, groups});
        if (!may_login)
            compute_row(compute, ROWS_LOGIN, (const char *const[]){name, closed_login});
        else if (names_have(&compute->exempt, name))
            compute_row(compute, ROWS_LOGIN, (const char *const[]){name, "DUNNO"});
    }
    Error *err = compute_settle(compute, ROWS_USERDB, name, NULL);
    return err ? err : compute_settle(compute, ROWS_LOGIN, name, NULL);
}

static Error *standing_settle(Compute *compute, char kind, const char *name, const char *facts)
{
    DEFER(xfree) char *key = xasprintf("%c:%s", kind, name);

    if (facts)
        compute_row(compute, ROWS_STANDING, (const char *const[]){key, facts});
    return compute_settle(compute, ROWS_STANDING, key, NULL);
}

/* Forwards through the groups that this user is in end elsewhere now. */
static Error *touch_groups_of(Compute *compute, const char *name)
{
    DEFER(names_done) Names groups = {0};

    Error *err = groups_above(&compute->groups, name, &groups);
    for (const Name *group = groups.first; !err && group; group = group->hh.next)
        err = compute_dependents(compute, 'G', group->text);
    return err;
}

static Error *touch_groups_above(Compute *compute, const char *kind, const char *name)
{
    sqlite3_stmt *get = NULL;
    bool got = false;

    Error *err = sql_start(compute->sql, SQL_GROUPS_ABOVE, &get, "tt", kind, name);
    while (!err && !(err = sql_row(compute->sql, get, &got)) && got)
        touched_add(compute->touched, TOUCHED_GROUPS, sql_column(get, 0));
    return err;
}

/* Of a user or group that came, went, opened or closed. */
static Error *touch_word(Compute *compute, char kind, const char *name)
{
    touched_add(compute->touched, TOUCHED_LOCALS, name);
    Error *err = compute_dependents(compute, kind, name);
    return err ? err : compute_dependents(compute, 'l', name);
}

static Error *user_touches(Compute *compute, const char *name, const char *before, const char *now)
{
    Error *err = NULL;

    if (compute->touched->all || (before && now && strcmp(before, now) == 0) || (!before && !now))
        return NULL;
    touched_add(compute->touched, TOUCHED_FORWARDERS, name);
    err = compute_dependents(compute, 'U', name);
    if (!err)
        err = touch_groups_of(compute, name);
    if (err || seen_same_word(before, now))
        return err;
    err = touch_word(compute, 'u', name);
    return err ? err : touch_groups_above(compute, "u", name);
}

Error *people_user(Compute *compute, const char *name)
{
    DEFER(user_done) User user = {0};
    DEFER(seen_done) Seen before = {0};

    Error *err = user_get(compute, name, &user);
    if (!err)
        err = owner_look(compute, name, &user);
    if (!err && (!compute->touched->all || user.stranger))
        err = seen_get(compute->sql, 'u', name, &before);
    if (err)
        return err;
    owner_note(compute, name, &user, &before);
    DEFER(xfree) char *facts = user_facts(&user);
    err = standing_settle(compute, 'u', name, facts);
    if (!err)
        err = userdb_settle(compute, name, &user);
    return err ? err : user_touches(compute, name, before.facts, facts);
}

/* ---- where mail ends ---- */

/* The same name is always in the same bucket: one more changes one row. */
static uint32_t hash(const char *text)
{
    uint32_t h = 2166136261u; /* FNV-1a */

    for (; *text; text++)
        h = (h ^ (unsigned char)*text) * 16777619u;
    h ^= h >> 16;
    h *= 0x85ebca6bu;
    return h ^ h >> 13;
}

/* A power of two, so that no bucket is too full. */
static size_t buckets_for(const Names *targets, size_t n, size_t **ret_loads)
{
    size_t *loads = NULL, most = BUCKET_MAX + 1, buckets = 1;

    while (buckets * BUCKET_MEAN < n)
        buckets *= 2;
    for (; most > BUCKET_MAX; buckets *= 2) {
        free(loads);
        loads = xcalloc(buckets, sizeof *loads);
        most = 0;
        for (const Name *target = targets->first; target; target = target->hh.next) {
            size_t load = ++loads[hash(target->text) & (buckets - 1)];
            most = load > most ? load : most;
        }
        if (most <= BUCKET_MAX)
            break;
    }
    *ret_loads = loads;
    return buckets;
}

static void expand_rows(Compute *compute, const char *key, const char *base, const Names *targets, unsigned level)
{
    size_t n = names_count(targets), buckets = 1;
    DEFER(xfree) size_t *loads = NULL;
    DEFER(names_done) Names keys = {0};

    if (n <= BUCKET_MAX) {
        for (const Name *target = targets->first; target; target = target->hh.next)
            compute_row(compute, ROWS_EXPAND, (const char *const[]){key, target->text});
        return;
    }
    buckets = buckets_for(targets, n, &loads);
    for (const Name *target = targets->first; target; target = target->hh.next) {
        DEFER(xfree) char *bucket = xasprintf("%s==%u.%04x", base, level, hash(target->text) & (unsigned)(buckets - 1));
        compute_row(compute, ROWS_EXPAND, (const char *const[]){bucket, target->text});
    }
    for (size_t i = 0; i < buckets; i++) {
        DEFER(xfree) char *bucket = loads[i] ? xasprintf("%s==%u.%04zx@x.internal", base, level, i) : NULL;
        if (bucket)
            names_add(&keys, bucket);
    }
    expand_rows(compute, key, base, &keys, level + 1);
}

static Error *expand_settle(Compute *compute, char kind, const char *name, const Names *targets)
{
    DEFER(xfree) char *key = target_key(kind, name);

    expand_rows(compute, key, key, targets, 0);
    return compute_settle(compute, ROWS_EXPAND, key, NULL);
}

Error *people_forwarder(Compute *compute, const char *name)
{
    DEFER(walk_done) Walk walk = {.compute = compute};
    DEFER(seen_done) Seen seen = {0};
    DEFER(xfree) char *src = xasprintf("u:%s", name), *mailbox = target_mailbox(name);

    Error *err = seen_get(compute->sql, 'u', name, &seen);
    if (!err && seen.forwards) {
        walk_user(&walk, name);
        err = walk_run(&walk);
        if (!err && !walk.targets.first)
            names_add(&walk.targets, mailbox); /* F-048: all forward and nobody keeps: who is addressed does */
    }
    if (err)
        return err;
    compute_edge(compute, src, &walk.edges);
    err = compute_settle(compute, ROWS_EDGE, src, NULL);
    return err ? err : expand_settle(compute, 'u', name, &walk.targets);
}

/* ---- groups ---- */

Error *people_below(Compute *compute, const char *name)
{
    sqlite3_stmt *get = NULL;
    bool got = false;

    Error *err = sql_start(compute->sql, SQL_GROUP_MEMBERS, &get, "t", name);
    while (!err && !(err = sql_row(compute->sql, get, &got)) && got)
        touched_add(compute->touched, *sql_column(get, 0) == 'u' ? TOUCHED_USERS : TOUCHED_BELOW, sql_column(get, 1));
    return err;
}

typedef struct GroupSum {
    Names targets;
    Standing standing;
} GroupSum;

static void sum_member(void *context, const char *name, const char *facts)
{
    GroupSum *sum = context;
    Seen seen = seen_of(facts);

    if (seen.standing > sum->standing)
        sum->standing = seen.standing;
    if (seen.standing < STANDING_FULL)
        return;
    DEFER(xfree) char *key = seen.forwards ? target_key('u', name) : NULL;
    DEFER(xfree) char *target = key ? target_of_key(key) : target_mailbox(name);
    names_add(&sum->targets, target);
}

static Error *count_groups(Compute *compute, const char *name, size_t *ret_n)
{
    sqlite3_stmt *get = NULL;
    bool got = false;

    Error *err = sql_start(compute->sql, SQL_GROUP, &get, "t", name);
    while (!err && !(err = sql_row(compute->sql, get, &got)) && got)
        ++*ret_n;
    return err;
}

static Error *group_touches(Compute *compute, const char *name, const char *before, const char *now)
{
    if (compute->touched->all)
        return NULL;
    Error *err = touch_groups_above(compute, "g", name);
    if (!err)
        err = compute_dependents(compute, 'G', name);
    if (err || (seen_same_word(before, now) && !compute->groups_send))
        return err;
    return touch_word(compute, 'g', name);
}

Error *people_group(Compute *compute, const char *name)
{
    GroupSum sum = {.standing = STANDING_CLOSED}; /* in which nobody is open */
    DEFER(seen_done) Seen before = {0};
    const char *word = NULL;
    bool gone = false;
    size_t n = 0;

    Error *err = compute->view->instance ? count_groups(compute, name, &n) : NULL;
    if (!err && !n && compute->view->instance)
        err = is_gone(compute, "g", name, &gone);
    if (!err && n == 1)
        err = groups_below(&compute->groups, name, sum_member, &sum);
    if (!err && !compute->touched->all)
        err = seen_get(compute->sql, 'g', name, &before);
    if (!err) {
        word = n ? seen_word(PRESENCE_THERE, n == 1 ? sum.standing : STANDING_GONE, false)
                 : seen_word(gone ? PRESENCE_GONE : PRESENCE_NONE, gone ? STANDING_GONE : STANDING_NOBODY, false);
        err = standing_settle(compute, 'g', name, word);
    }
    if (!err)
        err = expand_settle(compute, 'g', name, &sum.targets);
    names_done(&sum.targets);
    return err ? err : group_touches(compute, name, before.facts, word);
}
