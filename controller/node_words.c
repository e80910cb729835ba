/* What a node says of itself: believed as far as the store, or what was sent to it, can confirm it. */
#include "node_inside.h"

#include "base/alloc.h"
#include "base/crash.h"
#include "base/log.h"
#include "base/utf8.h"

#include <inttypes.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    FACTS_MAX = 200,
    BACKUPS_MAX = 200,
    MADE_PER_MINUTE = 60, /* public mailboxes that users make by IMAP */
    NAME_BYTES_MAX = 64,
    HAPPENINGS_PER_MINUTE = 60, /* a node that spins shall not push the others' events out */
    MINUTE_MS = 60000,
    RESEND_MS = 30000, /* a delta whose node still stands before it: said again */
    REFUSALS_MAX = 1000,
};

/* Octets of whole characters within the limit. */
static size_t whole_len(const char *text, size_t limit)
{
    size_t size = strlen(text), len = 0;

    while (len < size) {
        size_t more = utf8_char_len(text + len, size - len);
        if (!more || len + more > limit)
            break;
        len += more;
    }
    return len;
}

char *words_short(const char *text)
{
    return text ? xstrndup(text, whole_len(text, WORDS_MAX)) : xstrdup("");
}

void words_into(char *out, size_t size, const char *text)
{
    size_t len = text ? whole_len(text, size - 1) : 0;

    memcpy(out, text ? text : "", len);
    out[len] = '\0';
}

static void say_why(Node *node, const char *why)
{
    free(node->why);
    node->why = why ? words_short(why) : NULL;
}

/* ---- applied ---- */

static bool stand_equal(const Stand *a, const Stand *b)
{
    return a->revision && a->revision == b->revision && digest_equal(&a->chain, &b->chain) &&
           digest_equal(&a->digest, &b->digest);
}

/* Neither what was sent last nor where it stood: it may have been told by an earlier life of ours.  What the store has for
 * today decides; for other revisions nothing is known here, and its next Hello tells. */
static bool fits_store(Nodes *nodes, Node *node, const Stand *said)
{
    ChainCheck check = CHAIN_UNKNOWN;
    Digest digest;

    if (!said->revision || said->revision < node->revision || said->revision > store_revision(nodes->store))
        return false;
    Error *err = store_chain_check(nodes->store, said->revision, &said->chain, &check);
    if (!err && check == CHAIN_KNOWN)
        err = delta_digest(nodes, node, &digest);
    bool fits = !err && check == CHAIN_KNOWN && digest_equal(&said->digest, &digest);
    log_stop(LOG_LEVEL_ERROR, "what a node has applied was not checked", &err);
    return fits;
}

static void flight_arrived(Node *node)
{
    node->stand = node->flight;
    node->flight = (Stand){0};
    node->flight_forced = false;
    node->whole = false;
    node->retry_ms = RETRY_FIRST_MS;
}

static void now_applied(Nodes *nodes, Node *node, uint64_t revision, const Mail__Applied *applied)
{
    uint64_t config = applied->config_revision < revision ? applied->config_revision : revision;

    if (node->applied != revision)
        log_debug("node has applied", kv("node", node->name), kv("revision", revision), kv("config", config),
                  kv("took_ms", applied->took_ms));
    node->applied = revision;
    node->config = config;
    if (node->refused && config >= node->refused)
        node->refused = 0;
    if (node->unsupported && node->unsupported <= revision)
        node->unsupported = 0;
    if (!node->refused && !node->unsupported)
        say_why(node, NULL);
    nodes->moves++;
}

void words_applied(Nodes *nodes, Node *node, const Mail__Applied *applied, Msec now)
{
    Stand said = {.revision = applied->revision};

    if (!digest_from(applied->chain.data, applied->chain.len, &said.chain) ||
        !digest_from(applied->digest.data, applied->digest.len, &said.digest)) {
        nodes->not_believed++;
        return;
    }
    bool arrived = stand_equal(&said, &node->flight);
    if (!arrived &&
        (node->state == SESSION_FORKED || (!stand_equal(&said, &node->stand) && !fits_store(nodes, node, &said)))) {
        nodes->not_believed++;
        log_info("applied, but it is not what was sent: not believed", kv("node", node->name),
                 kv("revision", said.revision), kv("sent", node->flight.revision));
        return;
    }
    if (arrived) {
        if (node->flight_forced)
            malloc_trim(0); /* its parts came and went by the hundred */
        if (node->state == SESSION_FORKED)
            events_add(nodes->events, MAIL__FACT_STATE__GOOD, node->name, "node resynced",
                       "it has given up its own state for revision %" PRIu64, said.revision);
        flight_arrived(node);
        session_up(nodes, node, now);
    } else if (said.revision > node->stand.revision) {
        node->stand = said;
        if (node->flight.revision <= said.revision)
            node->flight = (Stand){0};
    }
    CRASH_POINT("controller.node.applied");
    now_applied(nodes, node, said.revision, applied);
    delta_send(nodes, node, now);
}

