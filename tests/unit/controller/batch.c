#include "batch.h"

#include "state.h"

#include "base/child.h"

/* ---- nodes, as the test wants them ---- */

typedef struct Fake {
    const char *name;
    bool online;
    Preparation answer; /* PENDING until the test says otherwise */
    ErrorCode code;     /* of a refusal */
    unsigned asked;
    size_t n_objects; /* asked about last */
} Fake;
static Fake fakes[2];
static uint64_t changed_sum; /* of revisions that nodes were told of */

bool nodes_prepare(Nodes *nodes, const char *node, const ProtobufCBinaryData *objects, size_t n_objects, Msec now,
                   uint64_t *ret_ticket)
{
    (void)nodes;
    (void)now;
    for (size_t i = 0; i < n_objects; i++) {
        DEFER(object_free) Object *object = NULL;
        ok(object_unpack(objects[i].data, objects[i].len, &object));
    }
    for (uint64_t i = 0; i < 2; i++) {
        if (strcmp(fakes[i].name, node) != 0 || !fakes[i].online)
            continue;
        fakes[i].asked++;
        fakes[i].n_objects = n_objects;
        *ret_ticket = i + 1;
        return true;
    }
    return false;
}

Preparation nodes_prepared(Nodes *nodes, uint64_t ticket, Msec now, Error **ret_why)
{
    (void)nodes;
    (void)now;
    const Fake *fake = &fakes[ticket - 1];
    if (fake->answer == PREPARATION_REFUSED)
        *ret_why = error_new(fake->code, "postconf: fatal: missing '='");
    return fake->answer;
}

static unsigned n_forgotten;

void nodes_forget(Nodes *nodes, uint64_t ticket)
{
    (void)nodes;
    (void)ticket;
    n_forgotten++;
}

void nodes_changed(Nodes *nodes, uint64_t number, Msec now)
{
    (void)nodes;
    (void)now;
    changed_sum += number;
}

/* ---- jobs ---- */

static Batch *batch;
static int n_contexts;

static int begin(void **state)
{
    fakes[0] = (Fake){.name = "mx1"};
    fakes[1] = (Fake){.name = "mx2"};
    changed_sum = 0;
    n_contexts = 0;
    if (setup(state))
        return -1;
    site();
    batch = batch_new(store, (Nodes *)&fakes, NULL);
    return 0;
}

static int end(void **state)
{
    batch_free(&batch);
    assert_int_equal(n_contexts, 0);
    return teardown(state);
}

static void context_free(void *context)
{
    free(context);
    n_contexts--;
}

static Error *work(void *context, Work *open)
{
    DEFER(line_done) Line line = {0};

    line_read(&line, context);
    return change_work(open, line.list, line.n);
}

static Job *add_as(const char *line, bool dry_run, bool unasked)
{
    JobOrder order = {.work = work,
                      .context_free = context_free,
                      .context = xstrdup(line),
                      .rules = {.keep_n = 10, .keep_bytes = 10000},
                      .dry_run = dry_run,
                      .unasked = unasked,
                      .who = "root",
                      .message = "why"};

    said = line;
    n_contexts++;
    return batch_add(batch, &order);
}

static Job *add(const char *line)
{
    return add_as(line, false, false);
}

static void stored(Job *job, uint64_t wanted)
{
    assert_true(job_done(job));
    JobResult result = job_result(job);
    if (result.err)
        fail_msg("%s", result.err->what);
    assert_int_equal(result.revision, wanted);
    job_release(&job);
}

static void failed(Job *job, ErrorCode code, const char *words)
{
    assert_true(job_done(job));
    JobResult result = job_result(job);
    if (!result.err || result.err->code != code || !strstr(result.err->what, words))
        fail_msg("%s, wanted: %s", result.err ? result.err->what : "went well", words);
    assert_int_equal(result.revision, 0);
    job_release(&job);
}

