/* Requests that change something: worked out in the batch, answered after the commit, then watched until in force. */
#include "request_inside.h"

#include "change.h"
#include "revert.h"
#include "work_replica.h"

#include "base/alloc.h"
#include "base/log.h"
#include "model/name.h"
#include "seal/secret.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum {
    MESSAGE_MAX = 500,
    SMALL_N = 20, /* differences of so small a change come with its outcome */
    SMALL_BYTES = 48 * 1024,
    SMALL_FILE = 100,
    REHEARSED_BYTES = 16 * 1024 * 1024, /* of differences that a dry run shows */
    YOUNG_MS = 10 * 1000,               /* after the controller's start nodes are on their way back */
};

/* What goes on in the Ask. */
typedef struct Changing {
    Job *job;   /* NULL: none, or it is over */
    Wait *wait; /* NULL: not yet */
    Wish wish;
    size_t n_told; /* differences of a dry run */
    enum { OUTCOME, TOKEN, NEW_TOKEN, REVOKED } answer;
    char *node; /* of all but an outcome: which */
} Changing;

static bool changing_run(Ask *ask, Msec now);
static void changing_done(void *data);
static const AskType changing_type = {.run = changing_run, .done = changing_done};

Error *error_copy(const Error *err)
{
    Error *copy = error_new(err->code, "%s", err->what);

    return err->hint ? error_hint(copy, "%s", err->hint) : copy;
}

/* ---- how it is wished ---- */

void wish_done(Wish *wish)
{
    free(wish->message);
    *wish = (Wish){0};
}

static Error *wish_of(const Mail__Manner *manner, Wish *ret_wish)
{
    Wish wish = {.wait_ms = WAIT_DEFAULT_MS};
    Error *err = NULL;

    if (!manner) {
        *ret_wish = wish;
        return NULL;
    }
    wish = (Wish){.dry_run = manner->dry_run,
                  .lenient = manner->lenient,
                  .no_wait = manner->no_wait,
                  .purge = manner->purge,
                  .yes = manner->yes,
                  .force = manner->force,
                  .wait_ms = manner->has_wait_ms ? manner->wait_ms : WAIT_DEFAULT_MS};
    if (wish.wait_ms > WAIT_MAX_MS)
        wish.wait_ms = WAIT_MAX_MS;
    if (manner->message && *manner->message)
        err = text_normalise(MAIL__FIELD_TYPE__TEXT, manner->message, &wish.message);
    if (!err && wish.message && strlen(wish.message) > MESSAGE_MAX)
        err = error_new(ERROR_INVALID, "%zu octets, at most %d", strlen(wish.message), MESSAGE_MAX);
    if (err) {
        wish_done(&wish);
        return error_in(err, "message");
    }
    *ret_wish = wish;
    return NULL;
}

static void changing_done(void *data)
{
    Changing *changing = data;

    job_release(&changing->job);
    wait_free(&changing->wait);
    wish_done(&changing->wish);
    free(changing->node);
    free(changing);
}

/* ---- into the batch ---- */

/* Takes the wish and the order's context. */
static Changing *enqueue(Ask *ask, Wish *wish, JobOrder *order)
{
    Changing *changing = xcalloc(1, sizeof *changing);
    WorkRules *rules = &order->rules;

    *changing = (Changing){.wish = *wish};
    *wish = (Wish){0};
    rules->asker = asker_clone(ask->asker);
    rules->lenient = changing->wish.lenient;
    rules->purge = changing->wish.purge;
    rules->yes = changing->wish.yes;
    rules->force = changing->wish.force;
    if (changing->wish.dry_run) {
        rules->keep_n = SIZE_MAX;
        rules->keep_bytes = REHEARSED_BYTES;
    }
    order->dry_run = changing->wish.dry_run;
    order->who = ask->asker->who;
    order->message = changing->wish.message;
    changing->job = batch_add(ask->of->batch, order);
    ask_keep(ask, &changing_type, changing);
    return changing;
}

static void envelope_drop(void *context)
{
    Envelope *envelope = context;

    envelope_free(&envelope);
}

static Error *change_go(void *context, Work *work)
{
    const Mail__Change *change = ((Envelope *)context)->change;

    return change_work(work, change->edits, change->n_edits);
}

void request_change(Ask *ask, Envelope **envelope, Msec now)
{
    JobOrder order = {.work = change_go,
                      .context_free = envelope_drop,
                      .context = *envelope,
                      .rules = {.keep_n = SMALL_N, .keep_bytes = SMALL_BYTES}};
    Wish wish = {0};
    Error *err = wish_of((*envelope)->change->manner, &wish);

    (void)now;
    if (err) {
        ask_fail(ask, err);
        return;
    }
    *envelope = NULL;
    enqueue(ask, &wish, &order);
}

