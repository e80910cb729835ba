/* history and status: what happened to the state, and how everything is. */
#include "request_inside.h"

#include "base/alloc.h"
#include "base/log.h"
#include "model/meta.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* ---- history ---- */

enum {
    ROWS_AT_ONCE = 20,
    NAMED_MAX = 20, /* objects of a revision that are named */
    STATUS_PART_NODES = 2000,
    STATUS_PART_BACKUPS = 20, /* nodes, where each tells of its backups */
    DOOR_ALARM_MS = 10 * 60 * 1000,
};

typedef struct Past {
    Named of; /* kind 0: all */
    uint64_t before;
    size_t left; /* SIZE_MAX: all */
    bool end;
} Past;

static bool past_run(Ask *ask, Msec now);

static void past_done(void *data)
{
    Past *past = data;

    named_done(&past->of);
    free(past);
}

static const AskType past_type = {.run = past_run, .done = past_done};

static char *copy_of(const char *text)
{
    return text ? xstrdup(text) : NULL;
}

/* Rows first, then what each of them changed: the store is not asked inside its own answer. */
typedef struct Rows {
    Mail__RevisionInfo *list[ROWS_AT_ONCE];
    size_t n;
} Rows;

static void rows_done(Rows *rows)
{
    for (size_t i = 0; i < rows->n; i++)
        mail__revision_info__free_unpacked(rows->list[i], NULL);
    rows->n = 0;
}

static Error *row_take(void *context, const RevisionRow *row)
{
    Rows *rows = context;

    if (rows->n == ROWS_AT_ONCE)
        return NULL;
    Mail__RevisionInfo *info = xcalloc(1, sizeof *info);
    mail__revision_info__init(info);
    info->has_revision = info->has_time = info->has_count = true;
    info->revision = row->revision;
    info->time = row->time_s;
    info->count = row->n_changed;
    info->who = copy_of(row->who);
    info->message = copy_of(row->message);
    info->via = copy_of(row->via);
    rows->list[rows->n++] = info;
    return NULL;
}

static const char enough_words[] = "enough";

static Error *changed_take(void *context, const Object *before, const Object *after)
{
    Mail__RevisionInfo *info = context;
    ObjectRef ref = object_ref(after ? after : before);

    if (info->n_changed == NAMED_MAX)
        return error_new(ERROR_CONFLICT, "%s", enough_words);
    Mail__Ref *changed = xcalloc(1, sizeof *changed);
    mail__ref__init(changed);
    changed->kind = xstrdup(kind_info(ref.kind)->name);
    changed->instance = *ref.instance ? xstrdup(ref.instance) : NULL;
    changed->name = *ref.name ? xstrdup(ref.name) : NULL;
    if (!info->changed)
        info->changed = xcalloc(NAMED_MAX, sizeof(Mail__Ref *));
    info->changed[info->n_changed++] = changed;
    return NULL;
}

/* The names are a courtesy: the oldest revision that is kept has none before it to compare with. */
static void changed_fill(Store *store, Mail__RevisionInfo *info)
{
    Error *err = store_diff(store, info->revision - 1, info->revision, NULL, changed_take, info);

    error_free(&err);
}

static Error *rows_read(Store *store, Past *past, Rows *rows)
{
    ObjectRef ref = named_ref(&past->of);
    size_t limit = past->left < ROWS_AT_ONCE ? past->left : ROWS_AT_ONCE;
    Error *err = limit ? store_history(store, past->of.kind ? &ref : NULL, past->before, limit, row_take, rows) : NULL;

    if (err)
        return err;
    for (size_t i = 0; i < rows->n; i++)
        changed_fill(store, rows->list[i]);
    if (past->left != SIZE_MAX)
        past->left -= rows->n;
    past->end = rows->n < ROWS_AT_ONCE || !past->left || rows->list[rows->n - 1]->revision <= 1;
    return NULL;
}

static bool past_run(Ask *ask, Msec now)
{
    Past *past = ask->data;
    DEFER(rows_done) Rows rows = {.n = 0};
    Envelope envelope = MAIL__ENVELOPE__INIT;
    Mail__Revisions revisions = MAIL__REVISIONS__INIT;

    ask->at = MSEC_NEVER;
    if (!ask_has_room(ask))
        return false;
    Past was = *past;
    Error *err = rows_read(ask->of->with.store, past, &rows);
    if (err) {
        ask_fail(ask, err);
        return true;
    }
    revisions.revisions = rows.list;
    revisions.n_revisions = rows.n;
    envelope.body_case = MAIL__ENVELOPE__BODY_REVISIONS;
    envelope.revisions = &revisions;
    if (!ask_say(ask, &envelope, past->end)) {
        *past = was; /* read again when there is room */
        ask->at = now + 20;
        return false;
    }
    if (rows.n)
        past->before = rows.list[rows.n - 1]->revision;
    ask->at = now;
    return past->end;
}

