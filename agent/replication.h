/* replication.h - the pairs of user domains with replicas, as files for slapd (seal/replica.h)
 *
 * FOLDER/NAME-NUMBER.pem, NUMBER being that of the secret: a configuration names the pair that it is of, so that the one before
 * and the one after stand side by side.  replication_write comes before a configuration is prepared; replication_sweep when that
 * is in force.  The setgid bit of the folder gives the files to slapd's group.
 */
#pragma once
#include "journal.h"

/* What node.db wants of the user domains whose directory, or a copy of it, is on 'node'; *ret_n: written, or written again. */
CHECKED Error *replication_write(const char *folder, Journal *journal, const char *node, size_t *ret_n);

/* Removes what node.db does not want. */
CHECKED Error *replication_sweep(const char *folder, Journal *journal, const char *node);
