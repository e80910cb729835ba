#include "shares.h"

#include "base/alloc.h"

#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "expect.h"

static char folder[64];
static char path[96];

static int setup(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/unit-shares-XXXXXX");
    snprintf(path, sizeof path, "%s/shares.db", mkdtemp(folder) ? folder : "");
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    return folder_remove(folder);
}

/* As Dovecot's dict process does. */
static int raw(const char *sql)
{
    sqlite3 *db = NULL;

    assert_int_equal(sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE, NULL), SQLITE_OK);
    int code = sqlite3_exec(db, sql, NULL, NULL, NULL);
    int rows = sqlite3_changes(db);
    sqlite3_close(db);
    return code == SQLITE_OK ? rows : -1;
}

#define SHARE                                                                                                          \
    "INSERT INTO shared_user(to_name, from_user, there) VALUES('bob', 'alice', '1')"                                   \
    " ON CONFLICT(to_name, from_user) DO UPDATE SET there='1'"

static void what_is_right_is_left_alone(void **state)
{
    struct stat st;

    (void)state;
    ok(shares_make(folder, (gid_t)-1));
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0660);
    assert_int_equal(raw(SHARE), 1);
    ok(shares_make(folder, (gid_t)-1));
    assert_int_equal(raw("UPDATE shared_user SET there='2'"), 1);
    assert_int_equal(raw("SELECT 1 FROM shared_group, shared_anyone"), 0);
}

static void what_does_not_read_back_is_begun_anew(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++) {
        ok(shares_make(folder, (gid_t)-1));
        assert_int_equal(raw(SHARE), 1);
        switch (i) {
        case 0:
            assert_int_equal(raw("DROP TABLE shared_group"), 0);
            break;
        case 1:
            assert_int_equal(raw("PRAGMA user_version=7"), 0);
            break;
        case 2:
            unlink(path);
            assert_int_equal(symlink("/dev/null", path), 0);
            break;
        default: {
            DEFER(xfree) char *wal = xasprintf("%s-wal", path);
            unlink(wal);
            FILE *file = fopen(path, "w");
            assert_non_null(file);
            fputs("no database, and longer than a header of SQLite, so that it is looked at, not taken for an empty "
                  "one",
                  file);
            fclose(file);
        }
        }
        ok(shares_make(folder, (gid_t)-1));
        assert_int_equal(raw("DELETE FROM shared_user"), 0);
    }
}

/* Everybody can share with as many as he likes. */
static void many_rows_cost_nothing(void **state)
{
    (void)state;
    ok(shares_make(folder, (gid_t)-1));
    assert_int_equal(raw("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000)"
                         " INSERT INTO shared_user SELECT 'to' || i, 'alice', '1' FROM n;"
                         "INSERT INTO shared_group SELECT * FROM shared_user"),
                     100000);
    alarm(30); /* its pairs are ten thousand million */
    ok(shares_make(folder, (gid_t)-1));
    alarm(0);
    assert_int_equal(raw("DELETE FROM shared_user WHERE to_name <> 'to1'"), 99999);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_is_right_is_left_alone, setup, teardown),
        cmocka_unit_test_setup_teardown(what_does_not_read_back_is_begun_anew, setup, teardown),
        cmocka_unit_test_setup_teardown(many_rows_cost_nothing, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