/* ---- a file ---- */

static void apply_end(Talk *talk)
{
    apply_free(&talk->apply);
    error_free(&talk->apply_err);
    wish_done(&talk->apply_wish);
}

void request_apply_begin(Ask *ask, Envelope **envelope, Msec now)
{
    Talk *talk = ask->talk;

    (void)now;
    apply_end(talk);
    Error *err = wish_of((*envelope)->apply_begin->manner, &talk->apply_wish);
    if (!err)
        talk->apply = apply_new((*envelope)->apply_begin->prune);
    ask_fail(ask, err);
}

/* A part has no answer; the first error ends the file, and is said here and again at its end. */
void request_apply_part(Ask *ask, Envelope **envelope, Msec now)
{
    Talk *talk = ask->talk;
    Error *err = NULL;

    (void)now;
    ask->answered = true;
    if (talk->apply_err)
        return;
    if (talk->apply)
        err = apply_part(talk->apply, (*envelope)->apply_part);
    else
        err = error_new(ERROR_INVALID, "no file was begun");
    if (!err)
        return;
    talk->apply_err = error_copy(err);
    apply_free(&talk->apply);
    ask_fail(ask, err);
}

static Error *apply_go(void *context, Work *work)
{
    return apply_work(context, work);
}

static void apply_drop(void *context)
{
    Apply *apply = context;

    apply_free(&apply);
}

void request_apply_end(Ask *ask, Envelope **envelope, Msec now)
{
    Talk *talk = ask->talk;
    JobOrder order = {.work = apply_go, .context_free = apply_drop, .context = talk->apply, .via = "apply"};

    (void)envelope;
    (void)now;
    if (!talk->apply) {
        ask_fail(ask, talk->apply_err ? error_copy(talk->apply_err) : error_new(ERROR_INVALID, "no file was begun"));
        apply_end(talk);
        return;
    }
    order.rules.deferred = true;
    if (apply_count(talk->apply) <= SMALL_FILE) {
        order.rules.keep_n = SMALL_N;
        order.rules.keep_bytes = SMALL_BYTES;
    }
    talk->apply = NULL; /* the job's now */
    enqueue(ask, &talk->apply_wish, &order);
    apply_end(talk);
}

/* ---- back ---- */

typedef struct BackOrder {
    uint64_t revision;
    char *instance; /* NULL: revert */
    char *mailbox;  /* of that instance, which comes back; NULL: none */
} BackOrder;

static Error *back_go(void *context, Work *work)
{
    const BackOrder *back = context;

    if (back->mailbox)
        return undelete_work(work, back->revision, back->instance, back->mailbox);
    if (back->instance)
        return rollback_work(work, back->revision, back->instance);
    return revert_work(work, back->revision);
}

static void back_drop(void *context)
{
    BackOrder *back = context;

    free(back->instance);
    free(back->mailbox);
    free(back);
}

static void take_back(Ask *ask, const Mail__Manner *manner, uint64_t revision, const char *instance,
                      const char *mailbox)
{
    BackOrder *back = xcalloc(1, sizeof *back);
    DEFER(xfree) char *via = xasprintf("%s %" PRIu64, instance && !mailbox ? "rollback" : "revert", revision);
    JobOrder order = {.work = back_go, .context_free = back_drop, .context = back, .via = via};
    Wish wish = {0};
    Error *err = wish_of(manner, &wish);

    *back = (BackOrder){.revision = revision,
                        .instance = instance ? xstrdup(instance) : NULL,
                        .mailbox = mailbox ? xstrdup(mailbox) : NULL};
    if (err) {
        back_drop(back);
        ask_fail(ask, err);
        return;
    }
    order.rules = (WorkRules){.deferred = true, .restoring = true, .keep_n = SMALL_N, .keep_bytes = SMALL_BYTES};
    enqueue(ask, &wish, &order);
}

void request_revert(Ask *ask, Envelope **envelope, Msec now)
{
    const Mail__Revert *revert = (*envelope)->revert;

    (void)now;
    take_back(ask, revert->manner, revert->revision, NULL, NULL);
}

void request_rollback(Ask *ask, Envelope **envelope, Msec now)
{
    const Mail__Rollback *rollback = (*envelope)->rollback;

    (void)now;
    if (!rollback->instance || !*rollback->instance) {
        ask_fail(ask, error_hint(error_new(ERROR_INVALID, "instance: which one?"), "name it: -i NAME"));
        return;
    }
    take_back(ask, rollback->manner, rollback->revision, rollback->instance, NULL);
}

