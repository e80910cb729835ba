/* The rules between objects.  What must be found again is a look-up by name; the whole of a kind is only gone through for
 * kinds of which there are few, or when the answer is no already. */
#include "model/validate.h"

#include "base/alloc.h"
#include "model/meta.h"
#include "model/nearest.h"
#include "model/value.h"

#include <stdlib.h>
#include <string.h>

static Error *look(const StateView *view, const ObjectRef *ref, bool *ret_there)
{
    DEFER(object_free) Object *object = NULL;
    Error *err = view->get(view->self, ref, &object);

    if (!err)
        *ret_there = object != NULL;
    return err;
}

/* ---- what is named is there --------------------------------------------------------- */

static Error *offer_name(void *context, const Object *object)
{
    nearest_offer(context, object_ref(object).name);
    return NULL;
}

/* The hint is a courtesy: the error stands without it. */
static Error *with_nearest(Error *missing, const ObjectRef *ref, const StateView *view)
{
    const char *instance = kind_info(ref->kind)->meta->in_instance ? ref->instance : NULL;
    Nearest nearest;

    nearest_init(&nearest, ref->name);
    Error *err = view->each(view->self, ref->kind, instance, NULL, offer_name, &nearest);
    error_free(&err);
    if (nearest_found(&nearest))
        return error_hint(missing, "did you mean %s?", nearest_found(&nearest));
    return missing;
}

static Error *exists_check(const ObjectRef *ref, const StateView *view)
{
    bool there = false;
    Error *err = look(view, ref, &there);

    if (err || there)
        return err;
    return with_nearest(error_new(ERROR_NOT_FOUND, "%s %s does not exist", kind_info(ref->kind)->name, ref->name), ref,
                        view);
}

static Error *references_check(const Object *object, const StateView *view)
{
    const KindMeta *meta = kind_info(object->body_case)->meta;
    Error *err = NULL;

    for (size_t i = 0; !err && i < meta->n_fields; i++) {
        const FieldMeta *field = &meta->fields[i];
        size_t n = field->reference ? value_count(object, field) : 0;
        for (size_t k = 0; !err && k < n; k++) {
            DEFER(xfree) char *name = value_text(object, field, k);
            err = exists_check(&(ObjectRef){kind_by_name(field->reference)->kind, NULL, name}, view);
        }
    }
    return err;
}

static Error *instance_check(const Object *object, const StateView *view)
{
    if (!kind_info(object->body_case)->meta->in_instance)
        return NULL;
    return exists_check(&(ObjectRef){MAIL__OBJECT__BODY_INSTANCE, NULL, object->instance_name}, view);
}

/* ---- what never changes -------------------------------------------------------------- */

static Error *fixed_check(const Object *object, const Object *older)
{
    const KindMeta *meta = kind_info(object->body_case)->meta;

    for (size_t i = 0; i < meta->n_fields; i++) {
        const FieldMeta *field = &meta->fields[i];
        if (!field->fixed || value_count(older, field) != 1 || value_count(object, field) != 1)
            continue;
        DEFER(xfree) char *was = value_text(older, field, 0);
        DEFER(xfree) char *now = value_text(object, field, 0);
        DEFER(xfree) char *title = field_title(field);
        if (strcmp(was, now) != 0)
            return error_new(ERROR_INVALID, "%s '%s': never changes, it is %s", title, now, was);
    }
    return NULL;
}

/* ---- one of its kind ----------------------------------------------------------------- */

static Error *other_on_node(void *context, const Object *other)
{
    const Object *object = context;

    if (!other->instance->node || strcmp(other->instance->node, object->instance->node) != 0)
        return NULL;
    if (strcmp(object_ref(other).name, object_ref(object).name) == 0)
        return NULL;
    return error_new(ERROR_CONFLICT, "node %s has instance %s already: a node runs one", object->instance->node,
                     other->name);
}

