#include "tables/mail_db.h"

#include "base/alloc.h"
#include "base/crash.h"
#include "tables/compute.h"
#include "tables/inside.h"
#include "tables/target.h"

#include <assert.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { MANY_ROWS = 5000 }; /* after so many, the WAL and what malloc keeps are given back */

/* ---- opening ---- */

static Error *state_read(Tables *tables)
{
    sqlite3_stmt *get = NULL;
    bool got = false;

    Error *err = sql_start(&tables->sql, SQL_STATE, &get, "");
    if (!err)
        err = sql_row(&tables->sql, get, &got);
    if (err)
        return err;
    if (!got || !digest_from(sqlite3_column_blob(get, 1), (size_t)sqlite3_column_bytes(get, 1), &tables->digest))
        return error_new(ERROR_DAMAGED, "mail.db: its state is missing");
    tables->revision = (uint64_t)sqlite3_column_int64(get, 0);
    tables->instance = sql_column(get, 2) ? xstrdup(sql_column(get, 2)) : NULL;
    tables->complete = sqlite3_column_int(get, 3) != 0;
    tables->away = sqlite3_column_int(get, 4) != 0;
    sqlite3_reset(get);
    return NULL;
}

static Error *gone_read(Tables *tables)
{
    sqlite3_stmt *get = NULL;
    bool got = false;

    Error *err = sql_start(&tables->sql, SQL_NEXT_EXPIRY, &get, "");
    if (!err)
        err = sql_row(&tables->sql, get, &got);
    if (err)
        return err;
    tables->gone_first = got ? sqlite3_column_int64(get, 0) : 0;
    sqlite3_reset(get);
    return NULL;
}

Error *tables_open(const char *folder, gid_t gid, Tables **ret_tables, bool *ret_rebuilt)
{
    DEFER(tables_free) Tables *tables = xcalloc(1, sizeof *tables);
    bool rebuilt = false;

    tables->path = xasprintf("%s/mail.db", folder);
    Error *err = file_open(&file_mail_db, tables->path, gid, &tables->db, &tables->ids, &rebuilt);
    if (err)
        return err;
    tables->sql.db = tables->writer.db = tables->db;
    err = state_read(tables);
    if (!err)
        err = gone_read(tables);
    if (!err)
        err = accounts_read(tables);
    if (err)
        return err;
    *ret_rebuilt = rebuilt;
    *ret_tables = tables;
    tables = NULL;
    return NULL;
}

void tables_free(Tables **tables)
{
    Tables *t = *tables;

    if (!t)
        return;
    sql_done(&t->sql);
    row_writer_done(&t->writer);
    sqlite3_close_v2(t->reader); /* the writer is the last: it may still move the WAL into the database */
    sqlite3_close_v2(t->db);
    touched_done(&t->touched);
    names_done(&t->changed);
    names_done(&t->unowned);
    names_done(&t->strangers);
    names_done(&t->left);
    free(t->changed_list);
    free(t->left_list);
    free(t->seen);
    free(t->instance);
    free(t->path);
    free(t);
    *tables = NULL;
}

/* ---- what is committed ---- */

static Error *applied_read(Tables *tables, uint64_t *ret_revision, Digest *ret_digest)
{
    sqlite3_stmt *get = NULL;
    Error *err = NULL;

    if (!tables->reader)
        err = file_open_reader(tables->path, &tables->reader);
    if (err)
        return err;
    if (sqlite3_prepare_v2(tables->reader, "SELECT revision, digest FROM state", -1, &get, NULL) != SQLITE_OK)
        return sql_error(tables->reader, "mail.db");
    int code = sqlite3_step(get);
    uint64_t revision = code == SQLITE_ROW ? (uint64_t)sqlite3_column_int64(get, 0) : 0;
    if (code != SQLITE_ROW && code != SQLITE_DONE)
        err = sql_error(tables->reader, "mail.db");
    else if (code == SQLITE_DONE ||
             !digest_from(sqlite3_column_blob(get, 1), (size_t)sqlite3_column_bytes(get, 1), ret_digest))
        err = error_new(ERROR_DAMAGED, "mail.db: its state is missing");
    else
        *ret_revision = revision;
    sqlite3_finalize(get);
    return err;
}

Error *tables_applied(Tables *tables, uint64_t *ret_revision, Digest *ret_digest)
{
    uint64_t revision = 0;
    Digest digest = {{0}};

    Error *err = file_check(tables->path, &tables->ids);
    if (!err)
        err = applied_read(tables, &revision, &digest);
    if (err)
        return err;
    *ret_revision = revision;
    *ret_digest = digest;
    return NULL;
}

uint64_t tables_rows(const Tables *tables)
{
    return tables->n_rows;
}

bool tables_due(const Tables *tables)
{
    int64_t now = (int64_t)time(NULL);

    /* A clock that was set back shall not put anybody off for longer, either. */
    return tables->gone_first && (tables->gone_first <= now - GONE_S || tables->gone_first > now + GONE_S);
}

