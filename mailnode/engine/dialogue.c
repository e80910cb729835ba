#include "engine/dialogue.h"

#include "base/alloc.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

struct Dialogue {
    int fd;
    Msec until;
    SSL_CTX *context;
    SSL *tls;
    char held[4096]; /* read, not yet taken */
    size_t n_held;
};

void dialogue_free(Dialogue **dialogue)
{
    if (!*dialogue)
        return;
    SSL_free((*dialogue)->tls);
    SSL_CTX_free((*dialogue)->context);
    if ((*dialogue)->fd >= 0)
        close((*dialogue)->fd);
    xfree(dialogue);
}

static Error *wait_for(const Dialogue *dialogue, short events)
{
    struct pollfd poll_fd = {.fd = dialogue->fd, .events = events};

    for (;;) {
        Msec now = clock_ms();
        if (now >= dialogue->until)
            return error_new(ERROR_UNAVAILABLE, "no answer in time");
        int n = poll(&poll_fd, 1, (int)(dialogue->until - now));
        if (n > 0)
            return NULL;
        if (n < 0 && errno != EINTR)
            return error_system("poll");
    }
}

static Error *connect_to(const struct sockaddr *where, socklen_t size, Msec until, Dialogue **ret_dialogue)
{
    DEFER(dialogue_free) Dialogue *dialogue = xcalloc(1, sizeof *dialogue);
    int code = 0;
    socklen_t code_size = sizeof code;

    dialogue->until = until;
    dialogue->fd = socket(where->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (dialogue->fd < 0)
        return error_system("socket");
    if (connect(dialogue->fd, where, size) != 0) {
        if (errno != EINPROGRESS)
            return error_system("connect");
        Error *err = wait_for(dialogue, POLLOUT);
        if (err)
            return err;
        if (getsockopt(dialogue->fd, SOL_SOCKET, SO_ERROR, &code, &code_size) != 0 || code) {
            errno = code ? code : errno;
            return error_system("connect");
        }
    }
    *ret_dialogue = dialogue;
    dialogue = NULL;
    return NULL;
}

Error *dialogue_tcp(const char *address, uint16_t port, Msec until, Dialogue **ret_dialogue)
{
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(port)};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};

    if (inet_pton(AF_INET, address, &v4.sin_addr) == 1)
        return connect_to((struct sockaddr *)&v4, sizeof v4, until, ret_dialogue);
    if (inet_pton(AF_INET6, address, &v6.sin6_addr) == 1)
        return connect_to((struct sockaddr *)&v6, sizeof v6, until, ret_dialogue);
    return error_new(ERROR_INVALID, "'%s' is no address", address);
}

Error *dialogue_unix(const char *path, Msec until, Dialogue **ret_dialogue)
{
    struct sockaddr_un where = {.sun_family = AF_UNIX};

    if (snprintf(where.sun_path, sizeof where.sun_path, "%s", path) >= (int)sizeof where.sun_path)
        return error_new(ERROR_INVALID, "%s: path too long", path);
    return connect_to((struct sockaddr *)&where, sizeof where, until, ret_dialogue);
}

/* ---- octets ------------------------------------------------------------------------ */

/* True: once more, it had to wait. */
static bool tls_again(const Dialogue *dialogue, int result, Error **ret_err)
{
    switch (SSL_get_error(dialogue->tls, result)) {
    case SSL_ERROR_WANT_READ:
        *ret_err = wait_for(dialogue, POLLIN);
        return !*ret_err;
    case SSL_ERROR_WANT_WRITE:
        *ret_err = wait_for(dialogue, POLLOUT);
        return !*ret_err;
    default:
        break;
    }
    const char *reason = ERR_reason_error_string(ERR_peek_last_error());
    *ret_err = error_new(ERROR_UNAVAILABLE, "TLS: %s", reason ? reason : "the connection was closed");
    return false;
}

Error *dialogue_tls(Dialogue *dialogue)
{
    Error *err = NULL;
    int result;

    dialogue->context = SSL_CTX_new(TLS_client_method());
    dialogue->tls = dialogue->context ? SSL_new(dialogue->context) : NULL;
    if (!dialogue->tls || SSL_set_fd(dialogue->tls, dialogue->fd) != 1)
        return error_new(ERROR_SYSTEM, "TLS: no context");
    do {
        ERR_clear_error();
        result = SSL_connect(dialogue->tls);
    } while (result != 1 && tls_again(dialogue, result, &err));
    return err;
}

