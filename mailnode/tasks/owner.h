/* owner.h - what a database's own programs do with it, as the user whose it is
 *
 * Blocks until the program has ended; a cancelled job kills it.  Its words are quoted in errors, one line, printable.
 */
#pragma once
#include "base/error.h"
#include "tasks/job.h"

/* argv[0] is an absolute path; 'in' becomes its stdin (0: /dev/null).  SYSTEM: it did not end well; CONFLICT: cancelled. */
CHECKED Error *owner_run(Job *job, const char *user, const char *const *argv, int in);

/* 'name' in 'folder', in which another user may write (AT_FDCWD: 'name' is a path): a regular file of at most 4 GiB, or nothing.
 * 'to' must not be there; mode 0600.  NOT_FOUND. */
CHECKED Error *owner_take(int folder, const char *name, const char *to);

/* The user domain's directory as LDIF, at one moment, of the database that 'conf' (a slapd.conf) names; 'to' must not be
 * there, and is root's, 0600.  slapd may run meanwhile.  Source: slapcat(8). */
CHECKED Error *owner_slapcat(Job *job, const char *conf, const char *domain, const char *to);
