/* change_inside.h - what the parts of a change share: change.c (who may, and when), change_prepare.c, change_switch.c */
#pragma once
#include "engine/candidate.h"
#include "engine/change.h"
#include "engine/check.h"
#include "engine/look.h"

/*           prepare             checkers say yes            switch             settled
 *   idle -------------> checking ----------------> prepared -------> proving -----------> idle
 *    ^                     | no                       | abort         | failed, late
 *    +---------------------+--------------------------+               v
 *    +------------------------------------------------------------ returning
 *
 * confirming: the texts are those in force already; only what they stand for was written.
 */
typedef enum Phase { IDLE, CHECKING, CHECKING_PLAIN, PREPARED, PROVING, RETURNING, CONFIRMING } Phase;

struct Change {
    const char *root;
    Supervise *supervise;
    Happened *happened;
    Look *look;

    Generation *now;  /* in force, observed; NULL: nothing is */
    Generation *next; /* prepared, on the disk as .new; or being proved */
    uint64_t last_number;

    Phase phase;
    bool own; /* begun by ourselves: nobody waits for an answer */
    Msec since, until;
    Candidate *candidate; /* being checked, prepared or proved */
    Checking *checking;
    Passed passed;
    uint64_t number;  /* on the disk while it is prepared; 0: nothing is there */
    unsigned refused; /* CHECKING_PLAIN: daemons whose texts were refused with the overrides, */
    Error *words;     /* ... with these words.  RETURNING: why */
    Trial trial;
    bool back; /* RETURNING: the link leads back, too */

    ChangeAnswer answer;
    Error *why;

    Msec look_at, in_force_since;
    bool own_due;     /* another program than ours may have rendered this; or something was repaired */
    bool own_again;   /* the last change of our own failed for a reason that may pass */
    char *own_failed; /* how the last change of our own ended, so that it is said once */
};

/* ---- change.c ---------------------------------------------------------------------- */

void change_ended(Change *change, Error *err); /* takes err; NULL is done: whoever asked gets it as his answer */
void change_phase(Change *change, Phase phase, Msec now);

/* ---- change_prepare.c -------------------------------------------------------------- */

/* An error begins nothing, and nobody is answered. */
CHECKED Error *change_prepare_begin(Change *change, const Buf *prepare, bool own, Msec now);
void change_check_run(Change *change, Msec now);
void change_prepared_drop(Change *change); /* what is prepared, or being prepared, goes; from the disk, too */
uint64_t change_next_number(const Change *change);

/* ---- change_switch.c --------------------------------------------------------------- */

CHECKED Error *change_switch_begin(Change *change, Msec now); /* to what is prepared; an error: as before */
void change_proof_run(Change *change, Msec now);
void change_return_run(Change *change, Msec now);
void change_confirm_run(Change *change, Msec now);
void change_want(Change *change, const Generation *generation);
void change_sweep(const Change *change); /* old generations, and certificates that none of the others needs */
