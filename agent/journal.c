#include "journal_inside.h"

#include "base/alloc.h"
#include "base/crash.h"
#include "base/log.h"
#include "base/path.h"
#include "model/meta.h"
#include "model/secret_field.h"

#include <assert.h>
#include <inttypes.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Beyond this many the tables look at everything: it costs them no more. */
enum { TOUCHED_MAX = 20000 };

#define BACKUP_TABLE                                                                                                   \
    "CREATE TABLE backup(plan TEXT NOT NULL, destination TEXT NOT NULL, since INTEGER NOT NULL,"                       \
    " through INTEGER NOT NULL, begun INTEGER NOT NULL, broken INTEGER NOT NULL, ended INTEGER NOT NULL,"              \
    " good INTEGER NOT NULL, text TEXT NOT NULL, good_at INTEGER NOT NULL,"                                            \
    " PRIMARY KEY(plan, destination)) WITHOUT ROWID;"

#define BACKUP_SNAPSHOT "ALTER TABLE backup ADD COLUMN snapshot TEXT NOT NULL DEFAULT '';"

static const char schema[] =
    "BEGIN IMMEDIATE;"
    "CREATE TABLE object(kind INTEGER NOT NULL, instance TEXT NOT NULL, name TEXT NOT NULL,"
    " bytes BLOB NOT NULL, PRIMARY KEY(kind, instance, name)) WITHOUT ROWID;"
    "CREATE TABLE touched(kind INTEGER NOT NULL, instance TEXT NOT NULL, name TEXT NOT NULL,"
    " PRIMARY KEY(kind, instance, name)) WITHOUT ROWID;"
    "CREATE TABLE state(one INTEGER PRIMARY KEY CHECK (one = 1),"
    " revision INTEGER NOT NULL, chain BLOB NOT NULL, digest BLOB NOT NULL,"
    " touch_all INTEGER NOT NULL, touched_since INTEGER NOT NULL,"
    " in_force BLOB NOT NULL, in_force_revision INTEGER NOT NULL,"
    " refused BLOB NOT NULL, refused_revision INTEGER NOT NULL, held INTEGER NOT NULL,"
    " why_code INTEGER NOT NULL, why TEXT NOT NULL);"
    "INSERT INTO state VALUES(1, 0, zeroblob(32), zeroblob(32), 1, 0, zeroblob(32), 0, zeroblob(32), 0, 0, 0, '');"
    "CREATE TABLE happening(number INTEGER PRIMARY KEY, severity INTEGER NOT NULL, what TEXT NOT NULL,"
    " text TEXT NOT NULL, time INTEGER NOT NULL);"
    "CREATE TABLE task(number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, content BLOB NOT NULL, result BLOB,"
    " seen INTEGER NOT NULL DEFAULT 0);"
    "CREATE TABLE secret(id INTEGER PRIMARY KEY, sealed BLOB NOT NULL);"
    "CREATE TABLE owner(name TEXT PRIMARY KEY, uuid TEXT NOT NULL) WITHOUT ROWID;" BACKUP_TABLE BACKUP_SNAPSHOT
    "PRAGMA user_version=5;"
    "COMMIT;";

/* What leads from user_version i to i + 1. */
static const char *const steps[JOURNAL_SCHEMA] = {
    NULL,
    "BEGIN IMMEDIATE; CREATE TABLE secret(id INTEGER PRIMARY KEY, sealed BLOB NOT NULL); PRAGMA user_version=2; COMMIT;",
    "BEGIN IMMEDIATE; CREATE TABLE owner(name TEXT PRIMARY KEY, uuid TEXT NOT NULL) WITHOUT ROWID;"
    " PRAGMA user_version=3; COMMIT;",
    "BEGIN IMMEDIATE;" BACKUP_TABLE "PRAGMA user_version=4; COMMIT;",
    "BEGIN IMMEDIATE;" BACKUP_SNAPSHOT "PRAGMA user_version=5; COMMIT;",
};

