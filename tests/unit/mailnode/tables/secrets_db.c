#include "tables/secrets_db.h"

#include "base/alloc.h"
#include "base/path.h"
#include "tables/queries.h"

#include <sqlite3.h>
#include <stdio.h>
#include <sys/stat.h>

#include "expect.h"

static char folder[64], path[128];
static SecretsDb *db;

static int setup(void **state)
{
    bool empty = false;
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/unit-secrets-XXXXXX");
    if (!mkdtemp(folder))
        return -1;
    snprintf(path, sizeof path, "%s/secrets.db", folder);
    ok(secrets_db_open(folder, &db, &empty));
    assert_true(empty);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    secrets_db_free(&db);
    return folder_remove(folder);
}

static RelayRow rows[] = {
    {"d", (char *)"", (char *)"rn-may:[d]:25"},
    {"r", (char *)"b@example.com", (char *)"rn-may:[b]:25"},
    {"r", (char *)"example.com", (char *)"rr-may:[c]:25"},
    {"s", (char *)"a@x.example.org", (char *)"rn-may:[a]:25"},
    {"s", (char *)"@x.example.org", (char *)"rn-may:[x]:25"},
    {"s", (char *)"@.example.org", (char *)"rn-may:[o]:25"},
    {"s", (char *)"@.org", (char *)"rn-may:[f]:25"},
};
enum { N_ROWS = sizeof rows / sizeof *rows };
static RelayLogin logins[] = {{(char *)"[c]:25", (char *)"u:canary"}};

static size_t write_rows(size_t n_rows, size_t n_logins)
{
    size_t n = 0;
    ok(secrets_db_write(db, &(RelayRows){rows, logins, n_rows, n_logins}, &n));
    return n;
}

/* As Postfix would: %s, %u and %d put in, over a connection of its own. */
static char *asks(const char *query, const char *key)
{
    sqlite3 *reader = NULL;
    sqlite3_stmt *stmt = NULL;
    DEFER(buf_done) Buf text = {0};
    const char *at = strchr(key, '@');

    for (const char *c = query; *c; c++) {
        if (*c == '%' && c[1] == 's')
            buf_append_text(&text, key);
        else if (*c == '%' && c[1] == 'u')
            buf_append(&text, key, at ? (size_t)(at - key) : strlen(key));
        else if (*c == '%' && c[1] == 'd')
            buf_append_text(&text, at ? at + 1 : "");
        else {
            buf_append(&text, c, 1);
            continue;
        }
        c++;
    }
    assert_int_equal(sqlite3_open_v2(path, &reader, SQLITE_OPEN_READONLY, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(reader, buf_text(&text), -1, &stmt, NULL), SQLITE_OK);
    int code = sqlite3_step(stmt);
    char *answer = code == SQLITE_ROW    ? xstrdup((const char *)sqlite3_column_text(stmt, 0))
                   : code == SQLITE_DONE ? xstrdup("-")
                                         : xstrdup("fails");
    sqlite3_finalize(stmt);
    sqlite3_close(reader);
    return answer;
}

static void answers(const char *query, const char *key, const char *wanted)
{
    DEFER(xfree) char *answer = asks(query, key);
    if (strcmp(answer, wanted) != 0)
        fail_msg("%s: %s, wanted %s", key, answer, wanted);
}

static void what_postfix_asks(void **state)
{
    (void)state;
    assert_int_equal(write_rows(N_ROWS, 1), N_ROWS + 2);
    answers(QUERY_TRANSPORT, "example.com", "rr-may:[c]:25");
    answers(QUERY_TRANSPORT, "b@example.com", "rn-may:[b]:25");
    answers(QUERY_TRANSPORT, "x.example.com", "-");
    answers(QUERY_SENDER_TRANSPORT, "a@x.example.org", "rn-may:[a]:25");
    answers(QUERY_SENDER_TRANSPORT, "a+tag@x.example.org", "rn-may:[a]:25");
    answers(QUERY_SENDER_TRANSPORT, "b@x.example.org", "rn-may:[x]:25");
    answers(QUERY_SENDER_TRANSPORT, "b@y.example.org", "rn-may:[o]:25");
    answers(QUERY_SENDER_TRANSPORT, "b@z.y.example.org", "rn-may:[o]:25");
    answers(QUERY_SENDER_TRANSPORT, "b@example.org", "rn-may:[f]:25"); /* F-132: only what lies below */
    answers(QUERY_SENDER_TRANSPORT, "b@org", "-");
    answers(QUERY_SENDER_TRANSPORT, "b@badexample.org", "rn-may:[f]:25");
    answers(QUERY_SENDER_TRANSPORT, "", "-");
    answers(QUERY_SENDER_TRANSPORT, "b@elsewhere.net", "-");
    answers(QUERY_DEFAULT_RULE, "b@elsewhere.net", "rn-may:[d]:25");
    answers(QUERY_DEFAULT_RULE, "<>", "rn-may:[d]:25");
    answers(QUERY_RELAY_LOGIN, "[c]:25", "u:canary");
    answers(QUERY_RELAY_LOGIN, "c", "-");
    answers(QUERY_RELAY_LOGIN, "[a]:25", "fails"); /* later, and not without a login */
}

static void only_what_differs_is_written(void **state)
{
    struct stat st;
    (void)state;
    assert_int_equal(write_rows(N_ROWS, 1), N_ROWS + 2);
    assert_int_equal(write_rows(N_ROWS, 1), 0);
    rows[0].nexthop = (char *)"rn-may:[e]:25";
    assert_int_equal(write_rows(N_ROWS, 1), 2);
    rows[0].nexthop = (char *)"rn-may:[d]:25";
    assert_int_equal(write_rows(0, 0), N_ROWS + 1);
    answers(QUERY_DEFAULT_RULE, "b@elsewhere.net", "-");
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0640);
    DEFER(buf_done) Buf content = {0};
    ok(file_read(path, 1024 * 1024, &content));
    assert_null(memmem(content.data, content.size, "canary", 6)); /* it was in the WAL alone */
}

static void lost_and_damaged_files(void **state)
{
    bool empty = false;
    (void)state;
    write_rows(0, 0);
    secrets_db_free(&db);
    ok(secrets_db_open(folder, &db, &empty));
    assert_false(empty); /* no rule is a state, too */
    assert_int_equal(unlink(path), 0);
    fails(secrets_db_check(db), ERROR_DAMAGED, "secrets.db is not there any more");
    secrets_db_free(&db);
    ok(secrets_db_open(folder, &db, &empty));
    assert_true(empty);
    write_rows(N_ROWS, 1);
    secrets_db_free(&db);
    ok(file_write(path, "garbage", 7, 0640, (gid_t)-1));
    ok(secrets_db_open(folder, &db, &empty));
    assert_true(empty);
    write_rows(N_ROWS, 1);
    answers(QUERY_RELAY_LOGIN, "[c]:25", "u:canary");
}

/* The agent is no member of the group: what it makes anew inherits it. */
static void the_folders_group_is_the_files(void **state)
{
    struct stat st;
    bool empty = false;
    (void)state;
    assert_int_equal(chown(folder, (uid_t)-1, 12), 0);
    assert_int_equal(chmod(folder, 02750), 0);
    fails(secrets_db_check(db), ERROR_DAMAGED, "has not the group of its folder");
    secrets_db_free(&db);
    ok(secrets_db_open(folder, &db, &empty));
    assert_true(empty);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_gid, 12);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_postfix_asks),
        TEST(only_what_differs_is_written),
        TEST(lost_and_damaged_files),
        TEST(the_folders_group_is_the_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
