/* authorise.h - who may ask and change what: one table, no state
 *
 * A body or a kind without a row is refused; a unit test demands a row for each.
 * 'instances' of an admin entry limits what it may change to those instances: what
 * belongs to no instance is then read-only.  Reading is for every role.
 */
#pragma once
#include "local/envelope.h"
#include "model/object.h"

/* Who asks, as an admin entry says: copied from it, owned by whoever made it. */
typedef struct Asker {
    char *who;   /* "root", "helpdesk (uid 1000)" */
    char *entry; /* "root", "helpdesk" */
    Mail__Role role;
    char **instances;
    size_t n_instances; /* 0: all */
} Asker;

Asker *asker_new(const char *who, const char *entry, Mail__Role role, char *const *instances, size_t n_instances);
Asker *asker_clone(const Asker *asker);
void asker_free(Asker **asker);

const char *role_name(Mail__Role role); /* "viewer" */

/* May it ask this at all?  instance: which one the request touches; NULL: not known, or none.  DENIED says why not. */
CHECKED Error *authorise_body(const Asker *asker, BodyCase body, const char *instance);

/* May it do this to an object of this kind?  instance: the one that the object lies in, for kind instance its name; NULL:
 * not known yet, the role alone is asked. */
CHECKED Error *authorise_edit(const Asker *asker, Kind kind, Mail__Verb verb, const char *instance);

/* May it change users and groups?  user_domain NULL: not known yet, the role alone is asked.  A user domain counts as one of
 * each instance that uses it; theirs: one of those is the asker's. */
CHECKED Error *authorise_accounts(const Asker *asker, const char *user_domain, bool theirs);
/* To accept a mirror that was held. */
CHECKED Error *authorise_accept(const Asker *asker);

/* instance: that the node of the task runs; NULL: none. */
CHECKED Error *authorise_task(const Asker *asker, Mail__TaskStart__VerbCase verb, const char *instance);

bool asker_has(const Asker *asker, const char *instance); /* limited to some: to this one, too; not limited: true */

bool authorise_knows_body(BodyCase body); /* has a row, also one that says never */
bool authorise_knows_kind(Kind kind);