Error *journal_failed(Journal *journal, Error *err)
{
    if (err && err->code == ERROR_DAMAGED && !journal->damaged) {
        journal->damaged = true;
        journal->damage = xstrdup(err->what);
    }
    if (err && err->code == ERROR_SYSTEM) {
        free(journal->trouble);
        journal->trouble = xstrdup(err->what);
    }
    return err;
}

void journal_wrote(Journal *journal)
{
    free(journal->trouble);
    journal->trouble = NULL;
}

const char *journal_trouble(const Journal *journal)
{
    return journal->trouble;
}

bool journal_drifted(const Journal *journal)
{
    return journal->drifted;
}

/* ---- opening ---- */

static Error *version_check(sqlite3 *db, int *ret_version, bool *ret_empty)
{
    DEFER(db_finalize) sqlite3_stmt *version = NULL;
    DEFER(db_finalize) sqlite3_stmt *tables = NULL;
    bool row = false;

    Error *err = db_prepare(db, "PRAGMA user_version", &version);
    if (!err)
        err = db_row(version, &row);
    if (!err)
        err = db_prepare(db, "SELECT count(*) FROM sqlite_master", &tables);
    if (!err)
        err = db_row(tables, &row);
    if (err)
        return err;
    int found = sqlite3_column_int(version, 0);
    if (found > JOURNAL_SCHEMA)
        return error_hint(
            error_new(ERROR_UNSUPPORTED, "node.db has schema %d, this mail-agent knows %d", found, JOURNAL_SCHEMA),
            "install a newer mail-agent");
    *ret_version = found;
    *ret_empty = found == 0 && sqlite3_column_int(tables, 0) == 0;
    if (found == 0 && !*ret_empty)
        return error_new(ERROR_DAMAGED, "node.db has tables and no version");
    return NULL;
}

static Error *check_pages(sqlite3 *db)
{
    DEFER(db_finalize) sqlite3_stmt *check = NULL;
    bool row = false;

    Error *err = db_prepare(db, "PRAGMA quick_check(1)", &check);
    if (!err)
        err = db_row(check, &row);
    if (err)
        return err;
    const char *words = (const char *)sqlite3_column_text(check, 0);
    if (!row || !words || strcmp(words, "ok") != 0)
        return error_new(ERROR_DAMAGED, "%s", words ? words : "quick_check says nothing");
    return NULL;
}

static Error *prepare_all(Journal *journal)
{
    Statements *sql = &journal->sql;
    const struct {
        sqlite3_stmt **stmt;
        const char *text;
    } wanted[] = {
        {&sql->get, "SELECT bytes FROM object WHERE kind=? AND instance=? AND name=?"},
        {&sql->put, "REPLACE INTO object VALUES(?,?,?,?)"},
        {&sql->add, "INSERT INTO object VALUES(?,?,?,?)"},
        {&sql->remove, "DELETE FROM object WHERE kind=? AND instance=? AND name=?"},
        {&sql->touch, "INSERT OR IGNORE INTO touched VALUES(?,?,?)"},
        {&sql->of_kind, "SELECT bytes FROM object WHERE kind=?"},
        {&sql->of_instance, "SELECT bytes FROM object WHERE kind=? AND instance=?"},
        {&sql->remove_instance, "DELETE FROM object WHERE kind=? AND instance=?"},
        {&sql->wipe_objects, "DELETE FROM object"},
        {&sql->wipe_touched, "DELETE FROM touched"},
        {&sql->touched, "SELECT kind, instance, name FROM touched"},
        {&sql->all, "SELECT bytes FROM object"},
        {&sql->owner, "SELECT uuid FROM owner WHERE name=?"},
        {&sql->own, "REPLACE INTO owner VALUES(?,?)"},
        {&sql->save, "UPDATE state SET revision=?, chain=?, digest=?, touch_all=?, touched_since=?, in_force=?,"
                     " in_force_revision=?, refused=?, refused_revision=?, held=?, why_code=?, why=?"},
    };
    Error *err = NULL;

    for (size_t i = 0; !err && i < sizeof wanted / sizeof *wanted; i++)
        err = db_prepare(journal->db, wanted[i].text, wanted[i].stmt);
    if (!err)
        err = journal_log_prepare(journal);
    if (!err)
        err = journal_backups_prepare(journal);
    return err ? err : journal_secrets_open(journal);
}

