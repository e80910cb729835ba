#include "requests.h"

#include "request_inside.h"

#include "base/alloc.h"
#include "base/child.h"
#include "base/crash.h"
#include "base/log.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum {
    REMOTE_MAX = 64,                 /* talks over CURVE; the one silent longest makes room */
    REMOTE_IDLE_MS = 10 * 60 * 1000, /* nothing says when a remote peer is gone */
    TAKE_MAX = 64,                   /* messages of one peer in one turn */
    REMOTE_TAKE_MAX = 1000,
};

static RequestHandler *const handlers[N_REQUEST_VERBS] = {
    [REQUEST_CHANGE] = request_change,
    [REQUEST_APPLY_BEGIN] = request_apply_begin,
    [REQUEST_APPLY_PART] = request_apply_part,
    [REQUEST_APPLY_END] = request_apply_end,
    [REQUEST_REVERT] = request_revert,
    [REQUEST_ROLLBACK] = request_rollback,
    [REQUEST_UNDELETE] = request_undelete,
    [REQUEST_LIST] = request_list,
    [REQUEST_HISTORY] = request_history,
    [REQUEST_DIFF] = request_diff,
    [REQUEST_STATUS] = request_status,
    [REQUEST_EVENTS] = request_events,
    [REQUEST_WAIT] = request_wait,
    [REQUEST_NODE_TOKEN] = request_node_token,
    [REQUEST_NODE_REVOKE] = request_node_revoke,
    [REQUEST_NODE_RESYNC] = request_node_resync,
    [REQUEST_TASK_NEW] = request_task_new,
    [REQUEST_TASK_WAIT] = request_task_wait,
    [REQUEST_TASK_STOP] = request_task_stop,
    [REQUEST_TASKS] = request_tasks,
    [REQUEST_DIRECTORY] = request_directory,
    [REQUEST_TABLES] = request_tables,
    [REQUEST_BACKUPS] = request_backups,
    [REQUEST_TRACE] = request_trace,
    [REQUEST_COPY] = request_copy,
    [REQUEST_SECRETS] = request_secrets,
};

/* ---- begin and end ---- */

/* Sums are recomputed from all objects once, before anybody is there to wait for it. */
static void audit(Requests *requests)
{
    Error *err = store_audit(requests->with.store);

    if (!err)
        return;
    requests->audit = xasprintf("the store does not add up: %s", err->what);
    log_stop(LOG_LEVEL_ERROR, "the store does not add up", &err);
}

Error *requests_new(const RequestsParts *parts, Requests **ret_requests)
{
    DEFER(requests_free) Requests *requests = xcalloc(1, sizeof *requests);

    *requests = (Requests){.with = *parts, .started_at = clock_ms(), .doors_seen = door_refused(parts->door)};
    audit(requests);
    DEFER(xfree) char *self = child_beside_us("mail-controller");
    requests->keys = keypool_new(self);
    requests->batch = batch_new(parts->store, parts->nodes, requests->keys);
    Error *err = keyless_new(parts->store, requests->batch, requests->keys, &requests->keyless);
    if (!err)
        err = admins_new(parts->store, parts->door, &requests->admins);
    if (!err)
        err = local_listen(parts->socket, 0666, (gid_t)-1, &requests->server);
    if (err)
        return err;
    *ret_requests = requests;
    requests = NULL;
    return NULL;
}

void requests_free(Requests **requests)
{
    Requests *old = *requests;

    if (!old)
        return;
    while (old->talks) {
        Talk *talk = old->talks;
        old->talks = talk->next;
        talk_free(&talk);
    }
    refusals_free(old);
    quotas_free(old);
    makings_free(old);
    keyless_free(&old->keyless);
    batch_free(&old->batch);
    keypool_free(&old->keys);
    admins_free(&old->admins);
    local_server_free(&old->server);
    free(old->audit);
    free(old);
    *requests = NULL;
}

/* ---- one request ---- */

/* The instance that a body names, for who is limited to some. */
static const char *instance_of(const Envelope *envelope)
{
    const char *instance = NULL;

    if (envelope->body_case == MAIL__ENVELOPE__BODY_ROLLBACK)
        instance = envelope->rollback->instance;
    else if (envelope->body_case == MAIL__ENVELOPE__BODY_UNDELETE)
        instance = envelope->undelete->instance;
    else
        return NULL;
    return instance ? instance : "";
}

static Ask *ask_new(Talk *talk, uint64_t id, Msec now)
{
    Ask *ask = xcalloc(1, sizeof *ask);

    *ask = (Ask){.talk = talk, .of = talk->of, .id = id, .since = now, .at = MSEC_NEVER};
    return ask;
}

