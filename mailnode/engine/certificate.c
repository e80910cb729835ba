#include "engine/certificate.h"

#include "base/alloc.h"
#include "base/crash.h"
#include "base/proc.h"
#include "engine/pair.h"
#include "engine/tree.h"
#include "tables/places.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum {
    DAY_S = 86400,
    SELF_DAYS = 825,
    SELF_RENEW_DAYS = 30,
    SELF_BEGINS_BEFORE_S = 3600,
    FOLDERS_BYTES_MAX = 64 * 1024,
    SELF_NAME_MAX = 64
};

/* The text of a file in Buf form, wiped at the end since it may be a key. */
static void secret_done(Buf *buf)
{
    if (buf->data)
        explicit_bzero(buf->data, buf->room);
    buf_done(buf);
}

static bool lies_in(const char *path, const char *folder)
{
    DEFER(xfree) char *real = realpath(folder, NULL);

    return real && strncmp(path, real, strlen(real)) == 0 && path[strlen(real)] == '/';
}

/* A file of root that nobody else may write, or nothing: the agent must not name folders for root to read from. */
static bool read_of_root(const char *path, Buf *out)
{
    DEFER(fd_close) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
    struct stat st;

    if (fd < 0 || fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) || st.st_uid != 0 || (st.st_mode & 022) ||
        st.st_size > FOLDERS_BYTES_MAX)
        return false;
    uint8_t *at = buf_reserve(out, FOLDERS_BYTES_MAX);
    ssize_t got = at ? read(fd, at, FOLDERS_BYTES_MAX) : -1;
    if (got < 0)
        return false;
    out->size += (size_t)got;
    return true;
}

/* A line that does not begin with '/' is none. */
static bool lies_in_named(const char *path, const char *root)
{
    Path list = path_in(root, "etc/mailnode/tls-folders");
    DEFER(buf_done) Buf text = {0};
    char *rest = NULL;

    if (!read_of_root(list.text, &text))
        return false;
    DEFER(xfree) char *lines = xstrdup(buf_text(&text));
    for (char *line = strtok_r(lines, "\r\n", &rest); line; line = strtok_r(NULL, "\r\n", &rest)) {
        if (line[0] == '/' && line[1] && lies_in(path, line))
            return true;
    }
    return false;
}

static bool allowed(const char *path, const char *root)
{
    Path own = path_in(root, "etc/mailnode/tls");

    return lies_in(path, own.text) || lies_in(path, "/etc/letsencrypt") || lies_in(path, "/etc/ssl") ||
           lies_in_named(path, root);
}

/* Opened without reading first (O_PATH): what is judged is what is then read, whatever the names lead to by now, and a
 * device or a pipe outside the folders is not touched. */
static Error *followed_open(const char *path, const char *root, int *ret_fd)
{
    DEFER(fd_close) int at = open(path, O_PATH | O_CLOEXEC);
    char self[64], real[PATH_MAX];
    struct stat st;

    if (at < 0)
        return errno == ENOENT ? error_new(ERROR_NOT_FOUND, "no such file") : error_system("open");
    snprintf(self, sizeof self, "/proc/self/fd/%d", at);
    ssize_t len = readlink(self, real, sizeof real - 1);
    if (len < 0 || fstat(at, &st) != 0)
        return error_system("look");
    real[len] = '\0';
    if (!allowed(real, root))
        return error_hint(error_new(ERROR_DENIED, "lies outside the folders that certificates are read from"),
                          "put it below %s/etc/mailnode/tls, or name its folder in %s/etc/mailnode/tls-folders", root,
                          root);
    if (!S_ISREG(st.st_mode))
        return error_new(ERROR_INVALID, "not a regular file");
    int fd = open(self, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0)
        return error_system("open");
    *ret_fd = fd;
    return NULL;
}

static Error *followed_read(const char *path, const char *root, Buf *out)
{
    DEFER(fd_close) int fd = -1;

    Error *err = followed_open(path, root, &fd);
    while (!err) {
        uint8_t *at = buf_reserve(out, 8192);
        if (!at || out->size > PAIR_BYTES_MAX)
            return error_new(ERROR_INVALID, "%s: larger than %d octets", path, PAIR_BYTES_MAX);
        ssize_t got = read(fd, at, 8192);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            err = error_system("read");
        else if (got == 0)
            return NULL;
        else
            out->size += (size_t)got;
    }
    return error_in(err, "%s", path);
}