static Error *digest_column(sqlite3_stmt *stmt, int column, Digest *ret_digest)
{
    return digest_from(sqlite3_column_blob(stmt, column), (size_t)sqlite3_column_bytes(stmt, column), ret_digest)
               ? NULL
               : error_new(ERROR_DAMAGED, "state: a digest has not its size");
}

static Error *state_read(Journal *journal)
{
    DEFER(db_finalize) sqlite3_stmt *get = NULL;
    JournalState state = {0};
    bool row = false;

    Error *err = db_prepare(journal->db,
                            "SELECT revision, chain, digest, touch_all, touched_since, in_force, in_force_revision,"
                            " refused, refused_revision, held, why_code, why FROM state",
                            &get);
    if (!err)
        err = db_row(get, &row);
    if (!err && !row)
        err = error_new(ERROR_DAMAGED, "state: there is none");
    if (!err)
        err = digest_column(get, 1, &state.wanted.chain);
    if (!err)
        err = digest_column(get, 2, &state.wanted.digest);
    if (!err)
        err = digest_column(get, 5, &state.config.in_force);
    if (!err)
        err = digest_column(get, 7, &state.config.refused);
    if (err)
        return err;
    state.wanted.revision = db_number(get, 0);
    state.touch_all = sqlite3_column_int(get, 3) != 0;
    state.touched_since = db_number(get, 4);
    state.config.in_force_revision = db_number(get, 6);
    state.config.refused_revision = db_number(get, 8);
    state.config.held = sqlite3_column_int(get, 9) != 0;
    state.config.why_code = (ErrorCode)sqlite3_column_int(get, 10);
    snprintf(state.config.why, sizeof state.config.why, "%s", (const char *)sqlite3_column_text(get, 11));
    journal->saved = journal->now = state;
    return NULL;
}

static void database_close(Journal *journal)
{
    sqlite3_stmt **stmts = (sqlite3_stmt **)&journal->sql;

    for (size_t i = 0; i < sizeof journal->sql / sizeof *stmts; i++)
        db_finalize(&stmts[i]);
    db_close(&journal->db);
    seal_key_free(&journal->key);
    journal->receiving = false;
}

static Error *migrate(sqlite3 *db, int version)
{
    Error *err = NULL;

    for (int i = version; !err && i < JOURNAL_SCHEMA; i++)
        err = db_exec(db, steps[i]);
    return err;
}

static Error *database_open(Journal *journal)
{
    bool empty = false;
    int version = 0;

    Error *err = db_open(journal->path, &journal->db);
    if (!err)
        err = version_check(journal->db, &version, &empty);
    if (!err)
        err = check_pages(journal->db);
    if (!err && empty) {
        CRASH_POINT("agent.journal.making");
        err = db_exec(journal->db, schema);
    } else if (!err) {
        err = migrate(journal->db, version);
    }
    if (!err)
        err = db_exec(journal->db, "PRAGMA secure_delete=ON");
    journal->damaged = journal->drifted = false;
    if (!err)
        err = prepare_all(journal);
    if (!err)
        err = state_read(journal);
    if (err)
        return err;
    journal->dirty = false;
    journal->settled = false;
    free(journal->damage);
    journal->damage = NULL;
    journal->life++;
    err = journal_audit(journal);
    if (!err)
        err = journal_secrets_check(journal);
    return journal_failed(journal, err);
}

