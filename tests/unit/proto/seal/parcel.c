#include "seal/parcel.h"

#include "base/alloc.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

static Secret *password;

static int setup(void **state)
{
    (void)state;
    password = secret_new("correct horse", 13);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    secret_free(&password);
    return 0;
}

static void good(Error *err)
{
    if (err)
        fail_msg("%s", err->what);
}

/* Takes err. */
static void bad(Error *err, ErrorCode code, const char *words, size_t row)
{
    if (!err || err->code != code || !strstr(err->what, words))
        fail_msg("row %zu: %s", row, err ? err->what : "no error");
    error_free(&err);
}

static Error *collect(void *context, const void *data, size_t size)
{
    buf_append(context, data, size);
    return NULL;
}

static void octets_of(size_t size, uint8_t *out)
{
    for (size_t i = 0; i < size; i++)
        out[i] = (uint8_t)(i * 7 + i / 251);
}

static void make(size_t size, Buf *out)
{
    DEFER(parcel_out_free) ParcelOut *parcel = NULL;
    DEFER(xfree) uint8_t *octets = xcalloc(1, size + 1);

    octets_of(size, octets);
    good(parcel_begin(password, collect, out, &parcel));
    for (size_t at = 0; at < size; at += 10007)
        good(parcel_add(parcel, octets + at, size - at < 10007 ? size - at : 10007));
    good(parcel_close(parcel));
}

static int file_of(const Buf *content)
{
    int fd = memfd_create("parcel", MFD_CLOEXEC);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, content->data, content->size), content->size);
    assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
    return fd;
}

/* What becomes of one that should hold 'size' octets. */
static Error *take(const Buf *content, const Secret *with, size_t size)
{
    int fd = file_of(content);
    DEFER(parcel_in_free) ParcelIn *in = NULL;
    DEFER(xfree) uint8_t *octets = xcalloc(1, size + 1);
    DEFER(xfree) uint8_t *wanted = xcalloc(1, size + 1);

    Error *err = parcel_open(fd, with, &in);
    for (size_t at = 0; !err && at < size; at += 50021)
        err = parcel_read(in, octets + at, size - at < 50021 ? size - at : 50021);
    if (!err)
        err = parcel_end(in);
    octets_of(size, wanted);
    if (!err)
        assert_memory_equal(octets, wanted, size);
    close(fd);
    return err;
}

static void brings_back_what_was_put_in(void **state)
{
    static const size_t sizes[] = {0, 1, PARCEL_PIECE - 1, PARCEL_PIECE, PARCEL_PIECE + 1, 3 * PARCEL_PIECE};

    (void)state;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        DEFER(buf_done) Buf content = {0};
        make(sizes[i], &content);
        assert_int_equal(content.size, PARCEL_HEAD + sizes[i] + PARCEL_PIECE_MORE * (sizes[i] / PARCEL_PIECE + 1));
        good(take(&content, password, sizes[i]));
    }
}

static void opens_with_its_password_alone(void **state)
{
    DEFER(buf_done) Buf content = {0};
    DEFER(secret_free) Secret *other = secret_new("correct horsf", 13);
    DEFER(secret_free) Secret *none = secret_new("", 0);

    (void)state;
    make(100, &content);
    bad(take(&content, other, 100), ERROR_DENIED, "does not open it", 0);
    bad(take(&content, none, 100), ERROR_INVALID, "1 to 1024 octets", 1);
}

/* Every octet of a small one, and the places that matter of a larger one. */
static void finds_every_change(void **state)
{
    DEFER(buf_done) Buf content = {0};
    static const size_t places[] = {0,
                                    17,
                                    PARCEL_HEAD,
                                    PARCEL_HEAD + 3,
                                    PARCEL_HEAD + 4,
                                    PARCEL_HEAD + 4 + PARCEL_PIECE,
                                    PARCEL_HEAD + PARCEL_PIECE + PARCEL_PIECE_MORE};

    (void)state;
    make(PARCEL_PIECE + 10, &content);
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        content.data[places[i]] ^= 1;
        Error *err = take(&content, password, PARCEL_PIECE + 10);
        if (!err)
            fail_msg("octet %zu changed, and taken", places[i]);
        bad(err, places[i] < 18 ? ERROR_INVALID : ERROR_DAMAGED, places[i] < 18 ? "no sealed file" : "it ", i);
        content.data[places[i]] ^= 1;
    }
    good(take(&content, password, PARCEL_PIECE + 10));
}

static void finds_what_is_missing_or_too_much(void **state)
{
    size_t piece = PARCEL_PIECE + PARCEL_PIECE_MORE;
    DEFER(buf_done) Buf content = {0};

    (void)state;
    make(2 * PARCEL_PIECE + 10, &content);
    for (size_t row = 0; row < 2; row++) { /* without its last piece; without half of it */
        Buf cut = {.data = content.data, .size = PARCEL_HEAD + 2 * piece + row * 7};
        bad(take(&cut, password, 2 * PARCEL_PIECE + 10), ERROR_DAMAGED, "cut off", row);
    }
    bad(take(&content, password, 2 * PARCEL_PIECE + 11), ERROR_DAMAGED, "too early", 2);
    bad(take(&content, password, 2 * PARCEL_PIECE + 9), ERROR_DAMAGED, "more is in it", 3);

    DEFER(xfree) uint8_t *first = xmemdup(content.data + PARCEL_HEAD, piece); /* the first two, the other way round */
    memmove(content.data + PARCEL_HEAD, content.data + PARCEL_HEAD + piece, piece);
    memcpy(content.data + PARCEL_HEAD + piece, first, piece);
    bad(take(&content, password, 2 * PARCEL_PIECE + 10), ERROR_DAMAGED, "it was changed", 4);
    memcpy(content.data + PARCEL_HEAD + piece, content.data + PARCEL_HEAD, piece);
    memcpy(content.data + PARCEL_HEAD, first, piece);
    buf_append(&content, "x", 1);
    bad(take(&content, password, 2 * PARCEL_PIECE + 10), ERROR_DAMAGED, "behind its end", 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(brings_back_what_was_put_in),
        cmocka_unit_test(opens_with_its_password_alone),
        cmocka_unit_test(finds_every_change),
        cmocka_unit_test(finds_what_is_missing_or_too_much),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
