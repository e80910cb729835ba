#include "verbs.h"

#include "base/alloc.h"
#include "base/log.h"
#include "base/path.h"
#include "base/proc.h"
#include "engine/refresh.h"
#include "local/local.h"
#include "tables/places.h"
#include "tasks/job.h"
#include "tasks/job_run.h"
#include "tasks/node_task.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum {
    TALKS_MAX = 24, /* the agent has one, and one for each job; a person with root another */
    JOBS_MAX = 16,
    WAITING_MAX = 4, /* requests of one connection that are not answered yet */
    OBJECTS_MAX = 1000,
    FACTS_MAX = 64,
    TASK_ID_LEN = 26,
};

/* ---- connections ---- */

/* Requests wait in the order in which they came; the first one may be under way. */
typedef struct Request {
    Envelope *envelope;
    uint64_t number; /* of arrival, over all connections */
} Request;

typedef struct Talk {
    LocalPeer *peer;
    Request waiting[WAITING_MAX];
    size_t n_waiting;
    bool under_way;
    bool ended;
} Talk;

/* What is under way, one in each lane.  talk NULL: who asked is gone. */
typedef enum Lane { LANE_AT_ONCE, LANE_CHANGE, LANE_TASK, LANE_JOB, N_LANES } Lane;

/* Jobs are many at a time; each is of the first request of its connection. */
typedef struct Running {
    JobRun *run;
    LocalPeer *whose;
} Running;

struct Verbs {
    VerbsParts with;
    LocalServer *server;
    uid_t agent;
    Talk talks[TALKS_MAX];
    size_t n_talks;
    uint64_t n_requests;

    BodyCase changing; /* in LANE_CHANGE; MAIL__ENVELOPE__BODY__NOT_SET: nothing */
    LocalPeer *whose[N_LANES];
    LocalPeer *prepared_by; /* NULL: nothing is prepared, or its switch has been asked for */
    Refreshing *refreshing;
    NodeTask *task;
    Running jobs[JOBS_MAX];
    size_t n_jobs;
    bool again; /* what was under way ended with its asker */
};

static void request_drop(Talk *talk)
{
    envelope_free(&talk->waiting[0].envelope);
    talk->n_waiting--;
    memmove(talk->waiting, talk->waiting + 1, talk->n_waiting * sizeof *talk->waiting);
    talk->under_way = false;
}

static Talk *talk_of(Verbs *verbs, const LocalPeer *peer)
{
    for (size_t i = 0; peer && i < verbs->n_talks; i++)
        if (verbs->talks[i].peer == peer)
            return &verbs->talks[i];
    return NULL;
}

/* Answers the first request of a connection, which is then over. */
static void reply(Talk *talk, Envelope *envelope)
{
    envelope->in_reply_to = talk->waiting[0].envelope->id;
    envelope->has_in_reply_to = envelope->has_last = envelope->last = true;
    talk->ended = !local_send(talk->peer, envelope) || talk->ended;
    request_drop(talk);
}

/* Takes err; NULL is Done. */
static void reply_outcome(Talk *talk, Error *err)
{
    Envelope envelope = MAIL__ENVELOPE__INIT;
    Mail__Done done = MAIL__DONE__INIT;
    Mail__Failure failure = MAIL__FAILURE__INIT;

    envelope.body_case = err ? MAIL__ENVELOPE__BODY_FAILURE : MAIL__ENVELOPE__BODY_DONE;
    if (err) {
        failure = failure_of(err);
        envelope.failure = &failure;
    } else {
        envelope.done = &done;
    }
    reply(talk, &envelope);
    error_free(&err);
}

/* ---- EngineIs ---- */

