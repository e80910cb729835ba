#include "seal/replica.h"

#include "base/alloc.h"
#include "base/attributes.h"
#include "seal/x509.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

static const char organization[] = "mailnode replica"; /* slapd maps "cn=NAME,o=mailnode replica": render/slapd.c */

static void key_free(EVP_PKEY **key)
{
    EVP_PKEY_free(*key);
}

static void certificate_free(X509 **certificate)
{
    X509_free(*certificate);
}

static void bio_free(BIO **bio)
{
    BIO_free(*bio);
}

static bool name_add(X509_NAME *name, int nid, const char *text)
{
    return X509_NAME_add_entry_by_NID(name, nid, MBSTRING_UTF8, (const unsigned char *)text, -1, -1, 0) == 1;
}

static bool certificate_fill(X509 *x, EVP_PKEY *key, const char *user_domain, const char *served_at)
{
    X509_NAME *name = X509_get_subject_name(x);

    return X509_set_version(x, X509_VERSION_3) == 1 && x509_serial_set(x) &&
           name_add(name, NID_organizationName, organization) && name_add(name, NID_commonName, user_domain) &&
           X509_set_issuer_name(x, name) == 1 && ASN1_TIME_set_string_X509(X509_getm_notBefore(x), "20000101000000Z") &&
           ASN1_TIME_set_string_X509(X509_getm_notAfter(x), "99991231235959Z") && X509_set_pubkey(x, key) == 1 &&
           x509_extension_add(x, NID_basic_constraints, "critical,CA:FALSE") &&
           x509_extension_add(x, NID_key_usage, "critical,digitalSignature") &&
           x509_extension_add(x, NID_ext_key_usage, "serverAuth,clientAuth") &&
           x509_extension_add(x, NID_subject_alt_name, served_at) && X509_sign(x, key, NULL) > 0;
}

static bool pair_write(X509 *x, EVP_PKEY *key, Secret **ret_pair)
{
    DEFER(bio_free) BIO *bio = BIO_new(BIO_s_secmem());
    char *data = NULL;

    if (!bio || PEM_write_bio_PKCS8PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL) != 1 ||
        PEM_write_bio_X509(bio, x) != 1)
        return false;
    long size = BIO_get_mem_data(bio, &data);
    *ret_pair = secret_new(data, (size_t)size);
    return true;
}

Error *replica_pair_make(const char *user_domain, char *const *addresses, size_t n_addresses, Secret **ret_pair)
{
    DEFER(key_free) EVP_PKEY *key = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
    DEFER(certificate_free) X509 *x = X509_new();
    DEFER(buf_done) Buf served_at = {0};

    for (size_t i = 0; i < n_addresses; i++)
        buf_printf(&served_at, "%sIP:%s", i ? "," : "", addresses[i]);
    if (key && x && certificate_fill(x, key, user_domain, buf_text(&served_at)) && pair_write(x, key, ret_pair))
        return NULL;
    ERR_clear_error(); /* its queue may hold parts of what it was given */
    return error_new(ERROR_SYSTEM, "no certificate was made for the replicas of %s", user_domain);
}
