/* The real apply.c and node.db between a stand-in link, mail-engine and tables, which write down what is asked of them. */
#include "apply.h"

#include "base/alloc.h"
#include "tables/ask.h"
#include "tables/maps.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "expect.h"

static Buf said; /* the transcript */

/* ---- the stand-in link ---- */

static bool up;
static uint64_t session;
static Envelope *inbox;

bool link_up(const Link *link)
{
    (void)link;
    return up;
}

uint64_t link_session(const Link *link)
{
    (void)link;
    return session;
}

Msec link_report_ms(const Link *link)
{
    (void)link;
    return 10000;
}

void link_applied(Link *link, uint64_t revision)
{
    (void)link;
    (void)revision;
}

static size_t n_made; /* public mailboxes in the last report */

bool link_send(Link *link, Envelope *envelope)
{
    (void)link;
    if (envelope->body_case == MAIL__ENVELOPE__BODY_REPORT)
        n_made = envelope->report->n_made;
    if (envelope->body_case == MAIL__ENVELOPE__BODY_APPLIED)
        buf_printf(&said, "applied %d config %d; ", (int)envelope->applied->revision,
                   (int)envelope->applied->config_revision);
    if (envelope->body_case == MAIL__ENVELOPE__BODY_REFUSED)
        buf_printf(&said, "refused %d: %s; ", (int)envelope->refused->revision, envelope->refused->why->what);
    return up;
}

void link_answer(Link *link, uint64_t id, Envelope *reply)
{
    (void)link;
    (void)id;
    buf_printf(&said, "answer %s; ", reply->body_case == MAIL__ENVELOPE__BODY_PREPARED ? "prepared" : "?");
}

void link_answer_error(Link *link, uint64_t id, Error **err)
{
    (void)link;
    (void)id;
    buf_printf(&said, "answer failure %s; ", (*err)->what);
    error_free(err);
}

Envelope *link_take(Link *link, BodyCase body)
{
    Envelope *envelope = inbox;
    (void)link;
    if (!envelope || envelope->body_case != body)
        return NULL;
    inbox = NULL;
    return envelope;
}

/* Freed by envelope_free: packed and read back, as one that came. */
static void comes(BodyCase body, uint64_t revision)
{
    Envelope envelope = MAIL__ENVELOPE__INIT;
    Mail__Hold hold = MAIL__HOLD__INIT;
    Mail__Prepare prepare = MAIL__PREPARE__INIT;
    DEFER(buf_done) Buf bytes = {0};
    uint64_t id = 0;

    envelope.has_id = true;
    envelope.id = 7;
    envelope.body_case = body;
    hold.has_revision = true;
    hold.revision = revision;
    if (body == MAIL__ENVELOPE__BODY_HOLD)
        envelope.hold = &hold;
    else
        envelope.prepare = &prepare;
    assert_null(envelope_pack(&envelope, &bytes));
    assert_null(envelope_unpack(bytes.data, bytes.size, &inbox, &id));
}

/* ---- the stand-in mail-engine ---- */

static EngineView engine;
static Digest prepared;
static uint64_t prepared_revision;
static bool busy;
static Error *refusal;
static const char *refuse_prepare, *refuse_switch;

EngineView engine_view(const Engine *self)
{
    (void)self;
    return engine;
}

static const Mail__EngineIs *is; /* NULL: it has not said */

const Mail__EngineIs *engine_is(const Engine *self)
{
    (void)self;
    return is;
}

const Mail__Happening *engine_happened(Engine *self, bool *ret_known)
{
    (void)self;
    *ret_known = false;
    return NULL;
}

bool engine_free_for(const Engine *self)
{
    (void)self;
    return engine.link == ENGINE_THERE && !busy;
}

static void do_prepare(const Mail__EnginePrepare *request)
{
    memset(&prepared, 0, sizeof prepared);
    for (size_t i = 0; i < request->n_objects; i++) {
        Digest one = digest_of(request->objects[i].data, request->objects[i].len);
        digest_add(&prepared, &one);
    }
    prepared_revision = request->revision;
    buf_printf(&said, "prepare %d; ", (int)request->revision);
    if (refuse_prepare)
        refusal = error_new(ERROR_REFUSED, "%s", refuse_prepare);
}

