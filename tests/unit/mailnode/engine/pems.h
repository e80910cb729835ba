/* pems.h - a root, an issuer below it, and certificates of it, made for a test */
#pragma once
#include "base/buf.h"

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <time.h>

enum { DAY = 86400 };

typedef struct Pem {
    EVP_PKEY *key;
    X509 *x;
} Pem;

static inline void pem_extension(X509 *x, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX context;

    X509V3_set_ctx(&context, issuer, x, NULL, NULL, 0);
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &context, nid, value);
    X509_add_ext(x, extension, -1);
    X509_EXTENSION_free(extension);
}

/* issuer NULL: by itself.  Days from now. */
static inline Pem pem_make(const char *name, EVP_PKEY *key, const Pem *issuer, bool ca, int from_days, int to_days)
{
    Pem pem = {key ? key : EVP_EC_gen("P-256"), X509_new()};
    static long serial = 1;

    X509_set_version(pem.x, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(pem.x), serial++);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(pem.x), "CN", MBSTRING_ASC, (const unsigned char *)name, -1, -1,
                               0);
    X509_set_issuer_name(pem.x, X509_get_subject_name(issuer ? issuer->x : pem.x));
    ASN1_TIME_set(X509_getm_notBefore(pem.x), time(NULL) + (time_t)from_days * DAY);
    ASN1_TIME_set(X509_getm_notAfter(pem.x), time(NULL) + (time_t)to_days * DAY);
    X509_set_pubkey(pem.x, pem.key);
    pem_extension(pem.x, issuer ? issuer->x : pem.x, NID_basic_constraints, ca ? "critical,CA:TRUE" : "CA:FALSE");
    if (!ca) {
        char names[128];
        snprintf(names, sizeof names, "DNS:%s", name);
        pem_extension(pem.x, issuer ? issuer->x : pem.x, NID_subject_alt_name, names);
    }
    X509_sign(pem.x, issuer ? issuer->key : pem.key, EVP_sha256());
    return pem;
}

static inline void pem_free(Pem *pem)
{
    EVP_PKEY_free(pem->key);
    X509_free(pem->x);
    *pem = (Pem){0};
}

static inline void bio_text(BIO *bio, Buf *out)
{
    char *data = NULL;
    long size = BIO_get_mem_data(bio, &data);

    buf_append(out, data, (size_t)size);
    BIO_free(bio);
}

static inline void pem_certificate(const Pem *pem, Buf *out)
{
    BIO *bio = BIO_new(BIO_s_mem());

    PEM_write_bio_X509(bio, pem->x);
    bio_text(bio, out);
}

static inline void pem_key(const Pem *pem, const char *password, Buf *out)
{
    BIO *bio = BIO_new(BIO_s_mem());

    PEM_write_bio_PKCS8PrivateKey(bio, pem->key, password ? EVP_aes_128_cbc() : NULL, password,
                                  password ? (int)strlen(password) : 0, NULL, NULL);
    bio_text(bio, out);
}
