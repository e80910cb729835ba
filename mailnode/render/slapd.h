/* slapd.h - what others must know of the embedded directory
 *
 * One slapd for all internal user domains of the node, one mdb database each.  The
 * peer's uid decides over ldapi (SASL EXTERNAL, no passwords): see slapd.c.
 */
#pragma once
#include "render/state.h"

/* slapd finds who connects by uid: sets the uids in 'state' from the machine's users.  DENIED: a user is missing. */
CHECKED Error *slapd_uids(NodeState *state);

/* What -h wants: ldapi, and LDAPS on the addresses that are stated, as long as there is a certificate.  Owned by the
 * caller. */
char *slapd_urls(const NodeState *state);

/* PEM file of the pair of this number, which the agent writes (seal/replica.h). */
char *slapd_pair(const NodeState *state, const char *user_domain, uint64_t number);

/* Folder of one user domain's database (openldap, 0700), to be made before its tree is loaded. */
char *slapd_folder(const NodeState *state, const char *user_domain);
