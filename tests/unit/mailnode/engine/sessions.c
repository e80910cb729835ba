#include "engine/sessions.h"

#include "expect.h"

#include <sqlite3.h>
#include <stdio.h>

static char folder[] = "/tmp/sessions.XXXXXX";
static char path[64];

static void fill(const char *rows)
{
    sqlite3 *db = NULL;
    char *words = NULL;

    unlink(path);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    if (sqlite3_exec(db,
                     "CREATE TABLE gate(one INTEGER PRIMARY KEY, known TEXT, rest TEXT);"
                     "CREATE TABLE userdb(name TEXT PRIMARY KEY, login INTEGER NOT NULL) WITHOUT ROWID;",
                     NULL, NULL, &words) != SQLITE_OK ||
        sqlite3_exec(db, rows, NULL, NULL, &words) != SQLITE_OK)
        fail_msg("%s", words);
    sqlite3_close(db);
}

static int setup(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/sessions.XXXXXX");
    if (!mkdtemp(folder))
        return -1;
    snprintf(path, sizeof path, "%s/mail.db", folder);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    return folder_remove(folder);
}

static void collect(void *context, pid_t pid)
{
    char *list = context;
    size_t len = strlen(list);

    snprintf(list + len, 200 - len, "%ld ", (long)pid);
}

static const char head[] = "username\tproto\tpid\tip\n";
static const char three[] = "alice\timap\t11\t127.0.0.1\nbob\tpop3\t12\t::1\ncarol\tsieve\t13\t::1\n";
#define OPEN "INSERT INTO gate VALUES(1, NULL, NULL);"
#define USERS "INSERT INTO userdb VALUES('alice', 1), ('bob', 0);"

static void those_who_may_not_log_in_are_named(void **state)
{
    static const struct {
        const char *row, *tables, *who, *users[3];
        const char *pids;
    } rows[] = {
        {"closed and unknown", OPEN USERS, three, {NULL}, "12 13 "},
        {"only these", OPEN USERS, three, {"alice", "bob"}, "12 "},
        {"nobody of these", OPEN USERS, three, {"alice", "zoe"}, ""},
        {"tables not complete: unknown says nothing", USERS, three, {NULL}, "12 "},
        {"gate closed by a verdict", "INSERT INTO gate VALUES(1, '451', NULL);" USERS, three, {NULL}, "12 "},
        {"tables lost", "", three, {NULL}, ""},
        {"no session", OPEN USERS, "", {NULL}, ""},
        {"deliveries are none", OPEN, "carol\tlmtp\t14\t\ncarol\tdoveadm\t15\t\n", {NULL}, ""},
        {"several of one user", OPEN, "carol\timap\t14\t::1\ncarol\timap\t15\t::1\n", {NULL}, "14 15 "},
        {"odd names", OPEN, "*\timap\t14\t::1\n10.0.0.1\timap\t15\t::1\na b\timap\t16\t::1\n", {NULL}, "14 15 16 "},
        {"no pid", OPEN, "carol\timap\n\n\t\t\ncarol\timap\t\t\ncarol\timap\t-5\t\ncarol\timap\t1\t\n", {NULL}, ""},
        {"no number", OPEN, "carol\timap\t14x\t\ncarol\timap\t99999999999999\t\ncarol\timap\t014\t\n", {NULL}, ""},
        {"quotes", OPEN USERS, "' OR 1=1 --\timap\t14\t\n", {NULL}, "14 "},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        DEFER(buf_done) Buf who = {0};
        char pids[200] = "";
        SessionsOf of = {.users = rows[i].users};
        while (of.n < 3 && rows[i].users[of.n])
            of.n++;
        fill(rows[i].tables);
        buf_append_text(&who, head);
        buf_append_text(&who, rows[i].who);
        ok(sessions_closed(&who, path, &of, collect, pids));
        if (strcmp(pids, rows[i].pids) != 0)
            fail_msg("%s: '%s', wanted '%s'", rows[i].row, pids, rows[i].pids);
    }
}

static void without_tables_nobody_is_named(void **state)
{
    DEFER(buf_done) Buf who = {0};
    char pids[200] = "";
    const SessionsOf everybody = {0};
    (void)state;
    unlink(path);
    buf_append_text(&who, three);
    fails(sessions_closed(&who, path, &everybody, collect, pids), ERROR_UNAVAILABLE, "mail.db: unable to open");
    assert_string_equal(pids, "");

    FILE *file = fopen(path, "w");
    fputs("no database at all, but long enough to look like the first page of one ..............................",
          file);
    fclose(file);
    fails(sessions_closed(&who, path, &everybody, collect, pids), ERROR_UNAVAILABLE, "mail.db: file is not a database");
    assert_string_equal(pids, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(those_who_may_not_log_in_are_named, setup, teardown),
        cmocka_unit_test_setup_teardown(without_tables_nobody_is_named, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
