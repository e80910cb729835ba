/* probe_dialogues.h - one try to get the right answer of each daemon; for probe.c
 *
 * Each blocks until 'until' at most, and says what was wrong: "port 25 of 127.0.0.1: ...".
 */
#pragma once
#include "base/loop.h"
#include "render/state.h"

CHECKED Error *probe_postfix(const NodeState *state, Msec until);
CHECKED Error *probe_dovecot(const NodeState *state, Msec until);
CHECKED Error *probe_rspamd(const NodeState *state, Msec until);
CHECKED Error *probe_redis(const NodeState *state, Msec until);
CHECKED Error *probe_clamd(const NodeState *state, Msec until);
CHECKED Error *probe_unbound(const NodeState *state, Msec until);
CHECKED Error *probe_slapd(const NodeState *state, Msec until);

/* Where the instance listens: the loopback where that is everywhere. */
size_t probe_addresses(const NodeState *state);
const char *probe_address(const NodeState *state, size_t index);

const char *probe_domain(void); /* one of ours, where one is known */
