#include "model/object.h"

#include "base/alloc.h"
#include "model/meta.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* The table of kinds is the oneof's members, each once, and each behind what it names. */
static void kinds_are_the_members(void **state)
{
    const ProtobufCMessageDescriptor *object = &mail__object__descriptor;

    (void)state;
    assert_int_equal(n_kinds, object->n_fields - 2);
    for (size_t i = 0; i < n_kinds; i++) {
        const KindInfo *info = kind_info(kinds[i]);
        const ProtobufCFieldDescriptor *member = protobuf_c_message_descriptor_get_field(object, kinds[i]);
        assert_non_null(member);
        assert_string_equal(info->field, member->name);
        assert_ptr_equal(info->descriptor, member->descriptor);
        assert_ptr_equal(kind_by_name(info->name), info);
        assert_ptr_equal(kind_by_name(info->field), info);
        for (size_t k = 0; k < info->meta->n_fields; k++) {
            const char *named = info->meta->fields[k].reference;
            bool before = !named;
            for (size_t j = 0; !before && j < i; j++)
                before = strcmp(kind_info(kinds[j])->name, named) == 0;
            if (!before)
                fail_msg("%s names a %s, which comes later", info->name, named);
        }
    }
    assert_null(kind_info((Kind)700));
    assert_null(kind_info(MAIL__OBJECT__BODY__NOT_SET));
    assert_null(kind_by_name("adress"));
    assert_null(kind_by_name(""));
    assert_string_equal(kind_nearest("adress"), "address");
    assert_string_equal(kind_nearest("user_domian"), "user-domain");
    assert_null(kind_nearest("xyz"));
}

