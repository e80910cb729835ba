#include "model/schedule.h"

#include "base/alloc.h"

#include <fcntl.h>
#include <setjmp.h>
#include <spawn.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

extern char **environ;

/* ---- reading ---- */

static const struct {
    const char *text, *normal, *error;
} readings[] = {
    {"hourly", "hourly", NULL},
    {" HOURLY ", "hourly", NULL},
    {"daily", "daily 00:00", NULL},
    {"daily 2:30", "daily 02:30", NULL},
    {"weekly", "weekly Mon 00:00", NULL},
    {"weekly sunday 3:05", "weekly Sun 03:05", NULL},
    {"weekly Fri", "weekly Fri 00:00", NULL},
    {"minutely", "minutely", NULL},
    {"annually", "yearly", NULL},
    {"semi-annually", "semiannually", NULL},
    {"Mon..Fri 10:00", "Mon..Fri *-*-* 10:00:00", NULL},
    {"mon,MON..wed 1:2", "Mon..Wed *-*-* 01:02:00", NULL},
    {"Mon,Thu 03:00", "Mon,Thu *-*-* 03:00:00", NULL},
    {"*:0/7", "*-*-* *:00/7:00", NULL},
    {"*:*", "*-*-* *:*:00", NULL},
    {"*:*:0/5", "*-*-* *:*:00/5", NULL},
    {"10-15", "*-10-15 00:00:00", NULL},
    {"2026/2-1-1", "2026/2-01-01 00:00:00", NULL},
    {"*-*-1..10/3 0:0", "*-*-01..10/3 00:00:00", NULL},
    {"Mon *-*-01 10:00:5,10", "Mon *-*-01 10:00:05,10", NULL},
    {"Sat,Sun,Mon 4:00", "Mon,Sat,Sun *-*-* 04:00:00", NULL},
    {"*-02-29 12:00", "*-02-29 12:00:00", NULL},
    {"", NULL, "empty"},
    {"   ", NULL, "empty"},
    {"daily 25:00", NULL, "hour 25: 0 to 23"},
    {"daily 2", NULL, "'2': no time of the day"},
    {"daily 02:30:10", NULL, "'02:30:10': no time of the day"},
    {"daily 02:30 x", NULL, "'x': nothing is expected behind the time"},
    {"daily 02:30 Europe/Berlin", NULL, "a time zone is no part of the schedule"},
    {"weekly Mon,Tue 03:00", NULL, "',Tue': one day of the week"},
    {"hourly 3", NULL, "nothing follows hourly"},
    {"Mon..Fri 10:00 UTC", NULL, "a time zone is no part of the schedule"},
    {"10:00 America/Argentina/Salta", NULL, "a time zone is no part of the schedule"},
    {"Mun 10:00", NULL, "'Mun': no day of the week"},
    {"fortnightly", NULL, "'fortnightly': no day of the week"},
    {"Mon Tue 10:00", NULL, "'Tue': write MONTH-DAY or YEAR-MONTH-DAY"},
    {"Sat..Mon", NULL, "a range of weekdays that ends before it begins"},
    {"22..1:00", NULL, "a range of hours that ends before it begins"},
    {"*/2:00", NULL, "a step needs a number to begin at"},
    {"5/0:00", NULL, "behind '/' of a hour stands a step of 1 to 23"},
    {"0/99:00", NULL, "behind '/' of a hour stands a step of 1 to 23"},
    {"*-*~1 10:00", NULL, "days counted from the end of the month ('~') are not taken"},
    {"10:00:00.5", NULL, "parts of a second are not taken"},
    {"05-08-01", NULL, "'05': a year has four digits"},
    {"2026-02-30", NULL, "no such day: it never comes"},
    {"*-13-01", NULL, "month 13: 1 to 12"},
    {"*-*-00", NULL, "day 00: 1 to 31"},
    {"10", NULL, "'10': write MONTH-DAY or YEAR-MONTH-DAY"},
    {"10:", NULL, "no minute before ' '"},
    {"10:00:00:00", NULL, "':00': nothing is expected here"},
    {"@1000000", NULL, "a moment, and no schedule"},
    {"1 2 3 4 5", NULL, "too many words"},
    {"99999999999999999999-01-01", NULL, "'99999999999999999999': a year has four digits"},
    {"10:00\n", NULL, "'<U+000A>': nothing is expected here"},
    {"tomorrow", NULL, "'tomorrow': no day of the week"},
};

