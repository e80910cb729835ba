/* Sessions: which connection of a node counts, what its Hello means, and whether it is still there. */
#include "node_inside.h"

#include "base/alloc.h"
#include "base/log.h"

#include <inttypes.h>
#include <string.h>

enum {
    RIVAL_WAIT_MS = 3000,    /* in which the older connection may say that it is there */
    CLONED_SHOWN_MS = 30000, /* a clone tries again every few seconds; it is shown until it has stopped */
};

/* ---- saying ---- */

bool session_say(Nodes *nodes, Node *node, Envelope *envelope)
{
    Error *err = door_send(nodes->door, WHOSE_NODE, &node->route, envelope);

    if (!err)
        return true;
    log_debug("message to a node not sent", kv("node", node->name), kv("why", err->what));
    error_free(&err);
    return false;
}

static void say_standing(Nodes *nodes, const Node *node, const CurveRoute *route, Mail__StandingState state)
{
    Envelope envelope = MAIL__ENVELOPE__INIT;
    Mail__Standing standing = MAIL__STANDING__INIT;

    standing.has_state = standing.has_revision = standing.has_report_ms = true;
    standing.state = state;
    standing.node = node->name;
    standing.revision = node->revision;
    standing.report_ms = nodes->options.report_ms;
    envelope.body_case = MAIL__ENVELOPE__BODY_STANDING;
    envelope.standing = &standing;
    Error *err = door_send(nodes->door, WHOSE_NODE, route, &envelope);
    error_free(&err); /* it says Hello again */
}

/* *ret_id 0: it could not even be sent. */
static void ping(Nodes *nodes, Node *node, uint64_t *ret_id)
{
    Envelope envelope = MAIL__ENVELOPE__INIT;
    Mail__Ping body = MAIL__PING__INIT;

    envelope.body_case = MAIL__ENVELOPE__BODY_PING;
    envelope.ping = &body;
    *ret_id = session_say(nodes, node, &envelope) ? envelope.id : 0;
}

/* ---- there or not ---- */

bool session_online(const Node *node)
{
    return node->connected && !node->silent && !node->revoked && node->state == SESSION_UP;
}

static void went_away(Nodes *nodes, Node *node)
{
    ask_ended(nodes, node);
    relay_ended(nodes, node);
    copy_ended(nodes, node);
    tasks_node_offline(nodes->tasks, node->name);
    nodes->moves++;
}

static void fell_silent(Nodes *nodes, Node *node, Msec now)
{
    node->silent = true;
    events_add(nodes->events, MAIL__FACT_STATE__BAD, node->name, "node offline", "no word for %" PRIu64 " s",
               (now - node->heard_at) / 1000);
    went_away(nodes, node);
}

/* Any word of the connection that counts.  True: it had been away. */
static bool heard(Nodes *nodes, Node *node, Msec now)
{
    node->heard_at = now;
    node->seen_news = true;
    node->pinged_at = 0;
    if (!node->silent)
        return false;
    node->silent = false;
    events_add(nodes->events, MAIL__FACT_STATE__GOOD, node->name, "node online", "it answers again");
    nodes->moves++;
    nodes->scan_at = now;
    return true;
}

void session_up(Nodes *nodes, Node *node, Msec now)
{
    node->fork_told = false;
    if (node->state == SESSION_UP)
        return;
    node->state = SESSION_UP;
    tasks_node_online(nodes->tasks, node->name, now);
}

void session_end(Nodes *nodes, Node *node)
{
    envelope_free(&node->rival.hello);
    node->cloned_at = 0;
    if (!node->connected)
        return;
    node->connected = node->silent = false;
    node->flight = (Stand){0};
    node->whole = node->ordered = false;
    went_away(nodes, node);
}

/* ---- Hello ---- */