/* An old WAL beside a new database would be played into it. */
static Error *aside(const char *path, const char *suffix, const Path *where)
{
    DEFER(xfree) char *from = xasprintf("%s%s", path, suffix);
    DEFER(xfree) char *to = xasprintf("%s%s", where->text, suffix);

    if (access(from, F_OK) != 0)
        return NULL;
    return rename(from, to) == 0 ? NULL : error_in(error_system("rename"), "%s", from);
}

/* After a crash between setting the database and its WAL aside an orphaned WAL is all that is left. */
static void orphans_remove(const char *path)
{
    if (access(path, F_OK) == 0)
        return;
    DEFER(xfree) char *wal = xasprintf("%s-wal", path);
    DEFER(xfree) char *shm = xasprintf("%s-shm", path);
    unlink(wal);
    unlink(shm);
}

static Error *begin_anew(Journal *journal, const char *why)
{
    Path where = {""};

    database_close(journal);
    CRASH_POINT("agent.journal.setting-aside");
    bool there = access(journal->path, F_OK) == 0; /* not when an earlier try came no further */
    Error *err = there ? file_set_aside(journal->path, &where) : NULL;
    if (!err && there)
        err = aside(journal->path, "-wal", &where);
    if (!err && there)
        err = aside(journal->path, "-shm", &where);
    if (err)
        return err;
    orphans_remove(journal->path);
    err = database_open(journal);
    if (err) {
        database_close(journal); /* what was begun holds nothing: the next try begins again */
        unlink(journal->path);
        return err;
    }
    CRASH_POINT("agent.journal.begun-anew");
    journal_happened(journal, MAIL__FACT_STATE__DEGRADED, "node.db rebuilt", "%s; the damaged one is %s", why,
                     there ? where.text : "gone");
    return NULL;
}

Error *journal_open(const char *path, Journal **ret_journal)
{
    DEFER(journal_free) Journal *journal = xcalloc(1, sizeof *journal);

    journal->path = xstrdup(path);
    orphans_remove(path);
    Error *err = database_open(journal);
    if (err && err->code == ERROR_DAMAGED) {
        DEFER(xfree) char *why = xstrdup(err->what);
        error_free(&err);
        err = begin_anew(journal, why);
    }
    if (err)
        return error_in(err, "%s", path);
    *ret_journal = journal;
    journal = NULL;
    return NULL;
}

void journal_free(Journal **journal)
{
    if (!*journal)
        return;
    database_close(*journal);
    journal_log_done(*journal);
    free((*journal)->path);
    free((*journal)->damage);
    free((*journal)->trouble);
    free(*journal);
    *journal = NULL;
}

unsigned journal_life(const Journal *journal)
{
    return journal->life;
}

const Wanted *journal_wanted(const Journal *journal)
{
    return &journal->saved.wanted;
}

/* ---- the state's row ---- */

static Error *state_write(Journal *journal, const JournalState *state)
{
    sqlite3_stmt *save = journal->sql.save;

    sqlite3_bind_int64(save, 1, (sqlite3_int64)state->wanted.revision);
    sqlite3_bind_blob(save, 2, state->wanted.chain.octets, DIGEST_SIZE, SQLITE_STATIC);
    sqlite3_bind_blob(save, 3, state->wanted.digest.octets, DIGEST_SIZE, SQLITE_STATIC);
    sqlite3_bind_int(save, 4, state->touch_all);
    sqlite3_bind_int64(save, 5, (sqlite3_int64)state->touched_since);
    sqlite3_bind_blob(save, 6, state->config.in_force.octets, DIGEST_SIZE, SQLITE_STATIC);
    sqlite3_bind_int64(save, 7, (sqlite3_int64)state->config.in_force_revision);
    sqlite3_bind_blob(save, 8, state->config.refused.octets, DIGEST_SIZE, SQLITE_STATIC);
    sqlite3_bind_int64(save, 9, (sqlite3_int64)state->config.refused_revision);
    sqlite3_bind_int(save, 10, state->config.held);
    sqlite3_bind_int(save, 11, (int)state->config.why_code);
    db_bind_text(save, 12, state->config.why);
    return db_run(save);
}

