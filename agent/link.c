#include "link.h"

#include "base/alloc.h"
#include "base/crash.h"
#include "base/log.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum {
    INBOX_MAX = 64,
    HELLO_AGAIN_MS = 5000, /* no Standing, forked, cloned */
    HEAL_FIRST_MS = 200,   /* a delta that did not fit: Hello again, each time later */
    HEAL_LAST_MS = 5000,
    PART_WAIT_MS = 30000, /* a delta that stops half-way */
    REPORT_LEAST_MS = 200,
    REPORT_MOST_MS = 60000,
    N_BODIES = 128,
};

struct Link {
    const Identity *identity;
    Journal *journal;
    CurveContext *context;
    CurveClient *client;
    char boot_id[64];

    LinkState state;
    uint64_t session;
    uint64_t applied;
    unsigned journal_life; /* of the last Hello */
    bool asked;            /* a Hello waits for its Standing */
    Msec hello_at;         /* MSEC_NEVER: not due */
    Msec heal_ms;
    uint32_t next_part;
    Msec part_until;
    Msec report_ms;

    Envelope *inbox[INBOX_MAX];
    size_t n_inbox;
    char *trouble;
    char *logged; /* last complaint about the peer, said once */
};

/* ---- the table ---- */

typedef struct LinkRow {
    bool listed;
    LinkVerb verbs[N_LINK_STATES];
} LinkRow;

#define ROW(body, ...) [MAIL__ENVELOPE__BODY_##body] = {.listed = true, .verbs = {__VA_ARGS__}}
#define NEVER(body) ROW(body, LINK_NOT_EXPECTED)

/* clang-format off */
static const LinkRow rows[N_BODIES] = {
    ROW(FAILURE, [LINK_ASKING] = LINK_FAILURE, [LINK_UP] = LINK_FAILURE, [LINK_TAKING] = LINK_FAILURE,
        [LINK_FORKED] = LINK_FAILURE, [LINK_CLONE] = LINK_FAILURE),
    ROW(DONE, [LINK_ASKING] = LINK_DROPPED, [LINK_UP] = LINK_DROPPED, [LINK_TAKING] = LINK_DROPPED,
        [LINK_FORKED] = LINK_DROPPED, [LINK_CLONE] = LINK_DROPPED),
    ROW(STANDING, [LINK_ASKING] = LINK_STANDING, [LINK_UP] = LINK_STANDING, [LINK_TAKING] = LINK_STANDING,
        [LINK_FORKED] = LINK_STANDING, [LINK_CLONE] = LINK_STANDING),
    ROW(DELTA, [LINK_ASKING] = LINK_DROPPED, [LINK_UP] = LINK_DELTA, [LINK_TAKING] = LINK_DELTA,
        [LINK_FORKED] = LINK_FORCED),
    ROW(PREPARE, [LINK_UP] = LINK_INBOX, [LINK_TAKING] = LINK_INBOX),
    ROW(HOLD, [LINK_UP] = LINK_INBOX, [LINK_TAKING] = LINK_INBOX),
    ROW(TASK_START, [LINK_UP] = LINK_INBOX, [LINK_TAKING] = LINK_INBOX),
    ROW(TASK_CANCEL, [LINK_UP] = LINK_INBOX, [LINK_TAKING] = LINK_INBOX),
    ROW(TASK_ASK, [LINK_UP] = LINK_INBOX, [LINK_TAKING] = LINK_INBOX),
    ROW(TASK_SEEN, [LINK_UP] = LINK_INBOX, [LINK_TAKING] = LINK_INBOX),
    ROW(DIRECTORY, [LINK_UP] = LINK_INBOX, [LINK_TAKING] = LINK_INBOX),
    ROW(TABLES_READ, [LINK_UP] = LINK_INBOX, [LINK_TAKING] = LINK_INBOX),
    ROW(BACKUP_READ, [LINK_UP] = LINK_INBOX, [LINK_TAKING] = LINK_INBOX),
    ROW(COPY_PART, [LINK_UP] = LINK_INBOX, [LINK_TAKING] = LINK_INBOX),
    ROW(TRACE_READ, [LINK_UP] = LINK_INBOX, [LINK_TAKING] = LINK_INBOX),
    ROW(PING, [LINK_ASKING] = LINK_PONG, [LINK_UP] = LINK_PONG, [LINK_TAKING] = LINK_PONG,
        [LINK_FORKED] = LINK_PONG, [LINK_CLONE] = LINK_PONG),

    /* What we say ourselves, and what belongs to other links. */
    NEVER(GREETING), NEVER(HELLO), NEVER(APPLIED), NEVER(REFUSED), NEVER(PREPARED), NEVER(TASK_PROGRESS),
    NEVER(TASK_RESULT), NEVER(REPORT), NEVER(PONG), NEVER(ACCOUNTS), NEVER(TABLES_ROWS), NEVER(BACKUP_ROWS), NEVER(STORE_COPY_READ), NEVER(TRACE_ROWS), NEVER(JOIN), NEVER(JOINED),
    NEVER(CHANGE), NEVER(APPLY_BEGIN), NEVER(APPLY_PART), NEVER(APPLY_END), NEVER(LIST), NEVER(GET_HISTORY),
    NEVER(GET_DIFF), NEVER(REVERT), NEVER(ROLLBACK), NEVER(GET_STATUS), NEVER(GET_EVENTS), NEVER(NODE_TOKEN),
    NEVER(NODE_REVOKE), NEVER(NODE_RESYNC), NEVER(TASK_NEW), NEVER(GET_TASKS), NEVER(TASK_WAIT), NEVER(TASK_STOP),
    NEVER(WAIT), NEVER(OUTCOME), NEVER(LISTED), NEVER(REVISIONS), NEVER(DIFFERENCES), NEVER(STATUS), NEVER(EVENTS),
    NEVER(TOKEN), NEVER(TASKS), NEVER(STORE_COPY), NEVER(SECRETS_READ), NEVER(UNDELETE), NEVER(SECRETS_ARE), NEVER(ENGINE_STATE), NEVER(ENGINE_PREPARE), NEVER(ENGINE_SWITCH), NEVER(ENGINE_ABORT),
    NEVER(ENGINE_REFRESH), NEVER(ENGINE_TASK), NEVER(ENGINE_IS),
};
/* clang-format on */

