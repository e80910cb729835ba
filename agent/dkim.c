#include "dkim.h"

#include "base/alloc.h"
#include "model/name.h"
#include "tables/dkim_files.h"

#include <stdlib.h>
#include <string.h>

struct Dkim {
    const char *folder;
    Journal *journal;
    Names touched; /* domains */
    bool all;
};

Dkim *dkim_new(const char *folder, Journal *journal)
{
    Dkim *dkim = xcalloc(1, sizeof *dkim);

    *dkim = (Dkim){.folder = folder, .journal = journal};
    return dkim;
}

void dkim_free(Dkim **dkim)
{
    if (!*dkim)
        return;
    names_done(&(*dkim)->touched);
    free(*dkim);
    *dkim = NULL;
}

/* ---- what changed ---- */

void dkim_touch(Dkim *dkim, const ObjectRef *ref)
{
    if (ref->kind != MAIL__OBJECT__BODY_DOMAIN && ref->kind != MAIL__OBJECT__BODY_DKIM_KEY)
        return;
    DEFER(xfree) char *domain = xstrndup(ref->name, strcspn(ref->name, "/"));
    names_add(&dkim->touched, domain);
}

void dkim_touch_all(Dkim *dkim)
{
    dkim->all = true;
}

bool dkim_due(const Dkim *dkim)
{
    return dkim->all || dkim->touched.first;
}

static void seen_to(Dkim *dkim)
{
    names_done(&dkim->touched);
    dkim->all = false;
}

/* ---- what should be ---- */

/* *ret_secret NULL: it does not sign. */
static Error *key_of(Dkim *dkim, const TablesView *view, const char *domain, Secret **ret_secret)
{
    DEFER(xfree) char *name = xasprintf("%s/" DKIM_SELECTOR, domain);
    DEFER(object_free) Object *stated = NULL;
    DEFER(object_free) Object *key = NULL;
    ObjectRef domain_ref = {MAIL__OBJECT__BODY_DOMAIN, view->instance, domain};
    ObjectRef key_ref = {MAIL__OBJECT__BODY_DKIM_KEY, view->instance, name};

    *ret_secret = NULL;
    if (!view->instance)
        return NULL;
    Error *err = view->objects.get(view->objects.self, &domain_ref, &stated);
    if (err || !stated || !stated->domain->dkim)
        return err;
    err = view->objects.get(view->objects.self, &key_ref, &key);
    if (err || !key || key->dkim_key->dormant)
        return err;
    err = journal_secret(dkim->journal, key->dkim_key->private_key, ret_secret);
    if (!err && !*ret_secret)
        journal_happened(dkim->journal, MAIL__FACT_STATE__BAD, "DKIM key missing", "%s is not signed", domain);
    return err;
}

typedef struct Pass {
    Dkim *dkim;
    const TablesView *view;
    DkimFiles *files;
    Names signing; /* domains that have a file */
} Pass;

static void pass_done(Pass *pass)
{
    dkim_files_close(&pass->files);
    names_done(&pass->signing);
}

static Error *put(Pass *pass, const char *domain)
{
    DEFER(secret_free) Secret *secret = NULL;
    Error *err = key_of(pass->dkim, pass->view, domain, &secret);

    if (err || !secret)
        return err;
    names_add(&pass->signing, domain);
    return dkim_file_put(pass->files, domain, DKIM_SELECTOR, secret);
}

static Error *put_key(void *context, const Object *key)
{
    DEFER(xfree) char *domain = xstrndup(key->name, strcspn(key->name, "/"));

    return put(context, domain);
}

static Error *put_all(Pass *pass)
{
    const StateView *objects = &pass->view->objects;

    if (!pass->view->instance)
        return NULL;
    return objects->each(objects->self, MAIL__OBJECT__BODY_DKIM_KEY, pass->view->instance, NULL, put_key, pass);
}

static Error *put_touched(Pass *pass)
{
    Error *err = NULL;

    for (const Name *name = pass->dkim->touched.first; !err && name; name = name->hh.next)
        err = put(pass, name->text);
    return err;
}

static Error *remove_others(Pass *pass)
{
    Names there = {0};
    Error *err = dkim_files_list(pass->files, &there);

    for (const Name *name = there.first; !err && name; name = name->hh.next)
        if (!names_have(&pass->signing, name->text))
            err = dkim_files_drop(pass->files, name->text);
    names_done(&there);
    return err;
}

/* ---- steps ---- */

Error *dkim_add(Dkim *dkim, const TablesView *view)
{
    DEFER(pass_done) Pass pass = {.dkim = dkim, .view = view};

    if (!dkim_due(dkim))
        return NULL;
    Error *err = dkim_files_open(dkim->folder, &pass.files);
    if (!err)
        err = dkim->all ? put_all(&pass) : put_touched(&pass);
    return err ? err : dkim_files_settle(pass.files);
}

static Error *remove_touched(Pass *pass)
{
    Error *err = NULL;

    for (const Name *name = pass->dkim->touched.first; !err && name; name = name->hh.next) {
        DEFER(secret_free) Secret *secret = NULL;
        err = key_of(pass->dkim, pass->view, name->text, &secret);
        if (!err && !secret)
            err = dkim_file_remove(pass->files, name->text);
    }
    return err;
}

Error *dkim_remove(Dkim *dkim, const TablesView *view)
{
    DEFER(pass_done) Pass pass = {.dkim = dkim, .view = view};

    if (!dkim_due(dkim))
        return NULL;
    Error *err = dkim_files_open(dkim->folder, &pass.files);
    if (!err && dkim->all)
        err = put_all(&pass);
    if (!err)
        err = dkim_files_settle(pass.files); /* what waits beside its place is one of the others */
    if (!err)
        err = dkim->all ? remove_others(&pass) : remove_touched(&pass);
    if (!err)
        err = dkim_files_settle(pass.files);
    if (!err)
        seen_to(dkim);
    return err;
}

Error *dkim_audit(Dkim *dkim, const TablesView *view, size_t *ret_n_mended)
{
    DEFER(pass_done) Pass pass = {.dkim = dkim, .view = view};

    Error *err = dkim_files_open(dkim->folder, &pass.files);
    if (!err)
        err = put_all(&pass);
    if (!err)
        err = dkim_files_settle(pass.files);
    if (!err)
        err = remove_others(&pass);
    if (!err)
        err = dkim_files_settle(pass.files);
    if (!err)
        *ret_n_mended = dkim_files_put(pass.files) + dkim_files_removed(pass.files);
    return err;
}
