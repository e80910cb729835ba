#include "local/envelope.h"

#include "base/utf8.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define OCTETS(text) text, sizeof(text) - 1
#define HEAD "\x08\x01\x10\x07"

/* 60 change (1 edits, 2 manner), 69 get_status (1 node), 70 get_events (1 follow), 11 done, 21 standing (1 an enum). */
static const struct {
    const char *name;
    const char *bytes;
    size_t size;
    const char *error; /* NULL: taken */
    ErrorCode code;
    uint64_t id;
} cases[] = {
    {"done", OCTETS(HEAD "\x5a\x00"), NULL, 0, 7},
    {"greatest id", OCTETS("\x08\x01\x10\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x5a\x00"), NULL, 0, UINT64_MAX},
    {"reply", OCTETS(HEAD "\x18\x03\x20\x02\x28\x01\x5a\x00"), NULL, 0, 7},
    {"text", OCTETS(HEAD "\xaa\x04\x05\x0a\x03mx1"), NULL, 0, 7},
    {"empty bytes", OCTETS(HEAD "\xb2\x01\x02\x4a\x00"), NULL, 0, 7},
    {"bytes are not looked into", OCTETS(HEAD "\xb2\x01\x03\x22\x01\xff"), NULL, 0, 7},

    {"empty", OCTETS(""), "no version", ERROR_INVALID, 0},
    {"noise", OCTETS("\xff\xfe\xfd\xfc\xfb\xfa\xf9\xf8\xf7\xf6\xf5"), "broken", ERROR_INVALID, 0},
    {"zeroes", OCTETS("\0\0\0\0\0\0\0\0"), "broken", ERROR_INVALID, 0},
    {"half", OCTETS(HEAD "\x5a"), "broken", ERROR_INVALID, 0},
    {"truncated text", OCTETS(HEAD "\xaa\x04\x05\x0a\x03mx"), "broken", ERROR_INVALID, 0},
    {"field 0", OCTETS("\x00\x01" HEAD "\x5a\x00"), "broken", ERROR_INVALID, 0},
    {"endless varint", OCTETS("\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"), "broken", ERROR_INVALID, 0},
    {"length 2^31", OCTETS(HEAD "\xe2\x03\x80\x80\x80\x80\x08"), "broken", ERROR_INVALID, 0},
    {"length 2^63", OCTETS(HEAD "\xe2\x03\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01"), "broken", ERROR_INVALID, 0},
    {"group", OCTETS("\x0b\x0c" HEAD "\x5a\x00"), "broken", ERROR_INVALID, 0},
    {"no id", OCTETS("\x08\x01\x5a\x00"), "no id", ERROR_INVALID, 0},
    {"id 0", OCTETS("\x08\x01\x10\x00\x5a\x00"), "no id", ERROR_INVALID, 0},
    {"version 0", OCTETS("\x08\x00\x10\x07\x5a\x00"), "no version", ERROR_INVALID, 0},
    {"no version", OCTETS("\x10\x07\x5a\x00"), "no version", ERROR_INVALID, 0},
    {"no body", OCTETS(HEAD), "no body", ERROR_INVALID, 0},
    {"doubled id", OCTETS("\x08\x01\x10\x07\x10\x08\x5a\x00"), "not canonical", ERROR_INVALID, 0},
    {"long varint", OCTETS("\x08\x81\x00\x10\x07\x5a\x00"), "not canonical", ERROR_INVALID, 0},
    {"wrong order", OCTETS("\x10\x07\x08\x01\x5a\x00"), "not canonical", ERROR_INVALID, 0},
    {"two bodies", OCTETS(HEAD "\xaa\x04\x00\x5a\x00"), "not canonical", ERROR_INVALID, 0},
    {"bool of 2", OCTETS(HEAD "\xb2\x04\x02\x08\x02"), "not canonical", ERROR_INVALID, 0},
    {"NUL in a text", OCTETS(HEAD "\xaa\x04\x05\x0a\x03m\0x"), "not canonical", ERROR_INVALID, 0},
    {"no UTF-8", OCTETS(HEAD "\xaa\x04\x04\x0a\x02m\xff"), "get_status: node: not UTF-8", ERROR_INVALID, 0},
    {"no UTF-8 in a list", OCTETS(HEAD "\xe2\x03\x07\x0a\x05\x1a\x03\x0a\x01\xc1"),
     "change: edits: fields: field: not UTF-8", ERROR_INVALID, 0},

    {"version 99", OCTETS("\x08\x63\x10\x07\x5a\x00"), "version 99 of the protocol, 1 is spoken here",
     ERROR_UNSUPPORTED, 7},
    {"version 99 without id", OCTETS("\x08\x63\x5a\x00"), "version 99 of the protocol, 1 is spoken here",
     ERROR_UNSUPPORTED, 0},
    {"unknown body", OCTETS(HEAD "\xc2\xb8\x02\x01x"), "body 5000 is not known here", ERROR_UNSUPPORTED, 7},
    {"unknown field", OCTETS(HEAD "\x5a\x00\xc2\xbb\x01\x01x"), "field 3000 is not known here", ERROR_UNSUPPORTED, 7},
    {"unknown field inside", OCTETS(HEAD "\x5a\x03\x9a\x06\x00"), "done: field 99 is not known here", ERROR_UNSUPPORTED,
     7},
    {"unknown enum value", OCTETS(HEAD "\xaa\x01\x02\x08\x09"), "standing: state: value 9 is not known here",
     ERROR_UNSUPPORTED, 7},
};

