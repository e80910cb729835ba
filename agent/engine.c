#include "engine.h"

#include "base/alloc.h"
#include "base/log.h"
#include "local/local.h"

#include <stdlib.h>
#include <string.h>

enum {
    CONNECT_AGAIN_MS = 1000,
    LOOK_MS = 1000, /* how old the view may get */
    LOOK_WAIT_MS = 10000,
};

typedef enum Request { NO_REQUEST, OURS, THEIRS } Request; /* ours: EngineState; theirs: by engine_ask */

struct Engine {
    char *socket;
    LocalPeer *peer;
    Envelope *is;      /* last EngineIs */
    Envelope *result;  /* last TaskResult of theirs; NULL: none */
    uint64_t life;     /* of mail-engine; 0: not known */
    uint64_t happened; /* newest happening of that life that was handed out */
    bool first_life;   /* ... and it is the first that we see */
    EngineView view;
    char *trouble;
    Msec connect_at, look_at;

    Request request;
    uint64_t id;
    Msec until;
    EngineAnswer answer; /* of theirs */
    bool answered;
    Error *why;
};

Engine *engine_new(const char *socket)
{
    Engine *engine = xcalloc(1, sizeof *engine);

    engine->socket = xstrdup(socket);
    return engine;
}

void engine_free(Engine **engine)
{
    if (!*engine)
        return;
    local_peer_free(&(*engine)->peer);
    envelope_free(&(*engine)->is);
    envelope_free(&(*engine)->result);
    error_free(&(*engine)->why);
    free((*engine)->socket);
    free((*engine)->trouble);
    free(*engine);
    *engine = NULL;
}

EngineView engine_view(const Engine *engine)
{
    EngineView view = engine->view;

    view.trouble = engine->trouble;
    return view;
}

const Mail__EngineIs *engine_is(const Engine *engine)
{
    return engine->view.link == ENGINE_THERE && engine->is ? engine->is->engine_is : NULL;
}

static void request_over(Engine *engine, EngineAnswer answer)
{
    if (engine->request == THEIRS) {
        engine->answer = answer;
        engine->answered = true;
    }
    engine->request = NO_REQUEST;
}

/* Takes err. */
static void lose(Engine *engine, Error *err, Msec now)
{
    if (!engine->trouble || strcmp(engine->trouble, err->what) != 0)
        log_warning("mail-engine is away, trying again", kv("why", err->what));
    free(engine->trouble);
    engine->trouble = xstrdup(err->what);
    error_free(&err);
    local_peer_free(&engine->peer);
    engine->view.link = ENGINE_AWAY;
    engine->connect_at = now + CONNECT_AGAIN_MS;
    request_over(engine, ENGINE_LOST);
}

static void connect_now(Engine *engine, Msec now)
{
    Error *err = local_connect(engine->socket, "mail-agent", &engine->peer);
    if (err) {
        lose(engine, err, now);
        return;
    }
    if (local_peer_uid(engine->peer) != 0) {
        lose(engine,
             error_new(ERROR_DENIED, "%s is held by uid %u, not by root", engine->socket,
                       (unsigned)local_peer_uid(engine->peer)),
             now);
        return;
    }
    engine->view.link = ENGINE_LOOKING;
    engine->view.life++;
    engine->look_at = now;
}

static bool request_send(Engine *engine, Envelope *request, Request whose, Msec until)
{
    if (!local_send(engine->peer, request))
        return false;
    engine->request = whose;
    engine->id = request->id;
    engine->until = until;
    return true;
}

static void look(Engine *engine, Msec now)
{
    Envelope request = MAIL__ENVELOPE__INIT;
    Mail__EngineState state = MAIL__ENGINE_STATE__INIT;

    request.body_case = MAIL__ENVELOPE__BODY_ENGINE_STATE;
    state.has_life = state.has_happened = true;
    state.life = engine->life;
    state.happened = engine->happened;
    request.engine_state = &state;
    engine->look_at = now + LOOK_MS;
    request_send(engine, &request, OURS, now + LOOK_WAIT_MS);
}

/* Takes the envelope.  False: it makes no sense. */
static bool take_is(Engine *engine, Envelope **envelope, Msec now)
{
    const Mail__EngineIs *is = (*envelope)->engine_is;
    Digest config = {{0}};

    if (is->config_digest.len && !digest_from(is->config_digest.data, is->config_digest.len, &config))
        return false;
    if (engine->view.link != ENGINE_THERE)
        log_info("mail-engine is there", kv("generation", is->generation), kv("revision", is->revision));
    engine->view.link = ENGINE_THERE;
    engine->view.generation = is->generation;
    engine->view.revision = is->revision;
    engine->view.config = config;
    engine->view.seen_at = now;
    free(engine->trouble);
    engine->trouble = NULL;
    if (is->life != engine->life) {
        engine->first_life = !engine->life;
        engine->life = is->life;
        engine->happened = 0;
    }
    envelope_free(&engine->is);
    engine->is = *envelope;
    *envelope = NULL;
    return true;
}

