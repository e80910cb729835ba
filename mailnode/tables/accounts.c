/* What the directory says: accounts by UUID, members by name; whoever changed is touched. */
#include "tables/inside.h"

#include "base/alloc.h"
#include "tables/target.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* ---- seen since begin ---- */

static void seen_mark(Tables *tables, int64_t id)
{
    size_t octet = (size_t)id / 8;

    if (octet >= tables->n_seen) {
        size_t size = (octet + 1) * 2;
        tables->seen = xrealloc(tables->seen, size);
        memset(tables->seen + tables->n_seen, 0, size - tables->n_seen);
        tables->n_seen = size;
    }
    tables->seen[octet] |= (uint8_t)(1u << (id % 8));
}

static bool seen_was(const Tables *tables, int64_t id)
{
    size_t octet = (size_t)id / 8;

    return octet < tables->n_seen && (tables->seen[octet] & (1u << (id % 8)));
}

/* ---- names that come and go ---- */

static TouchedSet set_of(const char *kind)
{
    return *kind == 'u' ? TOUCHED_USERS : TOUCHED_GROUPS;
}

static Error *name_came(Tables *tables, const char *kind, const char *name)
{
    touched_add(&tables->touched, set_of(kind), name);
    if (*kind == 'g')
        touched_add(&tables->touched, TOUCHED_BELOW, name);
    return sql_run(&tables->sql, SQL_GONE_DROP, "tt", kind, name);
}

/* After its row went, or took another name. */
static Error *name_left(Tables *tables, const char *kind, const char *name)
{
    sqlite3_stmt *get = NULL;
    bool held = false;

    touched_add(&tables->touched, set_of(kind), name);
    Error *err = sql_start(&tables->sql, SQL_ACCOUNT_NAMED, &get, "tt", kind, name);
    if (!err)
        err = sql_row(&tables->sql, get, &held);
    if (err)
        return err;
    sqlite3_reset(get);
    return held ? NULL : sql_run(&tables->sql, SQL_GONE_ADD, "tti", kind, name, (int64_t)time(NULL));
}

Error *accounts_expire(Tables *tables)
{
    sqlite3_stmt *get = NULL;
    Names gone = {0}; /* "u:alice" */
    bool got = false;
    int64_t now = (int64_t)time(NULL);

    if (!tables_due(tables))
        return NULL;
    Error *err = sql_start(&tables->sql, SQL_EXPIRED, &get, "ii", now - GONE_S + 1, now + GONE_S);
    while (!err && !(err = sql_row(&tables->sql, get, &got)) && got) {
        DEFER(xfree) char *name = xasprintf("%s:%s", sql_column(get, 0), sql_column(get, 1));
        names_add(&gone, name);
    }
    for (const Name *name = gone.first; !err && name; name = name->hh.next) {
        char kind[2] = {name->text[0], '\0'};
        touched_add(&tables->touched, set_of(kind), name->text + 2);
        err = sql_run(&tables->sql, SQL_GONE_DROP, "tt", kind, name->text + 2);
    }
    names_done(&gone);
    return err;
}

/* ---- one account ---- */

typedef struct Account { /* as it stands */
    int64_t id;          /* 0: not there */
    char *name, *full_name;
    bool enabled;
} Account;

static void account_done(Account *account)
{
    free(account->name);
    free(account->full_name);
}

static Error *account_get(Tables *tables, const char *kind, const char *uuid, Account *account)
{
    sqlite3_stmt *get = NULL;
    bool got = false;

    Error *err = sql_start(&tables->sql, SQL_ACCOUNT, &get, "tt", kind, uuid);
    if (!err)
        err = sql_row(&tables->sql, get, &got);
    if (err || !got)
        return err;
    account->id = sqlite3_column_int64(get, 0);
    account->name = xstrdup(sql_column(get, 1));
    account->full_name = sql_column(get, 2) ? xstrdup(sql_column(get, 2)) : NULL;
    account->enabled = sqlite3_column_int(get, 3) != 0;
    sqlite3_reset(get);
    return NULL;
}

static bool same_text(const char *a, const char *b)
{
    return a && b ? strcmp(a, b) == 0 : a == b;
}

static Error *account_change(Tables *tables, const char *kind, const Account *was, const char *name,
                             const char *full_name, bool enabled)
{
    bool renamed = strcmp(was->name, name) != 0;

    if (!renamed && same_text(was->full_name, full_name) && was->enabled == enabled)
        return NULL;
    Error *err = sql_run(&tables->sql, SQL_ACCOUNT_SET, "itti", was->id, name, full_name, (int64_t)enabled);
    if (!err && renamed)
        err = name_left(tables, kind, was->name);
    if (!err && (renamed || was->enabled != enabled))
        err = name_came(tables, kind, name);
    return err;
}

