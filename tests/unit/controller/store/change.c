/* One change, a batch of changes, and what is left of those that are undone. */
#include "fixture.h"

typedef enum Op { END, PUT_A, PUT_B, DROP } Op;

/* Everything that may happen to one object within a change, from each state before it. */
static void test_within_a_change_only_the_outcome_counts(void **state)
{
    static const struct {
        Op before, within[4];
        const char *now;
        size_t size;
        int64_t n_past;
    } cases[] = {
        {DROP, {PUT_A}, "address/main/x@example.org=user:a", 1, 0},
        {DROP, {PUT_A, PUT_A}, "address/main/x@example.org=user:a", 1, 0},
        {DROP, {PUT_A, PUT_B}, "address/main/x@example.org=user:b", 1, 0},
        {DROP, {PUT_A, DROP}, "", 0, 0},
        {DROP, {PUT_A, DROP, PUT_B}, "address/main/x@example.org=user:b", 1, 0},
        {PUT_A, {PUT_A}, "address/main/x@example.org=user:a", 0, 0},
        {PUT_A, {PUT_B}, "address/main/x@example.org=user:b", 1, 1},
        {PUT_A, {PUT_B, PUT_A}, "address/main/x@example.org=user:a", 0, 0},
        {PUT_A, {PUT_B, PUT_A, PUT_B}, "address/main/x@example.org=user:b", 1, 1},
        {PUT_A, {DROP}, "", 1, 1},
        {PUT_A, {PUT_B, DROP}, "", 1, 1},
        {PUT_A, {DROP, PUT_B}, "address/main/x@example.org=user:b", 1, 1},
        {PUT_A, {DROP, PUT_A}, "address/main/x@example.org=user:a", 0, 0},
        {PUT_A, {DROP, PUT_B, PUT_A}, "address/main/x@example.org=user:a", 0, 0},
        {PUT_A, {DROP, PUT_B, DROP}, "", 1, 1},
        {PUT_A, {DROP, PUT_A, DROP}, "", 1, 1},
    };
    (void)state;

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        teardown(NULL);
        setup(NULL);
        put_alone(address("main", "other@example.org", "user:o"));
        if (cases[i].before == PUT_A)
            put_alone(address("main", "x@example.org", "user:a"));
        uint64_t before = store_revision(store);
        begin();
        for (const Op *op = cases[i].within; *op; op++) {
            if (*op == DROP)
                drop(the_address("x@example.org"));
            else
                put(address("main", "x@example.org", *op == PUT_A ? "user:a" : "user:b"));
        }
        if (change_size(store) != cases[i].size)
            fail_msg("case %zu: %zu altered, wanted %zu", i, change_size(store), cases[i].size);
        uint64_t revision = end();
        if (revision != (cases[i].size ? before + 1 : 0))
            fail_msg("case %zu: revision %" PRIu64, i, revision);
        ok(store_audit(store));
        StoreFilter filter = {.name = "x@example.org"};
        lists(&filter, cases[i].now);
        assert_int_equal(store_count(store), 1 + (*cases[i].now != '\0'));
        filter.revision = before;
        lists(&filter, cases[i].before == PUT_A ? "address/main/x@example.org=user:a" : "");
        if (raw("SELECT count(*) FROM past") != cases[i].n_past)
            fail_msg("case %zu: %" PRId64 " rows of the past", i, raw("SELECT count(*) FROM past"));
        assert_int_equal(raw("SELECT count(*) FROM past WHERE from_revision>=to_revision"), 0);
        assert_int_equal(raw("SELECT count(*) FROM touched"), 1 + (cases[i].before == PUT_A) + cases[i].size);
    }
}

static void test_equal_bytes_are_no_change(void **state)
{
    (void)state;
    assert_int_equal(put_alone(policy("main", 5)), 1);
    assert_int_equal(put_alone(policy("main", 5)), 0);
    assert_int_equal(store_revision(store), 1);
    assert_int_equal(put_alone(policy("main", 6)), 2);
}

static void test_removing_what_is_not_there(void **state)
{
    (void)state;
    begin();
    ObjectRef ref = the_address("sales@example.org");
    fails(store_remove(store, &ref), ERROR_NOT_FOUND, "address sales@example.org does not exist");
    ref = ref_of(MAIL__OBJECT__BODY_NODE, NULL, "mx1");
    fails(store_remove(store, &ref), ERROR_NOT_FOUND, "node mx1 does not exist");
    ok(change_undo(store));
    ok(store_commit(store));
    assert_int_equal(store_revision(store), 0);
}

