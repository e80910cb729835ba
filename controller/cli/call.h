/* call.h - one request and the envelopes that answer it
 *
 *     call_begin; then call_next until it gives none
 *
 * Connects with the first request.  Sets the exit code that the link decides: 8 when
 * nothing was sent (or nothing was to be changed), 9 when a change was sent and no
 * word came back.
 */
#pragma once
#include "cli.h"

typedef struct Call {
    Cli *cli;
    uint64_t id;
    bool changes; /* lost after sending means: nobody knows */
    bool any;     /* also a failure that answers another request: apply sends several */
    bool ended;   /* the last answer was there */
    Msec until;   /* the caller goes on by itself then: call_next gives none and 'ended' is false; MSEC_NEVER */
} Call;

CHECKED Error *call_open(Cli *cli);
CHECKED Error *call_begin(Cli *cli, Envelope *envelope, bool changes, Call *ret_call);

/* *ret_envelope (owned by the caller) NULL: no more.  A failure is the controller's own error. */
CHECKED Error *call_next(Call *call, Envelope **ret_envelope);

/* Sends one more part; no answer is waited for, but one that has come is taken: a failure ends it. */
CHECKED Error *call_part(Call *call, Envelope *envelope);

/* For requests that are answered once. */
CHECKED Error *call_one(Cli *cli, Envelope *envelope, bool changes, Envelope **ret_envelope);
