#include "apply.h"

#include "dkim.h"
#include "refresh.h"
#include "relays.h"
#include "replication.h"

#include "base/alloc.h"
#include "base/crash.h"
#include "base/log.h"
#include "tables/ask.h"
#include "tables/maps.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    PREPARE_WAIT_MS = 60000,
    SWITCH_WAIT_MS = 300000, /* daemons start, and are probed: Rspamd compiles at its first start */
    REFRESH_WAIT_MS = 60000,
    RETRY_FIRST_MS = 500,
    RETRY_LAST_MS = 5000,
    OBSERVE_MS = 5000, /* how often the tables are read back */
};

/* What mail-engine was asked last, and what its answer means. */
typedef enum Asked { ASKED_NOTHING, ASKED_PREPARE, ASKED_SWITCH, ASKED_REFRESH, ASKED_QUESTION, ASKED_ABORT } Asked;

/* What was said to the controller, so that it is said once per session. */
typedef struct Told {
    uint64_t session, revision, config_revision;
} Told;

struct Apply {
    ApplyParts with;
    Tables *tables;
    Relays *relays;
    Dkim *dkim;
    uint64_t applied; /* as read back */
    Digest applied_digest;
    Msec observe_at;

    unsigned journal_life;
    uint64_t config_of; /* revision that 'config' and 'instance' belong to; 0: none */
    Digest chain_of;    /* and its chain: a forced snapshot may bring another past under the same number */
    Digest config;      /* sum over the wanted configuration */
    char *instance;     /* placed on this node; NULL: none */

    Asked asked;
    Digest asked_config; /* of the last Prepare of ours */
    uint64_t asked_revision;
    bool prepared; /* mail-engine holds asked_config ready, in this life of its */
    unsigned prepared_life;
    unsigned refused_life; /* life of mail-engine that refused what stands refused: another is asked again */
    Envelope *question;    /* the controller's Prepare that is being answered */
    uint64_t question_session;

    Refresh refresh;
    Names filled; /* mailboxes that became full, or not any more: not in the tables yet */

    Told told, told_refused;
    Msec began_at; /* when the change under way was first seen; 0: none */
    uint64_t took_ms;

    Msec retry_at, retry_ms;
    char *failed; /* why it is being tried again; NULL: it is not */
    bool maps_written;
    bool rebuilt_told; /* that the tables were lost */
    Msec audit_at;     /* 0: at once */
};

/* Reads what is committed, over the tables' own second connection. */
static Error *observe(Apply *apply, Msec now)
{
    apply->observe_at = now + OBSERVE_MS; /* also when it fails: retry_at comes sooner */
    relays_look(apply->relays);
    Error *err = tables_applied(apply->tables, &apply->applied, &apply->applied_digest);

    if (err)
        return error_in(err, "mail.db");
    link_applied(apply->with.link, apply->applied);
    return NULL;
}

static Error *open_tables(Apply *apply)
{
    bool rebuilt = false;

    tables_free(&apply->tables);
    Error *err = tables_open(apply->with.folder, apply->with.gid, &apply->tables, &rebuilt);
    if (err)
        return error_in(err, "mail.db");
    if (rebuilt) {
        apply->rebuilt_told = true;
        journal_happened(apply->with.journal, MAIL__FACT_STATE__DEGRADED, "mail.db rebuilt",
                         "it did not read back; its rows are computed anew");
        accounts_again(apply->with.accounts);
    }
    return observe(apply, clock_ms());
}

/* Before anything is prepared: a checker reads what the configuration names.  A new machine's first revision may have an
 * instance in it. */
static Error *write_maps(Apply *apply)
{
    size_t n = 0;

    if (apply->maps_written)
        return NULL;
    Error *err = maps_write(apply->with.folder, apply->with.gid, &n);
    if (err)
        return error_in(err, "map files");
    apply->maps_written = true;
    if (n && apply->applied)
        journal_happened(apply->with.journal, MAIL__FACT_STATE__DEGRADED, "map file restored",
                         "%zu written again: missing, or changed", n);
    return NULL;
}

Error *apply_new(const ApplyParts *parts, Apply **ret_apply)
{
    DEFER(apply_free) Apply *apply = xcalloc(1, sizeof *apply);

    apply->with = *parts;
    apply->relays =
        relays_new(apply->with.folder, apply->with.journal); /* before mail.db: Postfix starts when it reads that */
    apply->dkim = dkim_new(apply->with.folder, apply->with.journal);
    apply->retry_ms = RETRY_FIRST_MS;
    apply->refresh.all = true; /* a crash between commit and refresh leaves no trace: ask once */
    Error *err = open_tables(apply);
    if (err)
        return err;
    *ret_apply = apply;
    apply = NULL;
    return NULL;
}

void apply_free(Apply **apply)
{
    if (!*apply)
        return;
    relays_free(&(*apply)->relays);
    dkim_free(&(*apply)->dkim);
    tables_free(&(*apply)->tables);
    envelope_free(&(*apply)->question);
    refresh_done(&(*apply)->refresh);
    names_done(&(*apply)->filled);
    free((*apply)->instance);
    free((*apply)->failed);
    free(*apply);
    *apply = NULL;
}