static void each_text(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof readings / sizeof *readings; i++) {
        DEFER(xfree) char *normal = NULL;
        DEFER(xfree) char *again = NULL;
        Schedule schedule;
        DEFER(error_free) Error *err = schedule_read(readings[i].text, &schedule, &normal);
        const char *said = err ? err->what : NULL;

        if (!readings[i].error != !said || (said && strcmp(said, readings[i].error) != 0))
            fail_msg("'%s': said '%s', not '%s'", readings[i].text, said ? said : "nothing",
                     readings[i].error ? readings[i].error : "nothing");
        if (err) {
            assert_non_null(err->hint);
            assert_int_equal(err->code, ERROR_INVALID);
            continue;
        }
        assert_string_equal(normal, readings[i].normal);
        Schedule same;
        assert_null(schedule_read(normal, &same, &again));
        assert_string_equal(again, normal);
        assert_memory_equal(&same, &schedule, sizeof same);
    }
}

static void long_text(void **state)
{
    (void)state;
    char text[400] = "";

    memset(text, '1', sizeof text - 1);
    DEFER(error_free) Error *err = schedule_read(text, NULL, NULL);
    assert_non_null(err);
    assert_string_equal(err->what, "399 octets: at most 200");
}

/* ---- times ---- */

static uint64_t moment(const char *text) /* of UTC */
{
    struct tm tm = {0};

    assert_non_null(strptime(text, "%Y-%m-%d %H:%M:%S", &tm));
    return (uint64_t)timegm(&tm);
}

static char *words_of(uint64_t at)
{
    char text[32];
    struct tm tm;
    time_t time = (time_t)at;

    if (!at)
        return xstrdup("never");
    gmtime_r(&time, &tm);
    strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S", &tm);
    return xstrdup(text);
}

/* All in UTC; 'next' are those that follow each other. */
static const struct {
    const char *schedule, *zone, *after, *next[4];
} times[] = {
    {"hourly", "UTC", "2026-11-28 22:00:00", {"2026-11-28 23:00:00", "2026-11-29 00:00:00"}},
    {"hourly", "UTC", "2026-12-31 23:59:59", {"2027-01-01 00:00:00", "2027-01-01 01:00:00"}},
    {"daily 02:30", "UTC", "2026-12-31 02:30:00", {"2027-01-01 02:30:00"}},
    {"daily 02:30", "UTC", "2026-12-31 02:29:59", {"2026-12-31 02:30:00"}},
    {"weekly Sun 03:00", "UTC", "2026-11-28 12:00:00", {"2026-11-29 03:00:00", "2026-12-06 03:00:00"}},
    {"Mon..Fri 10:00", "UTC", "2026-11-27 10:00:00", {"2026-11-30 10:00:00", "2026-12-01 10:00:00"}},
    {"*-02-29 12:00", "UTC", "2026-01-01 00:00:00", {"2028-02-29 12:00:00", "2032-02-29 12:00:00"}},
    {"*-02-29", "UTC", "2096-02-29 00:00:00", {"2104-02-29 00:00:00"}}, /* 2100 is no leap year */
    {"Mon *-02-29", "UTC", "2026-01-01 00:00:00", {"2044-02-29 00:00:00"}},
    {"*-*-31", "UTC", "2026-01-31 00:00:00", {"2026-03-31 00:00:00", "2026-05-31 00:00:00"}},
    {"2026-12-24 18:00", "UTC", "2026-01-01 00:00:00", {"2026-12-24 18:00:00", "never"}},
    {"yearly", "UTC", "2199-06-01 00:00:00", {"never"}},
    {"*:*:0/20", "UTC", "2026-01-01 00:00:40", {"2026-01-01 00:01:00", "2026-01-01 00:01:20"}},
    {"quarterly", "UTC", "2026-02-01 00:00:00", {"2026-04-01 00:00:00", "2026-07-01 00:00:00"}},

    /* Berlin: on 2026-03-29 the clocks go from 02:00 to 03:00, on 2026-10-25 from 03:00 to 02:00. */
    {"daily 02:30",
     "Europe/Berlin",
     "2026-03-28 00:00:00",
     {"2026-03-28 01:30:00", "2026-03-29 01:00:00", "2026-03-30 00:30:00"}},
    {"daily 02:30",
     "Europe/Berlin",
     "2026-10-24 00:00:00",
     {"2026-10-24 00:30:00", "2026-10-25 00:30:00", "2026-10-26 01:30:00"}},
    {"*-*-* 2:0/15",
     "Europe/Berlin",
     "2026-03-29 00:50:00",
     {"2026-03-29 01:00:00", "2026-03-30 00:00:00", "2026-03-30 00:15:00"}},
    {"hourly", "Europe/Berlin", "2026-03-29 00:00:00", {"2026-03-29 01:00:00", "2026-03-29 02:00:00"}},
    {"hourly", "Europe/Berlin", "2026-10-25 00:00:00", {"2026-10-25 02:00:00", "2026-10-25 03:00:00"}},
    {"daily 02:30", "Europe/Berlin", "2026-10-25 01:10:00", {"2026-10-26 01:30:00"}}, /* in the second 02:10 */
    {"daily 00:00", "Europe/Berlin", "2026-12-31 22:59:59", {"2026-12-31 23:00:00"}},
    {"daily 12:00", "Asia/Kathmandu", "2026-01-01 00:00:00", {"2026-01-01 06:15:00"}},
    /* Half an hour is left out. */
    {"daily 02:15", "Australia/Lord_Howe", "2026-10-03 12:00:00", {"2026-10-03 15:30:00", "2026-10-04 15:15:00"}},
    /* The whole of 2011-12-30 is. */
    {"daily 12:00", "Pacific/Apia", "2011-12-29 22:00:00", {"2011-12-30 10:00:00", "2011-12-30 22:00:00"}},
};

