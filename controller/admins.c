#include "admins.h"

#include "base/alloc.h"
#include "seal/keys.h"

#include <errno.h>
#include <grp.h>
#include <inttypes.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>

enum { GROUPS_MAX = 1024 };

struct Admins {
    Store *store;
    Door *door;
    Object **entries;
    size_t n_entries;
};

/* ---- who calls ---- */

void caller_local(Caller *caller, uid_t uid, gid_t gid)
{
    struct passwd *account = uid ? getpwuid(uid) : NULL; /* root may all: nothing is looked up for it */
    gid_t gids[GROUPS_MAX];
    int n = GROUPS_MAX;

    *caller = (Caller){.uid = uid};
    if (!account || getgrouplist(account->pw_name, gid, gids, &n) < 0) {
        gids[0] = gid;
        n = 1;
    }
    caller->gids = xmemdup(gids, (size_t)n * sizeof *gids);
    caller->n_gids = (size_t)n;
}

void caller_done(Caller *caller)
{
    free(caller->gids);
    *caller = (Caller){0};
}

/* ---- the entries ---- */

static Error *entry_take(void *context, const ObjectRef *ref, const void *bytes, size_t size)
{
    Admins *admins = context;
    Object *entry = NULL;

    (void)ref;
    Error *err = object_unpack(bytes, size, &entry);
    if (err)
        return err;
    admins->entries = xrealloc(admins->entries, (admins->n_entries + 1) * sizeof(Object *));
    admins->entries[admins->n_entries++] = entry;
    return NULL;
}

static void entries_drop(Object ***entries, size_t *n)
{
    for (size_t i = 0; i < *n; i++)
        object_free(&(*entries)[i]);
    free(*entries);
    *entries = NULL;
    *n = 0;
}

static bool has_key(Object *const *entries, size_t n, const char *key)
{
    for (size_t i = 0; i < n; i++)
        if (entries[i]->admin->key && strcmp(entries[i]->admin->key, key) == 0)
            return true;
    return false;
}

static void door_follow(Admins *admins, Object *const *old, size_t n_old)
{
    if (!admins->door)
        return;
    for (size_t i = 0; i < n_old; i++) {
        const char *key = old[i]->admin->key;
        if (key && !has_key(admins->entries, admins->n_entries, key))
            door_refuse(admins->door, key);
    }
    for (size_t i = 0; i < admins->n_entries; i++) {
        const char *key = admins->entries[i]->admin->key;
        if (key && !has_key(old, n_old, key))
            door_admit(admins->door, key, WHOSE_ADMIN, NULL);
    }
}

Error *admins_reload(Admins *admins)
{
    Object **old = admins->entries;
    size_t n_old = admins->n_entries;

    admins->entries = NULL;
    admins->n_entries = 0;
    Error *err = store_each(admins->store, &(StoreFilter){.kind = MAIL__OBJECT__BODY_ADMIN}, entry_take, admins);
    if (err) { /* who could not be read has no rights: fail closed */
        entries_drop(&admins->entries, &admins->n_entries);
        err = error_in(err, "admins");
    }
    door_follow(admins, old, n_old);
    entries_drop(&old, &n_old);
    return err;
}

Error *admins_new(Store *store, Door *door, Admins **ret_admins)
{
    DEFER(admins_free) Admins *admins = xcalloc(1, sizeof *admins);

    *admins = (Admins){.store = store, .door = door};
    Error *err = admins_reload(admins);
    if (err)
        return err;
    *ret_admins = admins;
    admins = NULL;
    return NULL;
}

void admins_free(Admins **admins)
{
    if (!*admins)
        return;
    entries_drop(&(*admins)->entries, &(*admins)->n_entries);
    free(*admins);
    *admins = NULL;
}

/* ---- which applies ---- */

static bool in_group(const Caller *caller, const char *name)
{
    const struct group *group = getgrnam(name);

    for (size_t i = 0; group && i < caller->n_gids; i++)
        if (caller->gids[i] == group->gr_gid)
            return true;
    return false;
}

static bool applies(const Mail__Admin *entry, const Caller *caller)
{
    if (caller->remote)
        return entry->key && strcmp(entry->key, caller->key) == 0;
    if (entry->has_uid)
        return entry->uid == caller->uid;
    return entry->group && in_group(caller, entry->group);
}

/* The higher role; of equal ones the one without limits. */
static bool may_more(const Mail__Admin *a, const Mail__Admin *b)
{
    if (a->role != b->role)
        return a->role > b->role;
    return !a->n_instances && b->n_instances;
}

static Error *nobody(const Caller *caller)
{
    if (caller->remote)
        return error_new(ERROR_DENIED, "key %s may not use this controller", key_fingerprint(caller->key).text);
    Error *err = error_new(ERROR_DENIED, "user id %" PRIu32 " may not use this controller", (uint32_t)caller->uid);
    return error_hint(err, "root can allow it: mailctl admin add NAME role=viewer uid=%" PRIu32, (uint32_t)caller->uid);
}

Error *admins_find(const Admins *admins, const Caller *caller, Asker **ret_asker)
{
    const Object *best = NULL;

    if (!caller->remote && caller->uid == 0) {
        *ret_asker = asker_new("root", "root", MAIL__ROLE__ADMIN, NULL, 0);
        return NULL;
    }
    for (size_t i = 0; i < admins->n_entries; i++) {
        const Object *entry = admins->entries[i];
        if (applies(entry->admin, caller) && (!best || may_more(entry->admin, best->admin)))
            best = entry;
    }
    if (!best)
        return nobody(caller);
    DEFER(xfree)
    char *who = caller->remote ? xasprintf("%s (key %s)", best->name, key_fingerprint(caller->key).text)
                               : xasprintf("%s (uid %" PRIu32 ")", best->name, (uint32_t)caller->uid);
    *ret_asker = asker_new(who, best->name, best->admin->role, best->admin->instances, best->admin->n_instances);
    return NULL;
}

/* ---- keys ---- */

static Error *node_holds(void *context, const NodeKey *key)
{
    const Object *admin = context;

    if (!key->public_key || strcmp(key->public_key, admin->admin->key) != 0)
        return NULL;
    return error_new(ERROR_INVALID, "it is the key of node %s", key->node);
}

static Error *admin_holds(void *context, const ObjectRef *ref, const void *bytes, size_t size)
{
    const Object *admin = context;
    DEFER(object_free) Object *other = NULL;

    if (strcmp(ref->name, admin->name) == 0)
        return NULL;
    Error *err = object_unpack(bytes, size, &other);
    if (!err && other->admin->key && strcmp(other->admin->key, admin->admin->key) == 0)
        err = error_new(ERROR_CONFLICT, "it is the key of admin %s", ref->name);
    return err;
}

Error *admin_key_check(Store *store, const Object *admin)
{
    void *context = (void *)(uintptr_t)admin;
    Error *err = NULL;

    if (!admin->admin->key)
        return NULL;
    if (curve_key_published(admin->admin->key))
        err = error_hint(error_new(ERROR_INVALID, "it is a test key that zmq_curve(7) prints for everybody"),
                         "make a key pair of its own");
    if (!err)
        err = store_node_keys(store, node_holds, context);
    if (!err)
        err = store_each(store, &(StoreFilter){.kind = MAIL__OBJECT__BODY_ADMIN}, admin_holds, context);
    return error_in(err, "admin %s: key", admin->name);
}
