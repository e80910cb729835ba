/* maps.h - the map files over mail.db and secrets.db that Postfix reads: sqlite_table(5)
 *
 * One table of name and query, shared with the renderer of main.cf, so that what is
 * tested with 'postmap -q' is what runs.  The files stand in FOLDER/maps/NAME.cf.
 */
#pragma once
#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

typedef struct TableMap {
    const char *name;   /* "known" */
    const char *query;  /* of sqlite_table(5), with %s %u %d */
    const char *domain; /* NULL, or the value of 'domain =' */
    const char *why;    /* one line for the file's head */
    bool relay;         /* over secrets.db, not mail.db */
} TableMap;

extern const TableMap table_maps[];
extern const size_t n_table_maps;

/* Writes the files that are not there or differ, mode 0640 with this group; says how many. */
CHECKED Error *maps_write(const char *folder, gid_t gid, size_t *ret_n_written);
