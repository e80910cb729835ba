#include "model/object.h"

#include "base/alloc.h"
#include "model/canonical.h"
#include "model/meta.h"
#include "model/nearest.h"
#include "model/shown.h"
#include "model/validate.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- kinds ------------------------------------------------------------------------- */

const Kind kinds[] = {
    MAIL__OBJECT__BODY_NODE,           MAIL__OBJECT__BODY_USER_DOMAIN, MAIL__OBJECT__BODY_INSTANCE,
    MAIL__OBJECT__BODY_ADMIN,          MAIL__OBJECT__BODY_DOMAIN,      MAIL__OBJECT__BODY_POLICY,
    MAIL__OBJECT__BODY_SETTINGS,       MAIL__OBJECT__BODY_FILTER,      MAIL__OBJECT__BODY_TLS,
    MAIL__OBJECT__BODY_PUBLIC_MAILBOX, MAIL__OBJECT__BODY_ADDRESS,     MAIL__OBJECT__BODY_MAILBOX,
    MAIL__OBJECT__BODY_RELAY,          MAIL__OBJECT__BODY_DKIM_KEY,    MAIL__OBJECT__BODY_RELAY_CLIENT,
    MAIL__OBJECT__BODY_DESTINATION,    MAIL__OBJECT__BODY_PLAN,
};
const size_t n_kinds = sizeof kinds / sizeof *kinds;

static KindInfo infos[] = {
    {MAIL__OBJECT__BODY_NODE, "node", "node", &mail__node__descriptor, NULL},
    {MAIL__OBJECT__BODY_INSTANCE, "instance", "instance", &mail__instance__descriptor, NULL},
    {MAIL__OBJECT__BODY_USER_DOMAIN, "user-domain", "user_domain", &mail__user_domain__descriptor, NULL},
    {MAIL__OBJECT__BODY_ADMIN, "admin", "admin", &mail__admin__descriptor, NULL},
    {MAIL__OBJECT__BODY_DOMAIN, "domain", "domain", &mail__domain__descriptor, NULL},
    {MAIL__OBJECT__BODY_ADDRESS, "address", "address", &mail__address__descriptor, NULL},
    {MAIL__OBJECT__BODY_MAILBOX, "mailbox", "mailbox", &mail__mailbox__descriptor, NULL},
    {MAIL__OBJECT__BODY_PUBLIC_MAILBOX, "public-mailbox", "public_mailbox", &mail__public_mailbox__descriptor, NULL},
    {MAIL__OBJECT__BODY_POLICY, "policy", "policy", &mail__policy__descriptor, NULL},
    {MAIL__OBJECT__BODY_SETTINGS, "settings", "settings", &mail__settings__descriptor, NULL},
    {MAIL__OBJECT__BODY_FILTER, "filter", "filter", &mail__filter__descriptor, NULL},
    {MAIL__OBJECT__BODY_TLS, "tls", "tls", &mail__tls__descriptor, NULL},
    {MAIL__OBJECT__BODY_RELAY, "relay", "relay", &mail__relay__descriptor, NULL},
    {MAIL__OBJECT__BODY_DKIM_KEY, "dkim-key", "dkim_key", &mail__dkim_key__descriptor, NULL},
    {MAIL__OBJECT__BODY_RELAY_CLIENT, "relay-client", "relay_client", &mail__relay_client__descriptor, NULL},
    {MAIL__OBJECT__BODY_DESTINATION, "destination", "destination", &mail__destination__descriptor, NULL},
    {MAIL__OBJECT__BODY_PLAN, "plan", "plan", &mail__plan__descriptor, NULL},
};
enum { N_INFOS = sizeof infos / sizeof *infos };

const KindInfo *kind_info(Kind kind)
{
    for (size_t i = 0; i < N_INFOS; i++)
        if (infos[i].kind == kind) {
            if (!infos[i].meta)
                infos[i].meta = meta_of(infos[i].descriptor);
            return &infos[i];
        }
    return NULL;
}

static bool same_kind(const char *name, const char *typed)
{
    while (*name && (*name == *typed || (*name == '-' && *typed == '_'))) {
        name++;
        typed++;
    }
    return !*name && !*typed;
}

const KindInfo *kind_by_name(const char *name)
{
    for (size_t i = 0; i < N_INFOS; i++)
        if (same_kind(infos[i].name, name))
            return kind_info(infos[i].kind);
    return NULL;
}