static void do_switch(const Mail__EngineSwitch *request)
{
    assert_int_equal(request->revision, prepared_revision);
    buf_printf(&said, "switch %d; ", (int)request->revision);
    if (refuse_switch) {
        refusal = error_new(ERROR_REFUSED, "%s", refuse_switch);
        return;
    }
    engine.config = prepared;
    engine.revision = prepared_revision;
    engine.generation++;
}

bool engine_ask(Engine *self, Envelope *request, Msec now, Msec wait_ms)
{
    (void)now;
    (void)wait_ms;
    if (!engine_free_for(self))
        return false;
    busy = true;
    if (request->body_case == MAIL__ENVELOPE__BODY_ENGINE_PREPARE)
        do_prepare(request->engine_prepare);
    if (request->body_case == MAIL__ENVELOPE__BODY_ENGINE_SWITCH)
        do_switch(request->engine_switch);
    if (request->body_case == MAIL__ENVELOPE__BODY_ENGINE_ABORT)
        buf_append_text(&said, "abort; ");
    if (request->body_case == MAIL__ENVELOPE__BODY_ENGINE_REFRESH)
        buf_printf(&said, "refresh %s; ",
                   request->engine_refresh->n_users  ? request->engine_refresh->users[0]
                   : request->engine_refresh->nobody ? "nobody"
                                                     : "all");
    return true;
}

EngineAnswer engine_answer(Engine *self, Error **ret_why)
{
    (void)self;
    if (!busy)
        return ENGINE_PENDING;
    busy = false;
    if (!refusal)
        return ENGINE_DONE;
    *ret_why = refusal;
    refusal = NULL;
    return ENGINE_FAILED;
}

/* ---- the stand-in tables ---- */

static uint64_t applied;
static Digest applied_digest;
static bool alice_changes;
static bool names_due; /* that left the directory long enough ago */
static const char *commit_fails, *open_fails;
static ErrorCode commit_code = ERROR_SYSTEM;

Error *tables_open(const char *folder, gid_t gid, Tables **ret_tables, bool *ret_rebuilt)
{
    (void)folder;
    (void)gid;
    if (open_fails)
        return error_new(ERROR_SYSTEM, "%s", open_fails);
    *ret_tables = (Tables *)&applied; /* something that is not NULL */
    *ret_rebuilt = false;
    return NULL;
}

void tables_free(Tables **tables)
{
    *tables = NULL;
}

Error *tables_applied(Tables *tables, uint64_t *ret_revision, Digest *ret_digest)
{
    (void)tables;
    *ret_revision = applied;
    *ret_digest = applied_digest;
    return NULL;
}

bool tables_due(const Tables *tables)
{
    assert_non_null(tables);
    return names_due;
}

uint64_t tables_rows(const Tables *tables)
{
    (void)tables;
    return 0;
}

Error *tables_begin(Tables *tables)
{
    (void)tables;
    return NULL;
}

void tables_abort(Tables *tables)
{
    (void)tables;
    buf_append_text(&said, "rollback; ");
}

Error *tables_touch(Tables *tables, const ObjectRef *ref)
{
    (void)tables;
    buf_printf(&said, "touch %s; ", ref->name);
    return NULL;
}

Error *tables_touch_all(Tables *tables)
{
    (void)tables;
    buf_append_text(&said, "touch all; ");
    return NULL;
}

Error *tables_full_differs(Tables *tables, const char *name, uint64_t bytes, bool *ret_differs)
{
    (void)tables;
    (void)name;
    (void)bytes;
    *ret_differs = false;
    return NULL;
}

Error *tables_named(Tables *tables, const char *name, bool *ret_named)
{
    (void)tables;
    (void)name;
    *ret_named = false;
    return NULL;
}

