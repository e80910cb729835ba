/* Addresses, local parts and domains: what Postfix is told at RCPT, and where to. */
#include "tables/compute.h"

#include "base/alloc.h"
#include "base/buf.h"
#include "model/acl.h"
#include "tables/queries.h"
#include "tables/target.h"
#include "tables/walk.h"

#include <stdlib.h>
#include <string.h>

/* ---- destinations ---- */

/* What a list of destinations comes to. */
typedef struct Dest {
    Names targets, senders, edges;
    Standing standing; /* the greatest of them */
    Compute *compute;
} Dest;

static void dest_done(Dest *dest)
{
    names_done(&dest->targets);
    names_done(&dest->senders);
    names_done(&dest->edges);
}

static void dest_standing(Dest *dest, Standing standing)
{
    if (standing > dest->standing)
        dest->standing = standing;
}

static void edge_add(Dest *dest, char prefix, const char *name)
{
    DEFER(xfree) char *edge = xasprintf("%c:%s", prefix, name);
    names_add(&dest->edges, edge);
}

/* Senders are listed with commas and blanks between them: no name may be read as two. */
static void sender_add(void *context, const char *name, const char *facts)
{
    Dest *dest = context;

    (void)facts;
    if (local_part_valid(name))
        names_add(&dest->senders, name);
}

static Error *dest_user(Dest *dest, const char *name)
{
    DEFER(seen_done) Seen seen = {0};

    edge_add(dest, 'u', name);
    sender_add(dest, name, NULL);
    Error *err = seen_get(dest->compute->sql, 'u', name, &seen);
    if (err)
        return err;
    dest_standing(dest, seen.standing);
    if (seen.standing < STANDING_FULL)
        return NULL;
    DEFER(xfree) char *key = seen.forwards ? target_key('u', name) : NULL;
    DEFER(xfree) char *target = key ? target_of_key(key) : target_mailbox(name);
    names_add(&dest->targets, target);
    return NULL;
}

static Error *dest_group(Dest *dest, const char *name)
{
    DEFER(seen_done) Seen seen = {0};

    edge_add(dest, 'g', name);
    Error *err = seen_get(dest->compute->sql, 'g', name, &seen);
    if (!err && dest->compute->groups_send)
        err = groups_below(&dest->compute->groups, name, sender_add, dest);
    if (err)
        return err;
    dest_standing(dest, seen.standing);
    if (seen.standing < STANDING_FULL)
        return NULL;
    DEFER(xfree) char *key = target_key('g', name);
    DEFER(xfree) char *target = target_of_key(key);
    names_add(&dest->targets, target);
    return NULL;
}

/* In one of our domains: followed to its end here, since Postfix never comes back from a circle. */
static Error *dest_ours(Dest *dest, const char *address)
{
    DEFER(walk_done) Walk walk = {.compute = dest->compute};

    walk_address(&walk, address);
    Error *err = walk_run(&walk);
    if (err)
        return err;
    for (const Name *edge = walk.edges.first; edge; edge = edge->hh.next)
        names_add(&dest->edges, edge->text);
    for (const Name *target = walk.targets.first; target; target = target->hh.next)
        names_add(&dest->targets, target->text);
    Standing nowhere = walk.most == STANDING_OPEN ? STANDING_NOBODY : walk.most; /* open, and forwarded in a circle */
    dest_standing(dest, walk.targets.first && walk.most != STANDING_FULL ? STANDING_OPEN : nowhere);
    return NULL;
}

static Error *dest_external(Dest *dest, const char *address)
{
    const char *at = strrchr(address, '@');
    DEFER(object_free) Object *domain = NULL;
    DEFER(xfree) char *name = name_fold(at ? at + 1 : "");

    edge_add(dest, 'd', name);
    Error *err = walk_domain(dest->compute, name, &domain);
    if (err)
        return err;
    if (domain)
        return dest_ours(dest, address);
    names_add(&dest->targets, address);
    dest_standing(dest, STANDING_OPEN);
    return NULL;
}

