#include "tasks/restic_place.h"

#include "base/alloc.h"
#include "base/buf.h"
#include "base/path.h"
#include "model/name.h"
#include "model/repository.h"

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { FOLDERS_BYTES_MAX = 64 * 1024, ENV_BYTES_MAX = 16384, NAMES_MAX = 24 };

/* ---- backends ---- */

typedef struct Backend {
    const char *scheme;
    const char *behind;           /* the address stands the instance, and this: REST wants a '/' */
    const char *names[NAMES_MAX]; /* that may stand in env */
} Backend;

static bool begins(const char *text, const char *with)
{
    return strncmp(text, with, strlen(with)) == 0;
}

/* The one place where both forms of the address are set; takes it. */
static void address_is(ResticPlace *place, char *address)
{
    place->shown = address;
    place->repository = secret_new(address, strlen(address));
}

/* Letters, digits, '-' and '_'. */
static bool plain_word(const char *text, size_t len)
{
    if (len == 0 || text[0] == '-')
        return false;
    for (size_t i = 0; i < len; i++)
        if (!isalnum((unsigned char)text[i]) && text[i] != '-' && text[i] != '_')
            return false;
    return true;
}

/* ---- local: ---- */

/* The longest part of the path that is there, with all links resolved, and behind it what is to be made. */
static char *resolved(const char *path)
{
    DEFER(xfree) char *known = xstrdup(path);

    for (;;) {
        DEFER(xfree) char *real = realpath(known, NULL);
        if (real)
            return xasprintf("%s%s", strcmp(real, "/") == 0 ? "" : real, path + strlen(known));
        char *slash = errno == ENOENT ? strrchr(known, '/') : NULL;
        if (!slash)
            return NULL;
        if (slash == known)
            return xstrdup(path);
        *slash = '\0';
    }
}

static bool lies_in(const char *path, const char *folder)
{
    DEFER(xfree) char *real = realpath(folder, NULL);
    size_t len = real ? strlen(real) : 0;

    return len > 1 && strncmp(path, real, len) == 0 && (path[len] == '/' || path[len] == '\0');
}

/* The list is root's own file, or nothing. */
static bool list_of_root(const char *path, Buf *out)
{
    struct stat st;

    if (lstat(path, &st) != 0 || !S_ISREG(st.st_mode) || st.st_uid != 0 || (st.st_mode & 022))
        return false;
    Error *err = file_read(path, FOLDERS_BYTES_MAX, out);
    bool read = !err;
    error_free(&err);
    return read;
}

static bool allowed(const char *root, const char *path)
{
    Path own = path_in(root, "var/lib/mailnode/backup"), list = path_in(root, "etc/mailnode/node/backup-folders");
    DEFER(buf_done) Buf text = {0};
    char *rest = NULL;

    if (!list_of_root(list.text, &text))
        return lies_in(path, own.text);
    DEFER(xfree) char *lines = xstrdup(buf_text(&text));
    for (char *line = strtok_r(lines, "\r\n", &rest); line; line = strtok_r(NULL, "\r\n", &rest))
        if (line[0] == '/' && lies_in(path, line))
            return true;
    return false;
}

static Error *local_address(const char *root, const char *folder, const char *instance, ResticPlace *place)
{
    DEFER(xfree) char *wanted = xasprintf("%s/%s", folder, instance);
    DEFER(xfree) char *path = resolved(wanted);

    if (!path)
        return error_in(error_system("resolve"), "%s", folder);
    if (!allowed(root, path))
        return error_hint(error_new(ERROR_DENIED, "%s lies outside the folders for backups", folder),
                          "put it below %s/var/lib/mailnode/backup, or have root name its folder in "
                          "%s/etc/mailnode/node/backup-folders",
                          root, root);
    address_is(place, xasprintf("local:%s", path));
    return NULL;
}

/* ---- sftp: ---- */

/* [USER@]HOST:PATH or //[USER@]HOST[:PORT]/PATH, in the form that the model found good; a host may stand in brackets. */
static void ssh_parts(const char *rest, ResticPlace *place)
{
    bool url = begins(rest, "//");
    const char *at = rest + (url ? 2 : 0), *sign = strchr(at, '@');

    if (sign)
        place->ssh_user = xstrndup(at, (size_t)(sign - at));
    at = sign ? sign + 1 : at;
    bool brackets = *at == '[';
    at += brackets;
    size_t len = strcspn(at, brackets ? "]" : ":/");
    place->ssh_host = xstrndup(at, len);
    at += len + brackets;
    if (url && *at == ':')
        place->ssh_port = xstrndup(at + 1, strspn(at + 1, "0123456789"));
}

