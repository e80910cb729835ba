#include "work.h"

#include "admins.h"
#include "work_dkim.h"
#include "work_relay.h"
#include "work_replica.h"

#include "base/alloc.h"
#include "model/meta.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

enum { TAKEN_NAMED_MAX = 5, SUBSCRIPTION_ROOM = OBJECT_SUBSCRIPTIONS_MAX };

/* A rule that is asked at the end. */
struct Late {
    Late *next;
    Kind kind;
    char *instance, *name, *place;
    bool removed;
    Object *older;
};

/* ---- what the rules look through ---- */

static Error *view_get(void *self, const ObjectRef *ref, Object **ret_object)
{
    Work *work = self;

    *ret_object = NULL;
    if (work->asking) { /* it is stored already: its older self is meant */
        ObjectRef own = {work->asking->kind, work->asking->instance, work->asking->name};
        if (ref_same(ref, &own)) {
            *ret_object = work->asking->older ? object_clone(work->asking->older) : NULL;
            return NULL;
        }
    }
    if (work->fresh.kind && ref_same(ref, &work->fresh))
        return NULL;
    return memo_get(work->memo, work->store, ref, ret_object);
}

static Error *view_each(void *self, Kind kind, const char *instance, const char *name,
                        Error *(*each)(void *context, const Object *object), void *context)
{
    Work *work = self;
    StateView store = store_view(work->store);

    /* What a new domain takes over is asked once for all new ones, in work_finish. */
    if (kind == MAIL__OBJECT__BODY_ADDRESS && !name)
        return NULL;
    return store.each(store.self, kind, instance, name, each, context);
}

/* ---- begin and end ---- */

void work_init(Work *work, Store *store, const WorkRules *rules)
{
    *work = (Work){.store = store, .rules = *rules, .memo = memo_new(), .kept_all = rules->keep_n > 0};
    work->view = (StateView){.self = work, .get = view_get, .each = view_each};
}

static void late_free(Late **late)
{
    free((*late)->instance);
    free((*late)->name);
    free((*late)->place);
    object_free(&(*late)->older);
    free(*late);
    *late = NULL;
}

static void kept_drop(Work *work)
{
    for (size_t i = 0; i < work->n_kept; i++) {
        object_free(&work->kept[i].before);
        object_free(&work->kept[i].after);
    }
    free(work->kept);
    work->kept = NULL;
    work->n_kept = work->kept_room = work->kept_size = 0;
}

void work_done(Work *work)
{
    kept_drop(work);
    for (size_t i = 0; i < work->n_warnings; i++)
        free(work->warnings[i]);
    free(work->warnings);
    while (work->late) {
        Late *next = work->late->next;
        late_free(&work->late);
        work->late = next;
    }
    memo_free(&work->memo);
    names_done(&work->nodes);
    names_done(&work->new_domains);
    names_done(&work->relays);
    names_done(&work->keyless);
    names_done(&work->user_domains);
    names_done(&work->instances);
    *work = (Work){0};
}

void work_warn(Work *work, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    char *text = xvasprintf(format, args);
    va_end(args);
    work->warnings = xrealloc(work->warnings, (work->n_warnings + 1) * sizeof *work->warnings);
    work->warnings[work->n_warnings++] = text;
}

Error *work_may(const Work *work, Kind kind, Mail__Verb verb, const char *instance)
{
    return work->rules.asker ? authorise_edit(work->rules.asker, kind, verb, instance) : NULL;
}

/* ---- what is remembered of each alteration ---- */

static void keep(Work *work, const Object *before, const Object *after)
{
    size_t size = (before ? protobuf_c_message_get_packed_size(&before->base) : 0) +
                  (after ? protobuf_c_message_get_packed_size(&after->base) : 0);

    if (!work->rules.keep_n)
        return;
    if (work->n_kept == work->rules.keep_n || work->kept_size + size > work->rules.keep_bytes) {
        work->kept_all = false;
        return;
    }
    if (work->n_kept == work->kept_room) {
        work->kept_room = work->kept_room ? 2 * work->kept_room : 8;
        work->kept = xrealloc(work->kept, work->kept_room * sizeof *work->kept);
    }
    work->kept[work->n_kept] = (Kept){.before = before ? object_clone(before) : NULL,
                                      .after = after ? object_clone(after) : NULL,
                                      .number = work->n_kept};
    work->n_kept++;
    work->kept_size += size;
}

