#include "keyless.h"

#include "work_dkim.h"

#include "base/alloc.h"
#include "base/log.h"
#include "model/name.h"

#include <stdlib.h>
#include <string.h>

enum { AT_ONCE = KEYPOOL_MAX };

struct Keyless {
    Store *store;
    Batch *batch;
    KeyPool *pool;
    Names domains; /* "main example.org" */
    Job *job;      /* NULL: none is under way */
};

static ObjectRef domain_ref(const char *name, char **ret_instance)
{
    const char *space = strchr(name, ' ');

    *ret_instance = xstrndup(name, (size_t)(space - name));
    return (ObjectRef){MAIL__OBJECT__BODY_DOMAIN, *ret_instance, space + 1};
}

/* ---- which ---- */

static Error *look_at(void *context, const Object *domain)
{
    Keyless *keyless = context;
    DEFER(object_free) Object *key = NULL;
    DEFER(xfree) char *name = xasprintf("%s/" DKIM_SELECTOR, domain->name);
    ObjectRef ref = {MAIL__OBJECT__BODY_DKIM_KEY, domain->instance_name, name};

    if (!domain->domain->dkim || strlen(domain->name) > DKIM_DOMAIN_LEN)
        return NULL;
    Error *err = store_get(keyless->store, &ref, 0, &key);
    if (err || key)
        return err;
    DEFER(xfree) char *both = xasprintf("%s %s", domain->instance_name, domain->name);
    names_add(&keyless->domains, both);
    return NULL;
}

Error *keyless_new(Store *store, Batch *batch, KeyPool *pool, Keyless **ret_keyless)
{
    DEFER(keyless_free) Keyless *keyless = xcalloc(1, sizeof *keyless);
    StateView view = store_view(store);

    *keyless = (Keyless){.store = store, .batch = batch, .pool = pool};
    Error *err = view.each(view.self, MAIL__OBJECT__BODY_DOMAIN, NULL, NULL, look_at, keyless);
    if (err)
        return err;
    *ret_keyless = keyless;
    keyless = NULL;
    return NULL;
}

void keyless_free(Keyless **keyless)
{
    if (!*keyless)
        return;
    job_release(&(*keyless)->job);
    names_done(&(*keyless)->domains);
    free(*keyless);
    *keyless = NULL;
}

size_t keyless_count(const Keyless *keyless)
{
    return keyless->domains.n;
}

/* ---- their keys ---- */

/* What was removed meanwhile, signs no more or got its key by another change costs none. */
static Error *domain_work(Work *work, const char *name)
{
    DEFER(object_free) Object *domain = NULL;
    DEFER(xfree) char *instance = NULL;
    ObjectRef ref = domain_ref(name, &instance);
    Error *err = store_get(work->store, &ref, 0, &domain);

    if (err || !domain || !domain->domain->dkim)
        return err;
    return dkim_domain_comes(work, domain);
}

static Error *keys_work(void *context, Work *work)
{
    const Names *domains = context;
    Error *err = NULL;

    for (size_t i = 0; !err && i < domains->n; i++)
        err = domain_work(work, domains->names[i]);
    return err ? err : work_finish(work);
}

static void names_drop(void *context)
{
    Names *names = context;

    names_done(names);
    free(names);
}

static void job_begin(Keyless *keyless, size_t n)
{
    Names *some = xcalloc(1, sizeof *some), rest = {0};
    JobOrder order = {.work = keys_work,
                      .context_free = names_drop,
                      .context = some,
                      .who = "controller",
                      .message = "DKIM keys of domains that had none"};

    for (size_t i = 0; i < keyless->domains.n; i++)
        names_add(i < n ? some : &rest, keyless->domains.names[i]);
    names_done(&keyless->domains);
    keyless->domains = rest;
    keyless->job = batch_add(keyless->batch, &order);
}

void keyless_run(Keyless *keyless, Msec now)
{
    size_t n = keyless->domains.n < AT_ONCE ? keyless->domains.n : AT_ONCE;

    (void)now;
    if (keyless->job && job_done(keyless->job)) {
        const Error *err = job_result(keyless->job).err;
        if (err)
            log_error("DKIM keys not stored: mailctl dkim enable gives a domain its key", kv("why", err->what));
        job_release(&keyless->job);
    }
    batch_keyless(keyless->batch, &keyless->domains);
    if (keyless->job || !n)
        return;
    keypool_want(keyless->pool, n);
    if (keypool_count(keyless->pool) >= n)
        job_begin(keyless, n);
}
