#include "accounts/set.h"

#include "base/alloc.h"
#include "base/buf.h"

#include <stdlib.h>
#include <string.h>

typedef struct Group {
    char *uuid, *name;
    char **users, **groups;
    size_t n_users, n_groups, room;
} Group;

struct AccountSet {
    AccountUser *users; /* their texts are owned */
    size_t n_users, users_room;
    Group *groups;
    size_t n_groups, groups_room;
};

AccountSet *account_set_new(void)
{
    return xcalloc(1, sizeof(AccountSet));
}

static void texts_free(char **texts, size_t n)
{
    for (size_t i = 0; i < n; i++)
        free(texts[i]);
    free(texts);
}

void account_set_free(AccountSet **set)
{
    if (!*set)
        return;
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
    free((*set)->users);
    free((*set)->groups);
    free(*set);
    *set = NULL;
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

/* With their ends: "ab" "c" is not "a" "bc". */
static void text_into(Buf *bytes, const char *text)
{
    buf_append(bytes, text ? text : "\1", (text ? strlen(text) : 1) + 1);
}

static void texts_into(Buf *bytes, char *const *texts, size_t n)
{
    buf_append(bytes, &n, sizeof n);
    for (size_t i = 0; i < n; i++)
        text_into(bytes, texts[i]);
}

Digest account_set_digest(const AccountSet *set)
{
    DEFER(buf_done) Buf bytes = {0};

    for (size_t i = 0; i < set->n_users; i++) {
        text_into(&bytes, set->users[i].uuid);
        text_into(&bytes, set->users[i].name);
        text_into(&bytes, set->users[i].full_name);
        text_into(&bytes, set->users[i].enabled ? "+" : "-");
    }
    for (size_t i = 0; i < set->n_groups; i++) {
        text_into(&bytes, set->groups[i].uuid);
        text_into(&bytes, set->groups[i].name);
        texts_into(&bytes, set->groups[i].users, set->groups[i].n_users);
        texts_into(&bytes, set->groups[i].groups, set->groups[i].n_groups);
    }
    return digest_of(bytes.data, bytes.size);
}

Error *account_set_write(const AccountSet *set, Tables *tables)
{
    Error *err = tables_accounts_begin(tables);

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
    return err ? err : tables_accounts_end(tables);
}
