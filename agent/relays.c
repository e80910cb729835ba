#include "relays.h"

#include "base/alloc.h"
#include "base/log.h"
#include "tables/secrets_db.h"

#include <stdlib.h>

struct Relays {
    char *folder;
    Journal *journal;
    SecretsDb *db; /* NULL: not open */
    bool due;
};

/* ---- the file ---- */

static Error *opened(Relays *relays)
{
    bool empty = false;

    if (relays->db)
        return NULL;
    Error *err = secrets_db_open(relays->folder, &relays->db, &empty);
    if (!err && empty)
        relays->due = true;
    return error_in(err, "secrets.db");
}

Relays *relays_new(const char *tables, Journal *journal)
{
    Relays *relays = xcalloc(1, sizeof *relays);

    *relays = (Relays){.folder = xasprintf("%s/relay", tables), .journal = journal};
    Error *err = opened(relays);
    if (err) {
        relays->due = true; /* tried again with the next commit, which says why it cannot be */
        log_stop(LOG_LEVEL_WARNING, "relay rules not opened", &err);
    }
    return relays;
}

void relays_free(Relays **relays)
{
    if (!*relays)
        return;
    secrets_db_free(&(*relays)->db);
    free((*relays)->folder);
    free(*relays);
    *relays = NULL;
}

void relays_look(Relays *relays)
{
    Error *err = relays->db ? secrets_db_check(relays->db) : NULL;

    if (!err)
        return;
    journal_happened(relays->journal, MAIL__FACT_STATE__DEGRADED, "secrets.db lost", "%s; it is written anew",
                     err->what);
    error_free(&err);
    secrets_db_free(&relays->db);
    relays->due = true;
}

/* ---- what there is to do ---- */

void relays_touch(Relays *relays, const ObjectRef *ref)
{
    if (ref->kind == MAIL__OBJECT__BODY_RELAY || ref->kind == MAIL__OBJECT__BODY_INSTANCE)
        relays->due = true;
}

void relays_touch_all(Relays *relays)
{
    relays->due = true;
}

bool relays_due(const Relays *relays)
{
    return relays->due;
}

/* ---- rows ---- */

typedef struct Rules {
    Journal *journal;
    RelayRule *rules;
    Object **objects;
    Secret **passwords;
    size_t n, room;
} Rules;

static void rules_done(Rules *rules)
{
    for (size_t i = 0; i < rules->n; i++) {
        object_free(&rules->objects[i]);
        secret_free(&rules->passwords[i]);
    }
    free(rules->objects);
    free(rules->passwords);
    free(rules->rules);
}

static Error *collect(void *context, const Object *object)
{
    Rules *rules = context;
    Secret *password = NULL;

    Error *err =
        object->relay->has_password ? journal_secret(rules->journal, object->relay->password, &password) : NULL;
    if (err)
        return err;
    if (rules->n == rules->room) {
        rules->room = rules->room ? 2 * rules->room : 16;
        rules->objects = xrealloc(rules->objects, rules->room * sizeof(Object *));
        rules->passwords = xrealloc(rules->passwords, rules->room * sizeof(Secret *));
        rules->rules = xrealloc(rules->rules, rules->room * sizeof *rules->rules);
    }
    rules->objects[rules->n] = object_clone(object);
    rules->passwords[rules->n] = password;
    rules->rules[rules->n] = (RelayRule){rules->objects[rules->n], password};
    rules->n++;
    return NULL;
}

static Error *rewrite(Relays *relays, const TablesView *view, size_t *ret_n)
{
    DEFER(rules_done) Rules rules = {.journal = relays->journal};
    DEFER(relay_rows_done) RelayRows rows = {0};
    Error *err = opened(relays);

    if (!err && view->instance)
        err = view->objects.each(view->objects.self, MAIL__OBJECT__BODY_RELAY, view->instance, NULL, collect, &rules);
    if (err)
        return err;
    relay_rows(rules.rules, rules.n, &rows);
    err = secrets_db_write(relays->db, &rows, ret_n);
    if (!err)
        err = secrets_db_check(relays->db); /* what was written has readers */
    if (!err) {
        relays->due = false;
        return NULL;
    }
    if (err->code == ERROR_DAMAGED) /* opened again it is emptied */
        secrets_db_free(&relays->db);
    relays->due = true;
    return error_in(err, "secrets.db");
}

Error *relays_write(Relays *relays, const TablesView *view)
{
    size_t n = 0;

    return relays->due ? rewrite(relays, view, &n) : NULL;
}

Error *relays_audit(Relays *relays, const TablesView *view, size_t *ret_n_mended)
{
    bool due = relays->due;
    Error *err = rewrite(relays, view, ret_n_mended);

    if (due)
        *ret_n_mended = 0; /* not written yet is no drift */
    return err;
}
