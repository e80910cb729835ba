#include "accounts/file.h"
#include "accounts/accounts.h"

#include "base/path.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static char file[64];

static int setup(void **state)
{
    (void)state;
    snprintf(file, sizeof file, "/tmp/unit-accounts-%d.json", (int)getpid());
    unlink(file);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    unlink(file);
    return 0;
}

static void put(const char *text)
{
    Error *err = file_write(file, text, strlen(text), 0600, (gid_t)-1);
    if (err)
        fail_msg("%s", err->what);
}

#define ALICE "{\"uuid\": \"1\", \"name\": \"alice\"}"

static const struct {
    const char *text;
    const char *error; /* NULL: good */
    size_t users, groups;
} cases[] = {
    {"{}", NULL, 0, 0},
    {"{\"users\": [" ALICE "]}", NULL, 1, 0},
    {"{\"users\": [" ALICE
     "], \"groups\": [{\"uuid\": \"2\", \"name\": \"g\", \"users\": [\"alice\"], \"groups\": []}]}",
     NULL, 1, 1},
    {"{\"users\": [{\"uuid\": \"1\", \"name\": \"a\", \"full_name\": \"A\", \"enabled\": false}]}", NULL, 1, 0},
    {"", "line 1: '[' or '{' expected", 0, 0},
    {"[]", "write an object", 0, 0},
    {"{\"users\": [", "line 1: ", 0, 0},
    {"{} x", "end of file expected", 0, 0},
    {"{\"people\": []}", "key 'people' is not known", 0, 0},
    {"{\"users\": {}}", "users is no list", 0, 0},
    {"{\"users\": [7]}", "users[0]: write an object", 0, 0},
    {"{\"users\": [" ALICE ", {\"uuid\": \"2\"}]}", "users[1]: name is missing", 0, 0},
    {"{\"users\": [{\"name\": \"a\"}]}", "users[0]: uuid is missing", 0, 0},
    {"{\"users\": [{\"uuid\": \"1\", \"name\": \"\"}]}", "users[0]: name is empty", 0, 0},
    {"{\"users\": [{\"uuid\": 1, \"name\": \"a\"}]}", "users[0]: uuid is no text", 0, 0},
    {"{\"users\": [{\"uuid\": \"1\", \"name\": \"a\", \"enabled\": \"no\"}]}", "enabled is neither true nor false", 0,
     0},
    {"{\"users\": [{\"uuid\": \"1\", \"name\": \"a\", \"nmae\": \"b\"}]}", "key 'nmae' is not known", 0, 0},
    {"{\"users\": [{\"uuid\": \"1\", \"name\": \"a\", \"name\": \"b\"}]}", "line 1: duplicate object key", 0, 0},
    {"{\"users\": [" ALICE ", " ALICE "]}", "users[1]: uuid 1 is there twice", 0, 0},
    {"{\"groups\": [{\"uuid\": \"2\", \"name\": \"g\", \"users\": [7]}]}", "groups[0]: users[0] is no name", 0, 0},
    {"{\"groups\": [{\"uuid\": \"2\", \"name\": \"g\", \"groups\": \"x\"}]}", "groups[0]: groups is no list", 0, 0},
};

static void reads_or_says_why_not(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        DEFER(account_set_free) AccountSet *set = NULL;
        put(cases[i].text);
        Error *err = account_set_read(file, &set);
        if (!cases[i].error && err)
            fail_msg("%s\n%s", cases[i].text, err->what);
        if (cases[i].error && (!err || err->code != ERROR_INVALID || !strstr(err->what, cases[i].error)))
            fail_msg("%s\nsays: %s\nwanted: %s", cases[i].text, err ? err->what : "nothing", cases[i].error);
        if (!err) {
            assert_int_equal(account_set_users(set), cases[i].users);
            assert_int_equal(account_set_groups(set), cases[i].groups);
        }
        error_free(&err);
    }
}

/* ---- stand-in tables ---- */

static size_t n_users, n_groups;

Error *tables_accounts_begin(Tables *tables)
{
    (void)tables;
    n_users = n_groups = 0;
    return NULL;
}

