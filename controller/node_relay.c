/* Questions for a directory, tables, backups or logs, handed on to the node that holds them; its answers wait here, part by part, for who asked. */
#include "node_inside.h"

#include "base/alloc.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    RELAYS_MAX = 1024,
    UNTAKEN_BYTES_MAX = 8 * 1024 * 1024, /* of one answer */
};

typedef struct Part {
    struct Part *next;
    Envelope *envelope;
} Part;

struct Relay {
    Relay *next;
    uint64_t ticket;
    Node *node; /* NULL: it went away, or said what cannot be believed */
    uint64_t id;
    uint32_t seq; /* of the next part */
    size_t untaken_bytes;
    bool ended; /* its last part is here */
    Part *parts;
};

static void part_free(Part **part)
{
    Part *next = (*part)->next;

    envelope_free(&(*part)->envelope);
    free(*part);
    *part = next;
}

static void relay_free(Relay *relay)
{
    while (relay->parts)
        part_free(&relay->parts);
    free(relay);
}

static Relay **relay_find(Nodes *nodes, uint64_t ticket)
{
    Relay **at = &nodes->relays;

    while (*at && (*at)->ticket != ticket)
        at = &(*at)->next;
    return at;
}

bool nodes_relay(Nodes *nodes, const char *name, Envelope *envelope, uint64_t *ret_ticket)
{
    Node *node = node_find(nodes, name);

    if (!node || !session_online(node) || nodes->n_relays == RELAYS_MAX)
        return false;
    envelope->id = 0;
    envelope->has_id = false;
    if (!session_say(nodes, node, envelope))
        return false;
    Relay *relay = xcalloc(1, sizeof *relay);
    *relay = (Relay){.next = nodes->relays, .ticket = ++nodes->relayed, .node = node, .id = envelope->id};
    nodes->relays = relay;
    nodes->n_relays++;
    *ret_ticket = relay->ticket;
    return true;
}

void nodes_relay_forget(Nodes *nodes, uint64_t ticket)
{
    Relay **at = relay_find(nodes, ticket);
    Relay *relay = *at;

    if (!relay)
        return;
    *at = relay->next;
    nodes->n_relays--;
    relay_free(relay);
}

RelayState nodes_relayed(Nodes *nodes, uint64_t ticket, Envelope **ret_part)
{
    Relay *relay = *relay_find(nodes, ticket);

    if (!relay)
        return RELAY_GONE;
    if (!relay->parts)
        return relay->node ? RELAY_PENDING : RELAY_GONE;
    *ret_part = relay->parts->envelope;
    relay->parts->envelope = NULL;
    relay->untaken_bytes -= mail__envelope__get_packed_size(*ret_part);
    part_free(&relay->parts);
    return RELAY_PART;
}

/* ---- what the node says ---- */

static bool believable(const Relay *relay, const Envelope *envelope)
{
    return !relay->ended && envelope->seq == relay->seq && relay->untaken_bytes <= UNTAKEN_BYTES_MAX;
}

static void part_take(Relay *relay, Envelope **envelope)
{
    Part **end = &relay->parts;

    while (*end)
        end = &(*end)->next;
    *end = xcalloc(1, sizeof **end);
    (*end)->envelope = *envelope;
    *envelope = NULL;
}

bool relay_heard(Nodes *nodes, const Node *node, Envelope **envelope)
{
    Relay *relay = nodes->relays;
    BodyCase body = (*envelope)->body_case;

    while (relay && (relay->node != node || relay->id != (*envelope)->in_reply_to))
        relay = relay->next;
    if (!relay)
        return false;
    relay->untaken_bytes += mail__envelope__get_packed_size(*envelope);
    if (believable(relay, *envelope)) {
        relay->seq++;
        relay->ended =
            (*envelope)->last || (body != MAIL__ENVELOPE__BODY_ACCOUNTS && body != MAIL__ENVELOPE__BODY_TABLES_ROWS &&
                                  body != MAIL__ENVELOPE__BODY_BACKUP_ROWS && body != MAIL__ENVELOPE__BODY_TRACE_ROWS);
        part_take(relay, envelope);
    } else {
        nodes->not_believed++;
        relay->node = NULL;
    }
    nodes->moves++;
    return true;
}

void relay_ended(Nodes *nodes, const Node *node)
{
    for (Relay *relay = nodes->relays; relay; relay = relay->next)
        if (relay->node == node)
            relay->node = NULL;
}

void relay_done(Nodes *nodes)
{
    while (nodes->relays) {
        Relay *relay = nodes->relays;
        nodes->relays = relay->next;
        relay_free(relay);
    }
}
