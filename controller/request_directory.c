/* Users and groups, what tables know of them, backups and logs: handed on to the node that holds these.  They carry
 * passwords: nothing is stored or logged. */
#include "request_inside.h"

#include "base/alloc.h"
#include "model/name.h"
#include "model/shown.h"

#include <stdlib.h>
#include <string.h>

enum {
    ANSWER_WAIT_MS = 30 * 1000,
    BACKUP_WAIT_MS = 120 * 1000, /* a repository is opened; what does not answer is given up by the node after 30 s */
    TRACE_WAIT_MS = 45 * 1000,   /* a node reads its logs for at most 30 s */
    PART_RETRY_MS = 20,
};

typedef struct Relaying {
    Nodes *nodes;
    uint64_t ticket;   /* 0: not handed on */
    char *what, *node; /* which user domain or instance is where */
    bool write;
    Msec wait_ms, until;
    Envelope *part; /* that the peer had no room for; NULL: none */
} Relaying;

static bool relaying_run(Ask *ask, Msec now);

static void relaying_free(Relaying **relaying)
{
    if (!*relaying)
        return;
    if ((*relaying)->ticket)
        nodes_relay_forget((*relaying)->nodes, (*relaying)->ticket);
    envelope_free(&(*relaying)->part);
    free((*relaying)->what);
    free((*relaying)->node);
    free(*relaying);
    *relaying = NULL;
}

static void relaying_done(void *data)
{
    Relaying *relaying = data;

    relaying_free(&relaying);
}

static const AskType relaying_type = {.run = relaying_run, .done = relaying_done};

bool directory_ask_is(const Ask *ask)
{
    return ask->type == &relaying_type;
}

/* ---- answers ---- */

/* Not through ask_fail: words of a node about a password's request are not for the log. */
static bool failure_say(Ask *ask, const Mail__Failure *failure)
{
    Error *err = error_of(failure);
    Mail__Failure mended = failure_of(err);
    Envelope envelope = MAIL__ENVELOPE__INIT;

    envelope.body_case = MAIL__ENVELOPE__BODY_FAILURE;
    envelope.failure = &mended;
    bool sent = ask_say(ask, &envelope, true);
    error_free(&err);
    return sent;
}

static bool steps_say(Ask *ask, const Envelope *part)
{
    Envelope envelope = MAIL__ENVELOPE__INIT;

    envelope.body_case = MAIL__ENVELOPE__BODY_TRACE_ROWS;
    envelope.trace_rows = part->trace_rows;
    return ask_say(ask, &envelope, part->last);
}

static bool backup_say(Ask *ask, const Envelope *part)
{
    Envelope envelope = MAIL__ENVELOPE__INIT;

    envelope.body_case = MAIL__ENVELOPE__BODY_BACKUP_ROWS;
    envelope.backup_rows = part->backup_rows;
    return ask_say(ask, &envelope, part->last);
}

/* With the name of the user domain, which mailctl may not know; a change is answered so, too. */
static bool accounts_say(Ask *ask, const Relaying *relaying, const Mail__Accounts *accounts, bool last)
{
    Envelope envelope = MAIL__ENVELOPE__INIT;
    Mail__Accounts body = MAIL__ACCOUNTS__INIT;

    if (accounts)
        body = *accounts;
    body.user_domain = relaying->what;
    envelope.body_case = MAIL__ENVELOPE__BODY_ACCOUNTS;
    envelope.accounts = &body;
    return ask_say(ask, &envelope, last);
}

static bool rows_say(Ask *ask, const Envelope *part)
{
    Envelope envelope = MAIL__ENVELOPE__INIT;

    envelope.body_case = MAIL__ENVELOPE__BODY_TABLES_ROWS;
    envelope.tables_rows = part->tables_rows;
    return ask_say(ask, &envelope, part->last);
}

static bool part_say(Ask *ask, const Relaying *relaying, const Envelope *part)
{
    Envelope envelope = MAIL__ENVELOPE__INIT;
    Mail__Done done = MAIL__DONE__INIT;

    if (part->body_case == MAIL__ENVELOPE__BODY_TABLES_ROWS)
        return rows_say(ask, part);
    if (part->body_case == MAIL__ENVELOPE__BODY_BACKUP_ROWS)
        return backup_say(ask, part);
    if (part->body_case == MAIL__ENVELOPE__BODY_TRACE_ROWS)
        return steps_say(ask, part);
    if (part->body_case == MAIL__ENVELOPE__BODY_FAILURE)
        return failure_say(ask, part->failure);
    if (part->body_case == MAIL__ENVELOPE__BODY_ACCOUNTS)
        return accounts_say(ask, relaying, part->accounts, part->last);
    if (relaying->write)
        return accounts_say(ask, relaying, NULL, true);
    envelope.body_case = MAIL__ENVELOPE__BODY_DONE;
    envelope.done = &done;
    return ask_say(ask, &envelope, true);
}

