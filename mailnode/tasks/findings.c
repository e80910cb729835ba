#include "tasks/findings.h"

#include "base/alloc.h"
#include "base/utf8.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void finding_free(Mail__Finding *one)
{
    free(one->where);
    free(one->text);
    free(one);
}

void findings_done(Findings *findings)
{
    for (size_t i = 0; i < findings->n; i++)
        finding_free(findings->list[i]);
    findings->n = findings->n_beyond = 0;
}

/* At most 'max' octets of it, at a character's end. */
static char *shown(const char *text, size_t max)
{
    size_t size = strlen(text), at = 0;
    char *out = xmalloc((size < max ? size : max) + sizeof " ...");

    while (at < size) {
        size_t len = utf8_char_len(text + at, size - at);
        if (at + (len ? len : 1) > max) {
            memcpy(out + at, " ...", sizeof " ...");
            return out;
        }
        if (len)
            memcpy(out + at, text + at, len);
        else
            out[at] = '?';
        at += len ? len : 1;
    }
    out[at] = '\0';
    return out;
}

void findings_add(Findings *findings, Mail__FactState severity, const char *where, const char *format, ...)
{
    va_list args;

    if (findings->n == FINDINGS_MAX) {
        findings->n_beyond++;
        return;
    }
    va_start(args, format);
    DEFER(xfree) char *text = xvasprintf(format, args);
    va_end(args);
    Mail__Finding *one = xmalloc(sizeof *one);
    mail__finding__init(one);
    one->has_severity = one->has_repaired = true;
    one->severity = severity;
    one->where = shown(where, FINDING_WHERE_MAX);
    one->text = shown(text, FINDING_TEXT_MAX);
    findings->list[findings->n++] = one;
}

void findings_repaired(Findings *findings, size_t first)
{
    for (size_t i = first; i < findings->n; i++)
        findings->list[i]->repaired = true;
}

size_t findings_bad(const Findings *findings)
{
    size_t n = findings->n_beyond;

    for (size_t i = 0; i < findings->n; i++)
        n += findings->list[i]->severity != MAIL__FACT_STATE__GOOD;
    return n;
}

/* ---- as lines ---- */

/* Tab, newline and backslash are what a line is made of. */
static void field_write(Buf *out, const char *text)
{
    for (; *text; text++) {
        if (*text == '\t' || *text == '\n' || *text == '\\')
            buf_printf(out, "\\%c", *text == '\t' ? 't' : *text == '\n' ? 'n' : '\\');
        else
            buf_append(out, text, 1);
    }
}

static void field_read(char *text)
{
    char *to = text;

    for (; *text; text++) {
        if (*text != '\\' || !text[1]) {
            *to++ = *text;
            continue;
        }
        text++;
        *to++ = *text == 't' ? '\t' : *text == 'n' ? '\n' : *text; /* NOLINT: a chain reads well */
    }
    *to = '\0';
}

void findings_write(const Findings *findings, Buf *out)
{
    for (size_t i = 0; i < findings->n; i++) {
        buf_printf(out, "%d\t", (int)findings->list[i]->severity);
        field_write(out, findings->list[i]->where);
        buf_append_text(out, "\t");
        field_write(out, findings->list[i]->text);
        buf_append_text(out, "\n");
    }
}

void findings_read(Findings *findings, const char *lines)
{
    DEFER(xfree) char *copy = xstrdup(lines);
    char *rest = NULL;

    for (char *line = strtok_r(copy, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
        char *where = strchr(line, '\t'), *text = where ? strchr(where + 1, '\t') : NULL;
        if (!text || where != line + 1 || *line < '0' || *line > '3')
            continue;
        *where++ = *text++ = '\0';
        field_read(where);
        field_read(text);
        findings_add(findings, (Mail__FactState)(*line - '0'), where, "%s", text);
    }
}