static void reply_is(Verbs *verbs, Talk *talk, uint64_t happened, Msec now)
{
    Envelope envelope = MAIL__ENVELOPE__INIT;
    Mail__EngineIs is = MAIL__ENGINE_IS__INIT;
    Mail__Fact *facts[FACTS_MAX];
    Mail__Fact *const *more = NULL;
    Mail__Happening *const *happenings = NULL;
    InForce in_force = change_in_force(verbs->with.change);

    size_t n = supervise_facts(verbs->with.supervise, now, &more);
    for (size_t i = 0; i < n && is.n_facts < FACTS_MAX; i++)
        facts[is.n_facts++] = more[i];
    n = change_facts(verbs->with.change, now, &more);
    for (size_t i = 0; i < n && is.n_facts < FACTS_MAX; i++)
        facts[is.n_facts++] = more[i];
    for (size_t i = 0; i < is.n_facts; i++)
        words_mend(facts[i]->text); /* words of daemons, and of certificates, are in them */
    is.facts = facts;
    is.n_happenings = happened_list(verbs->with.happened, happened, now, &happenings);
    is.happenings = (Mail__Happening **)happenings; /* NOLINT: packing writes nothing */
    is.made = (Mail__PublicMade **)(uintptr_t)made_list(verbs->with.made, &is.n_made);
    is.has_life = is.has_generation = is.has_revision = is.has_config_digest = true;
    is.life = happened_life(verbs->with.happened);
    is.generation = in_force.generation;
    is.revision = in_force.revision;
    is.config_digest = (ProtobufCBinaryData){.len = DIGEST_SIZE, .data = in_force.config.octets};
    envelope.body_case = MAIL__ENVELOPE__BODY_ENGINE_IS;
    envelope.engine_is = &is;
    reply(talk, &envelope);
}

/* ---- the verbs: each begins; without an error it is answered now or later ---- */

static Error *state_begin(Verbs *verbs, Talk *talk, Msec now)
{
    const Mail__EngineState *asked = talk->waiting[0].envelope->engine_state;

    reply_is(verbs, talk, asked->life == happened_life(verbs->with.happened) ? asked->happened : 0, now);
    return NULL;
}

static Error *objects_check(const Mail__EnginePrepare *prepare)
{
    if (prepare->n_objects > OBJECTS_MAX)
        return error_new(ERROR_INVALID, "%zu objects of configuration, at most %d", prepare->n_objects, OBJECTS_MAX);
    for (size_t i = 0; i < prepare->n_objects; i++) {
        size_t len = prepare->objects[i].len;
        if (len == 0 || len > OBJECT_BYTES_MAX)
            return error_new(ERROR_INVALID, "object %zu has %zu octets: 1 to %d", i + 1, len, OBJECT_BYTES_MAX);
    }
    return NULL;
}

static Error *prepare_begin(Verbs *verbs, Talk *talk, Msec now)
{
    const Mail__EnginePrepare *prepare = talk->waiting[0].envelope->engine_prepare;

    verbs->prepared_by = NULL;
    Error *err = objects_check(prepare);
    return err ? err : change_prepare(verbs->with.change, prepare, now);
}

static Error *switch_begin(Verbs *verbs, Talk *talk, Msec now)
{
    Error *err = change_switch(verbs->with.change, talk->waiting[0].envelope->engine_switch->revision, now);

    if (!err)
        verbs->prepared_by = NULL;
    return err;
}

static Error *abort_begin(Verbs *verbs, Talk *talk, Msec now)
{
    (void)now;
    verbs->prepared_by = NULL;
    change_abort(verbs->with.change);
    reply_outcome(talk, NULL);
    return NULL;
}

static Error *refresh_begin(Verbs *verbs, Talk *talk, Msec now)
{
    const Mail__EngineRefresh *asked = talk->waiting[0].envelope->engine_refresh;
    InForce in_force = change_in_force(verbs->with.change);
    (void)now;

    if (asked->public_)
        made_again(verbs->with.made);
    return refreshing_start(&in_force, verbs->with.root, asked, &verbs->refreshing);
}

