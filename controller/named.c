#include "named.h"

#include "base/alloc.h"
#include "model/meta.h"
#include "model/nearest.h"

#include <stdlib.h>
#include <string.h>

enum { CHOICES_MAX = 20, NEAREST_LOOK_MAX = 2000 };

void named_done(Named *named)
{
    free(named->instance);
    free(named->name);
    *named = (Named){0};
}

ObjectRef named_ref(const Named *named)
{
    return (ObjectRef){named->kind, named->instance, named->name};
}

Error *named_kind(const char *word, Kind *ret_kind)
{
    const KindInfo *info = kind_by_name(word ? word : "");

    if (info) {
        *ret_kind = info->kind;
        return NULL;
    }
    DEFER(xfree) char *shown = name_for_people(word ? word : "");
    const char *nearest = kind_nearest(word ? word : "");
    Error *err = error_new(ERROR_INVALID, "there is no kind '%s'", shown);
    return nearest ? error_hint(err, "did you mean %s?", nearest) : err;
}

/* ---- what is not there ---- */

static Error *offer(void *context, const ObjectRef *ref, const void *bytes, size_t size)
{
    (void)bytes;
    (void)size;
    nearest_offer(context, ref->name);
    return NULL;
}

/* The hint is a courtesy: it looks at a bounded part, and the error stands without it. */
Error *named_missing(Store *store, const ObjectRef *ref)
{
    bool in_instance = kind_info(ref->kind)->meta->in_instance;
    StoreFilter filter = {.kind = ref->kind, .instance = in_instance ? ref->instance : NULL, .limit = NEAREST_LOOK_MAX};
    size_t local_len = 0;
    Nearest nearest;

    if (filter.instance && !*filter.instance)
        filter.instance = NULL;
    if (ref->kind == MAIL__OBJECT__BODY_ADDRESS && !address_split(ref->name, &local_len, &filter.domain))
        filter.domain = NULL;
    nearest_init(&nearest, ref->name);
    Error *err = store_each(store, &filter, offer, &nearest);
    error_free(&err);
    Error *missing = error_new(ERROR_NOT_FOUND, "%s does not exist", object_title(ref).text);
    return nearest_found(&nearest) ? error_hint(missing, "did you mean %s?", nearest_found(&nearest)) : missing;
}

static Error *exists_check(Store *store, const ObjectRef *ref)
{
    DEFER(object_free) Object *object = NULL;
    Error *err = store_get(store, ref, 0, &object);

    return err || object ? err : named_missing(store, ref);
}

Error *named_instance_check(Store *store, const char *instance)
{
    return exists_check(store, &(ObjectRef){MAIL__OBJECT__BODY_INSTANCE, "", instance});
}

Error *named_node(Store *store, const char *node, char **ret_name)
{
    DEFER(xfree) char *name = NULL;
    Error *err = error_in(name_normalise(MAIL__OBJECT__BODY_NODE, node ? node : "", &name), "node");

    if (!err)
        err = exists_check(store, &(ObjectRef){MAIL__OBJECT__BODY_NODE, "", name});
    if (err)
        return err;
    *ret_name = name;
    name = NULL;
    return NULL;
}

/* ---- which instance ---- */

typedef struct Choices {
    char *names[CHOICES_MAX];
    size_t n;
} Choices;

static void choices_done(Choices *choices)
{
    for (size_t i = 0; i < choices->n; i++)
        free(choices->names[i]);
    choices->n = 0;
}

/* Of what lies in an instance that one, of anything else its name. */
static Error *choose(void *context, const ObjectRef *ref, const void *bytes, size_t size)
{
    Choices *choices = context;

    (void)bytes;
    (void)size;
    if (choices->n < CHOICES_MAX)
        choices->names[choices->n++] = xstrdup(*ref->instance ? ref->instance : ref->name);
    return NULL;
}

static Error *which_one(const Choices *choices, const char *what, const char *flag)
{
    DEFER(buf_done) Buf hint = {0};
    Error *err = error_new(ERROR_INVALID, "%s: which one?", what);

    for (size_t i = 0; i < choices->n; i++)
        buf_printf(&hint, "%s%s %s", i ? ", " : "", flag, choices->names[i]);
    return error_hint(err, "%s%s", buf_text(&hint), choices->n == CHOICES_MAX ? ", ..." : "");
}

static Error *which_instance(const Choices *choices)
{
    return which_one(choices, "instance", "-i");
}

