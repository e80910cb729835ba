/* Who changed what, what differs, what is forgotten. */
#include "fixture.h"

static Error *add_row(void *context, const RevisionRow *row)
{
    Buf *out = context;

    assert_true(row->time_s > 1700000000);
    buf_printf(out, "%s%" PRIu64 ":%s", out->size ? " " : "", row->revision, row->who);
    if (row->message)
        buf_printf(out, " '%s'", row->message);
    if (row->via)
        buf_printf(out, " via %s", row->via);
    buf_printf(out, " %" PRIu64, row->n_changed);
    return NULL;
}

static void change_by(const char *who, const char *message, const char *via, Object *a, Object *b)
{
    const Author by = {who, message, via};
    uint64_t revision = 0;

    begin();
    put(a);
    if (b)
        put(b);
    ok(change_end(store, &by, &revision));
    ok(store_commit(store));
}

static void some_history(void)
{
    change_by("root", NULL, NULL, address("main", "a@example.org", "user:a"),
              address("main", "b@example.org", "user:b"));
    change_by("helpdesk (uid 1000)", "ticket 7", "apply", address("main", "a@example.org", "user:x"),
              instance("main", NULL, NULL));
    change_by("root", NULL, "revert 2", address("main", "a@example.org", "user:a"), NULL);
    drop_alone(the_address("a@example.org"));
    change_by("root", NULL, NULL, address("other", "a@example.org", "user:o"), NULL);
}

static void test_history(void **state)
{
    const ObjectRef a = the_address("a@example.org"), b = the_address("b@example.org"),
                    x = the_address("x@example.org");
    const struct {
        const ObjectRef *ref;
        uint64_t before;
        size_t limit;
        const char *wanted;
    } cases[] = {
        {NULL, 0, 0, "5:root 1 4:root 1 3:root via revert 2 1 2:helpdesk (uid 1000) 'ticket 7' via apply 2 1:root 2"},
        {NULL, 0, 1, "5:root 1"},
        {NULL, 3, 1, "2:helpdesk (uid 1000) 'ticket 7' via apply 2"},
        {NULL, 1, 0, ""},
        {&a, 0, 0, "4:root 1 3:root via revert 2 1 2:helpdesk (uid 1000) 'ticket 7' via apply 2 1:root 2"},
        {&a, 4, 2, "3:root via revert 2 1 2:helpdesk (uid 1000) 'ticket 7' via apply 2"},
        {&b, 0, 0, "1:root 2"},
        {&x, 0, 0, ""},
    };
    (void)state;

    some_history();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        DEFER(buf_done) Buf out = {0};
        ok(store_history(store, cases[i].ref, cases[i].before, cases[i].limit, add_row, &out));
        print_message("history %zu\n", i);
        assert_string_equal(buf_text(&out), cases[i].wanted);
    }
}

static void test_changed_since(void **state)
{
    static const struct {
        const char *name;
        uint64_t since, wanted;
    } cases[] = {
        {"a@example.org", 0, 1}, {"a@example.org", 1, 2}, {"a@example.org", 3, 4}, {"a@example.org", 4, 0},
        {"b@example.org", 0, 1}, {"b@example.org", 1, 0}, {"x@example.org", 0, 0},
    };
    (void)state;

    some_history();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint64_t found = UINT64_MAX;
        ObjectRef ref = the_address(cases[i].name);
        ok(store_changed_since(store, &ref, cases[i].since, &found));
        if (found != cases[i].wanted)
            fail_msg("%s since %" PRIu64 ": %" PRIu64, cases[i].name, cases[i].since, found);
    }
}

static Error *add_difference(void *context, const Object *before, const Object *after)
{
    ObjectRef ref = object_ref(after ? after : before);
    Buf *out = context;

    buf_printf(out, "%s%s %s/%s", out->size ? ", " : "", !before ? "+" : !after ? "-" : "~", ref.instance, ref.name);
    return NULL;
}

