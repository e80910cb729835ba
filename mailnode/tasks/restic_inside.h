/* restic_inside.h - what the parts of restic.h share */
#pragma once
#include "tasks/restic.h"
#include "tasks/restic_place.h"
#include "tasks/restic_run.h"

struct Restic {
    ResticSpec spec;
    ResticPlace place;
    ResticUse use;
    int lock; /* of the kernel, on a file of this repository's */
    ResticTrouble trouble;
};

/* "vault: backup: why", with words below it. */
CHECKED Error *restic_error(Restic *restic, const char *what, ErrorCode code, const char *why, const Buf *words);
/* What this run met; NULL: it went well.  Sets the trouble. */
CHECKED Error *restic_failure(Restic *restic, const char *what, ResticRun *run);

/* Where no space is left, of a run that met RESTIC_FULL: restic's own folder, or 'else_where'.  Owned by the caller. */
char *restic_full_where(const Restic *restic, const ResticRun *run, const char *else_where);

/* Runs it, and says what it met. */
CHECKED Error *restic_once(Restic *restic, const char *what, ResticRun *run);
/* The same under the lock of the kernel (LOCK_SH, LOCK_EX); where the repository is locked it looks by whom, and waits. */
CHECKED Error *restic_held(Restic *restic, const char *what, int how, ResticRun *run);