/* May this caller ask this?  *ret_asker is owned by the caller, also where the answer is no. */
static Error *may_ask(Talk *talk, const Envelope *envelope, Asker **ret_asker)
{
    Error *err = admins_find(talk->of->admins, &talk->caller, ret_asker);

    return err ? err : authorise_body(*ret_asker, envelope->body_case, instance_of(envelope));
}

/* Who asked for secrets and may not have them is told of, as who may is. */
static void refusal_tell(const Ask *ask, BodyCase body, const Error *why)
{
    if (ask->asker && why->code == ERROR_DENIED &&
        (body == MAIL__ENVELOPE__BODY_SECRETS_READ || body == MAIL__ENVELOPE__BODY_STORE_COPY))
        events_add(ask->of->with.events, MAIL__FACT_STATE__DEGRADED, NULL, "secrets refused", "%s", why->what);
}

static void dispatch(Talk *talk, RequestVerb verb, Envelope **envelope, Msec now)
{
    Ask *ask = ask_new(talk, (*envelope)->id, now);
    Error *err = may_ask(talk, *envelope, &ask->asker);

    if (err)
        refusal_tell(ask, (*envelope)->body_case, err);
    if (!err && talk->n_asks >= ASKS_MAX)
        err = error_new(ERROR_UNAVAILABLE, "%d requests at once are enough", ASKS_MAX);
    if (err)
        ask_fail(ask, err);
    else
        handlers[verb](ask, envelope, now);
    if (ask->answered || !ask->type) {
        ask_free(&ask);
        return;
    }
    Ask **end = &talk->asks;
    while (*end)
        end = &(*end)->next;
    *end = ask;
    talk->n_asks++;
}

static void take(Talk *talk, Envelope **envelope, Msec now)
{
    RequestVerb verb = REQUEST_REFUSED;
    BodyCase body = (*envelope)->body_case;
    uint64_t id = (*envelope)->id;

    talk->heard_at = now;
    if (!request_decide(body, talk->greeted ? TALK_GREETED : TALK_UNGREETED, &verb))
        talk_refuse(talk, id, error_new(ERROR_UNSUPPORTED, "body %d is not known here", (int)body));
    else if (verb == REQUEST_GREETING)
        talk_greet(talk, *envelope);
    else if (verb == REQUEST_REFUSED && !talk->greeted)
        talk_refuse(talk, id, error_new(ERROR_INVALID, "%s: the first message is a greeting", body_name(body)));
    else if (verb == REQUEST_REFUSED)
        talk_refuse(talk, id, error_new(ERROR_INVALID, "%s: nobody asks this of a controller", body_name(body)));
    else
        dispatch(talk, verb, envelope, now);
}

/* ---- what arrives ---- */

/* True: there may be more. */
static bool local_take(Talk *talk, Msec now)
{
    DEFER(envelope_free) Envelope *envelope = NULL;
    uint64_t id = 0;
    Error *err = local_receive(talk->peer, &envelope, &id);

    if (err && err->code == ERROR_UNSUPPORTED) {
        talk_refuse(talk, id, err);
        return true;
    }
    if (err) {
        error_free(&err);
        talk->ended = true;
        return false;
    }
    if (!envelope)
        return false;
    take(talk, &envelope, now);
    return true;
}

/* Writes, reads, and takes what has come.  True: something came. */
static bool local_pump(Talk *talk, Msec now)
{
    size_t n = 0;
    Error *err = local_peer_run(talk->peer);

    if (err) {
        error_free(&err);
        talk->ended = true;
        return false;
    }
    while (n < TAKE_MAX && !talk->ended && local_take(talk, now)) {
        n++;
        err = local_peer_run(talk->peer);
        if (err) {
            error_free(&err);
            talk->ended = true;
        }
    }
    return n > 0;
}

static void locals_take(Requests *requests, Msec now)
{
    for (LocalPeer *peer; (peer = local_accept(requests->server, now));)
        talk_local(requests, peer, now);
    for (Talk *talk = requests->talks; talk; talk = talk->next)
        if (talk->peer && !talk->ended)
            local_pump(talk, now);
}

static Talk *remote_find(const Requests *requests, const CurveRoute *route)
{
    for (Talk *talk = requests->talks; talk; talk = talk->next)
        if (!talk->peer && !talk->ended && curve_route_equal(&talk->route, route))
            return talk;
    return NULL;
}

