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

typedef struct Parsed {
    json_t *root;
    Seen *seen;
    AccountSet *set;
} Parsed;

struct AccountFile {
    char *path;
    Msec look_at;
    struct stat last; /* of what was read last */
    bool looked;      /* 'last' holds */
    char *bad;        /* why the present file is not taken; NULL: it is */
};

/* ---- one file ---- */

static void parsed_done(Parsed *parsed)
{
    Seen *seen = parsed->seen;
    HASH_CLEAR(hh, parsed->seen); /* the table; its members still hold each other */
    while (seen) {
        Seen *next = seen->hh.next;
        free(seen);
        seen = next;
    }
    json_decref(parsed->root);
    account_set_free(&parsed->set);
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

static Error *uuid_check(Parsed *parsed, json_t *item)
{
    const char *uuid = json_string_value(json_object_get(item, "uuid"));
    Seen *seen = NULL;

    HASH_FIND_STR(parsed->seen, uuid, seen);
    if (seen)
        return error_new(ERROR_INVALID, "uuid %s is there twice", uuid);
    seen = xcalloc(1, sizeof *seen);
    seen->uuid = uuid;
    HASH_ADD_KEYPTR(hh, parsed->seen, uuid, strlen(uuid), seen);
    return NULL;
}

static Error *user_take(Parsed *parsed, json_t *item)
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
    if (!err)
        err = uuid_check(parsed, item);
    if (!err)
        account_set_user(parsed->set, &(AccountUser){
                                          .uuid = json_string_value(json_object_get(item, "uuid")),
                                          .name = json_string_value(json_object_get(item, "name")),
                                          .full_name = json_string_value(json_object_get(item, "full_name")),
                                          .enabled = !enabled || json_is_true(enabled),
                                      });
    return err;
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

static void group_say(Parsed *parsed, json_t *item)
{
    AccountGroup group = {
        .uuid = json_string_value(json_object_get(item, "uuid")),
        .name = json_string_value(json_object_get(item, "name")),
    };
    DEFER(xfree) const char **users = names_of(item, "users", &group.n_users);
    DEFER(xfree) const char **groups = names_of(item, "groups", &group.n_groups);

    group.users = users;
    group.groups = groups;
    account_set_group(parsed->set, &group);
}

static Error *group_take(Parsed *parsed, json_t *item)
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
    if (!err)
        err = uuid_check(parsed, item);
    if (!err)
        group_say(parsed, item);
    return err;
}

static Error *list_take(Parsed *parsed, const char *key, Error *(*take)(Parsed *parsed, json_t *item))
{
    json_t *list = json_object_get(parsed->root, key), *item;
    size_t i;

    if (!list)
        return NULL;
    if (!json_is_array(list))
        return error_new(ERROR_INVALID, "%s is no list", key);
    json_array_foreach(list, i, item)
    {
        Error *err = take(parsed, item);
        if (err)
            return error_in(err, "%s[%zu]", key, i);
    }
    return NULL;
}

static Error *parse(Parsed *parsed, Buf *text)
{
    static const char *const known[] = {"users", "groups", NULL};
    json_error_t where;

    parsed->root = json_loadb(buf_text(text), text->size, JSON_REJECT_DUPLICATES, &where);
    if (!parsed->root)
        return error_new(ERROR_INVALID, "line %d: %s", where.line, where.text);
    Error *err = keys_check(parsed->root, known);
    if (!err)
        err = list_take(parsed, "users", user_take);
    return err ? err : list_take(parsed, "groups", group_take);
}

Error *account_set_read(const char *file, AccountSet **ret_set)
{
    DEFER(parsed_done) Parsed parsed = {.set = account_set_new(true)};
    DEFER(buf_done) Buf text = {0};
    const char *slash = strrchr(file, '/');

    Error *err = file_read(file, ACCOUNTS_FILE_MAX, &text);
    if (err)
        return err;
    err = parse(&parsed, &text);
    if (err)
        return error_in(err, "%s", slash ? slash + 1 : file);
    *ret_set = parsed.set;
    parsed.set = NULL;
    return NULL;
}

/* ---- the file as it changes ---- */

AccountFile *account_file_new(const char *path)
{
    AccountFile *file = xcalloc(1, sizeof *file);

    file->path = xstrdup(path);
    return file;
}

void account_file_free(AccountFile **file)
{
    if (!*file)
        return;
    free((*file)->bad);
    free((*file)->path);
    free(*file);
    *file = NULL;
}

static bool same_file(const struct stat *a, const struct stat *b)
{
    return a->st_ino == b->st_ino && a->st_dev == b->st_dev && a->st_size == b->st_size &&
           a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

/* Takes err; NULL: the file is good.  Said once per reason. */
static void judge(AccountFile *file, Error *err)
{
    if (err && (!file->bad || strcmp(file->bad, err->what) != 0))
        log_error("accounts not taken, the known ones stay", kv("why", err->what));
    free(file->bad);
    file->bad = err ? xstrdup(err->what) : NULL;
    error_free(&err);
}

AccountSet *account_file_run(AccountFile *file, Msec now)
{
    AccountSet *set = NULL;
    struct stat st;

    if (now < file->look_at)
        return NULL;
    file->look_at = now + ACCOUNTS_LOOK_MS;
    if (stat(file->path, &st) != 0) {
        file->looked = false; /* gone, or not there yet: what is known stays */
        return NULL;
    }
    if (file->looked && same_file(&st, &file->last))
        return NULL;
    /* Looked at before it is read: a write that comes between is seen the next time. */
    file->last = st;
    file->looked = true;
    judge(file, account_set_read(file->path, &set));
    return set;
}

void account_file_wait(const AccountFile *file, Waiter *wake)
{
    waiter_at(wake, file->look_at);
}

void account_file_again(AccountFile *file)
{
    file->looked = false;
    file->look_at = 0;
}

const char *account_file_bad(const AccountFile *file)
{
    return file->bad;
}
