/* secret.h - values that must not be seen: they wipe themselves and print as (hidden)
 *
 * At rest a secret is sealed with AES-256-GCM under the key file of the program that
 * keeps it (32 random octets, 0600); the name under which it is kept is authenticated
 * with it, so that ciphertexts cannot be exchanged.
 */
#pragma once
#include "base/buf.h"
#include "base/error.h"

#include <stdint.h>

typedef struct Secret Secret; /* content, NUL behind it, locked in memory where allowed */

Secret *secret_new(const void *data, size_t size);
void secret_free(Secret **secret); /* wipes */
const uint8_t *secret_data(const Secret *secret);
const char *secret_text(const Secret *secret);
size_t secret_size(const Secret *secret);
bool secret_equal(const Secret *a, const Secret *b); /* in constant time over equal sizes */
void wipe(void *data, size_t size);

Secret *secret_random(size_t size);

typedef struct SealKey SealKey;
/* Reads the key file; makes it (0600) when there is none and 'make' is set.  DAMAGED: wrong size; DENIED: others may read. */
CHECKED Error *seal_key_open(const char *path, bool make, SealKey **ret_key);
void seal_key_free(SealKey **key);
/* Another key out of this one, always the same for the same purpose, that says nothing of it: 32 hexadecimal digits, for
 * paper.  HMAC-SHA-256 (RFC 2104) over the purpose, 128 bits of it. */
Secret *seal_key_derive(const SealKey *key, const char *purpose);

CHECKED Error *seal(const SealKey *key, const char *name, const Secret *secret, Buf *out);
/* DAMAGED: changed, another name, or another key file. */
CHECKED Error *unseal(const SealKey *key, const char *name, const void *sealed, size_t size, Secret **ret_secret);