static void test_diff(void **state)
{
    static const struct {
        uint64_t from, to;
        const char *instance, *wanted;
    } cases[] = {
        {0, 1, NULL, "+ main/a@example.org, + main/b@example.org"},
        {1, 2, NULL, "+ /main, ~ main/a@example.org"},
        {1, 3, NULL, "+ /main"},
        {1, 3, "other", ""},
        {2, 3, NULL, "~ main/a@example.org"},
        {3, 4, NULL, "- main/a@example.org"},
        {4, 3, NULL, "+ main/a@example.org"},
        {2, 1, NULL, "- /main, ~ main/a@example.org"},
        {1, 0, NULL, "+ /main, - main/a@example.org, + other/a@example.org"},
        {1, 0, "main", "+ /main, - main/a@example.org"},
        {1, 0, "other", "+ other/a@example.org"},
        {4, 4, NULL, ""},
        {0, 0, NULL, "+ /main, + main/b@example.org, + other/a@example.org"},
    };
    (void)state;

    some_history();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        DEFER(buf_done) Buf out = {0};
        ok(store_diff(store, cases[i].from, cases[i].to, cases[i].instance, add_difference, &out));
        print_message("diff %zu\n", i);
        assert_string_equal(buf_text(&out), cases[i].wanted);
    }
    fails(store_diff(store, 1, 6, NULL, add_difference, NULL), ERROR_NOT_FOUND,
          "there is no revision 6, the newest is 5");
}

/* A revert writes while it reads what to write. */
static Error *take_back(void *context, const Object *before, const Object *after)
{
    (void)context;
    if (before)
        return store_put(store, before);
    ObjectRef ref = object_ref(after);
    return store_remove(store, &ref);
}

static void test_diff_may_be_written_while_it_is_read(void **state)
{
    DEFER(buf_done) Buf out = {0};
    (void)state;

    some_history();
    begin();
    ok(store_diff(store, 1, 0, NULL, take_back, NULL));
    assert_int_equal(end(), 6);
    ok(store_diff(store, 1, 0, NULL, add_difference, &out));
    assert_string_equal(buf_text(&out), "");
}

static void test_compaction_keeps_a_year_and_what_is_needed(void **state)
{
    static const struct {
        const char *age; /* what makes revisions old */
        uint64_t keep_days, needed;
        int64_t oldest, n_past;
    } cases[] = {
        {"UPDATE revision SET time=time-364*86400", 1, 0, 1, 3},
        {"UPDATE revision SET time=time-400*86400", 500, 0, 1, 3},
        {"UPDATE revision SET time=time-400*86400", 0, 2, 2, 2},
        {"UPDATE revision SET time=time-400*86400", 0, 0, 5, 0},
        {"UPDATE revision SET time=time-400*86400 WHERE number<=2", 0, 0, 2, 2},
        {"UPDATE revision SET time=time-400*86400 WHERE number<=3", 0, 9, 3, 1},
    };
    (void)state;

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        teardown(NULL);
        setup(NULL);
        some_history();
        raw(cases[i].age);
        ok(store_compact(store, cases[i].keep_days, cases[i].needed));
        ok(store_compact(store, cases[i].keep_days, cases[i].needed));
        ok(store_audit(store));
        DEFER(buf_done) Buf all = {0};
        ok(store_diff(store, 5, 0, NULL, add_difference, &all));
        Object *object = NULL;
        ObjectRef ref = the_address("a@example.org");
        if (cases[i].oldest > 1)
            fails(store_get(store, &ref, 1, &object), ERROR_NOT_FOUND, "revision 1 is no longer kept, the oldest is");
        if (raw("SELECT min(number) FROM revision") != cases[i].oldest)
            fail_msg("case %zu: oldest %" PRId64, i, raw("SELECT min(number) FROM revision"));
        if (raw("SELECT count(*) FROM past") != cases[i].n_past)
            fail_msg("case %zu: %" PRId64 " of the past", i, raw("SELECT count(*) FROM past"));
        assert_int_equal(store_count(store), 3);
        if (cases[i].oldest > 1) /* after opening again, too */
            fails(store_diff(store, 0, 5, NULL, add_difference, &all), ERROR_NOT_FOUND,
                  "the beginning is no longer kept");
        assert_int_equal(put_alone(machine("mx1", NULL)), 6);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_history, setup, teardown),
        cmocka_unit_test_setup_teardown(test_changed_since, setup, teardown),
        cmocka_unit_test_setup_teardown(test_diff, setup, teardown),
        cmocka_unit_test_setup_teardown(test_diff_may_be_written_while_it_is_read, setup, teardown),
        cmocka_unit_test_setup_teardown(test_compaction_keeps_a_year_and_what_is_needed, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
