#include "due.h"

#include <stdio.h>
#include <time.h>

#include "expect.h"

static uint64_t moment(const char *text) /* of UTC */
{
    struct tm tm = {0};

    assert_non_null(strptime(text, "%Y-%m-%d %H:%M:%S", &tm));
    return (uint64_t)timegm(&tm);
}

static void assert_at(uint64_t at, const char *wanted)
{
    char text[32] = "never";
    struct tm tm;
    time_t time = (time_t)at;

    if (at)
        strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S", gmtime_r(&time, &tm));
    assert_string_equal(text, wanted);
}

/* A plan in UTC without a delay. */
static Due due_for(const char *schedule)
{
    Mail__Plan plan = MAIL__PLAN__INIT;
    Due due;

    plan.schedule = (char *)schedule;
    plan.jitter = 0;
    ok(due_of_plan("mx1", "nightly", &plan, &due));
    due.zone = "UTC";
    return due;
}

static uint64_t next(const Due *due, const BackupRow *row)
{
    uint64_t at = 0;

    ok(due_at(due, row, &at));
    return at;
}

/* ---- when ---- */

static void a_new_plan_waits_for_its_time(void **state)
{
    (void)state;
    Due due = due_for("daily 02:00");
    BackupRow row = due_new("nightly", "vault", moment("2026-11-28 22:00:00"));

    assert_at(next(&due, &row), "2026-11-29 02:00:00");
    assert_int_equal(due_state(&due, &row, moment("2026-11-28 22:00:00")), MAIL__FACT_STATE__UNKNOWN);
}

static void what_was_missed_is_one_run(void **state)
{
    (void)state;
    Due due = due_for("hourly");
    BackupRow row = due_new("nightly", "vault", moment("2026-11-28 10:30:00"));

    /* Down from 10:45 to 15:20: due since 11:00, and once it ran, due at 16:00. */
    assert_at(next(&due, &row), "2026-11-28 11:00:00");
    due_begun(&row, moment("2026-11-28 15:20:00"));
    due_ended(&row, moment("2026-11-28 15:25:00"), true, "fine");
    assert_at(next(&due, &row), "2026-11-28 16:00:00");
}

static void a_long_run_is_not_begun_again_at_once(void **state)
{
    (void)state;
    Due due = due_for("hourly");
    BackupRow row = due_new("nightly", "vault", moment("2026-11-28 10:30:00"));

    due_begun(&row, moment("2026-11-28 11:00:00"));
    due_ended(&row, moment("2026-11-28 13:10:00"), true, "fine");
    assert_at(next(&due, &row), "2026-11-28 14:00:00");
}

static void the_clock_jumps(void **state)
{
    (void)state;
    Due due = due_for("daily 02:00");
    BackupRow row = due_new("nightly", "vault", moment("2026-11-28 22:00:00"));

    /* A year ahead: one run, not 365. */
    uint64_t ahead = moment("2027-11-28 22:05:00");
    assert_false(due_clock_check(&row, ahead));
    assert_true(next(&due, &row) <= ahead);
    due_begun(&row, ahead);
    due_ended(&row, ahead, true, "fine");
    assert_at(next(&due, &row), "2027-11-29 02:00:00");

    /* And back: it does not wait for a year, and the good run is not good for a year. */
    uint64_t back = moment("2026-11-28 22:10:00");
    assert_true(due_clock_check(&row, back));
    assert_false(due_clock_check(&row, back));
    assert_at(next(&due, &row), "2026-11-29 02:00:00");
    assert_true(row.good_s == back && row.ended_s == back);

    /* Half an hour back is only waited for: what ran does not run again. */
    due_ended(&row, moment("2026-11-29 02:00:05"), true, "fine");
    assert_false(due_clock_check(&row, moment("2026-11-29 01:30:00")));
    assert_at(next(&due, &row), "2026-11-30 02:00:00");
}

static void a_run_that_was_broken_off(void **state)
{
    (void)state;
    Due due = due_for("daily 02:00");
    BackupRow row = due_new("nightly", "vault", moment("2026-11-28 22:00:00"));

    due_begun(&row, moment("2026-11-29 02:00:00"));
    due_broken(&row, moment("2026-11-29 02:10:00"), "ended while it ran");
    assert_at(next(&due, &row), "2026-11-29 02:00:00"); /* still: it is begun again at once */
    assert_false(row.good);
    due_begun(&row, moment("2026-11-29 02:10:10"));
    due_broken(&row, moment("2026-11-29 02:20:00"), "ended while it ran");
    assert_at(next(&due, &row), "2026-11-30 02:00:00"); /* twice is enough */
    due_ended(&row, moment("2026-11-30 02:20:00"), true, "fine");
    assert_int_equal(row.broken, 0);
}

