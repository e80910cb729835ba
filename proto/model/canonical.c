#include "model/canonical.h"

#include "base/utf8.h"

#include <inttypes.h>
#include <string.h>

/* What would be packed is compared on its way out: no second copy of a message of a megabyte. */
typedef struct Comparer {
    ProtobufCBuffer buffer; /* first: protobuf-c hands it back to compare() */
    const uint8_t *want;
    size_t left;
    bool same;
} Comparer;

static void compare(ProtobufCBuffer *buffer, size_t size, const uint8_t *data)
{
    Comparer *comparer = (Comparer *)buffer;

    if (!size)
        return; /* 'data' of empty bytes is NULL */
    if (!comparer->same || size > comparer->left || memcmp(comparer->want, data, size) != 0) {
        comparer->same = false;
        return;
    }
    comparer->want += size;
    comparer->left -= size;
}

static bool packs_to(const ProtobufCMessage *message, const void *bytes, size_t size)
{
    Comparer comparer = {.buffer = {.append = compare}, .want = bytes, .left = size, .same = true};

    protobuf_c_message_pack_to_buffer(message, &comparer.buffer);
    return comparer.same && comparer.left == 0;
}

static const void *at_offset(const ProtobufCMessage *message, unsigned offset)
{
    return (const char *)message + offset;
}

/* How many values the field has, and where the first is. */
static size_t values_of(const ProtobufCMessage *message, const ProtobufCFieldDescriptor *field, const void **ret_first)
{
    const void *count = at_offset(message, field->quantifier_offset);
    const void *value = at_offset(message, field->offset);
    bool pointer = field->type == PROTOBUF_C_TYPE_STRING || field->type == PROTOBUF_C_TYPE_MESSAGE;

    *ret_first = value;
    if (field->label == PROTOBUF_C_LABEL_REPEATED) {
        *ret_first = *(const void *const *)value;
        return *(const size_t *)count;
    }
    if (field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF && *(const uint32_t *)count != field->id)
        return 0;
    if (pointer)
        return *(const void *const *)value ? 1 : 0;
    if (field->label == PROTOBUF_C_LABEL_OPTIONAL && !(field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF))
        return *(const protobuf_c_boolean *)count ? 1 : 0;
    return 1;
}

static Error *fields_check(const ProtobufCMessage *message);

static Error *value_check(const ProtobufCFieldDescriptor *field, const void *values, size_t i)
{
    if (field->type == PROTOBUF_C_TYPE_MESSAGE)
        return fields_check(((const ProtobufCMessage *const *)values)[i]);
    if (field->type == PROTOBUF_C_TYPE_STRING) {
        const char *text = ((const char *const *)values)[i];
        return utf8_valid(text, strlen(text)) ? NULL : error_new(ERROR_INVALID, "not UTF-8");
    }
    int number = ((const int *)values)[i];
    if (!protobuf_c_enum_descriptor_get_value(field->descriptor, number))
        return error_new(ERROR_UNSUPPORTED, "value %d is not known here", number);
    return NULL;
}

/* Recurses as deep as the descriptors do: no message of ours holds itself. */
static Error *fields_check(const ProtobufCMessage *message)
{
    if (message->n_unknown_fields)
        return error_new(ERROR_UNSUPPORTED, "field %" PRIu32 " is not known here", message->unknown_fields[0].tag);

    for (unsigned i = 0; i < message->descriptor->n_fields; i++) {
        const ProtobufCFieldDescriptor *field = &message->descriptor->fields[i];
        const void *values;

        if (field->type != PROTOBUF_C_TYPE_MESSAGE && field->type != PROTOBUF_C_TYPE_STRING &&
            field->type != PROTOBUF_C_TYPE_ENUM)
            continue;
        size_t n = values_of(message, field, &values);
        for (size_t k = 0; k < n; k++) {
            Error *err = value_check(field, values, k);
            if (err)
                return error_in(err, "%s", field->name);
        }
    }
    return NULL;
}

Error *message_check(const ProtobufCMessage *message, const void *bytes, size_t size)
{
    if (!packs_to(message, bytes, size))
        return error_new(ERROR_INVALID, "not canonical");
    return fields_check(message);
}