static size_t *count_of(Tables *tables, const char *kind)
{
    return *kind == 'u' ? &tables->will_users : &tables->will_groups;
}

/* name is folded. */
static Error *account_put(Tables *tables, const char *kind, const char *uuid, const char *name, const char *full_name,
                          bool enabled, int64_t *ret_id)
{
    DEFER(account_done) Account was = {0};

    assert(tables->began);
    Error *err = account_get(tables, kind, uuid, &was);
    if (!err && was.id)
        err = account_change(tables, kind, &was, name, full_name, enabled);
    else if (!err)
        err = sql_run(&tables->sql, SQL_ACCOUNT_ADD, "tttti", kind, uuid, name, full_name, (int64_t)enabled);
    if (!err && !was.id) {
        ++*count_of(tables, kind);
        err = name_came(tables, kind, name);
    }
    if (err)
        return err;
    *ret_id = was.id ? was.id : sqlite3_last_insert_rowid(tables->db);
    seen_mark(tables, *ret_id);
    return NULL;
}

/* Whose list of groups is another now.  Below a nested group it is looked when all has been said: what leads from there
 * to its users has not changed itself, or they are touched for that. */
static void touch_member(Tables *tables, const char *kind, const char *name)
{
    touched_add(&tables->touched, *kind == 'u' ? TOUCHED_USERS : TOUCHED_BELOW, name);
}

static Error *touch_members(Tables *tables, int64_t id)
{
    sqlite3_stmt *get = NULL;
    bool got = false;

    Error *err = sql_start(&tables->sql, SQL_MEMBERS, &get, "i", id);
    while (!err && !(err = sql_row(&tables->sql, get, &got)) && got)
        touch_member(tables, sql_column(get, 0), sql_column(get, 1));
    return err;
}

static Error *account_drop(Tables *tables, const char *kind, const char *uuid)
{
    DEFER(account_done) Account was = {0};

    assert(tables->began);
    Error *err = account_get(tables, kind, uuid, &was);
    if (err || !was.id)
        return err;
    --*count_of(tables, kind);
    if (*kind == 'g')
        err = touch_members(tables, was.id);
    if (!err)
        err = sql_run(&tables->sql, SQL_ACCOUNT_DROP, "i", was.id);
    if (!err)
        err = sql_run(&tables->sql, SQL_MEMBERS_DROP, "i", was.id);
    return err ? err : name_left(tables, kind, was.name);
}

/* ---- members ---- */

static Error *members_get(Tables *tables, int64_t id, Names *out)
{
    sqlite3_stmt *get = NULL;
    bool got = false;

    Error *err = sql_start(&tables->sql, SQL_MEMBERS, &get, "i", id);
    while (!err && !(err = sql_row(&tables->sql, get, &got)) && got) {
        DEFER(xfree) char *name = xasprintf("%s:%s", sql_column(get, 0), sql_column(get, 1));
        names_add(out, name);
    }
    return err;
}

static void members_want(const char *kind, const char *const *names, size_t n, Names *out)
{
    for (size_t i = 0; i < n; i++) {
        DEFER(xfree) char *folded = name_fold(names[i]);
        DEFER(xfree) char *name = xasprintf("%s:%s", kind, folded);
        if (name_usable(folded))
            names_add(out, name);
    }
}

/* Those of 'names' that 'others' lack are added to the group, or dropped. */
static Error *members_differ(Tables *tables, int64_t id, const Names *names, const Names *others, SqlId deed,
                             size_t *n_differ)
{
    Error *err = NULL;

    for (const Name *name = names->first; !err && name; name = name->hh.next) {
        char kind[2] = {name->text[0], '\0'};
        if (names_have(others, name->text))
            continue;
        ++*n_differ;
        touch_member(tables, kind, name->text + 2);
        err = sql_run(&tables->sql, deed, "itt", id, kind, name->text + 2);
    }
    return err;
}

static Error *members_put(Tables *tables, int64_t id, const char *name, const AccountGroup *group)
{
    DEFER(names_done) Names was = {0}, now = {0};
    size_t n_differ = 0;

    Error *err = members_get(tables, id, &was);
    if (err)
        return err;
    members_want("u", group->users, group->n_users, &now);
    members_want("g", group->groups, group->n_groups, &now);
    err = members_differ(tables, id, &was, &now, SQL_MEMBER_DROP, &n_differ);
    if (!err)
        err = members_differ(tables, id, &now, &was, SQL_MEMBER_ADD, &n_differ);
    if (n_differ)
        touched_add(&tables->touched, TOUCHED_GROUPS, name);
    return err;
}

