#include "seal/secret.h"

#include "base/path.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static char file[64];
static SealKey *key;

static int setup(void **state)
{
    (void)state;
    snprintf(file, sizeof file, "/tmp/unit-secret-%d.key", (int)getpid());
    unlink(file);
    Error *err = seal_key_open(file, true, &key);
    return err ? -1 : 0;
}

static int teardown(void **state)
{
    (void)state;
    seal_key_free(&key);
    unlink(file);
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

static void keeps_its_octets(void **state)
{
    (void)state;
    DEFER(secret_free) Secret *a = secret_new("pass\0word", 9);
    DEFER(secret_free) Secret *b = secret_new("pass\0worm", 9);
    DEFER(secret_free) Secret *shorter = secret_new("pass", 4);
    DEFER(secret_free) Secret *same = secret_new(secret_data(a), secret_size(a));
    DEFER(secret_free) Secret *empty = secret_new(NULL, 0);

    assert_int_equal(secret_size(a), 9);
    assert_string_equal(secret_text(a), "pass");
    assert_int_equal(secret_data(a)[9], 0);
    assert_true(secret_equal(a, same));
    assert_false(secret_equal(a, b));
    assert_false(secret_equal(a, shorter));
    assert_string_equal(secret_text(empty), "");
    secret_free(&same);
    assert_null(same);
    secret_free(&same);
}

static void wipes(void **state)
{
    (void)state;
    char data[] = "password";

    wipe(data, sizeof data);
    for (size_t i = 0; i < sizeof data; i++)
        assert_int_equal(data[i], 0);
}

static void random_ones_differ(void **state)
{
    (void)state;
    DEFER(secret_free) Secret *a = secret_random(32);
    DEFER(secret_free) Secret *b = secret_random(32);

    assert_int_equal(secret_size(a), 32);
    assert_false(secret_equal(a, b));
}

static void sealed_and_opened_again(void **state)
{
    (void)state;
    static const size_t sizes[] = {0, 1, 15, 16, 17, 4096};

    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        DEFER(secret_free) Secret *secret = secret_random(sizes[i]);
        DEFER(secret_free) Secret *back = NULL;
        DEFER(buf_done) Buf sealed = {.data = NULL};
        buf_append_text(&sealed, "before"); /* appended, not replaced */
        good(seal(key, "relay/main", secret, &sealed));
        assert_int_equal(sealed.size, 6 + 1 + 12 + 16 + sizes[i]);
        good(unseal(key, "relay/main", sealed.data + 6, sealed.size - 6, &back));
        if (!secret_equal(secret, back))
            fail_msg("size %zu: another secret came back", sizes[i]);
    }
}

static void no_two_sealings_are_alike(void **state)
{
    (void)state;
    DEFER(secret_free) Secret *secret = secret_new("x", 1);
    DEFER(buf_done) Buf a = {.data = NULL};
    DEFER(buf_done) Buf b = {.data = NULL};

    good(seal(key, "n", secret, &a));
    good(seal(key, "n", secret, &b));
    assert_memory_not_equal(a.data + 1, b.data + 1, 12);
}

static void a_changed_octet_is_seen_wherever_it_is(void **state)
{
    (void)state;
    DEFER(secret_free) Secret *secret = secret_new("secret", 6);
    DEFER(buf_done) Buf sealed = {.data = NULL};

    good(seal(key, "n", secret, &sealed));
    for (size_t i = 0; i < sealed.size; i++) {
        Secret *back = NULL;
        sealed.data[i] ^= 0x10;
        bad(unseal(key, "n", sealed.data, sealed.size, &back), ERROR_DAMAGED,
            i ? "secret n: changed, of another name" : "secret n: layout 17 is not known here", i);
        assert_null(back);
        sealed.data[i] ^= 0x10;
    }
    for (size_t size = 0; size < sealed.size; size++) {
        Secret *back = NULL;
        bad(unseal(key, "n", sealed.data, size, &back), ERROR_DAMAGED,
            size < 29 ? "octets are no sealed secret" : "secret n: changed", size);
    }
}

