#include "journal.h"

#include "base/alloc.h"
#include "base/path.h"

#include <dirent.h>
#include <setjmp.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "expect.h"

/* ---- a folder, and a controller's side of the story ---- */

static char folder[64], path[96];
static Journal *journal;

/* What a controller would know: it says where a delta leads. */
static Digest sum, chain;
static uint64_t revision;

static int setup(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/unit-journal-XXXXXX");
    if (!mkdtemp(folder))
        return -1;
    snprintf(path, sizeof path, "%s/node.db", folder);
    memset(&sum, 0, sizeof sum);
    memset(&chain, 0, sizeof chain);
    revision = 0;
    ok(journal_open(path, &journal));
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    journal_free(&journal);
    return folder_remove(folder);
}

static void reopen(void)
{
    journal_free(&journal);
    ok(journal_open(path, &journal));
}

static void raw(const char *sql)
{
    sqlite3 *db = NULL;
    char *words = NULL;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    if (sqlite3_exec(db, sql, NULL, NULL, &words) != SQLITE_OK)
        fail_msg("%s: %s", sql, words);
    sqlite3_close(db);
}

/* ---- parts of deltas ---- */

enum { PART_MAX = 8 };

typedef struct Part {
    Mail__Delta delta;
    Buf bytes[PART_MAX];
    ProtobufCBinaryData objects[PART_MAX];
    Mail__Ref refs[PART_MAX], *removed[PART_MAX];
    char *scopes[PART_MAX];
    Digest from_chain, to_chain, to_digest;
} Part;

static void part_done(Part *part)
{
    for (size_t i = 0; i < PART_MAX; i++)
        buf_done(&part->bytes[i]);
}

static void part_init(Part *part)
{
    memset(part, 0, sizeof *part);
    mail__delta__init(&part->delta);
    part->delta.objects = part->objects;
    part->delta.removed = part->removed;
    part->delta.drop_scopes = part->scopes;
}

/* An address, a domain's or a node's bytes; 'extra' makes the bytes differ. */
static Object *thing(Kind kind, const char *instance, const char *name, const char *extra)
{
    Object *object = object_new(kind, instance, name);
    switch (kind) {
    case MAIL__OBJECT__BODY_ADDRESS:
        object->address->to = xmalloc(sizeof(char *));
        object->address->to[0] = xstrdup(extra);
        object->address->n_to = 1;
        break;
    case MAIL__OBJECT__BODY_INSTANCE:
        object->instance->node = xstrdup(extra);
        object->instance->hostname = xstrdup("mx.example.org");
        break;
    case MAIL__OBJECT__BODY_NODE:
        object->node->description = xstrdup(extra);
        break;
    case MAIL__OBJECT__BODY_RELAY:
        object->relay->host = xstrdup("a.example.net");
        object->relay->has_password = true;
        object->relay->password = strtoul(extra, NULL, 10);
        break;
    case MAIL__OBJECT__BODY_USER_DOMAIN: /* its pair is secret 5 */
        object->user_domain->has_kind = object->user_domain->has_replication = true;
        object->user_domain->kind = MAIL__USER_DOMAIN_KIND__INTERNAL;
        object->user_domain->node = xstrdup(extra);
        object->user_domain->replication = 5;
        break;
    default:
        break;
    }
    return object;
}

static void add(Part *part, Kind kind, const char *instance, const char *name, const char *extra)
{
    DEFER(object_free) Object *object = thing(kind, instance, name, extra);
    size_t i = part->delta.n_objects++;
    object_pack(object, &part->bytes[i]);
    part->objects[i] = (ProtobufCBinaryData){part->bytes[i].size, part->bytes[i].data};
    Digest one = digest_of(part->bytes[i].data, part->bytes[i].size);
    digest_add(&sum, &one);
}

/* Tells the sum that this object is no longer there. */
static void without(Kind kind, const char *instance, const char *name, const char *extra)
{
    DEFER(object_free) Object *object = thing(kind, instance, name, extra);
    DEFER(buf_done) Buf bytes = {0};
    object_pack(object, &bytes);
    Digest one = digest_of(bytes.data, bytes.size);
    digest_subtract(&sum, &one);
}

static void gone(Part *part, const char *kind, const char *instance, const char *name)
{
    size_t i = part->delta.n_removed++;
    mail__ref__init(&part->refs[i]);
    part->refs[i].kind = (char *)kind;
    part->refs[i].instance = (char *)instance;
    part->refs[i].name = (char *)name;
    part->removed[i] = &part->refs[i];
}