/* Takes err: said once per reason, tried again with back-off, and nothing is acknowledged meanwhile. */
static void failed(Apply *apply, const char *what, Error *err, Msec now)
{
    err = error_in(err, "%s", what);
    if (!apply->failed || strcmp(apply->failed, err->what) != 0)
        log_error("change not applied, trying again", kv("why", err->what));
    free(apply->failed);
    apply->failed = xstrdup(err->what);
    apply->retry_at = now + apply->retry_ms;
    apply->retry_ms = apply->retry_ms * 2 < RETRY_LAST_MS ? apply->retry_ms * 2 : RETRY_LAST_MS;
    if (err->code == ERROR_DAMAGED) {
        Error *again = open_tables(apply); /* repaired inside; node.db is seen to by journal_run */
        log_stop(LOG_LEVEL_ERROR, "mail.db not opened", &again);
    }
    error_free(&err);
}

static void succeeded(Apply *apply)
{
    free(apply->failed);
    apply->failed = NULL;
    apply->retry_ms = RETRY_FIRST_MS;
}

/* ---- where things stand ---- */

/* The wanted configuration and instance, as of the wanted revision. */
static Error *learn_wanted(Apply *apply)
{
    const Wanted *wanted = journal_wanted(apply->with.journal);
    char *instance = NULL;

    if (!wanted->revision || (apply->config_of == wanted->revision && digest_equal(&apply->chain_of, &wanted->chain) &&
                              apply->journal_life == journal_life(apply->with.journal)))
        return NULL;
    Error *err = journal_config_each(apply->with.journal, NULL, NULL, &apply->config);
    if (!err)
        err = journal_instance(apply->with.journal, apply->with.node, &instance);
    if (err)
        return err;
    free(apply->instance);
    apply->instance = instance;
    apply->config_of = wanted->revision;
    apply->chain_of = wanted->chain;
    apply->journal_life = journal_life(apply->with.journal);
    return NULL;
}

static ConfigStatus config_status(const Apply *apply)
{
    EngineView engine = engine_view(apply->with.engine);
    const ConfigKnown *known = journal_config(apply->with.journal);
    bool refused = known->refused_revision && digest_equal(&known->refused, &apply->config);

    if (engine.link == ENGINE_LOOKING)
        return CONFIG_LOOKING;
    if (engine.link == ENGINE_AWAY) {
        if (known->in_force_revision && digest_equal(&known->in_force, &apply->config))
            return CONFIG_ASSUMED;
        return refused && known->held ? CONFIG_HELD : CONFIG_WAITS;
    }
    if (digest_equal(&engine.config, &apply->config))
        return CONFIG_SAME;
    if (apply->prepared && apply->prepared_life == engine.life && digest_equal(&apply->asked_config, &apply->config))
        return CONFIG_PREPARED;
    if (refused && apply->refused_life == engine.life)
        return known->held ? CONFIG_HELD : CONFIG_REFUSED;
    return CONFIG_DIFFERS;
}

static TableStatus table_status(const Apply *apply)
{
    const Wanted *wanted = journal_wanted(apply->with.journal);

    if (!wanted->revision)
        return TABLES_NONE;
    if (apply->applied != wanted->revision || !digest_equal(&apply->applied_digest, &wanted->digest) ||
        relays_due(apply->relays) || dkim_due(apply->dkim))
        return TABLES_BEHIND;
    bool due = apply->tables && tables_due(apply->tables);
    return due || apply->filled.first || accounts_pending(apply->with.accounts) ? TABLES_ACCOUNTS : TABLES_CURRENT;
}

/* Revision whose configuration is in force. */
static uint64_t config_revision(const Apply *apply, ConfigStatus status)
{
    return status == CONFIG_SAME || status == CONFIG_ASSUMED ? journal_wanted(apply->with.journal)->revision
                                                             : journal_config(apply->with.journal)->in_force_revision;
}

/* Remembers what was seen in force, for the time when mail-engine is away. */
static void note_in_force(Apply *apply)
{
    ConfigKnown known = *journal_config(apply->with.journal);

    known.in_force = apply->config;
    known.in_force_revision = journal_wanted(apply->with.journal)->revision;
    known.refused_revision = 0;
    known.held = false;
    known.why[0] = '\0';
    memset(&known.refused, 0, sizeof known.refused);
    journal_set_config(apply->with.journal, &known);
}

/* ---- mail-engine ---- */

typedef struct ConfigObjects {
    ProtobufCBinaryData *items;
    size_t n, room;
} ConfigObjects;

static Error *config_collect(void *context, const void *bytes, size_t size)
{
    ConfigObjects *objects = context;

    if (objects->n == objects->room) {
        objects->room = objects->room ? objects->room * 2 : 8;
        objects->items = xrealloc(objects->items, objects->room * sizeof *objects->items);
    }
    objects->items[objects->n++] = (ProtobufCBinaryData){size, xmemdup(bytes, size)};
    return NULL;
}

