/* fixture.h - a store in a folder of its own, and small objects to put into it */
#pragma once
#include "store/store.h"

#include "base/alloc.h"
#include "base/buf.h"

#include <dirent.h>
#include <inttypes.h>
#include <setjmp.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "expect.h"

static char folder[64], path[96];
static Store *store;

static inline int setup(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/unit-store-XXXXXX");
    if (!mkdtemp(folder))
        return -1;
    snprintf(path, sizeof path, "%s/store.db", folder);
    ok(store_open(path, &store));
    return 0;
}

static inline int teardown(void **state)
{
    (void)state;
    store_free(&store);
    return folder_remove(folder);
}

static inline void reopen(void)
{
    store_free(&store);
    ok(store_open(path, &store));
}

/* Past the store, which is closed meanwhile. */
static inline int64_t raw(const char *sql)
{
    sqlite3 *db = NULL;
    sqlite3_stmt *stmt = NULL;
    int64_t number = 0;

    store_free(&store);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    if (sqlite3_prepare_v2(db, sql, -1, &stmt, NULL) != SQLITE_OK)
        fail_msg("%s: %s", sql, sqlite3_errmsg(db));
    if (sqlite3_step(stmt) == SQLITE_ROW)
        number = sqlite3_column_int64(stmt, 0);
    if (sqlite3_finalize(stmt) != SQLITE_OK)
        fail_msg("%s: %s", sql, sqlite3_errmsg(db));
    sqlite3_close(db);
    ok(store_open(path, &store));
    return number;
}

/* ---- objects ---- */

static inline char *copy(const char *text)
{
    return text ? xstrdup(text) : NULL;
}

static inline Object *address(const char *instance, const char *name, const char *to)
{
    Object *object = object_new(MAIL__OBJECT__BODY_ADDRESS, instance, name);
    object->address->to = xmalloc(sizeof(char *));
    object->address->to[0] = xstrdup(to);
    object->address->n_to = 1;
    return object;
}

static inline Object *domain(const char *instance, const char *name, const char *description)
{
    Object *object = object_new(MAIL__OBJECT__BODY_DOMAIN, instance, name);
    object->domain->description = copy(description);
    return object;
}

static inline Object *policy(const char *instance, uint64_t quota)
{
    Object *object = object_new(MAIL__OBJECT__BODY_POLICY, instance, NULL);
    object->policy->has_default_quota = true;
    object->policy->default_quota = quota;
    return object;
}

static inline Object *machine(const char *name, const char *description)
{
    Object *object = object_new(MAIL__OBJECT__BODY_NODE, NULL, name);
    object->node->description = copy(description);
    return object;
}

static inline Object *user_domain(const char *name, const char *node, const char *replica)
{
    Object *object = object_new(MAIL__OBJECT__BODY_USER_DOMAIN, NULL, name);
    object->user_domain->node = copy(node);
    if (replica) {
        object->user_domain->replicas = xmalloc(sizeof(char *));
        object->user_domain->replicas[0] = xstrdup(replica);
        object->user_domain->n_replicas = 1;
    }
    return object;
}

static inline Object *instance(const char *name, const char *node, const char *users)
{
    Object *object = object_new(MAIL__OBJECT__BODY_INSTANCE, NULL, name);
    object->instance->node = copy(node);
    object->instance->user_domain = copy(users);
    return object;
}

/* ---- changes ---- */

static const Author author = {.who = "root"};

static inline void put(Object *object)
{
    Error *err = store_put(store, object);
    object_free(&object);
    ok(err);
}

static inline ObjectRef ref_of(Kind kind, const char *in, const char *name)
{
    return (ObjectRef){kind, in, name};
}

static inline ObjectRef the_address(const char *name)
{
    return ref_of(MAIL__OBJECT__BODY_ADDRESS, "main", name);
}

static inline void drop(ObjectRef ref)
{
    ok(store_remove(store, &ref));
}

static inline void begin(void)
{
    ok(store_begin(store));
    ok(change_begin(store));
}

static inline uint64_t end(void)
{
    uint64_t revision = UINT64_MAX;
    ok(change_end(store, &author, &revision));
    ok(store_commit(store));
    return revision;
}

static inline uint64_t put_alone(Object *object)
{
    begin();
    put(object);
    return end();
}

static inline uint64_t drop_alone(ObjectRef ref)
{
    begin();
    drop(ref);
    return end();
}

/* ---- what is there, as text ---- */

static inline Error *add_line(void *context, const ObjectRef *ref, const void *bytes, size_t size)
{
    Object *object = NULL;
    Buf *out = context;

    ok(object_unpack(bytes, size, &object));
    ObjectRef inside = object_ref(object);
    if (ref->kind != inside.kind || strcmp(ref->instance, inside.instance) != 0 || strcmp(ref->name, inside.name) != 0)
        fail_msg("row %s/%s has the octets of %s/%s", ref->instance, ref->name, inside.instance, inside.name);
    buf_printf(out, "%s%s", out->size ? " " : "", kind_info(ref->kind)->name);
    if (*ref->instance)
        buf_printf(out, "/%s", ref->instance);
    if (*ref->name)
        buf_printf(out, "/%s", ref->name);
    if (ref->kind == MAIL__OBJECT__BODY_ADDRESS)
        buf_printf(out, "=%s", object->address->to[0]);
    object_free(&object);
    return NULL;
}

static inline void lists(const StoreFilter *filter, const char *wanted)
{
    DEFER(buf_done) Buf out = {0};
    ok(store_each(store, filter, add_line, &out));
    assert_string_equal(buf_text(&out), wanted);
}