/* The head: from where we are to the next revision (or all of it). */
static void head(Part *part, bool snapshot)
{
    part->delta.has_from_revision = part->delta.has_to_revision = part->delta.has_to_chain = true;
    part->delta.has_to_digest = true;
    part->delta.from_revision = snapshot ? 0 : revision;
    part->delta.to_revision = ++revision;
    part->from_chain = chain;
    if (!snapshot) {
        part->delta.has_from_chain = true;
        part->delta.from_chain = (ProtobufCBinaryData){DIGEST_SIZE, part->from_chain.octets};
    }
    chain = digest_of(&revision, sizeof revision);
    part->to_chain = chain;
    part->to_digest = sum;
    part->delta.to_chain = (ProtobufCBinaryData){DIGEST_SIZE, part->to_chain.octets};
    part->delta.to_digest = (ProtobufCBinaryData){DIGEST_SIZE, part->to_digest.octets};
}

static void arrives(const Part *part)
{
    ok(journal_delta_begin(journal, &part->delta, 0));
    ok(journal_delta_part(journal, &part->delta));
    ok(journal_delta_end(journal));
}

/* node mx1, instance main on it, two addresses of info@ and a wildcard */
static void first_snapshot(void)
{
    DEFER(part_done) Part part;
    part_init(&part);
    add(&part, MAIL__OBJECT__BODY_NODE, NULL, "mx1", "first");
    add(&part, MAIL__OBJECT__BODY_INSTANCE, NULL, "main", "mx1");
    add(&part, MAIL__OBJECT__BODY_DOMAIN, "main", "example.org", "");
    add(&part, MAIL__OBJECT__BODY_ADDRESS, "main", "info@example.org", "user:alice");
    add(&part, MAIL__OBJECT__BODY_ADDRESS, "main", "info@*", "user:bob");
    add(&part, MAIL__OBJECT__BODY_ADDRESS, "main", "sales@example.org", "user:bob");
    head(&part, true);
    arrives(&part);
}

static Error *name_into(void *context, const Object *object)
{
    Buf *out = context;
    buf_printf(out, "%s ", object_ref(object).name);
    return NULL;
}

static Error *ref_into(void *context, const ObjectRef *ref)
{
    Buf *out = context;
    buf_printf(out, "%s ", ref->name);
    return NULL;
}

static void assert_touched(uint64_t applied, bool wanted_all, const char *wanted)
{
    DEFER(buf_done) Buf names = {0};
    bool all = false;
    ok(journal_touched(journal, applied, &all, ref_into, &names));
    assert_int_equal(all, wanted_all);
    assert_string_equal(buf_text(&names), wanted);
}

static void assert_wanted(uint64_t wanted)
{
    assert_int_equal(journal_wanted(journal)->revision, wanted);
    assert_true(digest_equal(&journal_wanted(journal)->digest, &sum));
    ok(journal_audit(journal));
}

/* ---- deltas ---- */

static void snapshot_comes_and_stays(void **state)
{
    (void)state;
    assert_int_equal(journal_wanted(journal)->revision, 0);
    first_snapshot();
    assert_wanted(1);
    reopen();
    assert_wanted(1);
    assert_int_equal(journal_count(journal), 6);
    assert_touched(0, true, "");
}

static void delta_changes_what_it_names(void **state)
{
    (void)state;
    first_snapshot();
    journal_settled(journal);
    ok(journal_run(journal));
    assert_touched(1, false, "");

    DEFER(part_done) Part part;
    part_init(&part);
    without(MAIL__OBJECT__BODY_ADDRESS, "main", "info@example.org", "user:alice");
    without(MAIL__OBJECT__BODY_ADDRESS, "main", "sales@example.org", "user:bob");
    gone(&part, "address", "main", "sales@example.org");
    add(&part, MAIL__OBJECT__BODY_ADDRESS, "main", "info@example.org", "user:carol");
    add(&part, MAIL__OBJECT__BODY_ADDRESS, "main", "new@example.org", "user:carol");
    head(&part, false);
    arrives(&part);
    assert_wanted(2);
    assert_int_equal(journal_count(journal), 6);
    assert_touched(1, false, "info@example.org new@example.org sales@example.org ");
    assert_touched(0, true, ""); /* tables older than what 'touched' knows */
    reopen();
    assert_touched(1, false, "info@example.org new@example.org sales@example.org ");
    journal_settled(journal);
    assert_touched(2, false, "");
}