bool link_decide(BodyCase body, LinkState state, LinkVerb *ret_verb)
{
    if ((unsigned)body >= N_BODIES || !rows[body].listed)
        return false;
    *ret_verb = rows[body].verbs[state];
    return true;
}

const char *link_state_name(LinkState state)
{
    static const char *const names[N_LINK_STATES] = {
        [LINK_DOWN] = "down",     [LINK_ASKING] = "asking", [LINK_UP] = "up",
        [LINK_TAKING] = "taking", [LINK_FORKED] = "forked", [LINK_CLONE] = "clone",
    };
    return names[state];
}

/* ---- opening ---- */

Error *link_new(const Identity *identity, Journal *journal, const char *boot_id, Link **ret_link)
{
    DEFER(link_free) Link *link = xcalloc(1, sizeof *link);

    link->identity = identity;
    link->journal = journal;
    link->hello_at = MSEC_NEVER;
    link->heal_ms = HEAL_FIRST_MS;
    link->report_ms = 10000;
    strncpy(link->boot_id, boot_id, sizeof link->boot_id - 1);
    Error *err = curve_context_new(&link->context);
    if (!err)
        err = curve_connect(link->context, (const char *const *)identity->endpoints, identity->n_endpoints,
                            identity->controller_key, identity->public_key, identity->secret_key, &link->client);
    if (err)
        return error_in(err, "link to the controller");
    *ret_link = link;
    link = NULL;
    return NULL;
}

static void inbox_clear(Link *link)
{
    while (link->n_inbox)
        envelope_free(&link->inbox[--link->n_inbox]);
}

void link_free(Link **link)
{
    if (!*link)
        return;
    inbox_clear(*link);
    curve_client_free(&(*link)->client);
    curve_context_free(&(*link)->context);
    free((*link)->trouble);
    free((*link)->logged);
    free(*link);
    *link = NULL;
}

/* ---- saying ---- */

/* A peer that goes wrong a thousand times is one line.  True: it was the first time. */
static bool complain(Link *link, const char *what, const char *why)
{
    DEFER(xfree) char *line = xasprintf("%s: %s", what, why);

    if (link->logged && strcmp(link->logged, line) == 0)
        return false;
    free(link->logged);
    link->logged = xstrdup(line);
    log_warning(what, kv("why", why));
    return true;
}

