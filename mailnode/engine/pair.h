/* pair.h - a certificate with its chain and the key that belongs to it
 *
 * Reads what people give (any order of the chain, the root with it), refuses what the daemons could not serve, and
 * gives it back in the one form that they are handed: own certificate first, then its issuers, without the root.
 */
#pragma once
#include "base/buf.h"
#include "base/error.h"

#include <stdint.h>

enum { PAIR_NAME_SIZE = 33, PAIR_BYTES_MAX = 256 * 1024, PAIR_CHAIN_MAX = 10 };

typedef struct Pair {
    Buf certificates;          /* PEM */
    Buf key;                   /* PEM, PKCS#8, not encrypted */
    char name[PAIR_NAME_SIZE]; /* a digest over the certificates; the key is the one that they name */
    int64_t ends;              /* seconds since 1970: the first of the chain to end */
    char issuer[128];          /* for people: "R11", or "self-signed" */
} Pair;

/* INVALID: no PEM, two keys, an encrypted key, no certificate for the key, a certificate that does not belong to the
 * chain, not yet valid, ended, refused by the TLS library (a key too small).  now 0: the times are not looked at. */
CHECKED Error *pair_read(const Buf *certificates, const Buf *key, int64_t now, Pair *ret_pair);

/* EC P-256, signed by itself, for this host name. */
CHECKED Error *pair_make(const char *hostname, int64_t begins, int64_t ends, Pair *ret_pair);

bool pair_covers(const Pair *pair, const char *hostname);

void pair_done(Pair *pair); /* wipes the key */