static void parts_are_one_transaction(void **state)
{
    (void)state;
    first_snapshot();
    Digest before = sum;
    DEFER(part_done) Part one, two;
    part_init(&one);
    part_init(&two);
    add(&one, MAIL__OBJECT__BODY_ADDRESS, "main", "a@example.org", "user:a");
    add(&two, MAIL__OBJECT__BODY_ADDRESS, "main", "b@example.org", "user:b");
    head(&one, false);
    ok(journal_delta_begin(journal, &one.delta, 0));
    ok(journal_delta_part(journal, &one.delta));
    assert_true(journal_receiving(journal));
    assert_int_equal(journal_wanted(journal)->revision, 1);

    journal_delta_abandon(journal);
    assert_int_equal(journal_count(journal), 6);
    ok(journal_audit(journal));
    assert_true(digest_equal(&journal_wanted(journal)->digest, &before));

    ok(journal_delta_begin(journal, &one.delta, 0));
    ok(journal_delta_part(journal, &one.delta));
    ok(journal_delta_part(journal, &two.delta));
    ok(journal_delta_end(journal));
    assert_wanted(2);
    assert_int_equal(journal_count(journal), 8);
}

static void only_from_where_we_are(void **state)
{
    (void)state;
    first_snapshot();
    DEFER(part_done) Part part;
    part_init(&part);
    add(&part, MAIL__OBJECT__BODY_ADDRESS, "main", "a@example.org", "user:a");
    head(&part, false);
    arrives(&part);
    fails(journal_delta_begin(journal, &part.delta, 0), ERROR_CONFLICT, "from revision 1, but we stand at 2");
    assert_false(journal_receiving(journal));

    part.delta.from_revision = 2; /* the number fits, the chain does not: another controller's story */
    part.delta.to_revision = 3;
    fails(journal_delta_begin(journal, &part.delta, 0), ERROR_CONFLICT, "from revision 2");
    assert_wanted(2);
}

static void what_does_not_add_up_is_undone(void **state)
{
    (void)state;
    first_snapshot();
    Digest before = sum;
    DEFER(part_done) Part part;
    part_init(&part);
    add(&part, MAIL__OBJECT__BODY_ADDRESS, "main", "a@example.org", "user:a");
    head(&part, false);
    part.to_digest.octets[31] ^= 1;
    ok(journal_delta_begin(journal, &part.delta, 0));
    ok(journal_delta_part(journal, &part.delta));
    fails(journal_delta_end(journal), ERROR_CONFLICT, "does not add up");
    journal_delta_abandon(journal);
    sum = before;
    assert_wanted(1);
    assert_int_equal(journal_count(journal), 6);

    /* One of us has drifted: a snapshot is asked for, and taken. */
    assert_true(journal_drifted(journal));
    DEFER(part_done) Part all;
    part_init(&all);
    memset(&sum, 0, sizeof sum);
    add(&all, MAIL__OBJECT__BODY_NODE, NULL, "mx1", "");
    head(&all, true);
    arrives(&all);
    assert_false(journal_drifted(journal));
    assert_wanted(3);
}

static void unknown_and_broken_objects(void **state)
{
    static uint8_t unknown[] = {0xaa, 0x06, 0x00}; /* member 101 of the oneof, empty */
    static uint8_t broken[] = {0x12, 0x7f};
    (void)state;
    first_snapshot();
    Digest before = sum;
    const struct {
        uint8_t *bytes;
        size_t size;
        ErrorCode code;
    } cases[] = {{unknown, sizeof unknown, ERROR_UNSUPPORTED}, {broken, sizeof broken, ERROR_INVALID}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        DEFER(part_done) Part part;
        part_init(&part);
        add(&part, MAIL__OBJECT__BODY_ADDRESS, "main", "a@example.org", "user:a");
        part.objects[part.delta.n_objects++] = (ProtobufCBinaryData){cases[i].size, cases[i].bytes};
        head(&part, false);
        ok(journal_delta_begin(journal, &part.delta, 0));
        fails(journal_delta_part(journal, &part.delta), cases[i].code, "");
        journal_delta_abandon(journal);
        revision = 1;
        sum = before;
        chain = journal_wanted(journal)->chain;
        assert_wanted(1);
    }
}

