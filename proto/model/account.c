#include "model/account.h"

#include "base/alloc.h"
#include "base/utf8.h"
#include "model/name.h"
#include "model/shown.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* ---- names ---- */

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

static Error *not_allowed(const char *at)
{
    size_t len = utf8_char_len(at, strlen(at));
    DEFER(xfree) char *one = xstrndup(at, len ? len : 1);
    DEFER(xfree) char *seen = shown(one);

    return error_new(ERROR_INVALID, "'%s' is not allowed: a-z, 0-9, '.', '_', '-' and \"'\" are", seen);
}

Error *account_name_check(const char *name)
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

/* ---- passwords ---- */

Error *account_password_check(const void *password, size_t size)
{
    const char *text = password;

    if (!size)
        return error_new(ERROR_INVALID, "it is empty");
    if (size > ACCOUNT_PASSWORD_MAX)
        return error_new(ERROR_INVALID, "%zu octets, at most %d", size, ACCOUNT_PASSWORD_MAX);
    for (size_t i = 0; i < size; i++)
        if (text[i] == '\0' || text[i] == '\r' || text[i] == '\n')
            return error_new(ERROR_INVALID, "a NUL or line break is in it");
    return NULL;
}

/* ---- hashes ---- */

/* The number behind 'name' in "name=N,..."; 'most' + 1: none, or a larger one. */
static unsigned long parameter(const char *text, const char *name, unsigned long most)
{
    const char *at = strstr(text, name);
    char *end = NULL;
    unsigned long number =
        at && isdigit((unsigned char)at[strlen(name)]) ? strtoul(at + strlen(name), &end, 10) : most + 1;

    return number > most || !strchr(",$", *end) ? most + 1 : number;
}

/* "$argon2id$v=19$m=7168,t=5,p=1$salt$hash" (the PHC string format): 64 MiB and ten passes at most. */
static Error *argon2_check(const char *value)
{
    if (strncmp(value, "$argon2", 7) != 0)
        return error_new(ERROR_INVALID, "write {ARGON2}$argon2id$v=19$m=...,t=...,p=...$SALT$HASH");
    if (parameter(value, "m=", 65536) > 65536 || parameter(value, "t=", 10) > 10 || parameter(value, "p=", 8) > 8)
        return error_new(ERROR_INVALID, "each login would cost more than m=65536,t=10,p=8");
    return NULL;
}

/* crypt(5): DES has neither '$' nor a price; of the others what each login costs is written in front. */
static Error *crypt_check(const char *value)
{
    static const char *const plain[] = {"$1$", "$5$", "$6$"};
    bool known = *value != '$' && strlen(value) == 13;

    for (size_t i = 0; i < sizeof plain / sizeof *plain; i++)
        known |= strncmp(value, plain[i], 3) == 0 && strlen(value) > 12 &&
                 (!strstr(value, "rounds=") || parameter(value, "rounds=", 200000) <= 200000);
    if (strncmp(value, "$2", 2) == 0 && strlen(value) == 60)
        known = strchr("aby", value[2]) && value[3] == '$' && strncmp(value + 4, "04", 2) >= 0 &&
                strncmp(value + 4, "13", 2) < 0 && value[6] == '$';
    if (strncmp(value, "$y$j", 4) == 0 && strlen(value) > 20)
        known = strchr("56789", value[4]) && value[5] == 'T' && value[6] == '$';
    return known ? NULL : error_new(ERROR_INVALID, "a form of crypt(5) that is not taken, or one that costs too much");
}

/* Base64 of so many octets, and of a salt behind them where the scheme has one. */
static Error *digest_check(const char *value, size_t octets, bool salted)
{
    size_t len = strspn(value, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"),
           pad = strspn(value + len, "=");
    size_t size = (len + pad) / 4 * 3 - pad;

    if (value[len + pad] || pad > 2 || (len + pad) % 4 || size < octets + salted || (!salted && size != octets))
        return error_new(ERROR_INVALID, "not the base64 of %zu octets%s", octets, salted ? " and a salt" : "");
    return NULL;
}

static const struct {
    const char *name;
    size_t octets; /* of the digest; 0: a form of its own */
    bool salted;
} schemes[] = {
    {"ARGON2", 0, true},   {"CRYPT", 0, true},    {"SSHA", 20, true},    {"SHA", 20, false},
    {"SMD5", 16, true},    {"MD5", 16, false},    {"SSHA256", 32, true}, {"SHA256", 32, false},
    {"SSHA384", 48, true}, {"SHA384", 48, false}, {"SSHA512", 64, true}, {"SHA512", 64, false},
};

static Error *value_check(const char *scheme, size_t len, const char *value)
{
    for (size_t i = 0; i < sizeof schemes / sizeof *schemes; i++) {
        if (strlen(schemes[i].name) != len || strncasecmp(schemes[i].name, scheme, len) != 0)
            continue;
        if (schemes[i].octets)
            return digest_check(value, schemes[i].octets, schemes[i].salted);
        return i ? crypt_check(value) : argon2_check(value);
    }
    DEFER(xfree) char *name = xstrndup(scheme, len);
    DEFER(xfree) char *seen = shown(name);
    return error_new(ERROR_INVALID,
                     "scheme {%s} is not known: ARGON2, CRYPT, SSHA, SHA, SMD5, MD5, SSHA256, SSHA512 are", seen);
}

Error *account_hash_check(const void *hash, size_t size)
{
    DEFER(xfree) char *text = xstrndup(hash, size);
    const char *end = *text == '{' ? strchr(text, '}') : NULL;

    for (size_t i = 0; i < size; i++)
        if (((const char *)hash)[i] <= ' ' || ((const char *)hash)[i] > '~')
            return error_new(ERROR_INVALID, "what is no letter, digit or sign is in it");
    if (size > ACCOUNT_HASH_MAX)
        return error_new(ERROR_INVALID, "%zu octets, at most %d", size, ACCOUNT_HASH_MAX);
    if (!end || end - text > 32)
        return error_new(ERROR_INVALID, "write {SCHEME} in front, as in {SSHA}...");
    return value_check(text + 1, (size_t)(end - text) - 1, end + 1);
}
