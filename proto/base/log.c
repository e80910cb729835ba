#include "base/log.h"

#include "base/alloc.h"
#include "base/buf.h"
#include "base/utf8.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const char *log_program = "mailnode";
static LogLevel log_least = LOG_LEVEL_INFO;

void log_init(const char *program, LogLevel least)
{
    log_program = program;
    log_least = least;
}

KeyValue kv_text(const char *key, const char *value)
{
    return (KeyValue){.key = key, .type = VALUE_TEXT, .value.text = value};
}

KeyValue kv_signed(const char *key, int64_t value)
{
    return (KeyValue){.key = key, .type = VALUE_SIGNED, .value.number = value};
}

KeyValue kv_unsigned(const char *key, uint64_t value)
{
    return (KeyValue){.key = key, .type = VALUE_UNSIGNED, .value.count = value};
}

static void escape(Buf *out, const char *text)
{
    const char *end = text + strlen(text);

    while (text < end) {
        size_t len = utf8_char_len(text, (size_t)(end - text));
        unsigned char c = (unsigned char)*text;

        /* U+0080 to U+009F are control characters that terminals obey, too. */
        if (len == 1 && c >= ' ' && c != 0x7f && c != '"' && c != '\\')
            buf_append(out, text, 1);
        else if (len > 1 && !(c == 0xc2 && (unsigned char)text[1] < 0xa0))
            buf_append(out, text, len);
        else
            for (size_t i = 0; i < (len ? len : 1); i++)
                buf_printf(out, "\\x%02x", (unsigned char)text[i]);
        text += len ? len : 1;
    }
}

char *log_escape(const char *text)
{
    DEFER(buf_done) Buf out = {0};

    escape(&out, text);
    return xstrdup(buf_text(&out));
}

static void value_write(Buf *line, const KeyValue *field)
{
    switch (field->type) {
    case VALUE_SIGNED:
        buf_printf(line, "%" PRId64, field->value.number);
        return;
    case VALUE_UNSIGNED:
        buf_printf(line, "%" PRIu64, field->value.count);
        return;
    case VALUE_TEXT:
        break;
    }
    const char *text = field->value.text ? field->value.text : "-";
    bool quoted = !*text || strpbrk(text, " =");

    buf_append_text(line, quoted ? "\"" : "");
    escape(line, text);
    buf_append_text(line, quoted ? "\"" : "");
}

void log_write(LogLevel level, const char *what, const KeyValue *fields)
{
    static const char *const names[] = {"error", "warning", "info", "debug"};

    if (level > log_least)
        return;

    struct timespec now;
    struct tm utc;
    char stamp[32];
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &utc);
    strftime(stamp, sizeof stamp, "%Y-%m-%dT%H:%M:%S", &utc);

    DEFER(buf_done) Buf line = {0};
    buf_printf(&line, "%s.%03ldZ %s %s: ", stamp, now.tv_nsec / 1000000, names[level], log_program);
    escape(&line, what);
    for (; fields->key; fields++) {
        buf_printf(&line, " %s=", fields->key);
        value_write(&line, fields);
    }
    buf_append_text(&line, "\n");
    /* One write, so that lines of several programs in one file do not mix; nobody is left to tell if it fails. */
    ssize_t written = write(STDERR_FILENO, line.data, line.size);
    (void)written;
}

void log_stop(LogLevel level, const char *what, Error **err)
{
    if (!*err)
        return;
    log_at(level, what, kv("code", error_code_name((*err)->code)), kv("error", (*err)->what));
    error_free(err);
}