static void config_objects_done(ConfigObjects *objects)
{
    while (objects->n)
        free(objects->items[--objects->n].data);
    free(objects->items);
}

static bool ask(Apply *apply, Asked asked, Envelope *request, Msec now, Msec wait_ms)
{
    if (!engine_ask(apply->with.engine, request, now, wait_ms))
        return false;
    apply->asked = asked;
    return true;
}

static bool ask_prepare(Apply *apply, Asked asked, ProtobufCBinaryData *objects, size_t n, uint64_t revision, Msec now)
{
    Envelope request = MAIL__ENVELOPE__INIT;
    Mail__EnginePrepare prepare = MAIL__ENGINE_PREPARE__INIT;

    prepare.objects = objects;
    prepare.n_objects = n;
    prepare.has_revision = true;
    prepare.revision = revision;
    request.body_case = MAIL__ENVELOPE__BODY_ENGINE_PREPARE;
    request.engine_prepare = &prepare;
    return ask(apply, asked, &request, now, PREPARE_WAIT_MS);
}

static Error *prepare(Apply *apply, Msec now)
{
    DEFER(config_objects_done) ConfigObjects objects = {0};
    size_t n = 0;

    Error *err = apply->with.replication
                     ? replication_write(apply->with.replication, apply->with.journal, apply->with.node, &n)
                     : NULL;
    if (!err)
        err = journal_config_each(apply->with.journal, config_collect, &objects, &apply->asked_config);
    if (err)
        return err;
    apply->prepared = false;
    apply->asked_revision = journal_wanted(apply->with.journal)->revision;
    ask_prepare(apply, ASKED_PREPARE, objects.items, objects.n, apply->asked_revision, now);
    return NULL;
}

static void switch_over(Apply *apply, Msec now)
{
    Envelope request = MAIL__ENVELOPE__INIT;
    Mail__EngineSwitch body = MAIL__ENGINE_SWITCH__INIT;

    CRASH_POINT("agent.engine.switching");
    body.has_revision = true;
    body.revision = apply->asked_revision;
    request.body_case = MAIL__ENVELOPE__BODY_ENGINE_SWITCH;
    request.engine_switch = &body;
    apply->prepared = false;
    ask(apply, ASKED_SWITCH, &request, now, SWITCH_WAIT_MS);
}

static void abort_prepared(Apply *apply, Msec now)
{
    Envelope request = MAIL__ENVELOPE__INIT;
    Mail__EngineAbort body = MAIL__ENGINE_ABORT__INIT;

    request.body_case = MAIL__ENVELOPE__BODY_ENGINE_ABORT;
    request.engine_abort = &body;
    ask(apply, ASKED_ABORT, &request, now, PREPARE_WAIT_MS);
}

/* True: nobody's sessions are behind. */
static bool refreshed(Apply *apply, Msec now)
{
    Envelope request = MAIL__ENVELOPE__INIT;
    Mail__EngineRefresh body = MAIL__ENGINE_REFRESH__INIT;
    Refresh *refresh = &apply->refresh;

    if (!refresh_due(refresh))
        return true;
    if (engine_view(apply->with.engine).link != ENGINE_THERE)
        return !refresh->owed; /* for all, as a precaution: that waits for mail-engine, and nobody waits for it */
    body.n_users = refresh->all ? 0 : refresh->n;
    body.users = refresh->users;
    body.n_left = refresh->n_left;
    body.left = refresh->left;
    body.has_all_left = body.all_left = refresh->all_left;
    body.has_public_ = body.public_ = refresh->public || refresh->all;
    body.has_nobody = body.nobody = !refresh->all && !refresh->n;
    request.body_case = MAIL__ENVELOPE__BODY_ENGINE_REFRESH;
    request.engine_refresh = &body;
    if (ask(apply, ASKED_REFRESH, &request, now, REFRESH_WAIT_MS))
        refresh->asked = refresh->n;
    return false;
}

/* What a checker refuses today it refuses tomorrow; anything else is tried again.  Takes err. */
static void engine_refused(Apply *apply, Error *err, Msec now)
{
    ConfigKnown known = *journal_config(apply->with.journal);

    if (err->code != ERROR_REFUSED && err->code != ERROR_INVALID && err->code != ERROR_UNSUPPORTED) {
        failed(apply, "mail-engine", err, now);
        return;
    }
    bool again = known.refused_revision && digest_equal(&known.refused, &apply->asked_config);
    apply->refused_life = engine_view(apply->with.engine).life;
    known.refused = apply->asked_config;
    known.held = again && known.held;
    if (!again)
        known.refused_revision = apply->asked_revision;
    known.why_code = err->code;
    snprintf(known.why, sizeof known.why, "%s", err->what);
    journal_set_config(apply->with.journal, &known);
    if (!again)
        log_warning("configuration refused, the last good one stays", kv("revision", known.refused_revision),
                    kv("why", err->what));
    error_free(&err);
}