void request_undelete(Ask *ask, Envelope **envelope, Msec now)
{
    const Mail__Undelete *undelete = (*envelope)->undelete;

    (void)now;
    if (!undelete->instance || !*undelete->instance || !undelete->name || !*undelete->name) {
        ask_fail(ask, error_new(ERROR_INVALID, "public-mailbox: which one, of which instance?"));
        return;
    }
    take_back(ask, undelete->manner, undelete->revision, undelete->instance, undelete->name);
}

/* ---- a node and its token ---- */

static Error *node_go(void *context, Work *work)
{
    const Mail__NodeToken *wish = ((Envelope *)context)->node_token;
    Mail__Ref ref = MAIL__REF__INIT;
    Mail__ObjectEdit edit = MAIL__OBJECT_EDIT__INIT, *edits = &edit;
    char kind[] = "node";

    ref.kind = kind;
    ref.name = wish->node;
    edit.verb = MAIL__VERB__ADD;
    edit.ref = &ref;
    edit.fields = wish->fields;
    edit.n_fields = wish->n_fields;
    Error *err = change_work(work, &edits, 1);
    if (err && err->code == ERROR_EXISTS)
        return error_hint(err, "a new token for it: mailctl node replace %s", wish->node);
    return err;
}

static void token_say(Ask *ask, const char *node, bool replace, uint64_t revision)
{
    Envelope envelope = MAIL__ENVELOPE__INIT;
    Mail__Token token = MAIL__TOKEN__INIT;
    char *text = NULL;

    Error *err = nodes_token(ask->of->with.nodes, node, replace, &text, &token.expires_s);
    if (err && revision && !replace)
        err = error_hint(error_in(err, "node %s was added by revision %" PRIu64 ", but has no token", node, revision),
                         "mailctl node replace %s", node);
    if (err) {
        ask_fail(ask, err);
        return;
    }
    token.text = text;
    token.has_expires_s = true;
    token.has_revision = true;
    token.revision = revision;
    envelope.body_case = MAIL__ENVELOPE__BODY_TOKEN;
    envelope.token = &token;
    ask_say(ask, &envelope, true);
    ask->answered = true;
    wipe(text, strlen(text));
    free(text);
}

static Error *distrust_go(void *context, Work *work)
{
    Error *err = replica_pairs_renew(work, context);

    return err ? err : work_finish(work);
}

/* What the machine knows is worth nothing any more.  No node is asked first: none may keep it by saying no. */
static void distrust(Ask *ask, const char *node, int answer)
{
    DEFER(xfree) char *via = xasprintf("node %s %s", answer == REVOKED ? "revoke" : "replace", node);
    JobOrder order = {.work = distrust_go, .context_free = free, .context = xstrdup(node), .unasked = true, .via = via};
    Wish wish = {.wait_ms = WAIT_DEFAULT_MS};
    Changing *changing = enqueue(ask, &wish, &order);

    changing->answer = answer;
    changing->node = xstrdup(node);
}

void request_node_token(Ask *ask, Envelope **envelope, Msec now)
{
    const Mail__NodeToken *token = (*envelope)->node_token;
    JobOrder order = {.work = node_go,
                      .context_free = envelope_drop,
                      .context = *envelope,
                      .rules = {.keep_n = SMALL_N, .keep_bytes = SMALL_BYTES}};
    DEFER(xfree) char *name = NULL;
    DEFER(xfree) char *there = NULL;
    Wish wish = {0};
    Error *err = error_in(name_normalise(MAIL__OBJECT__BODY_NODE, token->node ? token->node : "", &name), "node");

    (void)now;
    if (!err)
        err = wish_of(token->manner, &wish);
    if (!err && token->replace)
        err = named_node(ask->of->with.store, name, &there);
    if (err) {
        wish_done(&wish);
        ask_fail(ask, err);
        return;
    }
    if (token->replace) {
        wish_done(&wish);
        distrust(ask, name, NEW_TOKEN);
        return;
    }
    *envelope = NULL;
    Changing *changing = enqueue(ask, &wish, &order);
    changing->answer = TOKEN;
    changing->node = name;
    name = NULL;
}

