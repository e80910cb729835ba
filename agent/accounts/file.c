#include "accounts/file.h"

#include "base/alloc.h"
#include "base/log.h"
#include "base/path.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <uthash.h>

typedef struct Seen { /* a UUID that was named already; the text is the set's */
    const char *uuid;
    UT_hash_handle hh;
} Seen;

/* The parsed file is the set: jansson's strings are borrowed by what is handed over. */
struct AccountSet {
    json_t *root;
    size_t n_users, n_groups;
    Seen *seen;
};

struct Accounts {
    char *file;
    Msec look_at;
    struct stat last; /* of what was read last */
    bool looked;      /* 'last' holds */
    AccountSet *set;  /* waits for the tables; NULL: nothing waits */
    size_t n_users, n_groups;
    bool known; /* a whole file was read */
    char *bad;  /* why the present file is not taken; NULL: it is */
    char text[160];
};

/* ---- one file ---- */

void account_set_free(AccountSet **set)
{
    if (!*set)
        return;
    Seen *seen = (*set)->seen;
    HASH_CLEAR(hh, (*set)->seen); /* the table; its members still hold each other */
    while (seen) {
        Seen *next = seen->hh.next;
        free(seen);
        seen = next;
    }
    json_decref((*set)->root);
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

static Error *keys_check(json_t *item, const char *const *known)
{
    const char *key;
    json_t *value;

    if (!json_is_object(item))
        return error_new(ERROR_INVALID, "write an object: {\"uuid\": ..., \"name\": ...}");
    json_object_foreach(item, key, value)
    {
        size_t i = 0;
        while (known[i] && strcmp(known[i], key) != 0)
            i++;
        if (!known[i])
            return error_new(ERROR_INVALID, "key '%s' is not known", key);
    }
    return NULL;
}

static Error *text_check(json_t *item, const char *key, bool required)
{
    json_t *value = json_object_get(item, key);

    if (!value)
        return required ? error_new(ERROR_INVALID, "%s is missing", key) : NULL;
    if (!json_is_string(value))
        return error_new(ERROR_INVALID, "%s is no text", key);
    if (required && !*json_string_value(value))
        return error_new(ERROR_INVALID, "%s is empty", key);
    return NULL;
}

static Error *names_check(json_t *item, const char *key)
{
    json_t *list = json_object_get(item, key), *name;
    size_t i;

    if (!list)
        return NULL;
    if (!json_is_array(list))
        return error_new(ERROR_INVALID, "%s is no list", key);
    json_array_foreach(list, i, name)
    {
        if (!json_is_string(name) || !*json_string_value(name))
            return error_new(ERROR_INVALID, "%s[%zu] is no name", key, i);
    }
    return NULL;
}

static Error *uuid_check(AccountSet *set, json_t *item)
{
    const char *uuid = json_string_value(json_object_get(item, "uuid"));
    Seen *seen = NULL;

    HASH_FIND_STR(set->seen, uuid, seen);
    if (seen)
        return error_new(ERROR_INVALID, "uuid %s is there twice", uuid);
    seen = xcalloc(1, sizeof *seen);
    seen->uuid = uuid;
    HASH_ADD_KEYPTR(hh, set->seen, uuid, strlen(uuid), seen);
    return NULL;
}

static Error *user_check(AccountSet *set, json_t *item)
{
    static const char *const known[] = {"uuid", "name", "full_name", "enabled", NULL};
    json_t *enabled = json_object_get(item, "enabled");

    Error *err = keys_check(item, known);
    if (!err)
        err = text_check(item, "uuid", true);
    if (!err)
        err = text_check(item, "name", true);
    if (!err)
        err = text_check(item, "full_name", false);
    if (!err && enabled && !json_is_boolean(enabled))
        err = error_new(ERROR_INVALID, "enabled is neither true nor false");
    return err ? err : uuid_check(set, item);
}

static Error *group_check(AccountSet *set, json_t *item)
{
    static const char *const known[] = {"uuid", "name", "users", "groups", NULL};

    Error *err = keys_check(item, known);
    if (!err)
        err = text_check(item, "uuid", true);
    if (!err)
        err = text_check(item, "name", true);
    if (!err)
        err = names_check(item, "users");
    if (!err)
        err = names_check(item, "groups");
    return err ? err : uuid_check(set, item);
}

static Error *list_check(AccountSet *set, const char *key, Error *(*check)(AccountSet *set, json_t *item),
                         size_t *ret_n)
{
    json_t *list = json_object_get(set->root, key), *item;
    size_t i;

    if (!list)
        return NULL;
    if (!json_is_array(list))
        return error_new(ERROR_INVALID, "%s is no list", key);
    json_array_foreach(list, i, item)
    {
        Error *err = check(set, item);
        if (err)
            return error_in(err, "%s[%zu]", key, i);
    }
    *ret_n = json_array_size(list);
    return NULL;
}

static Error *set_parse(AccountSet *set, Buf *text)
{
    static const char *const known[] = {"users", "groups", NULL};
    json_error_t where;

    set->root = json_loadb(buf_text(text), text->size, JSON_REJECT_DUPLICATES, &where);
    if (!set->root)
        return error_new(ERROR_INVALID, "line %d: %s", where.line, where.text);
    Error *err = keys_check(set->root, known);
    if (!err)
        err = list_check(set, "users", user_check, &set->n_users);
    if (!err)
        err = list_check(set, "groups", group_check, &set->n_groups);
    return err;
}

Error *account_set_read(const char *file, AccountSet **ret_set)
{
    DEFER(account_set_free) AccountSet *set = xcalloc(1, sizeof *set);
    DEFER(buf_done) Buf text = {0};
    const char *slash = strrchr(file, '/');

    Error *err = file_read(file, ACCOUNTS_FILE_MAX, &text);
    if (err)
        return err;
    err = set_parse(set, &text);
    if (err)
        return error_in(err, "%s", slash ? slash + 1 : file);
    *ret_set = set;
    set = NULL;
    return NULL;
}

/* ---- the file as it changes ---- */

Accounts *accounts_new(const char *file)
{
    Accounts *accounts = xcalloc(1, sizeof *accounts);

    accounts->file = file ? xstrdup(file) : NULL;
    return accounts;
}

void accounts_free(Accounts **accounts)
{
    if (!*accounts)
        return;
    account_set_free(&(*accounts)->set);
    free((*accounts)->bad);
    free((*accounts)->file);
    free(*accounts);
    *accounts = NULL;
}

static bool same_file(const struct stat *a, const struct stat *b)
{
    return a->st_ino == b->st_ino && a->st_dev == b->st_dev && a->st_size == b->st_size &&
           a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

/* Takes err; NULL: the file is good.  Said once per reason. */
static void judge(Accounts *accounts, Error *err)
{
    if (err && (!accounts->bad || strcmp(accounts->bad, err->what) != 0))
        log_error("accounts not taken, the known ones stay", kv("why", err->what));
    free(accounts->bad);
    accounts->bad = err ? xstrdup(err->what) : NULL;
    error_free(&err);
}

void accounts_run(Accounts *accounts, Msec now)
{
    AccountSet *set = NULL;
    struct stat st;

    if (!accounts->file || now < accounts->look_at)
        return;
    accounts->look_at = now + ACCOUNTS_LOOK_MS;
    if (stat(accounts->file, &st) != 0) {
        accounts->looked = false; /* gone, or not there yet: what is known stays */
        return;
    }
    if (accounts->looked && same_file(&st, &accounts->last))
        return;
    /* Looked at before it is read: a write that comes between is seen the next time. */
    accounts->last = st;
    accounts->looked = true;
    Error *err = account_set_read(accounts->file, &set);
    if (!err) {
        account_set_free(&accounts->set);
        accounts->set = set;
    }
    judge(accounts, err);
}

void accounts_wait(const Accounts *accounts, Waiter *wake)
{
    if (accounts->file)
        waiter_at(wake, accounts->look_at);
}

bool accounts_pending(const Accounts *accounts)
{
    return accounts->set != NULL;
}

static Error *user_write(Tables *tables, json_t *item)
{
    json_t *enabled = json_object_get(item, "enabled");

    return tables_account_user(tables, &(AccountUser){
                                           .uuid = json_string_value(json_object_get(item, "uuid")),
                                           .name = json_string_value(json_object_get(item, "name")),
                                           .full_name = json_string_value(json_object_get(item, "full_name")),
                                           .enabled = !enabled || json_is_true(enabled),
                                       });
}

static const char **names_of(json_t *item, const char *key, size_t *ret_n)
{
    json_t *list = json_object_get(item, key), *name;
    size_t i;

    *ret_n = json_array_size(list);
    const char **names = xcalloc(*ret_n + 1, sizeof *names);
    json_array_foreach(list, i, name)
    {
        names[i] = json_string_value(name);
    }
    return names;
}

static Error *group_write(Tables *tables, json_t *item)
{
    AccountGroup group = {
        .uuid = json_string_value(json_object_get(item, "uuid")),
        .name = json_string_value(json_object_get(item, "name")),
    };
    DEFER(xfree) const char **users = names_of(item, "users", &group.n_users);
    DEFER(xfree) const char **groups = names_of(item, "groups", &group.n_groups);

    group.users = users;
    group.groups = groups;
    return tables_account_group(tables, &group);
}

Error *accounts_write(const Accounts *accounts, Tables *tables)
{
    json_t *item;
    size_t i;

    if (!accounts->set)
        return NULL;
    Error *err = tables_accounts_begin(tables);
    json_array_foreach(json_object_get(accounts->set->root, "users"), i, item)
    {
        if (!err)
            err = user_write(tables, item);
    }
    json_array_foreach(json_object_get(accounts->set->root, "groups"), i, item)
    {
        if (!err)
            err = group_write(tables, item);
    }
    if (!err)
        err = tables_accounts_end(tables);
    return error_in(err, "accounts");
}

void accounts_written(Accounts *accounts)
{
    if (!accounts->set)
        return;
    accounts->n_users = accounts->set->n_users;
    accounts->n_groups = accounts->set->n_groups;
    accounts->known = true;
    account_set_free(&accounts->set);
    log_info("accounts taken", kv("users", accounts->n_users), kv("groups", accounts->n_groups));
}

void accounts_again(Accounts *accounts)
{
    accounts->looked = false;
    accounts->look_at = 0;
}

Mail__FactState accounts_state(Accounts *accounts, const char **ret_text)
{
    if (accounts->bad)
        snprintf(accounts->text, sizeof accounts->text, "%s", accounts->bad);
    else if (accounts->known)
        snprintf(accounts->text, sizeof accounts->text, "%zu users, %zu groups", accounts->n_users, accounts->n_groups);
    else
        snprintf(accounts->text, sizeof accounts->text, "none have come yet: mail for users is deferred");
    *ret_text = accounts->text;
    if (accounts->bad)
        return MAIL__FACT_STATE__BAD;
    return accounts->known ? MAIL__FACT_STATE__GOOD : MAIL__FACT_STATE__UNKNOWN;
}
