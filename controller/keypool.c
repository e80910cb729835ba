#include "keypool.h"

#include "base/alloc.h"
#include "base/buf.h"
#include "base/child.h"
#include "base/log.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    TEXT_MAX = 8192, /* octets of a key's private or public half */
    AGAIN_MS = 5000, /* after a child that made nothing */
};

struct KeyPool {
    char *program;
    DkimPair pairs[KEYPOOL_MAX];
    size_t n, wanted;
    Child *child;
    int fd;
    size_t n_got; /* from this child */
    Buf in;
    Msec again_at;
    char *trouble;
};

KeyPool *keypool_new(const char *program)
{
    KeyPool *pool = xcalloc(1, sizeof *pool);

    pool->program = xstrdup(program);
    pool->fd = -1;
    buf_init(&pool->in, 4 * TEXT_MAX);
    return pool;
}

static void child_end(KeyPool *pool)
{
    child_free(&pool->child);
    if (pool->fd >= 0)
        close(pool->fd);
    pool->fd = -1;
    if (pool->in.data)
        wipe(pool->in.data, pool->in.room);
    buf_clear(&pool->in);
    pool->n_got = 0;
}

void keypool_free(KeyPool **pool)
{
    if (!*pool)
        return;
    child_end(*pool);
    keypool_drop(*pool, (*pool)->n);
    buf_done(&(*pool)->in);
    free((*pool)->trouble);
    free((*pool)->program);
    free(*pool);
    *pool = NULL;
}

size_t keypool_count(const KeyPool *pool)
{
    return pool->n;
}

const DkimPair *keypool_at(const KeyPool *pool, size_t i)
{
    return i < pool->n ? &pool->pairs[i] : NULL;
}

void keypool_drop(KeyPool *pool, size_t n)
{
    if (n > pool->n)
        n = pool->n;
    for (size_t i = 0; i < n; i++)
        dkim_pair_done(&pool->pairs[i]);
    memmove(pool->pairs, pool->pairs + n, (pool->n - n) * sizeof *pool->pairs);
    pool->n -= n;
}

void keypool_want(KeyPool *pool, size_t n)
{
    if (n > KEYPOOL_MAX)
        n = KEYPOOL_MAX;
    if (n > pool->wanted)
        pool->wanted = n;
}

const char *keypool_trouble(const KeyPool *pool)
{
    return pool->trouble;
}

static void trouble_is(KeyPool *pool, Error *err, Msec now)
{
    pool->again_at = now + AGAIN_MS;
    free(pool->trouble);
    pool->trouble = xstrdup(err->what);
    log_stop(LOG_LEVEL_ERROR, "no DKIM keys are made, trying again", &err);
}

/* ---- what the child says: length and text, private then public half, key after key ---- */

static uint32_t number_at(const uint8_t *octets)
{
    return (uint32_t)octets[0] << 24 | (uint32_t)octets[1] << 16 | (uint32_t)octets[2] << 8 | octets[3];
}

/* The text at 'at'; NULL: not all of it is there, or *ret_wrong. */
static const uint8_t *text_at(const Buf *in, size_t at, size_t *ret_size, bool *ret_wrong)
{
    if (in->size < at + 4)
        return NULL;
    *ret_size = number_at(in->data + at);
    *ret_wrong = *ret_size == 0 || *ret_size > TEXT_MAX;
    return *ret_wrong || in->size < at + 4 + *ret_size ? NULL : in->data + at + 4;
}

static bool key_take(KeyPool *pool, bool *ret_wrong)
{
    size_t private_size = 0, public_size = 0;
    const uint8_t *private_key = text_at(&pool->in, 0, &private_size, ret_wrong);
    const uint8_t *public_key = private_key ? text_at(&pool->in, 4 + private_size, &public_size, ret_wrong) : NULL;

    if (!public_key || pool->n == KEYPOOL_MAX)
        return false;
    pool->pairs[pool->n++] = (DkimPair){.private_key = secret_new(private_key, private_size),
                                        .public_key = xstrndup((const char *)public_key, public_size)};
    wipe(pool->in.data, private_size + 4);
    buf_drop(&pool->in, 8 + private_size + public_size);
    pool->n_got++;
    return true;
}

static void child_hear(KeyPool *pool, Msec now)
{
    uint8_t *room = buf_reserve(&pool->in, TEXT_MAX);
    ssize_t got = room ? read(pool->fd, room, TEXT_MAX) : 0;
    bool wrong = false;

    if (got < 0 && (errno == EINTR || errno == EAGAIN))
        return;
    if (got > 0) {
        pool->in.size += (size_t)got;
        while (key_take(pool, &wrong))
            continue;
    }
    if (got > 0 && !wrong)
        return;
    if (!pool->n_got || wrong)
        trouble_is(pool, error_new(ERROR_SYSTEM, "the child that makes them ended without one"), now);
    child_end(pool);
}

/* ---- the child ---- */

static void child_begin(KeyPool *pool, size_t n, Msec now)
{
    DEFER(xfree) char *number = xasprintf("%zu", n);

    Error *err =
        child_start((const char *const[]){pool->program, "--dkim-keys", number, NULL}, &pool->child, &pool->fd);
    if (err)
        trouble_is(pool, err, now);
}

void keypool_run(KeyPool *pool, Msec now)
{
    struct pollfd heard = {.fd = pool->fd, .events = POLLIN};

    while (pool->child && poll(&heard, 1, 0) > 0) {
        child_hear(pool, now);
        heard.fd = pool->fd;
    }
    if (pool->n >= KEYPOOL_READY && !pool->child) {
        free(pool->trouble);
        pool->trouble = NULL;
    }
    if (pool->n >= pool->wanted)
        pool->wanted = KEYPOOL_READY;
    if (!pool->child && pool->n < pool->wanted && now >= pool->again_at)
        child_begin(pool, pool->wanted - pool->n, now);
}

void keypool_wait(const KeyPool *pool, Waiter *wake)
{
    if (pool->child)
        waiter_fd(wake, pool->fd, POLLIN);
    else if (pool->n < pool->wanted)
        waiter_at(wake, pool->again_at);
}

static Error *text_write(int fd, const void *text, size_t size)
{
    uint8_t head[4] = {(uint8_t)(size >> 24), (uint8_t)(size >> 16), (uint8_t)(size >> 8), (uint8_t)size};

    if (write(fd, head, sizeof head) != (ssize_t)sizeof head || write(fd, text, size) != (ssize_t)size)
        return error_system("write");
    return NULL;
}

Error *keypool_make(int fd, unsigned long n)
{
    Error *err = NULL;

    for (unsigned long i = 0; !err && i < n; i++) {
        DEFER(dkim_pair_done) DkimPair pair = {0};
        err = dkim_pair_make(&pair);
        if (!err)
            err = text_write(fd, secret_data(pair.private_key), secret_size(pair.private_key));
        if (!err)
            err = text_write(fd, pair.public_key, strlen(pair.public_key));
    }
    return err;
}
