#include "tables/ask.h"

#include "base/alloc.h"
#include "tables/inside.h"
#include "tables/target.h"

#include <string.h>

/* All rows of a statement that was started: one must not be left in the middle of it, or the WAL is never cut. */
static Error *rows_each(Tables *tables, sqlite3_stmt *get, Error *(*row)(void *context, sqlite3_stmt *get),
                        void *context)
{
    bool got = false;
    Error *err = sql_row(&tables->sql, get, &got);

    while (!err && got) {
        err = row(context, get);
        if (!err)
            err = sql_row(&tables->sql, get, &got);
    }
    if (err)
        sqlite3_reset(get);
    return err;
}

static int64_t limit_of(uint64_t limit)
{
    return limit && limit < INT64_MAX ? (int64_t)limit : -1;
}

/* ---- people ---- */

typedef struct PersonEach {
    Error *(*each)(void *context, const Person *person);
    void *context;
} PersonEach;

static Error *person_row(void *context, sqlite3_stmt *get)
{
    const PersonEach *to = context;
    Person person = {sql_column(get, 0), sql_column(get, 1), sqlite3_column_int(get, 2) != 0};

    return to->each(to->context, &person);
}

Error *tables_people(Tables *tables, const char *name, Error *(*each)(void *context, const Person *person),
                     void *context)
{
    PersonEach to = {each, context};
    sqlite3_stmt *get = NULL;

    Error *err =
        name ? sql_start(&tables->sql, SQL_PERSON, &get, "t", name) : sql_start(&tables->sql, SQL_PEOPLE, &get, "");
    return err ? err : rows_each(tables, get, person_row, &to);
}

/* ---- senders ---- */

Error *tables_may_send(Tables *tables, const char *name, MaySend *ret_may)
{
    sqlite3_stmt *get = NULL;
    bool got = false;

    Error *err = sql_start(&tables->sql, SQL_MAY_SEND, &get, "t", name);
    if (!err)
        err = sql_row(&tables->sql, get, &got);
    if (err)
        return err;
    const char *action = got ? sql_column(get, 1) : NULL;
    if (!got || sqlite3_column_type(get, 0) == SQLITE_NULL)
        *ret_may = SEND_NOBODY;
    else if (action)
        *ret_may = strcmp(action, "DUNNO") == 0 ? SEND_EXEMPT : SEND_CLOSED;
    else
        *ret_may = sql_column(get, 2) ? SEND_LISTED : SEND_ANY;
    if (got)
        sqlite3_reset(get);
    return NULL;
}

typedef struct SenderEach {
    Error *(*each)(void *context, const char *address);
    void *context;
} SenderEach;

static Error *sender_row(void *context, sqlite3_stmt *get)
{
    const SenderEach *to = context;

    return to->each(to->context, sql_column(get, 0));
}

Error *tables_senders(Tables *tables, const char *name, const char *after, uint64_t limit,
                      Error *(*each)(void *context, const char *address), void *context)
{
    SenderEach to = {each, context};
    sqlite3_stmt *get = NULL;

    Error *err = sql_start(&tables->sql, SQL_SENDERS, &get, "tti", name, after ? after : "", limit_of(limit));
    return err ? err : rows_each(tables, get, sender_row, &to);
}

/* ---- orphans ---- */

typedef struct OrphanEach {
    Error *(*each)(void *context, const char *address, const char *missing);
    void *context;
} OrphanEach;

static Error *orphan_row(void *context, sqlite3_stmt *get)
{
    const OrphanEach *to = context;

    return to->each(to->context, sql_column(get, 0), sql_column(get, 1));
}

Error *tables_orphans(Tables *tables, const char *prefix, const char *after, uint64_t limit,
                      Error *(*each)(void *context, const char *address, const char *missing), void *context)
{
    OrphanEach to = {each, context};
    sqlite3_stmt *get = NULL;

    Error *err =
        sql_start(&tables->sql, SQL_ORPHANS, &get, "tti", prefix ? prefix : "", after ? after : "", limit_of(limit));
    return err ? err : rows_each(tables, get, orphan_row, &to);
}

/* ---- names ---- */

Error *tables_named(Tables *tables, const char *name, bool *ret_named)
{
    DEFER(xfree) char *folded = name_fold(name);
    sqlite3_stmt *get = NULL;
    bool named = false;

    Error *err = sql_start(&tables->sql, SQL_NAMED, &get, "t", folded);
    if (!err)
        err = sql_row(&tables->sql, get, &named);
    if (err)
        return err;
    sqlite3_reset(get);
    *ret_named = named;
    return NULL;
}

/* ---- the policy ---- */

Error *tables_default_quota(Tables *tables, uint64_t *ret_quota)
{
    int64_t quota = 0;

    Error *err = sql_number(tables->db, "SELECT quota FROM policy", &quota);
    if (!err)
        *ret_quota = (uint64_t)quota;
    return err;
}