static Error *hello_facts(Nodes *nodes, Node *node, const Mail__Hello *hello, HelloFacts *ret_facts)
{
    HelloFacts facts = {.revision = hello->revision,
                        .applied = hello->applied_revision,
                        .ours = store_revision(nodes->store),
                        .newest = node->revision,
                        .schema_old = hello->schema < OBJECT_SCHEMA};
    ChainCheck check = CHAIN_UNKNOWN;
    Digest chain, digest;
    Error *err = NULL;

    if (facts.revision && facts.revision <= facts.ours && digest_from(hello->chain.data, hello->chain.len, &chain)) {
        err = store_chain_check(nodes->store, facts.revision, &chain, &check);
        facts.chain_known = check == CHAIN_KNOWN;
    }
    if (!err && facts.chain_known && facts.revision >= facts.newest) {
        Digest said;
        err = delta_digest(nodes, node, &digest);
        facts.digest_equal =
            !err && digest_from(hello->digest.data, hello->digest.len, &said) && digest_equal(&said, &digest);
    }
    *ret_facts = facts;
    return err;
}

static void forked(Nodes *nodes, Node *node, const Mail__Hello *hello)
{
    node->fork = hello->revision > hello->applied_revision ? hello->revision : hello->applied_revision;
    if (node->state == SESSION_UP)
        went_away(nodes, node);
    node->state = SESSION_FORKED;
    if (!node->fork_told)
        events_add(nodes->events, MAIL__FACT_STATE__BAD, node->name, "node forked",
                   "it is at revision %" PRIu64 ", which this store (at %" PRIu64 ") does not know; "
                   "nothing is sent to it: mailctl node resync %s --force gives its state up",
                   node->fork, store_revision(nodes->store), node->name);
    node->fork_told = true;
}

/* Where its node.db stands, as far as it can be a delta's beginning. */
static void take_stand(Node *node, const Mail__Hello *hello, HelloVerdict verdict)
{
    node->stand = (Stand){0};
    node->flight = (Stand){0};
    node->unsupported = 0;
    if (!node->refused)
        xfree(&node->why);
    node->refusal_told = 0;
    node->retry_at = 0;
    node->retry_ms = RETRY_FIRST_MS;
    node->whole = verdict == HELLO_EMPTY || verdict == HELLO_DRIFTED;
    if (verdict != HELLO_CURRENT && verdict != HELLO_BEHIND && verdict != HELLO_DRIFTED)
        return;
    node->stand.revision = hello->revision;
    if (!digest_from(hello->chain.data, hello->chain.len, &node->stand.chain) ||
        !digest_from(hello->digest.data, hello->digest.len, &node->stand.digest))
        node->stand = (Stand){0}; /* only with nothing at all, or its digest is not worth anything */
}

static void take_connection(Nodes *nodes, Node *node, const CurveRoute *route, const Mail__Hello *hello, Msec now)
{
    if (!node->connected || !curve_route_equal(&node->route, route)) {
        envelope_free(&node->rival.hello); /* who waits was asked about the older one: it will say Hello again */
        if (node->connected && !node->silent)
            went_away(nodes, node);
        node->route = *route;
        node->connected = true;
        node->state = SESSION_NEW;
    }
    if (curve_route_equal(&node->clone, route))
        node->cloned_at = 0; /* who was refused counts now */
    words_into(node->boot_id, sizeof node->boot_id, hello->boot_id);
    words_into(node->release, sizeof node->release, hello->release);
    node->schema_old = hello->schema < OBJECT_SCHEMA;
    node->awaited = false;
    heard(nodes, node, now);
    nodes->scan_at = now; /* its deadlines are among those that are looked through */
}

