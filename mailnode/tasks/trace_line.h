/* trace_line.h - one line that Postfix or Rspamd wrote, taken apart
 *
 * Lines are hostile: senders, recipients, HELO names and Message-IDs are what a peer liked to write.  So fields are read
 * where the daemon puts them, quotes and all.  Everything points into the line, which outlives it.
 *
 * Source: Postfix 3.7, log_whatsup() of smtpd.c and log_adhoc.c; its addresses are quoted (info_log_address_format).
 */
#pragma once
#include "base/buf.h"

#include <stdbool.h>
#include <stddef.h>
#include <time.h>

enum {
    TRACE_PROGRAM_MAX = 40,
    TRACE_ID_MAX = 32,
};

/* A piece of a line; 'at' is NULL: there is none. */
typedef struct Span {
    const char *at;
    size_t len;
} Span;

bool span_is(Span span, const char *text);
void span_show(Buf *out, Span span, size_t max); /* printable ASCII, the rest of it as \xNN; cut at about 'max' */
bool span_begins(const char *text, const char *with);

typedef struct TraceLine {
    char time[15];    /* "11-28 19:09:18": Postfix writes no year */
    Span program, id; /* "submission/smtpd"; "NOQUEUE": it had none yet */
    const char *rest;
} TraceLine;

bool trace_id_valid(Span id);
bool trace_line_read(const char *text, TraceLine *ret_line);
/* Rspamd's verdict on a message. */
bool trace_verdict_read(const char *text, TraceLine *ret_line);
bool trace_program_is(const TraceLine *line, const char *name); /* "submission/smtpd" is an smtpd */

/* "NAME<value>" at *text, which is moved behind it. */
Span trace_field(const char **text, const char *name);

/* What smtpd or a filter said to a client: "...: 550 5.1.1 no; from=<a> to=<b> proto=ESMTP helo=<c>". */
typedef struct TraceEnvelope {
    Span from, to; /* without to: it was refused before there was a recipient */
    Span answer;   /* "550 5.1.1 no"; of a filter without the first number */
} TraceEnvelope;
bool trace_envelope_read(const TraceLine *line, TraceEnvelope *ret_envelope);
bool trace_put_off(const TraceLine *line); /* the answer was 4xx */

/* "to=<b>, orig_to=<a>, relay=x, dsn=2.0.0, status=sent (250 ok)", or of qmgr "from=<a>, status=expired, ..." */
typedef struct TraceDelivery {
    Span from, to, orig_to; /* from or to */
    Span status;            /* "sent"; none where the line says none */
    const char *words;      /* behind it */
} TraceDelivery;
bool trace_delivery_read(const TraceLine *line, TraceDelivery *ret_delivery);

/* Months behind this one are of last year.  'now' is local, as the logs are. */
time_t trace_time(const char time[15], const struct tm *now);