static void B34_every_spelling(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        DEFER(envelope_free) Envelope *envelope = NULL;
        uint64_t id = 1234;
        DEFER(error_free) Error *err = envelope_unpack(cases[i].bytes, cases[i].size, &envelope, &id);

        const char *said = err ? err->what : "taken", *wanted = cases[i].error ? cases[i].error : "taken";
        if (strcmp(said, wanted) != 0 || (err && err->code != cases[i].code) || id != cases[i].id)
            fail_msg("%s: %s (%s, id %llu), wanted %s (%s, id %llu)", cases[i].name, said,
                     err ? error_code_name(err->code) : "ok", (unsigned long long)id, wanted,
                     error_code_name(cases[i].code), (unsigned long long)cases[i].id);
        assert_int_equal(envelope == NULL, err != NULL);
        if (!envelope)
            continue;

        DEFER(buf_done) Buf out = {0};
        assert_true(buf_append_text(&out, "before"));
        assert_null(envelope_pack(envelope, &out));
        assert_int_equal(out.size, 6 + cases[i].size);
        assert_memory_equal(out.data, "before", 6);
        assert_memory_equal(out.data + 6, cases[i].bytes, cases[i].size);
    }
}

static void length(Buf *out, size_t n)
{
    for (; n > 127; n >>= 7)
        buf_append(out, &(uint8_t){(uint8_t)(n & 127) | 128}, 1);
    buf_append(out, &(uint8_t){(uint8_t)n}, 1);
}

/* HEAD, then field 60 (change) with this content. */
static void change_of(const Buf *content, Buf *out)
{
    buf_append(out, OCTETS(HEAD "\xe2\x03"));
    length(out, content->size);
    buf_append(out, content->data, content->size);
}

static void refused(const Buf *bytes, const char *words)
{
    Envelope *envelope = NULL;
    uint64_t id;
    DEFER(error_free) Error *err = envelope_unpack(bytes->data, bytes->size, &envelope, &id);

    assert_non_null(err);
    assert_int_equal(err->code, ERROR_INVALID);
    if (!strstr(err->what, words))
        fail_msg("%s, wanted %s", err->what, words);
    assert_null(envelope);
    assert_int_equal(id, 0);
}

static void B34_many_empty_items_do_not_fit_into_the_arena(void **state)
{
    DEFER(buf_done) Buf items = {0}, bytes = {0};
    (void)state;

    for (size_t i = 0; i < 400000; i++)
        buf_append(&items, OCTETS("\x0a\x00"));
    change_of(&items, &bytes);
    assert_true(bytes.size < ENVELOPE_BYTES_MAX);
    refused(&bytes, "too many parts");
}

