/* verbs.h - the closed list that the agent may ask of root, each checked again here
 *
 *     State     → EngineIs
 *     Prepare   → Done | Failure          Switch → EngineIs | Failure        Abort → Done
 *     Refresh   → Done | Failure
 *     Task      → TaskProgress..., TaskResult        (node check, node doctor; jobs, each in a process of its own)
 *               → BackupRows... | Failure             (a question about backups, also a job)
 *               → TraceRows... | Failure              (what the logs say of a message, also a job)
 *
 * ROOT/run/mailnode/engine/engine.sock, 0660, group mailagent; peers must be root or mailagent.  Requests of one
 * connection are answered in their order; Prepare, Switch and Refresh of all connections one after the other, State at
 * once.  What is not in the list ends the connection.
 */
#pragma once
#include "engine/change.h"
#include "engine/made.h"
#include "engine/supervise.h"

typedef struct Verbs Verbs;

typedef struct VerbsParts { /* all outlive the Verbs */
    const char *root;
    Change *change;
    Supervise *supervise;
    Happened *happened;
    Made *made;
} VerbsParts;

CHECKED Error *verbs_new(const VerbsParts *parts, Verbs **ret_verbs); /* CONFLICT: somebody listens there */
void verbs_free(Verbs **verbs);
void verbs_run(Verbs *verbs, Msec now);
void verbs_wait(Verbs *verbs, Waiter *wake);
