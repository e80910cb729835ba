/* report.h - what is so on this node: facts with ages, and happenings, to the controller
 *
 * Each part leaves here what it observes; report_run sends it: at once when a fact
 * changes its state, otherwise as often as the controller wants it.
 */
#pragma once
#include "base/loop.h"
#include "journal.h"
#include "link.h"

typedef struct Report Report;

Report *report_new(Journal *journal);
void report_free(Report **report);

/* "tables", "mail-engine", "accounts", "clock", ...: observed now. */
void report_fact(Report *report, const char *name, Mail__FactState state, Msec now, const char *format, ...)
    PRINTF_LIKE(5, 6);
/* What mail-engine reports of its daemons, as of 'at'; replaces what it said before.  n 0: nothing. */
void report_engine_facts(Report *report, Mail__Fact *const *facts, size_t n, Msec at);
/* How the backups stand; replaces what was said before.  Copied. */
typedef struct ReportBackup {
    char *plan, *destination, *text;
    char *snapshot; /* of the last good run; "": not known */
    Mail__FactState state;
    uint64_t ended_s, good_s, next_s; /* seconds since 1970; 0: none */
    bool running;
} ReportBackup;
void report_backups(Report *report, const ReportBackup *backups, size_t n);
/* Public mailboxes that users made by IMAP; replaces what was said before.  Copied.  taken: by a user or group. */
void report_made(Report *report, Mail__PublicMade *const *made, const bool *taken, size_t n);
void report_revisions(Report *report, uint64_t applied, uint64_t config);

/* What is DEGRADED or BAD, and what of mail-engine's is not GOOD, for 'node check'. */
void report_each_bad(const Report *report,
                     void (*each)(void *context, const char *name, Mail__FactState state, const char *text),
                     void *context);

void report_run(Report *report, Link *link, Msec now);
void report_wait(const Report *report, const Link *link, Waiter *wake);
