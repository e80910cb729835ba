#include "tables/rows.h"

#include "base/alloc.h"
#include "tables/file.h"
#include "tables/sql.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "expect.h"

static sqlite3 *db;
static RowWriter writer;
static Rows rows;
static Settle settle;

static int setup(void **state)
{
    (void)state;
    if (sqlite3_open(":memory:", &db) != SQLITE_OK)
        return -1;
    ok(sql_exec(db, tables_schema));
    writer = (RowWriter){.db = db};
    settle = (Settle){0};
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    rows_done(&rows);
    row_writer_done(&writer);
    free(settle.example);
    sqlite3_close(db);
    return 0;
}

static void add(const char *a, const char *b, const char *c, const char *d, const char *e)
{
    rows_add(&rows, (const char *const[]){a, b, c, d, e, NULL});
}

/* How many rows differ. */
static size_t settled(const char *first, const char *second)
{
    size_t before = settle.n_rows;

    ok(rows_settle(&writer, &rows, first, second, &settle));
    rows_clear(&rows);
    return settle.n_rows - before;
}

static int concat(void *text, int n, char **cells, char **names)
{
    (void)names;
    for (int i = 0; i < n; i++)
        sprintf((char *)text + strlen(text), "%s%c", cells[i] ? cells[i] : "-", i + 1 < n ? ' ' : ';');
    return 0;
}

static void holds(const char *table, const char *wanted)
{
    DEFER(xfree) char *sql = xasprintf("SELECT * FROM %s ORDER BY 1, 2", table);
    char text[4096] = "";

    assert_int_equal(sqlite3_exec(db, sql, concat, text, NULL), SQLITE_OK);
    assert_string_equal(text, wanted);
}

static void only_differences_are_written(void **state)
{
    (void)state;
    rows_init(&rows, ROWS_EDGE);
    add("u:a", "l:x", NULL, NULL, NULL);
    add("u:a", "d:y", NULL, NULL, NULL);
    add("u:a", "l:x", NULL, NULL, NULL); /* the second is left out */
    assert_int_equal(settled("u:a", NULL), 2);
    assert_int_equal(settle.n_there[ROWS_EDGE], 2);
    holds("edge", "u:a d:y;u:a l:x;");
    assert_string_equal(settle.example, "table edge: row u:a, d:y is missing");

    add("u:a", "l:x", NULL, NULL, NULL);
    add("u:a", "l:z", NULL, NULL, NULL);
    assert_int_equal(settled("u:a", NULL), 2);
    holds("edge", "u:a l:x;u:a l:z;");
    add("u:a", "l:z", NULL, NULL, NULL);
    add("u:a", "l:x", NULL, NULL, NULL);
    assert_int_equal(settled("u:a", NULL), 0);
    add("u:b", "l:x", NULL, NULL, NULL);
    assert_int_equal(settled("u:b", NULL), 1); /* others are not looked at */
    assert_int_equal(settled("u:a", NULL), 2);
    holds("edge", "u:b l:x;");
}

static void told(void **state)
{
    static const struct {
        const char *spoil, *wanted;
    } cases[] = {
        {"DELETE FROM userdb", "table userdb: row alice is missing"},
        {"UPDATE userdb SET quota=NULL", "table userdb: row alice has other content"},
        {"UPDATE userdb SET acl_groups='x'", "table userdb: row alice has other content"},
        {"UPDATE userdb SET quota=6", "table userdb: row alice has other content"},
    };
    Names users = {0};

    (void)state;
    rows_init(&rows, ROWS_USERDB);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        rows_add(&rows, (const char *const[]){"alice", "uuid", "1", "5", NULL, NULL});
        settled("alice", NULL);
        ok(sql_exec(db, cases[i].spoil));
        xfree(&settle.example);
        settle.users = &users;
        settle.users_max = 1;
        rows_add(&rows, (const char *const[]){"alice", "uuid", "1", "5", NULL, NULL});
        assert_int_equal(settled("alice", NULL), 1);
        assert_string_equal(settle.example, cases[i].wanted);
        holds("userdb", "alice uuid 1 5 - -;");
        rows_add(&rows, (const char *const[]){"bob", "uuid", "1", "5", NULL, NULL});
        settled("bob", NULL);
        assert_int_equal(names_count(&users), 1); /* up to users_max */
        settled("bob", NULL);
        names_done(&users);
        settle.users = NULL;
    }
    xfree(&settle.example);
    settled("alice", NULL);
    assert_string_equal(settle.example, "table userdb: row alice should not be there");
}