/* Is this for a process of its own? */
static bool is_job(const Envelope *envelope)
{
    const Mail__EngineTask *asked =
        envelope->body_case == MAIL__ENVELOPE__BODY_ENGINE_TASK ? envelope->engine_task : NULL;

    return asked && (asked->read || asked->trace || (asked->task && job_verb(asked->task->verb_case)));
}

static Error *job_begin(Verbs *verbs, Talk *talk)
{
    JobRun *run = NULL;

    Error *err = job_run_start(verbs->with.root, talk->waiting[0].envelope, &run);
    if (!err)
        verbs->jobs[verbs->n_jobs++] = (Running){.run = run, .whose = talk->peer};
    return err;
}

static Error *task_begin(Verbs *verbs, Talk *talk, Msec now)
{
    const Mail__TaskStart *task = talk->waiting[0].envelope->engine_task->task;
    const NodeTaskParts parts = {
        .root = verbs->with.root, .change = verbs->with.change, .supervise = verbs->with.supervise};

    if (task && (!task->task_id || strlen(task->task_id) != TASK_ID_LEN))
        return error_new(ERROR_INVALID, "a task has an id of %d characters", TASK_ID_LEN);
    if (is_job(talk->waiting[0].envelope))
        return job_begin(verbs, talk);
    if (!task)
        return error_new(ERROR_INVALID, "there is no task in it");
    return node_task_start(&parts, task, now, &verbs->task);
}

/* The closed list.  Whatever else is asked ends the connection. */
static const struct Row {
    BodyCase body;
    Lane lane;
    Error *(*begin)(Verbs *verbs, Talk *talk, Msec now);
} rows[] = {
    {MAIL__ENVELOPE__BODY_ENGINE_STATE, LANE_AT_ONCE, state_begin},
    {MAIL__ENVELOPE__BODY_ENGINE_PREPARE, LANE_CHANGE, prepare_begin},
    {MAIL__ENVELOPE__BODY_ENGINE_SWITCH, LANE_CHANGE, switch_begin},
    {MAIL__ENVELOPE__BODY_ENGINE_ABORT, LANE_CHANGE, abort_begin},
    {MAIL__ENVELOPE__BODY_ENGINE_REFRESH, LANE_CHANGE, refresh_begin},
    {MAIL__ENVELOPE__BODY_ENGINE_TASK, LANE_TASK, task_begin},
};

static const struct Row *row_of(BodyCase body)
{
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (rows[i].body == body)
            return &rows[i];
    return NULL;
}

static Lane lane_of(const Envelope *envelope)
{
    return is_job(envelope) ? LANE_JOB : row_of(envelope->body_case)->lane;
}

/* ---- what arrives ---- */

static void talk_refuse(Talk *talk, uint64_t id, Error *err)
{
    Envelope envelope = MAIL__ENVELOPE__INIT;
    Mail__Failure failure = failure_of(err);

    envelope.body_case = MAIL__ENVELOPE__BODY_FAILURE;
    envelope.failure = &failure;
    envelope.in_reply_to = id;
    envelope.has_in_reply_to = id != 0;
    envelope.has_last = envelope.last = true;
    talk->ended = !local_send(talk->peer, &envelope) || talk->ended;
    error_free(&err);
}

/* Says why, and hangs up.  Takes err. */
static void talk_end(Talk *talk, uint64_t id, Error *err)
{
    log_warning("connection ended: it is not the agent's way", kv("pid", (long)local_peer_pid(talk->peer)),
                kv("why", err->what));
    talk_refuse(talk, id, err);
    talk->ended = true;
    err = local_peer_run(talk->peer); /* out with it */
    error_free(&err);
}

/* Who says this has one request under way, or none any more: the answer is that request's. */
static void cancel(const Verbs *verbs, const Talk *talk)
{
    for (size_t i = 0; i < verbs->n_jobs; i++)
        if (verbs->jobs[i].whose == talk->peer)
            job_run_cancel(verbs->jobs[i].run);
}

