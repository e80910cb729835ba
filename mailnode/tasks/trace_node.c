/* The logs of this node, read for a trace or a search. */
#include "tasks/trace.h"
#include "tasks/trace_search.h"

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

enum { PARTS = 5, N_LOGS = 2, N_SEARCHED = 1, CHECK_EVERY = 10000 };

static const char *const names[N_LOGS] = {"postfix.log", "rspamd.log"};

/* Logs of this node, opened as root and read as nobody. */
typedef struct Logs {
    FILE *files[N_LOGS * (PARTS + 1)]; /* the oldest part first */
    size_t n_files;
    Msec until;
    struct tm now; /* local, as the logs are */
} Logs;

static void logs_done(Logs *logs)
{
    for (size_t i = 0; i < logs->n_files; i++)
        fclose(logs->files[i]);
}

static Error *file_open(Logs *logs, const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);

    if (fd < 0)
        return errno == ENOENT ? NULL : error_system("%s", path);
    logs->files[logs->n_files] = fdopen(fd, "r");
    if (logs->files[logs->n_files])
        logs->n_files++;
    else
        close(fd);
    return NULL;
}

/* The first 'n_logs' of the names. */
static Error *logs_open(Logs *logs, const char *root, int n_logs)
{
    time_t now = time(NULL);
    Error *err = NULL;

    logs->until = clock_ms() + TRACE_MS;
    localtime_r(&now, &logs->now);
    for (int log = 0; log < n_logs; log++)
        for (int part = PARTS; !err && part >= 0; part--) {
            Path path = part ? path_in(root, "%s/%s.%d", &PLACE_LOG[3], names[log], part)
                             : path_in(root, "%s/%s", &PLACE_LOG[3], names[log]);
            err = file_open(logs, path.text);
        }
    return err ? err : proc_become("nobody"); /* what strangers wrote is not read as root */
}

typedef void LineTaken(void *context, const char *line);

/* A line longer than TRACE_LINE_MAX is read as far as that, and its rest is none. */
static Error *logs_read(Logs *logs, LineTaken *take, void *context)
{
    DEFER(xfree) char *line = xmalloc(TRACE_LINE_MAX);
    size_t n = 0;

    for (size_t i = 0; i < logs->n_files; i++) {
        bool whole = true;
        rewind(logs->files[i]);
        while (fgets(line, TRACE_LINE_MAX, logs->files[i])) {
            size_t len = strcspn(line, "\n");
            bool begins_here = whole;
            whole = line[len] == '\n';
            line[len] = '\0';
            if (begins_here)
                take(context, line);
            if (++n % CHECK_EVERY == 0 && clock_ms() > logs->until)
                return error_new(ERROR_UNAVAILABLE, "trace: the logs are longer than can be read in %d s",
                                 TRACE_MS / 1000);
        }
    }
    return NULL;
}

/* ---- the route of what one name means ---- */

typedef struct Route {
    Trace *trace;
    const struct tm *now;
    TraceStep *steps;
    size_t n_steps;
    bool more; /* steps than are shown */
} Route;

static void route_done(Route *route)
{
    for (size_t i = 0; i < route->n_steps; i++)
        trace_step_done(&route->steps[i]);
    free(route->steps);
}

static void line_look(void *context, const char *line)
{
    Route *route = context;

    trace_look(route->trace, line);
}

static void step_keep(void *context, const char *line)
{
    Route *route = context;
    TraceStep step;

    if (!trace_step(route->trace, line, &step))
        return;
    if (route->n_steps == TRACE_STEPS_MAX) {
        route->more = true;
        trace_step_done(&step);
        return;
    }
    route->steps[route->n_steps++] = step;
}

/* Months after this one are of last year. */
static int age(const TraceStep *step, int month_now)
{
    int month = (step->time[0] - '0') * 10 + step->time[1] - '0';

    return (month + 11 - month_now) % 12;
}

static int by_time(const void *one, const void *other, void *context)
{
    const Route *route = context;
    const TraceStep *a = &route->steps[*(const size_t *)one], *b = &route->steps[*(const size_t *)other];
    int order = age(a, route->now->tm_mon + 1) - age(b, route->now->tm_mon + 1);

    if (!order)
        order = strcmp(a->time, b->time);
    return order ? order : *(const size_t *)one < *(const size_t *)other ? -1 : 1;
}

static Error *tell(Route *route, TraceHeard *heard, void *context)
{
    DEFER(xfree) size_t *order = xcalloc(route->n_steps + 1, sizeof *order);
    Error *err = NULL;

    for (size_t i = 0; i < route->n_steps; i++)
        order[i] = i;
    qsort_r(order, route->n_steps, sizeof *order, by_time, route);
    for (size_t i = 0; !err && i < route->n_steps; i++)
        err = heard(context, &route->steps[order[i]], trace_time(route->steps[order[i]].time, route->now));
    return err;
}

Error *trace_node(const char *root, Trace *trace, TraceHeard *heard, void *context, bool *ret_more)
{
    DEFER(logs_done) Logs logs = {0};
    DEFER(route_done) Route route = {.trace = trace, .now = &logs.now};
    Error *err = logs_open(&logs, root, N_LOGS);

    if (err)
        return err;
    route.steps = xcalloc(TRACE_STEPS_MAX, sizeof *route.steps);
    err = logs_read(&logs, line_look, &route);
    if (!err)
        err = logs_read(&logs, step_keep, &route);
    if (!err)
        err = tell(&route, heard, context);
    *ret_more = route.more || trace_full(trace);
    return err;
}

/* ---- what went from whom to whom ---- */

typedef struct Searching {
    Search *search;
    const struct tm *now;
} Searching;

static void line_search(void *context, const char *line)
{
    Searching *searching = context;

    search_line(searching->search, line, searching->now);
}

Error *search_node(const char *root, Search *search, SearchHeard *heard, void *context, bool *ret_more)
{
    DEFER(logs_done) Logs logs = {0};
    Searching searching = {search, &logs.now};
    Error *err = logs_open(&logs, root, N_SEARCHED);

    if (!err)
        err = logs_read(&logs, line_search, &searching);
    if (!err)
        err = search_tell(search, heard, context);
    *ret_more = search_full(search);
    return err;
}
