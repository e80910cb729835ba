#include "events.h"

#include "base/alloc.h"
#include "base/log.h"

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

static char folder[64], path[96];
static Store *store;
static Events *events;

static int setup(void **state)
{
    (void)state;
    log_init("unit", LOG_LEVEL_ERROR);
    snprintf(folder, sizeof folder, "/tmp/unit-events-XXXXXX");
    if (!mkdtemp(folder))
        return -1;
    snprintf(path, sizeof path, "%s/store.db", folder);
    ok(store_open(path, &store));
    ok(events_new(store, &events));
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    events_free(&events);
    store_free(&store);
    return folder_remove(folder);
}

static Error *add_line(void *context, const Mail__EventInfo *event)
{
    buf_printf(context, "%d %s %s: %s\n", (int)event->severity, event->node ? event->node : "-", event->what,
               event->text);
    return NULL;
}

static void are(const char *wanted)
{
    DEFER(buf_done) Buf out = {0};

    ok(store_event_each(store, NULL, 0, 100, add_line, &out));
    assert_string_equal(buf_text(&out), wanted);
}

static void stored_together_by_run(void **state)
{
    (void)state;
    assert_int_equal(events_newest(events), 0);
    events_add(events, MAIL__FACT_STATE__GOOD, "mx1", "node online", "revision %d", 4);
    events_add(events, MAIL__FACT_STATE__DEGRADED, NULL, "handshakes refused", "3");
    are("");
    events_run(events, 1000);
    are("0 mx1 node online: revision 4\n1 - handshakes refused: 3\n");
    uint64_t newest = events_newest(events);
    assert_true(newest >= 2);
    events_free(&events);
    ok(events_new(store, &events));
    assert_int_equal(events_newest(events), newest); /* after a restart, too */
}

static void happenings_are_told_once(void **state)
{
    Mail__Happening happening = MAIL__HAPPENING__INIT;

    (void)state;
    happening.has_number = happening.has_severity = true;
    happening.severity = MAIL__FACT_STATE__DEGRADED;
    happening.what = (char *)"drift mended";
    happening.text = (char *)"2 rows";
    for (uint64_t i = 0; i < 6; i++) {
        happening.number = 1 + i / 2;
        events_happened(events, "mx1", &happening);
        if (i % 2)
            events_run(events, 1000);
    }
    are("1 mx1 drift mended: 2 rows\n1 mx1 drift mended: 2 rows\n1 mx1 drift mended: 2 rows\n");
    happening.number = 1;
    events_happened(events, "mx2", &happening);
    events_run(events, 1000);
    are("1 mx1 drift mended: 2 rows\n1 mx1 drift mended: 2 rows\n1 mx1 drift mended: 2 rows\n"
        "1 mx2 drift mended: 2 rows\n");
}

static void long_texts_are_cut_between_characters(void **state)
{
    DEFER(buf_done) Buf text = {0}, wanted = {0};

    (void)state;
    for (int i = 0; i < 2000; i++)
        buf_append_text(&text, "ä");
    events_add(events, MAIL__FACT_STATE__GOOD, "mx1", "long", "x%s", buf_text(&text));
    events_run(events, 1000);
    buf_append_text(&wanted, "0 mx1 long: x");
    for (int i = 0; i < 511; i++)
        buf_append_text(&wanted, "ä");
    buf_append_text(&wanted, "\n");
    are(buf_text(&wanted));
}

static Msec wakes_at(void)
{
    Waiter wake = waiter_start();

    events_wait(events, &wake);
    return wake.at;
}

/* From beside: the store finds its table gone, and back. */
static void rename_table(const char *sql)
{
    sqlite3 *db = NULL;

    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
}

static void what_cannot_be_stored_waits(void **state)
{
    (void)state;
    assert_int_equal(wakes_at(), MSEC_NEVER);
    events_add(events, MAIL__FACT_STATE__GOOD, "mx1", "one", "1");
    assert_int_equal(wakes_at(), 0);
    rename_table("ALTER TABLE event RENAME TO away");
    events_run(events, 1000);
    assert_int_equal(wakes_at(), 2000);
    events_add(events, MAIL__FACT_STATE__GOOD, "mx1", "two", "2");
    rename_table("ALTER TABLE away RENAME TO event");
    events_run(events, 1500);
    are("");
    events_run(events, 2000);
    are("0 mx1 one: 1\n0 mx1 two: 2\n");
    assert_int_equal(wakes_at(), MSEC_NEVER);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(stored_together_by_run),
        TEST(happenings_are_told_once),
        TEST(long_texts_are_cut_between_characters),
        TEST(what_cannot_be_stored_waits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
