/* override.h - what the node's root adds to the rendered configuration
 *
 * ROOT/etc/mailnode/override/{postfix,dovecot,rspamd}.d/: regular files of root that
 * nobody else may write, read in the order of their names.
 *   postfix.d/NAME.cf     lines as in main.cf: entries replace rendered ones
 *   dovecot.d/NAME.conf   merged behind dovecot.conf as a file of its own that it includes
 *   rspamd.d/NAME.inc|.conf   laid into rspamd's override.d
 * A parameter that the product stands on is refused by name, with file and line.
 */
#pragma once
#include "base/error.h"
#include "seal/digest.h"

#include <stdbool.h>
#include <stddef.h>

typedef enum OverrideOf { OVERRIDE_POSTFIX, OVERRIDE_DOVECOT, OVERRIDE_RSPAMD, N_OVERRIDES } OverrideOf;

typedef struct OverrideFile {
    char *name; /* "override/postfix.d/site.cf": as errors call it */
    char *file; /* "site.cf" */
    char *text;
} OverrideFile;

typedef struct Overrides {
    OverrideFile *files[N_OVERRIDES];
    size_t n[N_OVERRIDES];
    Digest digest; /* over all names and texts */
} Overrides;

enum { OVERRIDE_BYTES_MAX = 256 * 1024, OVERRIDE_FILES_MAX = 64 };

/* No folder, no overrides.  INVALID: too large, NULs; DENIED: somebody else may write it. */
CHECKED Error *overrides_read(const char *root, Overrides **ret_overrides);
void overrides_free(Overrides **overrides);
bool overrides_any(const Overrides *overrides);
