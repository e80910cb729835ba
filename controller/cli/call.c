#include "call.h"

#include "base/alloc.h"

#include <string.h>

enum {
    EXIT_USAGE = 2,
    EXIT_UNREACHED = 8,
    EXIT_LOST = 9,
    EXIT_MISMATCH = 10,
    PATIENCE_READ_MS = 60 * 1000,        /* without a word from a controller that is there */
    PATIENCE_CHANGE_MS = 15 * 60 * 1000, /* a change of 100,000 objects takes its time */
};

/* The controller says so when the key does not lead to an instance: then it is the line that lacks -i. */
static const char which_instance[] = "instance: which one?", which_domain[] = "user domain: which one?";
/* And so when the node that does it went away: it may be done. */
static const char outcome_unknown[] = "outcome unknown: ";

static bool begins(const Error *err, const char *words)
{
    return strncmp(err->what, words, strlen(words)) == 0;
}

Error *call_open(Cli *cli)
{
    if (cli->opened)
        return NULL;
    Error *err = cli->program->transport(cli, &cli->transport);
    if (err) {
        cli->exit = EXIT_USAGE;
        return err;
    }
    err = cli->transport.open(cli->transport.self);
    if (!err) {
        cli->opened = true;
        return NULL;
    }
    if (err->code == ERROR_UNSUPPORTED)
        cli->exit = EXIT_MISMATCH;
    if (err->code != ERROR_UNAVAILABLE && err->code != ERROR_SYSTEM)
        return err;
    cli->exit = EXIT_UNREACHED;
    return error_hint(error_in(err, "cannot reach the controller"), "is mail-controller running there?");
}

static Error *send(Cli *cli, Envelope *envelope)
{
    Error *err = cli->transport.send(cli->transport.self, envelope);

    /* An envelope that did not leave whole was not acted on. */
    if (err && err->code == ERROR_UNAVAILABLE)
        cli->exit = EXIT_UNREACHED;
    return err;
}

Error *call_begin(Cli *cli, Envelope *envelope, bool changes, Call *ret_call)
{
    Error *err = call_open(cli);

    if (!err)
        err = send(cli, envelope);
    if (err)
        return err;
    *ret_call = (Call){.cli = cli, .id = envelope->id, .changes = changes, .until = MSEC_NEVER};
    return NULL;
}

static Error *lost(const Call *call, Error *err)
{
    if (err->code == ERROR_UNSUPPORTED) /* it speaks a newer language */
        call->cli->exit = EXIT_MISMATCH;
    else
        call->cli->exit = call->changes ? EXIT_LOST : EXIT_UNREACHED;
    return err;
}

static Error *failure_take(const Call *call, const Envelope *envelope)
{
    Error *err = error_of(envelope->failure);

    if (err->code == ERROR_INVALID && (begins(err, which_instance) || begins(err, which_domain)))
        call->cli->exit = EXIT_USAGE;
    if (err->code == ERROR_UNAVAILABLE && call->changes && begins(err, outcome_unknown))
        call->cli->exit = EXIT_LOST;
    return err;
}

static bool is_last(const Envelope *envelope)
{
    return envelope->last || envelope->body_case == MAIL__ENVELOPE__BODY_DONE ||
           envelope->body_case == MAIL__ENVELOPE__BODY_FAILURE;
}

Error *call_next(Call *call, Envelope **ret_envelope)
{
    const Transport *transport = &call->cli->transport;
    Msec patience = clock_ms() + (call->changes ? PATIENCE_CHANGE_MS : PATIENCE_READ_MS);
    bool caller_waits = call->until != MSEC_NEVER;

    *ret_envelope = NULL;
    while (!call->ended) {
        DEFER(envelope_free) Envelope *envelope = NULL;
        Error *err = transport->next(transport->self, caller_waits ? call->until : patience, &envelope);
        if (err)
            return lost(call, err);
        if (!envelope && caller_waits)
            return NULL;
        if (!envelope)
            return lost(call, error_new(ERROR_UNAVAILABLE, "the controller at %s does not answer", transport->where));
        bool failure = envelope->body_case == MAIL__ENVELOPE__BODY_FAILURE;
        if (envelope->in_reply_to != call->id && !(call->any && failure))
            continue;
        call->ended = is_last(envelope);
        if (failure)
            return failure_take(call, envelope);
        *ret_envelope = envelope;
        envelope = NULL;
        return NULL;
    }
    return NULL;
}

Error *call_part(Call *call, Envelope *envelope)
{
    const Transport *transport = &call->cli->transport;

    for (;;) {
        DEFER(envelope_free) Envelope *said = NULL;
        Error *err = transport->next(transport->self, 0, &said);
        if (err)
            return lost(call, err);
        if (!said)
            break;
        if (said->body_case == MAIL__ENVELOPE__BODY_FAILURE)
            return failure_take(call, said);
    }
    return send(call->cli, envelope);
}

Error *call_one(Cli *cli, Envelope *envelope, bool changes, Envelope **ret_envelope)
{
    Call call;

    Error *err = call_begin(cli, envelope, changes, &call);
    if (!err)
        err = call_next(&call, ret_envelope);
    return err;
}