static void another_name_or_key_opens_nothing(void **state)
{
    (void)state;
    DEFER(secret_free) Secret *secret = secret_new("secret", 6);
    DEFER(buf_done) Buf sealed = {.data = NULL};
    Secret *back = NULL;
    SealKey *other = NULL;

    good(seal(key, "relay/main", secret, &sealed));
    bad(unseal(key, "relay/other", sealed.data, sealed.size, &back), ERROR_DAMAGED, "secret relay/other: changed", 0);
    unlink(file);
    good(seal_key_open(file, true, &other));
    bad(unseal(other, "relay/main", sealed.data, sealed.size, &back), ERROR_DAMAGED, "another key file", 1);
    seal_key_free(&other);
}

static void key_file_is_made_once(void **state)
{
    (void)state;
    DEFER(secret_free) Secret *secret = secret_new("secret", 6);
    DEFER(secret_free) Secret *back = NULL;
    DEFER(buf_done) Buf sealed = {.data = NULL};
    SealKey *again = NULL;
    struct stat st;

    assert_int_equal(stat(file, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_equal(st.st_size, 32);
    good(seal(key, "n", secret, &sealed));
    good(seal_key_open(file, true, &again));
    good(unseal(again, "n", sealed.data, sealed.size, &back));
    seal_key_free(&again);
    seal_key_free(&again);
}

static const struct {
    const char *content; /* NULL: no file */
    mode_t mode;
    ErrorCode code;
    const char *words;
} files[] = {
    {NULL, 0, ERROR_NOT_FOUND, "no such file"},
    {"", 0600, ERROR_DAMAGED, ": 0 octets instead of 32"},
    {"0123456789012345678901234567890", 0600, ERROR_DAMAGED, ": 31 octets instead of 32"},
    {"012345678901234567890123456789012", 0600, ERROR_DAMAGED, ": 33 octets instead of 32"},
    {"0123456789012345678901234567890123", 0600, ERROR_DAMAGED, ": larger than 33 octets"},
    {"01234567890123456789012345678901", 0640, ERROR_DENIED, ": others than its owner may read it"},
    {"01234567890123456789012345678901", 0604, ERROR_DENIED, ": others than its owner may read it"},
};

static void key_files_that_are_none(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        SealKey *none = NULL;
        unlink(file);
        if (files[i].content)
            good(file_write(file, files[i].content, strlen(files[i].content), files[i].mode, (gid_t)-1));
        Error *err = seal_key_open(file, false, &none);
        if (err && !strstr(err->what, file))
            fail_msg("row %zu: the file is not named: %s", i, err->what);
        bad(err, files[i].code, files[i].words, i);
        assert_null(none);
    }
}

static void a_derived_key_is_always_the_same(void **state)
{
    (void)state;
    SealKey *parent = NULL;
    good(file_write(file, "01234567890123456789012345678901", 32, 0600, (gid_t)-1));
    good(seal_key_open(file, false, &parent));
    DEFER(secret_free) Secret *one = seal_key_derive(parent, "one");
    DEFER(secret_free) Secret *again = seal_key_derive(parent, "one");
    DEFER(secret_free) Secret *two = seal_key_derive(parent, "two");
    seal_key_free(&parent);
    /* printf one | openssl mac -digest SHA256 -macopt key:0123...901 HMAC, the first half */
    assert_string_equal(secret_text(one), "9fe64fad48d4a0f5fed45371f33b6608");
    assert_string_equal(secret_text(again), secret_text(one));
    assert_string_not_equal(secret_text(two), secret_text(one));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keeps_its_octets),
        cmocka_unit_test(wipes),
        cmocka_unit_test(random_ones_differ),
        cmocka_unit_test_setup_teardown(sealed_and_opened_again, setup, teardown),
        cmocka_unit_test_setup_teardown(no_two_sealings_are_alike, setup, teardown),
        cmocka_unit_test_setup_teardown(a_changed_octet_is_seen_wherever_it_is, setup, teardown),
        cmocka_unit_test_setup_teardown(another_name_or_key_opens_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(key_file_is_made_once, setup, teardown),
        cmocka_unit_test_setup_teardown(key_files_that_are_none, setup, teardown),
        cmocka_unit_test_setup_teardown(a_derived_key_is_always_the_same, setup, teardown),
    };
    return cmocka_run_group_tests_name("seal/secret", tests, NULL, NULL);
}
