/* commands.h - the one table of what mailctl understands
 *
 * Parsing, help, the man page and completion come from it, so that none of them can
 * tell of something that is not there.  A noun enters when something answers it.
 *
 *     mailctl NOUN VERB KEY [FIELD=VALUE...] [--flags]
 */
#pragma once
#include "base/error.h"
#include "control.pb-c.h"
#include "model/meta.h"

typedef struct Cli Cli;
typedef struct Line Line;

typedef enum FlagId {
    FLAG_INSTANCE,
    FLAG_OUTPUT,
    FLAG_SOCKET,
    FLAG_IDENTITY,
    FLAG_HELP,
    FLAG_VERSION,
    FLAG_MESSAGE,
    FLAG_DRY_RUN,
    FLAG_NO_WAIT,
    FLAG_TIMEOUT,
    FLAG_MAY_EXIST,
    FLAG_IF_EXISTS,
    FLAG_YES,
    FLAG_PURGE,
    FLAG_PRUNE,
    FLAG_FILE,
    FLAG_REVISION,
    FLAG_NODE,
    FLAG_LIMIT,
    FLAG_AFTER,
    FLAG_FILTER,
    FLAG_BEFORE,
    FLAG_FOLLOW,
    FLAG_DETACH,
    FLAG_REPAIR,
    FLAG_FORCE,
    FLAG_VERBOSE,
    FLAG_USER_DOMAIN,
    FLAG_FORMAT,
    FLAG_STATE,
    FLAG_INIT,
    FLAG_SCAN,
    FLAG_ADOPT,
    FLAG_WITH_SECRETS,
    N_FLAGS,
} FlagId;

typedef struct Flag {
    const char *name;  /* "dry-run" */
    char letter;       /* 0: none */
    const char *value; /* "NAME"; NULL: takes none */
    const char *words;
} Flag;

extern const Flag flags[N_FLAGS];

/* What a command does beyond its words; 'ret_exit' is 0 unless the answer says otherwise (CLI.md: 1, 5, 7). */
typedef Error *Run(Cli *cli, const Line *line, int *ret_exit);

typedef struct Command {
    const char *noun;       /* NULL: the verb stands alone */
    const char *verb;       /* NULL ends the table */
    const char *key;        /* "LOCAL@DOMAIN"; NULL: takes none */
    const char *kind;       /* "address": whose keys and fields; NULL: none */
    const char *fields;     /* NULL: takes none; words of: "*" (all of the kind), names of the kind's, others */
    uint64_t flags;         /* bits by FlagId; the global ones are understood everywhere */
    const char *stands_for; /* the edit that the verb itself is: "enabled=no" */
    const char *done;       /* "added": the first word of the answer */
    const char *loses;      /* what is gone afterwards, to be confirmed; NULL: asks nothing */
    const char *words;      /* one line of help */
    const char *example;    /* the line behind "mailctl" */
    Run *run;
    Mail__Verb edit; /* for objects: what it does with one */
    bool key_optional;
    bool hidden; /* not in help, man page and completion */
} Command;

extern const Command commands[]; /* nouns together, in the order of help */

const Command *command_find(const char *noun, const char *verb); /* noun NULL: a verb that stands alone */
bool command_noun_known(const char *noun);
const char *command_nearest(const char *noun, const char *word); /* a noun or lone verb, or a verb of 'noun'; NULL */
bool command_takes(const Command *command, FlagId flag);

/* A field that is no object's: of a user, a group, or of one command alone. */
typedef struct PlainField {
    const char *name, *words;
    const char *values; /* "yes,no"; NULL: free */
    bool list;
    bool secret; /* by file, stdin or prompt only */
    bool as_is;  /* what begins with '@' is no file */
} PlainField;
const PlainField *plain_field(const char *name); /* '-' and '_' alike; NULL: none */
bool command_field_secret(const Command *command, const char *field);
bool command_field_as_is(const Command *command, const char *field);

/* The kind's description, NULL when the command has none. */
const KindMeta *command_meta(const Command *command);

/* Is 'field' one of the command's?  '-' and '_' alike. */
bool command_has_field(const Command *command, const char *field);
const char *command_field_nearest(const Command *command, const char *field);

/* Calls 'each' for every field of the command, in the kind's order, then the others (meta NULL). */
void command_each_field(const Command *command, void *context,
                        void (*each)(void *context, const char *name, const FieldMeta *meta));

/* "address add LOCAL@DOMAIN [FIELD=VALUE...]", without flags.  Owned by the caller. */
char *command_synopsis(const Command *command);
char *command_title(const Command *command); /* "address add" */

Run run_add, run_change, run_remove, run_list, run_show, run_instance_add, run_instance_move, run_public_add,
    run_public_undelete, run_named_set, run_controller_init, run_controller_backup, run_recovery_sheet,
    run_controller_restore, run_node_add, run_node_revoke, run_node_resync, run_node_check, run_node_show, run_status,
    run_dkim_show, run_diff, run_apply, run_export, run_history, run_revert, run_rollback, run_events, run_task_list,
    run_task_show, run_task_wait, run_task_cancel, run_account_change, run_account_list, run_account_show,
    run_user_domain_show, run_trace, run_user_domain_accept, run_mailbox_claim, run_doctor, run_wait, run_explain,
    run_completion, run_complete, run_man, run_help, run_mailbox_list, run_mailbox_show, run_user_senders;
Run run_user_import;
Run run_snapshot_list, run_snapshot_folders, run_snapshot_export;
Run run_destination_add, run_destination_check, run_backup_run, run_backup_status, run_backup_verify;
Run run_restore_folder;
Run run_restore_instance;
Run run_export_secrets; /* of run_export */
