/* restore_ldif.h - LDIF out of a backup, before slapadd may read it: what slapcat writes, and nothing else
 *
 * ldif(5) lets a file bring in others: "include: file:///..." in the place of an entry, "attribute:< file:///..." in the place
 * of a value.  A backup's content is anybody's (THREATS B40), so neither goes through, and nothing that slapd might take for
 * one of them.  What the entries are is slapadd's to refuse.
 */
#pragma once
#include "base/error.h"

#include <stdint.h>
#include <stdio.h>

/* Reads to the end; counts entries.  DAMAGED: names the line. */
CHECKED Error *ldif_admit(FILE *text, uint64_t *ret_entries);
