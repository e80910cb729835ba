#include "node_decide.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

/* ours is 10 everywhere, what concerns the node newest 8 */
static const struct {
    const char *what;
    uint64_t revision, applied;
    bool chain_known, digest_equal, schema_old;
    HelloVerdict verdict;
} hellos[] = {
    {"nothing yet", 0, 0, false, false, false, HELLO_EMPTY},
    {"nothing, but tables from before", 0, 8, false, false, false, HELLO_EMPTY},
    {"nothing, but tables from a future", 0, 11, false, false, false, HELLO_FORKED},
    {"at what concerns it", 8, 8, true, true, false, HELLO_CURRENT},
    {"above it", 10, 8, true, true, false, HELLO_CURRENT},
    {"tables behind", 8, 3, true, true, false, HELLO_CURRENT},
    {"behind", 7, 7, true, false, false, HELLO_BEHIND},
    {"other content", 8, 8, true, false, false, HELLO_DRIFTED},
    {"another chain", 8, 8, false, true, false, HELLO_FORKED},
    {"another chain, behind", 5, 5, false, false, false, HELLO_FORKED},
    {"above ours", 11, 11, false, false, false, HELLO_FORKED},
    {"above ours, whatever is said of its chain", 11, 11, true, true, false, HELLO_FORKED},
    {"tables above ours", 8, 12, true, true, false, HELLO_FORKED},
    {"an old program", 7, 7, true, false, true, HELLO_TOO_OLD},
    {"an old program with nothing", 0, 0, false, false, true, HELLO_TOO_OLD},
    {"an old program on a fork", 11, 11, false, false, true, HELLO_FORKED},
};

static void every_hello(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof hellos / sizeof *hellos; i++) {
        HelloFacts facts = {.revision = hellos[i].revision,
                            .applied = hellos[i].applied,
                            .ours = 10,
                            .newest = 8,
                            .chain_known = hellos[i].chain_known,
                            .digest_equal = hellos[i].digest_equal,
                            .schema_old = hellos[i].schema_old};
        HelloVerdict verdict = hello_decide(&facts);
        if (verdict != hellos[i].verdict)
            fail_msg("%s: %s, not %s", hellos[i].what, hello_verdict_name(verdict),
                     hello_verdict_name(hellos[i].verdict));
    }
}

static void nothing_concerns_it(void **state)
{
    HelloFacts facts = {.ours = 10};

    (void)state;
    assert_int_equal(hello_decide(&facts), HELLO_CURRENT);
}

static const struct {
    const char *what;
    ConnectionFacts facts; /* there, same, same_boot, waiting */
    ConnectionVerdict verdict;
} connections[] = {
    {"the first", {false, false, false, false}, CONNECTION_COUNTS},
    {"the same again", {true, true, true, false}, CONNECTION_COUNTS},
    {"the same while another waits", {true, true, true, true}, CONNECTION_COUNTS},
    {"back before it was missed", {true, false, true, false}, CONNECTION_COUNTS},
    {"another machine", {true, false, false, false}, CONNECTION_WAITS},
    {"a third one", {true, false, false, true}, CONNECTION_IGNORED},
};

static void every_connection(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof connections / sizeof *connections; i++)
        if (connection_decide(&connections[i].facts) != connections[i].verdict)
            fail_msg("%s", connections[i].what);
}

static void silence(void **state)
{
    (void)state;
    assert_int_equal(silence_limit_ms(10000, false), 30000);
    assert_int_equal(silence_limit_ms(200, false), 3000);
    assert_int_equal(silence_limit_ms(200, true), 16000); /* it says Hello every five seconds, and nothing else */
    assert_int_equal(silence_limit_ms(10000, true), 30000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_hello),
        cmocka_unit_test(nothing_concerns_it),
        cmocka_unit_test(every_connection),
        cmocka_unit_test(silence),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
