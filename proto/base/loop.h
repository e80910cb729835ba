/* loop.h - the main loop's clock, its sleep, and the wish to stop
 *
 * Each part has x_run, which does all that can be done now and never blocks, and
 * x_wait, which says what shall wake it.  waiter_block is the only place that sleeps:
 *
 *     while (!stop_requested()) {
 *         part_run(part, clock_ms());
 *         Waiter wake = waiter_start();
 *         part_wait(part, &wake);
 *         waiter_block(&wake);
 *     }
 */
#pragma once
#include "base/attributes.h"

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef uint64_t Msec; /* milliseconds of the monotonic clock */

#define MSEC_NEVER UINT64_MAX

Msec clock_ms(void);

typedef struct Waiter {
    struct pollfd *fds; /* owned, freed by waiter_block */
    size_t n_fds, room;
    Msec at;
} Waiter;

Waiter waiter_start(void);
void waiter_fd(Waiter *wake, int fd, short events); /* POLLIN, POLLOUT; a negative fd is left out */
void waiter_at(Waiter *wake, Msec at_ms);           /* no later than then */
void waiter_now(Waiter *wake);                      /* there is more to do at once */
void waiter_block(Waiter *wake);                    /* until one of these, or a signal */

/* SIGTERM and SIGINT ask for the end; SIGPIPE and SIGHUP are ignored.  The signals
 * are blocked outside waiter_block, so none is lost between the check and the sleep. */
void stop_on_signals(void);
bool stop_requested(void);