/* The row of a domain and those of the classes are settled apart. */
static void scopes(void **state)
{
    (void)state;
    rows_init(&rows, ROWS_RCPT);
    add("info", "example.org", "OK", "a@u.internal", NULL);
    assert_int_equal(settled("info", "example.org"), 1);
    add("info", "-u", "OK", "b@u.internal", "b");
    add("info", "-ug", "OK", "b@u.internal", "b");
    assert_int_equal(settled("info", NULL), 2);
    holds("rcpt", "info -u OK b@u.internal b;info -ug OK b@u.internal b;info example.org OK a@u.internal -;");
    assert_int_equal(settled("info", NULL), 2);
    holds("rcpt", "info example.org OK a@u.internal -;");
    assert_int_equal(settled("info", "example.net"), 0);
    assert_int_equal(settled("info", "example.org"), 1);
    holds("rcpt", "");
}

static void buckets_go_with_their_key(void **state)
{
    (void)state;
    rows_init(&rows, ROWS_EXPAND);
    add("g=all", "g=all==0.0@x.internal", NULL, NULL, NULL);
    add("g=all==0.0", "a@u.internal", NULL, NULL, NULL);
    assert_int_equal(settled("g=all", NULL), 2);
    add("g=all2", "b@u.internal", NULL, NULL, NULL);
    assert_int_equal(settled("g=all2", NULL), 1);
    add("g=all", "a@u.internal", NULL, NULL, NULL);
    assert_int_equal(settled("g=all", NULL), 3);
    holds("expand", "g=all a@u.internal;g=all2 b@u.internal;");
}

static void keys_in_batches(void **state)
{
    DEFER(rows_done) Rows keys = {0};
    char name[8];

    (void)state;
    rows_init(&rows, ROWS_EDGE);
    for (int i = 0; i < 5; i++) {
        snprintf(name, sizeof name, "l:%d", i);
        add("u:a", name, NULL, NULL, NULL);
    }
    settled("u:a", NULL);
    rows_init(&keys, ROWS_EDGE);
    ok(rows_keys(&writer, ROWS_EDGE, "", "", 3, &keys));
    assert_int_equal(keys.n_rows, 3);
    ok(rows_keys(&writer, ROWS_EDGE, "u:a", "l:2", 3, &keys));
    assert_int_equal(keys.n_rows, 5);
    assert_string_equal(rows_at(&keys, 3)[0], "u:a");
    assert_string_equal(rows_at(&keys, 3)[1], "l:3");
}

/* Long texts, and many: more than one block of memory. */
static void large(void **state)
{
    DEFER(xfree) char *text = xmalloc(300001);
    char name[16];

    (void)state;
    memset(text, 'x', 300000);
    text[300000] = '\0';
    rows_init(&rows, ROWS_EXPAND);
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < 5000; i++) {
            snprintf(name, sizeof name, "t%d", i * 7919 % 5000);
            add("k", name, NULL, NULL, NULL);
        }
        add("k", text, NULL, NULL, NULL);
        assert_int_equal(settled("k", NULL), round ? 0 : 5001);
    }
}

static void errors_are_told(void **state)
{
    (void)state;
    rows_init(&rows, ROWS_LOGIN);
    ok(sql_exec(db, "DROP TABLE login"));
    Error *err = rows_settle(&writer, &rows, "x", NULL, &settle);
    assert_non_null(err);
    assert_int_equal(err->code, ERROR_SYSTEM);
    assert_string_equal(err->what, "mail.db: no such table: login");
    error_free(&err);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(only_differences_are_written),
        TEST(told),
        TEST(scopes),
        TEST(buckets_go_with_their_key),
        TEST(keys_in_batches),
        TEST(large),
        TEST(errors_are_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
