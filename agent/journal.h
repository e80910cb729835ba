/* journal.h - node.db: what the controller wants of this node (mail.db holds what is applied)
 *
 * One writer, one connection.  A delta or snapshot arrives in parts inside one open
 * transaction: begin, part..., end; until its end nobody else may read objects
 * (journal_receiving), and what else is to be written waits in memory.
 *
 * Beside the objects it keeps which of them changed since the tables were committed
 * ("touched"), what is known of the configuration in force, tasks with their results,
 * and happenings.  Everything in it can be had again from the controller: a damaged
 * file is set aside and begun anew.
 *
 * What objects name by number (model/secret_field.h) lies in it sealed under secrets.key beside it, for as long as an
 * object names it.
 */
#pragma once
#include "base/loop.h"
#include "control.pb-c.h"
#include "model/object.h"
#include "seal/digest.h"
#include "seal/secret.h"
#include "tables/mail_db.h"

typedef struct Journal Journal;

enum {
    JOURNAL_SCHEMA = 5,       /* user_version */
    JOURNAL_HAPPENINGS = 100, /* newest that are kept */
    JOURNAL_TASKS = 1000,     /* acknowledged ones that are kept, so that no id runs twice */
};

typedef struct Wanted {
    uint64_t revision; /* 0: nothing has come yet */
    Digest chain;
    Digest digest; /* sum over the objects */
} Wanted;

/* UNSUPPORTED: made by a newer program, with both numbers.  A damaged one is set aside, and a happening tells. */
CHECKED Error *journal_open(const char *path, Journal **ret_journal);
void journal_free(Journal **journal);

/* Writes what waited, and begins anew when the file was found damaged.  SYSTEM: not possible now; try again. */
CHECKED Error *journal_run(Journal *journal);
unsigned journal_life(const Journal *journal); /* rises when it was begun anew */

const char *journal_trouble(const Journal *journal); /* "write: disk full"; NULL: the last write went well */

const Wanted *journal_wanted(const Journal *journal); /* committed */

/* Recomputes the sum over the objects from their bytes; what differs counts as damage (journal_run begins anew). */
CHECKED Error *journal_audit(Journal *journal);

/* ---- what the controller sends ---- */

/* 'first' carries from, to, chains and digest.  'applied' is the revision of mail.db: an unforced snapshot older than
 * that is refused.  CONFLICT: it does not begin where we are (late, doubled); DENIED: a snapshot that we did not ask for,
 * or an older one; INVALID: chains or digest are missing. */
CHECKED Error *journal_delta_begin(Journal *journal, const Mail__Delta *first, uint64_t applied);
/* Drops, removals and objects of one part.  UNSUPPORTED, INVALID: names the object. */
CHECKED Error *journal_delta_part(Journal *journal, const Mail__Delta *part);
/* Commits.  CONFLICT: what came does not add up to the digest that was said: one of us has drifted, and a snapshot is
 * asked for and accepted. */
CHECKED Error *journal_delta_end(Journal *journal);
bool journal_drifted(const Journal *journal); /* Hello shall ask for everything */
void journal_delta_abandon(Journal *journal); /* also after any error above */
bool journal_receiving(const Journal *journal);

/* ---- whose a mailbox is (SPEC F-182): what nobody but this node knows ---- */

/* By UUID; owned by the caller, NULL: nobody's yet. */
CHECKED Error *journal_owner(Journal *journal, const char *name, char **ret_uuid);
/* From begin to end one transaction, which no delta may be receiving beside. */
CHECKED Error *journal_own_begin(Journal *journal);
CHECKED Error *journal_own(Journal *journal, const char *name, const char *uuid);
CHECKED Error *journal_own_end(Journal *journal,
                               Error *err); /* an error before: nothing is written.  Takes err, and gives it back */

/* ---- for the tables ---- */

/* Between the two everything read is of one moment, and no row costs a lock of its own; nothing may be written. */
CHECKED Error *journal_read_begin(Journal *journal);
void journal_read_end(Journal *journal);

/* What changed since the tables stood at 'applied': each touched object, or *ret_all when that is not known or too much. */
CHECKED Error *journal_touched(Journal *journal, uint64_t applied, bool *ret_all,
                               Error *(*each)(void *context, const ObjectRef *ref), void *context);
