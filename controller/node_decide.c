#include "node_decide.h"

enum {
    SILENCE_LEAST_MS = 3000,
    SILENCE_FORKED_MS = 16000, /* three Hellos of an agent that is forked */
};

HelloVerdict hello_decide(const HelloFacts *facts)
{
    if (facts->revision > facts->ours || facts->applied > facts->ours || (facts->revision && !facts->chain_known))
        return HELLO_FORKED;
    if (facts->schema_old)
        return HELLO_TOO_OLD;
    if (!facts->revision)
        return facts->newest ? HELLO_EMPTY : HELLO_CURRENT;
    if (facts->revision < facts->newest)
        return HELLO_BEHIND;
    return facts->digest_equal ? HELLO_CURRENT : HELLO_DRIFTED;
}

const char *hello_verdict_name(HelloVerdict verdict)
{
    static const char *const names[N_HELLO_VERDICTS] = {
        [HELLO_CURRENT] = "current", [HELLO_BEHIND] = "behind", [HELLO_EMPTY] = "empty",
        [HELLO_DRIFTED] = "drifted", [HELLO_FORKED] = "forked", [HELLO_TOO_OLD] = "too-old",
    };
    return names[verdict];
}

ConnectionVerdict connection_decide(const ConnectionFacts *facts)
{
    if (!facts->there || facts->same || facts->same_boot)
        return CONNECTION_COUNTS;
    return facts->waiting ? CONNECTION_IGNORED : CONNECTION_WAITS;
}

Msec silence_limit_ms(Msec report_ms, bool forked)
{
    Msec least = forked ? SILENCE_FORKED_MS : SILENCE_LEAST_MS;

    return 3 * report_ms > least ? 3 * report_ms : least;
}