static void question_answered(Apply *apply, Error **err)
{
    Envelope reply = MAIL__ENVELOPE__INIT;
    Mail__Prepared prepared = MAIL__PREPARED__INIT;

    reply.body_case = MAIL__ENVELOPE__BODY_PREPARED;
    reply.prepared = &prepared;
    if (link_session(apply->with.link) != apply->question_session)
        error_free(err); /* nobody waits for it any more */
    else if (*err)
        link_answer_error(apply->with.link, apply->question->id, err);
    else
        link_answer(apply->with.link, apply->question->id, &reply);
    envelope_free(&apply->question);
}

static void engine_did(Apply *apply, Asked asked, Msec now)
{
    Error *none = NULL;

    succeeded(apply);
    switch (asked) {
    case ASKED_PREPARE:
        apply->prepared = true;
        apply->prepared_life = engine_view(apply->with.engine).life;
        break;
    case ASKED_SWITCH:
        CRASH_POINT("agent.engine.switched");
        log_info("configuration switched", kv("generation", engine_view(apply->with.engine).generation));
        break;
    case ASKED_REFRESH:
        CRASH_POINT("agent.users.refreshed");
        refresh_happened(&apply->refresh);
        break;
    case ASKED_QUESTION:
        question_answered(apply, &none);
        abort_prepared(apply, now);
        break;
    case ASKED_ABORT:
    case ASKED_NOTHING:
        break;
    }
}

/* Takes err. */
static void engine_did_not(Apply *apply, Asked asked, Error *err, Msec now)
{
    switch (asked) {
    case ASKED_PREPARE:
    case ASKED_SWITCH:
        engine_refused(apply, err, now);
        break;
    case ASKED_REFRESH:
        failed(apply, "sessions not refreshed", err, now);
        break;
    case ASKED_QUESTION:
        question_answered(apply, &err);
        break;
    case ASKED_ABORT:
    case ASKED_NOTHING:
        error_free(&err);
        break;
    }
}

static void take_answer(Apply *apply, Msec now)
{
    Error *why = NULL;
    Asked asked = apply->asked;

    if (asked == ASKED_NOTHING) /* somebody else's answer may lie there */
        return;
    EngineAnswer answer = engine_answer(apply->with.engine, &why);
    if (answer == ENGINE_PENDING)
        return;
    apply->asked = ASKED_NOTHING;
    if (answer == ENGINE_DONE)
        engine_did(apply, asked, now);
    else if (answer == ENGINE_FAILED)
        engine_did_not(apply, asked, why, now);
    else if (asked == ASKED_QUESTION) {
        why = error_new(ERROR_UNAVAILABLE, "mail-engine went away");
        question_answered(apply, &why);
    } /* lost: its state is asked for when it is back, and everything follows from that */
}

/* ---- the controller's words ---- */

static void take_hold(Apply *apply)
{
    DEFER(envelope_free) Envelope *envelope = link_take(apply->with.link, MAIL__ENVELOPE__BODY_HOLD);
    ConfigKnown known = *journal_config(apply->with.journal);

    if (!envelope)
        return;
    if (!known.refused_revision || envelope->hold->revision < known.refused_revision) {
        log_warning("hold for a revision that is not refused", kv("revision", envelope->hold->revision));
        return;
    }
    if (known.held)
        return;
    known.held = true;
    journal_set_config(apply->with.journal, &known);
    journal_happened(apply->with.journal, MAIL__FACT_STATE__DEGRADED, "configuration held",
                     "revision %" PRIu64 " is refused: %s", known.refused_revision, known.why);
}

/* A question only: prepared and given up again.  Waits while a change of our own is on its way. */
static void take_question(Apply *apply, Msec now)
{
    EngineView engine = engine_view(apply->with.engine);

    if (apply->question || apply->prepared)
        return;
    if (engine.link == ENGINE_THERE && !engine_free_for(apply->with.engine))
        return;
    apply->question = link_take(apply->with.link, MAIL__ENVELOPE__BODY_PREPARE);
    if (!apply->question)
        return;
    apply->question_session = link_session(apply->with.link);
    const Mail__Prepare *body = apply->question->prepare;
    if (engine.link == ENGINE_THERE && ask_prepare(apply, ASKED_QUESTION, body->objects, body->n_objects, 0, now))
        return;
    Error *err = error_new(ERROR_UNAVAILABLE, "mail-engine is not there");
    question_answered(apply, &err);
}