static void take(Engine *engine, Envelope **envelope, Msec now)
{
    if (engine->request == NO_REQUEST || (*envelope)->in_reply_to != engine->id)
        return;
    switch ((*envelope)->body_case) {
    case MAIL__ENVELOPE__BODY_DONE:
        request_over(engine, ENGINE_DONE);
        break;
    case MAIL__ENVELOPE__BODY_FAILURE:
        error_free(&engine->why);
        engine->why = error_of((*envelope)->failure);
        if (engine->request == OURS) {
            Error *err = engine->why;
            engine->why = NULL;
            lose(engine, error_in(err, "mail-engine"), now);
        } else {
            request_over(engine, ENGINE_FAILED);
        }
        break;
    case MAIL__ENVELOPE__BODY_ENGINE_IS:
        if (take_is(engine, envelope, now))
            request_over(engine, ENGINE_DONE);
        else
            lose(engine, error_new(ERROR_INVALID, "mail-engine's digest has not its size"), now);
        break;
    case MAIL__ENVELOPE__BODY_TASK_RESULT:
        if (engine->request != THEIRS)
            break;
        envelope_free(&engine->result);
        engine->result = *envelope;
        *envelope = NULL;
        request_over(engine, ENGINE_DONE);
        break;
    default: /* progress and the like */
        break;
    }
}

static void receive_all(Engine *engine, Msec now)
{
    while (engine->peer) {
        DEFER(envelope_free) Envelope *envelope = NULL;
        uint64_t id = 0;
        Error *err = local_receive(engine->peer, &envelope, &id);
        if (err)
            lose(engine, err, now);
        else if (!envelope)
            return;
        else
            take(engine, &envelope, now);
    }
}

void engine_run(Engine *engine, Msec now)
{
    if (!engine->peer && now >= engine->connect_at)
        connect_now(engine, now);
    if (!engine->peer)
        return;
    Error *ended = local_peer_run(engine->peer);
    receive_all(engine, now); /* what it said before it hung up */
    if (ended && engine->peer) {
        lose(engine, ended, now);
        return;
    }
    error_free(&ended);
    if (!engine->peer)
        return;
    if (engine->request != NO_REQUEST && now >= engine->until) {
        lose(engine, error_new(ERROR_UNAVAILABLE, "mail-engine does not answer"), now);
        return;
    }
    if (engine->request == NO_REQUEST && !engine->answered && now >= engine->look_at)
        look(engine, now);
    ended = local_peer_run(engine->peer); /* out with it */
    if (ended)
        lose(engine, ended, now);
}

void engine_wait(Engine *engine, Waiter *wake)
{
    if (!engine->peer) {
        waiter_at(wake, engine->connect_at);
        return;
    }
    local_peer_wait(engine->peer, wake);
    waiter_at(wake, engine->request != NO_REQUEST ? engine->until : engine->look_at);
}

bool engine_free_for(const Engine *engine)
{
    return engine->view.link == ENGINE_THERE && engine->request == NO_REQUEST && !engine->answered;
}

bool engine_ask(Engine *engine, Envelope *request, Msec now, Msec wait_ms)
{
    if (!engine_free_for(engine) || !request_send(engine, request, THEIRS, now + wait_ms))
        return false;
    envelope_free(&engine->result);
    Error *ended = local_peer_run(engine->peer); /* at once: the loop has run this part already */
    if (ended)
        lose(engine, ended, now);
    return true;
}

EngineAnswer engine_answer(Engine *engine, Error **ret_why)
{
    if (!engine->answered)
        return ENGINE_PENDING;
    engine->answered = false;
    if (engine->answer == ENGINE_FAILED) {
        *ret_why = engine->why;
        engine->why = NULL;
    }
    return engine->answer;
}

const Mail__TaskResult *engine_task_result(const Engine *engine)
{
    return engine->result ? engine->result->task_result : NULL;
}

const Mail__Happening *engine_happened(Engine *engine, bool *ret_known)
{
    const Mail__EngineIs *is = engine_is(engine);

    for (size_t i = 0; is && is->life && i < is->n_happenings; i++)
        if (is->happenings[i]->number > engine->happened) { /* oldest first */
            engine->happened = is->happenings[i]->number;
            *ret_known = engine->first_life;
            return is->happenings[i];
        }
    engine->first_life = false;
    return NULL;
}