static void snapshots_only_when_asked_for(void **state)
{
    (void)state;
    first_snapshot();
    DEFER(part_done) Part part;
    part_init(&part);
    Digest old = sum;
    memset(&sum, 0, sizeof sum);
    add(&part, MAIL__OBJECT__BODY_NODE, NULL, "mx1", "second");
    head(&part, true);
    fails(journal_delta_begin(journal, &part.delta, 0), ERROR_DENIED, "that we did not ask for");

    part.delta.has_forced = part.delta.forced = true;
    part.delta.to_revision = 1; /* even an older one, when an admin says so */
    ok(journal_delta_begin(journal, &part.delta, 7));
    ok(journal_delta_part(journal, &part.delta));
    ok(journal_delta_end(journal));
    assert_wanted(1);
    assert_int_equal(journal_count(journal), 1);
    assert_false(digest_equal(&sum, &old));
    assert_touched(1, true, "");
}

static void no_snapshot_older_than_the_tables(void **state)
{
    (void)state;
    DEFER(part_done) Part part;
    part_init(&part);
    add(&part, MAIL__OBJECT__BODY_NODE, NULL, "mx1", "");
    head(&part, true);
    fails(journal_delta_begin(journal, &part.delta, 5), ERROR_DENIED, "older than ours, 5");
    ok(journal_delta_begin(journal, &part.delta, 1));
    journal_delta_abandon(journal);
}

/* One that is replayed, or leads nowhere, whatever it says of its content. */
static void nothing_from_the_past(void **state)
{
    (void)state;
    first_snapshot();
    Digest old = sum;
    DEFER(part_done) Part snapshot, delta;
    part_init(&snapshot);
    memset(&sum, 0, sizeof sum);
    add(&snapshot, MAIL__OBJECT__BODY_NODE, NULL, "mx1", "other");
    revision = 0;
    head(&snapshot, true);
    fails(journal_delta_begin(journal, &snapshot.delta, 0), ERROR_DENIED, "that we did not ask for");

    part_init(&delta);
    head(&delta, false);
    delta.delta.to_revision = 1;
    fails(journal_delta_begin(journal, &delta.delta, 0), ERROR_INVALID, "leads nowhere");
    revision = 1;
    sum = old;
    assert_wanted(1);
}

static void dropped_scopes_take_all_of_theirs(void **state)
{
    (void)state;
    first_snapshot();
    DEFER(part_done) Part more;
    part_init(&more);
    add(&more, MAIL__OBJECT__BODY_INSTANCE, NULL, "maintenance", "mx2"); /* its name begins alike */
    add(&more, MAIL__OBJECT__BODY_ADDRESS, "maintenance", "a@example.net", "user:a");
    head(&more, false);
    arrives(&more);

    DEFER(part_done) Part drop;
    part_init(&drop);
    drop.scopes[drop.delta.n_drop_scopes++] = (char *)"instance/main";
    without(MAIL__OBJECT__BODY_INSTANCE, NULL, "main", "mx1");
    without(MAIL__OBJECT__BODY_DOMAIN, "main", "example.org", "");
    without(MAIL__OBJECT__BODY_ADDRESS, "main", "info@example.org", "user:alice");
    without(MAIL__OBJECT__BODY_ADDRESS, "main", "info@*", "user:bob");
    without(MAIL__OBJECT__BODY_ADDRESS, "main", "sales@example.org", "user:bob");
    head(&drop, false);
    arrives(&drop);
    assert_wanted(3);
    assert_int_equal(journal_count(journal), 3); /* the node, the other instance, its address */
    assert_touched(2, true, "");
}

/* ---- the view ---- */

static void tables_see_what_is_wanted(void **state)
{
    (void)state;
    first_snapshot();
    DEFER(xfree) char *instance = NULL, *none = NULL;
    ok(journal_instance(journal, "mx1", &instance));
    assert_string_equal(instance, "main");
    ok(journal_instance(journal, "mx2", &none));
    assert_null(none);

    TablesView view = journal_view(journal, instance);
    DEFER(buf_done) Buf names = {0};
    ok(view.objects.each(view.objects.self, MAIL__OBJECT__BODY_ADDRESS, "main", NULL, name_into, &names));
    assert_string_equal(buf_text(&names), "info@* info@example.org sales@example.org ");
    buf_clear(&names);
    ok(view.objects.each(view.objects.self, MAIL__OBJECT__BODY_ADDRESS, NULL, "sales@example.org", name_into, &names));
    assert_string_equal(buf_text(&names), "sales@example.org ");

    DEFER(object_free) Object *found = NULL;
    ObjectRef ref = {MAIL__OBJECT__BODY_ADDRESS, "main", "info@*"};
    ok(view.objects.get(view.objects.self, &ref, &found));
    assert_non_null(found);
    assert_string_equal(found->address->to[0], "user:bob");
    ref.name = "nobody@*";
    Object *nothing = NULL;
    ok(view.objects.get(view.objects.self, &ref, &nothing));
    assert_null(nothing);
}

