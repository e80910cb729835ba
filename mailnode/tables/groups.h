/* groups.h - which users are in a group and in those below it; in which groups, and those above, a user is
 *
 * What nests in what is read once for each group and kept, so that a thousand groups
 * inside each other cost a thousand look-ups and not a million.  Holds for as long as
 * nobody changes members.
 */
#pragma once
#include "tables/names.h"
#include "tables/sql.h"

typedef struct GroupNode GroupNode;

typedef struct Groups { /* nothing but the Sql: nothing is known yet */
    Sql *sql;
    GroupNode *nodes;
    unsigned mark;
} Groups;

/* Calls 'each' with name and row of 'standing' (NULL: none); a user of two groups comes twice.  'each' asks no SQL. */
typedef void GroupUser(void *context, const char *name, const char *facts);
CHECKED Error *groups_below(Groups *groups, const char *name, GroupUser *each, void *context);

CHECKED Error *groups_above(Groups *groups, const char *user, Names *out);

void groups_done(Groups *groups);
