/* probe.h - does a daemon answer in its own protocol?
 *
 * A probe is a child that has given up root (it reads what comes over sockets): it
 * connects, speaks, compares, again each 10 ms until the answer is right or the
 * deadline comes, and says why not.  The dialogue of each daemon is in probe.c:
 *   postfix   each listener: 220, EHLO, on 25 MAIL and RCPT with a coherent answer (an unknown restriction ends the
 *             session there); 587 offers STARTTLS and no AUTH; 465 by TLS
 *   dovecot   "* OK" on each 143, +OK, ManageSieve's greeting; 993, 995 by TLS; LMTP's 220
 *   rspamd    GET /ping on its controller socket; the milter socket takes a connection and answers option negotiation
 *   redis     PING; clamd PING; unbound a query for a name of its own; slapd a rootDSE search over ldapi
 */
#pragma once
#include "engine/child.h"
#include "engine/daemon.h"

/* Copies what it needs of 'state'.  until_ms: how long a right answer may take to come. */
CHECKED Error *probe_start(DaemonId id, const NodeState *state, Msec until_ms, Child **ret_child);

/* Reads the canary key in mail.db as that daemon's user (postfix, dovecot, vmail).  Succeeds also while the tables hold no
 * row yet, as long as they can be read. */
CHECKED Error *probe_canary(const char *user, const char *root, Child **ret_child);