/* ---- the directory, whole and in pieces ---- */

Error *tables_accounts_begin(Tables *tables)
{
    assert(tables->began);
    if (tables->n_seen)
        memset(tables->seen, 0, tables->n_seen);
    return NULL;
}

Error *tables_account_user(Tables *tables, const AccountUser *user)
{
    DEFER(xfree) char *name = name_fold(user->name);
    int64_t id;

    return name_usable(name) ? account_put(tables, "u", user->uuid, name, user->full_name, user->enabled, &id)
                             : account_drop(tables, "u", user->uuid); /* it may have had another one */
}

Error *tables_account_group(Tables *tables, const AccountGroup *group)
{
    DEFER(xfree) char *name = name_fold(group->name);
    int64_t id = 0;

    if (!name_usable(name))
        return account_drop(tables, "g", group->uuid);
    Error *err = account_put(tables, "g", group->uuid, name, NULL, true, &id);
    return err ? err : members_put(tables, id, name, group);
}

Error *tables_account_user_gone(Tables *tables, const char *uuid)
{
    return account_drop(tables, "u", uuid);
}

Error *tables_account_group_gone(Tables *tables, const char *uuid)
{
    return account_drop(tables, "g", uuid);
}

Error *tables_accounts_end(Tables *tables)
{
    sqlite3_stmt *get = NULL;
    Names left = {0}; /* "u:UUID" */
    bool got = false;

    assert(tables->began);
    Error *err = sql_start(&tables->sql, SQL_ALL_ACCOUNTS, &get, "");
    while (!err && !(err = sql_row(&tables->sql, get, &got)) && got) {
        if (seen_was(tables, sqlite3_column_int64(get, 0)))
            continue;
        DEFER(xfree) char *uuid = xasprintf("%s:%s", sql_column(get, 1), sql_column(get, 2));
        names_add(&left, uuid);
    }
    for (const Name *uuid = left.first; !err && uuid; uuid = uuid->hh.next) {
        char kind[2] = {uuid->text[0], '\0'};
        err = account_drop(tables, kind, uuid->text + 2);
    }
    names_done(&left);
    if (!err)
        tables->will_be_complete = true;
    return err;
}

/* ---- one by name ---- */

Error *tables_user_uuid(Tables *tables, const char *name, char **ret_uuid)
{
    DEFER(xfree) char *folded = name_fold(name);
    sqlite3_stmt *get = NULL;
    bool got = false;
    size_t n = 0;

    xfree(ret_uuid);
    Error *err = sql_start(&tables->sql, SQL_USER, &get, "t", folded);
    while (!err && !(err = sql_row(&tables->sql, get, &got)) && got) {
        free(*ret_uuid);
        *ret_uuid = xstrdup(sql_column(get, 0));
        n++;
    }
    if (n > 1)
        xfree(ret_uuid);
    return err;
}

Error *tables_touch_user(Tables *tables, const char *name)
{
    DEFER(xfree) char *folded = name_fold(name);

    assert(tables->began);
    touched_add(&tables->touched, TOUCHED_USERS, folded);
    return NULL;
}

/* ---- how many, and back ---- */

Error *accounts_read(Tables *tables)
{
    sqlite3_stmt *get = NULL;
    bool got = false;

    Error *err = sql_start(&tables->sql, SQL_ACCOUNT_COUNTS, &get, "");
    if (!err)
        err = sql_row(&tables->sql, get, &got);
    if (err || !got)
        return err;
    tables->n_users = tables->will_users = (size_t)sqlite3_column_int64(get, 0);
    tables->n_groups = tables->will_groups = (size_t)sqlite3_column_int64(get, 1);
    sqlite3_reset(get);
    return NULL;
}

void tables_accounts_count(const Tables *tables, size_t *ret_users, size_t *ret_groups)
{
    *ret_users = tables->will_users;
    if (ret_groups)
        *ret_groups = tables->will_groups;
}

Error *tables_accounts_mark(Tables *tables)
{
    assert(tables->began);
    tables->mark_users = tables->will_users;
    tables->mark_groups = tables->will_groups;
    return sql_exec(tables->db, "SAVEPOINT accounts");
}

/* Who was touched is computed again: nothing has changed. */
Error *tables_accounts_back(Tables *tables)
{
    sql_reset(&tables->sql);
    tables->will_users = tables->mark_users;
    tables->will_groups = tables->mark_groups;
    tables->will_be_complete = tables->complete;
    return sql_exec(tables->db, "ROLLBACK TO accounts");
}