Error *tables_directory_away(Tables *tables, bool away)
{
    (void)tables;
    buf_printf(&said, "directory %s; ", away ? "away" : "back");
    return NULL;
}

Error *tables_accounts_begin(Tables *tables)
{
    (void)tables;
    buf_append_text(&said, "accounts; ");
    return NULL;
}

Error *tables_account_user(Tables *tables, const AccountUser *user)
{
    (void)tables;
    (void)user;
    return NULL;
}

Error *tables_account_group(Tables *tables, const AccountGroup *group)
{
    (void)tables;
    (void)group;
    return NULL;
}

Error *tables_accounts_end(Tables *tables)
{
    (void)tables;
    return NULL;
}

void tables_owners(const Tables *tables, void (*each)(void *context, const MailboxOwner *owner), void *context)
{
    (void)tables;
    (void)each;
    (void)context;
}

Error *tables_user_uuid(Tables *tables, const char *name, char **ret_uuid)
{
    (void)tables;
    (void)name;
    (void)ret_uuid;
    return NULL;
}

Error *tables_touch_user(Tables *tables, const char *name)
{
    (void)tables;
    (void)name;
    return NULL;
}

Error *tables_accounts_mark(Tables *tables)
{
    (void)tables;
    return NULL;
}

Error *tables_accounts_back(Tables *tables)
{
    (void)tables;
    return NULL;
}

void tables_accounts_count(const Tables *tables, size_t *ret_users, size_t *ret_groups)
{
    (void)tables;
    *ret_users = 1;
    if (ret_groups)
        *ret_groups = 0;
}

Error *tables_account_user_gone(Tables *tables, const char *uuid)
{
    (void)tables;
    (void)uuid;
    return NULL;
}

Error *tables_account_group_gone(Tables *tables, const char *uuid)
{
    (void)tables;
    (void)uuid;
    return NULL;
}

const char *const *tables_left_users(const Tables *self, size_t *ret_n, bool *ret_all)
{
    (void)self;
    *ret_n = 0;
    *ret_all = false;
    return NULL;
}

bool tables_public_changed(const Tables *self)
{
    (void)self;
    return false;
}

const char *const *tables_changed_users(const Tables *tables, size_t *ret_n)
{
    static const char *const users[] = {"alice"};
    (void)tables;
    *ret_n = alice_changes ? 1 : 0;
    return users;
}

Error *tables_commit(Tables *tables, const TablesView *view, uint64_t revision, const Digest *digest)
{
    (void)tables;
    if (commit_fails)
        return error_new(commit_code, "%s", commit_fails);
    names_due = false;
    applied = revision;
    applied_digest = *digest;
    buf_printf(&said, "commit %d of %s; ", (int)revision, view->instance ? view->instance : "nothing");
    return NULL;
}

Error *tables_audit(Tables *tables, const TablesView *view, size_t *ret_n_mended, char **ret_example)
{
    (void)tables;
    (void)view;
    *ret_n_mended = 0;
    *ret_example = NULL;
    return NULL;
}

Error *maps_write(const char *folder, gid_t gid, size_t *ret_n_written)
{
    (void)folder;
    (void)gid;
    *ret_n_written = 0;
    return NULL;
}

/* ---- the controller's side ---- */

static Journal *journal;
static Accounts *accounts;
static Report *report;
static Apply *apply;
static Msec now;
static char folder[64], db[96], people[96];
static Digest sum, chain;
static uint64_t revision;
static char config[16]; /* the node's description: what of it is configuration */

static void weigh(Kind kind, const char *instance, const char *name, const char *text, Buf *out,
                  void (*how)(Digest *, const Digest *))
{
    DEFER(object_free) Object *object = object_new(kind, instance, name);
    if (kind == MAIL__OBJECT__BODY_NODE)
        object->node->description = xstrdup(text);
    if (kind == MAIL__OBJECT__BODY_INSTANCE)
        object->instance->node = xstrdup(text);
    object_pack(object, out);
    Digest one = digest_of(out->data, out->size);
    how(&sum, &one);
}

