#include "base/loop.h"

#include "base/alloc.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static volatile sig_atomic_t stopping;
static sigset_t unblocked;
static bool signals_set;

Msec clock_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (Msec)now.tv_sec * 1000 + (Msec)now.tv_nsec / 1000000;
}

Waiter waiter_start(void)
{
    return (Waiter){.at = MSEC_NEVER};
}

void waiter_fd(Waiter *wake, int fd, short events)
{
    if (fd < 0)
        return;
    if (wake->n_fds == wake->room) {
        wake->room = wake->room ? wake->room * 2 : 16;
        wake->fds = xrealloc(wake->fds, wake->room * sizeof *wake->fds);
    }
    wake->fds[wake->n_fds++] = (struct pollfd){.fd = fd, .events = events};
}

void waiter_at(Waiter *wake, Msec at_ms)
{
    if (at_ms < wake->at)
        wake->at = at_ms;
}

void waiter_now(Waiter *wake)
{
    wake->at = 0;
}

void waiter_block(Waiter *wake)
{
    Msec now = clock_ms();
    Msec left = wake->at > now ? wake->at - now : 0;
    struct timespec rest = {.tv_sec = (time_t)(left / 1000), .tv_nsec = (long)(left % 1000) * 1000000};

    ppoll(wake->fds, wake->n_fds, wake->at == MSEC_NEVER ? NULL : &rest, signals_set ? &unblocked : NULL);
    free(wake->fds);
    *wake = waiter_start();
}

static void on_stop(int signal_number)
{
    (void)signal_number;
    stopping = 1;
}

void stop_on_signals(void)
{
    struct sigaction stop = {.sa_handler = on_stop};
    sigset_t ours;

    signal(SIGPIPE, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    sigaction(SIGTERM, &stop, NULL);
    sigaction(SIGINT, &stop, NULL);
    sigemptyset(&ours);
    sigaddset(&ours, SIGTERM);
    sigaddset(&ours, SIGINT);
    sigprocmask(SIG_BLOCK, &ours, &unblocked);
    sigdelset(&unblocked, SIGTERM);
    sigdelset(&unblocked, SIGINT);
    signals_set = true;
}

bool stop_requested(void)
{
    return stopping;
}
