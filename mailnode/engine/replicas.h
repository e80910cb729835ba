/* replicas.h - databases that are copies of another node's: gone from the disk when the node holds them no more
 *
 * A copy has the hashes of everybody's password; the one that it was copied from is where it was.  ROOT/var/lib/mailnode/
 * engine/replicas/NAME (empty, of root) says that slapd/NAME is a copy: written before slapd can fill it, gone after it, or
 * when the node is the one that holds the directory now.
 */
#pragma once
#include "base/error.h"
#include "render/state.h"

/* Before slapd runs with this state. */
CHECKED Error *replicas_mark(const char *root, const NodeState *state);

/* Is what lies here a copy? */
bool replicas_marked(const char *root, const char *name);

/* A line of a copy's suffix, as slapcat shows it: has all come?  slapd writes the contextCSN last. */
bool replica_is_whole(const char *line);

/* Removes the copies that this state, which is in force, does not have; NULL: it is not known, and all stay.  What cannot be
 * removed is logged, and tried again with the next change. */
void replicas_sweep(const char *root, const NodeState *state);
