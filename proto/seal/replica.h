/* replica.h - the pair by which the node of a user domain and its replicas know each other
 *
 * One key and one certificate that it signed itself, in PEM, for all of them: whoever has the pair may read the whole
 * directory, and is believed to be it.  Each trusts this one certificate and nothing else; it is no CA, so that no other
 * can be made with its key.  It has no end: a new one is made where somebody shall not know the old one any more.
 *
 * Source: RFC 8410 (Ed25519), RFC 5280 4.1.2.5 (99991231235959Z).
 */
#pragma once
#include "base/error.h"
#include "seal/secret.h"

#include <stddef.h>

/* addresses: numeric, at which the directory is served. */
CHECKED Error *replica_pair_make(const char *user_domain, char *const *addresses, size_t n_addresses,
                                 Secret **ret_pair);