typedef struct Nested {
    const TablesView *view;
    Buf names;
} Nested;

static Error *inner(void *context, const Object *object)
{
    Nested *nested = context;
    (void)object;
    return nested->view->objects.each(nested->view->objects.self, MAIL__OBJECT__BODY_ADDRESS, "main", NULL, name_into,
                                      &nested->names);
}

/* A callback may look itself: the outer loop goes on where it was. */
static void loops_may_be_nested(void **state)
{
    (void)state;
    first_snapshot();
    TablesView view = journal_view(journal, "main");
    Nested nested = {.view = &view};
    ok(view.objects.each(view.objects.self, MAIL__OBJECT__BODY_ADDRESS, "main", NULL, inner, &nested));
    assert_int_equal(nested.names.size, 3 * strlen("info@* info@example.org sales@example.org "));
    buf_done(&nested.names);
}

static Error *count(void *context, const void *bytes, size_t size)
{
    (void)bytes;
    (void)size;
    ++*(int *)context;
    return NULL;
}

static void configuration_has_its_own_sum(void **state)
{
    (void)state;
    Digest before, after;
    int n = 0;
    first_snapshot();
    ok(journal_config_each(journal, count, &n, &before));
    assert_int_equal(n, 2); /* node and instance; no domain, no address */

    DEFER(part_done) Part part;
    part_init(&part);
    add(&part, MAIL__OBJECT__BODY_ADDRESS, "main", "a@example.org", "user:a");
    head(&part, false);
    arrives(&part);
    ok(journal_config_each(journal, NULL, NULL, &after));
    assert_true(digest_equal(&before, &after));

    part_done(&part);
    part_init(&part);
    without(MAIL__OBJECT__BODY_NODE, NULL, "mx1", "first");
    add(&part, MAIL__OBJECT__BODY_NODE, NULL, "mx1", "other");
    head(&part, false);
    arrives(&part);
    ok(journal_config_each(journal, NULL, NULL, &after));
    assert_false(digest_equal(&before, &after));
}

/* ---- damage ---- */

static bool set_aside(void)
{
    bool found = false;
    DIR *dir = opendir(folder);
    for (struct dirent *entry; dir && (entry = readdir(dir));)
        found = found || strncmp(entry->d_name, "node.db.damaged-", 16) == 0;
    if (dir)
        closedir(dir);
    return found;
}

static Error *what_into(void *context, const HappeningRow *row)
{
    buf_printf(context, "%s;", row->what);
    return NULL;
}

static void assert_begun_anew(void)
{
    DEFER(buf_done) Buf what = {0};
    assert_int_equal(journal_wanted(journal)->revision, 0);
    assert_int_equal(journal_count(journal), 0);
    assert_true(set_aside());
    ok(journal_run(journal));
    ok(journal_happenings(journal, 0, 20, what_into, &what));
    assert_string_equal(buf_text(&what), "node.db rebuilt;");
}

static void garbage_is_set_aside(void **state)
{
    (void)state;
    first_snapshot();
    journal_free(&journal);
    char garbage[8192];
    memset(garbage, 'x', sizeof garbage);
    ok(file_write(path, garbage, sizeof garbage, 0600, (gid_t)-1));
    ok(journal_open(path, &journal));
    assert_begun_anew();
    revision = 0;
    memset(&sum, 0, sizeof sum);
    first_snapshot(); /* and it works */
    assert_wanted(1);
}

static void missing_table_is_damage(void **state)
{
    (void)state;
    first_snapshot();
    journal_free(&journal);
    raw("DROP TABLE touched");
    ok(journal_open(path, &journal));
    assert_begun_anew();
}

static void changed_row_is_damage(void **state)
{
    (void)state;
    first_snapshot();
    raw("DELETE FROM object WHERE name='info@*'");
    unsigned life = journal_life(journal);
    fails(journal_audit(journal), ERROR_DAMAGED, "not those of revision 1");
    ok(journal_run(journal));
    assert_true(journal_life(journal) > life);
    assert_begun_anew();
}

static void newer_schema_is_refused(void **state)
{
    (void)state;
    journal_free(&journal);
    raw("PRAGMA user_version=9");
    fails(journal_open(path, &journal), ERROR_UNSUPPORTED, "schema 9, this mail-agent knows 5");
    assert_null(journal);
    assert_false(set_aside());
}

