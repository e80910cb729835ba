#include "tasks/trace_line.h"

#include <stdio.h>
#include <string.h>

enum { ID_LEN_MIN = 6 };

static const Span nothing = {NULL, 0};

bool span_is(Span span, const char *text)
{
    return span.at && strlen(text) == span.len && memcmp(span.at, text, span.len) == 0;
}

void span_show(Buf *out, Span span, size_t max)
{
    for (size_t i = 0; i < span.len && out->size < max; i++) {
        unsigned char c = (unsigned char)span.at[i];
        if (c < 0x20 || c >= 0x7f)
            buf_printf(out, "\\x%02x", c);
        else
            buf_append(out, span.at + i, 1);
    }
}

bool span_begins(const char *text, const char *with)
{
    return strncmp(text, with, strlen(with)) == 0;
}

bool trace_id_valid(Span id)
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

/* "Nov 28 19:09:18 mx1 postfix/smtpd[12]: QID: rest", or "... NOQUEUE: rest" */
bool trace_line_read(const char *text, TraceLine *ret_line)
{
    if (!time_read(text, ret_line->time))
        return false;
    const char *program = strchr(text + sizeof "Nov 28 19:09:18", ' ');
    if (!program || !span_begins(program, " postfix/"))
        return false;
    program += sizeof " postfix/" - 1;
    size_t len = strcspn(program, "[ ");
    const char *pid_end = program + len + strcspn(program + len, "]");
    if (program[len] != '[' || len > TRACE_PROGRAM_MAX || !span_begins(pid_end, "]: "))
        return false;
    const char *id = pid_end + 3;
    size_t id_len = strcspn(id, ": ");
    if (!span_begins(id + id_len, ": ") || !trace_id_valid((Span){id, id_len}))
        return false;
    ret_line->program = (Span){program, len};
    ret_line->id = (Span){id, id_len};
    ret_line->rest = id + id_len + 2;
    return true;
}

/* Rspamd's "2026-11-28 19:49:41 #12(rspamd_proxy) <a71c34>; proxy; rspamd_task_write_log: id: <...>, qid: <QID>, ip: ...".
 * The first is the sender's to write: a line with two queue ids is nobody's. */
bool trace_verdict_read(const char *text, TraceLine *ret_line)
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
    if (!span_begins(queue + len, ">, ") || !trace_id_valid((Span){queue, len}))
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
Span trace_field(const char **text, const char *name)
{
    if (!span_begins(*text, name))
        return nothing;
    Span value = enclosed(*text + strlen(name));
    if (value.at)
        *text = value.at + value.len + 1;
    return value;
}

bool trace_program_is(const TraceLine *line, const char *name)
{
    Span program = line->program;
    size_t len = strlen(name);

    return program.len >= len && memcmp(program.at + program.len - len, name, len) == 0 &&
           (program.len == len || program.at[program.len - len - 1] == '/');
}

/* From "from=<a>" up to the end of the line.  An address in quotes may hold the same words, but not the end of the line
 * behind them. */
static bool envelope_at(const char *at, TraceEnvelope *ret_envelope)
{
    ret_envelope->from = trace_field(&at, "from=");
    ret_envelope->to = trace_field(&at, " to=");
    if (!ret_envelope->from.at || !span_begins(at, " proto="))
        return false;
    at += sizeof " proto=" - 1;
    at += strcspn(at, " ");
    trace_field(&at, " helo=");
    trace_field(&at, " sasl_username=");
    return *at == '\0';
}

/* "reject: RCPT from host[1.2.3.4]: 450 4.2.1 ...": smtpd's and the filter's alike. */
static const char *answer_begin(const char *rest)
{
    const char *from = strstr(rest, " from "), *answer = from ? strstr(from, "]: ") : NULL;

    return answer ? answer + 3 : NULL;
}

bool trace_envelope_read(const TraceLine *line, TraceEnvelope *ret_envelope)
{
    const char *answer = answer_begin(line->rest);

    for (const char *p = line->rest; (p = strstr(p, "; from=<")); p++)
        if (envelope_at(p + 2, ret_envelope)) {
            ret_envelope->answer = answer && answer <= p ? (Span){answer, (size_t)(p - answer)} : nothing;
            return true;
        }
    return false;
}

bool trace_put_off(const TraceLine *line)
{
    const char *answer = answer_begin(line->rest);

    return answer && *answer == '4';
}

/* The first ", status=" is the daemon's: addresses are behind us, and a server's words come later. */
bool trace_delivery_read(const TraceLine *line, TraceDelivery *ret_delivery)
{
    static const char mark[] = ", status=";
    const char *at = line->rest;

    *ret_delivery = (TraceDelivery){.to = trace_field(&at, "to=")};
    if (ret_delivery->to.at)
        ret_delivery->orig_to = trace_field(&at, ", orig_to=");
    else
        ret_delivery->from = trace_field(&at, "from=");
    if (!ret_delivery->to.at && !ret_delivery->from.at)
        return false;
    const char *status = strstr(at, mark);
    if (status) {
        status += sizeof mark - 1;
        ret_delivery->status = (Span){status, strcspn(status, " ,")};
        at = status + ret_delivery->status.len;
    }
    ret_delivery->words = at + strspn(at, " ,");
    return true;
}

static int number(const char *two)
{
    return (two[0] - '0') * 10 + two[1] - '0';
}

time_t trace_time(const char time[15], const struct tm *now)
{
    int month = number(time) - 1;
    struct tm local = {.tm_year = now->tm_year - (month > now->tm_mon),
                       .tm_mon = month,
                       .tm_mday = number(time + 3),
                       .tm_hour = number(time + 6),
                       .tm_min = number(time + 9),
                       .tm_sec = number(time + 12),
                       .tm_isdst = -1};

    return mktime(&local);
}