static bool follows(const NodeState *state)
{
    return state->tls && (state->tls->follow_certificate || state->tls->follow_key);
}

static Error *pair_followed(const NodeState *state, int64_t now, Pair *ret_pair)
{
    DEFER(secret_done) Buf certificates = {0}, key = {0};

    if (!state->tls->follow_certificate || !state->tls->follow_key)
        return error_new(ERROR_INVALID, "follow-certificate and follow-key are set together");
    Error *err = followed_read(state->tls->follow_certificate, state->root, &certificates);
    if (!err)
        err = followed_read(state->tls->follow_key, state->root, &key);
    return err ? err : pair_read(&certificates, &key, now, ret_pair);
}

/* A node that holds only a directory has no host name stated: its own name serves LDAPS. */
static const char *certificate_name(const NodeState *state)
{
    return state->instance ? state->instance->hostname : state->node;
}

/* A host name may be longer than a path has room for. */
static Path self_path(const NodeState *state, const char *part)
{
    const char *name = certificate_name(state);
    char shorter[DIGEST_HEX_SIZE];
    Digest digest = digest_of(name, strlen(name));

    digest_hex(&digest, shorter);
    if (strlen(name) > SELF_NAME_MAX)
        name = shorter;
    return path_in(state->root, "var/lib/mailnode/engine/tls/self/%s/%s", name, part);
}

/* The pair that we made earlier, if it is one and serves long enough. */
static bool pair_kept(const NodeState *state, int64_t now, Pair *ret_pair)
{
    DEFER(secret_done) Buf certificate = {0}, key = {0};
    Pair pair = {0};

    Error *err = file_read(self_path(state, "cert.pem").text, PAIR_BYTES_MAX, &certificate);
    if (!err)
        err = file_read(self_path(state, "key.pem").text, PAIR_BYTES_MAX, &key);
    if (!err)
        err = pair_read(&certificate, &key, now, &pair);
    bool kept =
        !err && pair.ends - now > (int64_t)SELF_RENEW_DAYS * DAY_S && pair_covers(&pair, certificate_name(state));
    error_free(&err);
    if (kept)
        *ret_pair = pair;
    else
        pair_done(&pair);
    return kept;
}

/* The certificate comes last: without one that fits the key a new pair is made. */
static Error *pair_keep(const NodeState *state, const Pair *pair)
{
    Path key = self_path(state, "key.pem"), certificate = self_path(state, "cert.pem");
    DEFER(xfree) char *folder = xstrndup(key.text, (size_t)(strrchr(key.text, '/') - key.text));

    Error *err = folder_make(folder, 0700, 0, 0);
    if (!err)
        err = file_write(key.text, pair->key.data, pair->key.size, 0600, (gid_t)-1);
    if (!err)
        CRASH_POINT("engine.certificate.key");
    if (!err)
        err = file_write(certificate.text, pair->certificates.data, pair->certificates.size, 0600, (gid_t)-1);
    return err;
}

static Error *pair_self(const NodeState *state, int64_t now, Pair *ret_pair)
{
    Pair pair = {0};

    if (pair_kept(state, now, ret_pair))
        return NULL;
    Error *err =
        pair_make(certificate_name(state), now - SELF_BEGINS_BEFORE_S, now + (int64_t)SELF_DAYS * DAY_S, &pair);
    if (!err)
        err = pair_keep(state, &pair);
    if (err) {
        pair_done(&pair);
        return err;
    }
    *ret_pair = pair;
    return NULL;
}

static bool needs_none(const NodeState *state)
{
    return !state->instance && !state->n_directories;
}

/* Writes it only where it is not so already: a daemon may be reading. */
static Error *part_write(const char *folder, const char *name, const Buf *text, mode_t mode, gid_t gid)
{
    DEFER(xfree) char *path = xasprintf("%s/%s", folder, name);
    DEFER(secret_done) Buf there = {0};
    struct stat st;

    Error *err = file_read(path, PAIR_BYTES_MAX, &there);
    bool same = !err && there.size == text->size && memcmp(there.data, text->data, text->size) == 0 &&
                stat(path, &st) == 0 && (st.st_mode & 07777) == mode && st.st_gid == gid;
    error_free(&err);
    return same ? NULL : file_write(path, text->data, text->size, mode, gid);
}