static void each_time(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof times / sizeof *times; i++) {
        Schedule schedule;
        uint64_t at = moment(times[i].after);

        assert_null(schedule_read(times[i].schedule, &schedule, NULL));
        for (size_t k = 0; k < 4 && times[i].next[k]; k++) {
            assert_null(schedule_next(&schedule, at, times[i].zone, &at));
            DEFER(xfree) char *words = words_of(at);
            if (strcmp(words, times[i].next[k]) != 0)
                fail_msg("%s in %s after %s: %s, not %s", times[i].schedule, times[i].zone, times[i].after, words,
                         times[i].next[k]);
        }
    }
}

/* Every one of a year is behind the one before, and belongs to the zone's clock once. */
static void a_year(void **state)
{
    (void)state;
    static const char *const schedules[] = {"hourly", "daily 02:30", "*:0/20", "Sun 2..3:0/30"};

    for (size_t i = 0; i < sizeof schedules / sizeof *schedules; i++) {
        Schedule schedule;
        uint64_t at = moment("2026-01-01 00:00:00"), end = moment("2027-01-01 00:00:00");

        assert_null(schedule_read(schedules[i], &schedule, NULL));
        uint64_t longest = schedule_interval_s(&schedule);
        while (at < end) {
            uint64_t next = 0;
            assert_null(schedule_next(&schedule, at, "Europe/Berlin", &next));
            assert_true(next > at);
            assert_true(next - at <= longest + 3600 || at == moment("2026-01-01 00:00:00"));
            at = next;
        }
    }
}

static void the_zone_stays(void **state)
{
    (void)state;
    Schedule schedule;
    uint64_t at = 0;

    assert_null(schedule_read("daily 12:00", &schedule, NULL));
    setenv("TZ", "Asia/Kathmandu", 1);
    assert_null(schedule_next(&schedule, moment("2026-01-01 00:00:00"), "Europe/Berlin", &at));
    assert_true(at == moment("2026-01-01 11:00:00"));
    assert_string_equal(getenv("TZ"), "Asia/Kathmandu");
    assert_null(schedule_next(&schedule, moment("2026-01-01 00:00:00"), "", &at));
    assert_true(at == moment("2026-01-01 06:15:00"));
    unsetenv("TZ");
    assert_null(schedule_next(&schedule, moment("2026-01-01 00:00:00"), "Asia/Kathmandu", &at));
    assert_null(getenv("TZ"));
}

static const struct {
    const char *name;
    int code; /* 0: it is one */
} zones[] = {
    {"UTC", 0},
    {"Europe/Berlin", 0},
    {"America/Argentina/Salta", 0},
    {"Etc/GMT+3", 0},
    {"Europe/Berln", ERROR_NOT_FOUND},
    {"Europe", ERROR_NOT_FOUND}, /* a folder */
    {"leapseconds", ERROR_NOT_FOUND},
    {"", ERROR_INVALID},
    {"/etc/localtime", ERROR_INVALID},
    {"../../../etc/passwd", ERROR_INVALID},
    {"Europe/../Berlin", ERROR_INVALID},
    {"Europe//Berlin", ERROR_INVALID},
    {"Europe/", ERROR_INVALID},
    {"-x", ERROR_INVALID},
    {"CET-1CEST,M3.5.0", ERROR_INVALID},
    {"right/Europe/Berlin", ERROR_INVALID},
    {"Europe/Berlin\n", ERROR_INVALID},
};

