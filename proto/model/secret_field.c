#include "model/secret_field.h"

#include "base/alloc.h"
#include "base/utf8.h"
#include "model/value.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

bool kind_has_secrets(Kind kind)
{
    const KindInfo *info = kind_info(kind);

    for (size_t i = 0; info && i < info->meta->n_fields; i++)
        if (info->meta->fields[i].secret)
            return true;
    return false;
}

/* meta.c is made from desired.proto: a test holds that every secret field is an optional uint64. */
static uint64_t *place_of(const Object *object, const FieldMeta *field, protobuf_c_boolean **ret_has)
{
    ProtobufCMessage *body = object_body(object);
    const ProtobufCFieldDescriptor *descriptor = meta_descriptor(body->descriptor, field);

    assert(field->secret && descriptor->type == PROTOBUF_C_TYPE_UINT64);
    *ret_has = (protobuf_c_boolean *)((char *)body + descriptor->quantifier_offset);
    return (uint64_t *)(void *)((char *)body + descriptor->offset);
}

uint64_t secret_field_id(const Object *object, const FieldMeta *field)
{
    protobuf_c_boolean *has = NULL;
    const uint64_t *id = place_of(object, field, &has);

    return *has ? *id : 0;
}

void secret_field_set(Object *object, const FieldMeta *field, uint64_t id)
{
    protobuf_c_boolean *has = NULL;

    *place_of(object, field, &has) = id;
    *has = id != 0;
}

size_t object_secrets(const Object *object, SecretUse out[OBJECT_SECRETS_MAX])
{
    const KindInfo *info = kind_info(object->body_case);
    size_t n = 0;

    for (size_t i = 0; info && i < info->meta->n_fields; i++) {
        const FieldMeta *field = &info->meta->fields[i];
        uint64_t id = field->secret ? secret_field_id(object, field) : 0;
        if (!id)
            continue;
        assert(n < OBJECT_SECRETS_MAX);
        out[n++] = (SecretUse){field, id};
    }
    return n;
}

size_t object_secrets_told(const Object *object, const char *node, SecretUse out[OBJECT_SECRETS_MAX])
{
    if (object->body_case == MAIL__OBJECT__BODY_USER_DOMAIN &&
        object->user_domain->kind == MAIL__USER_DOMAIN_KIND__INTERNAL &&
        user_domain_role(object->user_domain, node) == DIRECTORY_NONE)
        return 0;
    return object_secrets(object, out);
}

bool object_names_secret(const Object *object, uint64_t id)
{
    SecretUse uses[OBJECT_SECRETS_MAX];
    size_t n = object_secrets(object, uses);

    for (size_t i = 0; i < n; i++)
        if (uses[i].id == id)
            return true;
    return false;
}

static Error *form_check(const FieldMeta *field, const void *value, size_t size)
{
    if (size == 0)
        return error_new(ERROR_INVALID, "empty");
    if (field->max && size > field->max)
        return error_new(ERROR_INVALID, "%zu octets: at most %" PRIu64, size, field->max);
    if (memchr(value, '\0', size))
        return error_new(ERROR_INVALID, "a NUL is in it");
    if (!utf8_valid(value, size))
        return error_new(ERROR_INVALID, "not UTF-8");
    if (size == sizeof SECRET_HIDDEN - 1 && memcmp(value, SECRET_HIDDEN, size) == 0)
        return error_new(ERROR_INVALID, "that is what stands for a secret, and none");
    return NULL;
}

Error *secret_value_check(const FieldMeta *field, const void *value, size_t size)
{
    DEFER(xfree) char *title = field_title(field);

    return error_in(form_check(field, value, size), "%s", title);
}