/* What was settled since the last write is no longer touched. */
static Error *settle(Journal *journal)
{
    if (!journal->settled)
        return NULL;
    journal->now.touch_all = false;
    journal->now.touched_since = journal->saved.wanted.revision;
    return db_run(journal->sql.wipe_touched);
}

static Error *state_flush(Journal *journal)
{
    if (!journal->dirty)
        return NULL;
    Error *err = db_exec(journal->db, "BEGIN IMMEDIATE");
    if (err)
        return err;
    err = settle(journal);
    if (!err)
        err = state_write(journal, &journal->now);
    if (!err) {
        CRASH_POINT("agent.state.committing");
        err = db_exec(journal->db, "COMMIT");
    }
    if (err) {
        sqlite3_exec(journal->db, "ROLLBACK", NULL, NULL, NULL);
        return err;
    }
    CRASH_POINT("agent.state.committed");
    journal->saved = journal->now;
    journal->settled = journal->dirty = false;
    journal_wrote(journal);
    return NULL;
}

Error *journal_run(Journal *journal)
{
    if (journal->damaged) {
        DEFER(xfree) char *why = xstrdup(journal->damage);
        Error *err = begin_anew(journal, why);
        if (err)
            return error_in(err, "node.db");
    }
    if (journal->receiving)
        return NULL;
    Error *err = journal_failed(journal, state_flush(journal));
    if (!err && journal->n_waiting)
        err = journal_log_flush(journal);
    return error_in(err, "node.db");
}

void journal_settled(Journal *journal)
{
    journal->settled = true;
    if (journal->saved.touch_all) /* looking at everything again would be dear; a few touched rows are not */
        journal->dirty = true;
}

const ConfigKnown *journal_config(const Journal *journal)
{
    return &journal->now.config;
}

void journal_set_config(Journal *journal, const ConfigKnown *known)
{
    const ConfigKnown *old = &journal->now.config;

    /* The number alone rises with every revision: it waits for the next write. */
    if (!digest_equal(&old->in_force, &known->in_force) || !digest_equal(&old->refused, &known->refused) ||
        old->refused_revision != known->refused_revision || old->held != known->held)
        journal->dirty = true;
    journal->now.config = *known;
}

/* ---- objects ---- */

void journal_bind(sqlite3_stmt *stmt, const ObjectRef *ref)
{
    sqlite3_bind_int(stmt, 1, (int)ref->kind);
    db_bind_text(stmt, 2, ref->instance);
    db_bind_text(stmt, 3, ref->name);
}

/* Calls 'each' with the bytes of every row.  A statement that is busy in an outer loop gets a twin. */
Error *journal_rows(Journal *journal, sqlite3_stmt *stmt, Kind kind, const char *instance,
                    Error *(*each)(void *context, const void *bytes, size_t size), void *context)
{
    DEFER(db_finalize) sqlite3_stmt *twin = NULL;
    bool row = false;
    Error *err = NULL;

    if (sqlite3_stmt_busy(stmt)) {
        err = db_prepare(journal->db, sqlite3_sql(stmt), &twin);
        if (err)
            return err;
        stmt = twin;
    }
    if (kind)
        sqlite3_bind_int(stmt, 1, (int)kind);
    if (instance)
        db_bind_text(stmt, 2, instance);
    err = db_row(stmt, &row);
    while (!err && row) {
        err = each(context, sqlite3_column_blob(stmt, 0), (size_t)sqlite3_column_bytes(stmt, 0));
        if (!err)
            err = db_row(stmt, &row);
    }
    sqlite3_reset(stmt);
    return err;
}

