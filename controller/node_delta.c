/* Sending a node what it lacks: a delta from where it stands, or everything, in parts of about 64 KiB. */
#include "node_inside.h"

#include "base/alloc.h"
#include "base/crash.h"
#include "base/log.h"

#include <stdlib.h>
#include <string.h>

enum { ITEMS_PER_PART = 2000 };

typedef struct Sending {
    Nodes *nodes;
    Node *node;
    Mail__Delta head; /* what all parts say */
    Stand to;
    uint32_t part;

    /* the part that is being filled */
    size_t size;
    Mail__Ref **removed;
    char **dropped;
    ProtobufCBinaryData *objects;
    Mail__SecretValue **secrets;
    size_t n_removed, n_dropped, n_objects, n_secrets;
    size_t room_removed, room_dropped, room_objects, room_secrets;
} Sending;

/* ---- parts ---- */

static void part_clear(Sending *sending)
{
    while (sending->n_removed)
        mail__ref__free_unpacked(sending->removed[--sending->n_removed], NULL);
    while (sending->n_dropped)
        free(sending->dropped[--sending->n_dropped]);
    while (sending->n_objects)
        free(sending->objects[--sending->n_objects].data);
    while (sending->n_secrets) {
        Mail__SecretValue *secret = sending->secrets[--sending->n_secrets];
        wipe(secret->value.data, secret->value.len);
        mail__secret_value__free_unpacked(secret, NULL);
    }
    sending->size = 0;
}

static void sending_done(Sending *sending)
{
    part_clear(sending);
    free(sending->removed);
    free(sending->dropped);
    free(sending->objects);
    free(sending->secrets);
}

static Error *part_say(const Nodes *nodes, const Node *node, const Mail__Delta *delta, uint32_t part, bool last)
{
    Envelope envelope = MAIL__ENVELOPE__INIT;

    envelope.body_case = MAIL__ENVELOPE__BODY_DELTA;
    envelope.delta = (Mail__Delta *)delta;
    envelope.has_seq = envelope.has_last = true;
    envelope.seq = part;
    envelope.last = last;
    return door_send(nodes->door, WHOSE_NODE, &node->route, &envelope);
}

static Error *part_end(Sending *sending, bool last)
{
    Mail__Delta delta = sending->head;

    delta.n_removed = sending->n_removed;
    delta.removed = sending->removed;
    delta.n_drop_scopes = sending->n_dropped;
    delta.drop_scopes = sending->dropped;
    delta.n_objects = sending->n_objects;
    delta.objects = sending->objects;
    delta.n_secrets = sending->n_secrets;
    delta.secrets = sending->secrets;
    Error *err = part_say(sending->nodes, sending->node, &delta, sending->part++, last);
    part_clear(sending);
    return err;
}

static Error *part_grew(Sending *sending, size_t more)
{
    sending->size += more;
    if (sending->size < ENVELOPE_PART_BYTES &&
        sending->n_removed + sending->n_dropped + sending->n_objects + sending->n_secrets < ITEMS_PER_PART)
        return NULL;
    return part_end(sending, false);
}

static void *grown(void *list, size_t n, size_t *room, size_t size)
{
    if (n < *room)
        return list;
    *room = *room ? *room * 2 : 16;
    return xrealloc(list, *room * size);
}

static Error *on_drop(void *context, const char *scope)
{
    Sending *sending = context;

    sending->dropped = grown(sending->dropped, sending->n_dropped, &sending->room_dropped, sizeof *sending->dropped);
    sending->dropped[sending->n_dropped++] = xstrdup(scope);
    return part_grew(sending, strlen(scope) + 4);
}

static char *word_or_none(const char *text)
{
    return text && text[0] ? xstrdup(text) : NULL;
}

static Error *on_removed(void *context, const ObjectRef *ref)
{
    Sending *sending = context;
    Mail__Ref *gone = xcalloc(1, sizeof *gone);

    mail__ref__init(gone);
    gone->kind = xstrdup(kind_info(ref->kind)->name);
    gone->instance = word_or_none(ref->instance);
    gone->name = word_or_none(ref->name);
    sending->removed = grown(sending->removed, sending->n_removed, &sending->room_removed, sizeof(Mail__Ref *));
    sending->removed[sending->n_removed++] = gone;
    return part_grew(sending, mail__ref__get_packed_size(gone) + 4);
}

static Error *on_object(void *context, const void *bytes, size_t size)
{
    Sending *sending = context;

    sending->objects = grown(sending->objects, sending->n_objects, &sending->room_objects, sizeof *sending->objects);
    sending->objects[sending->n_objects++] = (ProtobufCBinaryData){size, xmemdup(bytes, size)};
    return part_grew(sending, size + 4);
}

