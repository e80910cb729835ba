/* object.h - one thing the administrator stated
 *
 * An Object is the generated Mail__Object: instance_name, name, and one body that
 * says its kind.  Its canonical bytes are what is stored, sent and hashed, as
 * received and never re-serialised: pack(unpack(x)) == x.
 *
 * All objects are owned by whoever made them (object_free); they are built with
 * malloc, so fields may be replaced by hand.
 */
#pragma once
#include "base/buf.h"
#include "base/error.h"
#include "desired.pb-c.h"

#include <stdint.h>

/* Raised with every change of desired.proto that an older node would not understand. */
enum { OBJECT_SCHEMA = 1 };

enum {
    OBJECT_BYTES_MAX = 256 * 1024, /* canonical bytes of one object: 1,000 destinations of 254 octets fit */
    OBJECT_KEY_SIZE = 640,         /* "address/main/LOCAL@DOMAIN", escaped nothing, with NUL */
    SCOPE_SIZE = 96,               /* "user-domain/NAME" with NUL */
};

typedef Mail__Object Object;
typedef Mail__Object__BodyCase Kind; /* MAIL__OBJECT__BODY_NODE ...; the numbers are stored: never reused */

typedef struct KindInfo {
    Kind kind;
    const char *name;  /* "user-domain": as people write it */
    const char *field; /* "user_domain": the member of the oneof */
    const ProtobufCMessageDescriptor *descriptor;
    const struct KindMeta *meta; /* class, in_instance, single: meta.h */
} KindInfo;

/* All kinds in the order in which they can be applied: what is named before what names it. */
extern const Kind kinds[];
extern const size_t n_kinds;

const KindInfo *kind_info(Kind kind);           /* NULL: unknown number */
const KindInfo *kind_by_name(const char *name); /* '-' and '_' alike; NULL: unknown */
const char *kind_nearest(const char *name);     /* for "did you mean"; NULL when nothing is near */

/* Which object, without what is stated of it.  Borrowed strings; instance and name may be NULL or "" alike. */
typedef struct ObjectRef {
    Kind kind;
    const char *instance;
    const char *name;
} ObjectRef;

ObjectRef object_ref(const Object *object);

/* "address info@example.org" for people, with the instance behind it where the name alone does not say which one: "policy
 * of main", "mailbox alice of main".  What cannot be shown is <U+001B>; a long name is cut. */
typedef struct ObjectKey {
    char text[OBJECT_KEY_SIZE];
} ObjectKey;
ObjectKey object_title(const ObjectRef *ref);

/* The scope that the object lies in: "node/mx1", "instance/main", "user-domain/staff", "backup" (plans and destinations: of
 * every node that runs an instance), "cluster". */
#define SCOPE_BACKUP "backup"
typedef struct Scope {
    char text[SCOPE_SIZE];
} Scope;
Scope object_scope(const ObjectRef *ref);

/* The nodes and scopes that this object makes a node subscribe to, in no order, without doubles.
 * node/N: (N, node/N).  instance/I on N: (N, instance/I), (N, user-domain/U), (N, backup).  user-domain/U: (its nodes, user-domain/U). */
typedef struct Subscription {
    const char *node; /* borrowed from the object */
    Scope scope;
} Subscription;
size_t object_subscriptions(const Object *object, Subscription *out, size_t room); /* how many there are, as snprintf */
enum { OBJECT_SUBSCRIPTIONS_MAX = 72 };

/* What a node is to an internal user domain. */
typedef enum DirectoryRole { DIRECTORY_NONE, DIRECTORY_HOLDER, DIRECTORY_REPLICA } DirectoryRole;
DirectoryRole user_domain_role(const Mail__UserDomain *user_domain, const char *node);

Object *object_new(Kind kind, const char *instance, const char *name); /* an empty body; copies the strings */
Object *object_clone(const Object *object);
void object_free(Object **object);
bool object_equal(const Object *a, const Object *b); /* by canonical bytes */

/* The message inside the oneof, with its descriptor. */
ProtobufCMessage *object_body(const Object *object);

/* Appends the canonical bytes; OBJECT_BYTES_MAX is checked by validation, not here. */
void object_pack(const Object *object, Buf *out);

/* Reads canonical bytes of a peer or a file.  INVALID: not canonical, not UTF-8, too large, no body;
 * UNSUPPORTED: fields, values or a kind that this program does not know. */
CHECKED Error *object_unpack(const void *bytes, size_t size, Object **ret_object);
