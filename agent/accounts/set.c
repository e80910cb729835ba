#include "accounts/set.h"

#include "base/alloc.h"

#include <stdlib.h>
#include <string.h>

typedef struct Group {
    char *uuid, *name;
    char **users, **groups;
    size_t n_users, n_groups, room;
} Group;

typedef struct Gone {
    bool user;
    char *uuid;
} Gone;

struct AccountSet {
    bool whole;
    AccountSet *next;
    AccountUser *users; /* their texts are owned */
    size_t n_users, users_room;
    Group *groups;
    size_t n_groups, groups_room;
    Gone *gone;
    size_t n_gone, gone_room;
};

AccountSet *account_set_new(bool whole)
{
    AccountSet *set = xcalloc(1, sizeof *set);

    set->whole = whole;
    return set;
}

static void texts_free(char **texts, size_t n)
{
    for (size_t i = 0; i < n; i++)
        free(texts[i]);
    free(texts);
}

static void one_free(AccountSet **set)
{
    for (size_t i = 0; i < (*set)->n_users; i++) {
        free((char *)(*set)->users[i].uuid);
        free((char *)(*set)->users[i].name);
        free((char *)(*set)->users[i].full_name);
    }
    for (size_t i = 0; i < (*set)->n_groups; i++) {
        Group *group = &(*set)->groups[i];
        free(group->uuid);
        free(group->name);
        texts_free(group->users, group->n_users);
        texts_free(group->groups, group->n_groups);
    }
    for (size_t i = 0; i < (*set)->n_gone; i++)
        free((*set)->gone[i].uuid);
    free((*set)->users);
    free((*set)->groups);
    free((*set)->gone);
    free(*set);
    *set = NULL;
}

void account_set_free(AccountSet **set)
{
    while (*set) {
        AccountSet *next = (*set)->next;
        one_free(set);
        *set = next;
    }
}

void account_set_append(AccountSet **set, AccountSet *next)
{
    AccountSet **at = set;

    for (AccountSet *later = next; later; later = later->next)
        if (later->whole) { /* the first of them: what it brings is a chain, too */
            account_set_free(set);
            break;
        }
    while (*at)
        at = &(*at)->next;
    *at = next;
}

const AccountSet *account_set_next(const AccountSet *set)
{
    return set->next;
}

bool account_set_whole(const AccountSet *set)
{
    return set->whole;
}

bool account_set_empty(const AccountSet *set)
{
    return !set->whole && !set->n_users && !set->n_groups && !set->n_gone;
}

bool account_set_shrinks(const AccountSet *set)
{
    return set->whole || set->n_gone;
}

void account_set_gone(AccountSet *set, bool user, const char *uuid)
{
    if (set->n_gone == set->gone_room) {
        set->gone_room = set->gone_room ? set->gone_room * 2 : 16;
        set->gone = xrealloc(set->gone, set->gone_room * sizeof *set->gone);
    }
    set->gone[set->n_gone++] = (Gone){user, xstrdup(uuid)};
}

size_t account_set_users(const AccountSet *set)
{
    return set->n_users;
}

size_t account_set_groups(const AccountSet *set)
{
    return set->n_groups;
}

void account_set_user(AccountSet *set, const AccountUser *user)
{
    if (set->n_users == set->users_room) {
        set->users_room = set->users_room ? set->users_room * 2 : 64;
        set->users = xrealloc(set->users, set->users_room * sizeof *set->users);
    }
    set->users[set->n_users++] = (AccountUser){
        .uuid = xstrdup(user->uuid),
        .name = xstrdup(user->name),
        .full_name = user->full_name ? xstrdup(user->full_name) : NULL,
        .enabled = user->enabled,
    };
}

static void group_users(Group *group, const char *const *users, size_t n)
{
    if (group->n_users + n > group->room) {
        group->room = (group->n_users + n) * (group->n_users ? 2 : 1);
        group->users = xrealloc(group->users, group->room * sizeof *group->users);
    }
    for (size_t i = 0; i < n; i++)
        group->users[group->n_users++] = xstrdup(users[i]);
}

void account_set_group(AccountSet *set, const AccountGroup *said)
{
    if (set->n_groups == set->groups_room) {
        set->groups_room = set->groups_room ? set->groups_room * 2 : 16;
        set->groups = xrealloc(set->groups, set->groups_room * sizeof *set->groups);
    }
    Group *group = &set->groups[set->n_groups++];
    *group = (Group){.uuid = xstrdup(said->uuid), .name = xstrdup(said->name)};
    group_users(group, said->users, said->n_users);
    group->groups = xcalloc(said->n_groups + 1, sizeof *group->groups);
    for (size_t i = 0; i < said->n_groups; i++)
        group->groups[group->n_groups++] = xstrdup(said->groups[i]);
}

bool account_set_more(AccountSet *set, const char *uuid, const char *const *users, size_t n_users)
{
    Group *last = set->n_groups ? &set->groups[set->n_groups - 1] : NULL;

    if (!last || strcmp(last->uuid, uuid) != 0)
        return false;
    group_users(last, users, n_users);
    return true;
}

static Error *one_write(const AccountSet *set, Tables *tables)
{
    Error *err = set->whole ? tables_accounts_begin(tables) : NULL;

    for (size_t i = 0; !err && i < set->n_users; i++)
        err = tables_account_user(tables, &set->users[i]);
    for (size_t i = 0; !err && i < set->n_groups; i++) {
        const Group *group = &set->groups[i];
        err = tables_account_group(tables, &(AccountGroup){
                                               .uuid = group->uuid,
                                               .name = group->name,
                                               .users = (const char *const *)group->users,
                                               .n_users = group->n_users,
                                               .groups = (const char *const *)group->groups,
                                               .n_groups = group->n_groups,
                                           });
    }
    for (size_t i = 0; !err && i < set->n_gone; i++)
        err = set->gone[i].user ? tables_account_user_gone(tables, set->gone[i].uuid)
                                : tables_account_group_gone(tables, set->gone[i].uuid);
    return err || !set->whole ? err : tables_accounts_end(tables);
}

Error *account_set_write(const AccountSet *set, Tables *tables)
{
    Error *err = NULL;

    for (; !err && set; set = set->next)
        err = one_write(set, tables);
    return err;
}
