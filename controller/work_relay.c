#include "work_relay.h"

#include "work_secret.h"

#include "base/alloc.h"

#include <stdlib.h>
#include <string.h>

static bool is_relay(const Object *object)
{
    return object->body_case == MAIL__OBJECT__BODY_RELAY;
}

static bool is_sender_rule(const Object *object)
{
    return strncmp(object->name, "sender/", 7) == 0;
}

/* ---- others to the same server ---- */

typedef struct Siblings {
    const Object *of;
    Object **objects;
    size_t n;
} Siblings;

static void siblings_done(Siblings *siblings)
{
    for (size_t i = 0; i < siblings->n; i++)
        object_free(&siblings->objects[i]);
    free(siblings->objects);
}

static Error *sibling_take(void *context, const Object *object)
{
    Siblings *siblings = context;
    const Mail__Relay *own = siblings->of->relay, *other = object->relay;

    if (is_sender_rule(object) || strcmp(object->name, siblings->of->name) == 0 || other->port != own->port ||
        strcmp(other->host, own->host) != 0)
        return NULL;
    siblings->objects = xrealloc(siblings->objects, (siblings->n + 1) * sizeof(Object *));
    siblings->objects[siblings->n++] = object_clone(object);
    return NULL;
}

static Error *siblings_find(Work *work, const Object *object, Siblings *out)
{
    StateView store = store_view(work->store);

    *out = (Siblings){.of = object};
    if (is_sender_rule(object))
        return NULL;
    return store.each(store.self, MAIL__OBJECT__BODY_RELAY, object->instance_name, NULL, sibling_take, out);
}

/* ---- their TLS and login ---- */

static const FieldMeta *password_field(void)
{
    return meta_field(kind_info(MAIL__OBJECT__BODY_RELAY)->meta, "password");
}

static void tls_copy(Object *to, const Object *from)
{
    to->relay->has_tls = from->relay->has_tls;
    to->relay->tls = from->relay->tls;
}

static void user_copy(Object *to, const Object *from)
{
    free(to->relay->user);
    to->relay->user = from->relay->user ? xstrdup(from->relay->user) : NULL;
}

/* The value, under a number of its own. */
static Error *password_copy(Work *work, Object *to, const Object *from)
{
    DEFER(secret_free) Secret *secret = NULL;
    Error *err = from->relay->has_password ? store_secret(work->store, from->relay->password, &secret) : NULL;

    if (err)
        return err;
    if (secret)
        return work_secret_set(work, to, password_field(), secret);
    secret_field_set(to, password_field(), 0);
    return NULL;
}

static bool says(const Mail__ObjectEdit *edit, const char *field)
{
    for (size_t i = 0; i < edit->n_fields; i++)
        if (edit->fields[i]->field && strcmp(edit->fields[i]->field, field) == 0)
            return true;
    return false;
}

Error *relay_follow(Work *work, Object *object, const Mail__ObjectEdit *edit)
{
    DEFER(siblings_done) Siblings siblings = {0};
    bool login = says(edit, "user") || says(edit, "password"); /* together */

    if (!is_relay(object))
        return NULL;
    Error *err = siblings_find(work, object, &siblings);
    if (err || !siblings.n)
        return err;
    if (!says(edit, "tls"))
        tls_copy(object, siblings.objects[0]);
    if (login)
        return NULL;
    user_copy(object, siblings.objects[0]);
    return password_copy(work, object, siblings.objects[0]);
}

/* ---- rules ---- */

/* To ourselves mail would go for ever. */
static Error *loop_check(Work *work, const ObjectRef *ref, const char *host)
{
    DEFER(object_free) Object *own = NULL;
    Error *err = store_get(work->store, &(ObjectRef){MAIL__OBJECT__BODY_INSTANCE, "", ref->instance}, 0, &own);

    if (err || !own)
        return err;
    bool ours = strcmp(host, own->instance->hostname) == 0;
    for (size_t i = 0; i < own->instance->n_listen; i++)
        ours = ours || strcmp(host, own->instance->listen[i]) == 0;
    if (!ours)
        return NULL;
    return error_new(ERROR_INVALID, "%s: host '%s': that is this instance itself: mail would go in a circle",
                     object_title(ref).text, host);
}

/* Only what was erased may be missing of a login, and then the rule puts mail off. */
Error *relay_put_check(Work *work, const Object *object)
{
    ObjectRef ref = object_ref(object);

    if (!is_relay(object))
        return NULL;
    Error *err = loop_check(work, &ref, object->relay->host);
    if (err)
        return err;
    if (object->relay->user && !object->relay->has_password && object->relay->enabled)
        return error_hint(error_new(ERROR_INVALID, "%s: password is missing: user and password are set together",
                                    object_title(&ref).text),
                          "password=@FILE, or password=- for stdin or to be asked");
    if (object->relay->user && object->relay->tls == MAIL__RELAY__LEVEL__OFF)
        work_warn(work, "%s: tls is off: the login goes unprotected to a server that does not offer it",
                  object_title(&ref).text);
    return NULL;
}

/* ---- spreading ---- */

static Error *same_password(Work *work, const Object *a, const Object *b, bool *ret_same)
{
    DEFER(secret_free) Secret *left = NULL;
    DEFER(secret_free) Secret *right = NULL;
    Error *err = a->relay->has_password ? store_secret(work->store, a->relay->password, &left) : NULL;

    if (!err && b->relay->has_password)
        err = store_secret(work->store, b->relay->password, &right);
    *ret_same = left && right ? secret_equal(left, right) : !left && !right;
    return err;
}

static bool same_rest(const Mail__Relay *a, const Mail__Relay *b)
{
    return a->tls == b->tls && strcmp(a->user ? a->user : "", b->user ? b->user : "") == 0;
}

static Error *spread_to(Work *work, const Object *object, const Object *sibling,
                        Error *(*put)(Work *work, const Object *before, const Object *after))
{
    DEFER(object_free) Object *after = object_clone(sibling);
    ObjectRef ref = object_ref(sibling), own = object_ref(object);
    bool same = false;
    Error *err = same_password(work, object, sibling, &same);

    if (err || (same && same_rest(object->relay, sibling->relay)))
        return err;
    if (names_has(&work->relays, sibling->name))
        return error_new(ERROR_INVALID, "%s and %s: both lead to %s:%u, and state another TLS level or login",
                         object_title(&own).text, object_title(&ref).text, object->relay->host, object->relay->port);
    tls_copy(after, object);
    user_copy(after, object);
    err = password_copy(work, after, object);
    if (!err)
        err = put(work, sibling, after);
    if (!err)
        work_warn(work, "%s has the same TLS level and login now: it leads to %s:%u, too", object_title(&ref).text,
                  object->relay->host, object->relay->port);
    return err;
}

Error *relay_spread(Work *work, const Object *object,
                    Error *(*put)(Work *work, const Object *before, const Object *after))
{
    DEFER(siblings_done) Siblings siblings = {0};

    if (!is_relay(object) || is_sender_rule(object) || work->rules.restoring)
        return NULL;
    names_add(&work->relays, object->name);
    Error *err = siblings_find(work, object, &siblings);
    for (size_t i = 0; !err && i < siblings.n; i++)
        err = spread_to(work, object, siblings.objects[i], put);
    return err;
}
