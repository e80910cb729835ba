/* layout.h - the folders of all daemons, with their owners and modes (places.h)
 *
 * Made at each start: /run is empty after a boot.  Idempotent; owner and mode of an existing folder are put right where
 * the product owns it (not of mail).
 *
 * Root is not led astray by those who own a folder on the way: each component is opened below the one before it, a link
 * is followed only where root alone could have set it, and owner and mode are set through the descriptor.
 */
#pragma once
#include "base/error.h"

#define LAYOUT_SIGNATURES "mailnode.ndb" /* clamd_own_signatures, in PLACE_CLAMD_DATA */

/* DENIED: a user is missing (packaging/users, or the daemon's package), with a hint. */
CHECKED Error *layout_make(const char *root);

/* For doctor: 'found' gets a folder whose owner or mode is not right. */
void layout_look(const char *root, void (*found)(void *context, const char *path, const char *text), void *context);
