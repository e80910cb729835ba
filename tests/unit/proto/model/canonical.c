#include "model/canonical.h"

#include "control.pb-c.h"
#include "desired.pb-c.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define OCTETS(text) text, sizeof(text) - 1

/* As mail.Object: 1 instance_name, 2 name, 20 domain, 21 address (1 to, 2 internal), 23 policy (3 an enum). */
static const struct {
    const char *name;
    const char *bytes;
    size_t size;
    const char *error; /* NULL: canonical */
} cases[] = {
    {"empty", OCTETS(""), NULL},
    {"plain",
     OCTETS("\x0a\x04main\x12\x03"
            "a@b\xaa\x01\x03\x0a\x01u"),
     NULL},
    {"empty text that is set", OCTETS("\x0a\x00"), NULL},
    {"U+00E4", OCTETS("\x0a\x02\xc3\xa4"), NULL},
    {"false that is set", OCTETS("\xaa\x01\x02\x10\x00"), NULL},
    {"enum", OCTETS("\xba\x01\x02\x18\x02"), NULL},
    {"wrong order",
     OCTETS("\x12\x03"
            "a@b\x0a\x04main"),
     "not canonical"},
    {"doubled field",
     OCTETS("\x0a\x01"
            "a\x0a\x01"
            "a"),
     "not canonical"},
    {"doubled body", OCTETS("\xaa\x01\x00\xaa\x01\x00"), "not canonical"},
    {"two bodies", OCTETS("\xa2\x01\x00\xaa\x01\x00"), "not canonical"},
    {"wrong order inside", OCTETS("\xaa\x01\x05\x10\x01\x0a\x01u"), "not canonical"},
    {"long varint",
     OCTETS("\x0a\x81\x00"
            "a"),
     "not canonical"},
    {"long tag",
     OCTETS("\x8a\x00\x01"
            "a"),
     "not canonical"},
    {"bool of 2", OCTETS("\xaa\x01\x02\x10\x02"), "not canonical"},
    {"NUL in a text",
     OCTETS("\x0a\x03"
            "a\0b"),
     "not canonical"},
    {"no UTF-8", OCTETS("\x0a\x01\xff"), "instance_name: not UTF-8"},
    {"surrogate", OCTETS("\x12\x03\xed\xa0\x80"), "name: not UTF-8"},
    {"no UTF-8 inside", OCTETS("\xaa\x01\x06\x0a\x01u\x0a\x01\xc0"), "address: to: not UTF-8"},
    {"unknown field",
     OCTETS("\x0a\x01"
            "a\xa2\x38\x01x"),
     "field 900 is not known here"},
    {"unknown field inside", OCTETS("\xaa\x01\x04\x9a\x06\x01x"), "address: field 99 is not known here"},
    {"unknown enum value", OCTETS("\xba\x01\x02\x18\x07"), "policy: sender_login_match: value 7 is not known here"},
    {"unknown kind",
     OCTETS("\x0a\x01"
            "a\xe2\x2b\x00"),
     "field 700 is not known here"},
};

static void every_spelling(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Mail__Object *object = mail__object__unpack(NULL, cases[i].size, (const uint8_t *)cases[i].bytes);
        if (!object)
            fail_msg("%s: broken", cases[i].name);
        DEFER(error_free) Error *err = message_check(&object->base, cases[i].bytes, cases[i].size);
        mail__object__free_unpacked(object, NULL);

        const char *said = err ? err->what : "canonical", *wanted = cases[i].error ? cases[i].error : "canonical";
        if (strcmp(said, wanted) != 0)
            fail_msg("%s: %s, wanted %s", cases[i].name, said, wanted);
        ErrorCode code = strstr(wanted, "known") ? ERROR_UNSUPPORTED : ERROR_INVALID;
        if (err && err->code != code)
            fail_msg("%s: %s", cases[i].name, error_code_name(err->code));
    }
}

/* The octets of one message are not those of another. */
static void longer_and_shorter(void **state)
{
    static const uint8_t bytes[] = {0x0a, 0x01, 'a', 0x12, 0x01, 'b'};
    (void)state;

    Mail__Object *object = mail__object__unpack(NULL, sizeof bytes, bytes);
    assert_non_null(object);
    for (size_t size = 0; size <= sizeof bytes; size++) {
        DEFER(error_free) Error *err = message_check(&object->base, bytes, size);
        assert_int_equal(err == NULL, size == sizeof bytes);
    }
    mail__object__free_unpacked(object, NULL);
}

static unsigned depth_of(const ProtobufCMessageDescriptor *message, unsigned limit)
{
    unsigned deepest = 0;

    if (limit == 0)
        fail_msg("%s holds itself", message->name);
    for (unsigned i = 0; i < message->n_fields; i++)
        if (message->fields[i].type == PROTOBUF_C_TYPE_MESSAGE) {
            unsigned depth = depth_of(message->fields[i].descriptor, limit - 1);
            deepest = depth > deepest ? depth : deepest;
        }
    return deepest + 1;
}

/* protobuf-c and fields_check recurse: this is what bounds them. */
static void B34_no_message_holds_itself(void **state)
{
    (void)state;
    assert_in_range(depth_of(&mail__envelope__descriptor, 8), 3, 8);
    assert_in_range(depth_of(&mail__object__descriptor, 8), 2, 8);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_spelling),
        cmocka_unit_test(longer_and_shorter),
        cmocka_unit_test(B34_no_message_holds_itself),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