/* slapd reads as its own user, the others as root. */
static Error *parts_for_slapd(const char *folder, const Pair *pair)
{
    gid_t gid;

    Error *err = proc_group("openldap", &gid);
    if (!err)
        err = part_write(folder, "ldap-key.pem", &pair->key, 0640, gid);
    if (!err)
        err = part_write(folder, "ldap-cert.pem", &pair->certificates, 0640, gid);
    return err;
}

static Error *parts_write(const NodeState *state, const char *folder, const Pair *pair)
{
    DEFER(secret_done) Buf both = {0};

    buf_append(&both, pair->key.data, pair->key.size);
    buf_append(&both, pair->certificates.data, pair->certificates.size);
    Error *err = folder_make(folder, 0711, 0, 0);
    if (!err)
        CRASH_POINT("engine.certificate.writing");
    if (!err)
        err = part_write(folder, "key.pem", &pair->key, 0600, 0);
    if (!err)
        err = part_write(folder, "cert.pem", &pair->certificates, 0600, 0);
    if (!err)
        err = part_write(folder, "chain.pem", &both, 0600, 0);
    if (!err && state->n_directories)
        err = parts_for_slapd(folder, pair);
    if (!err)
        CRASH_POINT("engine.certificate.written");
    return err;
}

static Path folder_of(const NodeState *state, const Pair *pair)
{
    return path_in(state->root, "var/lib/mailnode/engine/tls/%s", pair->name);
}

Error *certificate_take(const NodeState *state, Path *ret_folder)
{
    DEFER(pair_done) Pair pair = {0};
    int64_t now = (int64_t)time(NULL);

    if (needs_none(state)) {
        *ret_folder = (Path){""};
        return NULL;
    }
    Error *err = follows(state) ? pair_followed(state, now, &pair) : pair_self(state, now, &pair);
    if (err)
        return error_in(err, "tls");

    Path folder = folder_of(state, &pair);
    Path above = path_in(state->root, "var/lib/mailnode/engine/tls");
    err = folder_make(above.text, 0711, 0, 0);
    if (!err)
        err = parts_write(state, folder.text, &pair);
    if (!err)
        err = folder_sync(above.text);
    if (err)
        return error_in(err, "tls");
    *ret_folder = folder;
    return NULL;
}

bool certificate_due(const NodeState *state, const char *folder)
{
    DEFER(pair_done) Pair pair = {0};
    int64_t now = (int64_t)time(NULL);

    if (needs_none(state))
        return false;
    if (follows(state)) {
        Error *err = pair_followed(state, now, &pair);
        if (err) {
            error_free(&err);
            return true; /* certificate_take says what is wrong */
        }
    } else if (!pair_kept(state, now, &pair)) {
        return true;
    }
    return strcmp(folder_of(state, &pair).text, folder) != 0;
}

Error *certificate_ends(const char *folder, int64_t *ret_seconds_left, char ret_issuer[128])
{
    DEFER(pair_done) Pair pair = {0};
    DEFER(secret_done) Buf certificates = {0}, key = {0};
    DEFER(xfree) char *certificate_file = xasprintf("%s/cert.pem", folder), *key_file = xasprintf("%s/key.pem", folder);

    Error *err = file_read(certificate_file, PAIR_BYTES_MAX, &certificates);
    if (!err)
        err = file_read(key_file, PAIR_BYTES_MAX, &key);
    if (!err)
        err = pair_read(&certificates, &key, 0, &pair);
    if (err)
        return error_in(err, "tls");
    *ret_seconds_left = pair.ends - (int64_t)time(NULL);
    snprintf(ret_issuer, 128, "%s", pair.issuer);
    return NULL;
}

static bool is_used(const char *name, const char *const *used, size_t n_used)
{
    for (size_t i = 0; i < n_used; i++) {
        const char *slash = strrchr(used[i], '/');
        if (slash && strcmp(slash + 1, name) == 0)
            return true;
    }
    return false;
}

void certificates_sweep(const char *root, const char *const *used, size_t n_used)
{
    Path above = path_in(root, "var/lib/mailnode/engine/tls");
    DEFER(dir_close) DIR *dir = opendir(above.text);

    for (struct dirent *entry; dir && (entry = readdir(dir));) {
        if (entry->d_name[0] == '.' || strcmp(entry->d_name, "self") == 0 || is_used(entry->d_name, used, n_used))
            continue;
        DEFER(xfree) char *path = xasprintf("%s/%s", above.text, entry->d_name);
        tree_remove(path);
    }
}