Error *tables_account_user(Tables *tables, const AccountUser *user)
{
    (void)tables;
    (void)user;
    n_users++;
    return NULL;
}

Error *tables_account_group(Tables *tables, const AccountGroup *group)
{
    (void)tables;
    (void)group;
    n_groups++;
    return NULL;
}

Error *tables_account_user_gone(Tables *tables, const char *uuid)
{
    (void)tables;
    (void)uuid;
    return NULL;
}

Error *tables_account_group_gone(Tables *tables, const char *uuid)
{
    (void)tables;
    (void)uuid;
    return NULL;
}

Error *tables_accounts_end(Tables *tables)
{
    (void)tables;
    return NULL;
}

Error *tables_accounts_mark(Tables *tables)
{
    (void)tables;
    return NULL;
}

Error *tables_accounts_back(Tables *tables)
{
    (void)tables;
    return NULL;
}

void tables_accounts_count(const Tables *tables, size_t *ret_users, size_t *ret_groups)
{
    (void)tables;
    *ret_users = n_users;
    if (ret_groups)
        *ret_groups = n_groups;
}

Error *tables_directory_away(Tables *tables, bool away)
{
    (void)tables;
    (void)away;
    return NULL;
}

Error *tables_user_uuid(Tables *tables, const char *name, char **ret_uuid)
{
    (void)tables;
    (void)name;
    *ret_uuid = NULL;
    return NULL;
}

Error *tables_touch_user(Tables *tables, const char *name)
{
    (void)tables;
    (void)name;
    return NULL;
}

static void write_out(Accounts *accounts)
{
    Error *err = accounts_write(accounts, NULL);

    assert_null(err);
    accounts_written(accounts, NULL);
}

static void assert_state(Accounts *accounts, Mail__FactState wanted, const char *words)
{
    const char *text = NULL;
    Msec seen_at = 0;
    Mail__FactState got = accounts_state(accounts, &text, 1, &seen_at);
    if (got != wanted || !strstr(text, words))
        fail_msg("state %d: %s; wanted %d: %s", got, text, wanted, words);
}

static void follows_the_file(void **state)
{
    (void)state;
    DEFER(accounts_free) Accounts *accounts = accounts_new(file);
    Msec now = 1000;

    accounts_run(accounts, now);
    assert_false(accounts_pending(accounts)); /* no file: nothing is known, the gate stays closed */
    assert_state(accounts, MAIL__FACT_STATE__UNKNOWN, "none have come yet");

    put("{\"users\": [" ALICE "]}");
    accounts_run(accounts, now + 1);
    assert_false(accounts_pending(accounts)); /* not looked yet */
    accounts_run(accounts, now += ACCOUNTS_LOOK_MS);
    assert_true(accounts_pending(accounts));
    write_out(accounts);
    assert_false(accounts_pending(accounts));
    assert_state(accounts, MAIL__FACT_STATE__GOOD, "1 users, 0 groups");

    accounts_run(accounts, now += ACCOUNTS_LOOK_MS);
    assert_false(accounts_pending(accounts)); /* unchanged */

    put("{\"users\": [");
    accounts_run(accounts, now += ACCOUNTS_LOOK_MS);
    assert_false(accounts_pending(accounts)); /* rows stay */
    assert_state(accounts, MAIL__FACT_STATE__BAD, "line 1");

    put("{}");
    accounts_run(accounts, now += ACCOUNTS_LOOK_MS);
    assert_true(accounts_pending(accounts));
    write_out(accounts);
    assert_state(accounts, MAIL__FACT_STATE__GOOD, "0 users");

    unlink(file);
    accounts_run(accounts, now += ACCOUNTS_LOOK_MS);
    assert_false(accounts_pending(accounts)); /* a file that vanished empties nothing */

    put("{\"users\": [" ALICE "]}");
    accounts_run(accounts, now += ACCOUNTS_LOOK_MS);
    write_out(accounts);
    accounts_again(accounts);
    accounts_run(accounts, now + 1);
    assert_true(accounts_pending(accounts));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(reads_or_says_why_not, setup, teardown),
        cmocka_unit_test_setup_teardown(follows_the_file, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
