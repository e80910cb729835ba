/* x509.h - parts of the certificates that we make ourselves (RFC 5280)
 *
 * Both return false where libcrypto cannot; its error queue says why.
 */
#pragma once
#include <openssl/x509.h>
#include <stdbool.h>

/* nid: NID_subject_alt_name ...; value: as in x509v3_config(5).  The certificate is its own issuer. */
bool x509_extension_add(X509 *x, int nid, const char *value);
/* A random one, positive. */
bool x509_serial_set(X509 *x);