static void take(Verbs *verbs, Talk *talk, Envelope **envelope)
{
    if ((*envelope)->body_case == MAIL__ENVELOPE__BODY_TASK_CANCEL) {
        cancel(verbs, talk);
        return;
    }
    if (!row_of((*envelope)->body_case)) {
        talk_end(talk, (*envelope)->id,
                 error_new(ERROR_INVALID, "%s: nobody asks this of mail-engine", body_name((*envelope)->body_case)));
        return;
    }
    if (talk->n_waiting == WAITING_MAX) {
        talk_end(talk, (*envelope)->id, error_new(ERROR_INVALID, "%d requests at once are enough", WAITING_MAX));
        return;
    }
    talk->waiting[talk->n_waiting++] = (Request){.envelope = *envelope, .number = ++verbs->n_requests};
    *envelope = NULL;
}

static void hear(Verbs *verbs, Talk *talk)
{
    Error *ended = local_peer_run(talk->peer);

    while (!talk->ended) {
        DEFER(envelope_free) Envelope *envelope = NULL;
        uint64_t id = 0;
        Error *err = local_receive(talk->peer, &envelope, &id);
        if (err && err->code == ERROR_UNSUPPORTED)
            talk_refuse(talk, id, err); /* a newer agent's verb */
        else if (err)
            talk_end(talk, id, err);
        else if (!envelope)
            break;
        else
            take(verbs, talk, &envelope);
    }
    talk->ended = talk->ended || ended;
    error_free(&ended);
}

static bool may_come(const Verbs *verbs, const LocalPeer *peer)
{
    uid_t uid = local_peer_uid(peer);

    return (uid == 0 || uid == verbs->agent) && verbs->n_talks < TALKS_MAX;
}

static void accept_all(Verbs *verbs, Msec now)
{
    for (LocalPeer *peer; (peer = local_accept(verbs->server, now));) {
        if (may_come(verbs, peer)) {
            verbs->talks[verbs->n_talks++] = (Talk){.peer = peer};
            continue;
        }
        log_warning("connection refused", kv("uid", (unsigned)local_peer_uid(peer)),
                    kv("pid", (long)local_peer_pid(peer)));
        local_peer_free(&peer);
    }
}

/* ---- what goes away ---- */

static void job_drop(Verbs *verbs, size_t i)
{
    job_run_free(&verbs->jobs[i].run);
    verbs->jobs[i] = verbs->jobs[--verbs->n_jobs];
}

static void jobs_forget(Verbs *verbs, const LocalPeer *peer)
{
    for (size_t i = 0; i < verbs->n_jobs;)
        if (verbs->jobs[i].whose == peer)
            job_drop(verbs, i);
        else
            i++;
}

/* What it prepared is nobody's any more; a switch, a refresh and the daemons go on. */
static void forget(Verbs *verbs, const LocalPeer *peer)
{
    bool preparing = verbs->changing == MAIL__ENVELOPE__BODY_ENGINE_PREPARE && verbs->whose[LANE_CHANGE] == peer;

    if (preparing || verbs->prepared_by == peer) {
        verbs->prepared_by = NULL;
        change_abort(verbs->with.change);
    }
    if (verbs->whose[LANE_TASK] == peer)
        node_task_free(&verbs->task);
    jobs_forget(verbs, peer);
    for (Lane lane = 0; lane < N_LANES; lane++)
        if (verbs->whose[lane] == peer)
            verbs->whose[lane] = NULL;
}

static void talk_free(Talk *talk)
{
    for (size_t i = 0; i < talk->n_waiting; i++)
        envelope_free(&talk->waiting[i].envelope);
    local_peer_free(&talk->peer);
}

