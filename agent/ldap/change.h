/* change.h - the verbs: users and groups are added, modified, removed
 *
 *     user:   full-name, locked, and a password, which the directory hashes unless it is a hash
 *     group:  members, names of users that exist
 *
 * Source: RFC 2307, RFC 3062, slapo-ppolicy(5): pwdAccountLockedTime 000001010000Z is an administrator's lock.
 */
#pragma once
#include "ldap/people.h"

/* Numbers that were given last; 0: not looked for yet. */
typedef struct Numbers {
    unsigned long user, group;
} Numbers;

/* EXISTS, NOT_FOUND (with the nearest name), INVALID (names the field), UNAVAILABLE.  The password is wiped. */
CHECKED Error *people_change(Conn *conn, const Place *place, Numbers *numbers, Mail__DirectoryWrite *write);
