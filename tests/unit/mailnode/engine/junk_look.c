/* Whose junk folder is worth a look by doveadm. */
#include "engine/junk.h"

#include "base/alloc.h"
#include "base/path.h"
#include "sql.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

enum { DAY = 86400 };

static char root[] = "/tmp/junk.XXXXXX";
static char mail_db[64], mail[64];
static time_t now_s;

static int setup(void **state)
{
    (void)state;
    now_s = time(NULL);
    snprintf(root, sizeof root, "/tmp/junk.XXXXXX");
    if (!mkdtemp(root))
        return -1;
    snprintf(mail_db, sizeof mail_db, "%s/mail.db", root);
    snprintf(mail, sizeof mail, "%s/mail", root);
    sql_run(mail_db, "CREATE TABLE userdb(name TEXT PRIMARY KEY, spam_retention INTEGER) WITHOUT ROWID;"
                     "CREATE TABLE policy(spam_retention INTEGER);"
                     "INSERT INTO policy VALUES(15 * 86400);");
    return mkdir(mail, 0700);
}

static int teardown(void **state)
{
    (void)state;
    return folder_remove(root);
}

/* In the user's junk folder, by a name of so many days ago. */
static void put(const char *user, const char *folder, const char *part, int days)
{
    const char *const levels[] = {user, "Maildir", folder, part};
    Buf path = {0};

    buf_append_text(&path, mail);
    for (size_t i = 0; i < sizeof levels / sizeof *levels; i++) {
        buf_printf(&path, "/%s", levels[i]);
        mkdir(buf_text(&path), 0700);
    }
    DEFER(xfree)
    char *file = xasprintf("%s/%lld.M1P1.host,S=1:2,", buf_text(&path), (long long)now_s - (long long)days * DAY);
    buf_done(&path);
    ok(file_write(file, "x", 1, 0600, (gid_t)-1));
}

static void found(void *context, const char *user, uint64_t retention_s)
{
    char *to = context;
    size_t at = strlen(to);

    snprintf(to + at, 4096 - at, "%s%s:%u", at ? " " : "", user, (unsigned)(retention_s / DAY));
}

static void are(const char *junk_folder, const char *after, const char *wanted)
{
    char said[4096] = "";

    ok(junk_look(mail_db, mail, junk_folder, after, (uint64_t)now_s, found, said));
    assert_string_equal(said, wanted);
}

static void test_by_their_own_days(void **state)
{
    (void)state;
    sql_run(
        mail_db,
        "INSERT INTO userdb VALUES('amy', NULL), ('ben', 3 * 86400), ('cat', 0), ('dan', NULL), ('eve', NULL), ('fox', NULL);");
    put("amy", ".Junk", "cur", 16);
    put("ben", ".Junk", "new", 4);
    put("fox", ".Junk", "cur", 14);
    put("cat", ".Junk", "cur", 4000); /* off */
    put("eve", ".Sent", "cur", 4000); /* another folder; dan has none */
    are("Junk", "", "amy:15 ben:3");
    are("Junk", "amy", "ben:3");
    are("Junk", "ben", "");
    are("Sent", "", "eve:15");
    sql_run(mail_db, "UPDATE policy SET spam_retention = 0");
    are("Junk", "", "ben:3");
}

static void test_names_of_folders(void **state)
{
    (void)state;
    sql_run(mail_db, "INSERT INTO userdb VALUES('amy', NULL), ('..', NULL), ('a/b', NULL);");
    put("amy", ".Spam.Gel&APY-scht", "cur", 16);
    are("Spam/Gel\xc3\xb6scht", "", "amy:15");
    are("Spam", "", "");
}

static void test_a_piece_at_a_time(void **state)
{
    char said[4096] = "";
    (void)state;

    for (int i = 0; i < JUNK_FOUND_MAX + 1; i++) {
        DEFER(xfree) char *name = xasprintf("u%03d", i);
        DEFER(xfree) char *row = xasprintf("INSERT INTO userdb VALUES('%s', NULL)", name);
        sql_run(mail_db, row);
        put(name, ".Junk", "cur", 16);
    }
    ok(junk_look(mail_db, mail, "Junk", "", (uint64_t)now_s, found, said));
    assert_non_null(strstr(said, "u199:15"));
    assert_null(strstr(said, "u200"));
    are("Junk", "u199", "u200:15");
}

static void test_no_tables(void **state)
{
    char said[16] = "";
    (void)state;

    fails(junk_look("/nonexistent/mail.db", mail, "Junk", "", (uint64_t)now_s, found, said), ERROR_UNAVAILABLE,
          "mail.db");
}

#define TEST(NAME) cmocka_unit_test_setup_teardown(NAME, setup, teardown)
int main(void)
{
    const struct CMUnitTest tests[] = {TEST(test_by_their_own_days), TEST(test_names_of_folders),
                                       TEST(test_a_piece_at_a_time), TEST(test_no_tables)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
