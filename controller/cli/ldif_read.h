/* ldif_read.h - entries of an LDIF file (RFC 2849), taken apart where they lie
 *
 * The values are in the caller's own memory, which is changed: folded lines are joined
 * and base64 decoded in place, so what is secret is in one place, and wiped there.
 * Entries and changes of type "add" are read; nothing is fetched: "name:< URL" is refused.
 */
#pragma once
#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>

enum { LDIF_VALUES_MAX = 100000 }; /* of one entry: a large group's members */

typedef struct LdifValue {
    const char *name; /* without options; attribute names are compared without regard to case */
    char *value;      /* a NUL behind it, and perhaps in it */
    size_t size, line;
} LdifValue;

typedef struct LdifEntry {
    size_t line; /* where it begins */
    char *dn;
    LdifValue *values; /* all of them, in order; objectClass is one of many */
    size_t n, room;
} LdifEntry;

typedef struct Ldif {
    char *at, *end;
    size_t line;
} Ldif;

/* 'text' has size octets, none of them NUL, and one more to write to. */
void ldif_init(Ldif *ldif, char *text, size_t size);

/* *ret_more false: there are no more.  INVALID: this entry is wrong, at entry->line; the next call goes on behind it. */
CHECKED Error *ldif_next(Ldif *ldif, LdifEntry *entry, bool *ret_more);
void ldif_entry_done(LdifEntry *entry);

/* The next value of that name behind 'after' (NULL: the first one); NULL: there is none. */
const LdifValue *ldif_value(const LdifEntry *entry, const char *name, const LdifValue *after);
