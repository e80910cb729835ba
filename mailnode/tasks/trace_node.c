/* The logs of this node, read for a trace. */
#include "tasks/trace.h"

#include "base/alloc.h"
#include "base/loop.h"
#include "base/path.h"
#include "base/proc.h"
#include "tables/places.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { PARTS = 5, N_LOGS = 2, CHECK_EVERY = 10000 };

static const char *const names[N_LOGS] = {"postfix.log", "rspamd.log"};

typedef struct Node {
    FILE *files[N_LOGS * (PARTS + 1)]; /* the oldest part first */
    size_t n_files;
    TraceStep *steps;
    size_t n_steps;
    bool more; /* steps than are shown */
    Msec until;
    struct tm now; /* local, as the logs are */
} Node;

static void node_done(Node *node)
{
    for (size_t i = 0; i < node->n_files; i++)
        fclose(node->files[i]);
    for (size_t i = 0; i < node->n_steps; i++)
        trace_step_done(&node->steps[i]);
    free(node->steps);
}

static Error *file_open(Node *node, const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);

    if (fd < 0)
        return errno == ENOENT ? NULL : error_system("%s", path);
    node->files[node->n_files] = fdopen(fd, "r");
    if (node->files[node->n_files])
        node->n_files++;
    else
        close(fd);
    return NULL;
}

static Error *files_open(Node *node, const char *root)
{
    Error *err = NULL;

    for (int log = 0; log < N_LOGS; log++)
        for (int part = PARTS; !err && part >= 0; part--) {
            Path path = part ? path_in(root, "%s/%s.%d", &PLACE_LOG[3], names[log], part)
                             : path_in(root, "%s/%s", &PLACE_LOG[3], names[log]);
            err = file_open(node, path.text);
        }
    return err;
}

static void step_keep(Node *node, const Trace *trace, const char *line)
{
    TraceStep step;

    if (!trace_step(trace, line, &step))
        return;
    if (node->n_steps == TRACE_STEPS_MAX) {
        node->more = true;
        trace_step_done(&step);
        return;
    }
    node->steps[node->n_steps++] = step;
}

/* A line longer than TRACE_LINE_MAX is read as far as that, and its rest is none. */
static Error *read_all(Node *node, Trace *trace, bool second)
{
    DEFER(xfree) char *line = xmalloc(TRACE_LINE_MAX);
    size_t n = 0;

    for (size_t i = 0; i < node->n_files; i++) {
        bool whole = true;
        rewind(node->files[i]);
        while (fgets(line, TRACE_LINE_MAX, node->files[i])) {
            size_t len = strcspn(line, "\n");
            bool begins_here = whole;
            whole = line[len] == '\n';
            line[len] = '\0';
            if (begins_here && second)
                step_keep(node, trace, line);
            else if (begins_here)
                trace_look(trace, line);
            if (++n % CHECK_EVERY == 0 && clock_ms() > node->until)
                return error_new(ERROR_UNAVAILABLE, "trace: the logs are longer than can be read in %d s",
                                 TRACE_MS / 1000);
        }
    }
    return NULL;
}

/* Months after this one are of last year. */
static int age(const TraceStep *step, int month_now)
{
    int month = (step->time[0] - '0') * 10 + step->time[1] - '0';

    return (month + 11 - month_now) % 12;
}

static int by_time(const void *one, const void *other, void *context)
{
    const Node *node = context;
    const TraceStep *a = &node->steps[*(const size_t *)one], *b = &node->steps[*(const size_t *)other];
    int order = age(a, node->now.tm_mon + 1) - age(b, node->now.tm_mon + 1);

    if (!order)
        order = strcmp(a->time, b->time);
    return order ? order : *(const size_t *)one < *(const size_t *)other ? -1 : 1;
}

static int number(const char *two)
{
    return (two[0] - '0') * 10 + two[1] - '0';
}

/* "11-28 19:09:18" */
static time_t time_of(const TraceStep *step, const struct tm *now)
{
    int month = number(step->time) - 1;
    struct tm local = {.tm_year = now->tm_year - (month > now->tm_mon),
                       .tm_mon = month,
                       .tm_mday = number(step->time + 3),
                       .tm_hour = number(step->time + 6),
                       .tm_min = number(step->time + 9),
                       .tm_sec = number(step->time + 12),
                       .tm_isdst = -1};

    return mktime(&local);
}

static Error *tell(Node *node, TraceHeard *heard, void *context)
{
    DEFER(xfree) size_t *order = xcalloc(node->n_steps + 1, sizeof *order);
    Error *err = NULL;

    for (size_t i = 0; i < node->n_steps; i++)
        order[i] = i;
    qsort_r(order, node->n_steps, sizeof *order, by_time, node);
    for (size_t i = 0; !err && i < node->n_steps; i++)
        err = heard(context, &node->steps[order[i]], time_of(&node->steps[order[i]], &node->now));
    return err;
}

Error *trace_node(const char *root, Trace *trace, TraceHeard *heard, void *context, bool *ret_more)
{
    DEFER(node_done) Node node = {.until = clock_ms() + TRACE_MS};
    time_t now = time(NULL);

    localtime_r(&now, &node.now);
    Error *err = files_open(&node, root);
    if (!err)
        err = proc_become("nobody"); /* what strangers wrote is not read as root */
    if (err)
        return err;
    node.steps = xcalloc(TRACE_STEPS_MAX, sizeof *node.steps);
    err = read_all(&node, trace, false);
    if (!err)
        err = read_all(&node, trace, true);
    if (!err)
        err = tell(&node, heard, context);
    *ret_more = node.more || trace_full(trace);
    return err;
}
