/* certificate.h - the pair that an instance shows, as files that never change
 *
 * ROOT/var/lib/mailnode/engine/tls/DIGEST/: chain.pem (key and chain in one, as Postfix wants it), cert.pem, key.pem, root
 * 0600 in a folder root 0711; ldap-cert.pem and ldap-key.pem with group openldap 0640.  The folder's name is a digest of
 * what is in it, so the rendered texts change when, and only when, the certificate does.
 *
 * Followed files are read at each change and looked at each minute.  Nothing stated: a self-signed pair for the host name
 * (EC P-256, 825 days, renewed 30 days before its end), kept in tls/self/HOSTNAME/.
 *
 * Followed paths must lie, with all links resolved, below ROOT/etc/mailnode/tls, /etc/letsencrypt, /etc/ssl or a folder
 * that ROOT/etc/mailnode/tls-folders, a file of root, names (one a line): a path is stated by others, the files are read by root.
 */
#pragma once
#include "base/error.h"
#include "base/path.h"
#include "render/state.h"

#include <stdint.h>

/* Sets state->certificate (owned by the caller as *ret_folder).  INVALID: "tls: certificate and key do not match", no PEM,
 * encrypted key, not yet valid, ended; NOT_FOUND; DENIED: outside the folders. */
CHECKED Error *certificate_take(const NodeState *state, Path *ret_folder);

/* Would certificate_take give another folder now? */
bool certificate_due(const NodeState *state, const char *folder);

CHECKED Error *certificate_ends(const char *folder, int64_t *ret_seconds_left, char ret_issuer[128]);

/* Removes the folders that are not among 'used'. */
void certificates_sweep(const char *root, const char *const *used, size_t n_used);