const char *kind_nearest(const char *name)
{
    const char *names[N_INFOS];

    for (size_t i = 0; i < N_INFOS; i++)
        names[i] = infos[i].name;
    return nearest_of(name, names, N_INFOS);
}

/* ---- which, and where -------------------------------------------------------------- */

static const char *or_empty(const char *text)
{
    return text ? text : "";
}

ObjectRef object_ref(const Object *object)
{
    return (ObjectRef){object->body_case, or_empty(object->instance_name), or_empty(object->name)};
}

/* Does the name alone say which one?  A mail domain lies in one instance of the cluster. */
static bool name_says_all(const ObjectRef *ref)
{
    const char *domain;
    size_t local_len;

    if (ref->kind == MAIL__OBJECT__BODY_ADDRESS)
        return address_split(ref->name, &local_len, &domain) && strcmp(domain, "*") != 0;
    return ref->kind == MAIL__OBJECT__BODY_DOMAIN || ref->kind == MAIL__OBJECT__BODY_DKIM_KEY;
}

ObjectKey object_title(const ObjectRef *ref)
{
    const KindInfo *info = kind_info(ref->kind);
    DEFER(xfree) char *name = shown(ref->name);
    DEFER(xfree) char *instance = shown(ref->instance);
    ObjectKey key;

    int len = snprintf(key.text, sizeof key.text, "%s%s%s", info ? info->name : "object", *name ? " " : "", name);
    if (*instance && !(*name && name_says_all(ref)))
        snprintf(key.text + len, sizeof key.text - (size_t)len, " of %s", instance);
    return key;
}

static Scope scope_of(const char *kind, const char *name)
{
    Scope scope;

    snprintf(scope.text, sizeof scope.text, "%s/%s", kind, or_empty(name));
    return scope;
}

Scope object_scope(const ObjectRef *ref)
{
    const KindInfo *info = kind_info(ref->kind);

    if (!info)
        return (Scope){"cluster"};
    if (info->meta->in_instance)
        return scope_of("instance", ref->instance);
    switch (ref->kind) {
    case MAIL__OBJECT__BODY_NODE:
    case MAIL__OBJECT__BODY_INSTANCE:
    case MAIL__OBJECT__BODY_USER_DOMAIN:
        return scope_of(info->name, ref->name);
    case MAIL__OBJECT__BODY_DESTINATION:
    case MAIL__OBJECT__BODY_PLAN:
        return (Scope){SCOPE_BACKUP};
    default:
        return (Scope){"cluster"};
    }
}

typedef struct Subscriptions {
    Subscription *out;
    size_t room, n;
} Subscriptions;

static void subscribe(Subscriptions *to, const char *node, Scope scope)
{
    if (!node || !*node)
        return;
    for (size_t i = 0; i < to->n && i < to->room; i++)
        if (strcmp(to->out[i].node, node) == 0 && strcmp(to->out[i].scope.text, scope.text) == 0)
            return;
    if (to->n < to->room)
        to->out[to->n] = (Subscription){node, scope};
    to->n++;
}

size_t object_subscriptions(const Object *object, Subscription *out, size_t room)
{
    Subscriptions to = {out, room, 0};
    ObjectRef ref = object_ref(object);

    if (ref.kind == MAIL__OBJECT__BODY_NODE)
        subscribe(&to, ref.name, object_scope(&ref));
    if (ref.kind == MAIL__OBJECT__BODY_INSTANCE) {
        subscribe(&to, object->instance->node, object_scope(&ref));
        if (object->instance->user_domain && *object->instance->user_domain)
            subscribe(&to, object->instance->node, scope_of("user-domain", object->instance->user_domain));
        subscribe(&to, object->instance->node, (Scope){SCOPE_BACKUP});
    }
    if (ref.kind == MAIL__OBJECT__BODY_USER_DOMAIN) {
        subscribe(&to, object->user_domain->node, object_scope(&ref));
        for (size_t i = 0; i < object->user_domain->n_replicas; i++)
            subscribe(&to, object->user_domain->replicas[i], object_scope(&ref));
    }
    return to.n;
}

