#include "dkim_record.h"

#include "base/alloc.h"
#include "base/buf.h"

#include <stdlib.h>
#include <string.h>

enum { STRING_MAX = 255 };

/* What stands in it needs no escape: the value is of letters, digits and "+/=; ". */
static char *zone_text(const char *name, const char *value)
{
    DEFER(buf_done) Buf out = {0};

    buf_printf(&out, "%s. IN TXT (", name);
    for (size_t at = 0, len = strlen(value); at < len; at += STRING_MAX)
        buf_printf(&out, "\n    \"%.*s\"", STRING_MAX, value + at);
    buf_append_text(&out, " )\n");
    return xstrdup(buf_text(&out));
}

void dkim_record_of(const Object *key, DkimRecord *ret_record)
{
    size_t len = strcspn(key->name, "/");
    DkimRecord record = {.domain = xstrndup(key->name, len), .selector = xstrdup(key->name + len + 1)};

    record.name = xasprintf("%s._domainkey.%s", record.selector, record.domain);
    record.value = xasprintf("v=DKIM1; k=rsa; p=%s", key->dkim_key->public_key);
    record.zone = zone_text(record.name, record.value);
    *ret_record = record;
}

void dkim_record_done(DkimRecord *record)
{
    free(record->domain);
    free(record->selector);
    free(record->name);
    free(record->value);
    free(record->zone);
    *record = (DkimRecord){0};
}
