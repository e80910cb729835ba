#include "tasks/trace.h"

#include "base/alloc.h"
#include "tasks/trace_line.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <uthash.h>

enum { SHOWN_MAX = 1000 };

static const Span nothing = {NULL, 0};

typedef struct QueueId {
    char text[TRACE_ID_MAX + 1];
    UT_hash_handle hh;
} QueueId;

struct Trace {
    char *wanted;
    char *joined[TRACE_JOINED_MAX]; /* Message-IDs */
    size_t n_joined;
    QueueId *ids;
    bool full;
};

/* Addresses are the same in any case. */
static bool same(const Trace *trace, Span value)
{
    return value.at && strlen(trace->wanted) == value.len && strncasecmp(trace->wanted, value.at, value.len) == 0;
}

static bool same_message(const Trace *trace, Span id)
{
    for (size_t i = 0; i < trace->n_joined; i++)
        if (span_is(id, trace->joined[i]))
            return true;
    return span_is(id, trace->wanted);
}

static bool envelope_is(const Trace *trace, const TraceLine *line)
{
    TraceEnvelope envelope;

    return trace_envelope_read(line, &envelope) && (same(trace, envelope.from) || same(trace, envelope.to));
}

/* The rest of a line of a message. */
static bool names_wanted(const Trace *trace, const TraceLine *line)
{
    const char *at = line->rest;

    Span value = trace_field(&at, "message-id=");
    if (value.at)
        return same_message(trace, value);
    value = trace_field(&at, "from=");
    if (value.at)
        return same(trace, value);
    value = trace_field(&at, "to=");
    if (value.at)
        return same(trace, value) || same(trace, trace_field(&at, ", orig_to="));
    return envelope_is(trace, line);
}

/* ---- the first look: which messages are meant ---- */

static const QueueId *id_find(const Trace *trace, Span id)
{
    QueueId *found = NULL;

    HASH_FIND(hh, trace->ids, id.at, id.len, found);
    return found;
}

static void id_add(Trace *trace, Span id)
{
    if (id_find(trace, id))
        return;
    if (HASH_COUNT(trace->ids) >= TRACE_IDS_MAX) {
        trace->full = true;
        return;
    }
    QueueId *one = xcalloc(1, sizeof *one);
    memcpy(one->text, id.at, id.len);
    HASH_ADD_KEYPTR(hh, trace->ids, one->text, id.len, one);
}

/* What a line could have: nothing else is compared with them, or shown. */
static Error *wanted_check(const char *wanted, size_t len)
{
    if (len == 0 || len > TRACE_WANTED_MAX)
        return error_new(ERROR_INVALID, "trace: write a queue id, a Message-ID or an address, of at most %d octets",
                         TRACE_WANTED_MAX);
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)wanted[i] < 0x20 || (unsigned char)wanted[i] >= 0x7f)
            return error_new(ERROR_INVALID, "trace: what is to be found in logs has only printable ASCII");
    return NULL;
}

Error *trace_new(const char *wanted, Trace **ret_trace)
{
    size_t len = strlen(wanted);

    if (len > 2 && wanted[0] == '<' && wanted[len - 1] == '>')
        wanted++, len -= 2;
    Error *err = wanted_check(wanted, len);
    if (err)
        return err;
    Trace *trace = xcalloc(1, sizeof *trace);
    trace->wanted = xstrndup(wanted, len);
    if (trace_id_valid((Span){trace->wanted, len}))
        id_add(trace, (Span){trace->wanted, len});
    *ret_trace = trace;
    return NULL;
}

Error *trace_join(Trace *trace, const char *message_id)
{
    Error *err = wanted_check(message_id, strlen(message_id));

    if (!err && trace->n_joined == TRACE_JOINED_MAX)
        err = error_new(ERROR_INVALID, "trace: more than %d messages at once", TRACE_JOINED_MAX);
    if (!err)
        trace->joined[trace->n_joined++] = xstrdup(message_id);
    return err;
}

void trace_free(Trace **trace)
{
    if (!*trace)
        return;
    QueueId *one = (*trace)->ids;
    HASH_CLEAR(hh, (*trace)->ids); /* the table; its members still hold each other */
    while (one) {
        QueueId *next = one->hh.next;
        free(one);
        one = next;
    }
    for (size_t i = 0; i < (*trace)->n_joined; i++)
        free((*trace)->joined[i]);
    free((*trace)->wanted);
    free(*trace);
    *trace = NULL;
}

bool trace_full(const Trace *trace)
{
    return trace->full;
}