Error *journal_sum(void *context, const void *bytes, size_t size)
{
    Digest one = digest_of(bytes, size);

    digest_add(context, &one);
    return NULL;
}

static Error *sum_subtract(void *context, const void *bytes, size_t size)
{
    Digest one = digest_of(bytes, size);

    digest_subtract(context, &one);
    return NULL;
}

Error *journal_audit(Journal *journal)
{
    Digest sum = {{0}};

    Error *err = journal_rows(journal, journal->sql.all, 0, NULL, journal_sum, &sum);
    if (!err && !digest_equal(&sum, &journal->saved.wanted.digest))
        err =
            error_new(ERROR_DAMAGED, "its objects are not those of revision %" PRIu64, journal->saved.wanted.revision);
    return journal_failed(journal, error_in(err, "node.db"));
}

static Error *count_one(void *context, const void *bytes, size_t size)
{
    (void)bytes;
    (void)size;
    ++*(uint64_t *)context;
    return NULL;
}

uint64_t journal_count(Journal *journal)
{
    uint64_t n = 0;
    Error *err = journal_failed(journal, journal_rows(journal, journal->sql.all, 0, NULL, count_one, &n));

    error_free(&err);
    return n;
}

/* ---- a delta ---- */

static Error *touch(Journal *journal, const ObjectRef *ref)
{
    if (journal->now.touch_all)
        return NULL;
    if (++journal->n_touched > TOUCHED_MAX) {
        journal->now.touch_all = true;
        return db_run(journal->sql.wipe_touched);
    }
    journal_bind(journal->sql.touch, ref);
    return db_run(journal->sql.touch);
}

/* Takes what is stored under 'ref' out of the sum, and its secrets that 'after' does not name. */
static Error *forget_old(Journal *journal, const ObjectRef *ref, const Object *after, bool *ret_there)
{
    sqlite3_stmt *get = journal->sql.get;

    journal_bind(get, ref);
    Error *err = db_row(get, ret_there);
    if (!err && *ret_there)
        err = sum_subtract(&journal->now.wanted.digest, sqlite3_column_blob(get, 0),
                           (size_t)sqlite3_column_bytes(get, 0));
    if (!err && *ret_there && kind_has_secrets(ref->kind))
        err = journal_secrets_drop(journal, sqlite3_column_blob(get, 0), (size_t)sqlite3_column_bytes(get, 0), after);
    sqlite3_reset(get);
    return err;
}

static Error *object_store(sqlite3_stmt *put, const ObjectRef *ref, const ProtobufCBinaryData *bytes)
{
    journal_bind(put, ref);
    sqlite3_bind_blob(put, 4, bytes->data, (int)bytes->len, SQLITE_STATIC);
    return db_run(put);
}

static Error *object_in(Journal *journal, const ProtobufCBinaryData *bytes)
{
    DEFER(object_free) Object *object = NULL;
    bool there = false;

    Error *err = object_unpack(bytes->data, bytes->len, &object);
    if (err)
        return err;
    ObjectRef ref = object_ref(object);
    if (!journal->snapshot)
        err = forget_old(journal, &ref, object, &there);
    if (!err)
        err = object_store(journal->snapshot ? journal->sql.add : journal->sql.put, &ref, bytes);
    if (!err)
        err = journal_sum(&journal->now.wanted.digest, bytes->data, bytes->len);
    if (!err)
        err = touch(journal, &ref);
    return err ? error_in(err, "%s", object_title(&ref).text) : NULL;
}

static Error *object_out(Journal *journal, const ObjectRef *ref)
{
    bool there = false;

    Error *err = forget_old(journal, ref, NULL, &there);
    if (err || !there) /* what should have been there shows in the sum */
        return err;
    journal_bind(journal->sql.remove, ref);
    err = db_run(journal->sql.remove);
    return err ? err : touch(journal, ref);
}

typedef struct ScopeNames {
    const char *scope;
    char **names;
    size_t n, room;
} ScopeNames;