static void tell_applied(Apply *apply, ConfigStatus config)
{
    Envelope envelope = MAIL__ENVELOPE__INIT;
    Mail__Applied body = MAIL__APPLIED__INIT;
    Wanted wanted = *journal_wanted(apply->with.journal);
    Told told = {link_session(apply->with.link), apply->applied, config_revision(apply, config)};

    if (config == CONFIG_SAME)
        note_in_force(apply);
    if (apply->began_at) {
        apply->took_ms = clock_ms() - apply->began_at;
        apply->began_at = 0;
        log_info("revision applied", kv("revision", apply->applied), kv("rows", tables_rows(apply->tables)),
                 kv("took_ms", apply->took_ms));
    }
    if (!link_up(apply->with.link) || memcmp(&told, &apply->told, sizeof told) == 0)
        return;
    body.has_revision = body.has_chain = body.has_digest = body.has_config_revision = body.has_took_ms = true;
    body.revision = apply->applied;
    body.chain = (ProtobufCBinaryData){DIGEST_SIZE, wanted.chain.octets};
    body.digest = (ProtobufCBinaryData){DIGEST_SIZE, apply->applied_digest.octets};
    body.config_revision = told.config_revision;
    body.took_ms = apply->took_ms;
    envelope.body_case = MAIL__ENVELOPE__BODY_APPLIED;
    envelope.applied = &body;
    CRASH_POINT("agent.applied.sending");
    if (!link_send(apply->with.link, &envelope))
        return;
    CRASH_POINT("agent.applied.sent");
    apply->told = told;
}

static void tell_refused(Apply *apply)
{
    Envelope envelope = MAIL__ENVELOPE__INIT;
    Mail__Refused body = MAIL__REFUSED__INIT;
    Mail__Failure why = MAIL__FAILURE__INIT;
    ConfigKnown known = *journal_config(apply->with.journal);
    Told told = {link_session(apply->with.link), known.refused_revision, 0};

    if (memcmp(&told, &apply->told_refused, sizeof told) == 0)
        return;
    why.has_code = true;
    why.code = (Mail__ErrorNumber)known.why_code;
    why.what = known.why;
    body.has_revision = body.has_schema = true;
    body.revision = known.refused_revision;
    body.schema = OBJECT_SCHEMA;
    body.why = &why;
    envelope.body_case = MAIL__ENVELOPE__BODY_REFUSED;
    envelope.refused = &body;
    CRASH_POINT("agent.refused.sending");
    if (link_send(apply->with.link, &envelope))
        apply->told_refused = told;
}

/* ---- the tables ---- */

static Error *touch_one(void *context, const ObjectRef *ref)
{
    const Apply *apply = context;

    relays_touch(apply->relays, ref);
    dkim_touch(apply->dkim, ref);
    return tables_touch(apply->tables, ref);
}

static uint64_t usage_bytes(void *self, const char *name)
{
    UsageOf usage = {0};

    usage_of(self, name, &usage);
    return usage.bytes;
}

static TablesView view_now(const Apply *apply)
{
    TablesView view = journal_view(apply->with.journal, apply->instance);

    if (apply->with.usage) {
        view.usage = usage_bytes;
        view.usage_self = apply->with.usage;
    }
    return view;
}

/* Most deliveries fill nothing: whom they do is touched with the next commit, which is at once. */
static Error *take_usage(Apply *apply)
{
    const char *name = NULL;
    Error *err = NULL;

    while (!err && apply->with.usage && (name = usage_moved(apply->with.usage))) {
        bool differs = false;
        err = tables_full_differs(apply->tables, name, usage_bytes(apply->with.usage, name), &differs);
        if (differs || err) /* what could not be asked is computed */
            names_add(&apply->filled, name);
    }
    return err;
}

static Error *touch_filled(Apply *apply)
{
    Error *err = NULL;

    for (const Name *name = apply->filled.first; !err && name; name = name->hh.next)
        err = tables_touch_user(apply->tables, name->text);
    return err;
}

static Error *write_tables(Apply *apply, bool *ret_all)
{
    const Wanted *wanted = journal_wanted(apply->with.journal);
    TablesView view = view_now(apply);

    /* Known again after a restart: a row that differs now is drift, which the audit finds and tells. */
    if (apply->applied == wanted->revision && digest_equal(&apply->applied_digest, &wanted->digest))
        journal_settled(apply->with.journal);
    Error *err = journal_touched(apply->with.journal, apply->applied, ret_all, touch_one, apply);
    if (!err && *ret_all) {
        relays_touch_all(apply->relays);
        dkim_touch_all(apply->dkim);
        err = tables_touch_all(apply->tables);
    }
    if (!err)
        err = relays_write(apply->relays, &view);
    if (!err)
        err = error_in(dkim_add(apply->dkim, &view), "DKIM keys");
    if (!err)
        err = touch_filled(apply);
    if (!err)
        err = accounts_write(apply->with.accounts, apply->tables);
    if (!err)
        err = journal_read_begin(apply->with.journal);
    if (!err)
        err = tables_commit(apply->tables, &view, wanted->revision, &wanted->digest);
    journal_read_end(apply->with.journal);
    return err;
}

/* An empty mail.db where one stood: begun anew by tables_open, or lost with its file. */
static void tell_if_lost(Apply *apply)
{
    if (apply->applied >= journal_stood(apply->with.journal) || apply->rebuilt_told)
        return;
    apply->rebuilt_told = true;
    accounts_again(apply->with.accounts);
    journal_happened(apply->with.journal, MAIL__FACT_STATE__DEGRADED, "mail.db rebuilt",
                     "it was at revision %" PRIu64 ", and had been at %" PRIu64, apply->applied,
                     journal_stood(apply->with.journal));
}