static void test_changes_of_a_batch_are_told_apart(void **state)
{
    uint64_t first = 0, third = 0;
    Digest chain, later;
    (void)state;

    ok(store_begin(store));
    ok(change_begin(store));
    put(address("main", "a@example.org", "user:a"));
    ok(change_end(store, &author, &first));

    ok(change_begin(store));
    put(address("main", "b@example.org", "user:b"));
    drop(the_address("a@example.org"));
    assert_int_equal(store_count(store), 1);
    ok(change_undo(store));
    assert_int_equal(store_revision(store), 1);
    ok(store_chain(store, 1, &chain));

    ok(change_begin(store));
    put(address("main", "c@example.org", "user:c"));
    ok(change_end(store, &author, &third));
    lists(&(StoreFilter){0}, "address/main/a@example.org=user:a address/main/c@example.org=user:c");
    ok(store_commit(store));

    assert_int_equal(first, 1);
    assert_int_equal(third, 2);
    assert_int_equal(store_count(store), 2);
    reopen();
    assert_int_equal(store_revision(store), 2);
    assert_int_equal(store_count(store), 2);
    ok(store_chain(store, 1, &later));
    assert_true(digest_equal(&chain, &later));
    ok(store_audit(store));
    lists(&(StoreFilter){0}, "address/main/a@example.org=user:a address/main/c@example.org=user:c");
}

static void test_a_batch_rolled_back_never_was(void **state)
{
    Digest before, after;
    uint64_t revision = 0;
    (void)state;

    put_alone(machine("mx1", NULL));
    ok(store_node_digest(store, "mx1", &before));
    ok(store_begin(store));
    ok(change_begin(store));
    put(machine("mx1", "big"));
    ok(change_end(store, &author, &revision));
    assert_int_equal(store_revision(store), 2);
    ok(change_begin(store));
    put(machine("mx2", NULL));
    store_rollback(store); /* with a change open */

    assert_int_equal(store_revision(store), 1);
    assert_int_equal(store_count(store), 1);
    ok(store_node_digest(store, "mx1", &after));
    assert_true(digest_equal(&before, &after));
    ok(store_audit(store));
    assert_int_equal(put_alone(machine("mx2", NULL)), 2);
}

static void test_facts_before_a_change_outlive_its_undoing(void **state)
{
    bool new = false;
    (void)state;

    ok(store_begin(store));
    ok(store_happening_seen(store, "mx1", 5, &new));
    ok(change_begin(store));
    put(machine("mx1", NULL));
    ok(change_undo(store));
    ok(store_commit(store));
    ok(store_happening_seen(store, "mx1", 5, &new));
    assert_false(new);
}

static void test_the_chain_tells_histories_apart(void **state)
{
    Digest zero = {{0}}, first, other, chain;
    ChainCheck check = CHAIN_UNKNOWN;
    (void)state;

    ok(store_chain(store, 0, &chain));
    assert_true(digest_equal(&chain, &zero));
    ok(store_chain_check(store, 0, &zero, &check));
    assert_int_equal(check, CHAIN_KNOWN);
    put_alone(address("main", "a@example.org", "user:a"));
    put_alone(address("main", "b@example.org", "user:b"));
    ok(store_chain(store, 1, &first));
    ok(store_chain_check(store, 1, &first, &check));
    assert_int_equal(check, CHAIN_KNOWN);
    ok(store_chain_check(store, 2, &first, &check));
    assert_int_equal(check, CHAIN_UNKNOWN);
    ok(store_chain_check(store, 3, &first, &check));
    assert_int_equal(check, CHAIN_UNKNOWN);
    fails(store_chain(store, 3, &chain), ERROR_NOT_FOUND, "there is no revision 3, the newest is 2");

    /* The same first revision, then one that removes instead. */
    teardown(NULL);
    setup(NULL);
    put_alone(address("main", "a@example.org", "user:a"));
    ok(store_chain(store, 1, &other));
    assert_true(digest_equal(&first, &other));
    drop_alone(the_address("a@example.org"));
    ok(store_chain(store, 2, &chain));
    assert_false(digest_equal(&chain, &other));
}

static void test_many_scopes_in_one_change(void **state)
{
    char name[32];
    (void)state;

    begin();
    for (int i = 0; i < 200; i++) {
        snprintf(name, sizeof name, "n%d", i);
        put(machine(name, NULL));
        put(policy(name, (uint64_t)i));
    }
    assert_int_equal(change_size(store), 400);
    assert_int_equal(end(), 1);
    assert_int_equal(store_count(store), 400);
    ok(store_audit(store));
    assert_int_equal(raw("SELECT count(*) FROM touched"), 400);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_within_a_change_only_the_outcome_counts, setup, teardown),
        cmocka_unit_test_setup_teardown(test_equal_bytes_are_no_change, setup, teardown),
        cmocka_unit_test_setup_teardown(test_removing_what_is_not_there, setup, teardown),
        cmocka_unit_test_setup_teardown(test_changes_of_a_batch_are_told_apart, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_batch_rolled_back_never_was, setup, teardown),
        cmocka_unit_test_setup_teardown(test_facts_before_a_change_outlive_its_undoing, setup, teardown),
        cmocka_unit_test_setup_teardown(test_the_chain_tells_histories_apart, setup, teardown),
        cmocka_unit_test_setup_teardown(test_many_scopes_in_one_change, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
