/* admins.h - who may use mailctl: root, and whoever an admin object names
 *
 * On the local socket the kernel says who asks (uid, gid; the supplementary groups
 * are those of the user's account), over CURVE the key does.  Of several entries that
 * apply, the one that may most counts.  The keys of remote admins are admitted at the
 * door as they are stated, and refused as they go.
 */
#pragma once
#include "authorise.h"
#include "door.h"

#include "store/store.h"

#include <sys/types.h>

typedef struct Admins Admins;

typedef struct Caller {
    bool remote;
    uid_t uid;
    gid_t *gids; /* primary and supplementary; owned by whoever made it */
    size_t n_gids;
    const char *key; /* remote */
} Caller;

/* Of a local peer.  caller_done frees. */
void caller_local(Caller *caller, uid_t uid, gid_t gid);
void caller_done(Caller *caller);

/* store and door outlive it; door NULL: nobody comes from afar (tests). */
CHECKED Error *admins_new(Store *store, Door *door, Admins **ret_admins);
void admins_free(Admins **admins);
CHECKED Error *admins_reload(Admins *admins); /* after a commit that changed one */

/* DENIED: no entry applies. */
CHECKED Error *admins_find(const Admins *admins, const Caller *caller, Asker **ret_asker);

/* Before an admin object is stored: INVALID: its key is a published one, or a node's; CONFLICT: another admin's. */
CHECKED Error *admin_key_check(Store *store, const Object *admin);