void request_node_revoke(Ask *ask, Envelope **envelope, Msec now)
{
    DEFER(xfree) char *node = NULL;
    Error *err = named_node(ask->of->with.store, (*envelope)->node_revoke->node, &node);

    (void)now;
    if (!err)
        err = nodes_revoke(ask->of->with.nodes, node);
    if (err) {
        ask_fail(ask, err);
        return;
    }
    log_info("node revoked", kv("node", node), kv("who", ask->asker->who));
    distrust(ask, node, REVOKED);
}

/* ---- telling ---- */

static size_t difference_fill(const Kept *kept, Mail__Difference *out, Buf *before, Buf *after)
{
    mail__difference__init(out);
    if (kept->before) {
        object_pack(kept->before, before);
        out->has_before = true;
        out->before = (ProtobufCBinaryData){.len = before->size, .data = before->data};
    }
    if (kept->after) {
        object_pack(kept->after, after);
        out->has_after = true;
        out->after = (ProtobufCBinaryData){.len = after->size, .data = after->data};
    }
    return before->size + after->size;
}

/* Differences for one message: at least one, as many as fit. */
typedef struct Telling {
    Mail__Difference *differences, **list;
    Mail__Ref *refs;
    Buf *bytes; /* two per difference */
    size_t n;
} Telling;

static void telling_done(Telling *telling)
{
    for (size_t i = 0; i < 2 * telling->n; i++)
        buf_done(&telling->bytes[i]);
    free(telling->differences);
    free(telling->list);
    free(telling->refs);
    free(telling->bytes);
    *telling = (Telling){0};
}

static void telling_fill(Telling *telling, const Kept *kept, size_t n)
{
    size_t size = 0, most = n < PAGE_OBJECTS ? n : PAGE_OBJECTS;

    telling->differences = xcalloc(most + 1, sizeof *telling->differences);
    telling->list = xcalloc(most + 1, sizeof(Mail__Difference *));
    telling->refs = xcalloc(most + 1, sizeof *telling->refs);
    telling->bytes = xcalloc(2 * most + 1, sizeof *telling->bytes);
    while (telling->n < most && size < ENVELOPE_PART_BYTES) {
        size_t i = telling->n++;
        ObjectRef ref = object_ref(kept[i].after ? kept[i].after : kept[i].before);
        mail__ref__init(&telling->refs[i]);
        size += difference_fill(&kept[i], &telling->differences[i], &telling->bytes[2 * i], &telling->bytes[2 * i + 1]);
        telling->refs[i].kind = (char *)(uintptr_t)kind_info(ref.kind)->name;
        telling->refs[i].instance = *ref.instance ? (char *)(uintptr_t)ref.instance : NULL;
        telling->refs[i].name = *ref.name ? (char *)(uintptr_t)ref.name : NULL;
        telling->differences[i].ref = &telling->refs[i];
        telling->list[i] = &telling->differences[i];
    }
}

static void outcome_fill(const JobResult *result, Mail__Outcome *out)
{
    out->has_revision = out->has_count = true;
    out->revision = result->revision;
    out->count = result->count;
    out->warnings = (char **)(uintptr_t)result->warnings;
    out->n_warnings = result->n_warnings;
}

static bool outcome_say(Ask *ask, Mail__Outcome *outcome, bool last)
{
    Envelope envelope = MAIL__ENVELOPE__INIT;

    envelope.body_case = MAIL__ENVELOPE__BODY_OUTCOME;
    envelope.outcome = outcome;
    return ask_say(ask, &envelope, last);
}

/* As many messages as the peer takes now. */
static bool rehearsal_tell(Ask *ask, Changing *changing, const JobResult *result, Msec now)
{
    while (ask_has_room(ask)) {
        DEFER(telling_done) Telling telling = {0};
        Mail__Outcome outcome = MAIL__OUTCOME__INIT;
        char more[] = "there is more than is shown", *warning = more;
        size_t left = result->n_kept - changing->n_told;
        telling_fill(&telling, left ? result->kept + changing->n_told : NULL, left);
        bool last = changing->n_told + telling.n == result->n_kept;
        outcome_fill(result, &outcome);
        outcome.revision = 0;
        if (!last)
            outcome.n_warnings = 0;
        else if (!result->kept_all && !result->n_warnings) {
            outcome.warnings = &warning;
            outcome.n_warnings = 1;
        }
        outcome.differences = telling.list;
        outcome.n_differences = telling.n;
        if (!outcome_say(ask, &outcome, last))
            break;
        changing->n_told += telling.n;
        if (last)
            return true;
    }
    ask->at = now + 20;
    return false;
}

/* ---- until it is in force ---- */

