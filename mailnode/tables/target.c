#include "tables/target.h"

#include "base/alloc.h"
#include "base/buf.h"
#include "model/name.h"
#include "seal/digest.h"
#include "tables/queries.h"
#include "tables/winner.h"

#include <stdlib.h>
#include <string.h>

static const char plain[] = "abcdefghijklmnopqrstuvwxyz0123456789._-'";

static char *text_of(Buf *buf)
{
    char *text = xstrdup(buf_text(buf));
    buf_done(buf);
    return text;
}

char *target_mailbox(const char *user)
{
    Buf text = {0};

    if (local_part_valid(user))
        return xasprintf("%s@" MAILBOX_DOMAIN, user);
    buf_append_text(&text, "\"");
    for (; *user; user++)
        buf_printf(&text, "%s%c", *user == '"' || *user == '\\' ? "\\" : "", *user);
    buf_append_text(&text, "\"@" MAILBOX_DOMAIN);
    return text_of(&text);
}

char *target_public_key(const char *name)
{
    enum { KEY_OCTETS = 16 };
    Digest digest = digest_of(name, strlen(name));
    Buf key = {0};

    for (int i = 0; i < KEY_OCTETS; i++)
        buf_printf(&key, "%02x", digest.octets[i]);
    return text_of(&key);
}

char *target_public(const char *name)
{
    DEFER(xfree) char *key = target_public_key(name);

    return xasprintf("p=%s@" MAILBOX_DOMAIN, key);
}

char *target_key(char kind, const char *name)
{
    Buf key = {0};

    buf_printf(&key, "%c=", kind);
    for (; *name; name++) {
        if (strchr(plain, *name))
            buf_append(&key, name, 1);
        else
            buf_printf(&key, "/%02x", (unsigned char)*name);
    }
    return text_of(&key);
}

char *target_of_key(const char *key)
{
    return xasprintf("%s@" EXPAND_DOMAIN, key);
}

bool target_key_read(const char *key, char *ret_kind, char **ret_name)
{
    DEFER(buf_done) Buf name = {0};

    if ((key[0] != 'u' && key[0] != 'g') || key[1] != '=')
        return false;
    for (const char *p = key + 2; *p; p++) {
        char digits[3] = {0};
        if (*p != '/') {
            buf_append(&name, p, 1);
            continue;
        }
        if (!p[1] || !p[2])
            return false;
        memcpy(digits, p + 1, 2);
        char octet = (char)strtoul(digits, NULL, 16);
        buf_append(&name, &octet, 1);
        p += 2;
    }
    DEFER(xfree) char *again = target_key(key[0], buf_text(&name));
    if (strcmp(again, key) != 0) /* somebody else's spelling */
        return false;
    *ret_kind = key[0];
    *ret_name = xstrdup(buf_text(&name));
    return true;
}

/* As the model writes names of accounts: NFC and lower case, in any script. */
char *name_fold(const char *name)
{
    char *folded = NULL;
    bool ascii = true;

    for (const char *p = name; *p && ascii; p++)
        ascii = (unsigned char)*p < 0x80;
    Error *err = ascii ? NULL : text_normalise(MAIL__FIELD_TYPE__ACCOUNT, name, &folded);
    error_free(&err); /* no object can have such a name: it stays as it is */
    if (folded)
        return folded;
    folded = xstrdup(name);
    for (char *p = folded; *p; p++)
        if (*p >= 'A' && *p <= 'Z')
            *p = (char)(*p - 'A' + 'a');
    return folded;
}

bool name_usable(const char *name)
{
    for (const char *p = name; *p; p++)
        if ((unsigned char)*p < 0x20 || *p == 0x7f)
            return false;
    return *name != '\0';
}
