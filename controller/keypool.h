/* keypool.h - DKIM keys made ahead, by a child
 *
 * A key costs 30 to 300 ms of CPU, and a loop that serves others has none of them to give: a child of ours ("mail-controller
 * --dkim-keys N", niced) makes them one by one and ends.  One lies ready at any time; who needs more says so and comes
 * again when they are there.
 *
 * Keys are looked at where they lie and used up from the front: a change that is worked out, undone and worked out again
 * sees the same ones.
 */
#pragma once
#include "base/loop.h"
#include "seal/dkim.h"

typedef struct KeyPool KeyPool;

enum {
    KEYPOOL_READY = 1, /* at any time: most changes add one domain, and nobody adds the next one within a key's time */
    KEYPOOL_MAX = 16,  /* that can be wanted at once */
};

KeyPool *keypool_new(const char *program); /* mail-controller's path; copied */
void keypool_free(KeyPool **pool);         /* ends the child */

size_t keypool_count(const KeyPool *pool);
const DkimPair *keypool_at(const KeyPool *pool, size_t i); /* NULL: there are not so many */
void keypool_drop(KeyPool *pool, size_t n);                /* the first ones: used, or perhaps used */

/* From now on and until they are there: at least so many; at most KEYPOOL_MAX. */
void keypool_want(KeyPool *pool, size_t n);
const char *keypool_trouble(const KeyPool *pool); /* why none are made; NULL: they are */

void keypool_run(KeyPool *pool, Msec now);
void keypool_wait(const KeyPool *pool, Waiter *wake);

/* The child's work: 'n' keys to this descriptor. */
CHECKED Error *keypool_make(int fd, unsigned long n);
