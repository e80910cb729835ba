#include "engine/change.h"

#include "changes.h"

#include <signal.h>
#include <sys/resource.h>

static int begin(void **state)
{
    Node *node = xcalloc(1, sizeof *node);

    node_start(node, root_make());
    *state = node;
    return 0;
}

static int end(void **state)
{
    Node *node = *state;
    char *root = (char *)node->root;

    node_stop(node);
    folder_remove(root);
    free(root);
    free(node);
    return 0;
}

static void changed(Node *node, uint64_t revision)
{
    ok(node_prepare(node, revision));
    ok(node_switch(node, revision));
}

static void in_force(const Node *node, uint64_t generation, uint64_t revision)
{
    InForce is = change_in_force(node->change);
    uint64_t linked = 0;

    assert_int_equal(is.generation, generation);
    assert_int_equal(is.revision, revision);
    ok(current_read(node->root, &linked));
    assert_int_equal(linked, generation);
}

static void test_first(void **state)
{
    Node *node = *state;

    in_force(node, 0, 0);
    assert_null(change_in_force(node->change).state);
    ok(node_prepare(node, 42));
    in_force(node, 0, 0);
    assert_true(there(node->root, "gen/000001.new"));
    assert_false(there(node->root, "gen/000001.check"));
    ok(node_switch(node, 42));
    in_force(node, 1, 42);
    assert_string_equal(change_in_force(node->change).state->node, "mx1");
    assert_false(there(node->root, "gen/000001.new"));
    assert_false(there(node->root, "trial"));
}

/* F-015: only what the texts stand for is new, and it outlives us. */
static void test_same(void **state)
{
    Node *node = *state;

    changed(node, 42);
    Digest config = change_in_force(node->change).config;
    ok(node_prepare_begin(node, 43, "other words"));
    ok(node_answer(node));
    assert_false(there(node->root, "gen/000002.new"));
    in_force(node, 1, 42);
    ok(node_switch(node, 43));
    in_force(node, 1, 43);
    Digest now = change_in_force(node->change).config;
    assert_false(digest_equal(&config, &now));
    const char *root = node->root;
    node_stop(node);
    node_start(node, root);
    in_force(node, 1, 43);
    assert_string_equal(change_in_force(node->change).state->objects[0]->node->description, "other words");
}

static void test_next(void **state)
{
    Node *node = *state;

    for (uint64_t revision = 1; revision <= 6; revision++) {
        DEFER(xfree) char *text = xasprintf("# %lu\n", (unsigned long)revision);
        override_put(node->root, text);
        changed(node, revision);
        in_force(node, revision, revision);
    }
    assert_false(there(node->root, "gen/000003"));
    assert_true(there(node->root, "gen/000004"));
}

static void test_order(void **state)
{
    Node *node = *state;
    Error *why = NULL;

    fails(change_switch(node->change, 1, clock_ms()), ERROR_CONFLICT, "revision 1 is not prepared");
    ok(node_prepare(node, 1));
    fails(change_switch(node->change, 2, clock_ms()), ERROR_CONFLICT, "revision 2 is not prepared");
    ok(node_prepare(node, 2)); /* instead of the first */
    fails(change_switch(node->change, 1, clock_ms()), ERROR_CONFLICT, "revision 1 is not prepared");
    change_abort(node->change);
    fails(change_switch(node->change, 2, clock_ms()), ERROR_CONFLICT, "revision 2 is not prepared");
    assert_int_equal(change_answer(node->change, &why), CHANGE_PENDING);

    ok(node_prepare_begin(node, 3, "x"));
    fails(node_prepare_begin(node, 4, "x"), ERROR_CONFLICT, "another change of the configuration is under way");
    fails(change_switch(node->change, 3, clock_ms()), ERROR_CONFLICT,
          "another change of the configuration is under way");
    change_abort(node->change);
    fails(node_answer(node), ERROR_CONFLICT, "the prepared change was given up");
    changed(node, 5);
    in_force(node, change_in_force(node->change).generation, 5);
}

