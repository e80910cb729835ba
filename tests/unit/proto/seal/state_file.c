#include "seal/state_file.h"

#include "base/alloc.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const char secret[] = "never to be read";

static StateFile *written(void)
{
    StateFile *file = state_file_new(42);

    for (int i = 0; i < 3; i++) {
        DEFER(xfree) char *name = xasprintf("mx%d", i);
        DEFER(object_free) Object *node = object_new(MAIL__OBJECT__BODY_NODE, NULL, name);
        state_file_object(file, node);
        state_file_secret(file, (uint64_t)i + 7, secret, sizeof secret - 1);
    }
    return file;
}

static Error *take(void *context, const void *bytes, size_t size)
{
    DEFER(object_free) Object *object = NULL;
    Error *err = object_unpack(bytes, size, &object);

    if (!err)
        buf_printf(context, "%s ", object->name);
    return err;
}

static Error *read_back(const void *bytes, size_t size, uint64_t *ret_revision, Buf *names)
{
    return state_file_read(bytes, size, ret_revision, take, names);
}

static void what_was_written_reads_back(void **state)
{
    DEFER(state_file_free) StateFile *file = written();
    DEFER(buf_done) Buf names = {0};
    uint64_t revision = 0;
    size_t size = 0;
    const void *bytes = state_file_end(file, &size);

    (void)state;
    assert_ptr_equal(state_file_end(file, &size), bytes); /* the end is said once */
    assert_null(read_back(bytes, size, &revision, &names));
    assert_int_equal(revision, 42);
    assert_string_equal(buf_text(&names), "mx0 mx1 mx2 ");
}

/* At whatever octet it is cut: never taken for the whole. */
static void S45_a_cut_one_is_damaged(void **state)
{
    DEFER(state_file_free) StateFile *file = written();
    size_t size = 0;
    const void *bytes = state_file_end(file, &size);

    (void)state;
    for (size_t len = 0; len < size; len++) {
        DEFER(buf_done) Buf names = {0};
        DEFER(xfree) char *part = xmalloc(len + 1);
        uint64_t revision = 0;
        memcpy(part, bytes, len);
        DEFER(error_free) Error *err = read_back(part, len, &revision, &names);
        assert_non_null(err);
        assert_int_equal(err->code, ERROR_DAMAGED);
    }
}

static void S45_rubbish_is_told(void **state)
{
    static const struct {
        const char *bytes;
        size_t size;
        ErrorCode code;
    } cases[] = {
        {"", 0, ERROR_DAMAGED},
        {"MAILNODE-STATE 2\n\0\0\0\0", 21, ERROR_UNSUPPORTED},
        {"MAILNODE-STATE 1\n\xff\xff\xff\xff", 21, ERROR_DAMAGED},
        {"MAILNODE-STATE 1\n\0\0\0\0", 21, ERROR_DAMAGED},         /* no revision */
        {"MAILNODE-STATE 1\n\2\0\0\0\x10\x01", 23, ERROR_DAMAGED}, /* no end */
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        DEFER(buf_done) Buf names = {0};
        uint64_t revision = 0;
        DEFER(error_free) Error *err = read_back(cases[i].bytes, cases[i].size, &revision, &names);
        assert_non_null(err);
        assert_int_equal(err->code, cases[i].code);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_written_reads_back),
        cmocka_unit_test(S45_a_cut_one_is_damaged),
        cmocka_unit_test(S45_rubbish_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