/* ---- what else it keeps ---- */

static void configuration_is_remembered(void **state)
{
    (void)state;
    ConfigKnown known = {.in_force_revision = 4, .refused_revision = 5, .held = true, .why_code = ERROR_REFUSED};
    known.in_force.octets[0] = 1;
    known.refused.octets[0] = 2;
    strcpy(known.why, "fatal: no");
    journal_set_config(journal, &known);
    ok(journal_run(journal));
    reopen();
    const ConfigKnown *got = journal_config(journal);
    assert_memory_equal(&got->in_force, &known.in_force, sizeof known.in_force);
    assert_memory_equal(&got->refused, &known.refused, sizeof known.refused);
    assert_int_equal(got->in_force_revision, 4);
    assert_int_equal(got->refused_revision, 5);
    assert_int_equal(got->why_code, ERROR_REFUSED);
    assert_true(got->held);
    assert_string_equal(got->why, "fatal: no");
}

static Error *number_into(void *context, const HappeningRow *row)
{
    uint64_t *last = context;
    assert_true(row->number > *last);
    *last = row->number;
    return NULL;
}

static void happenings_rise_over_restarts(void **state)
{
    uint64_t last = 0;
    (void)state;
    for (int i = 0; i < 3; i++) {
        journal_happened(journal, MAIL__FACT_STATE__GOOD, "something", "number %d", i);
        journal_happened(journal, MAIL__FACT_STATE__GOOD, "something", "at once");
        ok(journal_run(journal));
        reopen();
    }
    ok(journal_happenings(journal, 0, 20, number_into, &last));
    assert_int_equal(last, journal_newest_happening(journal));
    DEFER(buf_done) Buf what = {0};
    ok(journal_happenings(journal, last - 1, 20, what_into, &what));
    assert_string_equal(buf_text(&what), "something;");
}

static void happenings_wait_for_a_delta(void **state)
{
    (void)state;
    DEFER(part_done) Part part;
    part_init(&part);
    add(&part, MAIL__OBJECT__BODY_NODE, NULL, "mx1", "");
    head(&part, true);
    ok(journal_delta_begin(journal, &part.delta, 0));
    journal_happened(journal, MAIL__FACT_STATE__GOOD, "meanwhile", "-");
    ok(journal_run(journal));
    journal_delta_abandon(journal); /* does not take it along */
    ok(journal_run(journal));
    DEFER(buf_done) Buf what = {0};
    ok(journal_happenings(journal, 0, 20, what_into, &what));
    assert_string_equal(buf_text(&what), "meanwhile;");
}

static Error *task_into(void *context, const TaskRow *row)
{
    buf_printf(context, "%s:%s%s ", row->id, row->result ? "done" : "open", row->seen ? ":seen" : "");
    return NULL;
}

static void assert_tasks(const char *id, const char *wanted)
{
    DEFER(buf_done) Buf text = {0};
    ok(journal_tasks(journal, id, task_into, &text));
    assert_string_equal(buf_text(&text), wanted);
}

static void tasks_are_remembered(void **state)
{
    Digest content = {{1}};
    Mail__TaskResult result = MAIL__TASK_RESULT__INIT;
    (void)state;
    assert_tasks("A", "");
    ok(journal_task_begin(journal, "A", &content));
    ok(journal_task_begin(journal, "B", &content));
    result.task_id = (char *)"A";
    ok(journal_task_end(journal, &result));
    reopen();
    assert_tasks(NULL, "A:done B:open ");
    ok(journal_task_seen(journal, "A"));
    assert_tasks(NULL, "B:open ");
    assert_tasks("A", "A:done:seen ");
    fails(journal_task_begin(journal, "A", &content), ERROR_SYSTEM, "UNIQUE");
}

/* ---- secrets ---- */

static const char canary[] = "canary-9b2c";

static void tell(Part *part, Mail__SecretValue *value, Mail__SecretValue **list, uint64_t id)
{
    mail__secret_value__init(value);
    value->id = id;
    value->value = (ProtobufCBinaryData){strlen(canary), (uint8_t *)(uintptr_t)canary};
    *list = value;
    part->delta.secrets = list;
    part->delta.n_secrets = 1;
}

