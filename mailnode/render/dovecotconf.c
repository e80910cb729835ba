#include "render/dovecotconf.h"

#include "base/alloc.h"
#include "base/log.h"
#include "base/utf8.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

/* These mean nothing to the parser wherever they stand; a space neither, inside. */
static bool is_plain(unsigned char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c && strchr("_./:@+=,;*%~-", c));
}

static bool is_bare(const char *value)
{
    size_t len = strlen(value);

    if (len == 0 || value[0] == ' ' || value[len - 1] == ' ')
        return false;
    for (size_t i = 0; i < len; i++)
        if (value[i] != ' ' && !is_plain((unsigned char)value[i]))
            return false;
    return true;
}

static bool is_word(const char *text)
{
    for (const char *at = text; *at; at++)
        if (!is_plain((unsigned char)*at))
            return false;
    return *text;
}

/* The parser reads lines; DEL and the rest below space have no escape. */
static bool is_writable(const char *value)
{
    for (const char *at = value; *at; at++)
        if ((unsigned char)*at < 0x20 || *at == 0x7f)
            return false;
    return utf8_valid(value, strlen(value));
}

static void refuse(DovecotConf *cf, const char *name, const char *value)
{
    DEFER(xfree) char *shown = log_escape(value);

    fileset_refuse(cf->files, error_new(ERROR_INVALID, "%s: %s cannot be '%s': no control characters, only UTF-8",
                                        cf->path, name, shown));
}

static void indent(DovecotConf *cf)
{
    buf_printf(cf->text, "%*s", (int)cf->depth * 2, "");
}

static void quoted(Buf *out, const char *value)
{
    buf_append_text(out, "\"");
    for (const char *at = value; *at; at++) {
        if (*at == '"' || *at == '\\')
            buf_append_text(out, "\\");
        buf_append(out, at, 1);
    }
    buf_append_text(out, "\"");
}

DovecotConf dovecotconf_in(FileSet *files, const char *path, const char *group)
{
    DovecotConf cf = {files, path, fileset_add(files, path, group), 0};

    buf_append_text(cf.text, "# Written by mail-engine; what is changed here is lost.\n");
    return cf;
}

void dovecotconf_section(DovecotConf *cf, const char *type, const char *label)
{
    assert(is_word(type) && (!label || is_word(label)));
    if (cf->depth == 0)
        buf_append_text(cf->text, "\n");
    indent(cf);
    buf_printf(cf->text, "%s %s%s{\n", type, label ? label : "", label ? " " : "");
    cf->depth++;
}

void dovecotconf_end(DovecotConf *cf)
{
    assert(cf->depth > 0);
    cf->depth--;
    indent(cf);
    buf_append_text(cf->text, "}\n");
}

void dovecotconf_set(DovecotConf *cf, const char *name, const char *value)
{
    assert(is_word(name));
    if (!is_writable(value)) {
        refuse(cf, name, value);
        return;
    }
    indent(cf);
    buf_printf(cf->text, "%s =", name);
    if (*value)
        buf_append_text(cf->text, " ");
    if (!*value || is_bare(value))
        buf_append_text(cf->text, value);
    else
        quoted(cf->text, value);
    buf_append_text(cf->text, "\n");
}

void dovecotconf_yes(DovecotConf *cf, const char *name, bool yes)
{
    dovecotconf_set(cf, name, yes ? "yes" : "no");
}

void dovecotconf_number(DovecotConf *cf, const char *name, uint64_t number)
{
    DEFER(xfree) char *text = xasprintf("%" PRIu64, number);

    dovecotconf_set(cf, name, text);
}

void dovecotconf_expanded(DovecotConf *cf, const char *name, const char *literal, const char *expanded)
{
    DEFER(buf_done) Buf value = {0};

    for (const char *at = literal; *at; at++)
        buf_append(&value, *at == '%' ? "%%" : at, *at == '%' ? 2 : 1);
    buf_append_text(&value, expanded);
    dovecotconf_set(cf, name, buf_text(&value));
}

/* There is no quoting behind '<'. */
void dovecotconf_file(DovecotConf *cf, const char *name, const char *path)
{
    if (!is_bare(path)) {
        refuse(cf, name, path);
        return;
    }
    indent(cf);
    buf_printf(cf->text, "%s = <%s\n", name, path);
}

/* The parser takes it as a pattern of glob(7). */
void dovecotconf_include(DovecotConf *cf, const char *file)
{
    assert(is_word(file) && !strchr(file, '*'));
    buf_printf(cf->text, "\n!include %s\n", file);
}