/* The only one there is. */
static Error *only_instance(Store *store, char **ret_instance)
{
    DEFER(choices_done) Choices all = {.n = 0};
    StoreFilter filter = {.kind = MAIL__OBJECT__BODY_INSTANCE, .limit = CHOICES_MAX};
    Error *err = store_each(store, &filter, choose, &all);

    if (err)
        return err;
    if (all.n > 1)
        return which_instance(&all);
    if (all.n == 0)
        return error_hint(error_new(ERROR_NOT_FOUND, "there is no instance yet"), "mailctl instance add NAME ...");
    *ret_instance = xstrdup(all.names[0]);
    return NULL;
}

/* *ret_instance stays NULL when the name is nowhere. */
static Error *instance_holding(Store *store, Kind kind, const char *name, char **ret_instance)
{
    DEFER(choices_done) Choices found = {.n = 0};
    Error *err = store_each(store, &(StoreFilter){.kind = kind, .name = name, .limit = CHOICES_MAX}, choose, &found);

    if (err || found.n == 0)
        return err;
    if (found.n > 1)
        return which_instance(&found);
    *ret_instance = xstrdup(found.names[0]);
    return NULL;
}

/* Where a key that holds a mail domain lies: where the domain is, or where the sleeping address is; otherwise it can only
 * be the only instance. */
static Error *instance_by_domain(Store *store, const Named *named, const char *domain, char **ret_instance)
{
    DEFER(xfree) char *only = NULL;
    Error *err = instance_holding(store, MAIL__OBJECT__BODY_DOMAIN, domain, ret_instance);

    if (!err && !*ret_instance && named->kind == MAIL__OBJECT__BODY_ADDRESS)
        err = instance_holding(store, MAIL__OBJECT__BODY_ADDRESS, named->name, ret_instance);
    if (err || *ret_instance)
        return err;
    err = only_instance(store, &only);
    bool several = err && err->code == ERROR_INVALID;
    if (several && named->kind == MAIL__OBJECT__BODY_ADDRESS) {
        error_free(&err);
        return error_in(named_missing(store, &(ObjectRef){MAIL__OBJECT__BODY_DOMAIN, "", domain}), "address %s",
                        named->name);
    }
    *ret_instance = only;
    only = NULL;
    return err;
}

static Error *instance_find(Store *store, const Named *named, char **ret_instance)
{
    const char *domain = NULL;
    size_t local_len = 0;

    if (named->kind == MAIL__OBJECT__BODY_DOMAIN)
        domain = named->name;
    else if (named->kind == MAIL__OBJECT__BODY_ADDRESS && !address_split(named->name, &local_len, &domain))
        domain = NULL;
    if (domain && strcmp(domain, "*") != 0)
        return instance_by_domain(store, named, domain, ret_instance);
    return only_instance(store, ret_instance);
}

static Error *instance_given(Store *store, const char *given, char **ret_instance)
{
    Error *err = name_normalise(MAIL__OBJECT__BODY_INSTANCE, given, ret_instance);

    return err ? error_in(err, "instance") : named_instance_check(store, *ret_instance);
}

static Error *name_take(const Mail__Ref *ref, Named *named)
{
    const KindInfo *info = kind_info(named->kind);
    bool given = ref->name && *ref->name;

    if (info->meta->single) {
        named->name = xstrdup("");
        return given ? error_new(ERROR_INVALID, "%s: an instance has one, without a name", info->name) : NULL;
    }
    if (!given)
        return error_new(ERROR_INVALID, "%s: name is missing", info->name);
    return error_in(name_normalise(named->kind, ref->name, &named->name), "%s", info->name);
}

Error *named_resolve(Store *store, const Mail__Ref *ref, Named *ret_named)
{
    DEFER(named_done) Named named = {.kind = MAIL__OBJECT__BODY__NOT_SET};

    if (!ref)
        return error_new(ERROR_INVALID, "no object is named");
    Error *err = named_kind(ref->kind, &named.kind);
    if (!err)
        err = name_take(ref, &named);
    if (err)
        return err;
    if (!kind_info(named.kind)->meta->in_instance)
        named.instance = xstrdup("");
    else if (ref->instance && *ref->instance)
        err = instance_given(store, ref->instance, &named.instance);
    else
        err = instance_find(store, &named, &named.instance);
    if (err)
        return err;
    *ret_named = named;
    named = (Named){.kind = MAIL__OBJECT__BODY__NOT_SET};
    return NULL;
}