/* True: somebody has gone, and what he was in the way of may begin. */
static bool sweep(Verbs *verbs)
{
    size_t n = verbs->n_talks, left = 0;

    for (size_t i = 0; i < verbs->n_talks; i++) {
        Talk *talk = &verbs->talks[i];
        if (talk->ended) {
            forget(verbs, talk->peer);
            talk_free(talk);
        } else {
            verbs->talks[left++] = *talk;
        }
    }
    verbs->n_talks = left;
    return left < n;
}

/* ---- what is under way ---- */

static void change_over(Verbs *verbs, Error *err, Msec now)
{
    LocalPeer *peer = verbs->whose[LANE_CHANGE];
    Talk *talk = talk_of(verbs, peer);
    BodyCase body = verbs->changing;

    verbs->changing = MAIL__ENVELOPE__BODY__NOT_SET;
    verbs->whose[LANE_CHANGE] = NULL;
    if (body == MAIL__ENVELOPE__BODY_ENGINE_PREPARE && !err)
        verbs->prepared_by = peer;
    if (talk && body == MAIL__ENVELOPE__BODY_ENGINE_SWITCH && !err)
        reply_is(verbs, talk, UINT64_MAX, now); /* happenings are told to those who ask for them */
    else if (talk)
        reply_outcome(talk, err);
    else
        error_free(&err);
}

static void change_mind(Verbs *verbs, Msec now)
{
    Error *err = NULL;

    if (verbs->refreshing) {
        if (!refreshing_run(verbs->refreshing, now))
            return;
        err = refreshing_error(verbs->refreshing);
        refreshing_free(&verbs->refreshing);
    } else if (change_answer(verbs->with.change, &err) == CHANGE_PENDING) {
        return;
    }
    change_over(verbs, err, now);
}

static void task_mind(Verbs *verbs, Msec now)
{
    Envelope envelope = MAIL__ENVELOPE__INIT;
    Talk *talk = talk_of(verbs, verbs->whose[LANE_TASK]);

    if (!node_task_run(verbs->task, now))
        return;
    envelope.body_case = MAIL__ENVELOPE__BODY_TASK_RESULT;
    envelope.task_result = (Mail__TaskResult *)node_task_result(verbs->task); /* NOLINT: packing writes nothing */
    verbs->whose[LANE_TASK] = NULL;
    if (talk)
        reply(talk, &envelope);
    node_task_free(&verbs->task);
}

/* What one job says is said to who asked.  True: that was its last word. */
static bool job_pass(Talk *talk, JobRun *run)
{
    for (Envelope *said; !talk->ended && (said = job_run_next(run)); envelope_free(&said)) {
        bool last = said->last;
        said->id = 0;
        said->has_id = false;
        said->in_reply_to = talk->waiting[0].envelope->id;
        said->has_in_reply_to = true;
        talk->ended = !local_send(talk->peer, said) || talk->ended;
        if (!last)
            continue;
        envelope_free(&said);
        return true;
    }
    return false;
}

static void jobs_mind(Verbs *verbs)
{
    for (size_t i = 0; i < verbs->n_jobs;) {
        Talk *talk = talk_of(verbs, verbs->jobs[i].whose);
        if (!talk || !job_pass(talk, verbs->jobs[i].run)) {
            i++;
            continue;
        }
        request_drop(talk);
        job_drop(verbs, i);
    }
    job_run_sweep();
}

static bool lane_free(const Verbs *verbs, Lane lane)
{
    switch (lane) {
    case LANE_CHANGE:
        return verbs->changing == MAIL__ENVELOPE__BODY__NOT_SET && !change_busy(verbs->with.change);
    case LANE_TASK:
        return !verbs->task;
    case LANE_JOB:
        return verbs->n_jobs < JOBS_MAX;
    case LANE_AT_ONCE:
    case N_LANES:
        break;
    }
    return true;
}

