/* probe.h - does a daemon answer in its own protocol?
 *
 * A probe is a child that has given up root (it reads what comes over sockets): it
 * connects, speaks, compares, again each 10 ms (later 200 ms) until the answer is
 * right or the deadline comes, and says why not.  The dialogue of each daemon is in probe.c:
 *   postfix   each listener: 220, EHLO, on 25 MAIL and RCPT with a coherent answer (an unknown restriction ends the
 *             session there); 587 offers STARTTLS and no AUTH; 465 by TLS                          as nobody
 *   dovecot   "* OK" on each 143, +OK, ManageSieve's greeting; 993, 995 by TLS; LMTP's 220         as postfix
 *   rspamd    GET /ping on its controller socket; the milter socket answers option negotiation     as _rspamd
 *   redis     PING; clamd PING                                                                     as _rspamd
 *   unbound   a query for a name of its own; slapd a rootDSE search over ldapi                     as nobody
 * Where all addresses are listened on, the loopback is asked.
 */
#pragma once
#include "engine/child.h"
#include "engine/daemon.h"

/* Copies what it needs of 'state'.  until_ms: how long a right answer may take to come. */
CHECKED Error *probe_start(DaemonId id, const NodeState *state, Msec until_ms, Child **ret_child);

/* After SIGHUP, sent at 'after' (probe_ticks): there must be a process in the daemon's session that is younger, too. */
CHECKED Error *probe_reloaded(DaemonId id, const NodeState *state, pid_t session, uint64_t after, Msec until_ms,
                              Child **ret_child);
uint64_t probe_ticks(void); /* now, in the unit of a process's start time */

/* Reads the canary key in mail.db as that daemon's user (postfix, dovecot, vmail).  Succeeds also while the tables hold no
 * row yet, as long as they can be read. */
CHECKED Error *probe_canary(const char *user, const char *root, Child **ret_child);

/* Port 25 is asked for a recipient of this domain, so that all of its restrictions are reached; what is no domain is
 * forgotten.  A canary's words after its success are one of ours, or nothing. */
void probe_domain_is(const char *domain);