static void take_hello(Nodes *nodes, Node *node, const CurveRoute *route, const Mail__Hello *hello, Msec now)
{
    HelloFacts facts;
    HelloVerdict verdict = HELLO_CURRENT;

    Error *err = hello_facts(nodes, node, hello, &facts);
    if (err) {
        log_stop(LOG_LEVEL_ERROR, "a node's Hello not answered, it says it again", &err);
        return;
    }
    verdict = hello_decide(&facts);
    say_standing(nodes, node, route,
                 verdict == HELLO_FORKED    ? MAIL__STANDING_STATE__FORKED
                 : verdict == HELLO_CURRENT ? MAIL__STANDING_STATE__CURRENT
                                            : MAIL__STANDING_STATE__BEHIND);
    take_stand(node, hello, verdict);
    if (hello->applied_revision < node->applied) /* it has lost what it had: in force is what it says today */
        node->applied = hello->applied_revision;
    if (node->applied < node->config)
        node->config = node->applied;
    node->came_with = verdict == HELLO_FORKED ? 0 : hello->applied_revision;
    take_connection(nodes, node, route, hello, now);
    log_info("node says hello", kv("node", node->name), kv("revision", facts.revision), kv("newest", facts.newest),
             kv("standing", hello_verdict_name(verdict)));
    if (verdict == HELLO_FORKED)
        forked(nodes, node, hello);
    else
        session_up(nodes, node, now);
    if (verdict == HELLO_DRIFTED && !node->drift_told)
        events_add(nodes->events, MAIL__FACT_STATE__DEGRADED, node->name, "node drifted",
                   "at revision %" PRIu64 " it has other content than the store: all of it is sent again",
                   facts.revision);
    node->drift_told = verdict == HELLO_DRIFTED;
    nodes->moves++;
    delta_send(nodes, node, now);
}

/* ---- two connections ---- */

static void rival_counts(Nodes *nodes, Node *node, Msec now)
{
    Rival rival = node->rival;

    node->rival.hello = NULL;
    log_info("the older connection does not answer, the newer one counts", kv("node", node->name));
    take_hello(nodes, node, &rival.route, rival.hello->hello, now);
    envelope_free(&rival.hello);
}

/* The older connection is asked; while it answers, the newer one is a clone's. */
static void rival_waits(Nodes *nodes, Node *node, Arrival *arrival, Msec now)
{
    node->rival = (Rival){.route = arrival->route, .hello = arrival->envelope, .until = now + RIVAL_WAIT_MS};
    arrival->envelope = NULL;
    ping(nodes, node, &node->rival.ping);
    if (!node->rival.ping)
        rival_counts(nodes, node, now);
    else if (nodes->scan_at > node->rival.until)
        nodes->scan_at = node->rival.until;
}

static void rival_refused(Nodes *nodes, Node *node, Msec now)
{
    const Mail__Hello *hello = node->rival.hello->hello;

    say_standing(nodes, node, &node->rival.route, MAIL__STANDING_STATE__CLONE);
    if (!node->cloned_at)
        events_add(nodes->events, MAIL__FACT_STATE__BAD, node->name, "clone refused",
                   "another machine has its key (boot id %.40s); the first one answers and keeps its place",
                   hello->boot_id ? hello->boot_id : "-");
    node->clone = node->rival.route;
    node->cloned_at = now;
    envelope_free(&node->rival.hello);
    if (nodes->scan_at > now + CLONED_SHOWN_MS)
        nodes->scan_at = now + CLONED_SHOWN_MS;
    nodes->moves++;
}

static void hello(Nodes *nodes, Node *node, Arrival *arrival, Msec now)
{
    const Mail__Hello *body = arrival->envelope->hello;
    ConnectionFacts facts = {
        .there = node->connected,
        .same = node->connected && curve_route_equal(&node->route, &arrival->route),
        .same_boot = body->boot_id && body->boot_id[0] && strncmp(body->boot_id, node->boot_id, 63) == 0,
        .waiting = node->rival.hello,
    };

    switch (connection_decide(&facts)) {
    case CONNECTION_COUNTS:
        take_hello(nodes, node, &arrival->route, body, now);
        break;
    case CONNECTION_WAITS:
        rival_waits(nodes, node, arrival, now);
        break;
    case CONNECTION_IGNORED:
        break;
    }
}

static void pong(Nodes *nodes, Node *node, const Envelope *envelope, Msec now)
{
    if (node->rival.hello && envelope->in_reply_to == node->rival.ping)
        rival_refused(nodes, node, now);
}

/* ---- every message ---- */

static void answer(Nodes *nodes, Node *node, Arrival *arrival, Msec now)
{
    BodyCase body = arrival->envelope->body_case;

    if (relay_heard(nodes, node, &arrival->envelope))
        return;
    if (body == MAIL__ENVELOPE__BODY_PREPARED || body == MAIL__ENVELOPE__BODY_FAILURE)
        ask_answered(nodes, node, arrival->envelope);
    if (body == MAIL__ENVELOPE__BODY_FAILURE)
        tasks_heard(nodes->tasks, node->name, arrival->envelope, now);
}