static void each_job_by_itself_in_order(void **state)
{
    (void)state;
    Job *a = add("add address - a@example.org to=alice"), *b = add("add address - a@example.org to=bob"),
        *c = add("set address - a@example.org to+=carol"), *d = add("add address - d@nowhere.org to=x"),
        *e = add("set address - a@example.org to+=carol");

    assert_true(batch_run(batch, 0));
    stored(a, 4);
    failed(b, ERROR_EXISTS, "exists");
    stored(c, 5);
    failed(d, ERROR_NOT_FOUND, "nowhere.org");
    stored(e, 0); /* nothing was left to change */
    assert_int_equal(changed_sum, 9);
    field_is(MAIL__OBJECT__BODY_ADDRESS, "main", "a@example.org", "to", "user:alice,user:carol");
    assert_false(batch_run(batch, 0));
    assert_int_equal(store_revision(store), 5);
}

/* ---- keys of new domains ---- */

static KeyPool *pool;

static int begin_with_keys(void **state)
{
    DEFER(xfree) char *program = child_beside_us("../controller/mail-controller");

    if (begin(state))
        return -1;
    pool = keypool_new(program);
    batch_free(&batch);
    batch = batch_new(store, (Nodes *)&fakes, pool);
    return 0;
}

static int end_with_keys(void **state)
{
    int failed_to = end(state);

    keypool_free(&pool);
    return failed_to;
}

static void run_until(Job *job)
{
    for (Msec until = clock_ms() + 60000; !job_done(job) && clock_ms() < until;) {
        keypool_run(pool, clock_ms());
        batch_run(batch, clock_ms());
        Waiter wake = waiter_start();
        keypool_wait(pool, &wake);
        batch_wait(batch, &wake);
        waiter_at(&wake, until);
        waiter_block(&wake);
    }
}

static char *public_key(const char *name)
{
    DEFER(object_free) Object *key = NULL;
    ObjectRef ref = {MAIL__OBJECT__BODY_DKIM_KEY, "main", name};

    ok(store_get(store, &ref, 0, &key));
    return key ? xstrdup(key->dkim_key->public_key) : NULL;
}

static void F_039_a_new_domain_has_a_key_of_its_own(void **state)
{
    (void)state;
    Job *rehearsed = add_as("add domain main a.test", true, false);
    Job *first = add("add domain main a.test"), *second = add("add domain main b.test; add domain main c.test");

    assert_false(batch_run(batch, clock_ms())); /* none is there: they wait, and nothing is stored meanwhile */
    assert_int_equal(store_revision(store), 3);
    run_until(second);
    run_until(first);
    run_until(rehearsed);
    assert_int_equal(job_result(rehearsed).count, 2);
    stored(rehearsed, 0);
    assert_int_equal(job_result(first).count, 2); /* the domain and its key: one revision */
    assert_null(job_result(first).err);
    assert_null(job_result(second).err);
    job_release(&first);
    job_release(&second);
    DEFER(xfree)
    char *a = public_key("a.test/default"), *b = public_key("b.test/default"), *c = public_key("c.test/default");
    assert_string_not_equal(a, b);
    assert_string_not_equal(b, c);
    assert_string_not_equal(a, c);

    Job *gone = add("remove domain main a.test"), *back = add("add domain main a.test");
    run_until(back);
    stored(gone, 6);
    stored(back, 7);
    DEFER(xfree) char *again = public_key("a.test/default");
    assert_string_equal(again, a);
}

static void keys_that_are_not_made_are_an_error(void **state)
{
    (void)state;
    batch_free(&batch);
    keypool_free(&pool);
    pool = keypool_new("/nonexistent");
    batch = batch_new(store, (Nodes *)&fakes, pool);
    Job *job = add("add domain main a.test"), *other = add("add address - a@example.org to=alice");

    assert_true(batch_run(batch, 0));
    stored(other, 4); /* nobody else waits for it */
    keypool_run(pool, 0);
    assert_false(batch_run(batch, 29999));
    assert_false(job_done(job));
    batch_run(batch, 30001);
    failed(job, ERROR_UNAVAILABLE, "no DKIM key could be made: /nonexistent: ");
}