/* Who may post there may send from its address, where members of a group may. */
static Error *dest_posters(Dest *dest, const Mail__PublicMailbox *mailbox)
{
    Error *err = NULL;

    for (size_t i = 0; !err && i < mailbox->n_acl; i++) {
        DEFER(acl_done) AclEntry entry = {.name = NULL};
        err = acl_read(mailbox->acl[i], &entry);
        if (err || !strchr(entry.letters, 'p'))
            continue;
        if (entry.who == ACL_ANYONE) {
            names_add(&dest->senders, SENDERS_ANYONE);
            continue;
        }
        if (entry.who == ACL_USER) {
            sender_add(dest, entry.name, NULL);
            continue;
        }
        edge_add(dest, 'g', entry.name);
        err = groups_below(&dest->compute->groups, entry.name, sender_add, dest);
    }
    return err;
}

static Error *dest_public(Dest *dest, const char *name)
{
    DEFER(object_free) Object *object = NULL;

    edge_add(dest, 'p', name);
    Error *err = compute_object(dest->compute, MAIL__OBJECT__BODY_PUBLIC_MAILBOX, name, &object);
    if (!err && object && dest->compute->groups_send)
        err = dest_posters(dest, object->public_mailbox);
    if (err || !object)
        return err;
    dest_standing(dest, STANDING_OPEN);
    DEFER(xfree) char *target = target_public(name);
    names_add(&dest->targets, target);
    return NULL;
}

static Error *dest_add(Dest *dest, const char *to)
{
    const char *colon = strchr(to, ':');
    DEFER(xfree) char *name = name_fold(colon ? colon + 1 : to);

    if (strncmp(to, "user:", 5) == 0)
        return dest_user(dest, name);
    if (strncmp(to, "group:", 6) == 0)
        return dest_group(dest, name);
    if (strncmp(to, "public:", 7) == 0)
        return dest_public(dest, to + 7); /* its case counts */
    return dest_external(dest, to);
}

static Error *dest_address(Dest *dest, const Mail__Address *address)
{
    Error *err = NULL;

    for (size_t i = 0; !err && i < address->n_to; i++)
        err = dest_add(dest, address->to[i]);
    return err;
}

/* Sorted: members come in no order.  Owned by the caller; NULL: none. */
static char *list(Names *names)
{
    Buf text = {0};

    names_sort(names);
    for (const Name *name = names->first; name; name = name->hh.next)
        buf_printf(&text, "%s%s", text.size ? "," : "", name->text);
    char *joined = text.size ? xstrdup(buf_text(&text)) : NULL;
    buf_done(&text);
    return joined;
}

static void rcpt_row(Dest *dest, const char *local, const char *scope, bool internal)
{
    DEFER(xfree) char *targets = list(&dest->targets);
    DEFER(xfree)
    char *senders = names_have(&dest->senders, SENDERS_ANYONE) ? xstrdup(SENDERS_ANYONE) : list(&dest->senders);

    compute_row(dest->compute, ROWS_RCPT,
                (const char *const[]){local, scope, verdict_of(dest->standing, internal),
                                      dest->standing >= STANDING_FULL ? targets : TARGET_REFUSED, senders});
}

/* ---- addresses ---- */

static Error *edges_settle(Compute *compute, char kind, const char *name, const Dest *dest)
{
    DEFER(xfree) char *src = xasprintf("%c:%s", kind, name);

    compute_edge(compute, src, &dest->edges);
    return compute_settle(compute, ROWS_EDGE, src, NULL);
}

/* *ret_domain: behind the '@'; false: not an address. */
static bool split(const char *name, char **ret_local, const char **ret_domain)
{
    const char *at = strrchr(name, '@');

    if (!at)
        return false;
    *ret_local = xstrndup(name, (size_t)(at - name));
    *ret_domain = at + 1;
    return true;
}

/* object NULL: there is none of this name any more. */
static Error *address_settle(Compute *compute, const char *name, const Object *object)
{
    DEFER(dest_done) Dest dest = {.compute = compute};
    DEFER(xfree) char *local = NULL;
    const char *domain = NULL;
    bool valid = object && !object->address->dormant;

    if (!split(name, &local, &domain))
        return NULL;
    bool wildcard = strcmp(domain, "*") == 0;
    Error *err = valid ? dest_address(&dest, object->address) : NULL;
    if (!err && valid && !wildcard)
        rcpt_row(&dest, local, domain, object->address->internal);
    if (!err && !wildcard)
        err = compute_settle(compute, ROWS_RCPT, local, domain);
    return err ? err : edges_settle(compute, 'a', name, &dest);
}

