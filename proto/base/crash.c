#include "base/crash.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Made by the linker around the section; absent in a program without points. */
extern const CrashPoint *const __start_crash_points[] __attribute__((weak));
extern const CrashPoint *const __stop_crash_points[] __attribute__((weak));

static const char *wanted; /* NULL: not looked yet; "": none */
static size_t wanted_len;
static unsigned long left;
static int trace = -1;

static void look(void)
{
    const char *file = getenv("MAILNODE_CRASH_TRACE");

    if (file)
        trace = open(file, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0666);
    wanted = getenv("MAILNODE_CRASH");
    if (!wanted)
        wanted = "";
    const char *colon = strchr(wanted, ':');
    wanted_len = colon ? (size_t)(colon - wanted) : strlen(wanted);
    left = colon ? strtoul(colon + 1, NULL, 10) : 1;
}

void crash_reached(const CrashPoint *point)
{
    if (!wanted)
        look();
    if (trace >= 0)
        dprintf(trace, "%s\n", point->name);
    if (!*wanted || strlen(point->name) != wanted_len || memcmp(point->name, wanted, wanted_len) != 0)
        return;
    if (--left == 0)
        kill(getpid(), SIGKILL);
}

void crash_points_print(void)
{
    for (const CrashPoint *const *point = __start_crash_points; point < __stop_crash_points; point++)
        puts((*point)->name);
}