static bool send_now(Link *link, Envelope *envelope)
{
    Error *err = curve_client_send(link->client, envelope);

    if (!err)
        return true;
    if (err->code != ERROR_UNAVAILABLE)
        complain(link, "message not sent", err->what);
    error_free(&err);
    return false;
}

bool link_up(const Link *link)
{
    return link->state == LINK_UP || link->state == LINK_TAKING;
}

bool link_send(Link *link, Envelope *envelope)
{
    return link_up(link) && send_now(link, envelope);
}

void link_answer(Link *link, uint64_t id, Envelope *reply)
{
    reply->has_in_reply_to = reply->has_last = true;
    reply->in_reply_to = id;
    reply->last = true;
    send_now(link, reply);
}

void link_answer_error(Link *link, uint64_t id, Error **err)
{
    Envelope reply = MAIL__ENVELOPE__INIT;
    Mail__Failure failure = failure_of(*err);

    reply.body_case = MAIL__ENVELOPE__BODY_FAILURE;
    reply.failure = &failure;
    link_answer(link, id, &reply);
    error_free(err);
}

static void say_hello(Link *link, Msec now)
{
    Envelope envelope = MAIL__ENVELOPE__INIT;
    Mail__Hello hello = MAIL__HELLO__INIT;

    /* What is said is what lies there: recomputed, not remembered. */
    Error *err = journal_audit(link->journal);
    log_stop(LOG_LEVEL_ERROR, "node.db does not read back", &err);
    err = journal_run(link->journal);
    link->hello_at = now + HELLO_AGAIN_MS; /* until a Standing answers */
    if (err) {
        log_stop(LOG_LEVEL_ERROR, "node.db cannot be begun anew", &err);
        return;
    }
    Wanted ours = *journal_wanted(link->journal);
    if (journal_drifted(link->journal))
        ours = (Wanted){0}; /* a delta did not add up: everything, please */
    hello.has_schema = hello.has_revision = hello.has_applied_revision = true;
    hello.schema = OBJECT_SCHEMA;
    hello.release = (char *)MAILNODE_RELEASE;
    hello.revision = ours.revision;
    hello.has_chain = hello.has_digest = true;
    hello.chain = (ProtobufCBinaryData){DIGEST_SIZE, ours.chain.octets};
    hello.digest = (ProtobufCBinaryData){DIGEST_SIZE, ours.digest.octets};
    hello.boot_id = link->boot_id;
    hello.applied_revision = link->applied;
    envelope.body_case = MAIL__ENVELOPE__BODY_HELLO;
    envelope.hello = &hello;
    link->journal_life = journal_life(link->journal);
    link->asked = true;
    send_now(link, &envelope);
}

/* ---- hearing ---- */

static void delta_abandon(Link *link)
{
    journal_delta_abandon(link->journal);
    if (link->state == LINK_TAKING)
        link->state = LINK_UP;
}

/* The state differs from what the controller thinks: say where we are, not more often than is useful. */
static void heal(Link *link, Msec now)
{
    delta_abandon(link);
    link->hello_at = now + link->heal_ms;
    link->heal_ms = link->heal_ms * 2 < HEAL_LAST_MS ? link->heal_ms * 2 : HEAL_LAST_MS;
}

static void take_standing(Link *link, const Envelope *envelope, Msec now)
{
    const Mail__Standing *standing = envelope->standing;

    if (standing->has_report_ms) {
        Msec wish = standing->report_ms;
        link->report_ms = wish < REPORT_LEAST_MS ? REPORT_LEAST_MS : wish > REPORT_MOST_MS ? REPORT_MOST_MS : wish;
    }
    if (standing->node && strcmp(standing->node, link->identity->node) != 0)
        complain(link, "the controller calls us by another name", standing->node);
    LinkState next = standing->state == MAIL__STANDING_STATE__FORKED  ? LINK_FORKED
                     : standing->state == MAIL__STANDING_STATE__CLONE ? LINK_CLONE
                                                                      : LINK_UP;
    if (next == LINK_UP && link->state == LINK_TAKING)
        next = LINK_TAKING; /* news of a newer revision while the older one comes in */
    else
        delta_abandon(link);
    if (next != link->state) {
        if (next == LINK_FORKED)
            journal_happened(link->journal, MAIL__FACT_STATE__BAD, "forked from the controller",
                             "node at revision %" PRIu64 ", controller at %" PRIu64,
                             journal_wanted(link->journal)->revision, standing->revision);
        else
            log_info("controller answers", kv("state", link_state_name(next)), kv("revision", standing->revision));
    }
    link->state = next;
    if (link->asked) {
        link->asked = false;
        link->session++;
        link->hello_at = MSEC_NEVER;
    }
    if (next == LINK_FORKED || next == LINK_CLONE)
        link->hello_at = now + HELLO_AGAIN_MS;
}

