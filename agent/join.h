/* join.h - how a machine becomes a node: mail-agent join [FILE|-]
 *
 * Reads the one-time token, makes a key pair of its own, proves the token on the
 * enrolment port, and writes the identity.  The key pair is kept beside it
 * (identity.new) before the token is spent: a join that was cut off is repeated with
 * the same key.
 */
#pragma once
#include "base/error.h"
#include "base/path.h"

enum { JOIN_WAIT_MS = 10000, TOKEN_FILE_MAX = 16 * 1024 };

/* The token's text, from a file or ("-") stdin; read before root is given up. */
CHECKED Error *join_token(const char *file, Buf *out);

/* EXISTS: this machine has an identity (unless 'replace'); DENIED, NOT_FOUND: the controller's words about the token;
 * UNAVAILABLE: not reached within JOIN_WAIT_MS. */
CHECKED Error *join(const char *root, const char *token, bool replace);
