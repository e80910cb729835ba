#include "authorise.h"

#include "base/alloc.h"

#include <stdlib.h>
#include <string.h>

/* ---- the table ---- */

typedef enum Where {
    NOWHERE,  /* never, whoever asks */
    ANYWHERE, /* limited to instances or not */
    INSIDE,   /* limited: only in those instances */
    WHOLE,    /* limited: not at all */
} Where;

typedef struct Rule {
    bool listed;
    Where where;
    Mail__Role least;
    const char *deed; /* "name may not ..." */
} Rule;

enum { N_BODIES = 128, N_OBJECT_KINDS = 48, N_VERBS = 3 };

#define ASKS(body, where_, least_, deed_)                                                                              \
    [MAIL__ENVELOPE__BODY_##body] = {.listed = true, .where = (where_), .least = MAIL__ROLE__##least_, .deed = (deed_)}
#define NEVER(body) [MAIL__ENVELOPE__BODY_##body] = {.listed = true, .where = NOWHERE}

/* clang-format off */
static const Rule bodies[N_BODIES] = {
    ASKS(LIST,         ANYWHERE, VIEWER,   "read"),
    ASKS(GET_HISTORY,  ANYWHERE, VIEWER,   "read"),
    ASKS(GET_DIFF,     ANYWHERE, VIEWER,   "read"),
    ASKS(GET_STATUS,   ANYWHERE, VIEWER,   "read"),
    ASKS(GET_EVENTS,   ANYWHERE, VIEWER,   "read"),
    ASKS(GET_TASKS,    ANYWHERE, VIEWER,   "read"),
    ASKS(TASK_WAIT,    ANYWHERE, VIEWER,   "read"),
    ASKS(WAIT,         ANYWHERE, VIEWER,   "read"),
    ASKS(CHANGE,       ANYWHERE, OPERATOR, "change anything"), /* then by kind, below */
    ASKS(DIRECTORY,    ANYWHERE, VIEWER,   "read users and groups"), /* then authorise_accounts */
    ASKS(TABLES_READ,  ANYWHERE, VIEWER,   "read"),
    ASKS(BACKUP_READ,  ANYWHERE, VIEWER,   "read"),
    ASKS(TRACE_READ,   ANYWHERE, VIEWER,   "read"),
    ASKS(ROLLBACK,     INSIDE,   ADMIN,    "roll an instance back"),
    ASKS(UNDELETE,     INSIDE,   OPERATOR, "bring a public mailbox back"), /* then by kind, below */
    ASKS(REVERT,       WHOLE,    ADMIN,    "revert a change"),
    ASKS(APPLY_BEGIN,  WHOLE,    ADMIN,    "apply a file"),
    ASKS(APPLY_PART,   WHOLE,    ADMIN,    "apply a file"),
    ASKS(APPLY_END,    WHOLE,    ADMIN,    "apply a file"),
    ASKS(NODE_TOKEN,   WHOLE,    ADMIN,    "add or replace a node"),
    ASKS(NODE_REVOKE,  WHOLE,    ADMIN,    "revoke a node"),
    ASKS(NODE_RESYNC,  WHOLE,    ADMIN,    "resync a node"),
    ASKS(TASK_NEW,     ANYWHERE, OPERATOR, "start a task"), /* then authorise_task */
    ASKS(STORE_COPY,   WHOLE,    ADMIN,    "copy the controller"),
    ASKS(SECRETS_READ, WHOLE,    ADMIN,    "read secrets"),
    ASKS(TASK_STOP,    WHOLE,    ADMIN,    "stop a task"),

    /* What is said by us, on other links, or before anybody is known. */
    NEVER(FAILURE), NEVER(DONE), NEVER(GREETING),
    NEVER(HELLO), NEVER(STANDING), NEVER(DELTA), NEVER(APPLIED), NEVER(REFUSED), NEVER(PREPARE), NEVER(PREPARED),
    NEVER(HOLD), NEVER(TASK_START), NEVER(TASK_CANCEL), NEVER(TASK_ASK), NEVER(TASK_PROGRESS), NEVER(TASK_RESULT),
    NEVER(TASK_SEEN), NEVER(REPORT), NEVER(PING), NEVER(PONG), NEVER(ACCOUNTS), NEVER(TABLES_ROWS), NEVER(BACKUP_ROWS), NEVER(STORE_COPY_READ), NEVER(TRACE_ROWS), NEVER(JOIN), NEVER(JOINED),
    NEVER(OUTCOME), NEVER(LISTED), NEVER(REVISIONS), NEVER(DIFFERENCES), NEVER(STATUS), NEVER(EVENTS), NEVER(TOKEN),
    NEVER(TASKS), NEVER(COPY_PART), NEVER(SECRETS_ARE),
    NEVER(ENGINE_STATE), NEVER(ENGINE_PREPARE), NEVER(ENGINE_SWITCH), NEVER(ENGINE_ABORT), NEVER(ENGINE_REFRESH),
    NEVER(ENGINE_TASK), NEVER(ENGINE_IS),
};

#define CELL(where_, least_) {.listed = true, .where = (where_), .least = MAIL__ROLE__##least_}
#define KIND(kind, add, modify, remove)                                      \
    [MAIL__OBJECT__BODY_##kind] = {[MAIL__VERB__ADD] = add, [MAIL__VERB__MODIFY] = modify, [MAIL__VERB__REMOVE] = remove}

static const Rule edits[N_OBJECT_KINDS][N_VERBS] = {
    /*                add                     set                     remove */
    KIND(NODE,        CELL(WHOLE, ADMIN),     CELL(WHOLE, ADMIN),     CELL(WHOLE, ADMIN)),
    KIND(INSTANCE,    CELL(WHOLE, ADMIN),     CELL(INSIDE, ADMIN),    CELL(WHOLE, ADMIN)),
    KIND(USER_DOMAIN, CELL(WHOLE, ADMIN),     CELL(WHOLE, ADMIN),     CELL(WHOLE, ADMIN)),
    KIND(ADMIN,       CELL(WHOLE, ADMIN),     CELL(WHOLE, ADMIN),     CELL(WHOLE, ADMIN)),
    KIND(DOMAIN,      CELL(INSIDE, ADMIN),    CELL(INSIDE, ADMIN),    CELL(INSIDE, ADMIN)),
    KIND(POLICY,      CELL(INSIDE, ADMIN),    CELL(INSIDE, ADMIN),    CELL(INSIDE, ADMIN)),
    KIND(SETTINGS,    CELL(INSIDE, ADMIN),    CELL(INSIDE, ADMIN),    CELL(INSIDE, ADMIN)),
    KIND(FILTER,      CELL(INSIDE, ADMIN),    CELL(INSIDE, ADMIN),    CELL(INSIDE, ADMIN)),
    KIND(TLS,         CELL(INSIDE, ADMIN),    CELL(INSIDE, ADMIN),    CELL(INSIDE, ADMIN)),
    KIND(RELAY,       CELL(INSIDE, ADMIN),    CELL(INSIDE, ADMIN),    CELL(INSIDE, ADMIN)),
    KIND(ADDRESS,     CELL(INSIDE, OPERATOR), CELL(INSIDE, OPERATOR), CELL(INSIDE, OPERATOR)),
    KIND(MAILBOX,     CELL(INSIDE, OPERATOR), CELL(INSIDE, OPERATOR), CELL(INSIDE, OPERATOR)),
    KIND(DKIM_KEY,    CELL(NOWHERE, ADMIN),   CELL(NOWHERE, ADMIN),   CELL(NOWHERE, ADMIN)), /* made with its domain */
    KIND(PUBLIC_MAILBOX, CELL(INSIDE, OPERATOR), CELL(INSIDE, OPERATOR), CELL(INSIDE, OPERATOR)),
    KIND(RELAY_CLIENT, CELL(INSIDE, ADMIN),   CELL(INSIDE, ADMIN),    CELL(INSIDE, ADMIN)),
    KIND(DESTINATION, CELL(WHOLE, ADMIN),     CELL(WHOLE, ADMIN),     CELL(WHOLE, ADMIN)),
    KIND(PLAN,        CELL(WHOLE, ADMIN),     CELL(WHOLE, ADMIN),     CELL(WHOLE, ADMIN)),
};
/* clang-format on */

/* ---- askers ---- */

Asker *asker_new(const char *who, const char *entry, Mail__Role role, char *const *instances, size_t n_instances)
{
    Asker *asker = xcalloc(1, sizeof *asker);

    *asker = (Asker){.who = xstrdup(who), .entry = xstrdup(entry), .role = role, .n_instances = n_instances};
    asker->instances = n_instances ? xcalloc(n_instances, sizeof *asker->instances) : NULL;
    for (size_t i = 0; i < n_instances; i++)
        asker->instances[i] = xstrdup(instances[i]);
    return asker;
}

Asker *asker_clone(const Asker *asker)
{
    return asker_new(asker->who, asker->entry, asker->role, asker->instances, asker->n_instances);
}

void asker_free(Asker **asker)
{
    if (!*asker)
        return;
    for (size_t i = 0; i < (*asker)->n_instances; i++)
        free((*asker)->instances[i]);
    free((*asker)->instances);
    free((*asker)->who);
    free((*asker)->entry);
    free(*asker);
    *asker = NULL;
}

const char *role_name(Mail__Role role)
{
    switch (role) {
    case MAIL__ROLE__VIEWER:
        return "viewer";
    case MAIL__ROLE__OPERATOR:
        return "operator";
    case MAIL__ROLE__ADMIN:
        return "admin";
    default:
        return "unknown";
    }
}

/* ---- deciding ---- */

bool asker_has(const Asker *asker, const char *instance)
{
    if (asker->n_instances == 0)
        return true;
    for (size_t i = 0; i < asker->n_instances; i++)
        if (strcmp(asker->instances[i], instance) == 0)
            return true;
    return false;
}

static Error *denied(const Asker *asker, const Rule *rule, const char *deed, const char *instance)
{
    if (!rule->listed || rule->where == NOWHERE)
        return error_new(ERROR_DENIED, "%s may not %s: nobody may", asker->who, deed);
    if (asker->role < rule->least)
        return error_new(ERROR_DENIED, "%s may not %s: its role is %s, %s is needed", asker->who, deed,
                         role_name(asker->role), role_name(rule->least));
    if (instance)
        return error_new(ERROR_DENIED, "%s may not %s of instance %s: its role is limited to other instances",
                         asker->who, deed, instance);
    return error_new(ERROR_DENIED, "%s may not %s: its role is limited to instances", asker->who, deed);
}

/* instance NULL: not known yet. */
static bool allowed(const Asker *asker, const Rule *rule, const char *instance)
{
    if (!rule->listed || rule->where == NOWHERE || asker->role < rule->least)
        return false;
    if (asker->n_instances == 0 || rule->where == ANYWHERE)
        return true;
    return rule->where == INSIDE && (!instance || asker_has(asker, instance));
}

Error *authorise_body(const Asker *asker, BodyCase body, const char *instance)
{
    static const Rule none;
    const Rule *rule = (unsigned)body < N_BODIES ? &bodies[body] : &none;

    if (allowed(asker, rule, instance))
        return NULL;
    return denied(asker, rule, rule->deed ? rule->deed : "ask this", rule->where == INSIDE ? instance : NULL);
}

Error *authorise_edit(const Asker *asker, Kind kind, Mail__Verb verb, const char *instance)
{
    static const Rule none;
    static const char *const verbs[N_VERBS] = {"add", "change", "remove"};
    const KindInfo *info = kind_info(kind);
    bool known = (unsigned)kind < N_OBJECT_KINDS && (unsigned)verb < N_VERBS && info;
    const Rule *rule = known ? &edits[kind][verb] : &none;

    if (allowed(asker, rule, instance))
        return NULL;
    DEFER(xfree) char *deed = known ? xasprintf("%s kind '%s'", verbs[verb], info->name) : xstrdup("do this");
    return denied(asker, rule, deed, rule->where == INSIDE ? instance : NULL);
}

Error *authorise_accounts(const Asker *asker, const char *user_domain, bool theirs)
{
    static const Rule rule = {.listed = true, .where = INSIDE, .least = MAIL__ROLE__OPERATOR};
    static const char deed[] = "change users and groups";

    if (!allowed(asker, &rule, NULL))
        return denied(asker, &rule, deed, NULL);
    if (!user_domain || theirs)
        return NULL;
    return error_new(ERROR_DENIED, "%s may not %s of %s: its role is limited to instances that do not use it",
                     asker->who, deed, user_domain);
}

Error *authorise_accept(const Asker *asker)
{
    static const Rule rule = {.listed = true, .where = WHOLE, .least = MAIL__ROLE__ADMIN};

    return allowed(asker, &rule, NULL) ? NULL : denied(asker, &rule, "accept what is held of a user domain", NULL);
}

Error *authorise_task(const Asker *asker, Mail__TaskStart__VerbCase verb, const char *instance)
{
    static const Rule whole = {.listed = true, .where = WHOLE, .least = MAIL__ROLE__ADMIN};
    static const Rule inside = {.listed = true, .where = INSIDE, .least = MAIL__ROLE__OPERATOR};
    bool day = verb == MAIL__TASK_START__VERB_BACKUP_RUN || verb == MAIL__TASK_START__VERB_BACKUP_VERIFY ||
               verb == MAIL__TASK_START__VERB_RESTORE_FOLDER;
    const Rule *rule = day ? &inside : &whole;

    return allowed(asker, rule, instance) ? NULL : denied(asker, rule, "start this task", day ? instance : NULL);
}

bool authorise_knows_body(BodyCase body)
{
    return (unsigned)body < N_BODIES && bodies[body].listed;
}

bool authorise_knows_kind(Kind kind)
{
    if ((unsigned)kind >= N_OBJECT_KINDS)
        return false;
    for (int verb = 0; verb < N_VERBS; verb++)
        if (!edits[kind][verb].listed)
            return false;
    return true;
}
