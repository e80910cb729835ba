/* render.h - state in, text out
 *
 * Pure: no clock, no files, no DNS, no hash order.  Each value passes the writer of
 * its file's grammar; what a writer refuses is fileset_refused.  Paths in the texts
 * go through ROOT/var/lib/mailnode/engine/current/DAEMON, never to a generation's
 * number; maps are ROOT/var/lib/mailnode/tables/maps/NAME.cf.
 *
 * overrides NULL: without.
 */
#pragma once
#include "render/fileset.h"
#include "render/override.h"
#include "render/state.h"

/* Every daemon that 'state' wants, and nothing of the others. */
void render_all(const NodeState *state, const Overrides *overrides, FileSet *out);

void render_postfix(const NodeState *state, const Overrides *overrides, FileSet *out);
void render_dovecot(const NodeState *state, const Overrides *overrides, FileSet *out);
void render_rspamd(const NodeState *state, const Overrides *overrides, FileSet *out);
void render_redis(const NodeState *state, FileSet *out);
void render_clamd(const NodeState *state, FileSet *out);
void render_unbound(const NodeState *state, FileSet *out);
void render_slapd(const NodeState *state, FileSet *out);

/* Our own signatures (EICAR), with which clamd starts while nothing is downloaded: a .ndb file. */
extern const char clamd_own_signatures[];
