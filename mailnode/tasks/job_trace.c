/* Questions about the logs of this node. */
#include "tasks/job.h"

#include "base/alloc.h"
#include "tasks/trace.h"
#include "tasks/trace_search.h"

#include <stdlib.h>
#include <string.h>

enum { PART_STEPS = 24 }; /* of two kilobytes at most: less than ENVELOPE_PART_BYTES */

typedef struct Telling {
    Job *job;
    Mail__TraceStep steps[PART_STEPS];
    size_t n;
} Telling;

static void steps_drop(Telling *telling)
{
    for (size_t i = 0; i < telling->n; i++) {
        free(telling->steps[i].program);
        free(telling->steps[i].queue_id);
        free(telling->steps[i].text);
        free(telling->steps[i].message_id);
    }
    telling->n = 0;
}

static Error *steps_say(Telling *telling, bool more)
{
    Mail__TraceRows rows = MAIL__TRACE_ROWS__INIT;
    Mail__TraceStep *list[PART_STEPS];

    for (size_t i = 0; i < telling->n; i++)
        list[i] = &telling->steps[i];
    rows.steps = list;
    rows.n_steps = telling->n;
    rows.has_more = rows.more = more;
    Error *err = job_steps(telling->job, &rows);
    steps_drop(telling);
    return err;
}

static Error *step_tell(void *context, TraceStep *step, time_t time)
{
    Telling *telling = context;
    Mail__TraceStep *one = &telling->steps[telling->n++];

    mail__trace_step__init(one);
    one->has_time = true;
    one->time = time > 0 ? (uint64_t)time : 0;
    one->what = (char *)(uintptr_t)step->what;
    one->program = xstrdup(step->program);
    one->queue_id = xstrdup(step->id);
    one->text = xstrdup(buf_text(&step->text));
    one->message_id = step->message_id ? xstrdup(step->message_id) : NULL;
    return telling->n < PART_STEPS ? job_go_on(telling->job) : steps_say(telling, false);
}

static Error *route_answer(Job *job, const Mail__TraceRead *read)
{
    DEFER(trace_free) Trace *trace = NULL;
    DEFER(steps_drop) Telling telling = {.job = job};
    bool more = false;

    Error *err = trace_new(read->wanted ? read->wanted : "", &trace);
    for (size_t i = 0; !err && i < read->n_joined; i++)
        err = trace_join(trace, read->joined[i]);
    if (!err)
        err = trace_node(job_root(job), trace, step_tell, &telling, &more);
    if (!err && (telling.n || more))
        err = steps_say(&telling, more);
    return err;
}

/* ---- what went from whom to whom ---- */

typedef struct Finding {
    Job *job;
    Mail__TraceFound found[PART_STEPS];
    size_t n;
} Finding;

static void found_drop(Finding *finding)
{
    for (size_t i = 0; i < finding->n; i++) {
        free(finding->found[i].queue_id);
        free(finding->found[i].from);
        free(finding->found[i].to);
        free(finding->found[i].orig_to);
        free(finding->found[i].text);
    }
    finding->n = 0;
}

static Error *found_say(Finding *finding, bool more)
{
    Mail__TraceRows rows = MAIL__TRACE_ROWS__INIT;
    Mail__TraceFound *list[PART_STEPS];

    for (size_t i = 0; i < finding->n; i++)
        list[i] = &finding->found[i];
    rows.found = list;
    rows.n_found = finding->n;
    rows.has_more = rows.more = more;
    Error *err = job_steps(finding->job, &rows);
    found_drop(finding);
    return err;
}

static char *copy_of(const char *text)
{
    return text ? xstrdup(text) : NULL;
}

static Error *attempt_tell(void *context, const Attempt *attempt)
{
    Finding *finding = context;
    Mail__TraceFound *one = &finding->found[finding->n++];

    mail__trace_found__init(one);
    one->has_time = true;
    one->time = attempt->time;
    one->result = (char *)(uintptr_t)attempt->result;
    one->queue_id = xstrdup(attempt->id);
    one->from = copy_of(attempt->from);
    one->to = copy_of(attempt->to);
    one->orig_to = copy_of(attempt->orig_to);
    one->has_tries = true;
    one->tries = attempt->tries;
    one->text = copy_of(attempt->words);
    return finding->n < PART_STEPS ? job_go_on(finding->job) : found_say(finding, false);
}

static Error *search_answer(Job *job, const Mail__TraceRead *read)
{
    DEFER(search_free) Search *search = NULL;
    DEFER(found_drop) Finding finding = {.job = job};
    SearchWish wish = {
        .from = read->from, .to = read->to, .since = read->since, .until = read->has_until ? read->until : UINT64_MAX};
    bool more = false;

    Error *err = search_new(&wish, &search);
    if (!err)
        err = search_node(job_root(job), search, attempt_tell, &finding, &more);
    if (!err && (finding.n || more))
        err = found_say(&finding, more);
    return err;
}

Error *job_trace(Job *job, const Mail__TraceRead *read)
{
    return read->from || read->to ? search_answer(job, read) : route_answer(job, read);
}
