#include "tables/walk.h"

#include "base/alloc.h"
#include "tables/target.h"

#include <stdlib.h>
#include <string.h>

void walk_done(Walk *walk)
{
    names_done(&walk->items);
    names_done(&walk->targets);
    names_done(&walk->edges);
}

static void add(Names *names, char prefix, const char *name)
{
    DEFER(xfree) char *text = xasprintf("%c:%s", prefix, name);
    names_add(names, text);
}

void walk_user(Walk *walk, const char *name)
{
    add(&walk->items, 'u', name);
}

void walk_address(Walk *walk, const char *address)
{
    add(&walk->items, 'a', address);
}

static void meet_user(Walk *walk, const char *name)
{
    add(&walk->edges, 'U', name);
    walk_user(walk, name);
}

static void meet_group(Walk *walk, const char *name)
{
    add(&walk->edges, 'G', name);
    add(&walk->items, 'g', name);
}

static void meet_destination(Walk *walk, const char *dest)
{
    const char *colon = strchr(dest, ':');
    DEFER(xfree) char *name = name_fold(colon ? colon + 1 : dest);

    if (strncmp(dest, "user:", 5) == 0)
        meet_user(walk, name);
    else if (strncmp(dest, "group:", 6) == 0)
        meet_group(walk, name);
    else if (strncmp(dest, "public:", 7) == 0)
        add(&walk->items, 'p', dest + 7);
    else
        walk_address(walk, dest);
}

static Error *through_user(Walk *walk, const char *name)
{
    DEFER(seen_done) Seen seen = {0};

    Error *err = seen_get(walk->compute->sql, 'u', name, &seen);
    if (!err && seen.standing > walk->most)
        walk->most = seen.standing;
    if (err || seen.standing < STANDING_FULL)
        return err;
    char *line = seen.forwards ? strchr(seen.facts, '\n') : NULL;
    if (!line || strncmp(line, "\ncopy", 5) == 0) {
        DEFER(xfree) char *mailbox = target_mailbox(name);
        names_add(&walk->targets, mailbox);
    }
    for (line = line ? strchr(line + 1, '\n') : NULL; line;) {
        char *next = strchr(line + 1, '\n');
        if (next)
            *next = '\0';
        walk_address(walk, line + 1);
        line = next;
    }
    return NULL;
}

static Error *through_public(Walk *walk, const char *name)
{
    DEFER(object_free) Object *object = NULL;

    add(&walk->edges, 'p', name);
    Error *err = compute_object(walk->compute, MAIL__OBJECT__BODY_PUBLIC_MAILBOX, name, &object);
    if (err || !object)
        return err;
    DEFER(xfree) char *target = target_public(name);
    names_add(&walk->targets, target);
    return NULL;
}

static void member(void *context, const char *name, const char *facts)
{
    (void)facts;
    walk_user(context, name); /* no edge: a change of the member is one of the group */
}

Error *walk_domain(Compute *compute, const char *domain, Object **ret_object)
{
    return compute_object(compute, MAIL__OBJECT__BODY_DOMAIN, domain, ret_object);
}

/* What an address object or a name of the directory makes of this local part; *ret_found: it is that. */
static Error *through_local(Walk *walk, const char *local, const Object *domain, bool *ret_found)
{
    Compute *compute = walk->compute;
    const Mail__Domain *body = domain->domain;
    DEFER(xfree) char *specific = xasprintf("%s@%s", local, domain->name), *wildcard = xasprintf("%s@*", local);
    DEFER(object_free) Object *object = NULL;
    DEFER(seen_done) Seen user = {0};
    DEFER(seen_done) Seen group = {0};

    add(&walk->edges, 'l', local);
    Error *err = compute_object(compute, MAIL__OBJECT__BODY_ADDRESS, specific, &object);
    if (!err && object && object->address->dormant)
        object_free(&object);
    bool is_specific = object != NULL;
    if (!err && !object)
        err = compute_object(compute, MAIL__OBJECT__BODY_ADDRESS, wildcard, &object);
    if (!err && local_part_valid(local))
        err = seen_get(compute->sql, 'u', local, &user);
    if (!err && local_part_valid(local))
        err = seen_get(compute->sql, 'g', local, &group);
    if (err)
        return err;
    Candidates candidates = {
        .specific = is_specific, .wildcard = object && !is_specific, .group = group.presence, .user = user.presence};
    Winner winner =
        winner_of(&candidates, (body->user_addresses ? CLASS_USERS : 0) | (body->group_addresses ? CLASS_GROUPS : 0));
    *ret_found = winner != WINNER_NONE;
    if (winner == WINNER_USER)
        meet_user(walk, local);
    else if (winner == WINNER_GROUP)
        meet_group(walk, local);
    else if (object)
        for (size_t i = 0; i < object->address->n_to; i++)
            meet_destination(walk, object->address->to[i]);
    return NULL;
}

static Error *through_address(Walk *walk, const char *address)
{
    const char *at = strrchr(address, '@');
    DEFER(object_free) Object *domain = NULL;
    bool found = false;

    if (!at)
        return NULL;
    DEFER(xfree) char *name = name_fold(at + 1);
    add(&walk->edges, 'd', name);
    Error *err = walk_domain(walk->compute, name, &domain);
    if (!err && !domain) {
        names_add(&walk->targets, address);
        walk->most = STANDING_OPEN;
    }
    if (err || !domain)
        return err;
    DEFER(xfree) char *before = xstrndup(address, (size_t)(at - address));
    DEFER(xfree) char *local = name_fold(before);
    err = through_local(walk, local, domain, &found);
    char *tag = strchr(local, '+');
    if (!err && !found && tag && tag != local) { /* the whole name first, then without its tag (F-046) */
        *tag = '\0';
        err = through_local(walk, local, domain, &found);
    }
    if (!err && !found && domain->domain->catch_all)
        meet_destination(walk, domain->domain->catch_all);
    return err;
}

Error *walk_run(Walk *walk)
{
    Error *err = NULL;

    for (const Name *item = walk->items.first; !err && item; item = item->hh.next) { /* grows at its end meanwhile */
        const char *name = item->text + 2;
        if (item->text[0] == 'u')
            err = through_user(walk, name);
        else if (item->text[0] == 'g')
            err = groups_below(&walk->compute->groups, name, member, walk);
        else if (item->text[0] == 'p')
            err = through_public(walk, name);
        else
            err = through_address(walk, name);
    }
    return err;
}