static Error *placed_check(const Object *object, const StateView *view)
{
    if (!object->instance->node)
        return NULL;
    return view->each(view->self, MAIL__OBJECT__BODY_INSTANCE, NULL, NULL, other_on_node, (void *)(uintptr_t)object);
}

static Error *domain_elsewhere(void *context, const Object *other)
{
    const Object *object = context;

    if (strcmp(object_ref(other).instance, object_ref(object).instance) == 0)
        return NULL;
    return error_new(ERROR_EXISTS, "exists in instance %s: a domain lies in one", other->instance_name);
}

/* slapd shows one certificate, and the replicas of a user domain know its own alone. */
static Error *other_provided(void *context, const Object *other)
{
    const Object *object = context;

    if (!other->user_domain->n_replicas || strcmp(object_ref(other).name, object_ref(object).name) == 0 ||
        strcmp(other->user_domain->node, object->user_domain->node) != 0)
        return NULL;
    return error_new(ERROR_CONFLICT, "node %s provides user-domain %s to replicas already: a node provides one",
                     object->user_domain->node, other->name);
}

static Error *provided_check(const Object *object, const StateView *view)
{
    if (!object->user_domain->n_replicas)
        return NULL;
    return view->each(view->self, MAIL__OBJECT__BODY_USER_DOMAIN, NULL, NULL, other_provided,
                      (void *)(uintptr_t)object);
}

/* ---- addresses and domains ------------------------------------------------------------ */

static Error *domain_found(void *context, const Object *domain)
{
    const char **instance = context;

    *instance = object_ref(domain).instance;
    return error_new(ERROR_NOT_FOUND, "domain %s lies in instance %s", domain->name, domain->instance_name);
}

static Error *own_domain_check(const Object *object, const StateView *view)
{
    const char *domain, *instance = NULL;
    size_t local_len;
    bool there = false;

    if (object->address->dormant || !address_split(object->name, &local_len, &domain) || strcmp(domain, "*") == 0)
        return NULL;
    ObjectRef ref = {MAIL__OBJECT__BODY_DOMAIN, object->instance_name, domain};
    Error *err = look(view, &ref, &there);
    if (err || there)
        return err;
    err = view->each(view->self, ref.kind, NULL, domain, domain_found, &instance);
    return err ? err : exists_check(&ref, view);
}

/* The domain of a destination elsewhere; NULL: a user, group or public mailbox. */
static const char *external_domain(const char *to)
{
    const char *domain;
    size_t local_len;

    if (strncmp(to, "user:", 5) == 0 || strncmp(to, "group:", 6) == 0 || strncmp(to, "public:", 7) == 0)
        return NULL;
    return address_split(to, &local_len, &domain) ? domain : NULL;
}

/* Users and groups are the directory's to know; a public mailbox is stated. */
static Error *public_check(const Object *object, const char *title, const char *to, const StateView *view)
{
    if (!to || strncmp(to, "public:", 7) != 0)
        return NULL;
    return error_in(exists_check(&(ObjectRef){MAIL__OBJECT__BODY_PUBLIC_MAILBOX, object->instance_name, to + 7}, view),
                    "%s", title);
}

static Error *publics_check(const Object *object, const StateView *view)
{
    Error *err = NULL;

    for (size_t i = 0; !err && i < object->address->n_to; i++)
        err = public_check(object, "to", object->address->to[i], view);
    return err;
}

/* F-075.  Domains of other instances are outside, like anybody's. */
static Error *externals_check(const Object *object, const StateView *view)
{
    const Mail__Address *address = object->address;

    for (size_t i = 0; i < address->n_to; i++) {
        const char *domain = external_domain(address->to[i]);
        bool ours = false;

        if (!domain)
            continue;
        Error *err = look(view, &(ObjectRef){MAIL__OBJECT__BODY_DOMAIN, object->instance_name, domain}, &ours);
        if (err)
            return err;
        if (ours)
            return error_hint(
                error_new(ERROR_INVALID, "to '%s': %s is a domain of this instance", address->to[i], domain),
                "write user:NAME, group:NAME or public:NAME");
    }
    return NULL;
}