static void B34_depth_without_end_is_an_unknown_field_or_broken(void **state)
{
    DEFER(buf_done) Buf inner = {0}, bytes = {0};
    (void)state;

    /* 60 in 60 in 60: 'change' has no field 60, so nobody looks inside. */
    for (size_t i = 0; i < 1000; i++) {
        DEFER(buf_done) Buf outer = {0};
        buf_append(&outer, OCTETS("\xe2\x03"));
        length(&outer, inner.size);
        buf_append(&outer, inner.data, inner.size);
        buf_clear(&inner);
        buf_append(&inner, outer.data, outer.size);
    }
    buf_append(&bytes, OCTETS(HEAD));
    buf_append(&bytes, inner.data, inner.size);

    Envelope *envelope = NULL;
    uint64_t id;
    DEFER(error_free) Error *err = envelope_unpack(bytes.data, bytes.size, &envelope, &id);
    assert_non_null(err);
    assert_int_equal(err->code, ERROR_UNSUPPORTED);
    assert_string_equal(err->what, "change: field 60 is not known here");
}

/* Both ends of the limit on octets, in and out. */
static void a_megabyte_and_one_octet_more(void **state)
{
    DEFER(buf_done) Buf out = {0};
    (void)state;

    for (size_t more = 0; more < 2; more++) {
        Envelope envelope = MAIL__ENVELOPE__INIT;
        Mail__ApplyPart part = MAIL__APPLY_PART__INIT;
        ProtobufCBinaryData object;

        envelope.has_id = true;
        envelope.id = 1;
        envelope.body_case = MAIL__ENVELOPE__BODY_APPLY_PART;
        envelope.apply_part = &part;
        part.n_objects = 1;
        part.objects = &object;
        buf_clear(&out);
        object.data = calloc(1, ENVELOPE_BYTES_MAX);
        object.len = ENVELOPE_BYTES_MAX / 2;
        size_t around = 2 + mail__envelope__get_packed_size(&envelope) - object.len; /* 2: the version, to be set */
        object.len = ENVELOPE_BYTES_MAX - around + more;
        DEFER(error_free) Error *err = envelope_pack(&envelope, &out);
        free(object.data);
        if (more) {
            assert_non_null(err);
            assert_string_equal(err->what, "apply_part: 1048577 octets, at most 1048576 can be sent");
            assert_int_equal(out.size, 0);
            continue;
        }
        assert_null(err);
        assert_int_equal(out.size, ENVELOPE_BYTES_MAX);
        DEFER(envelope_free) Envelope *back = NULL;
        uint64_t id;
        assert_null(envelope_unpack(out.data, out.size, &back, &id));
        assert_int_equal(back->apply_part->n_objects, 1);
        buf_append(&out, "", 1);
        refused(&out, "at most 1048576 are taken");
    }
}

static void packing_sets_the_version_and_keeps_a_limit(void **state)
{
    Envelope envelope = MAIL__ENVELOPE__INIT;
    Mail__Done done = MAIL__DONE__INIT;
    Buf out;
    (void)state;

    envelope.has_id = true;
    envelope.id = 7;
    envelope.body_case = MAIL__ENVELOPE__BODY_DONE;
    envelope.done = &done;
    buf_init(&out, 8);
    assert_null(envelope_pack(&envelope, &out));
    assert_int_equal(out.size, 6);
    assert_memory_equal(out.data, HEAD "\x5a\x00", 6);
    assert_false(envelope.has_version);
    DEFER(error_free) Error *err = envelope_pack(&envelope, &out);
    assert_non_null(err);
    assert_string_equal(err->what, "done: no room for 6 octets more");
    assert_int_equal(out.size, 6);
    buf_done(&out);
}

