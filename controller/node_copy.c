/* The controller's store for the backups of nodes (SPEC F-185): sealed under the controller's own key, which no node has.
 *
 * One copy is made at a time, by a child, and handed on as it comes; who asks meanwhile asks again.  A node that holds what
 * would be copied is told so, and no copy is made. */
#include "node_inside.h"

#include "base/alloc.h"
#include "base/log.h"
#include "copier.h"

#include <stdlib.h>
#include <string.h>

enum {
    EVERY_MS = 2 * 1000, /* and node: nobody keeps the controller busy with them */
    AGAIN_MS = 20,       /* a part that the node had no room for */
    BURST = 16,          /* parts in one turn */
};

struct NodeCopy {
    Node *node;
    uint64_t id; /* of its question */
    uint32_t seq;
    Digest mark;
    Copier *copier;
    Envelope *part; /* not said yet; NULL: none */
    Msec at;        /* when it is tried again */
};

static void copy_end(Nodes *nodes)
{
    if (!nodes->copy)
        return;
    envelope_free(&nodes->copy->part);
    copier_free(&nodes->copy->copier);
    xfree(&nodes->copy);
}

void copy_done(Nodes *nodes)
{
    copy_end(nodes);
}

void copy_ended(Nodes *nodes, const Node *node)
{
    if (nodes->copy && nodes->copy->node == node)
        copy_end(nodes);
}

/* Of all that a copy would hold: the state, and who has joined. */
static Error *mark_now(Nodes *nodes, Digest *ret_mark)
{
    DEFER(buf_done) Buf held = {0};
    Digest chain;

    Error *err = store_chain(nodes->store, store_revision(nodes->store), &chain);
    if (err)
        return err;
    buf_append(&held, chain.octets, sizeof chain.octets);
    for (size_t i = 0; i < nodes->n; i++)
        buf_printf(&held, "%s %s %d\n", nodes->list[i]->name, nodes->list[i]->key, nodes->list[i]->revoked);
    *ret_mark = digest_of(held.data, held.size);
    return NULL;
}

static bool part_say(Nodes *nodes, Node *node, Mail__CopyPart *part, uint64_t about, uint32_t seq, bool last)
{
    Envelope envelope = MAIL__ENVELOPE__INIT;

    envelope.body_case = MAIL__ENVELOPE__BODY_COPY_PART;
    envelope.copy_part = part;
    envelope.has_in_reply_to = envelope.has_seq = envelope.has_last = true;
    envelope.in_reply_to = about;
    envelope.seq = seq;
    envelope.last = last;
    return session_say(nodes, node, &envelope);
}

/* Takes why.  NULL: what it holds is what there is. */
static void say_none(Nodes *nodes, Node *node, uint64_t about, uint32_t seq, const Digest *mark, Error *why)
{
    Mail__CopyPart part = MAIL__COPY_PART__INIT;
    Mail__Failure failure = MAIL__FAILURE__INIT;

    part.has_mark = !why;
    part.mark = (ProtobufCBinaryData){.data = (uint8_t *)(uintptr_t)mark->octets, .len = sizeof mark->octets};
    if (why) {
        failure = failure_of(why);
        part.why = &failure;
    }
    part_say(nodes, node, &part, about, seq, true); /* not taken: it asks again */
    error_free(&why);
}

static Error *copy_begin(Nodes *nodes, Node *node, const Envelope *asked, const Digest *mark, Msec now)
{
    Mail__StoreCopy wish = MAIL__STORE_COPY__INIT;

    if (nodes->copy)
        return error_new(ERROR_UNAVAILABLE, "another node's copy is being made");
    if (node->copied_at && now < node->copied_at + EVERY_MS)
        return error_new(ERROR_UNAVAILABLE, "the last one was made less than %d s ago", EVERY_MS / 1000);
    if (!nodes->options.root)
        return error_new(ERROR_UNAVAILABLE, "this controller makes none");
    nodes->copy = xcalloc(1, sizeof *nodes->copy);
    *nodes->copy = (NodeCopy){.node = node, .id = asked->id, .mark = *mark, .at = MSEC_NEVER};
    node->copied_at = now;
    Error *err = copier_start(nodes->options.root, &wish, &nodes->copy->copier);
    if (err)
        copy_end(nodes);
    return err;
}

void copy_asked(Nodes *nodes, Node *node, const Envelope *asked, Msec now)
{
    const Mail__StoreCopyRead *read = asked->store_copy_read;
    Digest held, mark = {{0}};

    Error *err = mark_now(nodes, &mark);
    if (!err && read->has_mark && digest_from(read->mark.data, read->mark.len, &held) && digest_equal(&held, &mark)) {
        say_none(nodes, node, asked->id, 0, &mark, NULL);
        return;
    }
    if (!err)
        err = copy_begin(nodes, node, asked, &mark, now);
    if (err)
        say_none(nodes, node, asked->id, 0, &mark, err);
}

/* False: nothing to say now. */
static bool part_hand_on(Nodes *nodes, Msec now)
{
    NodeCopy *copy = nodes->copy;

    copy->at = MSEC_NEVER;
    Error *err = copy->part ? NULL : copier_next(copy->copier, &copy->part);
    if (err) {
        log_warning("copy for a node not made", kv("node", copy->node->name), kv("why", err->what));
        say_none(nodes, copy->node, copy->id, copy->seq, &copy->mark, err);
        copy_end(nodes);
        return false;
    }
    if (!copy->part)
        return false;
    Mail__CopyPart part = *copy->part->copy_part;
    part.has_mark = part.info != NULL;
    part.mark = (ProtobufCBinaryData){.data = copy->mark.octets, .len = sizeof copy->mark.octets};
    if (!part_say(nodes, copy->node, &part, copy->id, copy->seq, part.info != NULL)) {
        copy->at = now + AGAIN_MS;
        return false;
    }
    bool last = part.info != NULL;
    copy->seq++;
    envelope_free(&copy->part);
    if (last)
        copy_end(nodes);
    return !last;
}

void copy_run(Nodes *nodes, Msec now)
{
    int n = 0;

    while (nodes->copy && n < BURST && part_hand_on(nodes, now))
        n++;
    if (nodes->copy && n == BURST)
        nodes->copy->at = now; /* others first */
}

void copy_wait(const Nodes *nodes, Waiter *wake)
{
    if (!nodes->copy)
        return;
    waiter_at(wake, nodes->copy->at);
    if (!nodes->copy->part)
        copier_wait(nodes->copy->copier, wake);
}