static void dry_run_is_the_real_thing_undone(void **state)
{
    (void)state;
    Job *job = add_as("add address - a@example.org to=alice; set instance - main hostname=b.example.org", true, false);
    Job *wrong = add_as("add address - a@nowhere.org to=alice", true, false);

    fakes[0].online = true;
    assert_false(batch_run(batch, 0));
    JobResult result = job_result(job);
    assert_true(job_done(job));
    assert_int_equal(result.count, 2);
    assert_int_equal(result.n_kept, 2);
    assert_true(result.kept_all);
    assert_int_equal(fakes[0].asked, 0);
    stored(job, 0);
    failed(wrong, ERROR_NOT_FOUND, "nowhere.org");
    assert_int_equal(store_revision(store), 3);
}

static void configuration_waits_for_its_nodes_tables_do_not(void **state)
{
    (void)state;
    fakes[0].online = true;
    Job *config = add("set instance - main hostname=b.example.org");
    Job *table = add("add address - a@example.org to=alice");

    assert_true(batch_run(batch, 0));
    assert_false(job_done(config));
    stored(table, 4);
    assert_int_equal(fakes[0].asked, 1);
    assert_int_equal(fakes[0].n_objects, 3); /* node, user domain, instance */
    field_is(MAIL__OBJECT__BODY_INSTANCE, "", "main", "hostname", "mx1.example.org");
    assert_false(batch_run(batch, 0));
    fakes[0].answer = PREPARATION_GOOD;
    assert_true(batch_run(batch, 0));
    assert_int_equal(job_result(config).n_warnings, 0);
    stored(config, 5);
    assert_int_equal(fakes[0].asked, 1);
    field_is(MAIL__OBJECT__BODY_INSTANCE, "", "main", "hostname", "b.example.org");
}

static void F_167_one_no_and_nothing_is_stored(void **state)
{
    (void)state;
    fakes[0] = (Fake){.name = "mx1", .online = true, .answer = PREPARATION_REFUSED, .code = ERROR_INVALID};
    Job *job = add("set instance - main hostname=b.example.org; add address - a@example.org to=alice");

    assert_false(batch_run(batch, 0));
    failed(job, ERROR_REFUSED, "mx1 refused it, nothing was stored: postconf: fatal: missing '='");
    assert_int_equal(store_revision(store), 3);
    fakes[0].answer = PREPARATION_PENDING;
    job = add("set instance - main hostname=b.example.org");
    assert_false(batch_run(batch, 0));
    fakes[0].answer = PREPARATION_REFUSED;
    assert_false(batch_run(batch, 0));
    failed(job, ERROR_REFUSED, "mx1 refused it");
    fakes[0].answer = PREPARATION_GOOD;
    job = add("set instance - main hostname=b.example.org");
    assert_true(batch_run(batch, 0));
    stored(job, 4);
}

static void what_nobody_waits_for_is_forgotten(void **state)
{
    (void)state;
    unsigned before = n_forgotten;
    ok(say("add node - mx2"));
    fakes[0] = (Fake){.name = "mx1", .online = true, .answer = PREPARATION_REFUSED, .code = ERROR_REFUSED};
    fakes[1] = (Fake){.name = "mx2", .online = true, .answer = PREPARATION_PENDING};
    Job *job = add("set instance - main node=mx2");

    assert_false(batch_run(batch, 0));
    failed(job, ERROR_REFUSED, "mx1 refused it");
    assert_false(batch_run(batch, 0));
    assert_int_equal(n_forgotten, before + 1);
}

static void who_cannot_be_asked_is_a_warning(void **state)
{
    (void)state;
    static const struct {
        bool online;
        Preparation answer;
        const char *words;
    } cases[] = {
        {false, PREPARATION_PENDING, "mx1 was not asked whether this configuration would do: it is not online"},
        {true, PREPARATION_UNKNOWN, "mx1 was not asked whether this configuration would do: it gave no answer"},
        {true, PREPARATION_REFUSED,
         "mx1 was not asked whether this configuration would do: postconf"}, /* too old to know */
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        DEFER(xfree) char *line = xasprintf("set instance - main hostname=h%zu.example.org", i);
        fakes[0] =
            (Fake){.name = "mx1", .online = cases[i].online, .answer = cases[i].answer, .code = ERROR_UNSUPPORTED};
        Job *job = add(line);
        assert_true(batch_run(batch, 0));
        assert_int_equal(job_result(job).n_warnings, 1);
        assert_non_null(strstr(job_result(job).warnings[0], cases[i].words));
        stored(job, 4 + i);
    }
}

