/* dkim.h - a key pair for DKIM signatures: RSA, 2048 bits
 *
 * Makes one in 30 to 300 ms of CPU: whoever may not wait lets a child make it.
 *
 * Source: RFC 6376 3.6.1 (p= is the SubjectPublicKeyInfo), RFC 8301 (at least 1024 bits; 2048 fit into one DNS record).
 */
#pragma once
#include "base/error.h"
#include "seal/secret.h"

enum { DKIM_BITS = 2048 };

typedef struct DkimPair {
    Secret *private_key; /* PEM of PKCS #8 */
    char *public_key;    /* base64 of the SubjectPublicKeyInfo, one line: what p= says */
} DkimPair;

CHECKED Error *dkim_pair_make(DkimPair *ret_pair);
void dkim_pair_done(DkimPair *pair);

/* The public half of a private one, as in DkimPair; owned by the caller.  DAMAGED: no RSA key of that size. */
CHECKED Error *dkim_public_of(const Secret *private_key, char **ret_public_key);
