#include "tasks/trace.h"

#include "base/alloc.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <uthash.h>

enum { SHOWN_MAX = 1000, ID_LEN_MIN = 6 };

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

/* A piece of a line. */
typedef struct Span {
    const char *at;
    size_t len;
} Span;

static const Span nothing = {NULL, 0};

static bool span_is(Span span, const char *text)
{
    return span.at && strlen(text) == span.len && memcmp(span.at, text, span.len) == 0;
}

static bool begins(const char *text, const char *with)
{
    return strncmp(text, with, strlen(with)) == 0;
}

/* ---- one line ---- */

/* "Nov 28 19:09:18 mx1 postfix/smtpd[12]: QID: rest", or "... NOQUEUE: rest" */
typedef struct Line {
    char time[15];
    Span program, id;
    const char *rest;
} Line;

static bool id_valid(Span id)
{
    if (id.len < ID_LEN_MIN || id.len > TRACE_ID_MAX)
        return false;
    for (size_t i = 0; i < id.len; i++)
        if (!strchr("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz", id.at[i]))
            return false;
    return true;
}

static bool digits(const char *text, const char *shape)
{
    for (; *shape; shape++, text++)
        if (*shape == '0' ? *text < '0' || *text > '9' : *text != *shape)
            return false;
    return true;
}

/* "Nov  8 19:09:18" */
static bool time_read(const char *text, char ret_time[15])
{
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    int month = 0;

    while (month < 12 && strncmp(text, months + month * 3, 3) != 0)
        month++;
    if (month == 12 || text[3] != ' ' || (text[4] != ' ' && !digits(text + 4, "0")) || !digits(text + 5, "0 00:00:00 "))
        return false;
    snprintf(ret_time, 15, "%02d-%c%.10s", month + 1, text[4] == ' ' ? '0' : text[4], text + 5);
    return true;
}

static bool line_read(const char *text, Line *ret_line)
{
    if (!time_read(text, ret_line->time))
        return false;
    const char *program = strchr(text + sizeof "Nov 28 19:09:18", ' ');
    if (!program || !begins(program, " postfix/"))
        return false;
    program += sizeof " postfix/" - 1;
    size_t len = strcspn(program, "[ ");
    const char *pid_end = program + len + strcspn(program + len, "]");
    if (program[len] != '[' || len > TRACE_PROGRAM_MAX || !begins(pid_end, "]: "))
        return false;
    const char *id = pid_end + 3;
    size_t id_len = strcspn(id, ": ");
    if (!begins(id + id_len, ": ") || !id_valid((Span){id, id_len}))
        return false;
    ret_line->program = (Span){program, len};
    ret_line->id = (Span){id, id_len};
    ret_line->rest = id + id_len + 2;
    return true;
}

/* Rspamd's "2026-11-28 19:49:41 #12(rspamd_proxy) <a71c34>; proxy; rspamd_task_write_log: id: <...>, qid: <QID>, ip: ...".
 * The first is the sender's to write: a line with two queue ids is nobody's. */
static bool verdict_read(const char *text, Line *ret_line)
{
    static const char task[] = "rspamd_task_write_log: id: <", qid[] = ">, qid: <";

    if (!digits(text, "0000-00-00 00:00:00 #"))
        return false;
    const char *id = strstr(text, task);
    const char *queue = id ? strstr(id, qid) : NULL;
    if (!queue || strstr(queue + 1, qid))
        return false;
    queue += sizeof qid - 1;
    size_t len = strcspn(queue, ">");
    if (!begins(queue + len, ">, ") || !id_valid((Span){queue, len}))
        return false;
    snprintf(ret_line->time, sizeof ret_line->time, "%.14s", text + 5);
    ret_line->program = (Span){"rspamd", 6};
    ret_line->id = (Span){queue, len};
    ret_line->rest = queue + len + 3;
    return true;
}

/* What is within <...>, with '>' in quotes and behind a backslash; nothing: no end. */
static Span enclosed(const char *text)
{
    bool quoted = false;

    if (*text != '<')
        return nothing;
    for (const char *p = text + 1; *p; p++) {
        if (*p == '\\' && p[1])
            p++;
        else if (*p == '"')
            quoted = !quoted;
        else if (*p == '>' && !quoted)
            return (Span){text + 1, (size_t)(p - text - 1)};
    }
    return nothing;
}

/* "NAME<value>" at *text, which is moved behind it. */
static Span field(const char **text, const char *name)
{
    if (!begins(*text, name))
        return nothing;
    Span value = enclosed(*text + strlen(name));
    if (value.at)
        *text = value.at + value.len + 1;
    return value;
}

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

/* "; from=<a> to=<b> proto=ESMTP helo=<c>" up to the end of the line.  An address in quotes may hold the same words, but not
 * the end of the line behind them. */
static bool envelope_is(const Trace *trace, const char *rest)
{
    for (const char *p = rest; (p = strstr(p, "; from=<")); p++) {
        const char *at = p + 2;
        Span from = field(&at, "from="), to = field(&at, " to=");
        if (!from.at || !begins(at, " proto="))
            continue;
        at += sizeof " proto=" - 1;
        at += strcspn(at, " ");
        if (*at && !field(&at, " helo=").at)
            continue;
        if (*at == '\0')
            return same(trace, from) || same(trace, to);
    }
    return false;
}

