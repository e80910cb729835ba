#include "ldif_read.h"

#include "base/alloc.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

void ldif_init(Ldif *ldif, char *text, size_t size)
{
    *ldif = (Ldif){.at = text, .end = text + size, .line = 1};
}

void ldif_entry_done(LdifEntry *entry)
{
    free(entry->values);
    *entry = (LdifEntry){0};
}

const LdifValue *ldif_value(const LdifEntry *entry, const char *name, const LdifValue *after)
{
    for (size_t i = after ? (size_t)(after - entry->values) + 1 : 0; i < entry->n; i++)
        if (strcasecmp(entry->values[i].name, name) == 0)
            return &entry->values[i];
    return NULL;
}

/* ---- lines ---- */

/* The next line, joined with those that begin with a space; NULL: the end.  *ret_size is without the NUL. */
static char *line_next(Ldif *ldif, size_t *ret_size, size_t *ret_line)
{
    char *begin = ldif->at, *out = begin;

    if (ldif->at == ldif->end)
        return NULL;
    *ret_line = ldif->line;
    do {
        char *end = memchr(ldif->at, '\n', (size_t)(ldif->end - ldif->at));
        char *next = end ? end + 1 : ldif->end, *from = ldif->at + (out != begin || ldif->at != begin);
        if (!end)
            end = ldif->end;
        if (end > from && end[-1] == '\r')
            end--;
        if (end > from)
            memmove(out, from, (size_t)(end - from));
        out += end > from ? end - from : 0;
        ldif->line++;
        ldif->at = next;
    } while (out != begin && ldif->at < ldif->end &&
             *ldif->at == ' '); /* an empty line ends an entry, whatever follows */
    *ret_size = (size_t)(out - begin);
    *out = '\0'; /* over its line break, or the octet behind the text */
    return begin;
}

/* Comments may be folded, too. */
static char *line_of_entry(Ldif *ldif, size_t *ret_size, size_t *ret_line)
{
    char *line = line_next(ldif, ret_size, ret_line);

    while (line && *line == '#')
        line = line_next(ldif, ret_size, ret_line);
    return line;
}

/* ---- values ---- */

static int digit_of(char c)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *at = c ? strchr(digits, c) : NULL;

    return at ? (int)(at - digits) : -1;
}

static bool base64_in_place(char *text, size_t size, size_t *ret_size)
{
    size_t n = size;
    unsigned bits = 0, have = 0;
    char *out = text;

    while (n && size - n < 2 && text[n - 1] == '=')
        n--;
    if (size % 4 || n % 4 == 1)
        return false;
    for (size_t i = 0; i < n; i++) {
        int digit = digit_of(text[i]);
        if (digit < 0)
            return false;
        bits = bits << 6 | (unsigned)digit;
        have += 6;
        if (have < 8)
            continue;
        have -= 8;
        *out++ = (char)(bits >> have & 0xff);
    }
    if (have && bits & ((1U << have) - 1))
        return false; /* RFC 4648 3.5 */
    *out = '\0';
    *ret_size = (size_t)(out - text);
    return true;
}

/* "name;option: value", "name:: base64" */
static Error *value_read(char *line, size_t size, LdifValue *ret_value)
{
    char *colon = memchr(line, ':', size), *value = colon ? colon + 1 : NULL;
    bool coded = value && *value == ':';
    char *option = colon ? memchr(line, ';', (size_t)(colon - line)) : NULL;

    if (!colon || colon == line)
        return error_new(ERROR_INVALID, "no 'name: value'"); /* what it is may be a part of a password */
    *(option ? option : colon) = '\0';
    if (line[strspn(line, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-")])
        return error_new(ERROR_INVALID, "what stands before ':' is no name of an attribute");
    if (*value == '<')
        return error_new(ERROR_INVALID, "%s: what another file or server holds is not fetched", line);
    value += coded;
    value += strspn(value, " ");
    *ret_value = (LdifValue){.name = line, .value = value, .size = size - (size_t)(value - line)};
    if (coded && !base64_in_place(value, ret_value->size, &ret_value->size))
        return error_new(ERROR_INVALID, "%s: not base64", line);
    return NULL;
}

static Error *value_take(LdifEntry *entry, const LdifValue *value)
{
    if (!entry->dn && strcasecmp(value->name, "dn") != 0)
        return error_new(ERROR_INVALID, "an entry begins with 'dn:'");
    if (!entry->dn) {
        entry->dn = value->value;
        return strlen(value->value) == value->size ? NULL : error_new(ERROR_INVALID, "dn: a NUL is in it");
    }
    if (strcasecmp(value->name, "changetype") == 0 && strcasecmp(value->value, "add") == 0)
        return NULL;
    if (strcasecmp(value->name, "changetype") == 0 || strcasecmp(value->name, "control") == 0)
        return error_new(ERROR_INVALID, "%s: entries are taken, and nothing but 'changetype: add'", value->name);
    if (entry->n == LDIF_VALUES_MAX)
        return error_new(ERROR_INVALID, "over %d values", LDIF_VALUES_MAX);
    if (entry->n == entry->room) {
        entry->room = entry->room ? entry->room * 2 : 32;
        entry->values = xrealloc(entry->values, entry->room * sizeof *entry->values);
    }
    entry->values[entry->n++] = *value;
    return NULL;
}

/* ---- entries ---- */

Error *ldif_next(Ldif *ldif, LdifEntry *entry, bool *ret_more)
{
    size_t size = 0, line = 0;
    char *text = NULL;
    Error *err = NULL;

    entry->dn = NULL;
    entry->n = 0;
    entry->line = ldif->line;
    while ((text = line_of_entry(ldif, &size, &line)) && (size || (!entry->dn && !err))) {
        LdifValue value = {.name = "", .value = text};
        if (err || !size)
            continue; /* to the end of this entry, or to its beginning */
        err = value_read(text, size, &value);
        value.line = line;
        if (!err && !entry->dn && strcasecmp(value.name, "version") == 0) {
            entry->line = line;
            if (strcmp(value.value, "1") != 0)
                err = error_new(ERROR_INVALID, "version: only 1 is known");
            continue;
        }
        if (!err && !entry->dn)
            entry->line = line;
        if (!err)
            err = value_take(entry, &value);
        if (err)
            entry->line = line;
    }
    *ret_more = entry->dn != NULL || err;
    return err;
}
