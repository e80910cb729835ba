/* restore_uidlist.h - which number a folder gives next, once it has come back from a backup
 *
 * A message that came after the backup had a number which the restored list would give again, under the same UIDVALIDITY, and
 * clients would show the wrong mail for it (BACKUP.md 5).  So the next number is raised before Dovecot first opens the
 * folder; those that were given stay.
 *
 * Source: Dovecot 2.3, maildir-uidlist.c: the first line is "3", then fields of a letter and a value, V UIDVALIDITY, N next
 * number, G GUID; older files have "1 UIDVALIDITY NEXT".  Pure.
 */
#pragma once
#include "base/buf.h"

#include <stdbool.h>
#include <stdint.h>

enum {
    UIDLIST_RAISE = 1000000,               /* more messages than any folder gets between two backups */
    UIDLIST_BYTES_MAX = 256 * 1024 * 1024, /* some two million messages */
};

/* False: it is no list that Dovecot wrote, or no number is left; nothing is in 'out' then. */
bool uidlist_raise(const Buf *list, uint32_t by, Buf *out);
