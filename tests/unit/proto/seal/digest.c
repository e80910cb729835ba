#include "seal/digest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static Digest from_hex(const char *hex)
{
    char again[DIGEST_HEX_SIZE];
    Digest digest;

    assert_true(digest_from_hex(hex, &digest));
    digest_hex(&digest, again);
    assert_string_equal(again, hex);
    return digest;
}

static void test_hex(void **state)
{
    static const char *const wrong[] = {
        "",
        "00",
        "0000000000000000000000000000000000000000000000000000000000000000 ",
        "000000000000000000000000000000000000000000000000000000000000000g",
        "000000000000000000000000000000000000000000000000000000000000000A",
    };
    Digest digest;

    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_false(digest_from_hex(wrong[i], &digest));
}

static void same(const Digest *got, const Digest *want, size_t row)
{
    for (size_t i = 0; i < DIGEST_SIZE; i++)
        if (got->octets[i] != want->octets[i])
            fail_msg("row %zu, octet %zu: %02x instead of %02x", row, i, got->octets[i], want->octets[i]);
}

/* FIPS 180-2, appendix B, and the empty text. */
static const struct {
    const char *text, *sha256;
} known[] = {
    {"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
    {"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
    {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
     "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
    {"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"}, /* the context is used again */
};

static void sha256_of_known_texts(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        Digest got = digest_of(known[i].text, strlen(known[i].text)), want = from_hex(known[i].sha256);
        same(&got, &want, i);
    }
}

#define ZEROS "00000000000000000000000000000000000000000000000000000000000000"
#define ONES "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"

/* a + b = sum modulo 2^256; sum - b = a. */
static const struct {
    const char *a, *b, *sum;
} sums[] = {
    {ZEROS "00", ZEROS "00", ZEROS "00"},
    {ZEROS "01", ZEROS "ff",
     "000000000000000000000000000000000000000000000000000000000000"
     "0100"},
    {ONES "ff", ZEROS "01", ZEROS "00"},
    {ONES "ff", ONES "ff", ONES "fe"},
    {"80" ZEROS, "80" ZEROS, ZEROS "00"},
    {"00" ONES, ZEROS "01", "01" ZEROS},
};

static void adds_and_subtracts_modulo_2_to_256(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof sums / sizeof *sums; i++) {
        Digest a = from_hex(sums[i].a), b = from_hex(sums[i].b), want = from_hex(sums[i].sum), sum = a;
        digest_add(&sum, &b);
        same(&sum, &want, i);
        digest_subtract(&sum, &b);
        same(&sum, &a, i);
    }
}

static void order_does_not_matter(void **state)
{
    (void)state;
    Digest forward = {{0}}, backward = {{0}};

    for (int i = 0; i < 100; i++) {
        int other = 99 - i;
        Digest a = digest_of(&i, sizeof i), b = digest_of(&other, sizeof other);
        digest_add(&forward, &a);
        digest_add(&backward, &b);
    }
    assert_true(digest_equal(&forward, &backward));
    for (int i = 0; i < 100; i++) {
        Digest a = digest_of(&i, sizeof i);
        digest_subtract(&forward, &a);
    }
    Digest nothing = {{0}};
    same(&forward, &nothing, 0);
}

static void equality_looks_at_every_octet(void **state)
{
    (void)state;
    Digest a = digest_of("x", 1);

    for (size_t i = 0; i < DIGEST_SIZE; i++) {
        Digest b = a;
        assert_true(digest_equal(&a, &b));
        b.octets[i] ^= 1;
        if (digest_equal(&a, &b))
            fail_msg("octet %zu is not looked at", i);
    }
}

static void reads_32_octets_and_nothing_else(void **state)
{
    (void)state;
    Digest a = digest_of("x", 1), b = {{0}};
    static const size_t sizes[] = {0, 1, 31, 33};

    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        uint8_t octets[64] = {7};
        assert_false(digest_from(octets, sizes[i], &b));
        assert_int_equal(b.octets[0], 0);
    }
    assert_true(digest_from(a.octets, DIGEST_SIZE, &b));
    assert_true(digest_equal(&a, &b));
}

static void chain_is_the_digest_of_what_went_in(void **state)
{
    (void)state;
    static const uint8_t change[6] = {'c', 'h', 'a', 'n', 'g', 'e'};
    Digest previous = digest_of("before", 6);
    uint8_t whole[DIGEST_SIZE + 8 + 6] = {0};
    static const uint8_t revision[8] = {1, 2, 3, 4, 5, 6, 7, 8};

    memcpy(whole, previous.octets, DIGEST_SIZE);
    memcpy(whole + DIGEST_SIZE, revision, sizeof revision);
    memcpy(whole + DIGEST_SIZE + sizeof revision, change, 6);
    Digest want = digest_of(whole, sizeof whole);

    for (size_t cut = 0; cut <= 6; cut++) { /* in two pieces, wherever it is cut */
        Chain *chain = chain_begin(&previous, 0x0102030405060708ULL);
        chain_add(chain, change, cut);
        digest_of("in between", 10); /* does not disturb an open chain */
        chain_add(chain, change + cut, 6 - cut);
        Digest got = chain_end(&chain);
        assert_null(chain);
        same(&got, &want, cut);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hex),
        cmocka_unit_test(sha256_of_known_texts),
        cmocka_unit_test(adds_and_subtracts_modulo_2_to_256),
        cmocka_unit_test(order_does_not_matter),
        cmocka_unit_test(equality_looks_at_every_octet),
        cmocka_unit_test(reads_32_octets_and_nothing_else),
        cmocka_unit_test(chain_is_the_digest_of_what_went_in),
    };
    return cmocka_run_group_tests_name("seal/digest", tests, NULL, NULL);
}