static void nodes_of(Work *work, const Object *object)
{
    Subscription subscriptions[SUBSCRIPTION_ROOM];
    size_t n = object ? object_subscriptions(object, subscriptions, SUBSCRIPTION_ROOM) : 0;

    for (size_t i = 0; i < n && i < SUBSCRIPTION_ROOM; i++)
        names_add(&work->nodes, subscriptions[i].node);
}

static void note(Work *work, const Object *before, const Object *after)
{
    ObjectRef ref = object_ref(after ? after : before);

    memo_forget(work->memo, &ref);
    keep(work, before, after);
    if (ref.kind == MAIL__OBJECT__BODY_ADMIN)
        work->admins = true;
    if (kind_info(ref.kind)->meta->class_ != MAIL__CLASS__CONFIG)
        return;
    work->config = true;
    nodes_of(work, before);
    nodes_of(work, after);
    if (ref.kind == MAIL__OBJECT__BODY_USER_DOMAIN)
        names_add(&work->user_domains, ref.name);
    if (kind_info(ref.kind)->meta->in_instance)
        names_add(&work->instances, ref.instance);
}

/* Is the older self needed, beyond what the store itself compares? */
static bool looks_back(const Work *work, Kind kind)
{
    return (work->rules.keep_n && work->kept_all) || kind == MAIL__OBJECT__BODY_DOMAIN || kind_info(kind)->meta->made ||
           kind == MAIL__OBJECT__BODY_ADMIN || kind == MAIL__OBJECT__BODY_MAILBOX ||
           kind_info(kind)->meta->class_ == MAIL__CLASS__CONFIG;
}

Error *work_put_along(Work *work, const Object *before, const Object *after)
{
    Error *err = store_put(work->store, after);

    if (!err)
        note(work, before, after);
    return err;
}

Error *work_remove_along(Work *work, const Object *before)
{
    ObjectRef ref = object_ref(before);
    Error *err = store_remove(work->store, &ref);

    if (!err)
        note(work, before, NULL);
    return err;
}

/* ---- objects that go along ---- */

typedef struct Pack {
    Object **objects;
    size_t n, room;
} Pack;

static void pack_done(Pack *pack)
{
    for (size_t i = 0; i < pack->n; i++)
        object_free(&pack->objects[i]);
    free(pack->objects);
    *pack = (Pack){0};
}

/* Taken first, altered afterwards: what is read is not written meanwhile. */
static Error *pack_take(void *context, const ObjectRef *ref, const void *bytes, size_t size)
{
    Pack *pack = context;
    Object *object = NULL;

    (void)ref;
    Error *err = object_unpack(bytes, size, &object);
    if (err)
        return err;
    if (pack->n == pack->room) {
        pack->room = pack->room ? 2 * pack->room : 16;
        pack->objects = xrealloc(pack->objects, pack->room * sizeof(Object *));
    }
    pack->objects[pack->n++] = object;
    return NULL;
}

static Error *domain_addresses(Work *work, const ObjectRef *domain, Pack *pack)
{
    StoreFilter filter = {.kind = MAIL__OBJECT__BODY_ADDRESS, .instance = domain->instance, .domain = domain->name};

    return store_each(work->store, &filter, pack_take, pack);
}

/* SPEC F-022: the addresses of a removed domain sleep until it returns, or go with it. */
static Error *domain_leaves(Work *work, const ObjectRef *domain)
{
    DEFER(pack_done) Pack pack = {0};
    Error *err = domain_addresses(work, domain, &pack);

    for (size_t i = 0; !err && i < pack.n; i++) {
        Object *address = pack.objects[i];
        if (work->rules.purge) {
            err = work_remove_along(work, address);
            continue;
        }
        if (address->address->dormant)
            continue;
        DEFER(object_free) Object *asleep = object_clone(address);
        asleep->address->has_dormant = true;
        asleep->address->dormant = true;
        err = work_put_along(work, address, asleep);
    }
    return err;
}

static Error *domain_comes(Work *work, const ObjectRef *domain)
{
    DEFER(pack_done) Pack pack = {0};
    DEFER(xfree) char *key = xasprintf("%s %s", domain->instance, domain->name);
    Error *err = domain_addresses(work, domain, &pack);

    names_add(&work->new_domains, key);
    for (size_t i = 0; !err && i < pack.n; i++) {
        if (!pack.objects[i]->address->dormant)
            continue;
        DEFER(object_free) Object *awake = object_clone(pack.objects[i]);
        awake->address->has_dormant = false;
        awake->address->dormant = false;
        err = work_put_along(work, pack.objects[i], awake);
    }
    return err;
}

