#include "render/ucl.h"

#include "base/alloc.h"
#include "base/utf8.h"

#include <assert.h>
#include <stdarg.h>
#include <string.h>

enum { INDENT = 4 };

Ucl ucl_in(FileSet *set, const char *path, const char *group)
{
    return (Ucl){.set = set, .path = path, .text = fileset_add(set, path, group)};
}

static bool word_valid(const char *word)
{
    return word[0] && word[strspn(word, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-")] == '\0';
}

/* ---- quoting ----------------------------------------------------------------------- */

static const char *why_not(const char *value)
{
    if (!utf8_valid(value, strlen(value)))
        return "is not UTF-8";
    for (const unsigned char *c = (const unsigned char *)value; *c; c++)
        if (*c < 0x20 || *c == 0x7f)
            return "holds a control character";
    return NULL;
}

static void quoted(Ucl *ucl, const char *key, const char *value)
{
    const char *why = why_not(value);

    if (why)
        fileset_refuse(ucl->set, error_new(ERROR_INVALID, "%s: %s: the value %s", ucl->path, key, why));
    buf_append_text(ucl->text, "\"");
    for (const char *c = why ? "" : value; *c; c++) {
        if (*c == '$' || *c == '{')
            buf_printf(ucl->text, "\\u%04x", (unsigned)*c);
        else if (*c == '"' || *c == '\\')
            buf_printf(ucl->text, "\\%c", *c);
        else
            buf_append(ucl->text, c, 1);
    }
    buf_append_text(ucl->text, "\"");
}

/* ---- lines ------------------------------------------------------------------------- */

static void indent(Ucl *ucl)
{
    buf_printf(ucl->text, "%*s", (int)ucl->depth * INDENT, "");
}

static void begin(Ucl *ucl, const char *key)
{
    assert(word_valid(key));
    indent(ucl);
    buf_printf(ucl->text, "%s = ", key);
}

static void end(Ucl *ucl)
{
    buf_append_text(ucl->text, ";\n");
}

void ucl_comment(Ucl *ucl, const char *line)
{
    assert(!strchr(line, '\n') && !strchr(line, '{'));
    indent(ucl);
    buf_printf(ucl->text, "# %s\n", line);
}

void ucl_blank(Ucl *ucl)
{
    buf_append_text(ucl->text, "\n");
}

void ucl_text(Ucl *ucl, const char *key, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    DEFER(xfree) char *value = xvasprintf(format, args);
    va_end(args);
    begin(ucl, key);
    quoted(ucl, key, value);
    end(ucl);
}

void ucl_number(Ucl *ucl, const char *key, uint64_t value)
{
    begin(ucl, key);
    buf_printf(ucl->text, "%llu", (unsigned long long)value);
    end(ucl);
}

void ucl_seconds(Ucl *ucl, const char *key, unsigned value)
{
    begin(ucl, key);
    buf_printf(ucl->text, "%us", value);
    end(ucl);
}

void ucl_ten_thousandths(Ucl *ucl, const char *key, uint64_t value)
{
    begin(ucl, key);
    buf_printf(ucl->text, "%llu.%04llu", (unsigned long long)value / 10000, (unsigned long long)value % 10000);
    end(ucl);
}

void ucl_yes_no(Ucl *ucl, const char *key, bool value)
{
    begin(ucl, key);
    buf_append_text(ucl->text, value ? "true" : "false");
    end(ucl);
}

void ucl_null(Ucl *ucl, const char *key)
{
    begin(ucl, key);
    buf_append_text(ucl->text, "null");
    end(ucl);
}

void ucl_list(Ucl *ucl, const char *key, const char *const *values, size_t n)
{
    begin(ucl, key);
    buf_append_text(ucl->text, "[");
    for (size_t i = 0; i < n; i++) {
        buf_append_text(ucl->text, i ? ", " : "");
        quoted(ucl, key, values[i]);
    }
    buf_append_text(ucl->text, "]");
    end(ucl);
}

void ucl_open(Ucl *ucl, const char *key, const char *name)
{
    assert(word_valid(key));
    indent(ucl);
    buf_printf(ucl->text, "%s ", key);
    if (name) {
        quoted(ucl, key, name);
        buf_append_text(ucl->text, " ");
    }
    buf_append_text(ucl->text, "{\n");
    ucl->depth++;
}

void ucl_close(Ucl *ucl)
{
    assert(ucl->depth > 0);
    ucl->depth--;
    indent(ucl);
    buf_append_text(ucl->text, "}\n");
}

void ucl_include(Ucl *ucl, UclInclude how, const char *path)
{
    static const char *const words[] = {
        [UCL_STOCK] = "",
        [UCL_OURS] = "(priority=5)",
        [UCL_OVERRIDE] = "(try=true,priority=10)",
    };

    assert(!strpbrk(path, "\"\\{\n"));
    indent(ucl);
    buf_printf(ucl->text, ".include%s \"%s\"\n", words[how], path);
}