/* Revision n brings the domain dN.org, the first one node and instance, too; 'new_config' changes the node. */
static void changes(const char *new_config)
{
    DEFER(buf_done) Buf domain = {0}, node = {0}, instance = {0}, old = {0};
    Mail__Delta delta = MAIL__DELTA__INIT;
    ProtobufCBinaryData objects[3];
    Digest from = chain, to, digest;
    char name[32];

    snprintf(name, sizeof name, "d%d.org", (int)revision + 1);
    weigh(MAIL__OBJECT__BODY_DOMAIN, "main", name, "", &domain, digest_add);
    objects[delta.n_objects++] = (ProtobufCBinaryData){domain.size, domain.data};
    if (revision && new_config)
        weigh(MAIL__OBJECT__BODY_NODE, NULL, "mx1", config, &old, digest_subtract);
    if (new_config) {
        snprintf(config, sizeof config, "%s", new_config);
        weigh(MAIL__OBJECT__BODY_NODE, NULL, "mx1", config, &node, digest_add);
        objects[delta.n_objects++] = (ProtobufCBinaryData){node.size, node.data};
    }
    if (!revision) {
        weigh(MAIL__OBJECT__BODY_INSTANCE, NULL, "main", "mx1", &instance, digest_add);
        objects[delta.n_objects++] = (ProtobufCBinaryData){instance.size, instance.data};
    }
    delta.from_revision = revision;
    delta.to_revision = ++revision;
    to = chain = digest_of(&revision, sizeof revision);
    digest = sum;
    delta.has_from_chain = revision > 1;
    delta.from_chain = (ProtobufCBinaryData){DIGEST_SIZE, from.octets};
    delta.to_chain = (ProtobufCBinaryData){DIGEST_SIZE, to.octets};
    delta.to_digest = (ProtobufCBinaryData){DIGEST_SIZE, digest.octets};
    delta.objects = objects;
    ok(journal_delta_begin(journal, &delta, applied));
    ok(journal_delta_part(journal, &delta));
    ok(journal_delta_end(journal));
}

static void runs(const char *wanted)
{
    buf_clear(&said);
    for (int turn = 0; turn < 20; turn++) {
        ok(journal_run(journal));
        accounts_run(accounts, now);
        apply_run(apply, now);
        now += 10;
    }
    if (strcmp(buf_text(&said), wanted) != 0)
        fail_msg("\n did:    %s\n wanted: %s", buf_text(&said), wanted);
}

static void opens(void)
{
    ok(journal_open(db, &journal));
    accounts = accounts_new(people);
    report = report_new(journal);
    ok(apply_new(&(ApplyParts){.journal = journal,
                               .accounts = accounts,
                               .report = report,
                               .node = "mx1",
                               .folder = folder,
                               .gid = (gid_t)-1,
                               .audit_ms = 3600000},
                 &apply));
}

static void closes(void)
{
    apply_free(&apply);
    report_free(&report);
    accounts_free(&accounts);
    journal_free(&journal);
    busy = false;
    error_free(&refusal);
}

static int setup(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/unit-apply-XXXXXX");
    if (!mkdtemp(folder))
        return -1;
    snprintf(db, sizeof db, "%s/node.db", folder);
    snprintf(people, sizeof people, "%s/people", folder);
    up = true;
    session = 1;
    engine = (EngineView){.link = ENGINE_THERE, .life = 1};
    refuse_prepare = refuse_switch = commit_fails = NULL;
    alice_changes = false;
    is = NULL;
    applied = revision = 0;
    memset(&applied_digest, 0, sizeof applied_digest);
    memset(&sum, 0, sizeof sum);
    memset(&chain, 0, sizeof chain);
    now = 1000000;
    opens();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    closes();
    envelope_free(&inbox);
    buf_done(&said);
    return folder_remove(folder);
}

