/* Events, and happenings that become one once. */
#include "fixture.h"

static uint64_t event_add(const char *node, const char *what)
{
    Mail__EventInfo event = MAIL__EVENT_INFO__INIT;
    DEFER(xfree) char *of = copy(node);
    DEFER(xfree) char *words = copy(what);
    uint64_t number = 0;

    event.node = of;
    event.what = words;
    ok(store_event_add(store, &event, &number));
    return number;
}

static Error *add_event(void *context, const Mail__EventInfo *event)
{
    Buf *out = context;

    buf_printf(out, "%s%" PRIu64 ":%s", out->size ? " " : "", event->number, event->what);
    return NULL;
}

static void test_events(void **state)
{
    static const struct {
        const char *node;
        uint64_t after;
        size_t limit;
        const char *wanted;
    } cases[] = {
        {NULL, 0, 0, "1:a 2:b 3:c 4:d"},
        {NULL, 0, 2, "3:c 4:d"},
        {NULL, 2, 0, "3:c 4:d"},
        {NULL, 1, 2, "3:c 4:d"},
        {NULL, 4, 0, ""},
        {"mx1", 0, 0, "1:a 3:c"},
        {"mx1", 1, 5, "3:c"},
        {"mx1", 0, 1, "3:c"},
        {"mx9", 0, 0, ""},
    };
    (void)state;

    assert_int_equal(event_add("mx1", "a"), 1);
    assert_int_equal(event_add(NULL, "b"), 2);
    reopen();
    assert_int_equal(event_add("mx1", "c"), 3);
    assert_int_equal(event_add("mx2", "d"), 4);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        DEFER(buf_done) Buf out = {0};
        ok(store_event_each(store, cases[i].node, cases[i].after, cases[i].limit, add_event, &out));
        print_message("events %zu\n", i);
        assert_string_equal(buf_text(&out), cases[i].wanted);
    }
}

static void test_the_newest_are_kept(void **state)
{
    (void)state;
    raw("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<10000)"
        " INSERT INTO event(number, node, bytes) SELECT i, '', x'' FROM n");
    assert_int_equal(event_add("mx1", "a"), 10001);
    assert_int_equal(event_add("mx1", "b"), 10002);
    assert_int_equal(raw("SELECT count(*) FROM event"), 10000);
    assert_int_equal(raw("SELECT min(number) FROM event"), 3);
}

static void test_happenings_are_told_once(void **state)
{
    static const struct {
        const char *node;
        uint64_t number;
        bool new;
    } cases[] = {
        {"mx1", 3, true}, {"mx1", 3, false}, {"mx1", 2, false}, {"mx2", 2, true}, {"mx1", 4, true}, {"mx1", 9, true},
    };
    (void)state;

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        bool new = !cases[i].new;
        if (i == 2)
            reopen();
        ok(store_happening_seen(store, cases[i].node, cases[i].number, &new));
        if (new != cases[i].new)
            fail_msg("case %zu", i);
    }
    bool new = false; /* a new machine under an old name counts from the start */
    ok(store_node_key_forget(store, "mx1"));
    ok(store_happening_seen(store, "mx1", 1, &new));
    assert_true(new);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_events, setup, teardown),
        cmocka_unit_test_setup_teardown(test_the_newest_are_kept, setup, teardown),
        cmocka_unit_test_setup_teardown(test_happenings_are_told_once, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