static Error *past_fill(Store *store, Mail__GetHistory *wish, Past *past)
{
    Mail__Ref ref = MAIL__REF__INIT;
    Rows rows = {.n = 0};

    past->before = wish->before;
    past->left = wish->limit ? wish->limit : SIZE_MAX;
    if (!wish->kind || !*wish->kind)
        return NULL;
    ref.kind = wish->kind;
    ref.instance = wish->instance;
    ref.name = wish->name;
    Error *err = named_resolve(store, &ref, &past->of);
    if (err)
        return err;
    ObjectRef of = named_ref(&past->of);
    err = store_history(store, &of, 0, 1, row_take, &rows);
    if (!err && rows.n == 0)
        err = named_missing(store, &of);
    rows_done(&rows);
    return err;
}

void request_history(Ask *ask, Envelope **envelope, Msec now)
{
    Past *past = xcalloc(1, sizeof *past);
    Error *err = past_fill(ask->of->with.store, (*envelope)->get_history, past);

    if (err) {
        past_done(past);
        ask_fail(ask, err);
        return;
    }
    ask_keep(ask, &past_type, past);
    if (past_run(ask, now))
        ask->answered = true;
}

/* ---- status ---- */

typedef struct Alarms {
    char **list;
    size_t n;
} Alarms;

static void alarms_done(Alarms *alarms)
{
    for (size_t i = 0; i < alarms->n; i++)
        free(alarms->list[i]);
    free(alarms->list);
}

/* Takes the text. */
static void alarm_add(Alarms *alarms, char *text)
{
    alarms->list = xrealloc(alarms->list, (alarms->n + 1) * sizeof *alarms->list);
    alarms->list[alarms->n++] = text;
}

static void alarms_fill(const Requests *requests, Mail__NodeStatus *const *nodes, size_t n, Msec now, Alarms *alarms)
{
    for (size_t i = 0; i < n; i++) {
        if (nodes[i]->state == MAIL__NODE_STATE__NODE_FORKED)
            alarm_add(alarms,
                      xasprintf("node %s is forked: it knows revisions that this controller does not; nothing is "
                                "sent to it until somebody decides: mailctl node resync %s --force",
                                nodes[i]->name, nodes[i]->name));
        if (nodes[i]->state == MAIL__NODE_STATE__CLONED)
            alarm_add(alarms,
                      xasprintf("node %s has a clone: another machine with its key was refused", nodes[i]->name));
    }
    if (requests->doors_at && now < requests->doors_at + DOOR_ALARM_MS)
        alarm_add(alarms, xasprintf("%" PRIu64 " handshakes or messages were refused since the start, the last %" PRIu64
                                    " s ago",
                                    requests->doors_seen, (now - requests->doors_at) / 1000));
    if (requests->audit)
        alarm_add(alarms, xstrdup(requests->audit));
}

/* Thousands of nodes are more than one message holds. */
static void status_tell(Ask *ask, Mail__Status *status, size_t most, Mail__NodeStatus **nodes, size_t n)
{
    Envelope envelope = MAIL__ENVELOPE__INIT;
    size_t told = 0;

    envelope.body_case = MAIL__ENVELOPE__BODY_STATUS;
    envelope.status = status;
    do {
        size_t part = n - told < most ? n - told : most;
        status->nodes = part ? &nodes[told] : NULL;
        status->n_nodes = part;
        told += part;
        if (!ask_say(ask, &envelope, told == n))
            ask->talk->ended = true; /* it is small, and would have been taken */
    } while (told < n && !ask->talk->ended);
    ask->answered = true;
}

void request_status(Ask *ask, Envelope **envelope, Msec now)
{
    const Mail__GetStatus *wish = (*envelope)->get_status;
    const RequestsParts *with = &ask->of->with;
    bool one = wish->node && *wish->node;
    DEFER(xfree) char *node = NULL;
    Mail__Status status = MAIL__STATUS__INIT;
    Mail__NodeStatus **nodes = NULL;
    DEFER(alarms_done) Alarms alarms = {.n = 0};
    char release[] = MAILNODE_RELEASE;
    size_t n = 0;
    Error *err = one ? named_node(with->store, wish->node, &node) : NULL;

    if (!err)
        err = nodes_status(with->nodes, &(StatusWish){node, node != NULL, wish->backups}, now, &nodes, &n);
    if (err) {
        ask_fail(ask, err);
        return;
    }
    alarms_fill(ask->of, nodes, n, now, &alarms);
    status.has_revision = status.has_n_objects = true;
    status.revision = store_revision(with->store);
    status.n_objects = store_count(with->store);
    status.alarms = alarms.list;
    status.n_alarms = alarms.n;
    status.release = release;
    status.who = ask->asker->who;
    status.role = (char *)(uintptr_t)role_name(ask->asker->role);
    status_tell(ask, &status, wish->backups ? STATUS_PART_BACKUPS : STATUS_PART_NODES, nodes, n);
    nodes_status_free(&nodes, n);
}
