/* named.h - which object a request means
 *
 * An instance may be left out where the key says it (a mail domain lies in one) or
 * where there is only one.  Names are brought into their one form.
 */
#pragma once
#include "store/store.h"

typedef struct Named {
    Kind kind;
    char *instance; /* "" for kinds of the cluster */
    char *name;     /* "" for kinds of which there is one per instance */
} Named;

/* INVALID: kind or name are none, or several instances are possible: then the words begin with "instance: which one?".
 * NOT_FOUND: there is no such instance, no instance at all, or the name's domain is in none. */
CHECKED Error *named_resolve(Store *store, const Mail__Ref *ref, Named *ret_named);
void named_done(Named *named);
ObjectRef named_ref(const Named *named);

/* "instance main does not exist", with the nearest name. */
CHECKED Error *named_instance_check(Store *store, const char *instance);
/* In its one form, owned by the caller; "node mx3 does not exist" otherwise. */
CHECKED Error *named_node(Store *store, const char *node, char **ret_name);

/* The instance that is placed on this node, NULL: none.  Owned by the caller. */
CHECKED Error *named_instance_on(Store *store, const char *node, char **ret_instance);
/* The instance of this name, or the only one, which is placed on a node.  UNAVAILABLE: it is placed nowhere.  *ret_instance is
 * the caller's. */
CHECKED Error *named_placed(Store *store, const char *given, Object **ret_instance);

/* The user domain of this name; without one that of 'instance', or of the only instance, or the only one there is.
 * INVALID: several are possible: the words begin with "user domain: which one?".  NOT_FOUND.  *ret_object is the caller's. */
CHECKED Error *named_user_domain(Store *store, const char *user_domain, const char *instance, Object **ret_object);

/* INVALID, with the nearest one. */
CHECKED Error *named_kind(const char *word, Kind *ret_kind);

/* NOT_FOUND: "address x@example.org does not exist", with the nearest name there is. */
CHECKED Error *named_missing(Store *store, const ObjectRef *ref);
