#include "render/plainconf.h"

#include "base/alloc.h"

#include <assert.h>
#include <stdarg.h>
#include <stdbool.h>
#include <string.h>

enum { CLAMD_LINE_MAX = 510 };

static const struct {
    const char *before_name, *behind_name;
    bool escapes;        /* everything can be said */
    const char *refused; /* beside control characters */
    size_t line_max;     /* 0: none */
} grammars[] = {
    [PLAIN_REDIS] = {"", " ", true, "", 0},
    [PLAIN_CLAMD] = {"", " ", false, "", CLAMD_LINE_MAX},
    [PLAIN_UNBOUND] = {"    ", ": ", false, "\"\\", 0},
};

PlainConf plainconf_in(FileSet *set, const char *path, const char *group, PlainGrammar grammar)
{
    return (PlainConf){.set = set, .path = path, .grammar = grammar, .text = fileset_add(set, path, group)};
}

static bool word_valid(const char *word)
{
    return word[0] && word[strspn(word, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-")] == '\0';
}

static bool control(unsigned char c)
{
    return c < 0x20 || c == 0x7f;
}

/* ---- quoting ----------------------------------------------------------------------- */

static const char *why_not(const PlainConf *conf, const char *name, const char *value)
{
    const size_t line_max = grammars[conf->grammar].line_max;

    if (grammars[conf->grammar].escapes)
        return NULL;
    if (!value[0])
        return "is empty";
    for (const char *c = value; *c; c++)
        if (control((unsigned char)*c))
            return "holds a control character";
    if (strpbrk(value, grammars[conf->grammar].refused))
        return "holds a quote or backslash";
    if (line_max && strlen(name) + strlen(" \"\"") + strlen(value) > line_max)
        return "is too long for its line";
    return NULL;
}

static void quoted(PlainConf *conf, const char *name, const char *value)
{
    const char *why = why_not(conf, name, value);

    if (why)
        fileset_refuse(conf->set, error_new(ERROR_INVALID, "%s: %s: the value %s", conf->path, name, why));
    buf_append_text(conf->text, "\"");
    for (const char *c = why ? "" : value; *c; c++) {
        if (grammars[conf->grammar].escapes && control((unsigned char)*c))
            buf_printf(conf->text, "\\x%02x", (unsigned char)*c);
        else if (grammars[conf->grammar].escapes && (*c == '"' || *c == '\\'))
            buf_printf(conf->text, "\\%c", *c);
        else
            buf_append(conf->text, c, 1);
    }
    buf_append_text(conf->text, "\"");
}

/* ---- lines ------------------------------------------------------------------------- */

static void begin(PlainConf *conf, const char *name)
{
    assert(word_valid(name));
    buf_printf(conf->text, "%s%s%s", grammars[conf->grammar].before_name, name, grammars[conf->grammar].behind_name);
}

void plainconf_comment(PlainConf *conf, const char *line)
{
    assert(!strchr(line, '\n'));
    buf_printf(conf->text, "# %s\n", line);
}

void plainconf_section(PlainConf *conf, const char *name)
{
    assert(conf->grammar == PLAIN_UNBOUND && word_valid(name));
    buf_printf(conf->text, "%s:\n", name);
}

void plainconf_text(PlainConf *conf, const char *name, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    DEFER(xfree) char *value = xvasprintf(format, args);
    va_end(args);
    begin(conf, name);
    quoted(conf, name, value);
    buf_append_text(conf->text, "\n");
}

void plainconf_word(PlainConf *conf, const char *name, const char *word)
{
    assert(word_valid(word));
    begin(conf, name);
    buf_printf(conf->text, "%s\n", word);
}

void plainconf_number(PlainConf *conf, const char *name, uint64_t value)
{
    begin(conf, name);
    buf_printf(conf->text, "%llu\n", (unsigned long long)value);
}

void plainconf_text_word(PlainConf *conf, const char *name, const char *value, const char *word)
{
    assert(word_valid(word));
    begin(conf, name);
    quoted(conf, name, value);
    buf_printf(conf->text, " %s\n", word);
}