static Error *taken_over(void *context, const Object *address)
{
    const char *name = context;

    for (size_t i = 0; i < address->address->n_to; i++) {
        const char *domain = external_domain(address->address->to[i]);
        if (domain && strcmp(domain, name) == 0)
            return error_hint(error_new(ERROR_CONFLICT, "address %s delivers to %s, which would be taken over",
                                        address->name, address->address->to[i]),
                              "mailctl address set %s to-=%s", address->name, address->address->to[i]);
    }
    return NULL;
}

static Error *domain_put_check(const Object *object, const Object *older, const StateView *view)
{
    Error *err = view->each(view->self, MAIL__OBJECT__BODY_DOMAIN, NULL, object->name, domain_elsewhere,
                            (void *)(uintptr_t)object);
    if (!err)
        err = public_check(object, "catch-all", object->domain->catch_all, view);
    if (err || older) /* what was there already takes nothing over */
        return err;
    return view->each(view->self, MAIL__OBJECT__BODY_ADDRESS, object->instance_name, NULL, taken_over, object->name);
}

static Error *kind_put_check(const Object *object, const Object *older, const StateView *view)
{
    Error *err;

    switch (object->body_case) {
    case MAIL__OBJECT__BODY_INSTANCE:
        return placed_check(object, view);
    case MAIL__OBJECT__BODY_USER_DOMAIN:
        return provided_check(object, view);
    case MAIL__OBJECT__BODY_DOMAIN:
        return domain_put_check(object, older, view);
    case MAIL__OBJECT__BODY_ADDRESS:
        err = own_domain_check(object, view);
        if (!err)
            err = publics_check(object, view);
        return err ? err : externals_check(object, view);
    default:
        return NULL;
    }
}

Error *object_check_put(const Object *object, const StateView *view)
{
    DEFER(object_free) Object *older = NULL;
    ObjectRef ref = object_ref(object);

    Error *err = instance_check(object, view);
    if (!err)
        err = references_check(object, view);
    if (!err)
        err = view->get(view->self, &ref, &older);
    if (!err && older)
        err = fixed_check(object, older);
    if (!err)
        err = kind_put_check(object, older, view);
    return err ? error_in(err, "%s", object_title(&ref).text) : NULL;
}

/* ---- who still needs it ---------------------------------------------------------------- */

typedef struct Needed {
    const ObjectRef *ref;
    const char *kind;
} Needed;

static Error *names_it(void *context, const Object *object)
{
    const Needed *needed = context;
    const KindMeta *meta = kind_info(object->body_case)->meta;
    ObjectRef ref = object_ref(object);

    for (size_t i = 0; i < meta->n_fields; i++) {
        const FieldMeta *field = &meta->fields[i];
        if (!field->reference || strcmp(field->reference, needed->kind) != 0)
            continue;
        for (size_t k = 0; k < value_count(object, field); k++) {
            DEFER(xfree) char *name = value_text(object, field, k);
            DEFER(xfree) char *title = field_title(field);
            if (strcmp(name, needed->ref->name) == 0)
                return error_new(ERROR_CONFLICT, "%s names it (%s)", object_title(&ref).text, title);
        }
    }
    return NULL;
}

static bool may_name(const KindMeta *meta, const char *kind)
{
    for (size_t i = 0; i < meta->n_fields; i++)
        if (meta->fields[i].reference && strcmp(meta->fields[i].reference, kind) == 0)
            return true;
    return false;
}

Error *object_check_remove(const ObjectRef *ref, const StateView *view)
{
    Needed needed = {ref, kind_info(ref->kind)->name};
    Error *err = NULL;

    for (size_t i = 0; !err && i < n_kinds; i++)
        if (may_name(kind_info(kinds[i])->meta, needed.kind))
            err = view->each(view->self, kinds[i], NULL, NULL, names_it, &needed);
    return error_in(err, "%s", err ? object_title(ref).text : "");
}