static Error *instance_leaves(Work *work, const char *instance)
{
    Error *err = NULL;

    for (size_t i = n_kinds; !err && i > 0; i--) {
        if (!kind_info(kinds[i - 1])->meta->in_instance)
            continue;
        DEFER(pack_done) Pack pack = {0};
        err = store_each(work->store, &(StoreFilter){.kind = kinds[i - 1], .instance = instance}, pack_take, &pack);
        for (size_t k = 0; !err && k < pack.n; k++)
            err = work_remove_along(work, pack.objects[k]);
    }
    return err;
}

/* ---- postmaster (SPEC F-083) ---- */

static bool is_postmaster(const ObjectRef *ref)
{
    return ref->kind == MAIL__OBJECT__BODY_ADDRESS && ref->name && strncmp(ref->name, "postmaster@", 11) == 0;
}

static bool is_internal(const char *to)
{
    return strncmp(to, "user:", 5) == 0 || strncmp(to, "group:", 6) == 0 || strncmp(to, "public:", 7) == 0;
}

static Error *postmaster_put(const Object *object)
{
    ObjectRef ref = object_ref(object);

    if (!is_postmaster(&ref))
        return NULL;
    for (size_t i = 0; i < object->address->n_to; i++)
        if (is_internal(object->address->to[i]))
            return NULL;
    return error_hint(error_new(ERROR_INVALID, "%s: to: postmaster keeps at least one user, group or public mailbox",
                                object_title(&ref).text),
                      "mailctl address set %s to+=user:NAME", ref.name);
}

/* The one of a domain may go where the one of all domains stays. */
static Error *postmaster_remove(Work *work, const ObjectRef *ref)
{
    DEFER(object_free) Object *of_all = NULL;

    if (!is_postmaster(ref) || work->rules.restoring)
        return NULL;
    if (strcmp(ref->name, "postmaster@*") != 0) {
        ObjectRef all = {ref->kind, ref->instance, "postmaster@*"};
        Error *err = store_get(work->store, &all, 0, &of_all);
        if (err || of_all)
            return err;
    }
    return error_hint(
        error_new(ERROR_CONFLICT, "%s: postmaster is always reachable and cannot be removed", object_title(ref).text),
        "send it elsewhere: mailctl address set %s to=user:NAME", ref->name);
}

Error *work_postmaster(Work *work, const char *instance)
{
    const ObjectRef refs[] = {{MAIL__OBJECT__BODY_INSTANCE, "", instance},
                              {MAIL__OBJECT__BODY_ADDRESS, instance, "postmaster@*"},
                              {MAIL__OBJECT__BODY_PUBLIC_MAILBOX, instance, "Postmaster"}};
    Object *there[3] = {NULL};
    DEFER(object_free) Object *mailbox = object_new(refs[2].kind, instance, refs[2].name);
    DEFER(object_free) Object *address = object_new(refs[1].kind, instance, refs[1].name);
    Error *err = NULL;

    address->address->to = xcalloc(1, sizeof *address->address->to);
    address->address->n_to = 1;
    address->address->to[0] = xstrdup("public:Postmaster");
    for (size_t i = 0; !err && i < 3; i++)
        err = store_get(work->store, &refs[i], 0, &there[i]);
    bool wanted = !err && there[0] && !there[1];
    if (wanted && !there[2])
        err = work_put_along(work, NULL, mailbox);
    if (!err && wanted)
        err = work_put_along(work, NULL, address);
    for (size_t i = 0; i < 3; i++)
        object_free(&there[i]);
    return err;
}

/* ---- public mailboxes (SPEC F-056) ---- */

typedef struct Naming {
    Pack pack;
    char *dest; /* "public:NAME" */
} Naming;

static void naming_done(Naming *naming)
{
    pack_done(&naming->pack);
    free(naming->dest);
}

static bool names_dest(const Object *object, const char *dest)
{
    if (object->body_case == MAIL__OBJECT__BODY_DOMAIN)
        return object->domain->catch_all && strcmp(object->domain->catch_all, dest) == 0;
    for (size_t i = 0; i < object->address->n_to; i++)
        if (strcmp(object->address->to[i], dest) == 0)
            return true;
    return false;
}

