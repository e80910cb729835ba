#include "render/ldif.h"

#include "base/alloc.h"

#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

/* RFC 2849: no NUL, CR, LF, nothing over 127, and no space, ':' or '<' in front; a space at the end would be lost, too. */
static bool is_safe(const char *value)
{
    size_t len = strlen(value);

    if (strchr(" :<", *value) && *value)
        return false;
    if (len && value[len - 1] == ' ')
        return false;
    for (const char *at = value; *at; at++)
        if (*at == '\r' || *at == '\n' || (unsigned char)*at > 127)
            return false;
    return true;
}

static void value_write(Buf *text, const char *name, const char *value)
{
    size_t len = strlen(value);

    if (is_safe(value)) {
        buf_printf(text, "%s: %s\n", name, value);
        return;
    }
    DEFER(xfree) unsigned char *coded = xmalloc((len + 2) / 3 * 4 + 1);
    EVP_EncodeBlock(coded, (const unsigned char *)value, (int)len);
    buf_printf(text, "%s:: %s\n", name, (const char *)coded);
}

void ldif_entry(Ldif *ldif, const char *dn)
{
    if (ldif->text->size)
        buf_append_text(ldif->text, "\n");
    value_write(ldif->text, "dn", dn);
}

void ldif_add(Ldif *ldif, const char *attribute, const char *value)
{
    value_write(ldif->text, attribute, value);
}