#define GOOGLE_ACCOUNT "GOOGLE_APPLICATION_CREDENTIALS"
#define REST_USER "RESTIC_REST_USERNAME"
#define REST_PASSWORD "RESTIC_REST_PASSWORD"

/* What restic's manual names for each, without those that name files or programs of this machine. */
static const Backend backends[] = {
    {"local:", "", {NULL}},
    {"sftp:", "", {NULL}},
    {"rest:", "/", {REST_USER, REST_PASSWORD}},
    {"s3:",
     "",
     {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_DEFAULT_REGION", "AWS_REGION"}},
    {"b2:", "", {"B2_ACCOUNT_ID", "B2_ACCOUNT_KEY"}},
    {"azure:", "", {"AZURE_ACCOUNT_NAME", "AZURE_ACCOUNT_KEY", "AZURE_ACCOUNT_SAS"}},
    {"gs:", "", {"GOOGLE_PROJECT_ID", "GOOGLE_ACCESS_TOKEN", GOOGLE_ACCOUNT}},
    {"swift:",
     "",
     {"ST_AUTH",
      "ST_USER",
      "ST_KEY",
      "OS_AUTH_URL",
      "OS_REGION_NAME",
      "OS_USERNAME",
      "OS_USER_ID",
      "OS_PASSWORD",
      "OS_TENANT_ID",
      "OS_TENANT_NAME",
      "OS_USER_DOMAIN_NAME",
      "OS_USER_DOMAIN_ID",
      "OS_PROJECT_NAME",
      "OS_PROJECT_DOMAIN_NAME",
      "OS_PROJECT_DOMAIN_ID",
      "OS_TRUST_ID",
      "OS_APPLICATION_CREDENTIAL_ID",
      "OS_APPLICATION_CREDENTIAL_NAME",
      "OS_APPLICATION_CREDENTIAL_SECRET",
      "OS_STORAGE_URL",
      "OS_AUTH_TOKEN"}},
};
enum { N_BACKENDS = sizeof backends / sizeof *backends };

static const Backend *backend_of(const char *repository)
{
    for (size_t i = 0; i < N_BACKENDS; i++)
        if (begins(repository, backends[i].scheme))
            return &backends[i];
    return NULL;
}

/* The repository of the instance lies below. */
static Error *address_read(const char *root, const Backend *backend, const char *repository, const char *instance,
                           ResticPlace *place)
{
    const char *rest = repository + strlen(backend->scheme);

    if (begins(backend->scheme, "local:"))
        return local_address(root, rest, instance, place);
    if (begins(backend->scheme, "sftp:"))
        ssh_parts(rest, place);
    address_is(place, xasprintf("%s/%s%s", repository, instance, backend->behind));
    return NULL;
}

/* ---- logins ---- */

static bool name_allowed(const Backend *backend, const char *name, size_t len)
{
    for (size_t i = 0; i < NAMES_MAX && backend->names[i]; i++)
        if (strlen(backend->names[i]) == len && memcmp(backend->names[i], name, len) == 0)
            return true;
    return false;
}

static Error *name_refused(const Backend *backend, const char *name, size_t len)
{
    DEFER(buf_done) Buf may = {0};
    bool word = len <= 64 && plain_word(name, len); /* else it may be a secret that stands in the wrong place */

    for (size_t i = 0; i < NAMES_MAX && backend->names[i]; i++)
        buf_printf(&may, "%s%s", i ? ", " : "", backend->names[i]);
    Error *err = error_new(ERROR_INVALID, "'%.*s' may not be set for %s", word ? (int)len : 1, word ? name : "?",
                           backend->scheme);
    return may.size ? error_hint(err, "it knows %s", buf_text(&may)) : err;
}

static void percent(Buf *out, const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        bool plain = isalnum((unsigned char)text[i]) || strchr("-._~", text[i]);
        buf_printf(out, plain ? "%c" : "%%%02X", (unsigned char)text[i]);
    }
}

typedef struct Login { /* of rest: */
    const char *user, *password;
    size_t user_len, password_len;
} Login;

static Error *line_take(const Backend *backend, const char *line, size_t len, Login *login, ResticPlace *place)
{
    const char *sign = memchr(line, '=', len);
    size_t name_len = sign ? (size_t)(sign - line) : 0;

    if (!sign)
        return error_new(ERROR_INVALID, "write NAME=VALUE");
    if (!name_allowed(backend, line, name_len))
        return name_refused(backend, line, name_len);
    const char *value = sign + 1;
    size_t value_len = len - name_len - 1;
    if (begins(line, REST_USER "=")) {
        *login = (Login){value, login->password, value_len, login->password_len};
    } else if (begins(line, REST_PASSWORD "=")) {
        *login = (Login){login->user, value, login->user_len, value_len};
    } else if (begins(line, GOOGLE_ACCOUNT "=")) {
        if (value[0] != '{' || place->google)
            return error_new(ERROR_INVALID, GOOGLE_ACCOUNT ": write the account's JSON itself, on one line");
        place->google = secret_new(value, value_len);
    } else if (place->n_env == RESTIC_ENV_MAX) {
        return error_new(ERROR_INVALID, "more than %d lines", RESTIC_ENV_MAX);
    } else {
        place->env[place->n_env++] = secret_new(line, len);
    }
    return NULL;
}

/* restic 0.14 does not read RESTIC_REST_USERNAME: the login goes into the address, which goes through a memfd. */
static void login_into(const Login *login, ResticPlace *place)
{
    const char *address = secret_text(place->repository);
    const char *host = strstr(address, "://") + 3;
    Buf whole = {0};

    buf_append(&whole, address, (size_t)(host - address));
    percent(&whole, login->user, login->user_len);
    buf_append_text(&whole, ":");
    percent(&whole, login->password, login->password_len);
    buf_append_text(&whole, "@");
    buf_append_text(&whole, host);
    secret_free(&place->repository);
    place->repository = secret_new(whole.data, whole.size);
    wipe(whole.data, whole.room);
    buf_done(&whole);
}

static Error *env_read(const Backend *backend, const Secret *env, ResticPlace *place)
{
    const char *text = secret_text(env);
    size_t left = secret_size(env);
    Login login = {0};

    if (left > ENV_BYTES_MAX || memchr(text, '\0', left))
        return error_new(ERROR_INVALID, "env: at most %d octets of text", ENV_BYTES_MAX);
    for (unsigned number = 1; left; number++) {
        size_t len = strcspn(text, "\n"), used = len + (text[len] == '\n');
        size_t said = len && text[len - 1] == '\r' ? len - 1 : len;
        Error *err = said ? line_take(backend, text, said, &login, place) : NULL;
        if (err)
            return error_in(err, "env: line %u", number);
        text += used;
        left -= used;
    }
    if (!login.user != !login.password)
        return error_new(ERROR_INVALID, "env: " REST_USER " and " REST_PASSWORD " stand together");
    if (login.user)
        login_into(&login, place);
    return NULL;
}

/* ---- the whole ---- */

Error *restic_place_read(const char *root, const char *repository, const char *instance, const Secret *env,
                         ResticPlace *ret_place)
{
    DEFER(restic_place_done) ResticPlace place = {0};
    DEFER(xfree) char *normal = NULL;

    if (!plain_word(instance, strlen(instance)) || strlen(instance) > NAME_MAX_LEN)
        return error_new(ERROR_INVALID, "instance: not a name");
    Error *err = error_in(repository_normalise(repository, &normal), "repository");
    if (err)
        return err;
    const Backend *backend = backend_of(normal);
    if (!backend)
        return error_new(ERROR_UNSUPPORTED, "repository: of a kind that mail-engine does not know");
    err = error_in(address_read(root, backend, normal, instance, &place), "repository");
    if (!err && env)
        err = env_read(backend, env, &place);
    if (err)
        return err;
    *ret_place = place;
    place = (ResticPlace){0};
    return NULL;
}

const char *restic_place_folder(const ResticPlace *place)
{
    return begins(place->shown, "local:") ? place->shown + strlen("local:") : NULL;
}

void restic_place_done(ResticPlace *place)
{
    for (size_t i = 0; i < place->n_env; i++)
        secret_free(&place->env[i]);
    place->n_env = 0;
    secret_free(&place->repository);
    secret_free(&place->google);
    xfree(&place->shown);
    xfree(&place->ssh_user);
    xfree(&place->ssh_host);
    xfree(&place->ssh_port);
}