/* The oldest request that is the first of its connection, and whose lane is free. */
static Talk *next(Verbs *verbs)
{
    Talk *found = NULL;

    for (size_t i = 0; i < verbs->n_talks; i++) {
        Talk *talk = &verbs->talks[i];
        if (talk->ended || talk->under_way || !talk->n_waiting)
            continue;
        if (lane_free(verbs, lane_of(talk->waiting[0].envelope)) &&
            (!found || talk->waiting[0].number < found->waiting[0].number))
            found = talk;
    }
    return found;
}

static void begin(Verbs *verbs, Talk *talk, Msec now)
{
    const struct Row *row = row_of(talk->waiting[0].envelope->body_case);
    uint64_t number = talk->waiting[0].number;

    Error *err = row->begin(verbs, talk, now);
    if (err) {
        reply_outcome(talk, err);
        return;
    }
    if (!talk->n_waiting || talk->waiting[0].number != number)
        return; /* answered */
    talk->under_way = true;
    if (lane_of(talk->waiting[0].envelope) != LANE_JOB)
        verbs->whose[row->lane] = talk->peer;
    if (row->lane == LANE_CHANGE)
        verbs->changing = row->body;
}

/* What has ended makes place.  NULL: nothing can begin now. */
static Talk *under_way(Verbs *verbs, Msec now)
{
    if (verbs->changing != MAIL__ENVELOPE__BODY__NOT_SET)
        change_mind(verbs, now);
    if (verbs->task)
        task_mind(verbs, now);
    jobs_mind(verbs);
    return next(verbs);
}

/* ---- the whole ---- */

static Error *listen_for(Verbs *verbs)
{
    Path path = path_in(verbs->with.root, "%s/engine/engine.sock", &PLACE_RUN[3]);
    gid_t gid = 0;

    Error *err = proc_user("mailagent", &verbs->agent, &gid);
    if (!err)
        err = proc_group("mailagent", &gid);
    return err ? err : local_listen(path.text, 0660, gid, &verbs->server);
}

Error *verbs_new(const VerbsParts *parts, Verbs **ret_verbs)
{
    DEFER(verbs_free) Verbs *verbs = xcalloc(1, sizeof *verbs);

    verbs->with = *parts;
    Error *err = listen_for(verbs);
    if (err)
        return err;
    *ret_verbs = verbs;
    verbs = NULL;
    return NULL;
}

void verbs_free(Verbs **verbs)
{
    if (!*verbs)
        return;
    for (size_t i = 0; i < (*verbs)->n_talks; i++)
        talk_free(&(*verbs)->talks[i]);
    while ((*verbs)->n_jobs)
        job_drop(*verbs, 0);
    refreshing_free(&(*verbs)->refreshing);
    node_task_free(&(*verbs)->task);
    local_server_free(&(*verbs)->server);
    xfree(verbs);
}

void verbs_run(Verbs *verbs, Msec now)
{
    accept_all(verbs, now);
    for (size_t i = 0; i < verbs->n_talks; i++)
        hear(verbs, &verbs->talks[i]);
    sweep(verbs);
    for (Talk *talk; (talk = under_way(verbs, now));)
        begin(verbs, talk, now);
    for (size_t i = 0; i < verbs->n_talks; i++) {
        Error *ended = local_peer_run(verbs->talks[i].peer); /* out with it */
        verbs->talks[i].ended = verbs->talks[i].ended || ended;
        error_free(&ended);
    }
    verbs->again = sweep(verbs);
}

void verbs_wait(Verbs *verbs, Waiter *wake)
{
    if (verbs->again)
        waiter_now(wake);
    local_server_wait(verbs->server, wake);
    for (size_t i = 0; i < verbs->n_talks; i++)
        local_peer_wait(verbs->talks[i].peer, wake);
    if (verbs->refreshing)
        refreshing_wait(verbs->refreshing, wake);
    if (verbs->task)
        node_task_wait(verbs->task, wake);
    for (size_t i = 0; i < verbs->n_jobs; i++)
        job_run_wait(verbs->jobs[i].run, wake);
}