/* mailctl knows a change whose outcome nobody knows by the first words. */
static Error *lost(const Relaying *relaying, const char *why)
{
    return error_new(ERROR_UNAVAILABLE, "%snode %s, which holds %s, %s", relaying->write ? "outcome unknown: " : "",
                     relaying->node, relaying->what, why);
}

static bool give_up(Ask *ask, const Relaying *relaying, const char *why)
{
    ask_fail(ask, lost(relaying, why));
    return true;
}

static bool given_up_late(Ask *ask, const Relaying *relaying)
{
    DEFER(xfree) char *why = xasprintf("did not answer within %u s", (unsigned)(relaying->wait_ms / 1000));

    return give_up(ask, relaying, why);
}

static bool relaying_run(Ask *ask, Msec now)
{
    Relaying *relaying = ask->data;

    while (ask_has_room(ask)) {
        RelayState state =
            relaying->part ? RELAY_PART : nodes_relayed(relaying->nodes, relaying->ticket, &relaying->part);
        if (state == RELAY_GONE)
            return give_up(ask, relaying, "went away before it answered");
        if (now >= relaying->until) /* nor does an answer go on for ever */
            return given_up_late(ask, relaying);
        ask->at = relaying->until;
        if (state == RELAY_PENDING)
            return false;
        if (!part_say(ask, relaying, relaying->part))
            break;
        envelope_free(&relaying->part);
        if (ask->answered)
            return true;
    }
    ask->at = now + PART_RETRY_MS;
    return false;
}

/* ---- what is asked ---- */

typedef struct Users {
    const Asker *asker;
    const char *user_domain;
    bool theirs;
} Users;

static Error *instance_look(void *context, const ObjectRef *ref, const void *bytes, size_t size)
{
    Users *users = context;
    DEFER(object_free) Object *instance = NULL;
    Error *err = asker_has(users->asker, ref->name) ? object_unpack(bytes, size, &instance) : NULL;

    if (instance && instance->instance->user_domain && strcmp(instance->instance->user_domain, users->user_domain) == 0)
        users->theirs = true;
    return err;
}

static Error *may_write(const Ask *ask, const char *user_domain)
{
    Users users = {.asker = ask->asker, .user_domain = user_domain, .theirs = ask->asker->n_instances == 0};
    Error *err = NULL;

    if (!users.theirs)
        err =
            store_each(ask->of->with.store, &(StoreFilter){.kind = MAIL__OBJECT__BODY_INSTANCE}, instance_look, &users);
    return err ? err : authorise_accounts(ask->asker, user_domain, users.theirs);
}

static Error *form_check(const Ask *ask, const Mail__Directory *wish)
{
    int n = (wish->read != NULL) + (wish->write != NULL) + (wish->accept != NULL) + (wish->claim != NULL);

    if (n != 1 || wish->watch)
        return error_new(ERROR_INVALID, "users and groups are either read or changed");
    if (wish->read)
        return NULL;
    if (wish->accept)
        return authorise_accept(ask->asker);
    if (wish->write && (!wish->write->has_verb || !wish->write->has_kind))
        return error_new(ERROR_INVALID, "what to do with whom is missing");
    return authorise_accounts(ask->asker, NULL, false);
}

/* In its one form: a name that none can have is not asked about. */
static Error *name_form(const Mail__Directory *wish, char **ret_name)
{
    const char *name = wish->write ? wish->write->name : wish->claim ? wish->claim->name : wish->read->name;
    bool group = wish->write ? wish->write->kind == MAIL__ACCOUNT_KIND__GROUP
                             : wish->read && wish->read->has_kind && wish->read->kind == MAIL__ACCOUNT_KIND__GROUP;

    if (wish->read && (!name || !*name))
        return NULL;
    Error *err = text_normalise(MAIL__FIELD_TYPE__ACCOUNT, name ? name : "", ret_name);
    DEFER(xfree) char *seen = err ? shown(name) : NULL;
    return error_in(err, "%s '%s'", group ? "group" : "user", seen ? seen : "");
}

static Error *holder_check(const Object *user_domain)
{
    const Mail__UserDomain *body = user_domain->user_domain;

    if (body->kind == MAIL__USER_DOMAIN_KIND__INTERNAL && body->node && *body->node)
        return NULL;
    return error_new(ERROR_CONFLICT, "user domain %s is a directory elsewhere: its users and groups are changed there",
                     user_domain->name);
}