static Error *naming_take(void *context, const ObjectRef *ref, const void *bytes, size_t size)
{
    Naming *naming = context;

    if (!memmem(bytes, size, naming->dest, strlen(naming->dest)))
        return NULL;
    Error *err = pack_take(&naming->pack, ref, bytes, size);
    if (!err && !names_dest(naming->pack.objects[naming->pack.n - 1], naming->dest))
        object_free(&naming->pack.objects[--naming->pack.n]);
    return err;
}

/* Domains or addresses that send mail to it. */
static Error *naming_find(Work *work, Kind kind, const ObjectRef *mailbox, Naming *naming)
{
    naming->dest = xasprintf("public:%s", mailbox->name);
    return store_each(work->store, &(StoreFilter){.kind = kind, .instance = mailbox->instance}, naming_take, naming);
}

static Error *public_still_named(Work *work, Kind kind, const ObjectRef *mailbox)
{
    DEFER(naming_done) Naming naming = {.dest = NULL};
    Error *err = naming_find(work, kind, mailbox, &naming);

    if (err || !naming.pack.n)
        return err;
    ObjectRef by = object_ref(naming.pack.objects[0]);
    err = error_in(error_new(ERROR_CONFLICT, "%s sends mail to it", object_title(&by).text), "%s",
                   object_title(mailbox).text);
    return kind == MAIL__OBJECT__BODY_DOMAIN ? error_hint(err, "mailctl domain set %s catch-all=", by.name)
                                             : error_hint(err, "mailctl address remove %s", by.name);
}

static Error *dest_drop(Work *work, const Object *address, const char *dest)
{
    DEFER(object_free) Object *without = object_clone(address);
    Mail__Address *body = without->address;
    ObjectRef ref = object_ref(address);
    size_t kept = 0;

    for (size_t i = 0; i < body->n_to; i++) {
        if (strcmp(body->to[i], dest) == 0)
            free(body->to[i]);
        else
            body->to[kept++] = body->to[i];
    }
    body->n_to = kept;
    Error *err = kept ? postmaster_put(without) : postmaster_remove(work, &ref);
    if (err)
        return err;
    return kept ? work_put_along(work, address, without) : work_remove_along(work, address);
}

/* Its addresses go along, and it goes out of those that have others. */
static Error *public_leaves(Work *work, const ObjectRef *mailbox)
{
    DEFER(naming_done) Naming naming = {.dest = NULL};
    Error *err = public_still_named(work, MAIL__OBJECT__BODY_DOMAIN, mailbox);

    if (!err)
        err = naming_find(work, MAIL__OBJECT__BODY_ADDRESS, mailbox, &naming);
    for (size_t i = 0; !err && i < naming.pack.n; i++)
        err = error_in(dest_drop(work, naming.pack.objects[i], naming.dest), "%s", object_title(mailbox).text);
    return err;
}

/* What goes by a file or by going back takes nothing along that is not said. */
static Error *public_left(Work *work, const ObjectRef *mailbox)
{
    Error *err = public_still_named(work, MAIL__OBJECT__BODY_DOMAIN, mailbox);

    return err ? err : public_still_named(work, MAIL__OBJECT__BODY_ADDRESS, mailbox);
}

/* ---- what nobody states ---- */

static Error *made_check(const ObjectRef *ref)
{
    if (!kind_info(ref->kind)->meta->made)
        return NULL;
    return error_hint(error_new(ERROR_INVALID, "%s: is made and removed along with its domain, never by hand",
                                object_title(ref).text),
                      "leave it out");
}

/* ---- rules between objects ---- */

static void late_add(Work *work, const ObjectRef *ref, const char *place, const Object *older, bool removed)
{
    Late *late = xcalloc(1, sizeof *late);

    *late = (Late){.next = work->late,
                   .kind = ref->kind,
                   .instance = xstrdup(ref->instance ? ref->instance : ""),
                   .name = xstrdup(ref->name ? ref->name : ""),
                   .place = place ? xstrdup(place) : NULL,
                   .removed = removed,
                   .older = older ? object_clone(older) : NULL};
    work->late = late;
}

