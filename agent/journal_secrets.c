/* Secrets that objects of node.db name: sealed, and gone with the last object that names them. */
#include "journal_inside.h"

#include "base/alloc.h"
#include "base/path.h"
#include "model/secret_field.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { VALUE_MAX = 64 * 1024 };

/* What is authenticated with it: no row passes for another. */
static char *name_of(uint64_t id)
{
    return xasprintf("%" PRIu64 " of node.db", id);
}

static char *key_path(const Journal *journal)
{
    const char *slash = strrchr(journal->path, '/');

    return slash ? xasprintf("%.*s/secrets.key", (int)(slash - journal->path), journal->path) : xstrdup("secrets.key");
}

static Error *prepare(Journal *journal)
{
    Statements *sql = &journal->sql;

    Error *err = db_prepare(journal->db, "SELECT sealed FROM secret WHERE id = ?", &sql->secret);
    if (!err)
        err = db_prepare(journal->db, "REPLACE INTO secret VALUES(?,?)", &sql->secret_put);
    if (!err)
        err = db_prepare(journal->db, "DELETE FROM secret WHERE id = ?", &sql->secret_remove);
    return err ? err : db_prepare(journal->db, "DELETE FROM secret", &sql->wipe_secrets);
}

/* ---- the key file ---- */

/* Whatever is wrong with the old one: the controller has what it sealed, and sends it again. */
static Error *key_anew(const char *path, SealKey **ret_key)
{
    Path where;
    Error *err = access(path, F_OK) == 0 ? file_set_aside(path, &where) : NULL;

    return err ? err : seal_key_open(path, true, ret_key);
}

static Error *opens(const Journal *journal, uint64_t id, const void *sealed, size_t size, Secret **ret_secret)
{
    DEFER(xfree) char *name = name_of(id);

    return unseal(journal->key, name, sealed, size, ret_secret);
}

static bool opens_now(Journal *journal, uint64_t id)
{
    sqlite3_stmt *get = journal->sql.secret;
    DEFER(secret_free) Secret *secret = NULL;
    bool row = false;

    sqlite3_bind_int64(get, 1, (sqlite3_int64)id);
    Error *err = db_row(get, &row);
    if (!err && row)
        err = opens(journal, id, sqlite3_column_blob(get, 0), (size_t)sqlite3_column_bytes(get, 0), &secret);
    sqlite3_reset(get);
    error_free(&err); /* why it does not makes no difference: it is asked for again */
    return secret != NULL;
}

typedef struct Look {
    Journal *journal;
    char *node; /* NULL: the state does not have it */
} Look;

static void look_done(Look *look)
{
    free(look->node);
}

/* A node is told of no other. */
static Error *whose(void *context, const void *bytes, size_t size)
{
    Look *look = context;
    DEFER(object_free) Object *object = NULL;

    Error *err = object_unpack(bytes, size, &object);
    if (!err && !look->node)
        look->node = xstrdup(object_ref(object).name);
    return err;
}

static Error *look_at(void *context, const void *bytes, size_t size)
{
    Look *look = context;
    Journal *journal = look->journal;
    DEFER(object_free) Object *object = NULL;
    SecretUse uses[OBJECT_SECRETS_MAX];

    Error *err = object_unpack(bytes, size, &object);
    size_t n = err ? 0 : object_secrets_told(object, look->node ? look->node : "", uses);
    for (size_t i = 0; i < n && !journal->drifted; i++)
        journal->drifted = !opens_now(journal, uses[i].id);
    return err;
}

Error *journal_secrets_check(Journal *journal)
{
    DEFER(look_done) Look look = {.journal = journal};

    Error *err = journal_rows(journal, journal->sql.of_kind, MAIL__OBJECT__BODY_NODE, NULL, whose, &look);
    for (size_t i = 0; !err && i < n_kinds; i++)
        if (kind_has_secrets(kinds[i]))
            err = journal_rows(journal, journal->sql.of_kind, kinds[i], NULL, look_at, &look);
    if (err || !journal->drifted)
        return err;
    err = db_run(journal->sql.wipe_secrets);
    if (!err)
        journal_happened(journal, MAIL__FACT_STATE__DEGRADED, "secrets lost",
                         "not all open with secrets.key; the controller is asked for everything again");
    return err;
}

Error *journal_secrets_open(Journal *journal)
{
    DEFER(xfree) char *path = key_path(journal);

    Error *err = prepare(journal);
    if (err || journal->key)
        return err;
    err = seal_key_open(path, true, &journal->key);
    if (!err || (err->code != ERROR_DAMAGED && err->code != ERROR_DENIED))
        return err;
    error_free(&err);
    return key_anew(path, &journal->key);
}

/* ---- in and out ---- */

Error *journal_secrets_wipe(Journal *journal)
{
    return db_run(journal->sql.wipe_secrets);
}

Error *journal_secret_in(Journal *journal, const Mail__SecretValue *value)
{
    sqlite3_stmt *put = journal->sql.secret_put;
    DEFER(buf_done) Buf sealed = {0};
    DEFER(xfree) char *name = name_of(value->id);

    if (!value->id || value->value.len == 0 || value->value.len > VALUE_MAX)
        return error_new(ERROR_INVALID, "secret %" PRIu64 ": %zu octets", value->id, value->value.len);
    DEFER(secret_free) Secret *secret = secret_new(value->value.data, value->value.len);
    Error *err = seal(journal->key, name, secret, &sealed);
    if (err)
        return err;
    sqlite3_bind_int64(put, 1, (sqlite3_int64)value->id);
    sqlite3_bind_blob(put, 2, sealed.data, (int)sealed.size, SQLITE_STATIC);
    return db_run(put);
}

Error *journal_secrets_drop(Journal *journal, const void *before, size_t size, const Object *after)
{
    sqlite3_stmt *remove = journal->sql.secret_remove;
    DEFER(object_free) Object *was = NULL;
    SecretUse uses[OBJECT_SECRETS_MAX];

    Error *err = object_unpack(before, size, &was);
    size_t n = err ? 0 : object_secrets(was, uses);
    for (size_t i = 0; !err && i < n; i++) {
        if (after && object_names_secret(after, uses[i].id))
            continue;
        sqlite3_bind_int64(remove, 1, (sqlite3_int64)uses[i].id);
        err = db_run(remove);
    }
    return err;
}

Error *journal_secret(Journal *journal, uint64_t id, Secret **ret_secret)
{
    sqlite3_stmt *get = journal->sql.secret;
    Secret *secret = NULL;
    bool row = false;

    sqlite3_bind_int64(get, 1, (sqlite3_int64)id);
    Error *err = db_row(get, &row);
    if (!err && row)
        err = opens(journal, id, sqlite3_column_blob(get, 0), (size_t)sqlite3_column_bytes(get, 0), &secret);
    sqlite3_reset(get);
    if (!err)
        *ret_secret = secret;
    return journal_failed(journal, err);
}
