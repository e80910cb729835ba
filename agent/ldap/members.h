/* members.h - who is in a group */
#pragma once
#include "ldap/people.h"

#include <uthash.h>

typedef struct Member {
    UT_hash_handle hh;
    char name[];
} Member;

/* A set that keeps its order; zeroes are empty. */
typedef struct Members {
    Member *first; /* in order: first, first->hh.next ... */
} Members;

bool members_add(Members *members, const char *name); /* false: it was there */
bool members_have(const Members *members, const char *name);
void members_done(Members *members);

/* SET, CLEAR, APPEND or TAKE of comma separated names.  INVALID names the field. */
CHECKED Error *members_edit(Members *members, const Mail__FieldEdit *edit);

/* Those that 'known' does not have are users.  INVALID: "members: user alcie does not exist". */
CHECKED Error *members_exist(Conn *conn, const Place *place, const Members *members, const Members *known);

/* Out of every group. */
CHECKED Error *members_drop_everywhere(Conn *conn, const Place *place, const char *name);
