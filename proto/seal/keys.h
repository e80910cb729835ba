/* keys.h - identities: CURVE key pairs in files, and the one-time join token
 *
 * Identity files are JSON, 0600, one object:
 *   controller: { "secret_key", "public_key", "endpoints": [], "enrol_endpoints": [] }
 *   node:       the same pair, "node", "controller_key", "endpoints"
 * Keys are Z85 text as ZeroMQ wants them (40 characters).  The pair itself is made by curve_keypair (curve/curve.h).
 */
#pragma once
#include "base/error.h"
#include "control.pb-c.h"
#include "seal/digest.h"
#include "seal/secret.h"

enum { CURVE_KEY_SIZE = 41 }; /* Z85 with NUL */

typedef struct Identity {
    char public_key[CURVE_KEY_SIZE];
    Secret *secret_key;
    char *node;                          /* nodes only */
    char controller_key[CURVE_KEY_SIZE]; /* nodes only */
    char **endpoints;                    /* tcp://ADDRESS:PORT */
    size_t n_endpoints;
    char **enrol_endpoints; /* controller only */
    size_t n_enrol_endpoints;
} Identity;

void identity_free(Identity **identity);
/* NOT_FOUND: no file; DENIED: others may read it; DAMAGED: names the file and what is wrong in it. */
CHECKED Error *identity_read(const char *path, Identity **ret_identity);
CHECKED Error *identity_write(const char *path, const Identity *identity);

bool curve_key_valid(const char *key);     /* 40 Z85 characters */
bool curve_key_published(const char *key); /* one of the test keys printed in zmq_curve(7): refused everywhere */

/* "7f3a 9c01 ...": how a key is shown to people: first 8 octets of its SHA-256. */
typedef struct Fingerprint {
    char text[24];
} Fingerprint;
Fingerprint key_fingerprint(const char *key);

/* The token's text: base64url of a packed TokenText.  INVALID: no token. */
char *token_text(const Mail__TokenText *token);
CHECKED Error *token_read(const char *text, Mail__TokenText **ret_token);
void token_free(Mail__TokenText **token);
