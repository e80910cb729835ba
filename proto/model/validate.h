/* validate.h - every rule about one object, and about objects that name each other
 *
 * Used by mailctl, the controller, the agent and mail-engine alike.  Names and
 * values are brought into their one form first (domains as A-labels in lower
 * case, "alice" as "user:alice", NFC), so that comparing bytes compares meaning.
 */
#pragma once
#include "model/object.h"

/* Normalises in place, then checks each field against its options and the rules of its kind.
 * INVALID: "address info@example.org: to 'group:': names nobody"; the hint says what would be right. */
CHECKED Error *object_validate(Object *object);

/* A name as its kind wants it: "Exämple.ORG" -> "xn--exmple-cua.org".  INVALID says why not. */
CHECKED Error *name_normalise(Kind kind, const char *name, char **ret_name);

/* The U-label form of a domain or address for people; the same text where there is none.  Owned by the caller. */
char *name_for_people(const char *name);

/* Parts of an address LOCAL@DOMAIN or LOCAL@*; false when there is no single '@'. */
bool address_split(const char *address, size_t *ret_local_len, const char **ret_domain);

/* What is stated already: whoever holds objects (the controller's store, a test) lends its eyes. */
typedef struct StateView StateView;
struct StateView {
    void *self;
    /* *ret_object owned by the caller, NULL when there is none. */
    Error *(*get)(void *self, const ObjectRef *ref, Object **ret_object);
    /* Calls 'each' for the objects of a kind; instance NULL: of all; name NULL: every name.  Ends at the first error. */
    Error *(*each)(void *self, Kind kind, const char *instance, const char *name,
                   Error *(*each)(void *context, const Object *object), void *context);
};

/* The rules between objects, for 'object' about to be stored beside what 'view' shows (which may hold its older self):
 * references exist; one placed instance per node (F-003, CONFLICT names the occupant); a domain lies in one instance
 * (F-012, EXISTS names it); a specific address has its domain unless dormant; no external destination in one of our
 * domains (F-075); fixed fields stay.  NOT_FOUND for a missing reference, with the nearest name as hint. */
CHECKED Error *object_check_put(const Object *object, const StateView *view);

/* Before 'ref' is removed: CONFLICT names who still refers to it. */
CHECKED Error *object_check_remove(const ObjectRef *ref, const StateView *view);