/* The rest of a line of a message. */
static bool names_wanted(const Trace *trace, const char *rest)
{
    const char *at = rest;

    Span value = field(&at, "message-id=");
    if (value.at)
        return same_message(trace, value);
    value = field(&at, "from=");
    if (value.at)
        return same(trace, value);
    value = field(&at, "to=");
    if (value.at)
        return same(trace, value) || same(trace, field(&at, ", orig_to="));
    return envelope_is(trace, rest);
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
    if (id_valid((Span){trace->wanted, len}))
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
static Span child_of(const Line *line)
{
    const char *at = begins(line->rest, notification) ? line->rest + sizeof notification - 1
                     : begins(line->rest, delay)      ? line->rest + sizeof delay - 1
                                                      : NULL;
    Span id = {at, at ? strlen(at) : 0};

    return at && span_is(line->program, "bounce") && id_valid(id) ? id : nothing;
}

void trace_look(Trace *trace, const char *text)
{
    Line line;

    if (!line_read(text, &line) || span_is(line.id, "NOQUEUE"))
        return;
    if (names_wanted(trace, line.rest))
        id_add(trace, line.id);
    Span child = child_of(&line);
    if (child.at && id_find(trace, line.id))
        id_add(trace, child);
}

/* ---- the second: what happened ---- */

static const struct {
    const char *program; /* its end; NULL: any */
    const char *begin;   /* of the rest */
    const char *has;     /* ", " before it; NULL: nothing */
    const char *what;
} steps[] = {
    {"smtpd", "client=", NULL, "accepted"},
    {"smtpd", "reject: ", NULL, "refused"},
    {"smtpd", "milter-reject: ", NULL, "filter"},
    {"cleanup", "milter-reject: ", NULL, "filter"},
    {"cleanup", "milter-discard: ", NULL, "filter"},
    {"cleanup", "milter-hold: ", NULL, "filter"},
    {"cleanup", "message-id=", NULL, "message-id"},
    {"qmgr", "from=", ", status=expired", "expired"},
    {"qmgr", "from=", NULL, "queued"},
    {"qmgr", "removed", NULL, "done"},
    {"bounce", notification, NULL, "told sender"},
    {"bounce", delay, NULL, "told sender"},
    {NULL, "to=", ", status=sent ", "delivered"},
    {NULL, "to=", ", status=deferred ", "deferred"},
    {NULL, "to=", ", status=bounced ", "bounced"},
};
enum { N_STEPS = sizeof steps / sizeof *steps };

/* "submission/smtpd" is an smtpd. */
static bool program_is(Span program, const char *name)
{
    size_t len = strlen(name);

    return program.len >= len && memcmp(program.at + program.len - len, name, len) == 0 &&
           (program.len == len || program.at[program.len - len - 1] == '/');
}

/* Behind the addresses: in them anything may be written. */
static const char *behind_addresses(const char *rest)
{
    const char *at = rest;

    if (!field(&at, "to=").at)
        field(&at, "from=");
    field(&at, ", orig_to=");
    return at;
}

static const char *what_of(const Line *line)
{
    for (size_t i = 0; i < N_STEPS; i++)
        if ((!steps[i].program || program_is(line->program, steps[i].program)) && begins(line->rest, steps[i].begin) &&
            (!steps[i].has || strstr(behind_addresses(line->rest), steps[i].has)))
            return steps[i].what;
    return "";
}

static void show(Buf *out, Span text)
{
    for (size_t i = 0; i < text.len && out->size < SHOWN_MAX; i++) {
        unsigned char c = (unsigned char)text.at[i];
        if (c < 0x20 || c >= 0x7f)
            buf_printf(out, "\\x%02x", c);
        else
            buf_append(out, text.at + i, 1);
    }
}

static void span_into(Span text, char *to, size_t size)
{
    DEFER(buf_done) Buf shown = {0};

    show(&shown, text);
    snprintf(to, size, "%s", buf_text(&shown));
}

/* That another node's lines have, too. */
static char *message_id_of(const Line *line)
{
    const char *at = line->rest;
    Span value = span_is(line->program, "cleanup") ? field(&at, "message-id=") : nothing;

    if (!value.at)
        return NULL;
    Error *err = wanted_check(value.at, value.len);
    if (err) {
        error_free(&err);
        return NULL;
    }
    return xstrndup(value.at, value.len);
}

/* 450 of "RCPT from host[1.2.3.4]: 450 4.2.1 ...": the filter's and smtpd's refusals alike. */
static bool put_off(const char *rest)
{
    const char *from = strstr(rest, " from "), *answer = from ? strstr(from, "]: ") : NULL;

    return answer && answer[3] == '4';
}

bool trace_step(const Trace *trace, const char *text, TraceStep *ret_step)
{
    Line line;

    *ret_step = (TraceStep){.what = ""};
    if (verdict_read(text, &line)) {
        if (!id_find(trace, line.id))
            return false;
        ret_step->what = "filter";
    } else if (!line_read(text, &line)) {
        return false;
    }
    bool refused = span_is(line.id, "NOQUEUE");
    if (refused ? !envelope_is(trace, line.rest) : !id_find(trace, line.id))
        return false;
    if (!*ret_step->what)
        ret_step->what = what_of(&line);
    if (strcmp(ret_step->what, "refused") == 0 && put_off(line.rest))
        ret_step->what = "put off";
    memcpy(ret_step->time, line.time, sizeof line.time);
    span_into(line.program, ret_step->program, sizeof ret_step->program);
    span_into(refused ? (Span){"-", 1} : line.id, ret_step->id, sizeof ret_step->id);
    show(&ret_step->text, (Span){line.rest, strlen(line.rest)});
    ret_step->message_id = message_id_of(&line);
    return true;
}

void trace_step_done(TraceStep *step)
{
    buf_done(&step->text);
    xfree(&step->message_id);
}
