/* ask.h - questions of people to the tables: who is there, who may send as whom, what leads nowhere
 *
 * Read between commits.  Each 'each' gets texts that are good until it returns, and ends
 * the question by an error.
 */
#pragma once
#include "tables/mail_db.h"

typedef struct Person { /* of the directory */
    const char *name;
    const char *full_name; /* NULL: none */
    bool enabled;
} Person;

/* In the order of names; name NULL: everybody.  A name that is there twice comes twice. */
CHECKED Error *tables_people(Tables *tables, const char *name, Error *(*each)(void *context, const Person *person),
                             void *context);

/* What SMTP lets this login send from (F-084, F-150). */
typedef enum MaySend {
    SEND_LISTED, /* the addresses of tables_senders */
    SEND_ANY,    /* and any other: senders are not matched */
    SEND_EXEMPT, /* and any other: this login is exempted */
    SEND_CLOSED, /* nothing: it may not log in */
    SEND_NOBODY, /* nothing: there is no such user */
} MaySend;
CHECKED Error *tables_may_send(Tables *tables, const char *name, MaySend *ret_may);

/* Sorted, behind 'after', at most 'limit' (0: all): what smtpd_sender_login_maps has this login for. */
CHECKED Error *tables_senders(Tables *tables, const char *name, const char *after, uint64_t limit,
                              Error *(*each)(void *context, const char *address), void *context);

/* Addresses that begin with 'prefix', sorted, behind 'after', with each destination that is not in the directory
 * ("user:dave"); at most 'limit' of these pairs (0: all). */
CHECKED Error *tables_orphans(Tables *tables, const char *prefix, const char *after, uint64_t limit,
                              Error *(*each)(void *context, const char *address, const char *missing), void *context);

/* Has a user or group this name, or had it a moment ago?  Case is nothing. */
CHECKED Error *tables_named(Tables *tables, const char *name, bool *ret_named);

/* Octets; 0: unlimited. */
CHECKED Error *tables_default_quota(Tables *tables, uint64_t *ret_quota);
