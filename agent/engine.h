/* engine.h - the agent's side of mail-engine's socket
 *
 * Connects by itself, again each second while mail-engine is not there, and asks for
 * EngineState after each connection and each second.  One request is under way at a
 * time: engine_ask, then engine_answer by who asked, until it is no longer PENDING.
 * The peer must be root: whoever else sits on the socket is refused.
 */
#pragma once
#include "base/loop.h"
#include "local/envelope.h"
#include "seal/digest.h"

typedef struct Engine Engine;

typedef enum EngineLink {
    ENGINE_AWAY,
    ENGINE_LOOKING, /* connected, its state is not known yet */
    ENGINE_THERE,
} EngineLink;

typedef struct EngineView {
    EngineLink link;
    unsigned life; /* rises with each connection */
    uint64_t generation, revision;
    Digest config;       /* sum over the configuration in force */
    const char *trouble; /* NULL: none */
    Msec seen_at;        /* when it last told its state */
} EngineView;

Engine *engine_new(const char *socket);
void engine_free(Engine **engine);
void engine_run(Engine *engine, Msec now);
void engine_wait(Engine *engine, Waiter *wake);

EngineView engine_view(const Engine *engine);
const Mail__EngineIs *engine_is(const Engine *engine); /* facts; NULL: nothing known */

/* The oldest happening that was not handed out yet, NULL: none; it lives until the next engine_run.  *ret_known: this agent
 * has just started, and its predecessor may have written it down.  What was handed out is said to mail-engine as known. */
const Mail__Happening *engine_happened(Engine *engine, bool *ret_known);

bool engine_free_for(const Engine *engine); /* there, and no request under way */
/* False: not there, or busy.  The answer must come within wait_ms, or the connection is ended (LOST). */
bool engine_ask(Engine *engine, Envelope *request, Msec now, Msec wait_ms);

typedef enum EngineAnswer { ENGINE_PENDING, ENGINE_DONE, ENGINE_FAILED, ENGINE_LOST } EngineAnswer;
/* Takes the answer; FAILED: *ret_why is owned by the caller. */
EngineAnswer engine_answer(Engine *engine, Error **ret_why);
/* Of an EngineTask that is DONE, until the next request; NULL: it was none. */
const Mail__TaskResult *engine_task_result(const Engine *engine);
