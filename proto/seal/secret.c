#include "seal/secret.h"

#include "base/alloc.h"
#include "base/path.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

struct Secret {
    size_t size;
    uint8_t content[]; /* and a NUL */
};

void wipe(void *data, size_t size)
{
    OPENSSL_cleanse(data, size);
}

static Secret *secret_empty(size_t size)
{
    Secret *secret = xmalloc(sizeof *secret + size + 1);

    /* Refused beyond RLIMIT_MEMLOCK: swap is then the admin's to encrypt.  Never unlocked: the page may hold others. */
    (void)mlock(secret, sizeof *secret + size + 1);
    secret->size = size;
    secret->content[size] = '\0';
    return secret;
}

Secret *secret_new(const void *data, size_t size)
{
    Secret *secret = secret_empty(size);

    if (size)
        memcpy(secret->content, data, size);
    return secret;
}

void secret_free(Secret **secret)
{
    if (!*secret)
        return;
    wipe(*secret, sizeof **secret + (*secret)->size + 1);
    free(*secret);
    *secret = NULL;
}

const uint8_t *secret_data(const Secret *secret)
{
    return secret->content;
}

const char *secret_text(const Secret *secret)
{
    return (const char *)secret->content;
}

size_t secret_size(const Secret *secret)
{
    return secret->size;
}

bool secret_equal(const Secret *a, const Secret *b)
{
    return a->size == b->size && CRYPTO_memcmp(a->content, b->content, a->size) == 0;
}

/* Without randomness no secret is one: the program ends. */
static void random_octets(uint8_t *out, size_t size)
{
    if (RAND_bytes(out, (int)size) != 1)
        abort();
}

Secret *secret_random(size_t size)
{
    Secret *secret = secret_empty(size);

    random_octets(secret->content, size);
    return secret;
}

/* ---- at rest ---- */

enum { KEY_SIZE = 32, LAYOUT = 1, LAYOUT_SIZE = 1, NONCE_SIZE = 12, TAG_SIZE = 16, DERIVED_OCTETS = 16 };
enum { HEAD_SIZE = LAYOUT_SIZE + NONCE_SIZE + TAG_SIZE }; /* layout, nonce, tag; then the ciphertext */

struct SealKey {
    Secret *key;
};

static Error *key_read(const char *path, Secret **ret_key)
{
    uint8_t octets[KEY_SIZE + 1];
    struct stat st;
    Buf content = {.data = NULL};

    if (stat(path, &st) == 0 && S_ISREG(st.st_mode) && (st.st_mode & (S_IRWXG | S_IRWXO)))
        return error_hint(error_new(ERROR_DENIED, "%s: others than its owner may read it", path), "chmod 600 %s", path);
    Error *err = file_read(path, sizeof octets, &content);
    if (err && err->code == ERROR_INVALID)
        err->code = ERROR_DAMAGED; /* larger, or no file at all */
    if (!err && content.size != KEY_SIZE)
        err = error_new(ERROR_DAMAGED, "%s: %zu octets instead of %d", path, content.size, (int)KEY_SIZE);
    if (!err)
        *ret_key = secret_new(content.data, content.size);
    if (content.data)
        wipe(content.data, content.size);
    buf_done(&content);
    return err;
}

static Error *key_make(const char *path, Secret **ret_key)
{
    Secret *key = secret_random(KEY_SIZE);

    Error *err = file_write(path, secret_data(key), KEY_SIZE, S_IRUSR | S_IWUSR, (gid_t)-1);
    if (err) {
        secret_free(&key);
        return err;
    }
    *ret_key = key;
    return NULL;
}

Error *seal_key_open(const char *path, bool make, SealKey **ret_key)
{
    Secret *key = NULL;

    Error *err = key_read(path, &key);
    if (err && err->code == ERROR_NOT_FOUND && make) {
        error_free(&err);
        err = key_make(path, &key);
    }
    if (err)
        return error_in(err, "key file");
    *ret_key = xmalloc(sizeof **ret_key);
    (*ret_key)->key = key;
    return NULL;
}

void seal_key_free(SealKey **key)
{
    if (!*key)
        return;
    secret_free(&(*key)->key);
    free(*key);
    *key = NULL;
}