static SessionState state_on(const Node *node, const CurveRoute *route)
{
    if (node->revoked || strcmp(node->key, route->key) != 0)
        return SESSION_REVOKED;
    if (node->connected && curve_route_equal(&node->route, route))
        return node->state;
    if (node->cloned_at && curve_route_equal(&node->clone, route))
        return SESSION_CLONE;
    return SESSION_NEW;
}

static void not_expected(Nodes *nodes, const Node *node, const Arrival *arrival, SessionState state)
{
    Error *err = error_new(ERROR_INVALID, "%s is not expected from a node whose session is %s",
                           body_name(arrival->envelope->body_case), session_state_name(state));

    nodes->not_believed++;
    log_debug("message not expected", kv("node", node->name), kv("why", err->what));
    door_answer_error(nodes->door, WHOSE_NODE, &arrival->route, arrival->envelope->id, &err);
}

void session_take(Nodes *nodes, Arrival *arrival, Msec now)
{
    Node *node = arrival->name ? node_find(nodes, arrival->name) : NULL;
    NodeVerb verb = NODE_NOT_EXPECTED;

    if (!node)
        return; /* removed since it came in */
    SessionState state = state_on(node, &arrival->route);
    node_verb(arrival->envelope->body_case, ROLE_NODE, state, &verb);
    if (verb != NODE_NOT_EXPECTED && (state == SESSION_UP || state == SESSION_FORKED) && heard(nodes, node, now) &&
        state == SESSION_UP)
        tasks_node_back(nodes->tasks, node->name);
    switch (verb) {
    case NODE_NOT_EXPECTED:
    case NODE_JOIN:
        not_expected(nodes, node, arrival, state);
        break;
    case NODE_DROPPED:
        break;
    case NODE_HELLO:
        hello(nodes, node, arrival, now);
        break;
    case NODE_APPLIED:
        words_applied(nodes, node, arrival->envelope->applied, now);
        break;
    case NODE_SAYS_REFUSED:
        words_refused(nodes, node, arrival->envelope->refused);
        break;
    case NODE_ANSWER:
        answer(nodes, node, arrival, now);
        break;
    case NODE_TASK:
        tasks_heard(nodes->tasks, node->name, arrival->envelope, now);
        break;
    case NODE_REPORT:
        words_report(nodes, node, arrival->envelope->report, now);
        break;
    case NODE_COPY:
        copy_asked(nodes, node, arrival->envelope, now);
        break;
    case NODE_PONG:
        pong(nodes, node, arrival->envelope, now);
        break;
    }
}

/* ---- deadlines ---- */

static void due(Nodes *nodes, Msec at)
{
    if (at < nodes->scan_at)
        nodes->scan_at = at;
}

static void scan_silence(Nodes *nodes, Node *node, Msec now)
{
    Msec limit = silence_limit_ms(nodes->options.report_ms, node->state == SESSION_FORKED);
    Msec ask_at = node->heard_at + limit * 2 / 3;

    if (now >= node->heard_at + limit) {
        fell_silent(nodes, node, now);
        return;
    }
    if (!node->pinged_at && now >= ask_at) {
        uint64_t id = 0;
        node->pinged_at = now;
        ping(nodes, node, &id);
    }
    due(nodes, node->pinged_at ? node->heard_at + limit : ask_at);
}

void session_scan(Nodes *nodes, Node *node, Msec now)
{
    if (node->rival.hello && now >= node->rival.until)
        rival_counts(nodes, node, now);
    if (node->rival.hello)
        due(nodes, node->rival.until);
    if (node->cloned_at && now >= node->cloned_at + CLONED_SHOWN_MS) {
        node->cloned_at = 0;
        nodes->moves++;
    }
    if (node->cloned_at)
        due(nodes, node->cloned_at + CLONED_SHOWN_MS);
    if (!node->connected)
        return;
    if (!node->silent)
        scan_silence(nodes, node, now);
    if (node->retry_at && now >= node->retry_at)
        delta_send(nodes, node, now);
    if (node->retry_at)
        due(nodes, node->retry_at);
}