static void each_node_has_its_own_delay(void **state)
{
    (void)state;
    Mail__Plan plan = MAIL__PLAN__INIT;
    Due due, again;
    uint64_t least = UINT64_MAX, most = 0;

    plan.schedule = (char *)(uintptr_t) "daily 02:00";
    for (unsigned i = 0; i < 50; i++) {
        char node[16];
        snprintf(node, sizeof node, "mx%u", i);
        ok(due_of_plan(node, "nightly", &plan, &due));
        ok(due_of_plan(node, "nightly", &plan, &again));
        assert_true(due.delay_s == again.delay_s && due.delay_s < 600);
        least = due.delay_s < least ? due.delay_s : least;
        most = due.delay_s > most ? due.delay_s : most;
    }
    assert_true(least < 100 && most > 500);

    plan.schedule = (char *)(uintptr_t) "minutely"; /* no more than the time between two runs */
    ok(due_of_plan("mx1", "nightly", &plan, &due));
    assert_true(due.delay_s < 60);
}

static void it_may_never_come_again(void **state)
{
    (void)state;
    Due due = due_for("2026-12-24 18:00");
    BackupRow row = due_new("nightly", "vault", moment("2026-12-25 00:00:00"));

    assert_at(next(&due, &row), "never");
    assert_false(due_overdue(&due, &row, moment("2030-01-01 00:00:00")));
}

/* ---- how they stand ---- */

static void alarm_after_twice_the_interval(void **state)
{
    (void)state;
    Due due = due_for("daily 02:00");
    BackupRow row = due_new("nightly", "vault", moment("2026-11-01 00:00:00"));

    assert_int_equal(due_state(&due, &row, moment("2026-11-02 00:00:00")), MAIL__FACT_STATE__UNKNOWN);
    assert_int_equal(due_state(&due, &row, moment("2026-11-03 00:00:01")), MAIL__FACT_STATE__BAD); /* never ran */
    due_ended(&row, moment("2026-11-04 02:10:00"), false, "no");
    assert_int_equal(due_state(&due, &row, moment("2026-11-04 03:00:00")), MAIL__FACT_STATE__BAD); /* never good */
    due_ended(&row, moment("2026-11-05 02:10:00"), true, "fine");
    assert_int_equal(due_state(&due, &row, moment("2026-11-06 03:00:00")), MAIL__FACT_STATE__GOOD);
    due_ended(&row, moment("2026-11-06 02:10:00"), false, "no");
    assert_int_equal(due_state(&due, &row, moment("2026-11-06 03:00:00")), MAIL__FACT_STATE__DEGRADED);
    assert_int_equal(due_state(&due, &row, moment("2026-11-07 02:10:01")), MAIL__FACT_STATE__BAD);
    assert_true(due_overdue(&due, &row, moment("2026-11-07 02:10:01")));
    assert_false(due_overdue(&due, &row, moment("2026-11-07 02:10:00")));
    due.alarm_s = 3600;
    assert_true(due_overdue(&due, &row, moment("2026-11-05 03:10:01")));
}

static void what_cannot_be_reckoned(void **state)
{
    (void)state;
    Mail__Plan plan = MAIL__PLAN__INIT;
    Due due;
    uint64_t at = 0;

    plan.schedule = (char *)(uintptr_t) "daily 25:00";
    fails(due_of_plan("mx1", "nightly", &plan, &due), ERROR_INVALID, "schedule: hour 25");
    plan.schedule = (char *)(uintptr_t) "daily 02:00";
    plan.time_zone = (char *)(uintptr_t) "Europe/Berln";
    ok(due_of_plan("mx1", "nightly", &plan, &due));
    BackupRow row = due_new("nightly", "vault", 1);
    fails(due_at(&due, &row, &at), ERROR_NOT_FOUND, "time zone Europe/Berln is not known");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_new_plan_waits_for_its_time),
        cmocka_unit_test(what_was_missed_is_one_run),
        cmocka_unit_test(a_long_run_is_not_begun_again_at_once),
        cmocka_unit_test(the_clock_jumps),
        cmocka_unit_test(a_run_that_was_broken_off),
        cmocka_unit_test(each_node_has_its_own_delay),
        cmocka_unit_test(it_may_never_come_again),
        cmocka_unit_test(alarm_after_twice_the_interval),
        cmocka_unit_test(what_cannot_be_reckoned),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
