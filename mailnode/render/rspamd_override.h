/* rspamd_override.h - the root's own files in override.d of Rspamd: which may be there, and what they may not say */
#pragma once
#include "render/fileset.h"
#include "render/override.h"

/* Refused (fileset_refused, with file and line): a file that Mailnode keeps for its settings, one that Rspamd would never
 * read, one that includes others, a parameter that the product stands on. */
void rspamd_override(const Overrides *overrides, FileSet *out);