static const char notification[] = "sender non-delivery notification: ", delay[] = "sender delay notification: ";

/* The message that bounce(8) made of this one. */
static Span child_of(const TraceLine *line)
{
    const char *at = span_begins(line->rest, notification) ? line->rest + sizeof notification - 1
                     : span_begins(line->rest, delay)      ? line->rest + sizeof delay - 1
                                                           : NULL;
    Span id = {at, at ? strlen(at) : 0};

    return at && span_is(line->program, "bounce") && trace_id_valid(id) ? id : nothing;
}

void trace_look(Trace *trace, const char *text)
{
    TraceLine line;

    if (!trace_line_read(text, &line) || span_is(line.id, "NOQUEUE"))
        return;
    if (names_wanted(trace, &line))
        id_add(trace, line.id);
    Span child = child_of(&line);
    if (child.at && id_find(trace, line.id))
        id_add(trace, child);
}

/* ---- the second: what happened ---- */

static const struct {
    const char *program; /* its end; NULL: any */
    const char *begin;   /* of the rest */
    const char *status;  /* NULL: whatever it is */
    const char *what;
} steps[] = {
    {"smtpd", "client=", NULL, "accepted"},
    {"smtpd", "reject: ", NULL, "refused"},
    {"smtpd", "milter-reject: ", NULL, "filter"},
    {"cleanup", "milter-reject: ", NULL, "filter"},
    {"cleanup", "milter-discard: ", NULL, "filter"},
    {"cleanup", "milter-hold: ", NULL, "filter"},
    {"cleanup", "message-id=", NULL, "message-id"},
    {"qmgr", "from=", "expired", "expired"},
    {"qmgr", "from=", NULL, "queued"},
    {"qmgr", "removed", NULL, "done"},
    {"bounce", notification, NULL, "told sender"},
    {"bounce", delay, NULL, "told sender"},
    {NULL, "to=", "sent", "delivered"},
    {NULL, "to=", "deferred", "deferred"},
    {NULL, "to=", "bounced", "bounced"},
};
enum { N_STEPS = sizeof steps / sizeof *steps };

static const char *what_of(const TraceLine *line)
{
    TraceDelivery delivery;
    Span status = trace_delivery_read(line, &delivery) ? delivery.status : nothing;

    for (size_t i = 0; i < N_STEPS; i++)
        if ((!steps[i].program || trace_program_is(line, steps[i].program)) &&
            span_begins(line->rest, steps[i].begin) && (!steps[i].status || span_is(status, steps[i].status)))
            return steps[i].what;
    return "";
}

static void span_into(Span text, char *to, size_t size)
{
    DEFER(buf_done) Buf shown = {0};

    span_show(&shown, text, SHOWN_MAX);
    snprintf(to, size, "%s", buf_text(&shown));
}

/* That another node's lines have, too. */
static char *message_id_of(const TraceLine *line)
{
    const char *at = line->rest;
    Span value = span_is(line->program, "cleanup") ? trace_field(&at, "message-id=") : nothing;

    if (!value.at)
        return NULL;
    Error *err = wanted_check(value.at, value.len);
    if (err) {
        error_free(&err);
        return NULL;
    }
    return xstrndup(value.at, value.len);
}

bool trace_step(const Trace *trace, const char *text, TraceStep *ret_step)
{
    TraceLine line;

    *ret_step = (TraceStep){.what = ""};
    if (trace_verdict_read(text, &line)) {
        if (!id_find(trace, line.id))
            return false;
        ret_step->what = "filter";
    } else if (!trace_line_read(text, &line)) {
        return false;
    }
    bool refused = span_is(line.id, "NOQUEUE");
    if (refused ? !envelope_is(trace, &line) : !id_find(trace, line.id))
        return false;
    if (!*ret_step->what)
        ret_step->what = what_of(&line);
    if (strcmp(ret_step->what, "refused") == 0 && trace_put_off(&line))
        ret_step->what = "put off";
    memcpy(ret_step->time, line.time, sizeof line.time);
    span_into(line.program, ret_step->program, sizeof ret_step->program);
    span_into(refused ? (Span){"-", 1} : line.id, ret_step->id, sizeof ret_step->id);
    span_show(&ret_step->text, (Span){line.rest, strlen(line.rest)}, SHOWN_MAX);
    ret_step->message_id = message_id_of(&line);
    return true;
}

void trace_step_done(TraceStep *step)
{
    buf_done(&step->text);
    xfree(&step->message_id);
}
