#include "tasks/restore_ldif.h"

#include "base/alloc.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* slapcat folds at 78; a name with its colon always fits into the first of the pieces. */
enum { LINE_OCTETS_MAX = 1024 };

typedef struct Reading {
    uint64_t line, entries;
    bool within; /* an entry has begun */
    bool folds;  /* the line before may go on in this one */
} Reading;

static Error *refused(const Reading *reading, const char *why)
{
    return error_new(ERROR_DAMAGED, "line %" PRIu64 ": %s", reading->line, why);
}

/* Letters, digits, '-', ';', '.' up to a colon; then what is the value, in the same line. */
static Error *attribute_check(Reading *reading, const char *text)
{
    static const char name[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-;.";
    size_t len = strspn(text, name);

    if (len == 0 || text[len] != ':')
        return refused(reading, "no attribute of an entry");
    bool is_dn = len == 2 && strncasecmp(text, "dn", 2) == 0;
    if (is_dn == reading->within)
        return refused(reading, is_dn ? "an entry within an entry" : "no entry that begins with its dn");
    const char *value = text + len + 1;
    if (*value == ':')
        value++;
    if (*value != ' ' && *value != '\0')
        return refused(reading, "a value that is not in the file itself");
    reading->within = true;
    reading->folds = *value == ' ';
    reading->entries += is_dn;
    return NULL;
}

static Error *line_check(Reading *reading, const char *text)
{
    if (*text == '\0') {
        reading->within = reading->folds = false;
        return NULL;
    }
    if (*text == '#') {
        reading->folds = false;
        return NULL;
    }
    if (*text == ' ')
        return reading->folds ? NULL : refused(reading, "goes on with a line that does not go on");
    return attribute_check(reading, text);
}

Error *ldif_admit(FILE *text, uint64_t *ret_entries)
{
    char line[LINE_OCTETS_MAX];
    Reading reading = {0};

    while (fgets(line, sizeof line, text)) {
        size_t len = strlen(line); /* ends at a NUL: then there is no end of a line */
        reading.line++;
        if (len == 0 || line[len - 1] != '\n')
            return refused(&reading, "longer than slapcat writes it, or not text");
        line[len - 1] = '\0';
        Error *err = line_check(&reading, line);
        if (err)
            return err;
    }
    if (ferror(text))
        return error_system("read");
    *ret_entries = reading.entries;
    return NULL;
}
