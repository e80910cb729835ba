#include "model/meta.h"

#include "model/object.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static const FieldMeta *field_of(Kind kind, const char *name)
{
    const FieldMeta *field = meta_field(kind_info(kind)->meta, name);

    assert_non_null(field);
    return field;
}

/* meta.c and protobuf-c come from the same file: field for field, or one of them is stale. */
static void the_same_fields_as_the_descriptors(void **state)
{
    (void)state;
    assert_int_equal(n_kind_metas, n_kinds);
    for (size_t i = 0; i < n_kinds; i++) {
        const KindInfo *info = kind_info(kinds[i]);
        assert_ptr_equal(meta_of(info->descriptor), info->meta);
        assert_int_equal(info->meta->n_fields, info->descriptor->n_fields);
        for (unsigned k = 0; k < info->descriptor->n_fields; k++) {
            const ProtobufCFieldDescriptor *descriptor = &info->descriptor->fields[k];
            const FieldMeta *field = &info->meta->fields[k];
            assert_string_equal(field->name, descriptor->name);
            assert_int_equal(field->list, descriptor->label == PROTOBUF_C_LABEL_REPEATED);
            assert_ptr_equal(meta_descriptor(info->descriptor, field), descriptor);
        }
    }
}

/* Every type of field has the one type of value that value.c reads and writes for it. */
static void types_fit(void **state)
{
    (void)state;
    for (size_t i = 0; i < n_kinds; i++) {
        const KindInfo *info = kind_info(kinds[i]);
        for (unsigned k = 0; k < info->descriptor->n_fields; k++) {
            const FieldMeta *field = &info->meta->fields[k];
            ProtobufCType type = info->descriptor->fields[k].type;
            bool right = type == PROTOBUF_C_TYPE_STRING;

            if (field->type == MAIL__FIELD_TYPE__YES_NO)
                right = type == PROTOBUF_C_TYPE_BOOL;
            if (field->type == MAIL__FIELD_TYPE__WORD)
                right = type == PROTOBUF_C_TYPE_ENUM;
            if (field->type == MAIL__FIELD_TYPE__SIZE || field->type == MAIL__FIELD_TYPE__SPAN)
                right = type == PROTOBUF_C_TYPE_UINT64 && field->max && field->unit;
            if (field->type == MAIL__FIELD_TYPE__SECRET || field->secret)
                right = type == PROTOBUF_C_TYPE_UINT64 && field->max && field->secret &&
                        field->type == MAIL__FIELD_TYPE__SECRET && !field->list;
            if (field->type == MAIL__FIELD_TYPE__SCORE)
                right = type == PROTOBUF_C_TYPE_UINT32 && field->max && field->unit;
            if (field->type == MAIL__FIELD_TYPE__NUMBER)
                right = (type == PROTOBUF_C_TYPE_UINT32 || type == PROTOBUF_C_TYPE_UINT64) && field->max;
            if (!right || (field->list && (type != PROTOBUF_C_TYPE_STRING || !field->max)))
                fail_msg("%s.%s", info->name, field->name);
            if (field->reference && !kind_by_name(field->reference))
                fail_msg("%s.%s names a %s", info->name, field->name, field->reference);
        }
    }
}

static void said_in_the_proto(void **state)
{
    const FieldMeta *quota = field_of(MAIL__OBJECT__BODY_MAILBOX, "quota");
    const FieldMeta *to = field_of(MAIL__OBJECT__BODY_ADDRESS, "to");
    const KindMeta *instance = kind_info(MAIL__OBJECT__BODY_INSTANCE)->meta;
    const KindMeta *policy = kind_info(MAIL__OBJECT__BODY_POLICY)->meta;

    (void)state;
    assert_int_equal(quota->type, MAIL__FIELD_TYPE__SIZE);
    assert_string_equal(quota->unit, "bytes");
    assert_string_equal(quota->zero, "unlimited");
    assert_string_equal(quota->unset, "default");
    assert_int_equal(quota->max, UINT64_C(1) << 60);
    assert_string_equal(quota->words, "Size limit of its own.");
    assert_string_equal(quota->since, "1.0");
    assert_true(to->list && to->required);
    assert_int_equal(to->min, 1);
    assert_int_equal(to->max, 1000);
    assert_string_equal(field_of(MAIL__OBJECT__BODY_INSTANCE, "node")->reference, "node");
    assert_true(field_of(MAIL__OBJECT__BODY_USER_DOMAIN, "kind")->fixed);
    assert_true(field_of(MAIL__OBJECT__BODY_ADDRESS, "dormant")->computed);
    assert_int_equal(instance->class_, MAIL__CLASS__CONFIG);
    assert_string_equal(instance->example, "main");
    assert_string_equal(instance->words,
                        "One mail service with its own host name, domains and settings, placed on one node.");
    assert_true(policy->in_instance && policy->single);
    assert_null(policy->example);
    assert_int_equal(kind_info(MAIL__OBJECT__BODY_ADMIN)->meta->class_, MAIL__CLASS__TASK);
}

static void found_by_name(void **state)
{
    const KindMeta *meta = kind_info(MAIL__OBJECT__BODY_DOMAIN)->meta;

    (void)state;
    assert_ptr_equal(meta_field(meta, "user-addresses"), meta_field(meta, "user_addresses"));
    assert_non_null(meta_field(meta, "catch-all"));
    assert_null(meta_field(meta, "catch"));
    assert_null(meta_field(meta, "catch-all-all"));
    assert_null(meta_field(meta, ""));
    assert_string_equal(meta_field_nearest(meta, "user-adress"), "user_addresses");
    assert_string_equal(meta_field_nearest(meta, "catchall"), "catch_all");
    assert_null(meta_field_nearest(meta, "colour"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_same_fields_as_the_descriptors),
        cmocka_unit_test(types_fit),
        cmocka_unit_test(said_in_the_proto),
        cmocka_unit_test(found_by_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
