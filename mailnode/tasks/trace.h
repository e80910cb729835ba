/* trace.h - the route of a message through this node, from the lines that Postfix and Rspamd wrote
 *
 * Asked for by queue id, by Message-ID or by an address; where it is an address, attempts that were refused or put off
 * are shown, too.  The lines are hostile: senders, recipients, HELO names and Message-IDs are what a peer liked to write.
 * So fields are read where the daemon puts them, quotes and all, and compared as a whole; no pattern comes from anybody.
 *
 * Order of calls: trace_new, each line to trace_look, then each line once more to trace_step, which says whether it belongs
 * to what was asked for.  A message that became another one (a bounce) is followed where the first look meets both.
 */
#pragma once
#include "base/buf.h"
#include "base/error.h"

#include <stdbool.h>
#include <stdio.h>

enum {
    TRACE_WANTED_MAX = 1000,
    TRACE_IDS_MAX = 1000,
    TRACE_STEPS_MAX = 2000,
    TRACE_LINE_MAX = 16 * 1024,
    TRACE_MS = 30000
};

typedef struct Trace Trace;

typedef struct TraceStep {
    char time[15];    /* "11-28 19:09:18": Postfix writes no year */
    const char *what; /* "accepted", "delivered" ...; a constant, "" for what has no name */
    Buf text;         /* "smtpd  4jcKb20Grmz1cK60  client=..."; escaped, cut where it is long */
} TraceStep;

/* INVALID: nothing that a line could have.  '<' and '>' around it are left out. */
CHECKED Error *trace_new(const char *wanted, Trace **ret_trace);
void trace_free(Trace **trace);

void trace_look(Trace *trace, const char *line);
bool trace_step(const Trace *trace, const char *line, TraceStep *ret_step); /* its text is the caller's to free */
bool trace_full(const Trace *trace); /* there were more messages than are followed */

/* All of it: opens the logs of the node below 'root' and their older parts as root, reads them as nobody, and writes the
 * steps in the order of their times.  NOT_FOUND: no line; UNAVAILABLE: there is more than can be read in TRACE_MS. */
CHECKED Error *trace_node(const char *root, const char *wanted, FILE *out);