DirectoryRole user_domain_role(const Mail__UserDomain *user_domain, const char *node)
{
    if (user_domain->kind != MAIL__USER_DOMAIN_KIND__INTERNAL)
        return DIRECTORY_NONE;
    if (user_domain->node && strcmp(user_domain->node, node) == 0)
        return DIRECTORY_HOLDER;
    for (size_t i = 0; i < user_domain->n_replicas; i++)
        if (strcmp(user_domain->replicas[i], node) == 0)
            return DIRECTORY_REPLICA;
    return DIRECTORY_NONE;
}

/* ---- made, copied, freed ----------------------------------------------------------- */

static char *copy_unless_empty(const char *text)
{
    return text && *text ? xstrdup(text) : NULL;
}

Object *object_new(Kind kind, const char *instance, const char *name)
{
    const KindInfo *info = kind_info(kind);
    assert(info);
    Object *object = xmalloc(sizeof *object);
    ProtobufCMessage *body = xmalloc(info->descriptor->sizeof_message);

    mail__object__init(object);
    protobuf_c_message_init(info->descriptor, body);
    object->instance_name = copy_unless_empty(instance);
    object->name = copy_unless_empty(name);
    object->body_case = kind;
    /* The members of the oneof are pointers that share one place. */
    object->node = (Mail__Node *)body;
    return object;
}

void object_free(Object **object)
{
    if (*object)
        mail__object__free_unpacked(*object, NULL);
    *object = NULL;
}

ProtobufCMessage *object_body(const Object *object)
{
    return object->body_case == MAIL__OBJECT__BODY__NOT_SET ? NULL : (ProtobufCMessage *)object->node;
}

/* ---- canonical bytes --------------------------------------------------------------- */

void object_pack(const Object *object, Buf *out)
{
    size_t size = mail__object__get_packed_size(object);
    uint8_t *room = buf_reserve(out, size);

    assert(room); /* a limit of the Buf would cut the object: the caller leaves room for it */
    out->size += mail__object__pack(object, room);
}

bool object_equal(const Object *a, const Object *b)
{
    DEFER(buf_done) Buf left = {0};
    DEFER(buf_done) Buf right = {0};

    object_pack(a, &left);
    object_pack(b, &right);
    return left.size == right.size && memcmp(left.data, right.data, left.size) == 0;
}

Object *object_clone(const Object *object)
{
    DEFER(buf_done) Buf bytes = {0};

    object_pack(object, &bytes);
    Object *copy = mail__object__unpack(NULL, bytes.size, bytes.data);
    assert(copy);
    return copy;
}

/* What unpacking may take, all allocations counted: an empty item of a list is two octets and fifty in memory. */
enum { MEMORY_MAX = 4 * 1024 * 1024, MEMORY_PER_BLOCK = 32 };

static void *counted_alloc(void *data, size_t size)
{
    size_t *left = data;

    if (size > *left || *left - size < MEMORY_PER_BLOCK) {
        *left = 0;
        return NULL;
    }
    *left -= size + MEMORY_PER_BLOCK;
    return xmalloc(size);
}

static void counted_free(void *data, void *memory)
{
    (void)data;
    free(memory);
}

static Error *body_check(const Object *object)
{
    const ProtobufCMessage *body = object_body(object);

    if (body)
        return kind_info(object->body_case)
                   ? NULL
                   : error_new(ERROR_UNSUPPORTED, "kind %d is not known here", object->body_case);
    /* A newer member of the oneof is an unknown field here. */
    if (object->base.n_unknown_fields)
        return error_new(ERROR_UNSUPPORTED, "kind %u is not known here", object->base.unknown_fields[0].tag);
    return error_new(ERROR_INVALID, "no kind");
}

Error *object_unpack(const void *bytes, size_t size, Object **ret_object)
{
    size_t left = MEMORY_MAX;
    ProtobufCAllocator allocator = {.alloc = counted_alloc, .free = counted_free, .allocator_data = &left};

    if (size > OBJECT_BYTES_MAX)
        return error_new(ERROR_INVALID, "object of %zu octets: at most %d", size, OBJECT_BYTES_MAX);
    DEFER(object_free) Object *object = mail__object__unpack(&allocator, size, bytes);
    if (!object)
        return error_new(ERROR_INVALID, left ? "object: broken" : "object: too many parts");
    Error *err = body_check(object);
    if (!err)
        err = message_check(&object->base, bytes, size);
    if (err) {
        ObjectRef ref = object_ref(object);
        return error_in(err, "%s", object_title(&ref).text);
    }
    *ret_object = object;
    object = NULL;
    return NULL;
}
