#include "work_dkim.h"

#include "work_secret.h"

#include "base/alloc.h"
#include "model/meta.h"
#include "model/name.h"

#include <string.h>

static ObjectRef key_ref(const ObjectRef *domain, char **ret_name)
{
    *ret_name = xasprintf("%s/" DKIM_SELECTOR, domain->name);
    return (ObjectRef){MAIL__OBJECT__BODY_DKIM_KEY, domain->instance, *ret_name};
}

static Error *sleeps(Work *work, const Object *key, bool dormant)
{
    DEFER(object_free) Object *after = object_clone(key);

    after->dkim_key->has_dormant = dormant;
    after->dkim_key->dormant = dormant;
    return work_put_along(work, key, after);
}

static void missing(Work *work, const ObjectRef *domain)
{
    DEFER(xfree) char *name = xasprintf("%s %s", domain->instance, domain->name);

    work->keys_missing++;
    names_add(&work->keyless, name);
}

static Error *made(Work *work, const ObjectRef *ref, const ObjectRef *domain)
{
    const DkimPair *pair = keypool_at(work->rules.keys, work->rules.keys_from + work->keys_taken);
    DEFER(object_free) Object *key = NULL;

    if (!pair) {
        missing(work, domain);
        return NULL;
    }
    key = object_new(ref->kind, ref->instance, ref->name);
    key->dkim_key->public_key = xstrdup(pair->public_key);
    Error *err = work_secret_set(work, key, meta_field(kind_info(ref->kind)->meta, "private_key"), pair->private_key);
    if (!err)
        err = object_validate(key);
    if (!err)
        err = work_put_along(work, NULL, key);
    if (!err)
        work->keys_taken++;
    return err;
}

Error *dkim_domain_comes(Work *work, const Object *domain)
{
    ObjectRef of = object_ref(domain);
    DEFER(object_free) Object *there = NULL;
    DEFER(xfree) char *name = NULL;
    ObjectRef ref = key_ref(&of, &name);

    if (!work->rules.keys)
        return NULL;
    if (strlen(of.name) > DKIM_DOMAIN_LEN) {
        if (domain->domain->dkim)
            work_warn(work, "domain %s is not signed: its name is too long for a DKIM record", of.name);
        return NULL;
    }
    Error *err = store_get(work->store, &ref, 0, &there);
    if (err)
        return err;
    if (!there)
        return made(work, &ref, &of);
    return there->dkim_key->dormant ? sleeps(work, there, false) : NULL;
}

Error *dkim_domain_goes(Work *work, const ObjectRef *domain)
{
    DEFER(object_free) Object *there = NULL;
    DEFER(xfree) char *name = NULL;
    ObjectRef ref = key_ref(domain, &name);
    Error *err = store_get(work->store, &ref, 0, &there);

    if (err || !there)
        return err;
    if (work->rules.purge)
        return work_remove_along(work, there);
    return there->dkim_key->dormant ? NULL : sleeps(work, there, true);
}