/* A node that has taken its first snapshot. */
static void started(void)
{
    changes("one");
    runs("prepare 1; switch 1; touch all; commit 1 of main; refresh all; applied 1 config 1; ");
}

/* ---- */

static void configuration_first_then_tables(void **state)
{
    (void)state;
    started();
    changes(NULL);
    runs("touch d2.org; commit 2 of main; applied 2 config 2; ");
    changes("two");
    runs("prepare 3; switch 3; touch mx1; touch d3.org; commit 3 of main; applied 3 config 3; ");
    runs("");
}

static void sessions_before_the_word(void **state)
{
    (void)state;
    started();
    alice_changes = true;
    changes(NULL);
    runs("touch d2.org; commit 2 of main; refresh alice; applied 2 config 2; ");
}

static void said_again_in_each_session(void **state)
{
    (void)state;
    started();
    session++;
    runs("applied 1 config 1; ");
    up = false;
    changes(NULL);
    runs("touch d2.org; commit 2 of main; ");
    up = true;
    session++;
    runs("applied 2 config 2; ");
}

static void refused_touches_no_table(void **state)
{
    (void)state;
    started();
    refuse_prepare = "fatal: no";
    changes("two");
    runs("prepare 2; refused 2: fatal: no; ");
    changes(NULL);
    runs(""); /* the controller decides */
    session++;
    runs("refused 2: fatal: no; ");
    assert_int_equal(applied, 1);
}

static void failed_switch_is_refused(void **state)
{
    (void)state;
    started();
    refuse_switch = "smtpd does not come up";
    changes("two");
    runs("prepare 2; switch 2; refused 2: smtpd does not come up; ");
}

static void later_revision_heals(void **state)
{
    (void)state;
    started();
    refuse_prepare = "fatal: no";
    changes("two");
    runs("prepare 2; refused 2: fatal: no; ");
    changes("one"); /* taken back: what is in force is wanted again */
    runs("touch mx1; touch d2.org; touch d3.org; commit 3 of main; applied 3 config 3; ");
}

static void held_goes_on_with_tables(void **state)
{
    (void)state;
    started();
    refuse_prepare = "fatal: no";
    changes("two");
    runs("prepare 2; refused 2: fatal: no; ");
    comes(MAIL__ENVELOPE__BODY_HOLD, 2);
    runs("touch mx1; touch d2.org; commit 2 of main; applied 2 config 1; ");
    changes(NULL);
    runs("touch d3.org; commit 3 of main; applied 3 config 1; ");
    closes();
    opens(); /* tried once more, and it stays held without a word to the controller */
    runs("prepare 3; refresh all; applied 3 config 1; ");
    refuse_prepare = NULL;
    changes("three");
    runs("prepare 4; switch 4; touch mx1; touch d4.org; commit 4 of main; applied 4 config 4; ");
}

static void hold_of_nothing_is_nothing(void **state)
{
    (void)state;
    started();
    comes(MAIL__ENVELOPE__BODY_HOLD, 1);
    runs("");
    assert_false(journal_config(journal)->held);
}

static void engine_away(void **state)
{
    (void)state;
    started();
    engine.link = ENGINE_AWAY;
    changes(NULL);
    runs("touch d2.org; commit 2 of main; applied 2 config 2; ");
    alice_changes = true; /* her session lives on: not in force */
    changes(NULL);
    runs("touch d3.org; commit 3 of main; ");
    alice_changes = false;
    changes("two");
    runs("");
    engine.link = ENGINE_LOOKING;
    engine.life++;
    runs("");
    engine.link = ENGINE_THERE;
    runs("prepare 4; switch 4; touch mx1; touch d4.org; commit 4 of main; refresh alice; applied 4 config 4; ");
}

/* It was restored, or lost its state: what differs is submitted again. */
static void engine_that_forgot(void **state)
{
    (void)state;
    started();
    memset(&engine.config, 0, sizeof engine.config);
    engine.life++;
    runs("prepare 1; switch 1; ");
}

