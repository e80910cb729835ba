#include "ldap/names.h"

#include "base/alloc.h"
#include "base/buf.h"
#include "base/utf8.h"
#include "model/name.h"
#include "model/shown.h"

#include <stdlib.h>
#include <string.h>

static const char letters[] = "abcdefghijklmnopqrstuvwxyz0123456789";
static const char more[] = "abcdefghijklmnopqrstuvwxyz0123456789._-'";

/* THREATS S14.  Whoever had such a name would get mail, rights or processes that are not meant for a person. */
static const char *const taken[] = {
    /* users of the system that run it */
    "root",
    "daemon",
    "bin",
    "sys",
    "sync",
    "mail",
    "nobody",
    "nogroup",
    "vmail",
    "postfix",
    "postdrop",
    "dovecot",
    "dovenull",
    "rspamd",
    "_rspamd",
    "redis",
    "clamav",
    "unbound",
    "openldap",
    "mailagent",
    "mailcontroller",
    "mailbackup",
    "mailtables",
    "mailnode",
    /* addresses that Postfix and RFC 5321 4.5.1 speak of: they are an administrator's to place */
    "postmaster",
    "mailer-daemon",
    "double-bounce",
    /* Dovecot's master logins, and what means somebody else in access lists (RFC 4314 3) */
    "master",
    "anyone",
    "anonymous",
    "authenticated",
    "owner",
    /* the root of public folders */
    "_public",
};

const char *account_kind_name(AccountKind kind)
{
    return kind == MAIL__ACCOUNT_KIND__GROUP ? "group" : "user";
}

static Error *not_allowed(const char *at)
{
    size_t len = utf8_char_len(at, strlen(at));
    DEFER(xfree) char *one = xstrndup(at, len ? len : 1);
    DEFER(xfree) char *seen = shown(one);

    return error_new(ERROR_INVALID, "'%s' is not allowed: a-z, 0-9, '.', '_', '-' and \"'\" are", seen);
}

static Error *form_check(const char *name)
{
    size_t len = strlen(name), good = strspn(name, more);

    if (good < len)
        return not_allowed(name + good);
    if (len > NAME_LOCAL_LEN)
        return error_new(ERROR_INVALID, "%zu octets: at most %d", len, NAME_LOCAL_LEN);
    if (!strchr(letters, *name) && *name != '_')
        return error_new(ERROR_INVALID, "the first is no letter or digit");
    if (name[len - 1] == '.' || strstr(name, ".."))
        return error_new(ERROR_INVALID, "a dot is last, or doubled");
    for (size_t i = 0; i < sizeof taken / sizeof *taken; i++)
        if (strcmp(name, taken[i]) == 0)
            return error_new(ERROR_INVALID, "the name means something to the system");
    return NULL;
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
    err = form_check(folded);
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