/* SPEC F-003: what somebody else holds ends the change, in the node's own words. */
static void F_003_what_is_held_is_a_conflict(void **state)
{
    (void)state;
    fakes[0] = (Fake){.name = "mx1", .online = true, .answer = PREPARATION_REFUSED, .code = ERROR_CONFLICT};
    Job *job = add("set instance - main hostname=b.example.org");
    assert_false(batch_run(batch, 0));
    failed(job, ERROR_CONFLICT, "mx1: postconf: fatal: missing '='");
    assert_int_equal(store_revision(store), 3);
}

/* What was prepared is no longer what would be: asked again. */
static void a_state_that_moved_is_asked_again(void **state)
{
    (void)state;
    fakes[0].online = true;
    Job *first = add("set instance - main hostname=b.example.org"),
        *second = add("set instance - main listen=127.0.0.1");

    assert_false(batch_run(batch, 0));
    assert_int_equal(fakes[0].asked, 2);
    fakes[0].answer = PREPARATION_GOOD;
    batch_run(batch, 0);
    stored(first, 4);
    while (!job_done(second))
        batch_run(batch, 0);
    stored(second, 5);
    assert_int_equal(fakes[0].asked, 3);
    field_is(MAIL__OBJECT__BODY_INSTANCE, "", "main", "hostname", "b.example.org");
    field_is(MAIL__OBJECT__BODY_INSTANCE, "", "main", "listen", "127.0.0.1");
}

static void what_takes_back_asks_nobody(void **state)
{
    (void)state;
    fakes[0].online = true;
    Job *job = add_as("set instance - main hostname=b.example.org", false, true);

    assert_true(batch_run(batch, 0));
    stored(job, 4);
    assert_int_equal(fakes[0].asked, 0);
}

static void who_hung_up_is_served_all_the_same(void **state)
{
    (void)state;
    Job *job = add("add address - a@example.org to=alice");

    job_release(&job);
    assert_true(batch_run(batch, 0));
    state_is(MAIL__OBJECT__BODY_ADDRESS, "a@example.org");
}

static Error *history_add(void *context, const RevisionRow *row)
{
    buf_printf(context, "%s/%s/%s", row->who, row->message ? row->message : "-", row->via ? row->via : "-");
    return NULL;
}

static void the_author_is_kept(void **state)
{
    (void)state;
    DEFER(buf_done) Buf words = {0};
    Job *job = add("add admin - helpdesk role=viewer uid=5");

    assert_false(batch_admins_changed(batch));
    assert_true(batch_run(batch, 0));
    stored(job, 4);
    assert_true(batch_admins_changed(batch));
    assert_false(batch_admins_changed(batch));
    ok(store_history(store, NULL, 0, 1, history_add, &words));
    assert_string_equal(buf_text(&words), "root/why/-");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)
    const struct CMUnitTest tests[] = {
        TEST(each_job_by_itself_in_order),
        TEST(dry_run_is_the_real_thing_undone),
        TEST(configuration_waits_for_its_nodes_tables_do_not),
        TEST(F_167_one_no_and_nothing_is_stored),
        TEST(what_nobody_waits_for_is_forgotten),
        TEST(who_cannot_be_asked_is_a_warning),
        TEST(F_003_what_is_held_is_a_conflict),
        TEST(a_state_that_moved_is_asked_again),
        TEST(what_takes_back_asks_nobody),
        TEST(who_hung_up_is_served_all_the_same),
        TEST(the_author_is_kept),
        cmocka_unit_test_setup_teardown(F_039_a_new_domain_has_a_key_of_its_own, begin_with_keys, end_with_keys),
        cmocka_unit_test_setup_teardown(keys_that_are_not_made_are_an_error, begin_with_keys, end_with_keys),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