static Error *collect_in_scope(void *context, const void *bytes, size_t size)
{
    ScopeNames *found = context;
    DEFER(object_free) Object *object = NULL;

    Error *err = object_unpack(bytes, size, &object);
    if (err)
        return err;
    ObjectRef ref = object_ref(object);
    if (strcmp(object_scope(&ref).text, found->scope) != 0)
        return NULL;
    if (found->n == found->room) {
        found->room = found->room ? found->room * 2 : 8;
        found->names = xrealloc(found->names, found->room * sizeof *found->names);
    }
    found->names[found->n++] = xstrdup(ref.name ? ref.name : "");
    return NULL;
}

/* Kinds without an instance: few objects, each is asked for its scope. */
static Error *drop_scope_of_kind(Journal *journal, const char *scope, Kind kind)
{
    ScopeNames found = {.scope = scope};

    Error *err = journal_rows(journal, journal->sql.of_kind, kind, NULL, collect_in_scope, &found);
    for (size_t i = 0; i < found.n; i++) {
        if (!err)
            err = object_out(journal, &(ObjectRef){.kind = kind, .instance = "", .name = found.names[i]});
        free(found.names[i]);
    }
    free(found.names);
    return err;
}

static Error *secrets_go(void *context, const void *bytes, size_t size)
{
    return journal_secrets_drop(context, bytes, size, NULL);
}

/* Kinds that lie in an instance have its scope: all of a kind go at once. */
static Error *drop_instance_of_kind(Journal *journal, const char *instance, Kind kind)
{
    sqlite3_stmt *remove = journal->sql.remove_instance;

    Error *err =
        journal_rows(journal, journal->sql.of_instance, kind, instance, sum_subtract, &journal->now.wanted.digest);
    if (!err && kind_has_secrets(kind))
        err = journal_rows(journal, journal->sql.of_instance, kind, instance, secrets_go, journal);
    if (err)
        return err;
    sqlite3_bind_int(remove, 1, (int)kind);
    db_bind_text(remove, 2, instance);
    return db_run(remove);
}

static Error *drop_scope(Journal *journal, const char *scope)
{
    const char *slash = strchr(scope, '/');
    const char *name = slash ? slash + 1 : "";
    Error *err = NULL;

    journal->now.touch_all = true; /* a rare event, and much goes with it */
    for (size_t i = 0; !err && i < n_kinds; i++) {
        const KindInfo *info = kind_info(kinds[i]);
        if (!info->meta->in_instance)
            err = drop_scope_of_kind(journal, scope, info->kind);
        else if (strcmp(object_scope(&(ObjectRef){info->kind, name, ""}).text, scope) == 0)
            err = drop_instance_of_kind(journal, name, info->kind);
    }
    return error_in(err, "scope %s", scope);
}

static Error *head_check(Journal *journal, const Mail__Delta *first, uint64_t applied, Wanted *ret_to,
                         bool *ret_snapshot)
{
    const Wanted *ours = &journal->saved.wanted;
    Digest from;

    ret_to->revision = first->to_revision;
    if (!first->to_revision || !digest_from(first->to_chain.data, first->to_chain.len, &ret_to->chain) ||
        !digest_from(first->to_digest.data, first->to_digest.len, &ret_to->digest))
        return error_new(ERROR_INVALID, "delta without revision, chain or digest");
    *ret_snapshot = !first->has_from_chain;
    if (!*ret_snapshot) {
        if (first->from_revision != ours->revision ||
            !digest_from(first->from_chain.data, first->from_chain.len, &from) || !digest_equal(&from, &ours->chain))
            return error_new(ERROR_CONFLICT, "delta from revision %" PRIu64 ", but we stand at %" PRIu64,
                             first->from_revision, ours->revision);
        if (first->to_revision <= ours->revision)
            return error_new(ERROR_INVALID, "delta to revision %" PRIu64 " leads nowhere", first->to_revision);
        return NULL;
    }
    if (first->forced)
        return NULL;
    uint64_t least = applied > ours->revision ? applied : ours->revision;
    if (first->to_revision < least)
        return error_new(ERROR_DENIED, "snapshot of revision %" PRIu64 " is older than ours, %" PRIu64,
                         first->to_revision, least);
    if (ours->revision && !journal->drifted)
        return error_new(ERROR_DENIED, "snapshot of revision %" PRIu64 " that we did not ask for; we stand at %" PRIu64,
                         first->to_revision, ours->revision);
    return NULL;
}