static void titles_and_scopes(void **state)
{
    static const struct {
        ObjectRef ref;
        const char *title, *scope;
    } rows[] = {
        {{MAIL__OBJECT__BODY_NODE, NULL, "mx1"}, "node mx1", "node/mx1"},
        {{MAIL__OBJECT__BODY_INSTANCE, "", "main"}, "instance main", "instance/main"},
        {{MAIL__OBJECT__BODY_USER_DOMAIN, NULL, "staff"}, "user-domain staff", "user-domain/staff"},
        {{MAIL__OBJECT__BODY_ADMIN, NULL, "team"}, "admin team", "cluster"},
        {{MAIL__OBJECT__BODY_DOMAIN, "main", "example.org"}, "domain example.org", "instance/main"},
        {{MAIL__OBJECT__BODY_ADDRESS, "main", "info@example.org"}, "address info@example.org", "instance/main"},
        {{MAIL__OBJECT__BODY_ADDRESS, "main", "info@*"}, "address info@* of main", "instance/main"},
        {{MAIL__OBJECT__BODY_ADDRESS, NULL, "info@*"}, "address info@*", "instance/"},
        {{MAIL__OBJECT__BODY_MAILBOX, "main", "alice"}, "mailbox alice of main", "instance/main"},
        {{MAIL__OBJECT__BODY_POLICY, "main", NULL}, "policy of main", "instance/main"},
        {{MAIL__OBJECT__BODY_TLS, "main", NULL}, "tls of main", "instance/main"},
        {{MAIL__OBJECT__BODY_NODE, NULL, "a\x1b[31m\nb"}, "node a<U+001B>[31m<U+000A>b", "node/a\x1b[31m\nb"},
        {{MAIL__OBJECT__BODY__NOT_SET, NULL, "x"}, "object x", "cluster"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        assert_string_equal(object_title(&rows[i].ref).text, rows[i].title);
        assert_string_equal(object_scope(&rows[i].ref).text, rows[i].scope);
    }
}

static void subscriptions(void **state)
{
    Subscription out[OBJECT_SUBSCRIPTIONS_MAX];
    DEFER(object_free) Object *node = object_new(MAIL__OBJECT__BODY_NODE, NULL, "mx1");
    DEFER(object_free) Object *instance = object_new(MAIL__OBJECT__BODY_INSTANCE, NULL, "main");
    DEFER(object_free) Object *domain = object_new(MAIL__OBJECT__BODY_USER_DOMAIN, NULL, "staff");
    DEFER(object_free) Object *address = object_new(MAIL__OBJECT__BODY_ADDRESS, "main", "info@*");

    (void)state;
    assert_int_equal(object_subscriptions(node, out, OBJECT_SUBSCRIPTIONS_MAX), 1);
    assert_string_equal(out[0].node, "mx1");
    assert_string_equal(out[0].scope.text, "node/mx1");

    instance->instance->user_domain = xstrdup("staff");
    assert_int_equal(object_subscriptions(instance, out, OBJECT_SUBSCRIPTIONS_MAX), 0);
    instance->instance->node = xstrdup("mx1");
    assert_int_equal(object_subscriptions(instance, NULL, 0), 3);
    assert_int_equal(object_subscriptions(instance, out, OBJECT_SUBSCRIPTIONS_MAX), 3);
    assert_string_equal(out[0].scope.text, "instance/main");
    assert_string_equal(out[1].scope.text, "user-domain/staff");
    assert_ptr_equal(out[1].node, instance->instance->node);
    assert_string_equal(out[2].scope.text, "backup");

    domain->user_domain->node = xstrdup("mx1");
    domain->user_domain->replicas = xcalloc(3, sizeof(char *));
    domain->user_domain->n_replicas = 3;
    domain->user_domain->replicas[0] = xstrdup("mx2");
    domain->user_domain->replicas[1] = xstrdup("mx1");
    domain->user_domain->replicas[2] = xstrdup("mx2");
    assert_int_equal(object_subscriptions(domain, out, OBJECT_SUBSCRIPTIONS_MAX), 2);
    assert_string_equal(out[0].node, "mx1");
    assert_string_equal(out[1].node, "mx2");
    assert_string_equal(out[1].scope.text, "user-domain/staff");

    assert_int_equal(object_subscriptions(address, out, OBJECT_SUBSCRIPTIONS_MAX), 0);
}

static Object *an_address(void)
{
    Object *object = object_new(MAIL__OBJECT__BODY_ADDRESS, "main", "u@example.org");

    object->address->to = xcalloc(1, sizeof(char *));
    object->address->n_to = 1;
    object->address->to[0] = xstrdup("user:alice");
    return object;
}

static void there_and_back(void **state)
{
    static const uint8_t bytes[] = "\x0a\x04main\x12\x0du@example.org\xaa\x01\x0c\x0a\x0auser:alice";
    DEFER(object_free) Object *object = an_address();
    DEFER(object_free) Object *back = NULL;
    DEFER(object_free) Object *copy = object_clone(object);
    DEFER(buf_done) Buf packed = {0};

    (void)state;
    buf_append(&packed, "x", 1); /* appends */
    object_pack(object, &packed);
    assert_int_equal(packed.size, sizeof bytes);
    assert_memory_equal(packed.data + 1, bytes, sizeof bytes - 1);
    assert_null(object_unpack(bytes, sizeof bytes - 1, &back));
    assert_true(object_equal(object, back));
    assert_true(object_equal(object, copy));
    assert_string_equal(back->address->to[0], "user:alice");
    assert_true(object_body(back) == &back->address->base);

    /* Built with malloc: a field is replaced by hand. */
    free(back->address->to[0]);
    back->address->to[0] = xstrdup("user:bob");
    assert_false(object_equal(object, back));

    ObjectRef ref = object_ref(back);
    assert_string_equal(ref.instance, "main");
    assert_string_equal(ref.name, "u@example.org");
}

static void empty_is_not_there(void **state)
{
    DEFER(object_free) Object *policy = object_new(MAIL__OBJECT__BODY_POLICY, "main", "");
    DEFER(object_free) Object *node = object_new(MAIL__OBJECT__BODY_NODE, "", "mx1");

    (void)state;
    assert_null(policy->name);
    assert_null(node->instance_name);
    assert_string_equal(object_ref(policy).name, "");
    assert_string_equal(object_ref(node).instance, "");
    /* Defaults of the proto are in the fields that are not set. */
    assert_int_equal(policy->policy->spam_retention, 1296000);
    assert_false(policy->policy->has_spam_retention);
}

#define START "\x0a\x04main\x12\x0du@example.org"
#define BODY "\xaa\x01\x0c\x0a\x0auser:alice"

static const struct {
    const char *bytes;
    size_t size;
    ErrorCode code;
    const char *what;
} bad[] = {
#define OCTETS(text) text, sizeof(text) - 1
    {OCTETS(""), ERROR_INVALID, "object: no kind"},
    {OCTETS("\x0a\x04main\x12\x01n"), ERROR_INVALID, "object n of main: no kind"},
    {OCTETS("\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"), ERROR_INVALID, "object: broken"},
    {OCTETS(START "\xaa\x01\x0d\x0a\x0auser:alice"), ERROR_INVALID, "object: broken"},
    {OCTETS(START BODY "\xa2\x38\x01x"), ERROR_UNSUPPORTED, "address u@example.org: field 900 is not known here"},
    {OCTETS("\x12\x01n\xe2\x2b\x00"), ERROR_UNSUPPORTED, "object n: kind 700 is not known here"},
    {OCTETS(START "\xaa\x01\x10\x0a\x0auser:alice\x9a\x06\x01x"), ERROR_UNSUPPORTED,
     "address u@example.org: address: field 99 is not known here"},
    {OCTETS("\x0a\x04main\xba\x01\x02\x18\x4d"), ERROR_UNSUPPORTED,
     "policy of main: policy: sender_login_match: value 77 is not known here"},
    {OCTETS("\x12\x0du@example.org\x0a\x04main" BODY), ERROR_INVALID, "address u@example.org: not canonical"},
    {OCTETS(START "\x12\x0du@example.org" BODY), ERROR_INVALID, "address u@example.org: not canonical"},
    {OCTETS(START "\xaa\x01\x0e\x0a\x0auser:alice\x10\x02"), ERROR_INVALID, "address u@example.org: not canonical"},
    {OCTETS(START "\xaa\x01\x0c\x0a\x0auser:\0lice"), ERROR_INVALID, "address u@example.org: not canonical"},
    {OCTETS(START "\xaa\x01\x0c\x0a\x0auser:a\xffice"), ERROR_INVALID, "address u@example.org: address: to: not UTF-8"},
    {OCTETS("\x12\x02n\xff\x52\x00"), ERROR_INVALID, "node n<ff>: name: not UTF-8"},
    {OCTETS("\x12\x01n\x52\x00\x5a\x00"), ERROR_INVALID,
     "instance n: not canonical"}, /* two bodies: the last one counts */
#undef OCTETS
};

static void not_taken(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        Object *object = NULL;
        DEFER(error_free) Error *err = object_unpack(bad[i].bytes, bad[i].size, &object);
        if (!err || err->code != bad[i].code || strcmp(err->what, bad[i].what) != 0)
            fail_msg("row %zu: %s, wanted %s", i, err ? err->what : "taken", bad[i].what);
        assert_null(object);
    }
}