/* ---- whose mailboxes they are ---- */

typedef struct Owning {
    Apply *apply;
    bool began;
    Error *err;
} Owning;

static void owner_take(void *context, const MailboxOwner *owner)
{
    Owning *owning = context;
    Journal *journal = owning->apply->with.journal;

    if (owner->stranger) {
        journal_happened(
            journal, MAIL__FACT_STATE__DEGRADED, "mailbox of another",
            "user %s is another person than whose mailbox it is: mail for it gets 450 and logins are refused, "
            "until mailctl mailbox claim %s",
            owner->name, owner->name);
        return;
    }
    if (!owning->err && !owning->began) {
        owning->err = journal_own_begin(journal);
        owning->began = !owning->err;
    }
    if (!owning->err)
        owning->err = journal_own(journal, owner->name, owner->uuid);
}

/* After the commit, since before it they are not there: one that is forgotten by a crash is found by the next audit. */
static void owners_note(Apply *apply)
{
    Owning owning = {.apply = apply};

    tables_owners(apply->tables, owner_take, &owning);
    if (owning.began)
        owning.err = journal_own_end(apply->with.journal, owning.err);
    log_stop(LOG_LEVEL_ERROR, "owners of mailboxes not written, the next audit will", &owning.err);
}

static Error *commit(Apply *apply, Msec now)
{
    Wanted wanted = *journal_wanted(apply->with.journal);
    TablesView view = journal_view(apply->with.journal, apply->instance);
    const char *const *users = NULL;
    size_t n_users = 0;
    bool all = false, all_left = false;

    tell_if_lost(apply);
    Error *err = tables_begin(apply->tables);
    if (err)
        return err;
    CRASH_POINT("agent.tables.writing");
    err = write_tables(apply, &all);
    if (err) {
        tables_abort(apply->tables);
        return err;
    }
    CRASH_POINT("agent.tables.committed");
    accounts_written(apply->with.accounts, apply->tables);
    owners_note(apply);
    names_done(&apply->filled);
    users = tables_changed_users(apply->tables, &n_users);
    refresh_add(&apply->refresh, users, n_users);
    users = tables_left_users(apply->tables, &n_users, &all_left);
    refresh_add_left(&apply->refresh, users, n_users, all_left);
    if (tables_public_changed(apply->tables))
        refresh_add_public(&apply->refresh);
    err = error_in(dkim_remove(apply->dkim, &view), "DKIM keys");
    if (!err && apply->with.replication && config_status(apply) == CONFIG_SAME)
        err = replication_sweep(apply->with.replication, apply->with.journal, apply->with.node);
    if (!err)
        err = observe(apply, now);
    if (err)
        return err;
    if (apply->applied != wanted.revision || !digest_equal(&apply->applied_digest, &wanted.digest))
        return error_new(ERROR_DAMAGED, "mail.db: revision %" PRIu64 " was committed, %" PRIu64 " reads back",
                         wanted.revision, apply->applied);
    journal_settled(apply->with.journal);
    apply->rebuilt_told = false;
    if (all) /* everything was recomputed just now */
        apply->audit_at = now + apply->with.audit_ms;
    return NULL;
}

/* ---- the audit ---- */

typedef struct Found {
    void (*found)(void *context, const char *where, const char *text);
    void *context;
} Found;

static void tell_found(const Found *to, const char *where, const char *text)
{
    if (to->found)
        to->found(to->context, where, text);
}

static Error *audit_tables(Apply *apply, const Found *to)
{
    TablesView view = view_now(apply);
    DEFER(xfree) char *example = NULL;
    size_t n = 0;

    Error *err = journal_read_begin(apply->with.journal);
    if (!err)
        err = tables_audit(apply->tables, &view, &n, &example);
    journal_read_end(apply->with.journal);
    if (err)
        return error_in(err, "mail.db");
    owners_note(apply);
    if (!n)
        return NULL;
    DEFER(xfree) char *text = xasprintf("%zu rows differed, the first: %s", n, example ? example : "-");
    apply->refresh.all = apply->refresh.owed = true; /* whose rows they were is not told */
    journal_happened(apply->with.journal, MAIL__FACT_STATE__DEGRADED, "drift mended", "mail.db: %s", text);
    tell_found(to, "mail.db", text);
    return NULL;
}

static Error *audit_maps(Apply *apply, const Found *to)
{
    size_t n = 0;

    Error *err = maps_write(apply->with.folder, apply->with.gid, &n);
    if (err)
        return error_in(err, "map files");
    if (!n)
        return NULL;
    DEFER(xfree) char *text = xasprintf("%zu written again: missing, or changed", n);
    journal_happened(apply->with.journal, MAIL__FACT_STATE__DEGRADED, "map file restored", "%s", text);
    tell_found(to, "maps", text);
    return NULL;
}