Secret *seal_key_derive(const SealKey *key, const char *purpose)
{
    uint8_t octets[EVP_MAX_MD_SIZE];
    char digits[2 * DERIVED_OCTETS + 1];

    /* With a key and a digest of ours nothing of it can fail but memory. */
    if (!HMAC(EVP_sha256(), secret_data(key->key), (int)secret_size(key->key), (const uint8_t *)purpose,
              strlen(purpose), octets, NULL))
        abort();
    for (size_t i = 0; i < DERIVED_OCTETS; i++)
        snprintf(digits + 2 * i, 3, "%02x", octets[i]);
    Secret *derived = secret_new(digits, sizeof digits - 1);
    wipe(octets, sizeof octets);
    wipe(digits, sizeof digits);
    return derived;
}

static void context_free(EVP_CIPHER_CTX **context)
{
    EVP_CIPHER_CTX_free(*context);
    *context = NULL;
}

static Error *crypto_failed(const char *name)
{
    return error_new(ERROR_SYSTEM, "secret %s: libcrypto refuses AES-256-GCM", name);
}

static bool encrypt(EVP_CIPHER_CTX *gcm, const SealKey *key, const char *name, const Secret *secret, uint8_t *head)
{
    uint8_t *nonce = head + LAYOUT_SIZE, *tag = nonce + NONCE_SIZE, *text = head + HEAD_SIZE;
    int n;

    return EVP_EncryptInit_ex2(gcm, EVP_aes_256_gcm(), secret_data(key->key), nonce, NULL) == 1 &&
           EVP_EncryptUpdate(gcm, NULL, &n, (const uint8_t *)name, (int)strlen(name)) == 1 &&
           EVP_EncryptUpdate(gcm, text, &n, secret->content, (int)secret->size) == 1 &&
           EVP_EncryptFinal_ex(gcm, text + n, &n) == 1 &&
           EVP_CIPHER_CTX_ctrl(gcm, EVP_CTRL_AEAD_GET_TAG, TAG_SIZE, tag) == 1;
}

Error *seal(const SealKey *key, const char *name, const Secret *secret, Buf *out)
{
    DEFER(context_free) EVP_CIPHER_CTX *gcm = EVP_CIPHER_CTX_new();
    size_t size = HEAD_SIZE + secret->size;
    uint8_t *head = secret->size <= INT32_MAX - HEAD_SIZE ? buf_reserve(out, size) : NULL;

    if (!head)
        return error_new(ERROR_INVALID, "secret %s: %zu octets are too many", name, secret->size);
    head[0] = LAYOUT;
    random_octets(head + LAYOUT_SIZE, NONCE_SIZE);
    if (!gcm || !encrypt(gcm, key, name, secret, head))
        return crypto_failed(name);
    out->size += size;
    return NULL;
}

static bool decrypt(EVP_CIPHER_CTX *gcm, const SealKey *key, const char *name, const uint8_t *head, Secret *secret)
{
    const uint8_t *nonce = head + LAYOUT_SIZE, *tag = nonce + NONCE_SIZE, *text = head + HEAD_SIZE;
    int n;

    return EVP_DecryptInit_ex2(gcm, EVP_aes_256_gcm(), secret_data(key->key), nonce, NULL) == 1 &&
           EVP_DecryptUpdate(gcm, NULL, &n, (const uint8_t *)name, (int)strlen(name)) == 1 &&
           EVP_DecryptUpdate(gcm, secret->content, &n, text, (int)secret->size) == 1 &&
           EVP_CIPHER_CTX_ctrl(gcm, EVP_CTRL_AEAD_SET_TAG, TAG_SIZE, (void *)(uintptr_t)tag) == 1 &&
           EVP_DecryptFinal_ex(gcm, secret->content + n, &n) == 1;
}

Error *unseal(const SealKey *key, const char *name, const void *sealed, size_t size, Secret **ret_secret)
{
    DEFER(context_free) EVP_CIPHER_CTX *gcm = NULL;
    DEFER(secret_free) Secret *secret = NULL;
    const uint8_t *head = sealed;

    if (size < HEAD_SIZE || size > INT32_MAX)
        return error_new(ERROR_DAMAGED, "secret %s: %zu octets are no sealed secret", name, size);
    if (head[0] != LAYOUT)
        return error_new(ERROR_DAMAGED, "secret %s: layout %u is not known here", name, (unsigned)head[0]);
    gcm = EVP_CIPHER_CTX_new();
    if (!gcm)
        return crypto_failed(name);
    secret = secret_empty(size - HEAD_SIZE);
    if (!decrypt(gcm, key, name, head, secret))
        return error_new(ERROR_DAMAGED, "secret %s: changed, of another name, or sealed with another key file", name);
    *ret_secret = secret;
    secret = NULL;
    return NULL;
}