static void refuse(Link *link, uint64_t revision, const Error *why)
{
    Envelope envelope = MAIL__ENVELOPE__INIT;
    Mail__Refused refused = MAIL__REFUSED__INIT;
    Mail__Failure failure = failure_of(why);

    refused.has_revision = refused.has_schema = true;
    refused.revision = revision;
    refused.schema = OBJECT_SCHEMA;
    refused.why = &failure;
    envelope.body_case = MAIL__ENVELOPE__BODY_REFUSED;
    envelope.refused = &refused;
    send_now(link, &envelope);
}

static void delta_failed(Link *link, const Mail__Delta *delta, Error *err, Msec now)
{
    if (journal_receiving(link->journal) && (err->code == ERROR_UNSUPPORTED || err->code == ERROR_INVALID)) {
        /* An object that is not understood, or is none: sending it again changes nothing: the controller shall know, and wait for a newer agent or revision. */
        complain(link, "delta refused", err->what);
        refuse(link, delta->to_revision, err);
        delta_abandon(link);
    } else {
        if (complain(link, "delta dropped", err->what) && err->code == ERROR_DENIED)
            journal_happened(link->journal, MAIL__FACT_STATE__BAD, "snapshot refused", "%s", err->what);
        heal(link, now);
    }
    error_free(&err);
}

/* Parts are one transaction: 0, 1, 2 ... last. */
static void take_delta(Link *link, const Envelope *envelope, Msec now)
{
    const Mail__Delta *delta = envelope->delta;
    uint32_t part = envelope->has_seq ? envelope->seq : 0;
    bool last = envelope->has_last ? envelope->last : !envelope->has_seq;
    Error *err = NULL;

    if (part == 0)
        delta_abandon(link);
    if (part == 0)
        err = journal_delta_begin(link->journal, delta, link->applied);
    else if (!journal_receiving(link->journal))
        return; /* the rest of one that was refused */
    else if (part != link->next_part)
        err = error_new(ERROR_CONFLICT, "part %u of a delta came instead of %u", part, link->next_part);
    if (!err) {
        link->state = LINK_TAKING;
        link->next_part = part + 1;
        link->part_until = now + PART_WAIT_MS;
        err = journal_delta_part(link->journal, delta);
    }
    if (!err && last)
        err = journal_delta_end(link->journal);
    if (err) {
        delta_failed(link, delta, err, now);
        return;
    }
    if (last) {
        link->state = LINK_UP;
        link->heal_ms = HEAL_FIRST_MS;
        log_info("revision received", kv("revision", journal_wanted(link->journal)->revision));
    }
}

static void take_failure(Link *link, const Envelope *envelope, Msec now)
{
    complain(link, "the controller refuses", envelope->failure->what ? envelope->failure->what : "no words");
    if (link->state == LINK_ASKING)
        link->hello_at = now + HELLO_AGAIN_MS;
}

static void pong(Link *link, const Envelope *ping)
{
    Envelope reply = MAIL__ENVELOPE__INIT;
    Mail__Pong body = MAIL__PONG__INIT;

    body.boot_id = link->boot_id;
    reply.body_case = MAIL__ENVELOPE__BODY_PONG;
    reply.pong = &body;
    link_answer(link, ping->id, &reply);
}

static void not_expected(Link *link, const Envelope *envelope)
{
    Error *err = error_new(ERROR_INVALID, "%s is not expected by a node that is %s", body_name(envelope->body_case),
                           link_state_name(link->state));

    complain(link, "message not expected", err->what);
    link_answer_error(link, envelope->id, &err);
}

