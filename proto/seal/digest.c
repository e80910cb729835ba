#include "seal/digest.h"

#include "base/alloc.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Without SHA-256 nothing that we say would be true: the program ends. */
static void must(int good)
{
    if (good != 1)
        abort();
}

/* Fetched once: SHA256() looks the algorithm up by name every time. */
static const EVP_MD *sha256(void)
{
    static EVP_MD *fetched;

    if (!fetched)
        fetched = EVP_MD_fetch(NULL, "SHA256", NULL);
    must(fetched != NULL);
    return fetched;
}

Digest digest_of(const void *data, size_t size)
{
    static EVP_MD_CTX *kept;
    Digest digest;

    if (!kept)
        kept = EVP_MD_CTX_new();
    must(kept && EVP_DigestInit_ex2(kept, sha256(), NULL));
    must(EVP_DigestUpdate(kept, data, size));
    must(EVP_DigestFinal_ex(kept, digest.octets, NULL));
    return digest;
}

void digest_add(Digest *sum, const Digest *more)
{
    unsigned carry = 0;

    for (int i = DIGEST_SIZE - 1; i >= 0; i--) {
        carry += (unsigned)sum->octets[i] + more->octets[i];
        sum->octets[i] = (uint8_t)carry;
        carry >>= 8;
    }
}

void digest_subtract(Digest *sum, const Digest *less)
{
    unsigned borrow = 0;

    for (int i = DIGEST_SIZE - 1; i >= 0; i--) {
        unsigned left = 0x100U + sum->octets[i] - less->octets[i] - borrow;
        sum->octets[i] = (uint8_t)left;
        borrow = left < 0x100U;
    }
}

bool digest_equal(const Digest *a, const Digest *b)
{
    return CRYPTO_memcmp(a->octets, b->octets, DIGEST_SIZE) == 0;
}

bool digest_from(const void *bytes, size_t size, Digest *ret_digest)
{
    if (size != DIGEST_SIZE)
        return false;
    memcpy(ret_digest->octets, bytes, DIGEST_SIZE);
    return true;
}

void digest_hex(const Digest *digest, char ret_hex[DIGEST_HEX_SIZE])
{
    for (size_t i = 0; i < DIGEST_SIZE; i++)
        snprintf(ret_hex + 2 * i, 3, "%02x", digest->octets[i]);
}

bool digest_from_hex(const char *hex, Digest *ret_digest)
{
    enum { LEN = DIGEST_HEX_SIZE - 1 };

    if (strlen(hex) != LEN || strspn(hex, "0123456789abcdef") != LEN)
        return false;
    for (size_t i = 0; i < DIGEST_SIZE; i++) {
        char octet[3] = {hex[2 * i], hex[2 * i + 1], '\0'};
        ret_digest->octets[i] = (uint8_t)strtoul(octet, NULL, 16);
    }
    return true;
}

/* ---- the chain: several may be open at once, so each has a context of its own ---- */

struct Chain {
    EVP_MD_CTX *context;
};

Chain *chain_begin(const Digest *previous, uint64_t revision)
{
    Chain *chain = xmalloc(sizeof *chain);
    uint8_t number[8];

    for (int i = 0; i < 8; i++)
        number[i] = (uint8_t)(revision >> (56 - 8 * i));
    chain->context = EVP_MD_CTX_new();
    must(chain->context && EVP_DigestInit_ex2(chain->context, sha256(), NULL));
    chain_add(chain, previous->octets, DIGEST_SIZE);
    chain_add(chain, number, sizeof number);
    return chain;
}

void chain_add(Chain *chain, const void *bytes, size_t size)
{
    must(EVP_DigestUpdate(chain->context, bytes, size));
}

Digest chain_end(Chain **chain)
{
    Digest digest;

    must(EVP_DigestFinal_ex((*chain)->context, digest.octets, NULL));
    EVP_MD_CTX_free((*chain)->context);
    free(*chain);
    *chain = NULL;
    return digest;
}
