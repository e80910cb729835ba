#include "seal/replica.h"

#include <openssl/bio.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
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

/* The key first, then its certificate; who has the file has both. */
static void a_pair_is_for_its_addresses_alone(void **state)
{
    char *addresses[] = {(char *)"192.0.2.1", (char *)"2001:db8::1"};
    DEFER(secret_free) Secret *pair = NULL, *other = NULL;
    char subject[128];

    (void)state;
    ok(replica_pair_make("staff", addresses, 2, &pair));
    ok(replica_pair_make("staff", addresses, 2, &other));
    assert_false(secret_equal(pair, other));
    BIO *bio = BIO_new_mem_buf(secret_data(pair), (int)secret_size(pair));
    EVP_PKEY *key = PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL);
    X509 *x = PEM_read_bio_X509(bio, NULL, NULL, NULL);
    assert_non_null(key);
    assert_non_null(x);
    assert_int_equal(X509_check_private_key(x, key), 1);
    assert_int_equal(X509_verify(x, key), 1);
    assert_int_equal(X509_check_ca(x), 0);
    assert_int_equal(X509_check_ip_asc(x, "192.0.2.1", 0), 1);
    assert_int_equal(X509_check_ip_asc(x, "2001:db8::1", 0), 1);
    assert_int_equal(X509_check_ip_asc(x, "192.0.2.2", 0), 0);
    assert_int_equal(X509_check_purpose(x, X509_PURPOSE_SSL_CLIENT, 0), 1);
    assert_int_equal(X509_check_purpose(x, X509_PURPOSE_SSL_SERVER, 0), 1);
    X509_NAME_oneline(X509_get_subject_name(x), subject, sizeof subject);
    assert_string_equal(subject, "/O=mailnode replica/CN=staff");
    X509_free(x);
    EVP_PKEY_free(key);
    BIO_free(bio);
}

static void what_is_no_address_is_an_error(void **state)
{
    char *addresses[] = {(char *)"nowhere"};
    DEFER(secret_free) Secret *pair = NULL;

    (void)state;
    DEFER(error_free) Error *err = replica_pair_make("staff", addresses, 1, &pair);
    assert_non_null(err);
    assert_string_equal(err->what, "no certificate was made for the replicas of staff");
    assert_null(pair);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_pair_is_for_its_addresses_alone),
        cmocka_unit_test(what_is_no_address_is_an_error),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
