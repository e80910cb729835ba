/* check.h - what the daemons' own checkers say of a folder of files
 *
 * The checkers of different daemons run side by side, those of one daemon where they do not need one another.
 */
#pragma once
#include "engine/daemon.h"

typedef struct Checking Checking;

enum { CHECK_WORDS_MAX = 2048 };

/* 'folder': absolute, gen/000124.check.  'which': bits 1 << DaemonId.  SYSTEM: no process could be made. */
CHECKED Error *checking_start(const NodeState *state, const char *folder, unsigned which, Checking **ret_checking);
void checking_free(Checking **checking);

bool checking_run(Checking *checking, Msec now); /* true: all have ended */
void checking_wait(const Checking *checking, Waiter *wake);

/* After the end: those that said no, as bits. */
unsigned checking_refused(const Checking *checking);
/* REFUSED: "dovecot: doveconf: Fatal: ...", the words of the first that said no, files named as in a generation;
 * SYSTEM: a checker did not come to its end.  NULL: all is well. */
CHECKED Error *checking_error(const Checking *checking);

/* Texts that passed a moment ago.  Each change is prepared twice: when the controller asks whether it may commit it, and
 * when it has; the checkers cost most of that time. */
typedef struct Passed {
    Digest files[N_DAEMONS];
    Msec until[N_DAEMONS];
} Passed;
void passed_note(Passed *passed, const FileSet *files, unsigned which, Msec now);
unsigned passed_not(const Passed *passed, const FileSet *files, unsigned which, Msec now); /* 'which' without them */
