/* layout.h - the folders of all daemons, with their owners and modes (places.h)
 *
 * Made at each start: /run is empty after a boot.  Idempotent; owner and mode of an existing folder are put right where
 * the product owns it (not of mail).
 */
#pragma once
#include "base/error.h"

/* DENIED: a user is missing (packaging/users, or the daemon's package), with a hint. */
CHECKED Error *layout_make(const char *root);

/* For doctor: 'found' gets a folder whose owner or mode is not right. */
void layout_look(const char *root, void (*found)(void *context, const char *path, const char *text), void *context);
