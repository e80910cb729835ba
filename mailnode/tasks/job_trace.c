/* A question about the logs of this node. */
#include "tasks/job.h"

#include "base/alloc.h"
#include "tasks/trace.h"

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

Error *job_trace(Job *job, const Mail__TraceRead *read)
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
