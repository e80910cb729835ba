/* schedule.h - when something runs: hourly, daily HH:MM, weekly DAY HH:MM, or a calendar expression
 *
 * A calendar expression is systemd.time(7)'s [WEEKDAYS] [[YEAR-]MONTH-DAY] [HOUR:MINUTE[:SECOND]]; each part is '*' or a
 * list of numbers, ranges a..b and steps a/n or a..b/n.  Its words minutely, monthly, quarterly, semiannually and yearly
 * are taken, too.  Not taken, and refused with what would be right: a time zone in the text (a field of its own), days
 * counted from the end of the month, parts of a second.
 *
 * Pure but for the zones of libc: the clock is an argument.
 */
#pragma once
#include "base/error.h"

#include <stdbool.h>
#include <stdint.h>

typedef enum SchedulePart {
    SCHEDULE_YEAR,
    SCHEDULE_MONTH,
    SCHEDULE_DAY,
    SCHEDULE_HOUR,
    SCHEDULE_MINUTE,
    SCHEDULE_SECOND,
    SCHEDULE_WEEKDAY, /* 0 is Monday */
    SCHEDULE_PARTS,
} SchedulePart;

/* A set of numbers below 256. */
typedef struct ScheduleSet {
    uint64_t word[4];
} ScheduleSet;

/* A time of the calendar belongs to it when each part of it is in its set. */
typedef struct Schedule {
    ScheduleSet set[SCHEDULE_PARTS]; /* of the value less the part's lowest: 1970, 1, 1, 0, 0, 0, 0 */
} Schedule;

/* INVALID says what would be right; *ret_schedule may be NULL.  *ret_text, if not NULL: the one form of it. */
CHECKED Error *schedule_read(const char *text, Schedule *ret_schedule, char **ret_text);

/* The first moment behind 'after_s' (seconds since 1970) that belongs to it in that time zone; 0: there is none before
 * the year 2200.  A time that the clocks leave out is the next one that they show; one that they show twice is the first.
 * zone NULL or empty: that of this machine.  NOT_FOUND: this machine does not know it. */
CHECKED Error *schedule_next(const Schedule *schedule, uint64_t after_s, const char *zone, uint64_t *ret_at_s);

/* The longest time between two runs that follow each other, leaving changes of the clocks aside; 0: it comes but once. */
uint64_t schedule_interval_s(const Schedule *schedule);

/* The form of an IANA name: Europe/Berlin, UTC.  Whether there is one a node says: schedule_zone_check. */
CHECKED Error *schedule_zone_form(const char *name);
/* NOT_FOUND: this machine does not know it. */
CHECKED Error *schedule_zone_check(const char *name);