/* Mailboxes, and a mirror that is held, are where the instance is, which may be another node than the directory's. */
typedef struct Place {
    const char *instance, *user_domain;
    char *node;
    size_t n;
} Place;

static Error *place_look(void *context, const ObjectRef *ref, const void *bytes, size_t size)
{
    Place *place = context;
    DEFER(object_free) Object *object = NULL;
    Error *err = object_unpack(bytes, size, &object);
    const Mail__Instance *stated = err ? NULL : object->instance;

    if (err || !stated->user_domain || strcmp(stated->user_domain, place->user_domain) != 0 ||
        (place->instance && *place->instance && strcmp(ref->name, place->instance) != 0))
        return err;
    place->n++;
    free(place->node);
    place->node = xstrdup(stated->node ? stated->node : "");
    return NULL;
}

static Error *node_find_for(const Ask *ask, const Mail__Directory *wish, const Object *user_domain, char **ret_node)
{
    Place place = {.instance = wish->instance, .user_domain = user_domain->name};
    Error *err = NULL;

    if (wish->claim || wish->accept)
        err = store_each(ask->of->with.store, &(StoreFilter){.kind = MAIL__OBJECT__BODY_INSTANCE}, place_look, &place);
    if (!err && !wish->claim && (!wish->accept || !place.n)) {
        *ret_node = xstrdup(user_domain->user_domain->node);
        return NULL;
    }
    if (!err && place.n != 1)
        err = error_hint(error_new(ERROR_INVALID, "%zu instances use user domain %s", place.n, user_domain->name),
                         "say which one: -i NAME");
    if (!err && !*place.node)
        err = error_new(ERROR_UNAVAILABLE, "the instance is placed on no node");
    if (err) {
        free(place.node);
        return err;
    }
    *ret_node = place.node;
    return NULL;
}

static Error *relay(Relaying *relaying, Envelope *envelope, Msec now)
{
    if (nodes_relay(relaying->nodes, relaying->node, envelope, &relaying->ticket))
        return NULL;
    return error_new(ERROR_UNAVAILABLE, "node %s, which holds %s, %s", relaying->node, relaying->what,
                     nodes_away(relaying->nodes, relaying->node, now).text);
}

static Relaying *relaying_new(const Ask *ask, const char *what, const char *node, bool write, Msec wait_ms, Msec now)
{
    Relaying *relaying = xcalloc(1, sizeof *relaying);

    *relaying = (Relaying){.nodes = ask->of->with.nodes,
                           .what = xstrdup(what),
                           .node = xstrdup(node),
                           .write = write,
                           .wait_ms = wait_ms,
                           .until = now + wait_ms};
    return relaying;
}

static Error *hand_on(const Mail__Directory *wish, Relaying *relaying, char *name, Msec now)
{
    Envelope envelope = MAIL__ENVELOPE__INIT;
    Mail__Directory body = *wish;
    Mail__DirectoryRead read = MAIL__DIRECTORY_READ__INIT;
    Mail__DirectoryWrite write = MAIL__DIRECTORY_WRITE__INIT;
    Mail__DirectoryClaim claim = MAIL__DIRECTORY_CLAIM__INIT;

    if (wish->read) {
        read = *wish->read;
        read.name = name;
        body.read = &read;
    } else if (wish->write) {
        write = *wish->write;
        write.name = name;
        body.write = &write;
    } else if (wish->claim) {
        claim.name = name;
        body.claim = &claim;
    }
    body.user_domain = relaying->what;
    body.instance = NULL;
    envelope.body_case = MAIL__ENVELOPE__BODY_DIRECTORY;
    envelope.directory = &body;
    return relay(relaying, &envelope, now);
}

void request_directory(Ask *ask, Envelope **envelope, Msec now)
{
    const Mail__Directory *wish = (*envelope)->directory;
    DEFER(object_free) Object *user_domain = NULL;
    DEFER(relaying_free) Relaying *relaying = NULL;
    DEFER(xfree) char *name = NULL, *node = NULL;
    Error *err = form_check(ask, wish);

    if (!err)
        err = named_user_domain(ask->of->with.store, wish->user_domain, wish->instance, &user_domain);
    if (!err && (wish->write || wish->claim))
        err = may_write(ask, user_domain->name);
    if (!err)
        err = holder_check(user_domain);
    if (!err && !wish->accept)
        err = name_form(wish, &name);
    if (!err)
        err = node_find_for(ask, wish, user_domain, &node);
    if (!err) {
        relaying = relaying_new(ask, user_domain->name, node, !wish->read, ANSWER_WAIT_MS, now);
        err = hand_on(wish, relaying, name, now);
    }
    if (err) {
        ask_fail(ask, err);
        return;
    }
    ask_keep(ask, &relaying_type, relaying);
    ask->at = relaying->until;
    relaying = NULL;
}