/* Leaves of the state need not wait: all that they name comes before them. */
static bool waits(const Work *work, Kind kind)
{
    return work->rules.deferred && kind != MAIL__OBJECT__BODY_ADDRESS && kind != MAIL__OBJECT__BODY_MAILBOX &&
           !kind_info(kind)->meta->single;
}

/* Copies follow their node, whatever it has: a node that begins with nobody empties every one of them. */
static Error *moved_check(const Work *work, const Object *object)
{
    ObjectRef ref = object_ref(object);
    const Mail__UserDomain *is = object->user_domain;
    DEFER(object_free) Object *older = NULL;
    Error *err = work->view.get(work->view.self, &ref, &older);

    if (err || !older || (!older->user_domain->n_replicas && !is->n_replicas) ||
        user_domain_role(older->user_domain, is->node) != DIRECTORY_NONE)
        return err;
    return error_hint(
        error_new(ERROR_CONFLICT,
                  "user-domain %s: node %s has no copy of it: replicas would follow a directory with nobody in it",
                  object->name, is->node),
        "first mailctl user-domain set %s replicas+=%s", object->name, is->node);
}

static Error *put_check(Work *work, const Object *object)
{
    Error *err = work->rules.restoring ? NULL : postmaster_put(object);

    if (!err && !work->rules.restoring)
        err = relay_put_check(work, object);
    if (!err && object->body_case == MAIL__OBJECT__BODY_ADMIN)
        err = admin_key_check(work->store, object);
    if (!err)
        err = object_check_put(object, &work->view);
    if (!err && object->body_case == MAIL__OBJECT__BODY_USER_DOMAIN && !work->rules.refused)
        err = moved_check(work, object);
    return err;
}

static Error *at_place(Error *err, const char *place)
{
    return err && place ? error_in(err, "%s", place) : err;
}

/* SPEC F-149: by a slip of the prefix anybody could send to anywhere. */
static Error *everybody_check(const Work *work, const Object *object)
{
    size_t len = strlen(object->name ? object->name : "");

    if (object->body_case != MAIL__OBJECT__BODY_RELAY_CLIENT || work->rules.force || work->rules.restoring || len < 2 ||
        strcmp(object->name + len - 2, "/0") != 0)
        return NULL;
    return error_hint(error_new(ERROR_INVALID, "relay-client %s: that is everybody: an open relay", object->name),
                      "if that is meant: the same with --force");
}

static bool forwards_to(const Object *mailbox, const char *address)
{
    for (size_t i = 0; mailbox && i < mailbox->mailbox->n_forward; i++)
        if (strcmp(mailbox->mailbox->forward[i], address) == 0)
            return true;
    return false;
}

/* SPEC F-048: the sender's address is kept, and a server elsewhere may ask whether we may use it. */
static Error *forwards_warn(Work *work, const Object *before, const Object *mailbox)
{
    Error *err = NULL;

    for (size_t i = 0; !err && i < mailbox->mailbox->n_forward; i++) {
        const char *to = mailbox->mailbox->forward[i], *domain = NULL;
        DEFER(object_free) Object *ours = NULL;
        size_t local_len = 0;
        if (forwards_to(before, to) || !address_split(to, &local_len, &domain))
            continue;
        err = store_get(work->store, &(ObjectRef){MAIL__OBJECT__BODY_DOMAIN, mailbox->instance_name, domain}, 0, &ours);
        if (!err && !ours)
            work_warn(work, "mailbox %s: mail forwarded to %s keeps its sender, so SPF may fail there", mailbox->name,
                      to);
    }
    return err;
}

Error *work_put(Work *work, const Object *object, const char *place, bool fresh)
{
    ObjectRef ref = object_ref(object);
    DEFER(object_free) Object *before = NULL;
    DEFER(object_free) Object *paired = NULL;
    Error *err = NULL;

    if (!fresh && looks_back(work, ref.kind))
        err = store_get(work->store, &ref, 0, &before);
    if (!err && ref.kind == MAIL__OBJECT__BODY_USER_DOMAIN) {
        paired = object_clone(object);
        err = replica_pair_follow(work, before, paired);
        object = paired;
    }
    if (err || (before && object_equal(before, object)))
        return err;
    err = made_check(&ref);
    if (!err && !before)
        err = everybody_check(work, object);
    if (err)
        return at_place(err, place);
    if (!waits(work, ref.kind)) {
        work->fresh = fresh ? ref : (ObjectRef){0};
        err = put_check(work, object);
        work->fresh = (ObjectRef){0};
    }
    if (!err)
        err = work_put_along(work, before, object);
    if (!err)
        err = relay_spread(work, object, work_put_along);
    if (!err && waits(work, ref.kind))
        late_add(work, &ref, place, before, false);
    if (!err && ref.kind == MAIL__OBJECT__BODY_DOMAIN && !before)
        err = domain_comes(work, &ref);
    if (!err && ref.kind == MAIL__OBJECT__BODY_DOMAIN && (!before || object->domain->dkim > before->domain->dkim))
        err = dkim_domain_comes(work, object);
    if (!err && ref.kind == MAIL__OBJECT__BODY_MAILBOX)
        err = forwards_warn(work, before, object);
    return at_place(err, place);
}

