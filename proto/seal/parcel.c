#include "seal/parcel.h"

#include "base/alloc.h"

#include <errno.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { KEY_SIZE = 32, SALT_SIZE = 16, NONCE_SIZE = 12, TAG_SIZE = 16, COUNT_SIZE = 4, WORDS_SIZE = 18 };
enum { SCRYPT_N = 1 << 16, SCRYPT_R = 8, SCRYPT_P = 1, SCRYPT_MEMORY = 128 * 1024 * 1024 };

static const char words[WORDS_SIZE + 1] = "mailnode parcel 1\n";
static const uint32_t LAST = UINT32_C(1) << 31;

/* What both directions have: the key, and which piece is next.  Piece 0 is empty: it only checks the password. */
typedef struct Lock {
    EVP_CIPHER_CTX *gcm;
    uint8_t key[KEY_SIZE];
    uint64_t piece;
} Lock;

static void lock_done(Lock *lock)
{
    EVP_CIPHER_CTX_free(lock->gcm);
    wipe(lock->key, sizeof lock->key);
}

static Error *lock_make(Lock *lock, const Secret *password, const uint8_t *salt)
{
    if (secret_size(password) == 0 || secret_size(password) > PARCEL_PASSWORD_MAX)
        return error_new(ERROR_INVALID, "password: write 1 to %d octets", (int)PARCEL_PASSWORD_MAX);
    lock->gcm = EVP_CIPHER_CTX_new();
    if (!lock->gcm || EVP_PBE_scrypt(secret_text(password), secret_size(password), salt, SALT_SIZE, SCRYPT_N, SCRYPT_R,
                                     SCRYPT_P, SCRYPT_MEMORY, lock->key, KEY_SIZE) != 1)
        return error_new(ERROR_SYSTEM, "libcrypto refuses scrypt");
    return NULL;
}

static void number_put(uint8_t *out, size_t size, uint64_t number)
{
    for (size_t i = 0; i < size; i++)
        out[i] = (uint8_t)(number >> 8 * (size - 1 - i));
}

static uint32_t number_at(const uint8_t *octets)
{
    return (uint32_t)octets[0] << 24 | (uint32_t)octets[1] << 16 | (uint32_t)octets[2] << 8 | octets[3];
}

/* A piece at another place, or one that claims to be the last, has another nonce. */
static void nonce_of(const Lock *lock, bool last, uint8_t nonce[NONCE_SIZE])
{
    memset(nonce, 0, NONCE_SIZE);
    nonce[0] = last;
    number_put(nonce + NONCE_SIZE - sizeof lock->piece, sizeof lock->piece, lock->piece);
}

/* ---- making ---- */

struct ParcelOut {
    Lock lock;
    ParcelTake *take;
    void *context;
    size_t n;                    /* octets that wait */
    uint8_t plain[PARCEL_PIECE]; /* these */
    uint8_t piece[PARCEL_PIECE + PARCEL_PIECE_MORE];
};

static bool encrypt(Lock *lock, bool last, const uint8_t *plain, size_t size, uint8_t *text, uint8_t *tag)
{
    uint8_t nonce[NONCE_SIZE];
    int n = 0;

    nonce_of(lock, last, nonce);
    bool fine = EVP_EncryptInit_ex2(lock->gcm, EVP_aes_256_gcm(), lock->key, nonce, NULL) == 1 &&
                (size == 0 || EVP_EncryptUpdate(lock->gcm, text, &n, plain, (int)size) == 1) &&
                EVP_EncryptFinal_ex(lock->gcm, text + n, &n) == 1 &&
                EVP_CIPHER_CTX_ctrl(lock->gcm, EVP_CTRL_AEAD_GET_TAG, TAG_SIZE, tag) == 1;
    lock->piece++;
    return fine;
}

static Error *refused(void)
{
    return error_new(ERROR_SYSTEM, "libcrypto refuses AES-256-GCM");
}

static Error *head_write(ParcelOut *out, uint8_t head[PARCEL_HEAD])
{
    uint8_t nothing[1];

    if (!encrypt(&out->lock, false, NULL, 0, nothing, head + WORDS_SIZE + SALT_SIZE))
        return refused();
    return out->take(out->context, head, PARCEL_HEAD);
}

Error *parcel_begin(const Secret *password, ParcelTake *take, void *context, ParcelOut **ret_out)
{
    DEFER(parcel_out_free) ParcelOut *out = xcalloc(1, sizeof *out);
    uint8_t head[PARCEL_HEAD] = {0};

    out->take = take;
    out->context = context;
    memcpy(head, words, WORDS_SIZE);
    if (RAND_bytes(head + WORDS_SIZE, SALT_SIZE) != 1)
        return error_new(ERROR_SYSTEM, "no randomness");
    Error *err = lock_make(&out->lock, password, head + WORDS_SIZE);
    if (!err)
        err = head_write(out, head);
    if (err)
        return err;
    *ret_out = out;
    out = NULL;
    return NULL;
}

static Error *piece_write(ParcelOut *out, bool last)
{
    uint8_t *text = out->piece + COUNT_SIZE;

    number_put(out->piece, COUNT_SIZE, out->n | (last ? LAST : 0));
    if (!encrypt(&out->lock, last, out->plain, out->n, text, text + out->n))
        return refused();
    Error *err = out->take(out->context, out->piece, out->n + PARCEL_PIECE_MORE);
    out->n = 0;
    return err;
}

