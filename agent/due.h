/* due.h - when a plan runs to a destination, and how its backups stand
 *
 * Pure but for libc's time zones: the clock is an argument.  What is known of the runs is a BackupRow of node.db.
 *
 * A run is due at the first time of the schedule behind 'through', plus a delay that is this node's own, so that not all
 * begin at once.  However many came due while the node was down, or while one ran, or because the clock jumped: it is one run.
 */
#pragma once
#include "journal.h"
#include "model/schedule.h"

typedef struct Due {
    Schedule schedule;
    const char *zone; /* NULL: the machine's */
    uint64_t delay_s;
    uint64_t alarm_s; /* without a good run for so long it is an alarm; 0: never */
} Due;

/* INVALID: the schedule is none.  'plan' lives as long as *ret_due. */
CHECKED Error *due_of_plan(const char *node, const char *name, const Mail__Plan *plan, Due *ret_due);

/* When the next run begins; 0: never.  NOT_FOUND: this machine does not know the time zone. */
CHECKED Error *due_at(const Due *due, const BackupRow *row, uint64_t *ret_at_s);

/* A plan and a destination that are new here: nothing is due that would have been before. */
BackupRow due_new(const char *plan, const char *destination, uint64_t now_s);

/* The clock was set back: what lies ahead of it was now.  True: something did.  An hour is let pass: it is only waited for. */
bool due_clock_check(BackupRow *row, uint64_t now_s);

void due_begun(BackupRow *row, uint64_t now_s);
/* text: borrowed, as all of the row. */
void due_ended(BackupRow *row, uint64_t now_s, bool good, const char *text);
/* Nobody knows how it ended: it is begun again once, then at its next time. */
void due_broken(BackupRow *row, uint64_t now_s, const char *text);

bool due_overdue(const Due *due, const BackupRow *row, uint64_t now_s);
/* GOOD: the last finished run was, and is not too old.  UNKNOWN: there was none yet, and that is no alarm. */
Mail__FactState due_state(const Due *due, const BackupRow *row, uint64_t now_s);
