/* journal_inside.h - the Journal for its own files: journal.c (objects, deltas), journal_view.c (reading them),
 * journal_log.c (tasks, happenings), journal_backups.c, journal_secrets.c */
#pragma once
#include "db.h"
#include "journal.h"

enum { JOURNAL_WAITING_MAX = 100 }; /* happenings that wait for a disk */

typedef struct Waiting {
    uint64_t number, time_s;
    Mail__FactState severity;
    char *what, *text;
} Waiting;

/* The row of table 'state'. */
typedef struct JournalState {
    Wanted wanted;
    bool touch_all;         /* everything may have changed */
    uint64_t touched_since; /* 'touched' knows what changed after this revision */
    ConfigKnown config;
} JournalState;

typedef struct Statements { /* all prepared at open: a missing table is found there */
    sqlite3_stmt *get, *put, *add, *remove, *touch, *of_kind, *of_instance, *wipe_objects, *wipe_touched;
    sqlite3_stmt *remove_instance, *touched, *save, *all;
    sqlite3_stmt *secret, *secret_put, *secret_remove, *wipe_secrets;
    sqlite3_stmt *owner, *own;
    sqlite3_stmt *backups, *backup_put, *backup_remove;
    sqlite3_stmt *happened, *happenings, *trim_happenings;
    sqlite3_stmt *task, *tasks, *task_begin, *task_end, *task_seen, *trim_tasks;
} Statements;

struct Journal {
    char *path;
    sqlite3 *db;
    SealKey *key;
    Statements sql;
    JournalState saved, now; /* as committed; with what is to be written next */
    bool dirty;              /* 'now' waits for journal_run */
    bool receiving, snapshot;
    Wanted expected; /* where the delta under way leads; its sum grows in now.wanted.digest */
    bool settled;    /* the tables stand at saved.wanted */
    size_t n_touched;
    bool damaged, drifted;
    char *damage;  /* words */
    char *trouble; /* why it could not be written last; NULL: it could */
    unsigned life;
    uint64_t newest_happening;
    Waiting waiting[JOURNAL_WAITING_MAX];
    size_t n_waiting;
};

/* Every error of the database passes here on its way out: damage and trouble are remembered. */
Error *journal_failed(Journal *journal, Error *err);
void journal_wrote(Journal *journal); /* no trouble any more */

/* Binds kind, instance and name as columns 1 to 3. */
void journal_bind(sqlite3_stmt *stmt, const ObjectRef *ref);

/* Calls 'each' with the bytes of every row; kind 0 and NULL are not bound. */
CHECKED Error *journal_rows(Journal *journal, sqlite3_stmt *stmt, Kind kind, const char *instance,
                            Error *(*each)(void *context, const void *bytes, size_t size), void *context);

/* For journal_rows: adds the digest of each to the Digest in 'context'. */
CHECKED Error *journal_sum(void *context, const void *bytes, size_t size);

/* Prepares, and opens the key file; makes one where there is none, or it is damaged, or others may read it. */
CHECKED Error *journal_secrets_open(Journal *journal);
/* All that this node is told of what objects name is there and opens, or everything is asked for again. */
CHECKED Error *journal_secrets_check(Journal *journal);
CHECKED Error *journal_secrets_wipe(Journal *journal);
CHECKED Error *journal_secret_in(Journal *journal, const Mail__SecretValue *value);
/* What 'before' (octets of an object that goes, or is replaced) names and 'after' does not; after NULL: it goes. */
CHECKED Error *journal_secrets_drop(Journal *journal, const void *before, size_t size, const Object *after);

CHECKED Error *journal_log_prepare(Journal *journal);
void journal_log_done(Journal *journal);
CHECKED Error *journal_log_flush(Journal *journal); /* happenings that waited */

CHECKED Error *journal_backups_prepare(Journal *journal);
