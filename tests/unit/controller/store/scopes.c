/* Who needs which scope, and sums that no longer add up.  delta.c holds them against a model. */
#include "fixture.h"

static Error *add_word(void *context, const char *word)
{
    Buf *out = context;

    buf_printf(out, "%s%s", out->size ? " " : "", word);
    return NULL;
}

/* An instance that moves between two nodes of a user domain with a replica. */
static void some_moves(void)
{
    begin(); /* 1 */
    put(machine("n1", NULL));
    put(machine("n2", NULL));
    put(machine("n3", NULL));
    put(user_domain("staff", "n3", NULL));
    put(instance("main", "n1", "staff"));
    end();
    put_alone(domain("main", "example.org", NULL));          /* 2 */
    put_alone(instance("main", "n2", "staff"));              /* 3 */
    put_alone(user_domain("staff", "n3", "n1"));             /* 4 */
    put_alone(instance("main", NULL, "staff"));              /* 5 */
    drop_alone(ref_of(MAIL__OBJECT__BODY_NODE, NULL, "n2")); /* 6 */
    put_alone(machine("n4", NULL));                          /* 7 */
}

static void test_scopes_of_a_node(void **state)
{
    static const struct {
        const char *node;
        uint64_t revision;
        const char *wanted;
    } cases[] = {
        {"n1", 1, "node/n1 user-domain/staff instance/main backup"},
        {"n1", 3, "node/n1"},
        {"n1", 4, "node/n1 user-domain/staff"},
        {"n1", 0, "node/n1 user-domain/staff"},
        {"n2", 2, "node/n2"},
        {"n2", 3, "node/n2 user-domain/staff instance/main backup"},
        {"n2", 5, "node/n2"},
        {"n2", 0, ""},
        {"n3", 0, "node/n3 user-domain/staff"},
        {"n4", 6, ""},
        {"nobody", 0, ""},
    };
    (void)state;

    some_moves();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        DEFER(buf_done) Buf out = {0};
        ok(store_node_scopes(store, cases[i].node, cases[i].revision, add_word, &out));
        print_message("scopes %zu\n", i);
        assert_string_equal(buf_text(&out), cases[i].wanted);
    }
    fails(store_node_scopes(store, "n1", 8, add_word, NULL), ERROR_NOT_FOUND, "there is no revision 8");
}

static void test_nodes_touched(void **state)
{
    static const char *const wanted[] = {"n1 n3 n4", "n1 n2 n3", "n1", "n1 n2", "n1 n2 n3", "n2", "n2", "n4"};
    (void)state;

    some_moves();
    for (uint64_t r = 0; r < sizeof wanted / sizeof *wanted; r++) {
        DEFER(buf_done) Buf out = {0};
        ok(store_nodes_touched(store, r, add_word, &out));
        print_message("revision %" PRIu64 "\n", r);
        assert_string_equal(buf_text(&out), wanted[r]);
    }
}

static void test_a_node_that_nobody_knows(void **state)
{
    Digest zero = {{0}}, digest;
    uint64_t revision = 5;
    (void)state;

    some_moves();
    ok(store_node_revision(store, "nobody", 0, &revision));
    assert_int_equal(revision, 0);
    ok(store_node_digest(store, "nobody", &digest));
    assert_true(digest_equal(&digest, &zero));
    ok(store_node_revision(store, "n2", 0, &revision)); /* removed: that was its last */
    assert_int_equal(revision, 6);
}

static void test_audit_names_the_scope(void **state)
{
    static const struct {
        const char *spoil, *words;
    } cases[] = {
        {"UPDATE object SET bytes=x'0a' WHERE kind=20",
         "the 2 objects of scope instance/main are not the 2 that were stored"},
        {"DELETE FROM object WHERE kind=20", "the 1 objects of scope instance/main are not the 2 that were stored"},
        {"UPDATE scope SET digest=zeroblob(32) WHERE name='node/n1'",
         "the 1 objects of scope node/n1 are not the 1 that were stored"},
        {"UPDATE scope SET digest=x'00' WHERE name='node/n1'", "a digest has not its size"},
        {"UPDATE object SET scope=99 WHERE kind=20", "an object lies in no scope"},
    };
    (void)state;

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        teardown(NULL);
        setup(NULL);
        some_moves();
        ok(store_audit(store));
        raw(cases[i].spoil);
        fails(store_audit(store), ERROR_DAMAGED, cases[i].words);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_scopes_of_a_node, setup, teardown),
        cmocka_unit_test_setup_teardown(test_nodes_touched, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_node_that_nobody_knows, setup, teardown),
        cmocka_unit_test_setup_teardown(test_audit_names_the_scope, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
