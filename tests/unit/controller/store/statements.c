/* No statement walks through what grows with the system, but those that must. */
#include "fixture.h"

#include "store/statements.h"

static const SqlId walks[] = {SQL_N_OBJECTS, SQL_SUMS, SQL_SCOPES, SQL_FORGET_PAST, SQL_HEAD, SQL_TASKS, SQL_KEYS};

static bool may_walk(int id)
{
    for (size_t i = 0; i < sizeof walks / sizeof *walks; i++)
        if ((int)walks[i] == id)
            return true;
    return false;
}

/* Lists of a whole kind are asked for by kind alone. */
static bool plan_is_poor(int id, const char *step)
{
    static const char *const tables[] = {"SCAN object", "SCAN past",        "SCAN revision", "SCAN touched",
                                         "SCAN scope",  "SCAN event",       "SCAN task",     "SCAN node_key",
                                         "SCAN token",  "SCAN happening",   "SCAN o",        "SCAN p",
                                         "SCAN t",      "SCAN subscription"};

    for (size_t i = 0; i < sizeof tables / sizeof *tables; i++) {
        size_t len = strlen(tables[i]);
        if (strncmp(step, tables[i], len) == 0 && (step[len] == '\0' || step[len] == ' '))
            return true;
    }
    return id != SQL_OF_KIND && (strstr(step, "USING PRIMARY KEY (kind=?)") || strstr(step, "object_domain (kind=?)"));
}

static void test_every_plan(void **state)
{
    sqlite3 *db = NULL;
    (void)state;

    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    for (int id = SQL_GET; id < N_SQL; id++) {
        DEFER(xfree) char *text = xasprintf("EXPLAIN QUERY PLAN %s", statements[id]);
        sqlite3_stmt *stmt = NULL;
        assert_int_equal(sqlite3_prepare_v2(db, text, -1, &stmt, NULL), SQLITE_OK);
        while (sqlite3_step(stmt) == SQLITE_ROW) {
            const char *step = (const char *)sqlite3_column_text(stmt, 3);
            if (!may_walk(id) && plan_is_poor(id, step))
                fail_msg("%s\n%s", step, statements[id]);
        }
        sqlite3_finalize(stmt);
    }
    sqlite3_close(db);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_every_plan, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