typedef struct Placed {
    const char *node;
    char *instance;
} Placed;

static Error *placed_look(void *context, const ObjectRef *ref, const void *bytes, size_t size)
{
    Placed *placed = context;
    DEFER(object_free) Object *object = NULL;

    Error *err = object_unpack(bytes, size, &object);
    if (!err && !placed->instance && object->instance->node && strcmp(object->instance->node, placed->node) == 0)
        placed->instance = xstrdup(ref->name);
    return err;
}

Error *named_instance_on(Store *store, const char *node, char **ret_instance)
{
    Placed placed = {.node = node};

    Error *err = store_each(store, &(StoreFilter){.kind = MAIL__OBJECT__BODY_INSTANCE}, placed_look, &placed);
    if (err)
        free(placed.instance);
    else
        *ret_instance = placed.instance;
    return err;
}

Error *named_placed(Store *store, const char *given, Object **ret_instance)
{
    DEFER(named_done) Named named = {.kind = MAIL__OBJECT__BODY__NOT_SET};
    DEFER(object_free) Object *instance = NULL;
    Mail__Ref policy = MAIL__REF__INIT; /* of which each instance has one: it means the instance alone */

    policy.kind = (char *)(uintptr_t) "policy";
    policy.instance = (char *)(uintptr_t)given;
    Error *err = named_resolve(store, &policy, &named);
    if (!err)
        err = store_get(store, &(ObjectRef){MAIL__OBJECT__BODY_INSTANCE, "", named.instance}, 0, &instance);
    if (!err && !instance)
        err = named_instance_check(store, named.instance);
    if (!err && instance && !instance->instance->node)
        err =
            error_new(ERROR_UNAVAILABLE, "instance %s is placed nowhere: no node knows its mailboxes", named.instance);
    if (err)
        return err;
    *ret_instance = instance;
    instance = NULL;
    return NULL;
}

/* ---- which user domain ---- */

static Error *domain_of_instance(Store *store, const char *instance, char **ret_name)
{
    DEFER(object_free) Object *object = NULL;
    Error *err = store_get(store, &(ObjectRef){MAIL__OBJECT__BODY_INSTANCE, "", instance}, 0, &object);

    if (!err && object && object->instance->user_domain)
        *ret_name = xstrdup(object->instance->user_domain);
    return err;
}

/* Neither it nor an instance is named. */
static Error *only_user_domain(Store *store, char **ret_name)
{
    DEFER(choices_done) Choices instances = {.n = 0};
    DEFER(choices_done) Choices domains = {.n = 0};
    Error *err = store_each(store, &(StoreFilter){.kind = MAIL__OBJECT__BODY_INSTANCE, .limit = CHOICES_MAX}, choose,
                            &instances);

    if (!err && instances.n == 1)
        return domain_of_instance(store, instances.names[0], ret_name);
    if (!err)
        err = store_each(store, &(StoreFilter){.kind = MAIL__OBJECT__BODY_USER_DOMAIN, .limit = CHOICES_MAX}, choose,
                         &domains);
    if (err)
        return err;
    if (domains.n > 1)
        return which_one(&domains, "user domain", "-u");
    if (domains.n == 0)
        return error_hint(error_new(ERROR_NOT_FOUND, "there is no user domain yet"),
                          "mailctl user-domain add NAME kind=internal node=NODE");
    *ret_name = xstrdup(domains.names[0]);
    return NULL;
}

static Error *user_domain_find(Store *store, const char *given, const char *instance, char **ret_name)
{
    DEFER(xfree) char *name = NULL;

    if (given && *given)
        return error_in(name_normalise(MAIL__OBJECT__BODY_USER_DOMAIN, given, ret_name), "user domain");
    if (!instance || !*instance)
        return only_user_domain(store, ret_name);
    Error *err = instance_given(store, instance, &name);
    return err ? err : domain_of_instance(store, name, ret_name);
}

Error *named_user_domain(Store *store, const char *user_domain, const char *instance, Object **ret_object)
{
    DEFER(xfree) char *name = NULL;
    DEFER(object_free) Object *object = NULL;
    Error *err = user_domain_find(store, user_domain, instance, &name);
    ObjectRef ref = {MAIL__OBJECT__BODY_USER_DOMAIN, "", name ? name : ""};

    if (!err)
        err = store_get(store, &ref, 0, &object);
    if (!err && !object)
        err = named_missing(store, &ref);
    if (err)
        return err;
    *ret_object = object;
    object = NULL;
    return NULL;
}
