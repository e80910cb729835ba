/* outcome.h - what became of a change: stored, then observed in force, node by node
 *
 *     address info@example.org added: revision 43, in force on mx1 (4 ms)
 *     address info@example.net stored: revision 44; mx2 offline since 10:41, will follow
 */
#pragma once
#include "call.h"

/* The manner that the line asks for; its strings are the line's. */
CHECKED Error *manner_of(Cli *cli, Mail__Manner *ret_manner);

/* Sends a change whose manner is 'manner' (a part of 'envelope'), asks first where the command asks, waits, prints.
 * subject: "address info@example.org"; done: "added". */
CHECKED Error *outcome_of(Cli *cli, Envelope *envelope, Mail__Manner *manner, const char *subject, const char *done,
                          int *ret_exit);

/* The same for a call that is under way: takes what answers it.  subject NULL: the revision speaks for itself. */
CHECKED Error *outcome_take(Call *call, bool dry_run, const char *subject, const char *done, int *ret_exit);

/* {"version":1,"revision":43,"nodes":[...]}, or the same as YAML. */
void outcome_print_data(Cli *cli, const Mail__Outcome *outcome);

/* Differences as diff prints them ("+ - ~"), one by one; in JSON into an array that the caller prints. */
CHECKED Error *differences_print(Cli *cli, FILE *out, Mail__Difference *const *differences, size_t n, json_t *array);

/* How CLI.md names the state of a node in the answer to a change: "in_force". */
const char *force_name(Mail__ForceState state);

/* The exit code that an outcome deserves: 0, 5, 7. */
int outcome_exit(const Mail__Outcome *outcome);

/* "revision 43, in force on mx1 (4 ms)".  Owned by the caller. */
char *outcome_text(const Mail__Outcome *outcome);
