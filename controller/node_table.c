#include "node_table.h"

enum { N_BODIES = 128 };

typedef struct Row {
    bool listed;
    NodeVerb node[N_SESSION_STATES];
    NodeVerb newcomer; /* has no session: one word, one answer */
} Row;

#define BODY(body) [MAIL__ENVELOPE__BODY_##body]
#define NEVER(body) BODY(body) = {.listed = true}
#define ROW(body, ...) BODY(body) = {.listed = true, .node = {__VA_ARGS__}}

/* clang-format off */
static const Row rows[N_BODIES] = {
    /* Never answered with a failure, whoever says it: two programs would talk for ever. */
    BODY(FAILURE) = {.listed = true, .newcomer = NODE_DROPPED,
        .node = {[SESSION_NEW] = NODE_DROPPED, [SESSION_UP] = NODE_ANSWER, [SESSION_FORKED] = NODE_DROPPED,
                 [SESSION_CLONE] = NODE_DROPPED}},
    BODY(DONE) = {.listed = true, .newcomer = NODE_DROPPED,
        .node = {[SESSION_NEW] = NODE_DROPPED, [SESSION_UP] = NODE_ANSWER, [SESSION_FORKED] = NODE_DROPPED,
                 [SESSION_CLONE] = NODE_DROPPED}},
    BODY(JOIN) = {.listed = true, .newcomer = NODE_JOIN},

    ROW(HELLO, [SESSION_NEW] = NODE_HELLO, [SESSION_UP] = NODE_HELLO, [SESSION_FORKED] = NODE_HELLO,
        [SESSION_CLONE] = NODE_HELLO),
    /* A forced snapshot is answered by a node that is still forked. */
    ROW(APPLIED, [SESSION_UP] = NODE_APPLIED, [SESSION_FORKED] = NODE_APPLIED),
    ROW(REFUSED, [SESSION_UP] = NODE_SAYS_REFUSED, [SESSION_FORKED] = NODE_SAYS_REFUSED),
    ROW(PREPARED, [SESSION_UP] = NODE_ANSWER, [SESSION_FORKED] = NODE_DROPPED),
    ROW(ACCOUNTS, [SESSION_UP] = NODE_ANSWER, [SESSION_FORKED] = NODE_DROPPED),
    ROW(TABLES_ROWS, [SESSION_UP] = NODE_ANSWER, [SESSION_FORKED] = NODE_DROPPED),
    ROW(BACKUP_ROWS, [SESSION_UP] = NODE_ANSWER, [SESSION_FORKED] = NODE_DROPPED),
    ROW(TRACE_ROWS, [SESSION_UP] = NODE_ANSWER, [SESSION_FORKED] = NODE_DROPPED),
    ROW(TASK_PROGRESS, [SESSION_UP] = NODE_TASK, [SESSION_FORKED] = NODE_DROPPED),
    ROW(TASK_RESULT, [SESSION_UP] = NODE_TASK, [SESSION_FORKED] = NODE_DROPPED),
    ROW(REPORT, [SESSION_UP] = NODE_REPORT, [SESSION_FORKED] = NODE_REPORT),
    ROW(STORE_COPY_READ, [SESSION_UP] = NODE_COPY),
    ROW(PONG, [SESSION_NEW] = NODE_DROPPED, [SESSION_UP] = NODE_PONG, [SESSION_FORKED] = NODE_PONG,
        [SESSION_CLONE] = NODE_DROPPED),

    /* What we say ourselves, and what belongs to other links. */
    NEVER(GREETING), NEVER(STANDING), NEVER(DELTA), NEVER(PREPARE), NEVER(HOLD), NEVER(TASK_START), NEVER(TASK_CANCEL),
    NEVER(TASK_ASK), NEVER(TASK_SEEN), NEVER(PING), NEVER(DIRECTORY), NEVER(TABLES_READ), NEVER(BACKUP_READ), NEVER(TRACE_READ),
    NEVER(JOINED),
    NEVER(CHANGE), NEVER(APPLY_BEGIN), NEVER(APPLY_PART), NEVER(APPLY_END), NEVER(LIST), NEVER(GET_HISTORY),
    NEVER(GET_DIFF), NEVER(REVERT), NEVER(ROLLBACK), NEVER(GET_STATUS), NEVER(GET_EVENTS), NEVER(NODE_TOKEN),
    NEVER(NODE_REVOKE), NEVER(NODE_RESYNC), NEVER(TASK_NEW), NEVER(GET_TASKS), NEVER(TASK_WAIT), NEVER(TASK_STOP),
    NEVER(WAIT), NEVER(OUTCOME), NEVER(LISTED), NEVER(REVISIONS), NEVER(DIFFERENCES), NEVER(STATUS), NEVER(EVENTS),
    NEVER(TOKEN), NEVER(TASKS), NEVER(STORE_COPY), NEVER(COPY_PART), NEVER(SECRETS_READ), NEVER(UNDELETE), NEVER(SECRETS_ARE), NEVER(ENGINE_STATE), NEVER(ENGINE_PREPARE), NEVER(ENGINE_SWITCH), NEVER(ENGINE_ABORT),
    NEVER(ENGINE_REFRESH), NEVER(ENGINE_TASK), NEVER(ENGINE_IS),
};
/* clang-format on */

bool node_verb(BodyCase body, Role role, SessionState state, NodeVerb *ret_verb)
{
    if ((unsigned)body >= N_BODIES || !rows[body].listed)
        return false;
    *ret_verb = role == ROLE_NEWCOMER ? rows[body].newcomer : rows[body].node[state];
    return true;
}

const char *session_state_name(SessionState state)
{
    static const char *const names[N_SESSION_STATES] = {
        [SESSION_NEW] = "new",     [SESSION_UP] = "up",           [SESSION_FORKED] = "forked",
        [SESSION_CLONE] = "clone", [SESSION_REVOKED] = "revoked",
    };
    return names[state];
}