static void secret_comes(const char *name, uint64_t id, uint64_t instead)
{
    DEFER(part_done) Part part;
    DEFER(xfree) char *number = xasprintf("%llu", (unsigned long long)id);
    DEFER(xfree) char *old = xasprintf("%llu", (unsigned long long)instead);
    Mail__SecretValue value, *list;
    part_init(&part);
    if (instead)
        without(MAIL__OBJECT__BODY_RELAY, "main", name, old);
    add(&part, MAIL__OBJECT__BODY_RELAY, "main", name, number);
    tell(&part, &value, &list, id);
    head(&part, false);
    arrives(&part);
}

static void assert_secret(uint64_t id, bool there)
{
    DEFER(secret_free) Secret *secret = NULL;
    ok(journal_secret(journal, id, &secret));
    assert_int_equal(secret != NULL, there);
    if (there)
        assert_string_equal(secret_text(secret), canary);
}

static void secrets_stay_sealed_and_go_with_their_objects(void **state)
{
    (void)state;
    first_snapshot();
    secret_comes("default", 7, 0);
    secret_comes("recipient/example.com", 8, 0);
    assert_secret(7, true);
    reopen();
    assert_secret(7, true);
    assert_secret(9, false);
    DEFER(buf_done) Buf content = {0};
    ok(file_read(path, 64 * 1024 * 1024, &content));
    assert_null(memmem(content.data, content.size, canary, strlen(canary)));
    secret_comes("default", 9, 7);
    assert_secret(7, false);
    assert_secret(9, true);

    DEFER(part_done) Part part;
    part_init(&part);
    gone(&part, "relay", "main", "default");
    without(MAIL__OBJECT__BODY_RELAY, "main", "default", "9");
    head(&part, false);
    arrives(&part);
    assert_secret(9, false);
    assert_secret(8, true);

    DEFER(part_done) Part drop;
    part_init(&drop);
    drop.scopes[drop.delta.n_drop_scopes++] = (char *)"instance/main";
    memset(&sum, 0, sizeof sum);
    DEFER(object_free) Object *node = thing(MAIL__OBJECT__BODY_NODE, NULL, "mx1", "first");
    DEFER(buf_done) Buf bytes = {0};
    object_pack(node, &bytes);
    sum = digest_of(bytes.data, bytes.size);
    head(&drop, false);
    arrives(&drop);
    assert_secret(8, false);
}

static void lost_key_asks_for_everything(void **state)
{
    DEFER(xfree) char *key = xasprintf("%s/secrets.key", folder);
    (void)state;
    first_snapshot();
    secret_comes("default", 7, 0);
    journal_free(&journal);
    assert_int_equal(unlink(key), 0);
    ok(journal_open(path, &journal));
    assert_secret(7, false);
    assert_true(journal_drifted(journal));
    assert_wanted(2); /* the objects are there */
    ok(journal_run(journal));
    reopen();
    assert_true(journal_drifted(journal)); /* for as long as it is not there */

    DEFER(part_done) Part part;
    Mail__SecretValue value, *list;
    part_init(&part);
    memset(&sum, 0, sizeof sum);
    add(&part, MAIL__OBJECT__BODY_RELAY, "main", "default", "7");
    tell(&part, &value, &list, 7);
    head(&part, true);
    arrives(&part);
    assert_secret(7, true);
    reopen();
    assert_false(journal_drifted(journal));
}

/* SPEC F-179: what only nodes with the directory are told is not lost on another. */
static void what_is_not_told_is_not_lost(void **state)
{
    DEFER(part_done) Part elsewhere, here;
    (void)state;
    part_init(&elsewhere);
    part_init(&here);
    first_snapshot();
    add(&elsewhere, MAIL__OBJECT__BODY_USER_DOMAIN, NULL, "staff", "mx2");
    head(&elsewhere, false);
    arrives(&elsewhere);
    reopen();
    assert_false(journal_drifted(journal));

    without(MAIL__OBJECT__BODY_USER_DOMAIN, NULL, "staff", "mx2");
    add(&here, MAIL__OBJECT__BODY_USER_DOMAIN, NULL, "staff", "mx1");
    head(&here, false);
    arrives(&here);
    reopen();
    assert_true(journal_drifted(journal));
}

static void hostile_secrets(void **state)
{
    DEFER(part_done) Part part;
    Mail__SecretValue value, *list;
    (void)state;
    first_snapshot();
    part_init(&part);
    tell(&part, &value, &list, 0);
    head(&part, false);
    ok(journal_delta_begin(journal, &part.delta, 0));
    fails(journal_delta_part(journal, &part.delta), ERROR_INVALID, "secret 0");
    journal_delta_abandon(journal);
}

