#include "seal/dkim.h"

#include "base/alloc.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void ok(Error *err)
{
    if (err)
        fail_msg("%s", err->what);
}

static void a_pair_belongs_together(void **state)
{
    DEFER(dkim_pair_done) DkimPair one = {0}, other = {0};
    DEFER(xfree) char *again = NULL;

    (void)state;
    ok(dkim_pair_make(&one));
    ok(dkim_pair_make(&other));
    assert_int_equal(strncmp(secret_text(one.private_key), "-----BEGIN PRIVATE KEY-----\n", 28), 0);
    assert_int_equal(strspn(one.public_key, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/="),
                     strlen(one.public_key));
    assert_int_equal(strlen(one.public_key), 392); /* 294 octets: SubjectPublicKeyInfo of RSA with 2048 bits */
    ok(dkim_public_of(one.private_key, &again));
    assert_string_equal(again, one.public_key);
    assert_string_not_equal(one.public_key, other.public_key);
    assert_false(secret_equal(one.private_key, other.private_key));
}

/* B42, as far as keys come from elsewhere. */
static void what_is_no_such_key_is_damaged(void **state)
{
    static const char *const texts[] = {
        "",
        "nonsense",
        "-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----\n",
        "-----BEGIN PRIVATE KEY-----\r\nAAAA\r\n-----END PRIVATE KEY-----\r\n",
        /* of an elliptic curve */
        "-----BEGIN PRIVATE KEY-----\n"
        "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgevZzL1gdAFr88hb2\n"
        "OF/2NxApJCzGCEDdfSp6VQO30hyhRANCAAQRWz+jn65BtOMvdyHKcvjBeBSDZH2r\n"
        "1RTwjmYSi9R/zpBnuQ4EiMnCqfMPWiZqB4QdbAd0E7oH50VpuZ1P087G\n"
        "-----END PRIVATE KEY-----\n",
    };

    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        DEFER(secret_free) Secret *secret = secret_new(texts[i], strlen(texts[i]));
        DEFER(xfree) char *public_key = NULL;
        DEFER(error_free) Error *err = dkim_public_of(secret, &public_key);
        assert_non_null(err);
        assert_int_equal(err->code, ERROR_DAMAGED);
        assert_string_equal(err->what, "not a private RSA key of 2048 bits");
        assert_null(public_key);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_pair_belongs_together),
        cmocka_unit_test(what_is_no_such_key_is_damaged),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