Error *parcel_add(ParcelOut *out, const void *data, size_t size)
{
    const uint8_t *octets = data;

    while (size) {
        size_t now = size < PARCEL_PIECE - out->n ? size : PARCEL_PIECE - out->n;
        memcpy(out->plain + out->n, octets, now);
        out->n += now;
        octets += now;
        size -= now;
        Error *err = out->n == PARCEL_PIECE ? piece_write(out, false) : NULL;
        if (err)
            return err;
    }
    return NULL;
}

Error *parcel_close(ParcelOut *out)
{
    return piece_write(out, true);
}

void parcel_out_free(ParcelOut **out)
{
    if (!*out)
        return;
    lock_done(&(*out)->lock);
    wipe((*out)->plain, sizeof(*out)->plain);
    free(*out);
    *out = NULL;
}

/* ---- opening ---- */

struct ParcelIn {
    Lock lock;
    int fd;
    bool last;    /* the piece at hand is */
    size_t at, n; /* octets of it: handed out, all */
    uint8_t plain[PARCEL_PIECE];
    uint8_t text[PARCEL_PIECE + TAG_SIZE];
};

static Error *damaged(const char *what)
{
    return error_new(ERROR_DAMAGED, "%s", what);
}

/* *ret_got is less than size at the end of the file alone. */
static Error *octets_read(int fd, void *data, size_t size, size_t *ret_got)
{
    size_t n = 0;

    while (n < size) {
        ssize_t got = read(fd, (uint8_t *)data + n, size - n);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return error_system("read");
        if (got == 0)
            break;
        n += (size_t)got;
    }
    *ret_got = n;
    return NULL;
}

static bool decrypt(Lock *lock, bool last, const uint8_t *text, size_t size, uint8_t *plain, const uint8_t *tag)
{
    uint8_t nonce[NONCE_SIZE];
    int n = 0;

    nonce_of(lock, last, nonce);
    lock->piece++;
    return EVP_DecryptInit_ex2(lock->gcm, EVP_aes_256_gcm(), lock->key, nonce, NULL) == 1 &&
           (size == 0 || EVP_DecryptUpdate(lock->gcm, plain, &n, text, (int)size) == 1) &&
           EVP_CIPHER_CTX_ctrl(lock->gcm, EVP_CTRL_AEAD_SET_TAG, TAG_SIZE, (void *)(uintptr_t)tag) == 1 &&
           EVP_DecryptFinal_ex(lock->gcm, plain + n, &n) == 1;
}

static Error *head_read(ParcelIn *in, const Secret *password)
{
    uint8_t head[PARCEL_HEAD], nothing[1];
    size_t got = 0;

    Error *err = octets_read(in->fd, head, sizeof head, &got);
    if (err)
        return err;
    if (got < sizeof head || memcmp(head, words, WORDS_SIZE) != 0)
        return error_new(ERROR_INVALID, "it is no sealed file of ours, or cut off");
    err = lock_make(&in->lock, password, head + WORDS_SIZE);
    if (!err && !decrypt(&in->lock, false, NULL, 0, nothing, head + WORDS_SIZE + SALT_SIZE))
        err = error_new(ERROR_DENIED, "the password does not open it");
    return err;
}

Error *parcel_open(int fd, const Secret *password, ParcelIn **ret_in)
{
    DEFER(parcel_in_free) ParcelIn *in = xcalloc(1, sizeof *in);

    in->fd = fd;
    Error *err = head_read(in, password);
    if (err)
        return err;
    *ret_in = in;
    in = NULL;
    return NULL;
}

static Error *piece_read(ParcelIn *in)
{
    uint8_t count[COUNT_SIZE];
    size_t got = 0;

    if (in->last)
        return damaged("it ends too early");
    Error *err = octets_read(in->fd, count, sizeof count, &got);
    if (err)
        return err;
    uint32_t head = number_at(count), size = head & ~LAST;
    bool last = head & LAST;
    if (got < sizeof count)
        return damaged("it is cut off");
    if (size > PARCEL_PIECE || (!last && size != PARCEL_PIECE))
        return damaged("it was changed");
    err = octets_read(in->fd, in->text, size + TAG_SIZE, &got);
    if (err)
        return err;
    if (got < size + TAG_SIZE)
        return damaged("it is cut off");
    if (!decrypt(&in->lock, last, in->text, size, in->plain, in->text + size))
        return damaged("it was changed");
    in->last = last;
    in->at = 0;
    in->n = size;
    return NULL;
}

Error *parcel_read(ParcelIn *in, void *data, size_t size)
{
    uint8_t *octets = data;

    while (size) {
        Error *err = in->at == in->n ? piece_read(in) : NULL;
        if (err)
            return err;
        size_t now = size < in->n - in->at ? size : in->n - in->at;
        memcpy(octets, in->plain + in->at, now);
        in->at += now;
        octets += now;
        size -= now;
    }
    return NULL;
}

Error *parcel_end(ParcelIn *in)
{
    uint8_t more = 0;
    size_t got = 0;

    Error *err = in->at == in->n && !in->last ? piece_read(in) : NULL;
    if (err)
        return err;
    if (in->at < in->n || !in->last)
        return damaged("more is in it than should be");
    err = octets_read(in->fd, &more, 1, &got);
    return err || !got ? err : damaged("something stands behind its end");
}

void parcel_in_free(ParcelIn **in)
{
    if (!*in)
        return;
    lock_done(&(*in)->lock);
    wipe((*in)->plain, sizeof(*in)->plain);
    free(*in);
    *in = NULL;
}