static Error *audit_relays(Apply *apply, const Found *to)
{
    TablesView view = journal_view(apply->with.journal, apply->instance);
    size_t n = 0;

    Error *err = relays_audit(apply->relays, &view, &n);
    if (err || !n)
        return err;
    DEFER(xfree) char *text = xasprintf("%zu rows differed", n);
    journal_happened(apply->with.journal, MAIL__FACT_STATE__DEGRADED, "drift mended", "secrets.db: %s", text);
    tell_found(to, "secrets.db", text);
    return NULL;
}

static Error *audit_dkim(Apply *apply, const Found *to)
{
    TablesView view = journal_view(apply->with.journal, apply->instance);
    size_t n = 0;

    Error *err = dkim_audit(apply->dkim, &view, &n);
    if (err)
        return error_in(err, "DKIM keys");
    if (!n)
        return NULL;
    DEFER(xfree) char *text = xasprintf("%zu written again or removed", n);
    journal_happened(apply->with.journal, MAIL__FACT_STATE__DEGRADED, "DKIM keys mended", "%s", text);
    tell_found(to, "dkim", text);
    return NULL;
}

static Error *audit_replication(Apply *apply, const Found *to)
{
    size_t n = 0;

    if (!apply->with.replication)
        return NULL;
    Error *err = replication_write(apply->with.replication, apply->with.journal, apply->with.node, &n);
    if (err || !n)
        return err;
    journal_happened(apply->with.journal, MAIL__FACT_STATE__DEGRADED, "certificate of replicas mended",
                     "written again: missing, or changed");
    tell_found(to, "replication", "written again");
    return NULL;
}

Error *apply_audit(Apply *apply, void (*found)(void *context, const char *where, const char *text), void *context)
{
    Found to = {found, context};

    Error *err = journal_audit(apply->with.journal);
    if (err)
        tell_found(&to, "node.db", err->what);
    if (!err)
        err = audit_tables(apply, &to);
    if (!err)
        err = audit_maps(apply, &to);
    if (!err)
        err = audit_relays(apply, &to);
    if (!err)
        err = audit_dkim(apply, &to);
    if (!err)
        err = audit_replication(apply, &to);
    return err;
}

Tables *apply_tables(Apply *apply)
{
    return apply->tables;
}

const char *apply_instance(const Apply *apply)
{
    return apply->instance;
}

bool apply_settled(const Apply *apply)
{
    return !journal_receiving(apply->with.journal) && apply->asked == ASKED_NOTHING && !apply->failed &&
           table_status(apply) == TABLES_CURRENT;
}

static void audit_if_due(Apply *apply, Msec now)
{
    if (now < apply->audit_at || !apply_settled(apply))
        return;
    apply->audit_at = now + apply->with.audit_ms;
    Error *err = apply_audit(apply, NULL, NULL);
    if (err) {
        apply->audit_at = now + OBSERVE_MS;
        failed(apply, "audit", err, now);
    }
}

/* ---- what happened to mail-engine ---- */

typedef struct Written {
    const Mail__Happening *happening;
    uint64_t time_s;
    bool there;
} Written;

static Error *written_compare(void *context, const HappeningRow *row)
{
    Written *written = context;
    uint64_t apart = row->time_s > written->time_s ? row->time_s - written->time_s : written->time_s - row->time_s;

    written->there =
        written->there || (apart <= 3 && strcmp(row->what, written->happening->what) == 0 &&
                           strcmp(row->text, written->happening->text ? written->happening->text : "") == 0);
    return NULL;
}

/* Our predecessor's last second: mail-engine does not know what it had written down. */
static bool happening_written(Apply *apply, const Mail__Happening *happening)
{
    Written written = {happening, (uint64_t)time(NULL) - happening->age_ms / 1000, false};

    Error *err = journal_happenings(apply->with.journal, 0, JOURNAL_HAPPENINGS, written_compare, &written);
    error_free(&err); /* damage is seen to by journal_run */
    return written.there;
}

static void take_happenings(Apply *apply)
{
    const Mail__Happening *happening = NULL;
    bool known = false;

    if (journal_receiving(apply->with.journal)) /* its transaction is not ours */
        return;
    while ((happening = engine_happened(apply->with.engine, &known))) {
        if (!happening->what || (known && happening_written(apply, happening)))
            continue;
        journal_happened(apply->with.journal, happening->severity, happening->what, "%s",
                         happening->text ? happening->text : "");
    }
}

/* ---- public mailboxes that users made ---- */

enum { MADE_MAX = 20 };

/* A top-level one gets its name as an address, if nobody else has it: of users and groups only this node knows, where it
 * knows all of them. */
static void tell_made(Apply *apply, const Mail__EngineIs *is, Mail__FactState accounts)
{
    size_t n = !is || accounts != MAIL__FACT_STATE__GOOD ? 0 : is->n_made < MADE_MAX ? is->n_made : MADE_MAX;
    bool taken[MADE_MAX] = {false};

    for (size_t i = 0; i < n; i++) {
        Error *err = tables_named(apply->tables, is->made[i]->name ? is->made[i]->name : "", &taken[i]);
        if (err) {
            error_free(&err); /* the tables are seen to elsewhere */
            return;
        }
    }
    report_made(apply->with.report, n ? is->made : NULL, taken, n);
}

