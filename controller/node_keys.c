/* What an admin decides about a node: its token, its key, its place; no part of the desired state. */
#include "node_inside.h"

#include "base/alloc.h"
#include "base/crash.h"
#include "base/log.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { TOKEN_S = 3600, TOKEN_SECRET_BYTES = 32 };

static Error *node_exists(Nodes *nodes, const char *name)
{
    DEFER(object_free) Object *object = NULL;

    Error *err = store_get(nodes->store, &(ObjectRef){.kind = MAIL__OBJECT__BODY_NODE, .name = name}, 0, &object);
    if (!err && !object)
        err = error_new(ERROR_NOT_FOUND, "node %s does not exist", name);
    return err;
}

/* From now on nothing that it says is looked at. */
static void end_key(Nodes *nodes, Node *node)
{
    node->revoked = true;
    node->awaited = false;
    session_end(nodes, node);
    if (node->key[0])
        door_refuse(nodes->door, node->key);
    nodes->moves++;
}

static Error *revoke(Nodes *nodes, Node *node)
{
    CRASH_POINT("controller.node.revoking");
    Error *err = store_node_key_revoke(nodes->store, node->name);
    if (err)
        return err;
    CRASH_POINT("controller.node.revoked");
    end_key(nodes, node);
    return NULL;
}

/* ---- tokens ---- */

static char *text_of(const Identity *identity, const char *name, const Secret *secret)
{
    Mail__TokenText token = MAIL__TOKEN_TEXT__INIT;

    token.node = (char *)name;
    token.n_endpoints = identity->n_endpoints;
    token.endpoints = identity->endpoints;
    token.n_enrol_endpoints = identity->n_enrol_endpoints;
    token.enrol_endpoints = identity->enrol_endpoints;
    token.controller_key = (char *)identity->public_key;
    token.has_secret = true;
    token.secret = (ProtobufCBinaryData){secret_size(secret), (uint8_t *)secret_data(secret)};
    return token_text(&token);
}

Error *nodes_token(Nodes *nodes, const char *name, bool replace, char **ret_text, uint64_t *ret_expires_s)
{
    Node *node = node_find(nodes, name); /* NULL: added in this very batch */
    Error *err = node_exists(nodes, name);

    if (!err && !replace && node && node->key[0] && !node->revoked)
        err = error_hint(error_new(ERROR_CONFLICT, "node %s has joined", name), "mailctl node replace %s", name);
    if (!err && replace && node && node->key[0] && !node->revoked)
        err = revoke(nodes, node);
    if (err)
        return err;
    DEFER(secret_free) Secret *secret = secret_random(TOKEN_SECRET_BYTES);
    Digest hash = digest_of(secret_data(secret), secret_size(secret));
    CRASH_POINT("controller.node.token.storing");
    err = store_token_add(nodes->store, name, &hash, (uint64_t)time(NULL) + TOKEN_S);
    if (err)
        return error_in(err, "token not stored");
    CRASH_POINT("controller.node.token.stored");
    events_add(nodes->events, MAIL__FACT_STATE__GOOD, name, "token made", "%s; for one use within an hour",
               replace ? "for a new machine in its place, the old one's key counts no more" : "for its first join");
    *ret_text = text_of(door_identity(nodes->door), name, secret);
    *ret_expires_s = TOKEN_S;
    return NULL;
}

/* ---- joining ---- */

bool nodes_key_is(const Nodes *nodes, const char *name, const char *public_key)
{
    const Node *node = node_find(nodes, name);

    return node && node->key[0] && !node->revoked && strcmp(node->key, public_key) == 0;
}

Error *nodes_join(Nodes *nodes, const char *name, const char *public_key)
{
    if (!node_find(nodes, name))
        return error_new(ERROR_DENIED, "node %s does not exist", name);
    if (door_knows(nodes->door, public_key) && !nodes_key_is(nodes, name, public_key))
        return error_new(ERROR_DENIED, "this key is somebody's already");
    Error *err = store_node_key_set(nodes->store, name, public_key);
    if (err && err->code == ERROR_CONFLICT)
        err->code = ERROR_DENIED;
    return err;
}

void nodes_joined(Nodes *nodes, const char *name, const char *public_key)
{
    Node *node = node_find(nodes, name);

    if (!node)
        return;
    session_end(nodes, node);
    if (node->key[0])
        door_refuse(nodes->door, node->key);
    strncpy(node->key, public_key, sizeof node->key - 1);
    node->revoked = node->awaited = node->silent = false;
    node->applied = node->config = node->refused = node->unsupported = 0; /* another machine: nothing of it is known */
    node->seen_s = node->heard_at = 0;
    node->seen_news = false;
    xfree(&node->why);
    node->release[0] = '\0';
    if (node->report)
        mail__report__free_unpacked(node->report, NULL);
    node->report = NULL;
    door_admit(nodes->door, node->key, WHOSE_NODE, node->name);
    events_add(nodes->events, MAIL__FACT_STATE__GOOD, name, "node joined", "key %s", key_fingerprint(public_key).text);
    nodes->moves++;
}

Error *nodes_revoke(Nodes *nodes, const char *name)
{
    static const Digest nobodys;
    Node *node = node_find(nodes, name);

    if (!node)
        return error_new(ERROR_NOT_FOUND, "node %s does not exist", name);
    if (!node->key[0])
        return error_new(ERROR_NOT_FOUND, "node %s has never joined", name);
    /* A token that is still out for it is worth nothing either. */
    Error *err = store_token_add(nodes->store, name, &nobodys, 1);
    if (!err)
        err = revoke(nodes, node);
    if (err)
        return err;
    events_add(nodes->events, MAIL__FACT_STATE__DEGRADED, name, "node revoked", "its key counts no more");
    return NULL;
}

/* ---- resync ---- */

Error *nodes_resync(Nodes *nodes, const char *name, bool force, Msec now)
{
    Node *node = node_find(nodes, name);

    if (!node)
        return error_new(ERROR_NOT_FOUND, "node %s does not exist", name);
    if (!node->connected || node->silent || node->revoked)
        return error_new(ERROR_UNAVAILABLE, "node %s is not online", name);
    if (node->state == SESSION_FORKED && !force)
        return error_hint(
            error_new(ERROR_CONFLICT, "node %s is forked: its state is newer than, or apart from, this one", name),
            "mailctl node resync %s --force gives up what only the node knows", name);
    node->ordered = true;
    node->retry_at = 0;
    delta_send(nodes, node, now);
    events_add(nodes->events, MAIL__FACT_STATE__GOOD, name, "node resync", "everything is sent again%s",
               node->state == SESSION_FORKED ? ", over its own newer state" : "");
    return NULL;
}