static void each_zone(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof zones / sizeof *zones; i++) {
        DEFER(error_free) Error *err = schedule_zone_check(zones[i].name);
        if ((err ? (int)err->code : 0) != zones[i].code)
            fail_msg("'%s': %s", zones[i].name, err ? err->what : "nothing said");
    }
    Schedule schedule;
    uint64_t at = 7;
    assert_null(schedule_read("hourly", &schedule, NULL));
    DEFER(error_free) Error *err = schedule_next(&schedule, 0, "Europe/Berln", &at);
    assert_non_null(err);
    assert_string_equal(err->what, "time zone Europe/Berln is not known on this machine");
    assert_int_equal(at, 7);
}

static const struct {
    const char *schedule;
    uint64_t interval_s;
} intervals[] = {
    {"hourly", 3600},
    {"minutely", 60},
    {"*:*:*", 1},
    {"*:0/7", 420},
    {"daily 02:30", 86400},
    {"weekly Sun 03:00", 7 * 86400},
    {"Mon..Fri 10:00", 3 * 86400},
    {"8..17:00", 15 * 3600},
    {"monthly", 31 * 86400},
    {"yearly", 366 * 86400},
    {"*-02-29", UINT64_C(126230400)}, /* four years */
    {"2026-12-24", 0},
};

static void each_interval(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof intervals / sizeof *intervals; i++) {
        Schedule schedule;

        assert_null(schedule_read(intervals[i].schedule, &schedule, NULL));
        uint64_t interval = schedule_interval_s(&schedule);
        if (interval != intervals[i].interval_s)
            fail_msg("%s: %llu s", intervals[i].schedule, (unsigned long long)interval);
    }
}

/* ---- beside systemd's own ---- */

static bool run_into(const char *file, char **argv)
{
    posix_spawn_file_actions_t actions;
    pid_t pid;
    int status = -1;

    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 1, file, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0);
    int failed = posix_spawnp(&pid, argv[0], &actions, NULL, argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    return !failed && waitpid(pid, &status, 0) == pid && status == 0;
}

/* As systemd-analyze writes it: "Next elapse: Mon 2026-11-30 10:00:00 UTC", "Iter. #2: ...". */
static void as_systemd(void **state)
{
    (void)state;
    static const char *const expressions[] = {"Mon..Fri 10:00",        "*:0/7", "*-02-29 12:00",
                                              "Mon *-*-01 10:00:5,10", "10-15", "*-*-1..10/3",
                                              "Mon,Mon..Wed 1:2"};
    char file[] = "/tmp/schedule-XXXXXX", line[256];
    int fd = mkstemp(file);

    assert_true(fd >= 0);
    close(fd);
    setenv("TZ", "UTC", 1);
    for (size_t i = 0; i < sizeof expressions / sizeof *expressions; i++) {
        const char *argv[] = {"systemd-analyze", "calendar",     "--base-time=2026-02-01 00:00:00",
                              "--iterations=5",  expressions[i], NULL};
        DEFER(xfree) char *normal = NULL;
        Schedule schedule;
        uint64_t at = moment("2026-02-01 00:00:00");
        size_t compared = 0;

        if (!run_into(file, (char **)argv)) {
            unlink(file);
            unsetenv("TZ");
            skip(); /* not installed: the tables above say the same */
        }
        assert_null(schedule_read(expressions[i], &schedule, &normal));
        FILE *said = fopen(file, "re");
        assert_non_null(said);
        while (fgets(line, sizeof line, said)) {
            char *colon = strstr(line, ": ");
            line[strcspn(line, "\n")] = '\0';
            if (strstr(line, "Normalized form"))
                assert_string_equal(colon + 2, normal);
            if (!strstr(line, "Next elapse") && !strstr(line, "Iter. #"))
                continue;
            assert_null(schedule_next(&schedule, at, "UTC", &at));
            DEFER(xfree) char *words = words_of(at);
            if (!strstr(line, words))
                fail_msg("%s: %s, systemd has %s", expressions[i], words, line);
            compared++;
        }
        fclose(said);
        assert_int_equal(compared, 5);
    }
    unsetenv("TZ");
    unlink(file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_text),     cmocka_unit_test(long_text),      cmocka_unit_test(each_time),
        cmocka_unit_test(a_year),        cmocka_unit_test(the_zone_stays), cmocka_unit_test(each_zone),
        cmocka_unit_test(each_interval), cmocka_unit_test(as_systemd),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
