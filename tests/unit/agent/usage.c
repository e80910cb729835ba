#include "usage.h"

#include "base/alloc.h"

#include <sqlite3.h>
#include <stdio.h>
#include <sys/stat.h>

#include "expect.h"

static char folder[64], path[96];
static Usage *usage;
static Msec now;

static int setup(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/unit-usage-XXXXXX");
    if (!mkdtemp(folder))
        return -1;
    snprintf(path, sizeof path, "%s/usage.db", folder);
    usage = usage_new(folder, (gid_t)-1);
    usage_run(usage, now = 1);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    usage_free(&usage);
    return folder_remove(folder);
}

/* As Dovecot's dict process does, over a connection of its own. */
static void raw(const char *sql)
{
    sqlite3 *db = NULL;

    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    if (sqlite3_exec(db, sql, NULL, NULL, NULL) != SQLITE_OK)
        fail_msg("%s: %s", sql, sqlite3_errmsg(db));
    sqlite3_close(db);
}

static void is(const char *name, uint64_t bytes, uint64_t messages)
{
    UsageOf of = {99, 99};

    assert_true(usage_of(usage, name, &of));
    assert_int_equal(of.bytes, bytes);
    assert_int_equal(of.messages, messages);
}

#define SET(name, bytes)                                                                                               \
    "INSERT INTO usage(bytes, messages, name) VALUES(" bytes ", 1, '" name "')"                                        \
    " ON CONFLICT(name) DO UPDATE SET bytes=" bytes ", messages=2"

static void what_moved_is_told_once(void **state)
{
    UsageOf of;

    (void)state;
    assert_null(usage_trouble(usage));
    assert_null(usage_moved(usage));
    raw(SET("alice", "10"));
    raw(SET("bob", "-5"));
    assert_false(usage_of(usage, "alice", &of)); /* nothing changes between two runs */
    usage_run(usage, ++now);
    is("alice", 10, 1);
    is("bob", 0, 1);
    assert_non_null(usage_moved(usage));
    assert_non_null(usage_moved(usage));
    assert_null(usage_moved(usage));
    raw(SET("alice", "20"));
    usage_run(usage, ++now);
    is("alice", 20, 2);
    assert_string_equal(usage_moved(usage), "alice");
    assert_null(usage_moved(usage));
    assert_false(usage_of(usage, "carol", &of));
}

static void begun_anew_when_it_does_not_read_back(void **state)
{
    struct stat st;

    (void)state;
    raw(SET("alice", "10"));
    usage_run(usage, ++now);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0660);
    usage_free(&usage);
    DEFER(xfree) char *wal = xasprintf("%s-wal", path);
    unlink(wal); /* it would mend it */
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs("no database, and longer than a header of SQLite, so that it is looked at and not taken for an empty one",
          file);
    fclose(file);
    usage = usage_new(folder, (gid_t)-1);
    usage_run(usage, now += 10000);
    assert_non_null(usage_trouble(usage));
    usage_run(usage, now += 10000);
    assert_null(usage_trouble(usage));
    raw(SET("alice", "30"));
    usage_run(usage, now += 10);
    is("alice", 30, 1);
}

static void another_file_is_noticed(void **state)
{
    (void)state;
    raw(SET("alice", "10"));
    usage_run(usage, ++now);
    unlink(path);
    usage_run(usage, now += 10);
    usage_run(usage, now += 10000);
    assert_null(usage_trouble(usage));
    is("alice", 10, 1); /* what was known stays */
    raw("UPDATE last SET turn=0");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_moved_is_told_once, setup, teardown),
        cmocka_unit_test_setup_teardown(begun_anew_when_it_does_not_read_back, setup, teardown),
        cmocka_unit_test_setup_teardown(another_file_is_noticed, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