/* ---- one commit ---- */

static void nothing_pending(Tables *tables)
{
    touched_done(&tables->touched);
    tables->will_be_complete = tables->complete;
    tables->will_be_away = tables->away;
    tables->will_users = tables->n_users;
    tables->will_groups = tables->n_groups;
}

Error *tables_begin(Tables *tables)
{
    tables_abort(tables);
    names_done(&tables->changed);
    names_done(&tables->unowned);
    names_done(&tables->strangers);
    names_done(&tables->left);
    xfree(&tables->changed_list);
    xfree(&tables->left_list);
    tables->all_left = tables->public_changed = false;
    Error *err = sql_exec(tables->db, "BEGIN IMMEDIATE");
    tables->began = !err;
    return err;
}

void tables_abort(Tables *tables)
{
    sql_reset(&tables->sql);
    row_writer_reset(&tables->writer);
    if (!sqlite3_get_autocommit(tables->db)) /* some errors have rolled back already */
        sqlite3_exec(tables->db, "ROLLBACK", NULL, NULL, NULL);
    tables->began = false;
    nothing_pending(tables);
}

Error *tables_touch(Tables *tables, const ObjectRef *ref)
{
    DEFER(xfree) char *name = name_fold(ref->name ? ref->name : "");

    assert(tables->began);
    switch ((int)ref->kind) {
    case MAIL__OBJECT__BODY_DOMAIN:
        compute_touch(&tables->touched, 'd', name);
        break;
    case MAIL__OBJECT__BODY_ADDRESS:
        compute_touch(&tables->touched, 'a', name);
        break;
    case MAIL__OBJECT__BODY_MAILBOX:
        touched_add(&tables->touched, TOUCHED_USERS, name);
        break;
    case MAIL__OBJECT__BODY_PUBLIC_MAILBOX: /* its case counts */
        touched_add(&tables->touched, TOUCHED_PUBLIC, ref->name ? ref->name : "");
        break;
    case MAIL__OBJECT__BODY_RELAY_CLIENT:
        compute_touch(&tables->touched, 'c', name);
        break;
    case MAIL__OBJECT__BODY_POLICY:
        tables->touched.policy = true;
        break;
    default: /* no rows */
        break;
    }
    return NULL;
}

Error *tables_touch_all(Tables *tables)
{
    assert(tables->began);
    tables->touched.all = true;
    return NULL;
}

Error *tables_directory_away(Tables *tables, bool away)
{
    assert(tables->began);
    tables->will_be_away = away;
    return NULL;
}

Error *tables_full_differs(Tables *tables, const char *name, uint64_t bytes, bool *ret_differs)
{
    int64_t n = bytes < INT64_MAX ? (int64_t)bytes : INT64_MAX;
    sqlite3_stmt *get = NULL;
    bool got = false;

    Error *err = sql_start(&tables->sql, SQL_FULL_DIFFERS, &get, "ti", name, n);
    if (!err)
        err = sql_row(&tables->sql, get, &got);
    if (err)
        return err;
    sqlite3_reset(get);
    *ret_differs = got;
    return NULL;
}

const char *const *tables_changed_users(const Tables *tables, size_t *ret_n)
{
    *ret_n = names_count(&tables->changed);
    return tables->changed_list;
}

static void owners_tell(const Names *names, bool stranger, void (*each)(void *context, const MailboxOwner *owner),
                        void *context)
{
    for (const Name *name = names->first; name; name = name->hh.next) {
        const char *end = strchr(name->text, '\n');
        DEFER(xfree) char *user = xstrndup(name->text, (size_t)(end - name->text));
        each(context, &(MailboxOwner){user, end + 1, stranger});
    }
}

void tables_owners(const Tables *tables, void (*each)(void *context, const MailboxOwner *owner), void *context)
{
    owners_tell(&tables->unowned, false, each, context);
    owners_tell(&tables->strangers, true, each, context);
}

const char *const *tables_left_users(const Tables *tables, size_t *ret_n, bool *ret_all)
{
    *ret_n = names_count(&tables->left);
    *ret_all = tables->all_left || *ret_n >= TABLES_CHANGED_MAX;
    return tables->left_list;
}

bool tables_public_changed(const Tables *tables)
{
    return tables->public_changed;
}

static Compute compute_new(Tables *tables, const TablesView *view)
{
    return (Compute){
        .sql = &tables->sql,
        .writer = &tables->writer,
        .view = view,
        .touched = &tables->touched,
        .unowned = &tables->unowned,
        .strangers = &tables->strangers,
        .groups = {.sql = &tables->sql},
        .complete = tables->will_be_complete,
        .away = tables->will_be_away,
    };
}

