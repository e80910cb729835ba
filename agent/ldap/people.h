/* people.h - users and groups of one user domain, as RFC 2307 writes them
 *
 *     dc=NAME,dc=mailnode
 *       ou=People   inetOrgPerson + posixAccount: uid, displayName, pwdAccountLockedTime
 *       ou=Groups   posixGroup: cn, memberUid
 *
 * An entry's name is the value in its RDN.  Names that are not UTF-8, or hold what cannot
 * be seen, are left out and counted: nothing else in the product could speak of them.
 *
 * Source: RFC 2307, RFC 2798, slapo-ppolicy(5).
 */
#pragma once
#include "control.pb-c.h"
#include "ldap/conn.h"

enum { PEOPLE_MAX = 1000000, PEOPLE_BYTES_MAX = 256 * 1024 * 1024 };

/* The DNs of one user domain. */
typedef struct Place {
    char *user_domain, *suffix, *people, *groups;
    char *socket;
} Place;

/* Is one step below 'above', in the writing of one server? */
bool dn_is_one_below(const char *dn, const char *above);

Place place_of(const char *socket, const char *user_domain);
void place_done(Place *place);

typedef struct AccountList {
    Mail__Account **items; /* sorted by name, a user before a group of the same name */
    size_t n, room, octets;
    size_t left_out;
    char *state; /* the directory's contextCSN before it was read */
} AccountList;

void account_list_done(AccountList *list);
/* Takes the account.  UNAVAILABLE: the list is too large. */
CHECKED Error *account_list_take(AccountList *list, Mail__Account *account);

/* contextCSN; empty, where it has none. */
CHECKED Error *people_state(Conn *conn, const Place *place, char **ret_state);

/* Is it a copy that is not connected to what it copies?  (back-monitor: slapd-monitor(5).) */
CHECKED Error *people_cut_off(Conn *conn, const Place *place, bool *ret_cut_off);

/* What 'read' asks for.  NOT_FOUND: by name, with the nearest one. */
CHECKED Error *people_read(Conn *conn, const Place *place, const Mail__DirectoryRead *read, AccountList *list);

/* One that is there, with its DN (owned by the caller); NULL: it is not. */
CHECKED Error *people_find(Conn *conn, const Place *place, Mail__AccountKind kind, const char *name, char **ret_dn,
                           Mail__Account **ret_account);
void account_free(Mail__Account **account);

/* "user alcie does not exist", with the nearest name as a hint. */
CHECKED Error *people_missing(Conn *conn, const Place *place, Mail__AccountKind kind, const char *name);

/* What an entry says; NULL: it is left out.  UNAVAILABLE: without entryUUID, which only rights can hide. */
CHECKED Error *account_of_entry(Mail__AccountKind kind, const Entry *entry, Mail__Account **ret_account);
