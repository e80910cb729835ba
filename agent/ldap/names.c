#include "ldap/names.h"

#include "base/alloc.h"
#include "base/buf.h"
#include "model/account.h"
#include "model/name.h"
#include "model/shown.h"

#include <stdlib.h>
#include <string.h>

const char *account_kind_name(AccountKind kind)
{
    return kind == MAIL__ACCOUNT_KIND__GROUP ? "group" : "user";
}

static Error *in_name(Error *err, AccountKind kind, const char *name)
{
    DEFER(xfree) char *seen = shown(name);

    return error_in(err, "%s %s", account_kind_name(kind), seen);
}

Error *name_known(AccountKind kind, const char *name, char **ret_name)
{
    return in_name(text_normalise(MAIL__FIELD_TYPE__ACCOUNT, name, ret_name), kind, name);
}

Error *name_new(AccountKind kind, const char *name, char **ret_name)
{
    DEFER(xfree) char *folded = NULL;

    Error *err = name_known(kind, name, &folded);
    if (err)
        return err;
    err = account_name_check(folded);
    if (err)
        return in_name(err, kind, name);
    *ret_name = folded;
    folded = NULL;
    return NULL;
}

static char *escape(const char *value, const char *special)
{
    DEFER(buf_done) Buf out = {0};

    for (const char *at = value; *at; at++) {
        bool edge = special[0] == '"' && (at == value || !at[1]) && (*at == ' ' || *at == '#'); /* DNs: at the ends */
        if (edge || strchr(special, *at) || (unsigned char)*at < ' ')
            buf_printf(&out, "\\%02x", (unsigned char)*at);
        else
            buf_append(&out, at, 1);
    }
    return xstrdup(buf_text(&out));
}

char *dn_escape(const char *value)
{
    return escape(value, "\"+,;<=>\\");
}

char *filter_escape(const char *value)
{
    return escape(value, "*()\\");
}