Error *work_remove(Work *work, const ObjectRef *ref, const char *place)
{
    DEFER(object_free) Object *before = NULL;
    Error *err = store_get(work->store, ref, 0, &before);

    if (!err && !before)
        err = error_new(ERROR_NOT_FOUND, "%s does not exist", object_title(ref).text);
    if (!err)
        err = made_check(ref);
    if (!err)
        err = postmaster_remove(work, ref);
    if (!err && ref->kind == MAIL__OBJECT__BODY_INSTANCE)
        err = instance_leaves(work, ref->name);
    if (!err && ref->kind == MAIL__OBJECT__BODY_DOMAIN)
        err = domain_leaves(work, ref);
    if (!err && ref->kind == MAIL__OBJECT__BODY_DOMAIN)
        err = dkim_domain_goes(work, ref);
    if (!err && ref->kind == MAIL__OBJECT__BODY_PUBLIC_MAILBOX && !work->rules.deferred)
        err = public_leaves(work, ref);
    if (!err && !waits(work, ref->kind))
        err = object_check_remove(ref, &work->view);
    if (!err)
        err = work_remove_along(work, before);
    if (!err && waits(work, ref->kind))
        late_add(work, ref, place, before, true);
    return at_place(err, place);
}

/* ---- the end ---- */

static Error *late_ask(Work *work, const Late *late)
{
    ObjectRef ref = {late->kind, late->instance, late->name};
    DEFER(object_free) Object *object = NULL;
    Error *err = store_get(work->store, &ref, 0, &object);

    if (err || (late->removed && object) || (!late->removed && !object)) /* a later step undid this one */
        return err;
    if (late->removed && ref.kind == MAIL__OBJECT__BODY_PUBLIC_MAILBOX)
        return at_place(public_left(work, &ref), late->place);
    if (late->removed)
        return at_place(object_check_remove(&ref, &work->view), late->place);
    work->asking = late;
    err = put_check(work, object);
    work->asking = NULL;
    return at_place(err, late->place);
}

/* In the order in which they came. */
static Error *late_ask_all(Work *work)
{
    Late *in_order = NULL;
    Error *err = NULL;

    while (work->late) {
        Late *late = work->late;
        work->late = late->next;
        late->next = in_order;
        in_order = late;
    }
    work->late = in_order;
    for (const Late *late = in_order; !err && late; late = late->next)
        err = late_ask(work, late);
    return err;
}

typedef struct Taken {
    const Work *work;
    Buf words; /* "x@example.org delivers to y@example.net" */
    size_t n;
} Taken;

static void taken_done(Taken *taken)
{
    buf_done(&taken->words);
}

static Error *takes_over(void *context, const ObjectRef *ref, const void *bytes, size_t size)
{
    Taken *taken = context;
    const Names *domains = &taken->work->new_domains;
    DEFER(object_free) Object *address = NULL;

    if (domains->n == 1) { /* most do not even hold the name */
        const char *name = strchr(domains->names[0], ' ') + 1;
        if (!memmem(bytes, size, name, strlen(name)))
            return NULL;
    }
    Error *err = object_unpack(bytes, size, &address);
    for (size_t i = 0; !err && i < address->address->n_to; i++) {
        const char *to = address->address->to[i], *domain = NULL;
        size_t local_len = 0;
        if (is_internal(to) || !address_split(to, &local_len, &domain))
            continue;
        DEFER(xfree) char *key = xasprintf("%s %s", ref->instance, domain);
        if (!names_has(domains, key))
            continue;
        if (taken->n++ < TAKEN_NAMED_MAX)
            buf_printf(&taken->words, "%s%s delivers to %s", taken->n > 1 ? ", " : "", ref->name, to);
    }
    return err;
}