static void older_schema_gets_the_table(void **state)
{
    (void)state;
    first_snapshot();
    journal_free(&journal);
    raw("DROP TABLE secret; DROP TABLE owner; DROP TABLE backup; PRAGMA user_version=1");
    ok(journal_open(path, &journal));
    assert_wanted(1);
    secret_comes("default", 7, 0);
    assert_secret(7, true);
}

static void assert_owner(const char *name, const char *wanted)
{
    DEFER(xfree) char *uuid = NULL;

    ok(journal_owner(journal, name, &uuid));
    if (!wanted)
        assert_null(uuid);
    else
        assert_string_equal(uuid, wanted);
}

static Error *backup_into(void *context, const BackupRow *row)
{
    Buf *out = context;
    buf_printf(out, "%s>%s %s %llu%s ", row->plan, row->destination, row->text, (unsigned long long)row->good_s,
               row->snapshot);
    return NULL;
}

static void assert_backups(const char *wanted)
{
    DEFER(buf_done) Buf rows = {0};
    ok(journal_backups(journal, backup_into, &rows));
    assert_string_equal(buf_text(&rows), wanted);
}

static void backups_are_remembered(void **state)
{
    (void)state;
    first_snapshot();
    BackupRow row = {.plan = "nightly", .destination = "vault", .text = "fine", .good = true, .good_s = 7};
    ok(journal_backup_put(journal, &row));
    row.destination = "far";
    row.text = "no";
    ok(journal_backup_put(journal, &row));
    reopen();
    assert_backups("nightly>far no 7 nightly>vault fine 7 ");
    row.good_s = 8;
    row.snapshot = "@0123";
    ok(journal_backup_put(journal, &row));
    ok(journal_backup_remove(journal, "nightly", "vault"));
    ok(journal_backup_remove(journal, "nightly", "vault")); /* gone already */
    assert_backups("nightly>far no 8@0123 ");
    journal_free(&journal);
    raw("ALTER TABLE backup DROP COLUMN snapshot; PRAGMA user_version=4"); /* an older program's */
    ok(journal_open(path, &journal));
    assert_backups("nightly>far no 8 ");
    journal_free(&journal);
    raw("DROP TABLE backup; PRAGMA user_version=3"); /* an older program's */
    ok(journal_open(path, &journal));
    assert_backups("");
    assert_wanted(1);
}

static void mailboxes_remember_whose_they_are(void **state)
{
    (void)state;
    first_snapshot();
    assert_owner("alice", NULL);
    ok(journal_own_begin(journal));
    ok(journal_own(journal, "alice", "u1"));
    ok(journal_own(journal, "bob", "u2"));
    ok(journal_own_end(journal, NULL));
    reopen();
    assert_owner("alice", "u1");
    ok(journal_own_begin(journal));
    ok(journal_own(journal, "alice", "u2"));
    fails(journal_own_end(journal, error_new(ERROR_SYSTEM, "disk full")), ERROR_SYSTEM, "disk full");
    assert_owner("alice", "u1");
    journal_free(&journal);
    raw("DROP TABLE owner; DROP TABLE backup; PRAGMA user_version=2"); /* an older program's */
    ok(journal_open(path, &journal));
    assert_owner("alice", NULL);
    assert_wanted(1);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(snapshot_comes_and_stays),       TEST(delta_changes_what_it_names),
        TEST(parts_are_one_transaction),      TEST(only_from_where_we_are),
        TEST(what_does_not_add_up_is_undone), TEST(unknown_and_broken_objects),
        TEST(snapshots_only_when_asked_for),  TEST(no_snapshot_older_than_the_tables),
        TEST(nothing_from_the_past),          TEST(dropped_scopes_take_all_of_theirs),
        TEST(tables_see_what_is_wanted),      TEST(loops_may_be_nested),
        TEST(configuration_has_its_own_sum),  TEST(garbage_is_set_aside),
        TEST(missing_table_is_damage),        TEST(changed_row_is_damage),
        TEST(newer_schema_is_refused),        TEST(configuration_is_remembered),
        TEST(happenings_rise_over_restarts),  TEST(happenings_wait_for_a_delta),
        TEST(tasks_are_remembered),           TEST(secrets_stay_sealed_and_go_with_their_objects),
        TEST(lost_key_asks_for_everything),   TEST(hostile_secrets),
        TEST(older_schema_gets_the_table),    TEST(mailboxes_remember_whose_they_are),
        TEST(backups_are_remembered),         TEST(what_is_not_told_is_not_lost),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