/* The tables stand at the wanted revision.  Written with the next change, or by journal_run: forgetting it costs work only. */
void journal_settled(Journal *journal);
/* A revision at which the tables have stood: below it they were lost. */
uint64_t journal_stood(const Journal *journal);

/* The instance that is placed on this node, NULL: none.  Owned by the caller. */
CHECKED Error *journal_instance(Journal *journal, const char *node, char **ret_instance);
/* Eyes for the tables; 'instance' is borrowed for the life of the view. */
TablesView journal_view(Journal *journal, const char *instance);
uint64_t journal_count(Journal *journal); /* objects */

/* The secret of this number, the caller's; *ret_secret NULL: it is not here (the controller had erased it, too). */
CHECKED Error *journal_secret(Journal *journal, uint64_t id, Secret **ret_secret);

/* ---- configuration ---- */

typedef struct ConfigKnown {
    Digest in_force;            /* sum over the configuration that was last seen in force */
    uint64_t in_force_revision; /* newest revision that has this configuration; 0: none was seen */
    Digest refused;             /* sum over what was refused last */
    uint64_t refused_revision;  /* 0: nothing stands refused */
    bool held;                  /* the controller said: go on with tables */
    ErrorCode why_code;
    char why[1024]; /* the checker's words */
} ConfigKnown;
const ConfigKnown *journal_config(const Journal *journal);
void journal_set_config(Journal *journal, const ConfigKnown *known); /* written by journal_run */

/* Objects of class config in the order of kinds; *ret_digest their sum.  'each' may be NULL. */
CHECKED Error *journal_config_each(Journal *journal, Error *(*each)(void *context, const void *bytes, size_t size),
                                   void *context, Digest *ret_digest);

/* ---- happenings ---- */

typedef struct HappeningRow {
    uint64_t number;
    Mail__FactState severity;
    const char *what, *text;
    uint64_t time_s; /* since 1970 */
} HappeningRow;
/* Also logs it. */
void journal_happened(Journal *journal, Mail__FactState severity, const char *what, const char *format, ...)
    PRINTF_LIKE(4, 5);
uint64_t journal_newest_happening(const Journal *journal); /* that is written; 0: none */
/* Behind number 'after', at most the newest 'limit', oldest first. */
CHECKED Error *journal_happenings(Journal *journal, uint64_t after, size_t limit,
                                  Error *(*each)(void *context, const HappeningRow *row), void *context);

/* ---- tasks ---- */

typedef struct TaskRow {
    const char *id;
    Digest content;     /* of the TaskStart's verb */
    const void *result; /* packed TaskResult; NULL: not finished */
    size_t result_size;
    bool seen;
} TaskRow;
/* Of one id, or (NULL) of all that are not acknowledged.  Borrowed for the call. */
CHECKED Error *journal_tasks(Journal *journal, const char *id, Error *(*each)(void *context, const TaskRow *row),
                             void *context);
CHECKED Error *journal_task_begin(Journal *journal, const char *id, const Digest *content);
CHECKED Error *journal_task_end(Journal *journal, const Mail__TaskResult *result);
CHECKED Error *journal_task_seen(Journal *journal, const char *id);

/* ---- backups: what became of each plan at each destination ---- */

typedef struct BackupRow {
    const char *plan, *destination;
    uint64_t since_s;   /* both are known here since; all times are seconds since 1970 */
    uint64_t through_s; /* what was due until then is done, or is not to be */
    uint64_t begun_s;   /* of the run that is under way; 0: none */
    unsigned broken;    /* runs that were broken off since through_s */
    uint64_t ended_s;   /* of the last finished run; 0: there was none */
    bool good;          /* and how it ended */
    const char *text;
    uint64_t good_s;      /* of the last good run; 0: there was none */
    const char *snapshot; /* that it made; "": not known */
} BackupRow;
/* In the order of their names.  Borrowed for the call. */
CHECKED Error *journal_backups(Journal *journal, Error *(*each)(void *context, const BackupRow *row), void *context);
CHECKED Error *journal_backup_put(Journal *journal, const BackupRow *row);
CHECKED Error *journal_backup_remove(Journal *journal, const char *plan, const char *destination);
