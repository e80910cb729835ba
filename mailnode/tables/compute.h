/* compute.h - what is stated and what the directory says, as rows: for the files of tables/ alone
 *
 * Each function makes the rows of one thing (a user, a group, an address ...) what
 * they should be.  Computing everything is: all of them, one by one, and then the
 * rows that belong to nothing.  So memory does not grow with the number of objects.
 * The increment is: those that were touched, in the order of TouchedSet; each says
 * whom it touches in turn, always further down the order.
 *
 * Objects are looked up through the view; users and groups by table 'standing',
 * which is computed first.
 */
#pragma once
#include "tables/groups.h"
#include "tables/mail_db.h"
#include "tables/rows.h"
#include "tables/sql.h"
#include "tables/standing.h"
#include "tables/touched.h"

typedef struct Compute {
    Sql *sql;
    RowWriter *writer;
    const TablesView *view;
    Touched *touched;
    bool complete, away;
    Settle settle;
    Rows rows[N_ROW_TABLES]; /* of what is being computed */
    Groups groups;
    Names exempt;               /* logins that may use any sender */
    Names *unowned, *strangers; /* mailboxes, "alice\nUUID": nobody's yet; another's since now */
    uint64_t quota;             /* the policy's; 0: none */
    bool groups_send;           /* members of a destination may send from an address */
    bool all_users_differ;      /* in what the policy says for all of them */
} Compute;

/* All that was touched, or everything. */
CHECKED Error *compute_run(Compute *compute);
void compute_done(Compute *compute);

/* ---- for the parts of it ---- */

/* *ret_object is NULL when there is none, or no instance. */
CHECKED Error *compute_object(Compute *compute, Kind kind, const char *name, Object **ret_object);
/* The rows that were added for this key are the table's; then there are none again. */
CHECKED Error *compute_settle(Compute *compute, RowTable table, const char *first, const char *second);
void compute_row(Compute *compute, RowTable table, const char *const cells[]);
/* Touches what is computed from prefix + name, as edges have it: 'u' 'g' 'U' 'G' 'd' 'l' 'p'. */
CHECKED Error *compute_dependents(Compute *compute, char prefix, const char *name);
/* Touches the thing that an edge's src, or an object's key, names: "a:info@example.org". */
void compute_touch(Touched *touched, char prefix, const char *name);
void compute_edge(Compute *compute, const char *src, const Names *dst);

/* people.c */
CHECKED Error *people_user(Compute *compute, const char *name);      /* standing, userdb, login */
CHECKED Error *people_group(Compute *compute, const char *name);     /* standing, expand */
CHECKED Error *people_forwarder(Compute *compute, const char *name); /* expand and edges of a user */
CHECKED Error *people_below(Compute *compute, const char *name); /* touches all users of a group, and of those below */

/* public.c */
CHECKED Error *public_object(Compute *compute, const Object *object);
CHECKED Error *public_named(Compute *compute, const char *name);
char *public_creators(const Mail__Policy *policy); /* their rights as dovecot-acl has them; owned by the caller */

/* addresses.c */
CHECKED Error *address_object(Compute *compute,
                              const Object *object);              /* specific; also of its edges alone, for LOCAL@* */
CHECKED Error *address_named(Compute *compute, const char *name); /* specific, by its name */
CHECKED Error *address_local(Compute *compute, const char *local);
CHECKED Error *address_domain(Compute *compute, const char *name);

/* clients.c */
CHECKED Error *client_named(Compute *compute, const char *network);

/* sweep.c: rows that belong to nothing, once all that there should be has been settled: of users' standing, of all
 * standing (others read it), of the rest. */
CHECKED Error *sweep_users(Compute *compute);
CHECKED Error *sweep_standing(Compute *compute);
CHECKED Error *sweep(Compute *compute);