/* ---- the loop ---- */

static void facts(Apply *apply, ConfigStatus config, Msec now)
{
    EngineView engine = engine_view(apply->with.engine);
    const Mail__EngineIs *is = engine_is(apply->with.engine);
    const ConfigKnown *known = journal_config(apply->with.journal);
    const char *accounts = NULL;
    Msec accounts_at = now;
    Mail__FactState state = accounts_state(apply->with.accounts, &accounts, now, &accounts_at);
    Report *report = apply->with.report;

    if (apply->failed)
        report_fact(report, "tables", MAIL__FACT_STATE__BAD, now, "%s", apply->failed);
    else if (table_status(apply) == TABLES_NONE || table_status(apply) == TABLES_BEHIND)
        report_fact(report, "tables", MAIL__FACT_STATE__DEGRADED, now, "at revision %" PRIu64 ", wanted %" PRIu64,
                    apply->applied, journal_wanted(apply->with.journal)->revision);
    else
        report_fact(report, "tables", MAIL__FACT_STATE__GOOD, now, "at revision %" PRIu64, apply->applied);
    if (engine.link == ENGINE_THERE)
        report_fact(report, "mail-engine", MAIL__FACT_STATE__GOOD, engine.seen_at, "generation %" PRIu64,
                    engine.generation);
    else
        report_fact(report, "mail-engine", MAIL__FACT_STATE__BAD, now, "%s",
                    engine.trouble ? engine.trouble : "it has not answered yet");
    report_engine_facts(report, is ? is->facts : NULL, is ? is->n_facts : 0, engine.seen_at);
    if (apply->tables)
        tell_made(apply, is, state);
    report_fact(report, "accounts", state, accounts_at, "%s", accounts);
    if (known->refused_revision)
        report_fact(report, "configuration", MAIL__FACT_STATE__DEGRADED, now, "revision %" PRIu64 " is %s: %s",
                    known->refused_revision, known->held ? "held" : "refused", known->why);
    else
        report_fact(report, "configuration", config == CONFIG_SAME ? MAIL__FACT_STATE__GOOD : MAIL__FACT_STATE__UNKNOWN,
                    now, "%s", config == CONFIG_SAME ? "in force" : "not known to be in force");
    report_revisions(report, apply->applied, config_revision(apply, config));
}

/* True: something was done at once, and more may follow. */
static bool step(Apply *apply, Msec now)
{
    ConfigStatus config = config_status(apply);
    TableStatus tables = table_status(apply);
    Error *err = NULL;

    if (tables == TABLES_BEHIND && !apply->began_at)
        apply->began_at = clock_ms();
    switch (apply_next(config, tables)) {
    case APPLY_PREPARE:
        if (engine_free_for(apply->with.engine))
            err = prepare(apply, now);
        if (err)
            failed(apply, "configuration", err, now);
        return false;
    case APPLY_SWITCH:
        if (engine_free_for(apply->with.engine))
            switch_over(apply, now);
        return false;
    case APPLY_COMMIT:
        err = commit(apply, now);
        if (err)
            failed(apply, "tables", err, now);
        else
            succeeded(apply);
        return !err;
    case APPLY_TELL:
        journal_settled(apply->with.journal); /* known again after a restart */
        if (refreshed(apply, now)) {
            succeeded(apply);
            tell_applied(apply, config);
        }
        return false;
    case APPLY_TELL_REFUSED:
        apply->began_at = 0;
        tell_refused(apply);
        return false;
    case APPLY_NOTHING:
    case N_APPLY_DEEDS:
        break;
    }
    return false;
}

void apply_run(Apply *apply, Msec now)
{
    take_answer(apply, now);
    take_happenings(apply);
    take_hold(apply);
    if (!journal_receiving(apply->with.journal) && now >= apply->retry_at) {
        Error *err = apply->tables ? NULL : open_tables(apply); /* not possible when they were found damaged */
        if (!err)
            err = write_maps(apply);
        if (!err)
            err = learn_wanted(apply);
        if (!err && now >= apply->observe_at)
            err = observe(apply, now); /* somebody may have put another file there */
        if (!err)
            err = take_usage(apply);
        if (err)
            failed(apply, "state", err, now);
        while (!err && apply->asked == ASKED_NOTHING && step(apply, now))
            continue;
        if (!err)
            audit_if_due(apply, now);
    }
    if (apply->asked == ASKED_NOTHING)
        take_question(apply, now);
    facts(apply, config_status(apply), now);
}

void apply_wait(const Apply *apply, Waiter *wake)
{
    if (journal_receiving(apply->with.journal))
        return; /* nothing is done before the delta is whole: its parts wake us */
    if (apply->failed && apply->retry_at > clock_ms())
        waiter_at(wake, apply->retry_at);
    waiter_at(wake, apply->observe_at > apply->retry_at ? apply->observe_at : apply->retry_at);
    if (apply_settled(apply))
        waiter_at(wake, apply->audit_at);
}
