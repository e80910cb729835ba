/* trace.h - one question about their logs to each node that has an instance, and who could not be asked
 *
 * Order of calls: asking_nodes, as often as there is another question; what it is about is in 'read', whose node it sets.
 */
#pragma once
#include "status.h"

#include <jansson.h>

typedef struct Asking {
    Cli *cli;
    Mail__TraceRead read;
    /* Hears each part of each answer; the rows live until asking_done or the next asking_nodes. */
    void (*take)(void *context, const char *node, const Mail__TraceRows *rows);
    void *context;
    Envelope **parts;
    size_t n_parts;
    json_t *away; /* [{node, why}] */
    size_t n_away, n_asked;
    bool more; /* than was told */
} Asking;

void asking_done(Asking *asking);

/* 'named': those of the status whatever they run; otherwise those that have an instance.  A node that does not answer leaves
 * a hole that is named, not an error; what is wrong with the question is wrong everywhere. */
CHECKED Error *asking_nodes(Asking *asking, const Mail__Status *status, bool named);

void asking_away_say(const Asking *asking); /* on stderr */
/* UNAVAILABLE: nobody could be asked, or nothing was found ('any') while somebody could not; otherwise sets the exit code. */
CHECKED Error *asking_verdict(const Asking *asking, bool any, int *ret_exit);

/* Of run_trace(), where no ID was given. */
CHECKED Error *run_trace_search(Cli *cli, const Line *line, int *ret_exit);
