/* What the tables and mail-engine are shown of node.db. */
#include "journal_inside.h"

#include "base/alloc.h"
#include "base/crash.h"
#include "model/meta.h"

#include <stdlib.h>
#include <string.h>

Error *journal_touched(Journal *journal, uint64_t applied, bool *ret_all,
                       Error *(*each)(void *context, const ObjectRef *ref), void *context)
{
    const JournalState *state = &journal->saved;
    sqlite3_stmt *get = journal->sql.touched;
    bool row = false;

    *ret_all =
        journal->settled ? applied != state->wanted.revision : state->touch_all || applied < state->touched_since;
    if (*ret_all || journal->settled)
        return NULL;
    Error *err = db_row(get, &row);
    while (!err && row) {
        ObjectRef ref = {
            .kind = (Kind)sqlite3_column_int(get, 0),
            .instance = (const char *)sqlite3_column_text(get, 1),
            .name = (const char *)sqlite3_column_text(get, 2),
        };
        err = each(context, &ref);
        if (!err)
            err = db_row(get, &row);
    }
    sqlite3_reset(get);
    return journal_failed(journal, err);
}

uint64_t journal_stood(const Journal *journal)
{
    return journal->saved.touched_since;
}

typedef struct ObjectEach {
    Error *(*each)(void *context, const Object *object);
    void *context;
    bool *theirs; /* set when an error came from 'each': damage of mail.db is none of node.db */
} ObjectEach;

static Error *hand_over(const ObjectEach *to, const Object *object)
{
    Error *err = to->each(to->context, object);

    *to->theirs = err != NULL;
    return err;
}

static Error *unpacked(void *context, const void *bytes, size_t size)
{
    const ObjectEach *to = context;
    DEFER(object_free) Object *object = NULL;

    Error *err = object_unpack(bytes, size, &object);
    return err ? err : hand_over(to, object);
}

static Error *view_get(void *self, const ObjectRef *ref, Object **ret_object)
{
    Journal *journal = self;
    sqlite3_stmt *get = journal->sql.get;
    Object *object = NULL;
    bool row = false;

    journal_bind(get, ref);
    Error *err = db_row(get, &row);
    if (!err && row)
        err = object_unpack(sqlite3_column_blob(get, 0), (size_t)sqlite3_column_bytes(get, 0), &object);
    sqlite3_reset(get);
    if (!err)
        *ret_object = object;
    return journal_failed(journal, err);
}

static Error *view_one(Journal *journal, const ObjectRef *ref, ObjectEach *to)
{
    DEFER(object_free) Object *object = NULL;

    Error *err = view_get(journal, ref, &object);
    return err || !object ? err : hand_over(to, object);
}

typedef struct NamedEach {
    ObjectEach to;
    const char *name;
} NamedEach;

static Error *named(void *context, const Object *object)
{
    NamedEach *filter = context;
    ObjectRef ref = object_ref(object);

    return strcmp(ref.name ? ref.name : "", filter->name) == 0 ? filter->to.each(filter->to.context, object) : NULL;
}

static Error *view_each(void *self, Kind kind, const char *instance, const char *name,
                        Error *(*each)(void *context, const Object *object), void *context)
{
    Journal *journal = self;
    bool theirs = false;
    ObjectEach to = {each, context, &theirs};
    NamedEach filter = {to, name};
    Error *err = NULL;

    if (name && (instance || !kind_info(kind)->meta->in_instance))
        return view_one(journal, &(ObjectRef){kind, instance, name}, &to);
    if (name)
        to = (ObjectEach){named, &filter, &theirs};
    if (instance)
        err = journal_rows(journal, journal->sql.of_instance, kind, instance, unpacked, &to);
    else
        err = journal_rows(journal, journal->sql.of_kind, kind, NULL, unpacked, &to);
    return theirs ? err : journal_failed(journal, err);
}

/* ---- one moment ---- */

Error *journal_read_begin(Journal *journal)
{
    return journal_failed(journal, db_exec(journal->db, "BEGIN"));
}

void journal_read_end(Journal *journal)
{
    if (journal->db && !sqlite3_get_autocommit(journal->db)) /* one that was begun anew has none */
        sqlite3_exec(journal->db, "COMMIT", NULL, NULL, NULL);
}

/* ---- whose a mailbox is ---- */

Error *journal_owner(Journal *journal, const char *name, char **ret_uuid)
{
    sqlite3_stmt *get = journal->sql.owner;
    bool row = false;

    *ret_uuid = NULL;
    db_bind_text(get, 1, name);
    Error *err = db_row(get, &row);
    if (!err && row)
        *ret_uuid = xstrdup((const char *)sqlite3_column_text(get, 0));
    sqlite3_reset(get);
    return journal_failed(journal, err);
}

Error *journal_own_begin(Journal *journal)
{
    return journal_failed(journal, db_exec(journal->db, "BEGIN IMMEDIATE"));
}

Error *journal_own(Journal *journal, const char *name, const char *uuid)
{
    db_bind_text(journal->sql.own, 1, name);
    db_bind_text(journal->sql.own, 2, uuid);
    return journal_failed(journal, db_run(journal->sql.own));
}

Error *journal_own_end(Journal *journal, Error *err)
{
    CRASH_POINT("agent.owners.writing");
    if (!err)
        err = journal_failed(journal, db_exec(journal->db, "COMMIT"));
    if (err && !sqlite3_get_autocommit(journal->db))
        sqlite3_exec(journal->db, "ROLLBACK", NULL, NULL, NULL);
    return err;
}

static Error *view_owner(void *self, const char *name, char **ret_uuid)
{
    return journal_owner(self, name, ret_uuid);
}

TablesView journal_view(Journal *journal, const char *instance)
{
    return (TablesView){
        .self = journal,
        .instance = instance,
        .objects = {.self = journal, .get = view_get, .each = view_each},
        .owner = view_owner,
    };
}

typedef struct PlacedHere {
    const char *node;
    char *instance;
} PlacedHere;

static Error *placed_here(void *context, const Object *object)
{
    PlacedHere *search = context;

    if (!search->instance && object->instance->node && strcmp(object->instance->node, search->node) == 0)
        search->instance = xstrdup(object->name ? object->name : "");
    return NULL;
}

Error *journal_instance(Journal *journal, const char *node, char **ret_instance)
{
    PlacedHere search = {.node = node};

    Error *err = view_each(journal, MAIL__OBJECT__BODY_INSTANCE, NULL, NULL, placed_here, &search);
    if (err) {
        free(search.instance);
        return err;
    }
    *ret_instance = search.instance;
    return NULL;
}

typedef struct ConfigEach {
    Error *(*each)(void *context, const void *bytes, size_t size);
    void *context;
    Digest sum;
} ConfigEach;

static Error *config_one(void *context, const void *bytes, size_t size)
{
    ConfigEach *to = context;

    Error *err = journal_sum(&to->sum, bytes, size);
    return err || !to->each ? err : to->each(to->context, bytes, size);
}

Error *journal_config_each(Journal *journal, Error *(*each)(void *context, const void *bytes, size_t size),
                           void *context, Digest *ret_digest)
{
    ConfigEach to = {.each = each, .context = context};
    Error *err = NULL;

    for (size_t i = 0; !err && i < n_kinds; i++)
        if (kind_info(kinds[i])->meta->class_ == MAIL__CLASS__CONFIG)
            err = journal_rows(journal, journal->sql.of_kind, kinds[i], NULL, config_one, &to);
    if (!err)
        *ret_digest = to.sum;
    return journal_failed(journal, err);
}
