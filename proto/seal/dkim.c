#include "seal/dkim.h"

#include "base/alloc.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <stdlib.h>

static void key_free(EVP_PKEY **key)
{
    EVP_PKEY_free(*key);
}

static void bio_free(BIO **bio)
{
    BIO_free(*bio);
}

/* libcrypto's own words stay inside: its queue may hold parts of what it was given. */
static Error *crypto_error(ErrorCode code, const char *what)
{
    ERR_clear_error();
    return error_new(code, "%s", what);
}

static Error *private_of(EVP_PKEY *key, Secret **ret_secret)
{
    DEFER(bio_free) BIO *bio = BIO_new(BIO_s_secmem());
    char *data = NULL;

    if (!bio || !PEM_write_bio_PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL))
        return crypto_error(ERROR_SYSTEM, "the private key was not written");
    long size = BIO_get_mem_data(bio, &data);
    *ret_secret = secret_new(data, (size_t)size);
    return NULL;
}

static Error *public_of(EVP_PKEY *key, char **ret_text)
{
    unsigned char *octets = NULL;
    int size = i2d_PUBKEY(key, &octets);

    if (size <= 0)
        return crypto_error(ERROR_SYSTEM, "the public key was not written");
    *ret_text = xcalloc(1, 4 * ((size_t)size + 2) / 3 + 1);
    EVP_EncodeBlock((unsigned char *)*ret_text, octets, size);
    OPENSSL_free(octets);
    return NULL;
}

void dkim_pair_done(DkimPair *pair)
{
    secret_free(&pair->private_key);
    free(pair->public_key);
    *pair = (DkimPair){0};
}

Error *dkim_pair_make(DkimPair *ret_pair)
{
    DEFER(key_free) EVP_PKEY *key = EVP_RSA_gen((unsigned)DKIM_BITS);
    DkimPair pair = {0};

    if (!key)
        return crypto_error(ERROR_SYSTEM, "no RSA key was made");
    Error *err = private_of(key, &pair.private_key);
    if (!err)
        err = public_of(key, &pair.public_key);
    if (err)
        dkim_pair_done(&pair);
    else
        *ret_pair = pair;
    return err;
}

Error *dkim_public_of(const Secret *private_key, char **ret_public_key)
{
    DEFER(bio_free) BIO *bio = BIO_new_mem_buf(secret_data(private_key), (int)secret_size(private_key));
    DEFER(key_free) EVP_PKEY *key = bio ? PEM_read_bio_PrivateKey(bio, NULL, NULL, (void *)"") : NULL;

    if (!key || EVP_PKEY_get_base_id(key) != EVP_PKEY_RSA || EVP_PKEY_get_bits(key) != DKIM_BITS)
        return crypto_error(ERROR_DAMAGED, "not a private RSA key of 2048 bits");
    return public_of(key, ret_public_key);
}