Error *dialogue_say(Dialogue *dialogue, const void *data, size_t size)
{
    const uint8_t *at = data;
    Error *err = NULL;

    while (size && !err) {
        ssize_t put;
        if (dialogue->tls) {
            ERR_clear_error();
            put = SSL_write(dialogue->tls, at, (int)size);
            if (put <= 0 && tls_again(dialogue, (int)put, &err))
                continue;
        } else {
            put = send(dialogue->fd, at, size, MSG_NOSIGNAL);
            if (put < 0 && errno == EAGAIN) {
                err = wait_for(dialogue, POLLOUT);
                continue;
            }
            if (put < 0)
                err = error_system("send");
        }
        if (err)
            return err;
        at += put;
        size -= (size_t)put;
    }
    return err;
}

Error *dialogue_say_line(Dialogue *dialogue, const char *line)
{
    DEFER(xfree) char *text = xasprintf("%s\r\n", line);

    return dialogue_say(dialogue, text, strlen(text));
}

void dialogue_goodbye(Dialogue *dialogue, const void *data, size_t size)
{
    Error *err = dialogue_say(dialogue, data, size);
    error_free(&err);
}

/* Some octets more, at least one. */
static Error *fill(Dialogue *dialogue)
{
    char *room = dialogue->held + dialogue->n_held;
    size_t left = sizeof dialogue->held - dialogue->n_held;
    Error *err = NULL;

    assert(left);
    while (!err) {
        ssize_t got;
        if (dialogue->tls) {
            ERR_clear_error();
            got = SSL_read(dialogue->tls, room, (int)left);
            if (got <= 0 && tls_again(dialogue, (int)got, &err))
                continue;
        } else {
            got = recv(dialogue->fd, room, left, 0);
            if (got < 0 && errno == EAGAIN) {
                err = wait_for(dialogue, POLLIN);
                continue;
            }
            if (got < 0)
                err = error_system("recv");
            if (got == 0)
                err = error_new(ERROR_UNAVAILABLE, "the connection was closed without an answer");
        }
        if (!err) {
            dialogue->n_held += (size_t)got;
            return NULL;
        }
    }
    return err;
}

static void drop(Dialogue *dialogue, size_t size)
{
    dialogue->n_held -= size;
    memmove(dialogue->held, dialogue->held + size, dialogue->n_held);
}

Error *dialogue_take(Dialogue *dialogue, void *out, size_t size)
{
    assert(size <= sizeof dialogue->held);
    while (dialogue->n_held < size) {
        Error *err = fill(dialogue);
        if (err)
            return err;
    }
    memcpy(out, dialogue->held, size);
    drop(dialogue, size);
    return NULL;
}

Error *dialogue_line(Dialogue *dialogue, char ret_line[DIALOGUE_LINE_MAX])
{
    const char *end;

    while (!(end = memchr(dialogue->held, '\n', dialogue->n_held))) {
        if (dialogue->n_held >= DIALOGUE_LINE_MAX)
            return error_new(ERROR_UNAVAILABLE, "answered without an end of the line");
        Error *err = fill(dialogue);
        if (err)
            return err;
    }
    size_t len = (size_t)(end - dialogue->held);
    size_t kept = len;
    if (kept && dialogue->held[kept - 1] == '\r')
        kept--;
    if (kept >= DIALOGUE_LINE_MAX)
        return error_new(ERROR_UNAVAILABLE, "answered a line that is too long");
    memcpy(ret_line, dialogue->held, kept);
    ret_line[kept] = '\0';
    drop(dialogue, len + 1);
    return NULL;
}

Error *dialogue_expect(Dialogue *dialogue, const char *words)
{
    char line[DIALOGUE_LINE_MAX];

    Error *err = dialogue_line(dialogue, line);
    if (!err && strncmp(line, words, strlen(words)) != 0)
        err = error_new(ERROR_UNAVAILABLE, "answered '%.200s' instead of '%s'", line, words);
    return err;
}