/* ---- tables ---- */

static Error *user_form(const char *name, char **ret_name)
{
    if (!name || !*name)
        return NULL;
    DEFER(xfree) char *seen = shown(name);
    return error_in(text_normalise(MAIL__FIELD_TYPE__ACCOUNT, name, ret_name), "user '%s'", seen);
}

static void node_ask(Ask *ask, const char *what, const char *node, Envelope *question, Msec wait_ms, Msec now)
{
    DEFER(relaying_free) Relaying *relaying = relaying_new(ask, what, node, false, wait_ms, now);
    Error *err = relay(relaying, question, now);

    if (err) {
        ask_fail(ask, err);
        return;
    }
    ask_keep(ask, &relaying_type, relaying);
    ask->at = relaying->until;
    relaying = NULL;
}

/* Of the node that the instance is placed on. */
static void instance_ask(Ask *ask, const Object *instance, Envelope *question, Msec wait_ms, Msec now)
{
    node_ask(ask, instance->name, instance->instance->node, question, wait_ms, now);
}

void request_tables(Ask *ask, Envelope **envelope, Msec now)
{
    Mail__TablesRead read = *(*envelope)->tables_read;
    Envelope question = MAIL__ENVELOPE__INIT;
    DEFER(object_free) Object *instance = NULL;
    DEFER(xfree) char *name = NULL;
    Error *err = named_placed(ask->of->with.store, read.instance, &instance);

    if (!err)
        err = user_form(read.name, &name);
    if (err) {
        ask_fail(ask, err);
        return;
    }
    read.instance = instance->name;
    read.name = name;
    question.body_case = MAIL__ENVELOPE__BODY_TABLES_READ;
    question.tables_read = &read;
    instance_ask(ask, instance, &question, ANSWER_WAIT_MS, now);
}

/* ---- backups ---- */

void request_backups(Ask *ask, Envelope **envelope, Msec now)
{
    Mail__BackupRead read = *(*envelope)->backup_read;
    Envelope question = MAIL__ENVELOPE__INIT;
    DEFER(object_free) Object *instance = NULL;
    Error *err = named_placed(ask->of->with.store, read.instance, &instance);

    if (err) {
        ask_fail(ask, err);
        return;
    }
    read.instance = instance->name;
    question.body_case = MAIL__ENVELOPE__BODY_BACKUP_READ;
    question.backup_read = &read;
    instance_ask(ask, instance, &question, BACKUP_WAIT_MS, now);
}

/* ---- logs ---- */

static bool printable(const char *text)
{
    for (; *text; text++)
        if ((unsigned char)*text < 0x20 || (unsigned char)*text >= 0x7f)
            return false;
    return true;
}

/* The node looks again; this is for when there is none to look. */
static Error *trace_form(const Ask *ask, const Mail__TraceRead *read)
{
    DEFER(object_free) Object *node = NULL;
    const char *name = read->node ? read->node : "";

    bool search = read->from || read->to;

    if (!search && (!read->wanted || !*read->wanted || !printable(read->wanted)))
        return error_new(ERROR_INVALID, "trace: what is to be found in logs has only printable ASCII");
    if (search && read->wanted)
        return error_new(ERROR_INVALID, "trace: one name, or a sender and a recipient");
    Error *err = read->from ? sought_address_check(read->from, true) : NULL;
    if (!err && read->to)
        err = sought_address_check(read->to, false);
    if (err)
        return error_in(err, "trace");
    err = store_get(ask->of->with.store, &(ObjectRef){MAIL__OBJECT__BODY_NODE, "", name}, 0, &node);
    DEFER(xfree) char *seen = shown(name);
    return err || node ? err : error_new(ERROR_NOT_FOUND, "node %s does not exist", seen);
}

void request_trace(Ask *ask, Envelope **envelope, Msec now)
{
    Envelope question = MAIL__ENVELOPE__INIT;
    Error *err = trace_form(ask, (*envelope)->trace_read);

    if (err) {
        ask_fail(ask, err);
        return;
    }
    question.body_case = MAIL__ENVELOPE__BODY_TRACE_READ;
    question.trace_read = (*envelope)->trace_read;
    node_ask(ask, "the logs", (*envelope)->trace_read->node, &question, TRACE_WAIT_MS, now);
}
