/* With the real child, which is vmail; the clock of the loop is ours. */
#include "engine/made.h"

#include "sql.h"

#include "base/log.h"
#include "base/path.h"
#include "base/proc.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

enum { PATIENCE_MS = 20000 };

static char root[] = "/tmp/made.XXXXXX";
static uid_t uid;
static gid_t gid;
static const NodeState placed = {.instance_name = "main"};
static Happened *happened;
static Made *made;
static Msec now;
static const char *busy; /* Dovecot is at it; NULL: at none */

static const char *public_path(const char *name)
{
    static char path[512]; /* more than a Path has */

    snprintf(path, sizeof path, "%s/var/lib/mailnode/public%s", root, name);
    return path;
}

static void aged(const char *path, int seconds)
{
    const struct timespec at[2] = {{.tv_sec = time(NULL) - seconds}, {.tv_sec = time(NULL) - seconds}};

    assert_int_equal(utimensat(AT_FDCWD, path, at, 0), 0);
}

static int setup(void **state)
{
    Path db;

    (void)state;
    log_init("unit", LOG_LEVEL_ERROR);
    snprintf(root, sizeof root, "/tmp/made.XXXXXX");
    if (!mkdtemp(root) || chmod(root, 0755) != 0)
        return -1;
    ok(proc_user("vmail", &uid, &gid));
    ok(folder_make(public_path(""), 0755, uid, gid));
    ok(folder_make(path_in(root, "var/lib/mailnode/tables").text, 0755, 0, 0));
    db = path_in(root, "var/lib/mailnode/tables/mail.db");
    sql_run(db.text, "CREATE TABLE gate(one INTEGER PRIMARY KEY, known TEXT, rest TEXT);"
                     "CREATE TABLE public(name TEXT PRIMARY KEY, key TEXT, folder TEXT, acl TEXT) WITHOUT ROWID;"
                     "CREATE TABLE policy(one INTEGER PRIMARY KEY, creators TEXT NOT NULL);"
                     "INSERT INTO policy VALUES(1, '');"
                     "INSERT INTO gate VALUES(1, NULL, NULL);");
    assert_int_equal(chmod(db.text, 0644), 0);
    happened = happened_new();
    made = made_new(root, happened);
    now = 1000;
    busy = NULL;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    made_free(&made);
    happened_free(&happened);
    return folder_remove(root);
}

static void file_put(const char *name, const char *text)
{
    ok(file_write(public_path(name), text, strlen(text), 0600, (gid_t)-1));
    assert_int_equal(chown(public_path(name), uid, gid), 0);
}

/* As Dovecot leaves it, a minute ago. */
static void rights_set(const char *name, const char *text)
{
    DEFER(xfree) char *file = xasprintf("/%s/dovecot-acl", name);

    file_put(file, text);
    aged(public_path(file), 60);
}

static void rights_put(const char *name, const char *text)
{
    DEFER(xfree) char *folder = xasprintf("/%s", name);

    ok(folder_make(public_path(folder), 0700, uid, gid));
    rights_set(name, text);
    aged(public_path(""), 60);
}

/* At this moment of our clock; a look that is begun comes to its end. */
static void look(void)
{
    siginfo_t info;
    Msec until = clock_ms() + PATIENCE_MS;

    do {
        if (clock_ms() > until)
            fail_msg("the child does not end");
        if (busy)
            aged(public_path(busy), 0);
        made_run(made, &placed, now);
        usleep(1000);
    } while (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == 0);
}

static void told(size_t n, const char *entry)
{
    size_t n_told = 0;

    look();
    Mail__PublicMade *const *list = made_list(made, &n_told);
    assert_int_equal(n_told, n);
    for (size_t i = 0; i < n; i++)
        assert_string_equal(list[i]->acl[0], entry);
}

/* Nobody states or removes them. */
static void those_without_a_name_leave_room(void **state)
{
    Mail__Happening *const *list = NULL;

    (void)state;
    for (int i = 0; i < 200; i++) {
        DEFER(xfree) char *name = xasprintf(".inbox%d*%0200d", i, 0);
        rights_put(name, "user=alice lr\n");
    }
    for (int i = 0; i < 10; i++) {
        DEFER(xfree) char *name = xasprintf(".Plans%d", i);
        rights_put(name, "user=alice lrs\n");
    }
    told(10, "user:alice:read");
    assert_int_equal(happened_list(happened, 0, now, &list), 1);
    assert_string_equal(list[0]->what, "public folders without a name");
    assert_non_null(strstr(list[0]->text, ".inbox"));
}

/* Nothing else changes: not the store's folder. */
static void young_ones_are_looked_at_again(void **state)
{
    (void)state;
    rights_put(".Old", "user=bob lrs\n");
    rights_put(".Plans", "user=alice lrs\n");
    busy = "/.Plans/dovecot-acl";
    told(1, "user:bob:read");
    file_put("/.Old/mailnode-acl", ".Old\nuser=bob lrs\n");
    now += 1000;
    told(0, NULL);
    aged(public_path(busy), 60);
    busy = NULL;
    now += 1000;
    told(1, "user:alice:read");
}

/* Its list is told with the rights that it had at the last look. */
static void what_nobody_takes_is_looked_at_less_often(void **state)
{
    (void)state;
    rights_put(".Plans", "user=alice lrs\n");
    told(1, "user:alice:read");
    now += 1000;
    told(1, "user:alice:read"); /* for the second time */
    rights_set(".Plans", "user=bob lrs\n");
    for (int i = 0; i < 29; i++) {
        now += 1000;
        told(1, "user:alice:read");
    }
    now += 1000;
    told(1, "user:bob:read");

    /* what is stated, or changes on the disk, is seen at once */
    rights_set(".Plans", "user=carol lrs\n");
    made_again(made);
    now += 1000;
    told(1, "user:carol:read");
    rights_set(".Plans", "user=dave lrs\n");
    aged(public_path(""), 50);
    now += 1000;
    told(1, "user:dave:read");
}

/* It cannot be read what there should be. */
static void trouble_is_met_less_often(void **state)
{
    Path db = path_in(root, "var/lib/mailnode/tables/mail.db"), away = path_in(root, "away");

    (void)state;
    rights_put(".Plans", "user=alice lrs\n");
    assert_int_equal(rename(db.text, away.text), 0);
    for (int i = 0; i < 2; i++, now += 1000)
        told(0, NULL);
    assert_int_equal(rename(away.text, db.text), 0);
    for (int i = 0; i < 29; i++, now += 1000)
        told(0, NULL);
    told(1, "user:alice:read");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(those_without_a_name_leave_room),
        TEST(young_ones_are_looked_at_again),
        TEST(what_nobody_takes_is_looked_at_less_often),
        TEST(trouble_is_met_less_often),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
