/* change.h - one change of configuration: prepare, switch, probe, or back
 *
 *   prepare:  objects → state → certificate → files (with overrides: also without) → gen/000124/ → each daemon's own checker
 *   switch:   link current → gen/000124, wanted of supervise.h, every changed daemon answers its probe
 *             ... or the link goes back, the daemons with it, and the words of the one that did not is the answer
 *
 * What is in force is where the link 'current' leads: gen/NNNNNN holds the texts and, in 'objects' (root, 0600), the
 * EnginePrepare they were rendered from.  Nothing else is remembered.  A change that renders the same texts as those in
 * force keeps the generation's number and reloads nothing; only the objects are written anew.
 *
 * After a crash in the middle of a switch 'trial' names the generation that had not been proved: it is put back.
 */
#pragma once
#include "control.pb-c.h"
#include "engine/supervise.h"

typedef struct Change Change;

/* Takes up what is in force (none yet is right, too): wants its daemons.  A program that renders other texts than its
 * predecessor did makes a change of that by itself. */
CHECKED Error *change_new(const char *root, Supervise *supervise, Happened *happened, Change **ret_change);
void change_free(Change **change);

void change_run(Change *change, Msec now);
void change_wait(const Change *change, Waiter *wake);

/* Each begins at once and is answered later, once, by change_answer.  An error at once begins nothing.
 * CONFLICT: another is under way (the caller queues), or 'revision' is not the prepared one. */
CHECKED Error *change_prepare(Change *change, const Mail__EnginePrepare *prepare, Msec now);
CHECKED Error *change_switch(Change *change, uint64_t revision, Msec now);
bool change_busy(
    const Change *change);         /* one is under way, perhaps one of its own: prepare and switch would be CONFLICT */
void change_abort(Change *change); /* what is prepared goes; a switch under way is carried through */

typedef enum ChangeAnswer { CHANGE_PENDING, CHANGE_DONE, CHANGE_FAILED } ChangeAnswer;
/* FAILED: *ret_why is owned by the caller.  REFUSED: a checker's or daemon's words, "postconf: fatal: ...";
 * INVALID: the objects; CONFLICT: a port is held; SYSTEM: ours.  The last good generation is in force. */
ChangeAnswer change_answer(Change *change, Error **ret_why);

typedef struct InForce {
    uint64_t generation, revision; /* 0: none yet */
    Digest config;                 /* sum over the objects */
    const NodeState *state;        /* NULL: none */
    const FileSet *files;
} InForce;
InForce change_in_force(const Change *change); /* while a switch is proved: the last good one */

/* "generation", "certificate", "overrides", "files" (where they differ).  Borrowed until the next call. */
size_t change_facts(Change *change, Msec now, Mail__Fact *const **ret_facts);

/* F-178: files of the generation in force that are not as they were rendered, and overrides that changed since.  'found'
 * gets path and a diff of lines.  repair: the files are as rendered again and their daemons load them; overrides are taken
 * in by a change of its own, soon.  CONFLICT: a change is under way. */
CHECKED Error *change_drift(Change *change, bool repair,
                            void (*found)(void *context, const char *path, const char *diff), void *context,
                            size_t *ret_n);