Error *address_object(Compute *compute, const Object *object)
{
    return address_settle(compute, object->name, object);
}

Error *address_named(Compute *compute, const char *name)
{
    DEFER(object_free) Object *object = NULL;

    Error *err = compute_object(compute, MAIL__OBJECT__BODY_ADDRESS, name, &object);
    return err ? err : address_settle(compute, name, object);
}

/* ---- a local part in every domain ---- */

typedef struct Local {
    Object *wildcard; /* NULL: none */
    Dest any, user, group;
    Seen user_seen, group_seen;
} Local;

static void local_done(Local *local)
{
    object_free(&local->wildcard);
    dest_done(&local->any);
    dest_done(&local->user);
    dest_done(&local->group);
    seen_done(&local->user_seen);
    seen_done(&local->group_seen);
}

static Error *local_get(Compute *compute, const char *name, const char *wildcard, Local *local)
{
    local->any.compute = local->user.compute = local->group.compute = compute;
    Error *err = compute_object(compute, MAIL__OBJECT__BODY_ADDRESS, wildcard, &local->wildcard);
    if (!err && local->wildcard && local->wildcard->address->dormant)
        object_free(&local->wildcard);
    if (!err && local->wildcard)
        err = dest_address(&local->any, local->wildcard->address);
    if (err || !local_part_valid(name) || !compute->view->instance) /* F-085: such a name has no address */
        return err;
    err = seen_get(compute->sql, 'u', name, &local->user_seen);
    if (!err && local->user_seen.presence)
        err = dest_user(&local->user, name);
    if (!err)
        err = seen_get(compute->sql, 'g', name, &local->group_seen);
    if (!err && local->group_seen.presence)
        err = dest_group(&local->group, name);
    return err;
}

Error *address_local(Compute *compute, const char *name)
{
    DEFER(local_done) Local local = {0};
    DEFER(xfree) char *wildcard = xasprintf("%s@*", name);

    Error *err = local_get(compute, name, wildcard, &local);
    if (err)
        return err;
    Candidates candidates = {
        .wildcard = local.wildcard != NULL, .group = local.group_seen.presence, .user = local.user_seen.presence};
    for (int class_ = 0; class_ < N_CLASSES; class_++) {
        Winner winner = winner_of(&candidates, class_);
        if (winner == WINNER_WILDCARD && local.wildcard)
            rcpt_row(&local.any, name, class_names[class_], local.wildcard->address->internal);
        else if (winner == WINNER_GROUP)
            rcpt_row(&local.group, name, class_names[class_], false);
        else if (winner == WINNER_USER)
            rcpt_row(&local.user, name, class_names[class_], false);
    }
    err = compute_settle(compute, ROWS_RCPT, name, NULL);
    return err ? err : edges_settle(compute, 'a', wildcard, &local.any); /* users and groups: told by their name */
}

/* ---- domains ---- */

Error *address_domain(Compute *compute, const char *name)
{
    DEFER(dest_done) Dest dest = {.compute = compute};
    DEFER(object_free) Object *object = NULL;
    bool pseudo = strcmp(name, MAILBOX_DOMAIN) == 0 || strcmp(name, EXPAND_DOMAIN) == 0;

    Error *err = pseudo ? NULL : walk_domain(compute, name, &object);
    if (!err && object && object->domain->catch_all)
        err = dest_add(&dest, object->domain->catch_all);
    if (err)
        return err;
    if (pseudo)
        compute_row(compute, ROWS_DOMAIN, (const char *const[]){name, "!", verdict_of(STANDING_NOBODY, false), NULL});
    if (object) {
        int class_ =
            (object->domain->user_addresses ? CLASS_USERS : 0) | (object->domain->group_addresses ? CLASS_GROUPS : 0);
        DEFER(xfree) char *targets = dest.standing >= STANDING_FULL ? list(&dest.targets) : NULL;
        compute_row(compute, ROWS_DOMAIN,
                    (const char *const[]){name, class_names[class_], verdict_of(dest.standing, false), targets});
    }
    err = compute_settle(compute, ROWS_DOMAIN, name, NULL);
    return err ? err : edges_settle(compute, 'd', name, &dest);
}