/* Every octet cut off, and every octet changed: refused, or it packs to the same again. */
static void cut_and_spoilt(void **state)
{
    static const char good[] = START BODY;
    enum { SIZE = sizeof good - 1 };

    (void)state;
    for (size_t i = 0; i < SIZE * 256; i++) {
        char bytes[SIZE];
        memcpy(bytes, good, SIZE);
        bytes[i / 256] = (char)(i % 256);
        DEFER(object_free) Object *object = NULL;
        DEFER(error_free) Error *err = object_unpack(bytes, i % 256 == 0 ? i / 256 : SIZE, &object);
        if (err)
            continue;
        DEFER(buf_done) Buf packed = {0};
        object_pack(object, &packed);
        assert_memory_equal(packed.data, bytes, packed.size);
    }
}

static void memory_is_bounded(void **state)
{
    enum { SIZE = OBJECT_BYTES_MAX };
    DEFER(xfree) uint8_t *bytes = xmalloc(SIZE + 1);
    Object *object = NULL;

    (void)state;
    memset(bytes, 0, SIZE + 1);
    DEFER(error_free) Error *large = object_unpack(bytes, SIZE + 1, &object);
    assert_string_equal(large->what, "object of 262145 octets: at most 262144");
    /* As many empty destinations as fit. */
    size_t body = SIZE - 6;
    bytes[0] = 0xaa;
    bytes[1] = 0x01;
    bytes[2] = (uint8_t)(body | 0x80);
    bytes[3] = (uint8_t)(body >> 7 | 0x80);
    bytes[4] = (uint8_t)(body >> 14);
    for (size_t i = 5; i + 1 < 5 + body; i += 2)
        bytes[i] = 0x0a;
    DEFER(error_free) Error *parts = object_unpack(bytes, 5 + body, &object);
    assert_string_equal(parts->what, "object: too many parts");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kinds_are_the_members), cmocka_unit_test(titles_and_scopes),  cmocka_unit_test(subscriptions),
        cmocka_unit_test(there_and_back),        cmocka_unit_test(empty_is_not_there), cmocka_unit_test(not_taken),
        cmocka_unit_test(cut_and_spoilt),        cmocka_unit_test(memory_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