static Error *on_secret(void *context, uint64_t id, const Secret *secret)
{
    Sending *sending = context;
    Mail__SecretValue *value = xcalloc(1, sizeof *value);

    mail__secret_value__init(value);
    value->has_id = value->has_value = true;
    value->id = id;
    value->value = (ProtobufCBinaryData){secret_size(secret), xmemdup(secret_data(secret), secret_size(secret))};
    sending->secrets = grown(sending->secrets, sending->n_secrets, &sending->room_secrets, sizeof(Mail__SecretValue *));
    sending->secrets[sending->n_secrets++] = value;
    return part_grew(sending, secret_size(secret) + 16);
}

/* ---- what to send ---- */

Error *delta_digest(Nodes *nodes, Node *node, Digest *ret_digest)
{
    if (!node->digest_known) {
        Error *err = store_node_digest(nodes->store, node->name, &node->digest);
        if (err)
            return err;
        node->digest_known = true;
    }
    *ret_digest = node->digest;
    return NULL;
}

/* Where it shall come to: the newest revision that concerns it. */
static Error *destination(Nodes *nodes, Node *node, Stand *ret_to)
{
    Error *err = NULL;

    if (nodes->chain_of != node->revision) {
        err = store_chain(nodes->store, node->revision, &nodes->chain);
        nodes->chain_of = err ? 0 : node->revision;
    }
    if (!err)
        err = delta_digest(nodes, node, &ret_to->digest);
    ret_to->revision = node->revision;
    ret_to->chain = nodes->chain;
    return err;
}

static void head_fill(Sending *sending, const Stand *from, bool forced)
{
    Mail__Delta *head = &sending->head;

    mail__delta__init(head);
    head->has_from_revision = head->has_to_revision = head->has_to_chain = head->has_to_digest = true;
    head->from_revision = from ? from->revision : 0;
    head->to_revision = sending->to.revision;
    if (from) {
        head->has_from_chain = true;
        head->from_chain = (ProtobufCBinaryData){DIGEST_SIZE, (uint8_t *)from->chain.octets};
    }
    head->to_chain = (ProtobufCBinaryData){DIGEST_SIZE, sending->to.chain.octets};
    head->to_digest = (ProtobufCBinaryData){DIGEST_SIZE, sending->to.digest.octets};
    if (forced)
        head->has_forced = head->forced = true;
}

/* All that this node lacks is the newest revision, and that changed the same for all of its scope. */
static bool shared(const Nodes *nodes, const Node *node, const Stand *from)
{
    return from && nodes->share.revision == node->revision && from->revision == node->previous && node->previous;
}

static Error *send_shared(Sending *sending)
{
    const Share *share = &sending->nodes->share;
    Mail__Delta delta = sending->head;

    delta.n_objects = share->n_objects;
    delta.objects = share->objects;
    delta.n_removed = share->n_removed;
    delta.removed = share->removed;
    return part_say(sending->nodes, sending->node, &delta, 0, true);
}

static Error *send_all(Nodes *nodes, Node *node, const Stand *from, bool forced, Stand *ret_to)
{
    DEFER(sending_done) Sending sending = {.nodes = nodes, .node = node};
    DeltaSink sink = {&sending, on_drop, on_removed, on_object, on_secret};

    Error *err = destination(nodes, node, &sending.to);
    if (err)
        return err;
    head_fill(&sending, from, forced);
    if (shared(nodes, node, from)) {
        err = send_shared(&sending);
    } else {
        err = store_delta(nodes->store, node->name, from ? from->revision : 0, &sink);
        if (!err)
            err = part_end(&sending, true);
    }
    *ret_to = sending.to;
    return err;
}

/* ---- when ---- */

static bool due(const Node *node, Msec now)
{
    if (!node->connected || now < node->retry_at || !node->revision)
        return false;
    if (node->ordered)
        return true;
    if (node->state != SESSION_UP || node->schema_old || node->flight.revision)
        return false;
    return (node->whole || node->stand.revision < node->revision) && node->unsupported < node->revision;
}

static void later(Node *node, Error *err, Msec now)
{
    node->retry_at = now + node->retry_ms;
    node->retry_ms = node->retry_ms * 2 < RETRY_LAST_MS ? node->retry_ms * 2 : RETRY_LAST_MS;
    if (err->code == ERROR_UNAVAILABLE) /* gone, or does not read: it is behind, and slows nobody */
        log_debug("node is behind", kv("node", node->name), kv("why", err->what));
    else
        log_error("delta not sent, trying again", kv("node", node->name), kv("why", err->what));
    error_free(&err);
}

void delta_send(Nodes *nodes, Node *node, Msec now)
{
    Stand to = {0};

    if (!due(node, now))
        return;
    bool all = node->ordered || node->whole || !node->stand.revision;
    Error *err = send_all(nodes, node, all ? NULL : &node->stand, node->ordered, &to);
    if (err) {
        later(node, err, now);
        if (nodes->scan_at > node->retry_at)
            nodes->scan_at = node->retry_at;
        return;
    }
    CRASH_POINT("controller.node.delta.sent");
    node->flight = to;
    node->flight_forced = node->ordered;
    node->flight_at = now;
    node->ordered = false;
    node->retry_at = 0;
    node->retry_ms = RETRY_FIRST_MS;
}