static void into_inbox(Link *link, Envelope **envelope)
{
    if (link->n_inbox == INBOX_MAX) {
        Error *err = error_new(ERROR_UNAVAILABLE, "%d messages wait already", INBOX_MAX);
        link_answer_error(link, (*envelope)->id, &err);
        return;
    }
    link->inbox[link->n_inbox++] = *envelope;
    *envelope = NULL;
}

static void take(Link *link, Envelope **envelope, Msec now)
{
    LinkVerb verb = LINK_NOT_EXPECTED;

    link_decide((*envelope)->body_case, link->state, &verb);
    if (verb == LINK_FORCED)
        verb = (*envelope)->delta->forced || journal_receiving(link->journal) ? LINK_DELTA : LINK_DROPPED;
    switch (verb) {
    case LINK_NOT_EXPECTED:
        not_expected(link, *envelope);
        break;
    case LINK_DROPPED:
    case LINK_FORCED:
        break;
    case LINK_FAILURE:
        take_failure(link, *envelope, now);
        break;
    case LINK_STANDING:
        take_standing(link, *envelope, now);
        break;
    case LINK_DELTA:
        take_delta(link, *envelope, now);
        break;
    case LINK_INBOX:
        into_inbox(link, envelope);
        break;
    case LINK_PONG:
        pong(link, *envelope);
        break;
    }
}

Envelope *link_take(Link *link, BodyCase body)
{
    for (size_t i = 0; i < link->n_inbox; i++)
        if (link->inbox[i]->body_case == body) {
            Envelope *found = link->inbox[i];
            memmove(link->inbox + i, link->inbox + i + 1, (--link->n_inbox - i) * sizeof *link->inbox);
            return found;
        }
    return NULL;
}

/* True: something came, and more may be there. */
static bool receive_one(Link *link, Msec now)
{
    DEFER(envelope_free) Envelope *envelope = NULL;
    uint64_t id = 0;

    Error *err = curve_client_receive(link->client, &envelope, &id);
    if (err) {
        complain(link, "message not understood", err->what);
        if (id && err->code == ERROR_UNSUPPORTED)
            link_answer_error(link, id, &err);
        error_free(&err);
        return true;
    }
    if (!envelope)
        return false;
    take(link, &envelope, now);
    return true;
}

static void watch_connection(Link *link, Msec now)
{
    const char *trouble = curve_client_trouble(link->client);

    if (curve_client_connected(link->client)) {
        log_info("controller reached");
        delta_abandon(link);
        inbox_clear(link);
        link->state = LINK_ASKING;
        link->hello_at = now;
    } else if (trouble && link->state != LINK_DOWN) {
        delta_abandon(link);
        inbox_clear(link);
        link->state = LINK_DOWN;
        link->hello_at = MSEC_NEVER;
    }
    if (trouble && (!link->trouble || strcmp(trouble, link->trouble) != 0))
        log_warning("controller not reached, trying again", kv("why", trouble));
    free(link->trouble);
    link->trouble = trouble ? xstrdup(trouble) : NULL;
}

void link_run(Link *link, Msec now)
{
    curve_client_run(link->client, now);
    watch_connection(link, now);
    /* Bounded, so that what was received is applied and told while more comes. */
    for (int n = 0; n < 64 && receive_one(link, now); n++)
        continue;
    if (link->state == LINK_TAKING && now >= link->part_until) {
        complain(link, "delta dropped", "its next part does not come");
        heal(link, now);
    }
    if (link->state != LINK_DOWN && link->journal_life != journal_life(link->journal))
        link->hello_at = now; /* node.db was begun anew */
    if (link->state != LINK_DOWN && !journal_receiving(link->journal) && now >= link->hello_at)
        say_hello(link, now);
}

void link_wait(Link *link, Waiter *wake)
{
    curve_client_wait(link->client, wake);
    if (link->state != LINK_DOWN && !journal_receiving(link->journal))
        waiter_at(wake, link->hello_at);
    if (link->state == LINK_TAKING)
        waiter_at(wake, link->part_until);
}

void link_applied(Link *link, uint64_t revision)
{
    link->applied = revision;
}

uint64_t link_session(const Link *link)
{
    return link->session;
}

Msec link_report_ms(const Link *link)
{
    return link->report_ms;
}
