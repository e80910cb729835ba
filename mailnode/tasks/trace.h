/* trace.h - the route of a message through this node, from the lines that Postfix and Rspamd wrote
 *
 * Asked for by queue id, by Message-ID or by an address; where it is an address, attempts that were refused or put off
 * are shown, too.  The lines are hostile: senders, recipients, HELO names and Message-IDs are what a peer liked to write.
 * So fields are read where the daemon puts them, quotes and all, and compared as a whole; no pattern comes from anybody.
 *
 * Order of calls: trace_new, trace_join for what belongs to it, each line to trace_look, then each line once more to trace_step, which says whether it belongs
 * to what was asked for.  A message that became another one (a bounce) is followed where the first look meets both.
 */
#pragma once
#include "base/buf.h"
#include "base/error.h"
#include "tasks/trace_line.h"

#include <stdbool.h>
#include <time.h>

enum {
    TRACE_WANTED_MAX = 1000,
    TRACE_JOINED_MAX = 50,
    TRACE_IDS_MAX = 1000,
    TRACE_STEPS_MAX = 2000,
    TRACE_LINE_MAX = 16 * 1024,
    TRACE_MS = 30000
};

typedef struct Trace Trace;

typedef struct TraceStep {
    char time[15];                       /* "11-28 19:09:18": Postfix writes no year */
    const char *what;                    /* "accepted", "delivered" ...; a constant, "" for what has no name */
    char program[TRACE_PROGRAM_MAX + 1]; /* "submission/smtpd"; printable */
    char id[TRACE_ID_MAX + 1];           /* of the queue; "-": it had none yet */
    Buf text;                            /* "client=..."; escaped, cut where it is long */
    char *message_id; /* of a step that says it; NULL: it does not, or it is none that may be asked for */
} TraceStep;

/* INVALID: nothing that a line could have.  '<' and '>' around it are left out. */
CHECKED Error *trace_new(const char *wanted, Trace **ret_trace);
/* A Message-ID is the sender's to choose: it is compared with those of messages alone, so that no address can pose as one. */
CHECKED Error *trace_join(Trace *trace, const char *message_id); /* INVALID also of more than TRACE_JOINED_MAX */
void trace_free(Trace **trace);

void trace_look(Trace *trace, const char *line);
bool trace_step(const Trace *trace, const char *line, TraceStep *ret_step); /* for trace_step_done */
void trace_step_done(TraceStep *step);
bool trace_full(const Trace *trace); /* there were more messages than are followed */

/* Hears of each step in the order of their times, which Postfix writes without a year: seconds since 1970, too. */
typedef Error *TraceHeard(void *context, TraceStep *step, time_t time);

/* All of it: opens the logs of the node below 'root' and their older parts as root, and reads them as nobody, which this
 * process then is for ever.  No step at all is no error.  *ret_more: there are more than were told.
 * UNAVAILABLE: there is more than can be read in TRACE_MS. */
CHECKED Error *trace_node(const char *root, Trace *trace, TraceHeard *heard, void *context, bool *ret_more);