static void test_bad_objects(void **state)
{
    Node *node = *state;
    uint8_t junk[] = {0xff, 0x01};
    ProtobufCBinaryData bytes = {sizeof junk, junk};
    Mail__EnginePrepare prepare = MAIL__ENGINE_PREPARE__INIT;

    changed(node, 1);
    prepare.objects = &bytes;
    prepare.n_objects = 1;
    fails(change_prepare(node->change, &prepare, clock_ms()), ERROR_INVALID, "");
    in_force(node, 1, 1);
    assert_false(there(node->root, "gen/000002.new"));
    override_put(node->root, "# good\n");
    changed(node, 2); /* the next one is not in the way */
    in_force(node, 2, 2);
}

/* The override is named; what is in force stays. */
static void test_bad_override(void **state)
{
    Node *node = *state;
    Path file = path_in(node->root, "etc/mailnode/override/postfix.d/site.cf");

    changed(node, 1);
    override_put(node->root, "# good\n");
    assert_int_equal(chmod(file.text, 0666), 0);
    fails(node_prepare(node, 2), ERROR_REFUSED, "override/postfix.d/site.cf");
    in_force(node, 1, 1);
    assert_int_equal(chmod(file.text, 0644), 0);
    changed(node, 3);
    in_force(node, 2, 3);
}

