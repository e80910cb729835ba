/* conn.h - one connection to the directory beside us
 *
 * ldapi, SASL EXTERNAL: our uid says who we are.  Every operation has a deadline; after
 * one that passed it the connection is over, because what it would answer next is not
 * known.  No ldap.conf, no LDAP* of the environment, no referrals.
 *
 * Errors: UNAVAILABLE (away, late, an answer that is not whole), NOT_FOUND, EXISTS,
 * CONFLICT (a value is there already, or is not), INVALID (the directory's rules), DENIED.
 *
 * Source: RFC 4511, RFC 2696 (paged results), RFC 3062 (password modify), RFC 4533 (content synchronisation).
 */
#pragma once
#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>

enum {
    CONN_WAIT_MS = 10000, /* for each operation, or page of one */
    CONN_GREET_MS = 3000, /* for what costs the directory nothing: the bind, and the look at one entry */
    CONN_PAGE = 500,      /* entries */
    CONN_MESSAGE_BYTES = 32 * 1024 * 1024, /* one entry: a group with half a million members */
};

typedef struct Conn Conn;

CHECKED Error *conn_open(const char *socket, Conn **ret_conn);
void conn_free(Conn **conn);
bool conn_lost(const Conn *conn); /* after UNAVAILABLE, or the directory hung up: it must be opened anew */

/* One entry as it came; everything is borrowed for the call, and hostile.  Values have a NUL behind them. */
typedef struct Value {
    const char *data;
    size_t size;
} Value;

typedef struct Attribute {
    const char *name;
    const Value *values;
    size_t n;
} Attribute;

typedef struct Entry {
    const char *dn;
    const Attribute *attributes;
    size_t n;
} Entry;

const Attribute *entry_attribute(const Entry *entry, const char *name); /* NULL: not there */

typedef enum Scope { SCOPE_BASE, SCOPE_ONE, SCOPE_FEW } Scope; /* few: one level that is not asked for in pages */

/* In pages; 'each' ends it with an error.  'attributes' ends with NULL. */
CHECKED Error *conn_search(Conn *conn, const char *base, Scope scope, const char *filter, const char *const *attributes,
                           Error *(*each)(void *context, const Entry *entry), void *context);

/* ---- a search that goes on (RFC 4533, refresh and persist) ---- */

typedef enum SyncWhat {
    SYNC_CHANGED,   /* 'entry' came or changed */
    SYNC_PRESENT,   /* 'uuids' are as they were */
    SYNC_DELETED,   /* 'uuids' are gone */
    SYNC_MENTIONED, /* a phase is over in which all that is there was said: the rest is gone */
    SYNC_REFRESHED, /* from now on what happens is said as it happens */
    SYNC_COOKIE,    /* nothing but the cookie */
} SyncWhat;

enum { UUID_OCTETS = 16, UUID_TEXT = 37 };

typedef struct SyncNews {
    SyncWhat what;
    const Entry *entry;
    const unsigned char (*uuids)[UUID_OCTETS];
    size_t n_uuids;
    const char *cookie; /* that holds with this; NULL: none was said */
} SyncNews;

/* UNSUPPORTED: the directory does not offer it. */
CHECKED Error *conn_may_sync(Conn *conn);
/* Below 'base'.  cookie NULL: from nothing.  One for each connection. */
CHECKED Error *conn_sync(Conn *conn, const char *base, const char *filter, const char *const *attributes,
                         const char *cookie);
/* All that has come; waits for nothing.  CONFLICT: the directory does not take the cookie; UNSUPPORTED: it does not do this; any
 * error ends it. */
CHECKED Error *conn_synced(Conn *conn, Error *(*each)(void *context, const SyncNews *news), void *context);
int conn_fd(const Conn *conn);

void uuid_text(const unsigned char *octets, char text[UUID_TEXT]);

/* What an entry shall be, or how it changes.  Zeroes are no change; values are copied. */
typedef enum ModOp { MOD_ADD, MOD_DELETE, MOD_REPLACE } ModOp;
typedef struct Mods {
    struct ldapmod **list;
    size_t n;
} Mods;
void mods_add(Mods *mods, ModOp op, const char *attribute, const char *value); /* value NULL: all of it */
void mods_done(Mods *mods);

CHECKED Error *conn_add(Conn *conn, const char *dn, const Mods *mods);
CHECKED Error *conn_modify(Conn *conn, const char *dn, const Mods *mods); /* no change: nothing is asked */
CHECKED Error *conn_delete(Conn *conn, const char *dn);
/* The directory hashes it. */
CHECKED Error *conn_password(Conn *conn, const char *dn, const void *password, size_t size);

/* Would this password let 'dn' in now?  Over a connection of its own. */
CHECKED Error *conn_may_bind(const char *socket, const char *dn, const void *password, size_t size, bool *ret_may);
