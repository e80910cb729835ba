#include "store/store_inside.h"

#include "base/crash.h"

#include <assert.h>
#include <string.h>

/* What leads from user_version i to i + 1.  An empty file gets schema.sql, which is the newest. */
static const char *const steps[STORE_SCHEMA] = {
    NULL,
    "CREATE TABLE secret(id INTEGER PRIMARY KEY AUTOINCREMENT, scope TEXT NOT NULL, sealed BLOB NOT NULL)",
};

static Error *number_of(Sql *sql, const char *text, int *ret_number)
{
    DEFER(query_done) Query query = {0};
    bool row = false;

    Error *err = query_text(sql, text, &query);
    if (!err)
        err = query_row(&query, &row);
    if (!err)
        *ret_number = (int)query_number(&query, 0);
    return err;
}

static Error *check_pages(Sql *sql)
{
    DEFER(query_done) Query query = {0};
    bool row = false;

    Error *err = query_text(sql, "PRAGMA quick_check(1)", &query);
    if (!err)
        err = query_row(&query, &row);
    if (err)
        return err;
    const char *words = row ? query_words(&query, 0) : NULL;
    return words && strcmp(words, "ok") == 0 ? NULL : sql_damaged(sql, words ? words : "quick_check says nothing");
}

Error *store_check_file(Store *store, int *ret_version)
{
    Sql *sql = &store->sql;
    int version = 0, n_tables = 0;

    Error *err = number_of(sql, "PRAGMA user_version", &version);
    if (!err)
        err = number_of(sql, "SELECT count(*) FROM sqlite_schema", &n_tables);
    if (err)
        return err;
    if (version > STORE_SCHEMA)
        return error_hint(error_new(ERROR_UNSUPPORTED, "%s has schema %d, this mail-controller knows %d", sql->path,
                                    version, STORE_SCHEMA),
                          "install the newer mail-controller again");
    if (version < 0 || (version == 0) != (n_tables == 0))
        return sql_damaged(sql, "it is no store of a mail-controller");
    *ret_version = version;
    return check_pages(sql);
}

static Error *steps_run(Sql *sql, int version)
{
    Error *err = NULL;

    if (version == 0)
        err = sql_exec(sql, store_schema);
    for (int i = version; !err && version && i < STORE_SCHEMA; i++)
        err = sql_exec(sql, steps[i]);
    if (err)
        return err;
    static_assert(STORE_SCHEMA == 2, "the number in the next line");
    return sql_exec(sql, "PRAGMA user_version=2");
}

Error *store_migrate(Store *store, int version)
{
    Sql *sql = &store->sql;

    if (version == STORE_SCHEMA)
        return NULL;
    Error *err = sql_begin(sql);
    if (err)
        return err;
    err = steps_run(sql, version);
    if (err) {
        sql_rollback(sql);
        return err;
    }
    CRASH_POINT("controller.store.making");
    err = sql_commit(sql);
    if (!err)
        CRASH_POINT("controller.store.made");
    return err;
}