static void limit_files(rlim_t octets)
{
    struct rlimit limit;

    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = octets;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

/* Each length up to which a file can be written; once the prepare went well the switch may fail, too. */
static void test_disk_full(void **state)
{
    Node *node = *state;

    changed(node, 1);
    override_put(node->root, "# other\n");
    for (rlim_t octets = 0; octets < 64; octets += 16) {
        limit_files(octets);
        Error *err = node_prepare(node, 2);
        limit_files(RLIM_INFINITY);
        fails(err, ERROR_SYSTEM, "File too large");
        in_force(node, 1, 1);
        DEFER(xfree) uint64_t *numbers = NULL;
        assert_int_equal(generations_list(node->root, &numbers), 1);
    }
    ok(node_prepare(node, 3));
    limit_files(0);
    Error *err = node_switch(node, 3);
    limit_files(RLIM_INFINITY);
    fails(err, ERROR_SYSTEM, "trial: write: File too large");
    in_force(node, 1, 1);
    assert_false(there(node->root, "trial"));
    assert_false(there(node->root, "current.back"));
    changed(node, 4);
    in_force(node, change_in_force(node->change).generation, 4);
}

/* A program that renders other texts than its predecessor makes a change of that by itself. */
static void test_other_program(void **state)
{
    Node *node = *state;
    const char *root = node->root;
    Error *why = NULL;

    node_stop(node);
    DEFER(rendered_done) Rendered rendered = {.files = fileset_new()};
    prepare_of(42, "one of ours", &rendered.prepare);
    buf_append_text(fileset_add(rendered.files, "postfix/main.cf", NULL), "of an older program\n");
    ok(generation_write(root, 7, &rendered));
    ok(generation_name(root, 7));
    ok(current_set(root, 7));
    node_start(node, root);
    in_force(node, 7, 42);
    node_settle(node, 8);
    in_force(node, 8, 42);
    assert_int_equal(said(node, "configuration renewed"), 1);
    assert_int_equal(change_answer(node->change, &why), CHANGE_PENDING);
}

/* A change of our own that cannot be is told once; nothing is lost. */
static void test_other_program_refused(void **state)
{
    Node *node = *state;
    const char *root = node->root;

    changed(node, 1);
    override_put(root, "# other\n");
    assert_int_equal(chmod(path_in(root, "etc/mailnode/override/postfix.d/site.cf").text, 0666), 0);
    node_stop(node);
    node_start(node, root);
    for (int i = 0; i < 5; i++)
        change_run(node->change, clock_ms());
    in_force(node, 1, 1);
    assert_int_equal(said(node, "configuration not renewed"), 1);
}

/* A disk that is full has room again some day. */
static void test_own_change_is_tried_again(void **state)
{
    Node *node = *state;
    const char *root = node->root;
    Msec later = clock_ms();

    changed(node, 1);
    override_put(root, "# other\n");
    node_stop(node);
    node_start(node, root);
    limit_files(0);
    for (int i = 0; i < 5; i++)
        change_run(node->change, later);
    limit_files(RLIM_INFINITY);
    assert_int_equal(said(node, "configuration not renewed"), 1);
    in_force(node, 1, 1);
    change_run(node->change, later + 1000);
    assert_false(change_busy(node->change));
    change_run(node->change, later + 60000);
    assert_true(change_busy(node->change));
    node_settle(node, 3);
}

typedef struct Found {
    Buf text;
} Found;

static void note(void *context, const char *path, const char *diff)
{
    Found *found = context;

    buf_printf(&found->text, "%s: %s\n", path, diff);
}

static void test_drift(void **state)
{
    Node *node = *state;
    Found found = {0};
    size_t n = 9;

    ok(change_drift(node->change, false, note, &found, &n)); /* nothing is in force yet */
    assert_int_equal(n, 0);
    changed(node, 1);
    ok(change_drift(node->change, false, note, &found, &n));
    assert_int_equal(n, 0);
    ok(file_write(path_in(node->root, "var/lib/mailnode/engine/gen/000001/own").text, "x", 1, 0644, (gid_t)-1));
    override_put(node->root, "# new\n");
    ok(change_drift(node->change, false, note, &found, &n));
    assert_int_equal(n, 2);
    assert_string_equal(buf_text(&found.text), "own: does not belong here\n"
                                               "override: changed since generation 1: override/postfix.d/site.cf\n");
    Mail__Fact *const *facts = NULL;
    assert_int_equal(change_facts(node->change, clock_ms(), &facts), 3);
    assert_string_equal(facts[0]->text, "1, of revision 1");
    assert_int_equal(facts[1]->state, MAIL__FACT_STATE__DEGRADED);
    assert_string_equal(facts[1]->text, "changed since generation 1: override/postfix.d/site.cf");
    assert_int_equal(facts[2]->state, MAIL__FACT_STATE__DEGRADED);
    assert_string_equal(facts[2]->text, "own is not as generation 1 has it");
    assert_int_equal(said(node, "configuration changed by hand"), 1);

    /* Put right: what was added goes aside, the override comes into force. */
    ok(change_drift(node->change, true, note, &found, &n));
    assert_int_equal(n, 2);
    assert_true(there(node->root, "aside/own.1"));
    node_settle(node, 2);
    ok(change_drift(node->change, false, note, &found, &n));
    assert_int_equal(n, 0);
    assert_int_equal(change_facts(node->change, clock_ms(), &facts), 2);
    assert_string_equal(facts[1]->text, "override/postfix.d/site.cf");
    buf_done(&found.text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_first, begin, end),
        cmocka_unit_test_setup_teardown(test_same, begin, end),
        cmocka_unit_test_setup_teardown(test_next, begin, end),
        cmocka_unit_test_setup_teardown(test_order, begin, end),
        cmocka_unit_test_setup_teardown(test_bad_objects, begin, end),
        cmocka_unit_test_setup_teardown(test_bad_override, begin, end),
        cmocka_unit_test_setup_teardown(test_disk_full, begin, end),
        cmocka_unit_test_setup_teardown(test_other_program, begin, end),
        cmocka_unit_test_setup_teardown(test_other_program_refused, begin, end),
        cmocka_unit_test_setup_teardown(test_own_change_is_tried_again, begin, end),
        cmocka_unit_test_setup_teardown(test_drift, begin, end),
    };
    log_init("test", LOG_LEVEL_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
