#include "engine/publish.h"

#include "base/alloc.h"
#include "base/path.h"
#include "sql.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

static char folder[] = "/tmp/publish.XXXXXX";
static char path[64], store[64];

static int setup(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/publish.XXXXXX");
    if (!mkdtemp(folder))
        return -1;
    snprintf(path, sizeof path, "%s/mail.db", folder);
    snprintf(store, sizeof store, "%s/public", folder);
    sql_run(path, "CREATE TABLE gate(one INTEGER PRIMARY KEY, known TEXT, rest TEXT);"
                  "CREATE TABLE public(name TEXT PRIMARY KEY, key TEXT, folder TEXT, acl TEXT) WITHOUT ROWID;"
                  "CREATE TABLE policy(one INTEGER PRIMARY KEY, creators TEXT NOT NULL);"
                  "INSERT INTO policy VALUES(1, '');"
                  "INSERT INTO gate VALUES(1, NULL, NULL);");
    return mkdir(store, 0700);
}

static int teardown(void **state)
{
    (void)state;
    return folder_remove(folder);
}

static void file_is(const char *name, const char *wanted)
{
    DEFER(buf_done) Buf text = {0};
    DEFER(xfree) char *file = xasprintf("%s/%s", store, name);

    Error *err = file_read(file, 4096, &text);
    if (wanted ? err != NULL : !err)
        fail_msg("%s: %s", name, err ? err->what : "is there");
    error_free(&err);
    if (wanted)
        assert_string_equal(buf_text(&text), wanted);
}

static void file_put(const char *name, const char *text)
{
    DEFER(xfree) char *file = xasprintf("%s/%s", store, name);

    ok(file_write(file, text, strlen(text), 0600, (gid_t)-1));
}

static void folders_and_rights(void **state)
{
    (void)state;
    sql_run(path, "INSERT INTO public VALUES('Sales','k','.Sales','\"user=a\" lr'||char(10)), ('A/B','l','.A.B','')");
    ok(publish(path, store));
    file_is(".Sales/dovecot-acl", "\"user=a\" lr\n");
    file_is(".Sales/maildirfolder", "");
    file_is(".A.B/dovecot-acl", "");
    sql_run(path, "UPDATE public SET acl='anyone l'||char(10) WHERE name='Sales'; DELETE FROM public WHERE name='A/B'");
    ok(publish(path, store));
    file_is(".Sales/dovecot-acl", "anyone l\n");
    file_is(".A.B/dovecot-acl", "");
    file_is(".A.B/maildirfolder", ""); /* its mail stays */
}

/* What owners do by IMAP is theirs, until something else is stated. */
static void what_owners_did_stays(void **state)
{
    DEFER(xfree) char *from = xasprintf("%s/.Old", store), *to = xasprintf("%s/.New", store);

    (void)state;
    sql_run(
        path,
        "INSERT INTO public VALUES('Sales','k','.Sales','anyone l'||char(10)), ('Old','l','.Old','anyone r'||char(10))");
    ok(publish(path, store));
    file_put(".Sales/dovecot-acl", "anyone lr\n");
    assert_int_equal(rename(from, to), 0);
    ok(publish(path, store));
    file_is(".Sales/dovecot-acl", "anyone lr\n");
    file_is(".New/dovecot-acl", "anyone r\n");
    file_is(".Old/dovecot-acl", "anyone r\n"); /* stated all the same */
    sql_run(path, "UPDATE public SET acl='anyone ls'||char(10) WHERE name='Sales'");
    ok(publish(path, store));
    file_is(".Sales/dovecot-acl", "anyone ls\n");
    file_is(".New/dovecot-acl", "anyone r\n");
}

/* While somebody may make mailboxes, every list says that anyone else has no right; what owners did stays. */
static void creators(void **state)
{
    DEFER(xfree) char *old = xasprintf("%s/.Old", store);
    const struct timespec long_ago[2] = {{.tv_sec = 1000}, {.tv_sec = 1000}};

    (void)state;
    sql_run(path,
            "INSERT INTO public VALUES('Sales','k','.Sales','\"user=a\" lr'||char(10)), ('All','l','.All','anyone "
            "lr'||char(10)), ('None','m','.None','');");
    assert_int_equal(mkdir(old, 0700), 0); /* of a time without lists */
    assert_int_equal(utimensat(AT_FDCWD, old, long_ago, 0), 0);
    ok(publish(path, store));
    file_is("dovecot-acl", NULL);
    file_is(".Sales/dovecot-acl", "\"user=a\" lr\n");
    file_put(".Sales/dovecot-acl", "user=a lr\nuser=b l\n");
    sql_run(path, "UPDATE policy SET creators='\"user=c\" lrk'||char(10)");
    ok(publish(path, store));
    file_is("dovecot-acl", "\"user=c\" lrk\n");
    file_is(".Sales/dovecot-acl", "user=a lr\nuser=b l\nanyone\n");
    file_is(".All/dovecot-acl", "anyone lr\n");
    file_is(".None/dovecot-acl", "anyone\n");
    file_is(".Old/dovecot-acl", "anyone\n");
    DEFER(xfree) char *much = xcalloc(1, 2 * 1024 * 1024); /* by somebody with much time; and what is no folder */
    memset(much, 'x', 2 * 1024 * 1024 - 1);
    file_put(".Old/dovecot-acl", much);
    file_put(".file", "");
    ok(publish(path, store));
    file_is(".Old/dovecot-acl", "anyone\n");
    sql_run(path, "DELETE FROM public WHERE name='Sales'");
    ok(publish(path, store));
    file_is(".Sales/dovecot-acl", "anyone\n");
    sql_run(path, "UPDATE policy SET creators=''");
    ok(publish(path, store));
    file_is("dovecot-acl", NULL);
    file_is(".None/dovecot-acl", "");
    file_is(".All/dovecot-acl", "anyone lr\n");
}

/* Whoever writes mail.db names no other place. */
static void hostile_folders(void **state)
{
    static const char *const names[] = {"", ".", "..", "x", "../x", ".a/b", ".a..b", ".a.", ".a\x01", ".\xc3\xa4"};

    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        DEFER(xfree)
        char *text = xasprintf("DELETE FROM public; INSERT INTO public VALUES('x','k','%s','anyone l')", names[i]);
        sql_run(path, text);
        fails(publish(path, store), ERROR_INVALID, "has no name for a folder");
    }
    sql_run(path, "DELETE FROM public; INSERT INTO public VALUES('x','k',NULL,'anyone l')");
    fails(publish(path, store), ERROR_INVALID, "has no name for a folder");
    assert_int_equal(rmdir(store), 0); /* nothing came of it */
}

/* An empty mail.db, before the first commit, takes nothing from anybody. */
static void nothing_is_known(void **state)
{
    (void)state;
    sql_run(path, "INSERT INTO public VALUES('Sales','k','.Sales','anyone l'||char(10))");
    ok(publish(path, store));
    sql_run(path, "DELETE FROM public; DELETE FROM gate");
    ok(publish(path, store));
    file_is(".Sales/dovecot-acl", "anyone l\n");
    unlink(path);
    fails(publish(path, store), ERROR_UNAVAILABLE, "mail.db: unable to open");
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(folders_and_rights), TEST(what_owners_did_stays), TEST(creators),
        TEST(hostile_folders),    TEST(nothing_is_known),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
