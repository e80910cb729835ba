/* postfix_override.h - what the node's root adds to main.cf, merged into it
 *
 * Postfix has no include, and warns of doubles: an entry of override/postfix.d/
 * replaces the rendered one.  Parameters that the product stands on are refused by
 * name.  What is no entry at all stands as it is, for postconf to say so.
 */
#pragma once
#include "render/maincf.h"
#include "render/override.h"

/* The first refusal goes to 'out': "override/postfix.d/site.cf, line 3: queue_directory belongs to mailnode". */
void postfix_override(const Overrides *overrides, MainCf *cf, FileSet *out);
