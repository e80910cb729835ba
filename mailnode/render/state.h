/* state.h - what a node shall be, as the renderers see it
 *
 * Made from the objects of class config that the node has (node, instance, settings,
 * filter, tls, user-domain), each validated again.  Messages that nobody stated are
 * there with their defaults, so that a renderer never asks.
 */
#pragma once
#include "model/object.h"

#include <stdbool.h>
#include <sys/types.h>

typedef struct DirectoryState { /* an internal user domain whose slapd runs here */
    const char *name;
    const Mail__UserDomain *stated;
    bool replica; /* a copy of the one on stated->node */
} DirectoryState;

typedef struct NodeState {
    const char *root; /* before every path: "" or "/tmp/x/mx1", never with '/' at its end */
    const char *node; /* our name; "" while nothing is stated of us */

    const char
        *instance_name; /* NULL: none is placed here, or it shall not run; then the rest up to domain_name is NULL */
    const Mail__Instance *instance;
    const Mail__Settings *settings;
    const Mail__Filter *filter;
    const Mail__Tls *tls;
    const char *user_domain_name; /* whose users have mailboxes here */
    const Mail__UserDomain *user_domain;

    DirectoryState *directories; /* by name */
    size_t n_directories;

    /* 127.0.0.1, or the first listen address where that lies in 127.0.0.0/8: for what only the node itself may reach. */
    const char *loopback;

    const char *certificate; /* folder of the pair in use (certificate.h); the engine sets it before rendering */

    uid_t uid_mailagent, uid_dovecot; /* for slapd, which tells peers by number; the engine sets them: slapd_uids */

    Object **objects; /* owned: what the pointers above point into */
    size_t n_objects;
} NodeState;

/* objects: canonical bytes.  Takes each through object_unpack and object_validate.  INVALID: two nodes or two running
 * instances, an instance without its user domain, queue-lifetime not above delay-warning, a kind that is not
 * configuration; UNSUPPORTED as object_unpack. */
CHECKED Error *node_state_read(const ProtobufCBinaryData *objects, size_t n, const char *root, NodeState **ret_state);
void node_state_free(NodeState **state);
