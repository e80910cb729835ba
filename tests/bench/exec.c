/* exec COUNT PROGRAM ARGUMENT...: runs it COUNT times, prints the median wall time and the largest resident set.
 * "{}" in an argument becomes a number that no other run has.
 *
 * A launcher of its own, because a child's ru_maxrss begins with that of the process it was forked from. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static double now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* argv with every "{}" replaced; ends with the process. */
static char **numbered(char **argv, size_t n)
{
    size_t count = 0;
    while (argv[count])
        count++;
    char **out = calloc(count + 1, sizeof *out);
    for (size_t i = 0; out && i < count; i++) {
        char *at = strstr(argv[i], "{}"), text[512];
        if (at)
            snprintf(text, sizeof text, "%.*s%d-%zu%s", (int)(at - argv[i]), argv[i], (int)getpid(), n, at + 2);
        out[i] = at ? strdup(text) : argv[i];
    }
    return out;
}

static double run_once(char **argv, long *max_kb)
{
    double start = now_us();
    pid_t pid = vfork();
    if (pid == 0) {
        execv(argv[0], argv);
        _exit(127);
    }
    int status = 0;
    struct rusage usage;
    if (pid < 0 || wait4(pid, &status, 0, &usage) != pid)
        exit(3);
    double took = now_us() - start;
    if (WIFSIGNALED(status) || WEXITSTATUS(status) == 127) {
        fprintf(stderr, "exec: %s ended with status %d\n", argv[0], status);
        exit(3);
    }
    if (usage.ru_maxrss > *max_kb)
        *max_kb = usage.ru_maxrss;
    return took;
}

int main(int argc, char **argv)
{
    size_t n = argc > 2 ? (size_t)strtoul(argv[1], NULL, 10) : 0;
    if (n == 0) {
        fputs("usage: exec COUNT PROGRAM ARGUMENT...\n", stderr);
        return 2;
    }
    double *took = calloc(n, sizeof *took);
    long max_kb = 0;
    if (!took)
        return 3;
    for (size_t i = 0; i < n; i++)
        took[i] = run_once(numbered(argv + 2, i), &max_kb);
    qsort(took, n, sizeof *took, by_size);
    fprintf(stderr, "%.0f us %ld kb\n", took[n / 2], max_kb);
    free(took);
    return 0;
}
