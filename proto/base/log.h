/* log.h - one line, one fact, then fields, on stderr
 *
 *     log_info("revision applied", kv("revision", rev), kv("took_ms", took));
 *     2026-11-24T09:10:11.123Z info mail-agent: revision applied revision=43 took_ms=4
 *
 * kv picks the type and escapes: a hostile name cannot forge a line.  Library code
 * is silent; where an error stops, it is logged, once.
 *
 * error: somebody must act.  warning: we go on, and the text says how.
 * info: what an admin asks for a week later.  debug: for us.
 */
#pragma once
#include "base/error.h"

#include <stddef.h>
#include <stdint.h>

typedef enum LogLevel { LOG_LEVEL_ERROR, LOG_LEVEL_WARNING, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG } LogLevel;

typedef struct KeyValue {
    const char *key; /* a literal; NULL ends a list */
    enum { VALUE_TEXT, VALUE_SIGNED, VALUE_UNSIGNED } type;
    union {
        const char *text; /* borrowed for the call; NULL is written as - */
        int64_t number;
        uint64_t count;
    } value;
} KeyValue;

KeyValue kv_text(const char *key, const char *value);
KeyValue kv_signed(const char *key, int64_t value);
KeyValue kv_unsigned(const char *key, uint64_t value);

/* clang-format off */
#define kv(key, value)                                                              \
    _Generic((value),                                                               \
        char *: kv_text, const char *: kv_text,                                     \
        _Bool: kv_unsigned, unsigned char: kv_unsigned, unsigned short: kv_unsigned, \
        unsigned: kv_unsigned, unsigned long: kv_unsigned, unsigned long long: kv_unsigned, \
        signed char: kv_signed, short: kv_signed, int: kv_signed, long: kv_signed,  \
        long long: kv_signed)(key, value)
/* clang-format on */

/* Before the first line: the program's name and the least level that is written (default info). */
void log_init(const char *program, LogLevel least);

void log_write(LogLevel level, const char *what, const KeyValue *fields);

#define log_at(level, what, ...) log_write((level), (what), (const KeyValue[]){__VA_ARGS__ __VA_OPT__(, ){.key = NULL}})
#define log_error(what, ...) log_at(LOG_LEVEL_ERROR, what __VA_OPT__(, ) __VA_ARGS__)
#define log_warning(what, ...) log_at(LOG_LEVEL_WARNING, what __VA_OPT__(, ) __VA_ARGS__)
#define log_info(what, ...) log_at(LOG_LEVEL_INFO, what __VA_OPT__(, ) __VA_ARGS__)
#define log_debug(what, ...) log_at(LOG_LEVEL_DEBUG, what __VA_OPT__(, ) __VA_ARGS__)

/* Where an error stops: logs it as 'level' with 'what' before its words, and frees it.  NULL is no error. */
void log_stop(LogLevel level, const char *what, Error **err);

/* 'text' with control characters, DEL, quotes and broken UTF-8 written as \xNN: for logs and terminals.
 * Owned by the caller. */
char *log_escape(const char *text);
