/* ldif.h - writer of LDIF: entries that are loaded into a directory
 *
 * Values that are not safe as text are written in base64, so there is none that it refuses.
 *
 * Source: RFC 2849 (SAFE-STRING), RFC 4514 (DNs; the caller escapes them).
 */
#pragma once
#include "base/buf.h"

typedef struct Ldif {
    Buf *text; /* the file's */
} Ldif;

void ldif_entry(Ldif *ldif, const char *dn);
void ldif_add(Ldif *ldif, const char *attribute, const char *value);