/* ---- refused ---- */

static bool concerns(Nodes *nodes, const Node *node, uint64_t revision)
{
    uint64_t newest = 0;

    Error *err = store_node_revision(nodes->store, node->name, revision, &newest);
    log_stop(LOG_LEVEL_ERROR, "what a node refuses was not looked up", &err);
    return newest == revision;
}

/* Only what it was sent, and what is not in force by its own word, can it refuse. */
static bool may_refuse(Nodes *nodes, const Node *node, uint64_t revision)
{
    uint64_t newest = node->flight.revision > node->stand.revision ? node->flight.revision : node->stand.revision;

    return revision && revision <= newest && revision > node->config && concerns(nodes, node, revision);
}

static void not_understood(Nodes *nodes, Node *node, uint64_t revision, const char *what)
{
    node->flight = (Stand){0};
    node->unsupported = revision;
    say_why(node, what);
    events_add(nodes->events, MAIL__FACT_STATE__DEGRADED, node->name, "revision not understood",
               "revision %" PRIu64 " needs %s: %s", revision, MAILNODE_RELEASE, what);
    nodes->moves++;
}

static void hand_on(Nodes *nodes, Node *node, uint64_t revision, Error *why)
{
    if (node->refusal_told == revision || nodes->n_refusals == REFUSALS_MAX) {
        error_free(&why);
        return;
    }
    node->refusal_told = revision;
    nodes->refusals = xrealloc(nodes->refusals, (nodes->n_refusals + 1) * sizeof *nodes->refusals);
    Refusal *refusal = &nodes->refusals[nodes->n_refusals++];
    *refusal =
        (Refusal){.revision = revision, .good_revision = node->config ? node->config : node->came_with, .why = why};
    snprintf(refusal->node, sizeof refusal->node, "%s", node->name);
}

void words_refused(Nodes *nodes, Node *node, const Mail__Refused *refused)
{
    if (!refused->why || !may_refuse(nodes, node, refused->revision)) {
        nodes->not_believed++;
        log_info("refused, but it was not sent: not believed", kv("node", node->name),
                 kv("revision", refused->revision));
        return;
    }
    Error *why = error_of(refused->why);
    if (why->code != ERROR_REFUSED && why->code != ERROR_INVALID) {
        not_understood(nodes, node, refused->revision, why->what);
        error_free(&why);
        return;
    }
    /* A checker's no comes from a node that has taken the delta; should it not have, it says Hello at the next one. */
    if (node->flight.revision == refused->revision && why->code == ERROR_REFUSED)
        flight_arrived(node);
    else if (node->flight.revision == refused->revision)
        node->flight = (Stand){0};
    node->refused = refused->revision;
    say_why(node, why->what);
    if (node->refusal_told != refused->revision)
        log_warning("node has refused", kv("node", node->name), kv("revision", refused->revision),
                    kv("why", why->what));
    hand_on(nodes, node, refused->revision, why);
    nodes->moves++;
}

/* ---- reports ---- */

/* Cuts what is too much, in a copy whose strings are its own. */
static Mail__Report *report_copy(const Mail__Report *report)
{
    Mail__Report cut = *report;
    DEFER(buf_done) Buf bytes = {0};

    cut.n_facts = cut.n_facts < FACTS_MAX ? cut.n_facts : FACTS_MAX;
    cut.n_happenings = 0;
    cut.n_backups = cut.n_backups < BACKUPS_MAX ? cut.n_backups : BACKUPS_MAX;
    cut.n_made = 0;
    size_t size = mail__report__get_packed_size(&cut);
    mail__report__pack(&cut, buf_reserve(&bytes, size + 1));
    Mail__Report *copy = mail__report__unpack(NULL, size, bytes.data);
    for (size_t i = 0; copy && i < copy->n_facts; i++) {
        char *text = words_short(copy->facts[i]->text);
        if (copy->facts[i]->text)
            free(copy->facts[i]->text);
        copy->facts[i]->text = text;
        if (copy->facts[i]->name && strlen(copy->facts[i]->name) > NAME_BYTES_MAX) {
            free(copy->facts[i]->name);
            copy->facts[i]->name = xstrdup("?");
        }
    }
    for (size_t i = 0; copy && i < copy->n_backups; i++) {
        char *text = words_short(copy->backups[i]->text);
        free(copy->backups[i]->text);
        copy->backups[i]->text = text;
    }
    return copy;
}

