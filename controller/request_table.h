/* request_table.h - the closed table of the admin link: body x state of the talk -> handler
 *
 * Decides before anything else is looked at.  A body without a row does not exist
 * here; a unit test demands one for each that control.proto knows.
 */
#pragma once
#include "local/envelope.h"

typedef enum TalkState {
    TALK_UNGREETED, /* over CURVE; the local socket hands over only peers that have greeted */
    TALK_GREETED,
    N_TALK_STATES
} TalkState;

typedef enum RequestVerb {
    REQUEST_REFUSED, /* a failure is the answer */
    REQUEST_GREETING,
    REQUEST_CHANGE,
    REQUEST_APPLY_BEGIN,
    REQUEST_APPLY_PART,
    REQUEST_APPLY_END,
    REQUEST_REVERT,
    REQUEST_ROLLBACK,
    REQUEST_UNDELETE,
    REQUEST_LIST,
    REQUEST_HISTORY,
    REQUEST_DIFF,
    REQUEST_STATUS,
    REQUEST_EVENTS,
    REQUEST_WAIT,
    REQUEST_NODE_TOKEN,
    REQUEST_NODE_REVOKE,
    REQUEST_NODE_RESYNC,
    REQUEST_TASK_NEW,
    REQUEST_TASK_WAIT,
    REQUEST_TASK_STOP,
    REQUEST_TASKS,
    REQUEST_DIRECTORY,
    REQUEST_TABLES,
    REQUEST_BACKUPS,
    REQUEST_TRACE,
    REQUEST_COPY,
    REQUEST_SECRETS,
    N_REQUEST_VERBS
} RequestVerb;

/* False: no such body. */
bool request_decide(BodyCase body, TalkState state, RequestVerb *ret_verb);