static void crash_goes_on_from_state(void **state)
{
    (void)state;
    started();
    changes("two");
    closes(); /* wanted is committed, nothing else has happened */
    opens();
    runs("prepare 2; switch 2; touch mx1; touch d2.org; commit 2 of main; refresh all; applied 2 config 2; ");
    closes(); /* all has happened */
    opens();
    runs("refresh all; applied 2 config 2; ");
}

static void question_changes_nothing(void **state)
{
    (void)state;
    started();
    comes(MAIL__ENVELOPE__BODY_PREPARE, 0);
    runs("prepare 0; answer prepared; abort; ");
    refuse_prepare = "fatal: no";
    comes(MAIL__ENVELOPE__BODY_PREPARE, 0);
    runs("prepare 0; answer failure fatal: no; ");
    engine.link = ENGINE_AWAY;
    comes(MAIL__ENVELOPE__BODY_PREPARE, 0);
    runs("answer failure mail-engine is not there; ");
    assert_int_equal(journal_config(journal)->refused_revision, 0);
}

static void full_disk_is_tried_again(void **state)
{
    (void)state;
    started();
    commit_fails = "disk full";
    changes(NULL);
    runs("touch d2.org; rollback; ");
    assert_int_equal(applied, 1);
    commit_fails = NULL;
    now += 5000;
    runs("touch d2.org; commit 2 of main; applied 2 config 2; ");
}

static void people_are(const char *text)
{
    FILE *file = fopen(people, "w");

    assert_non_null(file);
    fputs(text, file);
    fclose(file);
    now += 1000;
}

static void accounts_come_when_they_come(void **state)
{
    (void)state;
    started();
    people_are("{}");
    runs("accounts; commit 1 of main; ");
}

static void made_told(size_t wanted)
{
    now += 10000;
    report_run(report, NULL, now);
    assert_int_equal(n_made, wanted);
}

/* A name that a user has would become the mailbox's address. */
static void public_mailboxes_wait_for_the_accounts(void **state)
{
    (void)state;
    Mail__PublicMade made = MAIL__PUBLIC_MADE__INIT;
    Mail__EngineIs says = MAIL__ENGINE_IS__INIT;

    made.name = (char *)"Alice";
    says.n_made = 1;
    says.made = &(Mail__PublicMade *){&made};
    is = &says;
    started();
    made_told(0);
    people_are("{}");
    runs("accounts; commit 1 of main; ");
    made_told(1);

    /* the tables begin anew */
    accounts_again(accounts);
    apply_run(apply, now);
    made_told(0);
    now += 1000;
    runs("accounts; commit 1 of main; ");
    made_told(1);
}

static void names_that_left_become_unknown(void **state)
{
    (void)state;
    started();
    names_due = true;
    now += 5000;
    runs("commit 1 of main; ");
}

static void damaged_tables_that_cannot_be_opened_are_tried_again(void **state)
{
    (void)state;
    started();
    commit_fails = "malformed";
    commit_code = ERROR_DAMAGED;
    open_fails = "disk full";
    changes(NULL);
    runs("touch d2.org; rollback; ");
    now += 5000;
    runs("");
    commit_fails = open_fails = NULL;
    commit_code = ERROR_SYSTEM;
    now += 5000;
    runs("touch d2.org; commit 2 of main; applied 2 config 2; ");
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(configuration_first_then_tables),
        TEST(sessions_before_the_word),
        TEST(said_again_in_each_session),
        TEST(refused_touches_no_table),
        TEST(failed_switch_is_refused),
        TEST(later_revision_heals),
        TEST(held_goes_on_with_tables),
        TEST(hold_of_nothing_is_nothing),
        TEST(engine_away),
        TEST(engine_that_forgot),
        TEST(crash_goes_on_from_state),
        TEST(question_changes_nothing),
        TEST(full_disk_is_tried_again),
        TEST(accounts_come_when_they_come),
        TEST(public_mailboxes_wait_for_the_accounts),
        TEST(names_that_left_become_unknown),
        TEST(damaged_tables_that_cannot_be_opened_are_tried_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
