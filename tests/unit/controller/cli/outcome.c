#include "outcome.h"

#include "base/alloc.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

enum { NODES_MAX = 8 };

/* What a change is told to have become, and what a script is to make of it. */
static const struct {
    struct {
        const char *node;
        Mail__ForceState state;
        uint64_t took_ms;
        const char *why;
    } nodes[NODES_MAX];
    uint64_t reverted_by;
    const char *text;
    int exit;
} cases[] = {
    {{{0}}, 0, "revision 43", 0},
    {{{"mx1", MAIL__FORCE_STATE__IN_FORCE, 4, NULL}}, 0, "revision 43, in force on mx1 (4 ms)", 0},
    {{{"mx1", MAIL__FORCE_STATE__IN_FORCE, 4, NULL}, {"mx2", MAIL__FORCE_STATE__IN_FORCE, 1200, NULL}},
     0,
     "revision 43, in force on mx1 (4 ms), mx2 (1.2 s)",
     0},
    {{{"mx2", MAIL__FORCE_STATE__PENDING, 0, "offline since 10:41"}},
     0,
     "revision 43; mx2 offline since 10:41, will follow",
     7},
    {{{"mx2", MAIL__FORCE_STATE__PENDING, 0, NULL}}, 0, "revision 43; mx2 has not confirmed it yet, will follow", 7},
    {{{"mx1", MAIL__FORCE_STATE__IN_FORCE, 4, NULL}, {"mx2", MAIL__FORCE_STATE__PENDING, 0, "needs 1.3"}},
     0,
     "revision 43; in force on mx1 (4 ms); pending: mx2 needs 1.3",
     7},
    {{{"mx2", MAIL__FORCE_STATE__HELD, 0, "smtpd does not come up"}},
     0,
     "revision 43; mx2 keeps its last good configuration: smtpd does not come up",
     7},
    {{{"mx2", MAIL__FORCE_STATE__NODE_REFUSED, 0, "no"}}, 0, "revision 43; mx2 refused it: no", 7},
    {{{"mx2", MAIL__FORCE_STATE__NODE_REFUSED, 0, "no"}}, 44, "revision 43; mx2 refused it: no", 5},
    {{{"a", MAIL__FORCE_STATE__IN_FORCE, 1, NULL},
      {"b", MAIL__FORCE_STATE__IN_FORCE, 9, NULL},
      {"c", MAIL__FORCE_STATE__IN_FORCE, 2, NULL},
      {"d", MAIL__FORCE_STATE__IN_FORCE, 3, NULL},
      {"e", MAIL__FORCE_STATE__IN_FORCE, 4, NULL},
      {"f", MAIL__FORCE_STATE__IN_FORCE, 5, NULL}},
     0,
     "revision 43, in force on 6 nodes (9 ms)",
     0},
    {{{"a", MAIL__FORCE_STATE__PENDING, 0, "x"},
      {"b", MAIL__FORCE_STATE__PENDING, 0, "x"},
      {"c", MAIL__FORCE_STATE__PENDING, 0, "x"},
      {"d", MAIL__FORCE_STATE__PENDING, 0, "x"},
      {"e", MAIL__FORCE_STATE__PENDING, 0, "x"},
      {"f", MAIL__FORCE_STATE__PENDING, 0, "x"},
      {"g", MAIL__FORCE_STATE__PENDING, 0, "x"}},
     0,
     "revision 43; a x, will follow; b x, will follow; c x, will follow; d x, will follow; e x, will follow; and 2 nodes more",
     7},
};

static void words_and_exit_codes(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Mail__NodeOutcome nodes[NODES_MAX], *pointers[NODES_MAX];
        Mail__Outcome outcome = MAIL__OUTCOME__INIT;
        outcome.revision = 43;
        outcome.reverted_by = cases[i].reverted_by;
        outcome.nodes = pointers;
        for (size_t n = 0; n < NODES_MAX && cases[i].nodes[n].node; n++) {
            mail__node_outcome__init(&nodes[n]);
            nodes[n].node = (char *)cases[i].nodes[n].node;
            nodes[n].state = cases[i].nodes[n].state;
            nodes[n].took_ms = cases[i].nodes[n].took_ms;
            nodes[n].why = (char *)cases[i].nodes[n].why;
            pointers[outcome.n_nodes++] = &nodes[n];
        }
        DEFER(xfree) char *text = outcome_text(&outcome);
        if (strcmp(text, cases[i].text) != 0)
            fail_msg("%zu: '%s'\nwanted '%s'", i, text, cases[i].text);
        if (outcome_exit(&outcome) != cases[i].exit)
            fail_msg("%zu: exit %d, wanted %d", i, outcome_exit(&outcome), cases[i].exit);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(words_and_exit_codes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
