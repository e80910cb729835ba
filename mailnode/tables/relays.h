/* relays.h - relay rules as the rows that Postfix reads: where a message goes, and the login there
 *
 * A rule's next hop names the service of master.cf that carries it (ENGINE.md 2b):
 * "rn-LEVEL" knows no login, "rr-LEVEL" looks one up by the destination that it was
 * given, "[host]:port".  Rules of different logins at one server have destinations
 * that differ in zeros before the port, which mean the same number: so each login has
 * a key of its own, and a message on its way when a rule changes finds its own login,
 * or none and waits, but never the one of another server.
 *
 * A rule with a user whose password is not here (a rollback may leave such) puts off
 * its mail.  Pure.
 */
#pragma once
#include "model/object.h"
#include "seal/secret.h"

typedef struct RelayRule {
    const Object *object;   /* of kind relay */
    const Secret *password; /* NULL: not here */
} RelayRule;

typedef struct RelayRow {
    char kind[2];  /* "r" "s" "d" */
    char *subject; /* as it is looked up: r: address, domain, .domain; s: a@d, @d, @.d; d: "" */
    char *nexthop; /* "rr-verify:[smtp.example.net]:587" */
} RelayRow;

typedef struct RelayLogin {
    char *dest;  /* "[smtp.example.net]:587" */
    char *login; /* "user:password" */
} RelayLogin;

typedef struct RelayRows {
    RelayRow *rows;
    RelayLogin *logins;
    size_t n_rows, n_logins;
} RelayRows;

void relay_rows(const RelayRule *rules, size_t n, RelayRows *out);
void relay_rows_done(RelayRows *rows); /* wipes the logins */
