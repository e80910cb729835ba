/* dovecot.h - the parts of Dovecot's configuration, for render_dovecot alone */
#pragma once
#include "render/dovecotconf.h"
#include "render/override.h"
#include "render/state.h"

/* A format of places.h with the root in it; owned by the caller. */
char *dovecot_place(const char *place, const NodeState *state);

void dovecot_auth(DovecotConf *cf, const NodeState *state, FileSet *out);  /* who may log in, who has a mailbox */
void dovecot_sieve(DovecotConf *cf, const NodeState *state, FileSet *out); /* filing at delivery */
void dovecot_services(DovecotConf *cf, const NodeState *state);            /* processes, sockets, ports */

/* One file of the node's root, included where cf is.  What the product stands on is refused, with file and line. */
void dovecot_override(DovecotConf *cf, const OverrideFile *file, FileSet *out);