/* SPEC F-075: the destinations elsewhere that would be ours now. */
static Error *take_over_check(Work *work)
{
    DEFER(taken_done) Taken taken = {.work = work};

    if (!work->new_domains.n)
        return NULL;
    Error *err = store_each(work->store, &(StoreFilter){.kind = MAIL__OBJECT__BODY_ADDRESS}, takes_over, &taken);
    if (err || !taken.n)
        return err;
    if (taken.n > TAKEN_NAMED_MAX)
        buf_printf(&taken.words, " and %zu more", taken.n - TAKEN_NAMED_MAX);
    const char *domain = work->new_domains.n == 1 ? strchr(work->new_domains.names[0], ' ') + 1 : "new";
    if (work->rules.yes) {
        work_warn(work, "domain %s takes over: %s", domain, buf_text(&taken.words));
        return NULL;
    }
    return error_hint(error_new(ERROR_CONFLICT, "domain %s would take over: %s", domain, buf_text(&taken.words)),
                      "change these addresses, or say --yes");
}

/* Nodes whose instance uses a user domain that was altered. */
static Error *uses_domain(void *context, const Object *instance)
{
    Work *work = context;
    const Mail__Instance *body = instance->instance;

    if (body->node && body->user_domain && names_has(&work->user_domains, body->user_domain))
        names_add(&work->nodes, body->node);
    return NULL;
}

/* Nodes that run an instance of which something inside was altered. */
static Error *instances_nodes(Work *work)
{
    Error *err = NULL;

    for (size_t i = 0; !err && i < work->instances.n; i++) {
        DEFER(object_free) Object *instance = NULL;
        ObjectRef ref = {MAIL__OBJECT__BODY_INSTANCE, "", work->instances.names[i]};
        err = store_get(work->store, &ref, 0, &instance);
        if (!err)
            nodes_of(work, instance);
    }
    return err;
}

static const Object *kept_object(const Kept *kept)
{
    return kept->after ? kept->after : kept->before;
}

static size_t kind_place(Kind kind)
{
    size_t i = 0;

    while (i < n_kinds && kinds[i] != kind)
        i++;
    return i;
}

static int kept_order(const Kept *a, const Kept *b)
{
    ObjectRef left = object_ref(kept_object(a)), right = object_ref(kept_object(b));
    size_t left_kind = kind_place(left.kind), right_kind = kind_place(right.kind);

    if (left_kind != right_kind)
        return left_kind < right_kind ? -1 : 1;
    int order = strcmp(left.instance, right.instance);
    return order ? order : strcmp(left.name, right.name);
}

static int kept_compare(const void *a, const void *b)
{
    const Kept *left = a, *right = b;
    int order = kept_order(left, right);

    if (order)
        return order;
    return left->number < right->number ? -1 : left->number > right->number;
}

/* An object that was altered twice is one difference, or none. */
static void kept_settle(Work *work)
{
    Kept *kept = work->kept;
    size_t n = 0;

    if (work->n_kept)
        qsort(kept, work->n_kept, sizeof *kept, kept_compare);
    for (size_t i = 0, next; i < work->n_kept; i = next) {
        for (next = i + 1; next < work->n_kept && kept_order(&kept[i], &kept[next]) == 0; next++)
            ;
        Kept whole = {.before = kept[i].before, .after = kept[next - 1].after, .number = kept[i].number};
        for (size_t k = i; k < next; k++) {
            if (k > i)
                object_free(&kept[k].before);
            if (k + 1 < next)
                object_free(&kept[k].after);
        }
        bool same =
            whole.before && whole.after ? object_equal(whole.before, whole.after) : !whole.before && !whole.after;
        if (!same) {
            kept[n++] = whole;
            continue;
        }
        object_free(&whole.before);
        object_free(&whole.after);
    }
    work->n_kept = n;
}

Error *work_finish(Work *work)
{
    StateView store = store_view(work->store);
    Error *err = late_ask_all(work);

    if (!err)
        err = take_over_check(work);
    if (!err && work->user_domains.n)
        err = store.each(store.self, MAIL__OBJECT__BODY_INSTANCE, NULL, NULL, uses_domain, work);
    if (!err)
        err = instances_nodes(work);
    if (!err)
        kept_settle(work);
    return err;
}