static void names_of_bodies(void **state)
{
    (void)state;
    assert_string_equal(body_name(MAIL__ENVELOPE__BODY__NOT_SET), "nothing");
    assert_string_equal(body_name(MAIL__ENVELOPE__BODY_HELLO), "hello");
    assert_string_equal(body_name(MAIL__ENVELOPE__BODY_ENGINE_IS), "engine_is");
    assert_string_equal(body_name((BodyCase)1), "unknown"); /* 'version' is no body */
    assert_string_equal(body_name((BodyCase)5000), "unknown");
}

static void errors_go_and_come(void **state)
{
    (void)state;
    for (ErrorCode code = ERROR_INVALID; code <= ERROR_DAMAGED; code++) {
        DEFER(error_free) Error *err = error_hint(error_new(code, "what\n    of a daemon"), "hint %d", code);
        Mail__Failure failure = failure_of(err);
        assert_ptr_equal(failure.what, err->what);
        DEFER(error_free) Error *back = error_of(&failure);
        assert_int_equal(back->code, code);
        assert_string_equal(back->what, err->what);
        assert_string_equal(back->hint, err->hint);
    }
}

static void failures_of_strangers(void **state)
{
    Mail__Failure failure = MAIL__FAILURE__INIT;
    (void)state;

    Error *err = error_of(&failure);
    assert_int_equal(err->code, ERROR_SYSTEM);
    assert_string_equal(err->what, "no reason was given");
    assert_null(err->hint);
    error_free(&err);

    failure.has_code = true;
    failure.code = (Mail__ErrorNumber)77;
    failure.what = failure.hint = calloc(1, 100001);
    memset(failure.what, 'x', 100000);
    err = error_of(&failure);
    assert_int_equal(err->code, ERROR_SYSTEM);
    assert_int_equal(strlen(err->what), 16384);
    assert_int_equal(strlen(err->hint), 16384);
    error_free(&err);
    free(failure.what);
}

/* A daemon's words in Latin-1, and a character that the limit would cut in two. */
static void words_that_the_wire_would_refuse(void **state)
{
    (void)state;
    DEFER(error_free)
    Error *err = error_new(ERROR_REFUSED, "postconf: Stra\xdf"
                                          "e \xe2\x82\xac \xe2\x82");
    Mail__Failure failure = failure_of(err);
    assert_string_equal(failure.what, "postconf: Stra?e \xe2\x82\xac ??");

    DEFER(error_free) Error *longer = error_new(ERROR_REFUSED, "%16383s\xc3\xa4", "x");
    failure = failure_of(longer);
    assert_int_equal(strlen(failure.what), 16383);
    assert_true(utf8_valid(failure.what, strlen(failure.what)));
}

/* Every length of a good message, every octet changed: never more than an error. */
static void B34_broken_copies(void **state)
{
    static const char good[] = HEAD "\xe2\x03\x14\x0a\x10\x12\x04\x0a\x02mx\x1a\x08\x0a\x01t\x10\x00\x1a\x01v\x12\x00";
    (void)state;
    for (size_t size = 0; size < sizeof good; size++)
        for (unsigned flip = 0; flip < 256; flip++) {
            uint8_t bytes[sizeof good];
            Envelope *envelope = NULL;
            uint64_t id;
            memcpy(bytes, good, size);
            if (size)
                bytes[size - 1] ^= (uint8_t)flip;
            Error *err = envelope_unpack(bytes, size, &envelope, &id);
            assert_int_equal(err == NULL, envelope != NULL);
            error_free(&err);
            envelope_free(&envelope);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(B34_every_spelling),
        cmocka_unit_test(B34_many_empty_items_do_not_fit_into_the_arena),
        cmocka_unit_test(B34_depth_without_end_is_an_unknown_field_or_broken),
        cmocka_unit_test(a_megabyte_and_one_octet_more),
        cmocka_unit_test(packing_sets_the_version_and_keeps_a_limit),
        cmocka_unit_test(names_of_bodies),
        cmocka_unit_test(errors_go_and_come),
        cmocka_unit_test(failures_of_strangers),
        cmocka_unit_test(words_that_the_wire_would_refuse),
        cmocka_unit_test(B34_broken_copies),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
