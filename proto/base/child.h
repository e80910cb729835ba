/* child.h - a program of ours as a child, at the other end of a pair of sockets
 *
 * It gets its end as descriptor 0, stderr is ours, everything else is closed; no signal
 * is blocked or ignored in it, and of the environment it sees what tests need.
 */
#pragma once
#include "base/error.h"

typedef struct Child Child;

/* argv[0] is an absolute path.  *ret_fd: our end. */
CHECKED Error *child_start(const char *const *argv, Child **ret_child, int *ret_fd);
void child_free(Child **child); /* kills it, and takes its status */

/* The path of a program beside our own; owned by the caller. */
char *child_beside_us(const char *program);