static void remote_make_room(Requests *requests)
{
    Talk *oldest = NULL;

    if (requests->n_remote < REMOTE_MAX)
        return;
    for (int busy = 0; busy < 2 && !oldest; busy++) /* who waits or follows is silent for a reason */
        for (Talk *talk = requests->talks; talk; talk = talk->next)
            if (!talk->peer && !talk->ended && (busy || !talk->asks) && (!oldest || talk->heard_at < oldest->heard_at))
                oldest = talk;
    if (oldest)
        oldest->ended = true;
}

static void remotes_take(Requests *requests, Msec now)
{
    Arrival arrival;

    for (int n = 0; n < REMOTE_TAKE_MAX && door_take(requests->with.door, WHOSE_ADMIN, &arrival); n++) {
        DEFER(envelope_free) Envelope *envelope = arrival.envelope;
        Talk *talk = remote_find(requests, &arrival.route);
        if (!talk) {
            remote_make_room(requests);
            talk = talk_remote(requests, &arrival.route, now);
        }
        take(talk, &envelope, now);
    }
}

/* ---- what goes on ---- */

static void asks_run(Talk *talk, Msec now)
{
    for (Ask **at = &talk->asks; *at;) {
        Ask *ask = *at;
        if (!talk->ended && !ask->type->run(ask, now) && !ask->answered) {
            at = &ask->next;
            continue;
        }
        *at = ask->next;
        talk->n_asks--;
        ask_free(&ask);
    }
}

/* Who has lost the right to ask is not told on. */
static void rights_look(Requests *requests)
{
    for (Talk *talk = requests->talks; talk; talk = talk->next) {
        DEFER(asker_free) Asker *asker = NULL;
        Error *err = admins_find(requests->admins, &talk->caller, &asker);
        if (!err)
            continue;
        for (Ask *ask = talk->asks; ask; ask = ask->next)
            /* He might when he asked, it may be done already, and "denied" would be no true word. */
            if (!change_ask_is(ask) && !directory_ask_is(ask))
                ask_fail(ask, error_copy(err));
        error_free(&err);
    }
}

static void admins_follow(Requests *requests)
{
    if (!batch_admins_changed(requests->batch))
        return;
    Error *err = admins_reload(requests->admins);
    log_stop(LOG_LEVEL_ERROR, "admins were not read: only root may ask now", &err);
    rights_look(requests);
}

static void doors_look(Requests *requests, Msec now)
{
    uint64_t refused = door_refused(requests->with.door);

    if (refused == requests->doors_seen)
        return;
    requests->doors_seen = refused;
    requests->doors_at = now;
}

static void talks_sweep(Requests *requests, Msec now)
{
    for (Talk **at = &requests->talks; *at;) {
        Talk *talk = *at;
        bool idle = !talk->peer && !talk->asks && now >= talk->heard_at + REMOTE_IDLE_MS;
        if (!talk->ended && !idle) {
            at = &talk->next;
            continue;
        }
        *at = talk->next;
        talk_free(&talk);
    }
}

void requests_run(Requests *requests, Msec now)
{
    bool worked = false;

    requests->nodes_seen = nodes_moves(requests->with.nodes);
    requests->tasks_seen = tasks_moves(requests->with.tasks);
    requests->events_seen = events_newest(requests->with.events);
    requests->again = false;
    doors_look(requests, now);
    locals_take(requests, now);
    remotes_take(requests, now);
    refusals_run(requests, now);
    quotas_run(requests);
    makings_run(requests);
    keypool_run(requests->keys, now);
    keyless_run(requests->keyless, now);
    worked = batch_run(requests->batch, now);
    admins_follow(requests);
    refusals_finish(requests, now);
    quotas_finish(requests);
    makings_finish(requests);
    for (Talk *talk = requests->talks; talk; talk = talk->next)
        asks_run(talk, now);
    for (Talk *talk = requests->talks; talk; talk = talk->next)
        if (talk->peer && !talk->ended && local_pump(talk, now))
            requests->again = true;
    if (worked)
        CRASH_POINT("controller.batch.answered");
    talks_sweep(requests, now);
}

void requests_wait(Requests *requests, Waiter *wake)
{
    local_server_wait(requests->server, wake);
    batch_wait(requests->batch, wake);
    keypool_wait(requests->keys, wake);
    if (requests->again || requests->nodes_seen != nodes_moves(requests->with.nodes) ||
        requests->tasks_seen != tasks_moves(requests->with.tasks) ||
        requests->events_seen != events_newest(requests->with.events))
        waiter_now(wake);
    for (const Talk *talk = requests->talks; talk; talk = talk->next) {
        if (talk->peer)
            local_peer_wait(talk->peer, wake);
        for (const Ask *ask = talk->asks; ask; ask = ask->next) {
            waiter_at(wake, ask->at);
            if (ask->type && ask->type->wait)
                ask->type->wait(ask, wake);
        }
    }
}
