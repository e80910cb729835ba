#include "model/repository.h"

#include "base/alloc.h"
#include "model/name.h"
#include "model/shown.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define LETTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define DIGITS "0123456789"

static Error *not_allowed(const char *rest, const char *what_is)
{
    DEFER(xfree) char *one = xstrndup(rest, 1);
    DEFER(xfree) char *seen = shown(one);

    return error_new(ERROR_INVALID, "'%s' is not allowed: %s", seen, what_is);
}

/* A name, or an address; in brackets where it has colons.  *at comes to stand behind it. */
static Error *host_skip(const char **at)
{
    const char *host = *at;
    size_t len;

    if (*host == '[') {
        len = strspn(host + 1, DIGITS "abcdefABCDEF:.");
        if (host[1 + len] != ']')
            return error_new(ERROR_INVALID, "'[' without an IPv6 address and ']'");
        DEFER(xfree) char *number = xstrndup(host + 1, len);
        DEFER(xfree) char *normal = NULL;
        *at = host + len + 2;
        return text_normalise(MAIL__FIELD_TYPE__IP, number, &normal);
    }
    len = strspn(host, LETTERS DIGITS "._-");
    if (!len)
        return error_new(ERROR_INVALID, "no host");
    if (*host == '-')
        return error_new(ERROR_INVALID, "a host that begins with '-'");
    *at = host + len;
    return NULL;
}

static Error *port_skip(const char **at)
{
    if (**at != ':')
        return NULL;
    size_t n = strspn(*at + 1, DIGITS);
    unsigned long port = n && n < 6 ? strtoul(*at + 1, NULL, 10) : 0;
    if (port < 1 || port > 65535)
        return error_new(ERROR_INVALID, "no port behind ':' of the host");
    *at += 1 + n;
    return NULL;
}

/* What names a place at somebody else's: no level of it leads upwards. */
static Error *place_check(const char *place, const char *what)
{
    size_t some = 0;

    for (const char *at = place;; at += strcspn(at, "/") + 1) {
        size_t len = strcspn(at, "/");
        if ((len == 1 && at[0] == '.') || (len == 2 && at[0] == '.' && at[1] == '.'))
            return error_new(ERROR_INVALID, "'%.*s' in the %s", (int)len, at, what);
        some += len;
        if (!at[len])
            break;
    }
    return some ? NULL : error_new(ERROR_INVALID, "no %s", what);
}

/* ---- by scheme ----------------------------------------------------------------------- */

static Error *local_check(const char *place)
{
    DEFER(xfree) char *normal = NULL;

    return text_normalise(MAIL__FIELD_TYPE__PATH, place, &normal);
}

/* Before '@' stands who logs in; the password is the key's. */
static Error *login_skip(const char **at)
{
    const char *end = strchr(*at, '@');

    if (!end)
        return NULL;
    size_t len = (size_t)(end - *at), good = strspn(*at, LETTERS DIGITS "._-+");
    if (memchr(*at, ':', len))
        return error_hint(error_new(ERROR_INVALID, "a password in the address"), "set ssh-key=@FILE instead");
    if (!len || good < len || **at == '-')
        return error_new(ERROR_INVALID, "no login before '@'");
    *at = end + 1;
    return NULL;
}

static Error *sftp_check(const char *place)
{
    bool url = strncmp(place, "//", 2) == 0;
    const char *at = place + (url ? 2 : 0);

    Error *err = login_skip(&at);
    if (!err)
        err = host_skip(&at);
    if (!err && url)
        err = port_skip(&at);
    if (err)
        return err;
    if (*at != (url ? '/' : ':'))
        return error_hint(error_new(ERROR_INVALID, "no folder behind the host"), "write sftp:USER@HOST:/FOLDER");
    return place_check(at + 1, "folder");
}

static Error *http_check(const char *place, const char *what)
{
    const char *at = place + (strncmp(place, "https://", 8) == 0 ? 8 : strncmp(place, "http://", 7) == 0 ? 7 : 0);

    if (memchr(at, '@', strcspn(at, "/")))
        return error_hint(error_new(ERROR_INVALID, "a login in the address"), "lines NAME=VALUE of env=@FILE have it");
    Error *err = host_skip(&at);
    if (!err)
        err = port_skip(&at);
    if (!err && *at && *at != '/')
        err = not_allowed(at, "behind the host stands ':PORT' or '/'");
    if (!err && (what || (*at && at[strspn(at, "/")])))
        err = place_check(at, what ? what : "path");
    return err;
}

static Error *rest_check(const char *place)
{
    if (strncmp(place, "http://", 7) != 0 && strncmp(place, "https://", 8) != 0)
        return error_hint(error_new(ERROR_INVALID, "no URL behind rest:"), "write rest:https://HOST/PATH");
    return http_check(place, NULL);
}

static Error *s3_check(const char *place)
{
    return error_hint(http_check(place, "bucket"), "write s3:HOST/BUCKET, or s3:https://HOST/BUCKET");
}

static Error *container_check(const char *place)
{
    size_t len = strspn(place, LETTERS DIGITS "._-");

    if (!len || *place == '-' || place[len] != ':')
        return error_hint(error_new(ERROR_INVALID, "no bucket or container with ':' behind it"),
                          "write b2:BUCKET:PATH; azure, gs and swift alike");
    const char *path = place + len + 1;
    return path[strspn(path, "/")] ? place_check(path, "path") : NULL;
}

static const struct {
    const char *name;
    Error *(*check)(const char *place);
} schemes[] = {
    {"local", local_check},  {"sftp", sftp_check},       {"rest", rest_check},    {"s3", s3_check},
    {"b2", container_check}, {"azure", container_check}, {"gs", container_check}, {"swift", container_check},
};

/* ---- all of them --------------------------------------------------------------------- */

/* A path here may have any letters; elsewhere they are what a URL has. */
static Error *letters_check(const char *text)
{
    size_t good = strspn(text, LETTERS DIGITS "-._~:/[]@!$&()*+,;=%");

    return text[good] ? not_allowed(text + good, "letters, digits and what a URL has") : NULL;
}

static Error *no_scheme(const char *text)
{
    Error *err = error_new(ERROR_INVALID, "no kind of repository");

    if (*text == '/')
        return error_hint(err, "write local:%s", text);
    if (strncmp(text, "http://", 7) == 0 || strncmp(text, "https://", 8) == 0)
        return error_hint(err, "write rest:%s, or s3:%s", text, text);
    return error_hint(err, "local:, sftp:, rest:, s3:, b2:, azure:, gs: or swift:, as restic has them");
}

Error *repository_normalise(const char *text, char **ret_text)
{
    size_t scheme = strcspn(text, ":"), len = strlen(text);

    for (size_t i = 0; text[scheme] && i < sizeof schemes / sizeof *schemes; i++) {
        if (strlen(schemes[i].name) != scheme || strncmp(text, schemes[i].name, scheme) != 0)
            continue;
        while (len > scheme + 2 && text[len - 1] == '/')
            len--;
        DEFER(xfree) char *normal = xstrndup(text, len);
        Error *err = schemes[i].check == local_check ? NULL : letters_check(normal);
        if (!err)
            err = schemes[i].check(normal + scheme + 1);
        if (err)
            return err;
        *ret_text = normal;
        normal = NULL;
        return NULL;
    }
    return no_scheme(text);
}
