/* shares.h - where Dovecot notes whose folders are shared with whom
 *
 * shares.db is made here, empty; Dovecot's dict process writes it at each SETACL and reads
 * it at each LIST (acl_shared_dict).  It says no more than where to look: what may be seen,
 * the lists beside the mail decide.  So one that does not read back is begun anew.
 */
#pragma once
#include "base/error.h"

#include <sys/types.h>

/* folder: exists, and the group 'gid' may write in it; -1: whatever group it has.  One that is right is left alone. */
CHECKED Error *shares_make(const char *folder, gid_t gid);