static void happenings(Nodes *nodes, Node *node, const Mail__Report *report, Msec now)
{
    if (now >= node->happened_at + MINUTE_MS) {
        node->happened_at = now;
        node->happened = 0;
    }
    for (size_t i = 0; i < report->n_happenings; i++) {
        const Mail__Happening *one = report->happenings[i];
        if (!one->number || one->number > INT64_MAX)
            continue;
        if (node->happened++ < HAPPENINGS_PER_MINUTE)
            events_happened(nodes->events, node->name, one);
        else if (node->happened == HAPPENINGS_PER_MINUTE + 1)
            events_add(nodes->events, MAIL__FACT_STATE__DEGRADED, node->name, "too many events",
                       "more than %d within a minute: the rest is in the node's own log", HAPPENINGS_PER_MINUTE);
    }
}

static void made_drop(Node *node)
{
    while (node->n_made)
        mail__public_made__free_unpacked(node->made[--node->n_made], NULL);
    xfree(&node->made);
}

void words_made_done(Node *node)
{
    made_drop(node);
}

/* Those that were handed on lately may be stated, and not have arrived there. */
static void report_made(Nodes *nodes, Node *node, const Mail__Report *report, Msec now)
{
    if (now >= node->making_at + MINUTE_MS) {
        node->making_at = now;
        node->making = 0;
    }
    made_drop(node);
    if (node->state != SESSION_UP || node->applied < node->revision)
        return;
    node->made = xcalloc(report->n_made + 1, sizeof *node->made);
    for (size_t i = 0; i < report->n_made && node->making < MADE_PER_MINUTE; i++) {
        DEFER(buf_done) Buf bytes = {0};
        size_t size = mail__public_made__get_packed_size(report->made[i]);
        mail__public_made__pack(report->made[i], buf_reserve(&bytes, size + 1));
        Mail__PublicMade *copy = mail__public_made__unpack(NULL, size, bytes.data);
        if (!copy)
            continue;
        node->made[node->n_made++] = copy;
        node->making++;
    }
    if (node->n_made)
        nodes->moves++;
}

bool nodes_take_made(Nodes *nodes, NodeMade *ret_made)
{
    for (size_t i = 0; i < nodes->n; i++) {
        Node *node = nodes->list[i];
        if (!node->n_made)
            continue;
        *ret_made = (NodeMade){.list = node->made, .n = node->n_made};
        snprintf(ret_made->node, sizeof ret_made->node, "%s", node->name);
        node->made = NULL;
        node->n_made = 0;
        return true;
    }
    return false;
}

void node_made_done(NodeMade *made)
{
    while (made->n)
        mail__public_made__free_unpacked(made->list[--made->n], NULL);
    xfree(&made->list);
}

/* Where node.db stands: what is on its way has arrived, or is lost.  In force is only what Applied says. */
static void report_stand(Nodes *nodes, Node *node, uint64_t wanted, Msec now)
{
    if (!node->flight.revision || node->state != SESSION_UP)
        return;
    if (wanted == node->flight.revision) {
        flight_arrived(node);
        delta_send(nodes, node, now);
    } else if (wanted == node->stand.revision && now >= node->flight_at + RESEND_MS) {
        node->flight = (Stand){0};
        delta_send(nodes, node, now);
    }
}

void words_report(Nodes *nodes, Node *node, const Mail__Report *report, Msec now)
{
    Mail__Report *copy = report_copy(report);

    if (!copy)
        return; /* bytes of our own that do not read back */
    if (node->report)
        mail__report__free_unpacked(node->report, NULL);
    node->report = copy;
    node->report_at = now;
    if (report->release)
        words_into(node->release, sizeof node->release, report->release);
    happenings(nodes, node, report, now);
    report_made(nodes, node, report, now);
    if (report->has_wanted_revision)
        report_stand(nodes, node, report->wanted_revision, now);
}