static Error *watch(Ask *ask, Changing *changing, uint64_t revision, const char *node, Msec now)
{
    WaitOrder order = {.revision = revision,
                       .node = node,
                       .without = changing->node,
                       .every = !changing->job,
                       .patient = !changing->job, /* who asks to wait means it */
                       .since = ask->since,
                       .until = changing->wish.no_wait ? now : ask->since + changing->wish.wait_ms,
                       .young_until = ask->of->started_at + YOUNG_MS};

    return wait_new(ask->of->with.store, ask->of->with.nodes, &order, now, &changing->wait);
}

static bool force_tell(Ask *ask, Changing *changing, bool first, Msec now)
{
    DEFER(telling_done) Telling telling = {0};
    Mail__Outcome outcome = MAIL__OUTCOME__INIT;
    bool last = wait_look(changing->wait, now);

    if (!first && !last && !wait_moved(changing->wait, now)) {
        ask->at = wait_at(changing->wait, now);
        return false;
    }
    if (changing->job) {
        JobResult result = job_result(changing->job);
        outcome_fill(&result, &outcome);
        if (first && result.kept_all) {
            telling_fill(&telling, result.kept, result.n_kept);
            outcome.differences = telling.list;
            outcome.n_differences = telling.n;
        }
    }
    wait_outcome(changing->wait, now, &outcome);
    if (!outcome_say(ask, &outcome, last)) {
        ask->at = now + 20;
        return false;
    }
    ask->at = wait_at(changing->wait, now);
    return last;
}

static bool nothing_tell(Ask *ask, const JobResult *result)
{
    Mail__Outcome outcome = MAIL__OUTCOME__INIT;

    outcome_fill(result, &outcome);
    outcome_say(ask, &outcome, true);
    return true;
}

static bool stored_tell(Ask *ask, Changing *changing, Msec now)
{
    JobResult result = job_result(changing->job);

    if (result.err) {
        Error *err = error_copy(result.err);
        if (changing->answer == REVOKED)
            err = error_in(err, "node %s is revoked, but replicas still know it", changing->node);
        ask_fail(ask, err);
        return true;
    }
    if (changing->wish.dry_run)
        return rehearsal_tell(ask, changing, &result, now);
    if (changing->answer == TOKEN || changing->answer == NEW_TOKEN) {
        token_say(ask, changing->node, changing->answer == NEW_TOKEN, result.revision);
        return true;
    }
    if (!result.revision)
        return nothing_tell(ask, &result);
    Error *err = watch(ask, changing, result.revision, NULL, now);
    if (err) {
        ask_fail(ask, error_in(err, "stored as revision %" PRIu64 ", but where it is in force cannot be told",
                               result.revision));
        return true;
    }
    return force_tell(ask, changing, true, now);
}

static bool changing_run(Ask *ask, Msec now)
{
    Changing *changing = ask->data;

    ask->at = MSEC_NEVER;
    if (changing->wait)
        return force_tell(ask, changing, false, now);
    if (!job_done(changing->job))
        return false;
    return stored_tell(ask, changing, now);
}

void request_wait(Ask *ask, Envelope **envelope, Msec now)
{
    const Mail__Wait *wait = (*envelope)->wait;
    uint64_t newest = store_revision(ask->of->with.store);
    bool one = wait->node && *wait->node;
    DEFER(xfree) char *node = NULL;
    Changing *changing = xcalloc(1, sizeof *changing);
    Error *err = one ? named_node(ask->of->with.store, wait->node, &node) : NULL;

    changing->wish.wait_ms = wait->has_wait_ms ? wait->wait_ms : WAIT_DEFAULT_MS;
    if (changing->wish.wait_ms > WAIT_MAX_MS)
        changing->wish.wait_ms = WAIT_MAX_MS;
    if (!err && wait->revision > newest)
        err = error_new(ERROR_NOT_FOUND, "revision %" PRIu64 " does not exist, the newest is %" PRIu64, wait->revision,
                        newest);
    if (!err)
        err = watch(ask, changing, wait->revision ? wait->revision : newest, node, now);
    if (err) {
        changing_done(changing);
        ask_fail(ask, err);
        return;
    }
    ask_keep(ask, &changing_type, changing);
    if (force_tell(ask, changing, true, now))
        ask->answered = true;
}

bool change_ask_is(const Ask *ask)
{
    return ask->type == &changing_type;
}

void change_ask_refused(Ask *ask, uint64_t revision, const char *node, const char *why, uint64_t taken_back_by)
{
    Changing *changing = ask->type == &changing_type ? ask->data : NULL;

    if (!changing || !changing->wait)
        return;
    wait_refused(changing->wait, revision, node, why, taken_back_by);
    ask->at = 0;
}
