/* restic.h - the repository of one instance at one destination, through restic (0.14 and newer)
 *
 * Open, then any verbs one after the other, each blocking until restic ended, was cancelled, or did not answer in time.
 * restic runs as mailbackup: what it writes elsewhere (restored files) is that user's.
 *
 * Locks: a backup or restore is shared, forget, prune and check are alone, as in restic itself and before it among the
 * jobs of this node, by a lock of the kernel on a file.  A lock that a dead restic of this machine has left in the
 * repository is taken away when it is in the way, and no other: not by its age, which a jump of the clock makes up
 * (THREATS R16).  Nothing is ever made where something failed (F-158).
 *
 * Errors are one line of ours, "vault: backup: the repository is locked", with restic's own words below it, capped and
 * without secrets.  CONFLICT: cancelled; NOT_FOUND: no repository; DENIED: wrong password, or the storage refuses the login;
 * UNAVAILABLE: locked, unreachable, full; DAMAGED: it does not read back.  restic_trouble says which.
 */
#pragma once
#include "base/buf.h"
#include "base/error.h"
#include "desired.pb-c.h"
#include "seal/secret.h"
#include "tasks/job.h"
#include "tasks/restic_words.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct Restic Restic;

typedef struct ResticSpec { /* all borrowed for as long as the handle lives */
    Job *job;               /* NULL: cannot be cancelled, and 'root' says where we are */
    const char *root;       /* without a job; "" for / */
    const char *instance, *destination_name;
    const Mail__Destination *destination;
    const Secret *password, *env, *ssh_key; /* env, ssh_key may be NULL */
    unsigned answer_s;                      /* 0: 30, in which a question is answered (F-063) */
    unsigned stall_s;                       /* 0: 300, after which long work that does not move is ended */
    unsigned lock_wait_s;                   /* how long a lock of somebody else is waited for */
} ResticSpec;

/* INVALID: address, env; DENIED: a local folder that is not allowed. */
CHECKED Error *restic_open(const ResticSpec *spec, Restic **ret_restic);
/* The same with what came along with a job: its instance, this destination, their secrets.  NOT_FOUND: one did not. */
CHECKED Error *restic_open_job(Job *job, const char *destination, unsigned lock_wait_s, Restic **ret_restic);
void restic_free(Restic **restic);
ResticTrouble restic_trouble(const Restic *restic); /* of the last verb */

/* Makes the repository where there is none.  EXISTS when there is one, or a local folder with anything in it. */
CHECKED Error *restic_init(Restic *restic);
/* Opens it, within so many seconds (0: as the spec says). */
CHECKED Error *restic_probe(Restic *restic, unsigned seconds);

/* Newest first; ends with the first error of 'each'. */
CHECKED Error *restic_snapshots(Restic *restic, Error *(*each)(void *context, const ResticSnapshot *snapshot),
                                void *context);
/* What was meant, resolved once (B41): see restic_snapshot_choose. */
CHECKED Error *restic_resolve(Restic *restic, const char *wanted, uint64_t at_s, char ret_id[65]);

typedef struct ResticSummary {
    char snapshot[65];
    uint64_t files, bytes; /* in the snapshot */
    uint64_t added;        /* octets that were new in the repository */
} ResticSummary;
/* Backs up these names of 'folder', which stand in the snapshot below '/'; exit code 0 is demanded.  NULL behind the
 * last name and tag.  The names must be there: restic leaves out what is not, and says 0. */
CHECKED Error *restic_backup(Restic *restic, const char *folder, const char *const *names, const char *const *tags,
                             ResticSummary *ret_summary);

/* One file; INVALID when it is larger than 'max'.  Never a folder: of a damaged one restic leaves out the rest, with 0. */
CHECKED Error *restic_dump(Restic *restic, const char *snapshot, const char *path, size_t max, Buf *out);
/* The entries of these folders, and the folders themselves; one that is not there is left out. */
CHECKED Error *restic_ls(Restic *restic, const char *snapshot, const char *const *paths, size_t n,
                         Error *(*each)(void *context, const ResticNode *node), void *context);
/* Exactly these files and folders with what is in them, below the folder 'target', which mailbackup may write; the caller
 * looks whether all came: a path that is not there is no error to restic.  'tick' (or NULL) is called four times a second;
 * false: stop. */
CHECKED Error *restic_restore(Restic *restic, const char *snapshot, const char *target,
                              const char *const *literal_paths, size_t n, bool (*tick)(void *context), void *context);

typedef struct ResticKeep {
    uint32_t last, hourly, daily, weekly, monthly, yearly;
} ResticKeep;
/* Of the snapshots with this tag; nothing to keep: all are kept. */
CHECKED Error *restic_forget(Restic *restic, const char *tag, const ResticKeep *keep, size_t *ret_n_forgotten);
CHECKED Error *restic_prune(Restic *restic);
/* Its structure, and so many percent of its data. */
CHECKED Error *restic_check(Restic *restic, unsigned percent);
