#include "due.h"

#include "base/alloc.h"

#include <string.h>

enum {
    AHEAD_S = 3600, /* the clock may be behind what was written by so much */
    BROKEN_MAX = 2, /* so many in a row, and it waits for its next time */
};

/* The same for this node and plan every time, and spread evenly over all nodes.  Less than the time between two runs. */
static uint64_t delay_of(const char *node, const char *plan, uint64_t most_s)
{
    uint64_t number = 0;

    if (!most_s)
        return 0;
    DEFER(xfree) char *text = xasprintf("%s/%s", node, plan);
    Digest digest = digest_of(text, strlen(text));
    memcpy(&number, digest.octets, sizeof number);
    return number % most_s;
}

Error *due_of_plan(const char *node, const char *name, const Mail__Plan *plan, Due *ret_due)
{
    Due due = {.zone = plan->time_zone && *plan->time_zone ? plan->time_zone : NULL};

    Error *err = schedule_read(plan->schedule ? plan->schedule : "", &due.schedule, NULL);
    if (err)
        return error_in(err, "schedule");
    uint64_t interval_s = schedule_interval_s(&due.schedule);
    uint64_t jitter_s = interval_s && plan->jitter > interval_s ? interval_s : plan->jitter;
    due.delay_s = delay_of(node, name, jitter_s);
    due.alarm_s = plan->has_alarm_after ? plan->alarm_after : 2 * interval_s;
    *ret_due = due;
    return NULL;
}

Error *due_at(const Due *due, const BackupRow *row, uint64_t *ret_at_s)
{
    uint64_t at_s = 0;

    Error *err = schedule_next(&due->schedule, row->through_s, due->zone, &at_s);
    if (!err)
        *ret_at_s = at_s ? at_s + due->delay_s : 0;
    return err;
}

BackupRow due_new(const char *plan, const char *destination, uint64_t now_s)
{
    return (BackupRow){
        .plan = plan, .destination = destination, .since_s = now_s, .through_s = now_s, .text = "", .snapshot = ""};
}

bool due_clock_check(BackupRow *row, uint64_t now_s)
{
    uint64_t *const times[] = {&row->since_s, &row->through_s, &row->begun_s, &row->ended_s, &row->good_s};
    bool moved = false;

    for (size_t i = 0; i < sizeof times / sizeof *times; i++) {
        if (*times[i] <= now_s + AHEAD_S)
            continue;
        *times[i] = now_s;
        moved = true;
    }
    return moved;
}

void due_begun(BackupRow *row, uint64_t now_s)
{
    row->begun_s = now_s;
}

void due_ended(BackupRow *row, uint64_t now_s, bool good, const char *text)
{
    row->begun_s = 0;
    row->broken = 0;
    row->through_s = now_s;
    row->ended_s = now_s;
    row->good = good;
    row->text = text;
    if (good)
        row->good_s = now_s;
}

void due_broken(BackupRow *row, uint64_t now_s, const char *text)
{
    unsigned broken = row->broken + 1;
    uint64_t through_s = row->through_s;

    due_ended(row, now_s, false, text);
    if (broken >= BROKEN_MAX)
        return;
    row->broken = broken;
    row->through_s = through_s;
}

bool due_overdue(const Due *due, const BackupRow *row, uint64_t now_s)
{
    uint64_t last_s = row->good_s ? row->good_s : row->since_s;

    return due->alarm_s && now_s > last_s && now_s - last_s > due->alarm_s;
}

Mail__FactState due_state(const Due *due, const BackupRow *row, uint64_t now_s)
{
    if (due_overdue(due, row, now_s))
        return MAIL__FACT_STATE__BAD;
    if (!row->ended_s)
        return MAIL__FACT_STATE__UNKNOWN;
    if (row->good)
        return MAIL__FACT_STATE__GOOD;
    return row->good_s ? MAIL__FACT_STATE__DEGRADED : MAIL__FACT_STATE__BAD;
}
