#include "render/maincf.h"

#include "base/alloc.h"

#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct Entry {
    const char *section; /* words before it, NULL: none */
    char *name;
    char *value;  /* all items of a list */
    char *origin; /* NULL: from us */
    bool list;
} Entry;

struct MainCf {
    FileSet *out;
    Buf *text;
    Entry *entries;
    size_t n;
    const char *section; /* for the next entry */
};

MainCf *maincf_new(FileSet *out, const char *path, const char *group)
{
    MainCf *cf = xcalloc(1, sizeof *cf);

    cf->out = out;
    cf->text = fileset_add(out, path, group);
    return cf;
}

void maincf_section(MainCf *cf, const char *words)
{
    cf->section = words;
}

/* ---- entries ----------------------------------------------------------------------- */

static void entry_done(Entry *entry)
{
    free(entry->name);
    free(entry->value);
    free(entry->origin);
}

/* The words of its section pass to the next one. */
static void drop(MainCf *cf, const char *name)
{
    for (size_t i = 0; i < cf->n; i++) {
        if (!cf->entries[i].name || strcmp(cf->entries[i].name, name) != 0)
            continue;
        if (cf->entries[i].section && i + 1 < cf->n && !cf->entries[i + 1].section)
            cf->entries[i + 1].section = cf->entries[i].section;
        entry_done(&cf->entries[i]);
        memmove(&cf->entries[i], &cf->entries[i + 1], (cf->n - i - 1) * sizeof *cf->entries);
        cf->n--;
        return;
    }
}

/* Takes value. */
static Entry *add(MainCf *cf, const char *name, char *value)
{
    if (name)
        drop(cf, name);
    cf->entries = xrealloc(cf->entries, (cf->n + 1) * sizeof *cf->entries);
    Entry *entry = &cf->entries[cf->n++];
    *entry = (Entry){.section = cf->section, .name = name ? xstrdup(name) : NULL, .value = value};
    cf->section = NULL;
    return entry;
}

/* ---- what is data ------------------------------------------------------------------ */

static const char *wrong_octet(const char *value, bool item)
{
    static char shown[8];
    size_t len = strlen(value);

    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)value[i];
        bool edge = (i == 0 || i + 1 == len) && c == ' ';
        if (c < 0x20 || c == 0x7f || c == '$' || (i == 0 && c == '#') || edge || (item && strchr(" ,{}\"'", c))) {
            snprintf(shown, sizeof shown, c > 0x20 && c < 0x7f ? "'%c'" : "0x%02x", c);
            return shown;
        }
    }
    return NULL;
}

static bool data_check(MainCf *cf, const char *name, const char *value, bool item)
{
    const char *wrong = wrong_octet(value, item);

    if (!wrong)
        return true;
    fileset_refuse(cf->out,
                   error_new(ERROR_INVALID, "main.cf: %s: %s would be read as more than a value", name, wrong));
    return false;
}

void maincf_plain(MainCf *cf, const char *name, const char *words)
{
    add(cf, name, xstrdup(words));
}

void maincf_set(MainCf *cf, const char *name, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    char *value = xvasprintf(format, args);
    va_end(args);
    if (data_check(cf, name, value, false))
        add(cf, name, value);
    else
        free(value);
}

void maincf_number(MainCf *cf, const char *name, uint64_t number, const char *unit)
{
    add(cf, name, xasprintf("%" PRIu64 "%s", number, unit));
}

/* ---- lists ------------------------------------------------------------------------- */

void maincf_list(MainCf *cf, const char *name)
{
    add(cf, name, xstrdup(""))->list = true;
}

static void item_add(MainCf *cf, const char *before, const char *data, const char *after)
{
    Entry *list = &cf->entries[cf->n - 1];
    char *longer = xasprintf("%s%s\n    %s%s%s", list->value, *list->value ? "," : "", before, data, after);

    free(list->value);
    list->value = longer;
}

void maincf_words(MainCf *cf, const char *words)
{
    assert(cf->n && cf->entries[cf->n - 1].list);
    item_add(cf, words, "", "");
}

void maincf_item(MainCf *cf, const char *before, const char *format, ...)
{
    va_list args;

    assert(cf->n && cf->entries[cf->n - 1].list);
    va_start(args, format);
    char *data = xvasprintf(format, args);
    va_end(args);
    if (data_check(cf, cf->entries[cf->n - 1].name, data, true))
        item_add(cf, before, data, "");
    free(data);
}

void maincf_enclosed(MainCf *cf, const char *before, const char *data, const char *after)
{
    assert(cf->n && cf->entries[cf->n - 1].list);
    if (data_check(cf, cf->entries[cf->n - 1].name, data, true))
        item_add(cf, before, data, after);
}

/* ---- what others wrote ------------------------------------------------------------- */

void maincf_foreign(MainCf *cf, const char *name, const char *text, const char *origin)
{
    add(cf, name, xstrdup(text))->origin = xstrdup(origin);
}

/* ---- written ----------------------------------------------------------------------- */

static void entry_write(const Entry *entry, bool first, Buf *out)
{
    if (entry->section)
        buf_printf(out, "%s# %s\n", first ? "" : "\n", entry->section);
    if (entry->origin)
        buf_printf(out, "\n# from %s\n%s\n", entry->origin, entry->value);
    else
        buf_printf(out, "%s =%s%s\n", entry->name, *entry->value && !entry->list ? " " : "", entry->value);
}

void maincf_finish(MainCf **cf)
{
    for (size_t i = 0; i < (*cf)->n; i++) {
        entry_write(&(*cf)->entries[i], i == 0, (*cf)->text);
        entry_done(&(*cf)->entries[i]);
    }
    free((*cf)->entries);
    free(*cf);
    *cf = NULL;
}
