#include "engine/pair.h"

#include "expect.h"
#include "pems.h"

enum { ROOT, ISSUER, LEAF, OTHER, EARLY, LATE, OLD_ISSUER, OLD_LEAF, SMALL, SELF, N_PEMS };

static Pem pems[N_PEMS];

static int make_pems(void **state)
{
    (void)state;
    pems[ROOT] = pem_make("Root", NULL, NULL, true, -10, 900);
    pems[ISSUER] = pem_make("Issuer", NULL, &pems[ROOT], true, -10, 300);
    pems[LEAF] = pem_make("mail.example.org", NULL, &pems[ISSUER], false, -1, 80);
    pems[OTHER] = pem_make("other.example.org", NULL, &pems[ROOT], false, -1, 80);
    pems[EARLY] = pem_make("early.example.org", NULL, &pems[ISSUER], false, 2, 80);
    pems[LATE] = pem_make("late.example.org", NULL, &pems[ISSUER], false, -90, -1);
    pems[OLD_ISSUER] = pem_make("Old Issuer", NULL, &pems[ROOT], true, -90, -1);
    pems[OLD_LEAF] = pem_make("old.example.org", NULL, &pems[OLD_ISSUER], false, -1, 80);
    pems[SMALL] = pem_make("small.example.org", EVP_RSA_gen(1024), &pems[ISSUER], false, -1, 80);
    pems[SELF] = pem_make("self.example.org", NULL, NULL, false, -1, 80);
    return 0;
}

static int free_pems(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_PEMS; i++)
        pem_free(&pems[i]);
    return 0;
}

/* Digits name the certificates in the file; 'wanted' are those that come out, in their order. */
static const struct {
    const char *certificates;
    int key;
    const char *wanted, *error;
} cases[] = {
    {"21", LEAF, "21", NULL},
    {"12", LEAF, "21", NULL},
    {"012", LEAF, "21", NULL},
    {"210", LEAF, "21", NULL},
    {"2", LEAF, "2", NULL},
    {"212", LEAF, "21", NULL},
    {"9", SELF, "9", NULL},
    {"30", OTHER, "3", NULL},
    {"231", LEAF, NULL, "certificate 'other.example.org' does not belong to the chain"},
    {"3", LEAF, NULL, "certificate and key do not match"},
    {"1", LEAF, NULL, "certificate and key do not match"},
    {"4", EARLY, NULL, "certificate 'early.example.org' is not valid before "},
    {"5", LATE, NULL, "certificate 'late.example.org' ended at "},
    {"76", OLD_LEAF, NULL, "certificate 'Old Issuer' ended at "},
    {"8", SMALL, NULL, "the TLS library refuses the pair: ee key too small"},
    {"", LEAF, NULL, "no certificate in PEM form"},
};

static void certificates_of(const char *digits, Buf *out)
{
    for (; *digits; digits++)
        pem_certificate(&pems[*digits - '0'], out);
}

static void test_chains(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        DEFER(buf_done) Buf given = {0}, key = {0}, wanted = {0};
        DEFER(pair_done) Pair pair = {0};
        certificates_of(cases[i].certificates, &given);
        pem_key(&pems[cases[i].key], NULL, &key);
        Error *err = pair_read(&given, &key, time(NULL), &pair);
        print_message("%s\n", cases[i].certificates);
        if (cases[i].error) {
            fails(err, ERROR_INVALID, cases[i].error);
            continue;
        }
        ok(err);
        certificates_of(cases[i].wanted, &wanted);
        assert_string_equal(buf_text(&pair.certificates), buf_text(&wanted));
        assert_string_equal(buf_text(&pair.key), buf_text(&key));
    }
}

/* The name is that of what is served: order and root of the file do not matter, a renewed certificate does. */
static void test_name(void **state)
{
    DEFER(buf_done) Buf one = {0}, two = {0}, key = {0};
    DEFER(pair_done) Pair first = {0}, second = {0};

    (void)state;
    certificates_of("21", &one);
    certificates_of("012", &two);
    pem_key(&pems[LEAF], NULL, &key);
    ok(pair_read(&one, &key, time(NULL), &first));
    ok(pair_read(&two, &key, time(NULL), &second));
    assert_string_equal(first.name, second.name);
    assert_int_equal(strlen(first.name), 32);
    assert_string_equal(first.issuer, "Issuer");
    assert_true(first.ends - time(NULL) > 79 * DAY && first.ends - time(NULL) <= 80 * DAY);

    Pem renewed = pem_make("mail.example.org", NULL, &pems[ISSUER], false, -1, 90);
    buf_clear(&one);
    buf_clear(&key);
    pem_certificate(&renewed, &one);
    pem_key(&renewed, NULL, &key);
    pair_done(&second);
    ok(pair_read(&one, &key, time(NULL), &second));
    assert_string_not_equal(first.name, second.name);
    pem_free(&renewed);
}

static void test_keys(void **state)
{
    DEFER(buf_done) Buf certificate = {0}, key = {0};
    Pair pair;

    (void)state;
    pem_certificate(&pems[LEAF], &certificate);
    pem_key(&pems[LEAF], "secret", &key);
    fails(pair_read(&certificate, &key, time(NULL), &pair), ERROR_INVALID, "the key is encrypted");
    buf_clear(&key);
    pem_key(&pems[LEAF], NULL, &key);
    pem_key(&pems[LEAF], NULL, &key);
    fails(pair_read(&certificate, &key, time(NULL), &pair), ERROR_INVALID, "2 private keys in one file");
    buf_clear(&key);
    fails(pair_read(&certificate, &key, time(NULL), &pair), ERROR_INVALID, "no private key in PEM form");
    buf_append_text(&key, "-----BEGIN PRIVATE KEY-----\nbm90IGEga2V5\n-----END PRIVATE KEY-----\n");
    fails(pair_read(&certificate, &key, time(NULL), &pair), ERROR_INVALID, "the key does not read: ");
    buf_clear(&certificate);
    buf_append_text(&certificate, "-----BEGIN CERTIFICATE-----\nbm90IG9uZQ==\n-----END CERTIFICATE-----\n");
    fails(pair_read(&certificate, &key, time(NULL), &pair), ERROR_INVALID, "certificate 1 does not read: ");
}

static void test_made(void **state)
{
    DEFER(pair_done) Pair made = {0}, read = {0};
    const char *longest = "a123456789.b123456789.c123456789.d123456789.e123456789.f123456789.example.org";

    (void)state;
    ok(pair_make(longest, time(NULL) - 60, time(NULL) + 5 * DAY, &made));
    ok(pair_read(&made.certificates, &made.key, time(NULL), &read));
    assert_string_equal(read.name, made.name);
    assert_string_equal(read.issuer, "self-signed");
    assert_true(pair_covers(&read, longest));
    assert_false(pair_covers(&read, "example.org"));
    assert_int_equal(read.ends, made.ends);
    fails(pair_read(&made.certificates, &made.key, time(NULL) + 6 * DAY, &read), ERROR_INVALID, " ended at ");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_chains),
        cmocka_unit_test(test_name),
        cmocka_unit_test(test_keys),
        cmocka_unit_test(test_made),
    };
    return cmocka_run_group_tests(tests, make_pems, free_pems);
}