Error *journal_delta_begin(Journal *journal, const Mail__Delta *first, uint64_t applied)
{
    assert(!journal->receiving);
    Error *err = head_check(journal, first, applied, &journal->expected, &journal->snapshot);
    if (err)
        return err;
    err = db_exec(journal->db, "BEGIN IMMEDIATE");
    if (err)
        return journal_failed(journal, err);
    journal->receiving = true;
    journal->n_touched = 0;
    err = settle(journal);
    if (!err && journal->snapshot) {
        journal->now.touch_all = true;
        memset(&journal->now.wanted.digest, 0, sizeof journal->now.wanted.digest);
        err = db_run(journal->sql.wipe_objects);
        if (!err)
            err = db_run(journal->sql.wipe_touched);
        if (!err)
            err = journal_secrets_wipe(journal);
    }
    return journal_failed(journal, err);
}

Error *journal_delta_part(Journal *journal, const Mail__Delta *part)
{
    Error *err = NULL;

    assert(journal->receiving);
    for (size_t i = 0; !err && i < part->n_drop_scopes; i++)
        err = drop_scope(journal, part->drop_scopes[i]);
    for (size_t i = 0; !err && i < part->n_removed; i++) {
        const Mail__Ref *gone = part->removed[i];
        const KindInfo *info = kind_by_name(gone->kind ? gone->kind : "");
        if (!info)
            return error_new(ERROR_UNSUPPORTED, "kind '%s' is not known here", gone->kind ? gone->kind : "");
        err = object_out(journal, &(ObjectRef){info->kind, gone->instance, gone->name});
    }
    for (size_t i = 0; !err && i < part->n_objects; i++)
        err = object_in(journal, &part->objects[i]);
    for (size_t i = 0; !err && i < part->n_secrets; i++)
        err = journal_secret_in(journal, part->secrets[i]);
    return journal_failed(journal, err);
}

Error *journal_delta_end(Journal *journal)
{
    JournalState *now = &journal->now;

    assert(journal->receiving);
    if (!digest_equal(&now->wanted.digest, &journal->expected.digest)) {
        journal->drifted = true;
        return error_new(ERROR_CONFLICT, "what came does not add up to the digest of revision %" PRIu64,
                         journal->expected.revision);
    }
    now->wanted = journal->expected;
    Error *err = state_write(journal, now);
    if (!err) {
        CRASH_POINT("agent.wanted.committing");
        err = db_exec(journal->db, "COMMIT");
    }
    if (err)
        return journal_failed(journal, err);
    CRASH_POINT("agent.wanted.committed");
    journal->saved = *now;
    journal->receiving = journal->settled = journal->dirty = false;
    journal_wrote(journal);
    journal->drifted = false;
    if (journal->snapshot)
        malloc_trim(0); /* parts came and went by the hundred */
    return NULL;
}

void journal_delta_abandon(Journal *journal)
{
    if (!journal->receiving)
        return;
    sqlite3_exec(journal->db, "ROLLBACK", NULL, NULL, NULL);
    ConfigKnown config = journal->now.config; /* may have moved meanwhile, and stays dirty */
    journal->now = journal->saved;
    journal->now.config = config;
    journal->receiving = false;
}

bool journal_receiving(const Journal *journal)
{
    return journal->receiving;
}
