"""A program that believes it is another day: what it writes is as old as it would be then."""
import os
import subprocess

SOURCE = r"""
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/time.h>
#include <syscall.h>
#include <time.h>
#include <unistd.h>
static long shift(void) { const char *text = getenv("TEST_CLOCK_SHIFT_S"); return text ? atol(text) : 0; }
int clock_gettime(clockid_t id, struct timespec *ts)
{
    int status = (int)syscall(SYS_clock_gettime, id, ts);
    if (status == 0 && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE))
        ts->tv_sec += shift();
    return status;
}
int gettimeofday(struct timeval *tv, void *zone)
{
    struct timespec ts;
    (void)zone;
    if (clock_gettime(CLOCK_REALTIME, &ts) != 0)
        return -1;
    tv->tv_sec = ts.tv_sec;
    tv->tv_usec = ts.tv_nsec / 1000;
    return 0;
}
time_t time(time_t *to)
{
    struct timespec ts;
    clock_gettime(CLOCK_REALTIME, &ts);
    if (to)
        *to = ts.tv_sec;
    return ts.tv_sec;
}
"""


def shifted(folder, seconds):
    """The environment in which a program's clock is so many seconds off."""
    library = os.path.join(folder, "clock.so")
    if not os.path.exists(library):
        with open(library + ".c", "w") as f:
            f.write(SOURCE)
        subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", library, library + ".c"], check=True)
    return {"LD_PRELOAD": library, "TEST_CLOCK_SHIFT_S": str(seconds), "PATH": os.environ["PATH"]}