/* What the policy says of everybody has changed: one more than are told by name. */
static Error *add_all_users(Tables *tables)
{
    sqlite3_stmt *get = NULL;
    bool got = false;

    Error *err = sql_start(&tables->sql, SQL_USERDB_NAMES, &get, "i", (int64_t)TABLES_CHANGED_MAX);
    while (!err && !(err = sql_row(&tables->sql, get, &got)) && got)
        names_add(&tables->changed, sql_column(get, 0));
    return err;
}

static const char **list_of(const Names *names)
{
    const char **list = xcalloc(names_count(names) + 1, sizeof *list);
    size_t n = 0;

    for (const Name *name = names->first; name; name = name->hh.next)
        list[n++] = name->text;
    return list;
}

static bool same_instance(const Tables *tables, const TablesView *view)
{
    return tables->instance && view->instance ? strcmp(tables->instance, view->instance) == 0
                                              : !tables->instance && !view->instance;
}

static Error *compute_all(Tables *tables, Compute *compute)
{
    compute->settle.users = &tables->changed;
    compute->settle.users_max = TABLES_CHANGED_MAX;
    compute->settle.left = &tables->left;
    Error *err = compute_run(compute);
    if (!err && compute->all_users_differ)
        err = add_all_users(tables);
    tables->all_left = tables->all_left || compute->settle.all_left;
    tables->public_changed = tables->public_changed || compute->settle.public;
    return err;
}

static Error *end(Tables *tables, const TablesView *view, uint64_t revision, const Digest *digest)
{
    Error *err = sql_run(&tables->sql, SQL_STATE_SET, "idtii", (int64_t)revision, digest, view->instance,
                         (int64_t)tables->will_be_complete, (int64_t)tables->will_be_away);
    if (!err)
        err = gone_read(tables);
    if (err)
        return err;
    CRASH_POINT("agent.tables.committing");
    return sql_exec(tables->db, "COMMIT");
}

static void committed(Tables *tables, const TablesView *view, uint64_t revision, const Digest *digest, size_t n_rows)
{
    char *instance = view->instance ? xstrdup(view->instance) : NULL;

    free(tables->instance);
    tables->instance = instance;
    tables->revision = revision;
    tables->digest = *digest;
    tables->complete = tables->will_be_complete;
    tables->away = tables->will_be_away;
    tables->n_users = tables->will_users;
    tables->n_groups = tables->will_groups;
    tables->n_rows = n_rows;
    tables->began = false;
    nothing_pending(tables);
    tables->changed_list = list_of(&tables->changed);
    tables->left_list = list_of(&tables->left);
    if (n_rows < MANY_ROWS)
        return;
    /* Readers in the middle of something prevent it: then it happens some other time. */
    sqlite3_exec(tables->db, "PRAGMA wal_checkpoint(TRUNCATE)", NULL, NULL, NULL);
    sqlite3_db_release_memory(tables->db);
    malloc_trim(0);
}

Error *tables_commit(Tables *tables, const TablesView *view, uint64_t revision, const Digest *digest)
{
    DEFER(compute_done) Compute compute = compute_new(tables, view);

    assert(tables->began);
    if (!tables->revision || !same_instance(tables, view))
        tables->touched.all = true;
    Error *err = accounts_expire(tables);
    if (!err)
        err = compute_all(tables, &compute);
    if (!err)
        err = end(tables, view, revision, digest);
    if (err)
        return err;
    committed(tables, view, revision, digest, compute.settle.n_rows);
    return NULL;
}

/* ---- the audit ---- */

/* What the clock has done since the last commit is no drift. */
static Error *catch_up(Tables *tables, const TablesView *view)
{
    DEFER(compute_done) Compute compute = compute_new(tables, view);

    Error *err = accounts_expire(tables);
    if (!err)
        err = compute_all(tables, &compute);
    touched_done(&tables->touched);
    return err;
}

/* Writes nothing when all is as it should be. */
static Error *mend(Tables *tables, Compute *compute, bool due)
{
    tables->touched.all = true;
    Error *err = compute_all(tables, compute);
    if (err || (!due && !compute->settle.n_rows && same_instance(tables, compute->view)))
        return err;
    if (compute->settle.n_rows)
        CRASH_POINT("agent.tables.mending");
    err = end(tables, compute->view, tables->revision, &tables->digest);
    if (!err && compute->settle.n_rows)
        CRASH_POINT("agent.tables.mended");
    if (!err)
        committed(tables, compute->view, tables->revision, &tables->digest, tables->n_rows);
    return err;
}

Error *tables_audit(Tables *tables, const TablesView *view, size_t *ret_n_mended, char **ret_example)
{
    DEFER(compute_done) Compute compute = {0};
    bool due = tables_due(tables);

    Error *err = tables_begin(tables);
    if (!err && due)
        err = catch_up(tables, view);
    if (!err) {
        compute = compute_new(tables, view);
        err = mend(tables, &compute, due);
    }
    tables_abort(tables); /* what was not committed */
    if (err)
        return err;
    *ret_n_mended = compute.settle.n_rows;
    *ret_example = compute.settle.example;
    compute.settle.example = NULL;
    return NULL;
}
