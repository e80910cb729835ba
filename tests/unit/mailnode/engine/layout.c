#include "engine/layout.h"

#include "expect.h"

#include "base/buf.h"
#include "base/path.h"
#include "base/proc.h"
#include "render/render.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/stat.h>

static char root[] = "/tmp/layout.XXXXXX";

static int setup(void **state)
{
    (void)state;
    memcpy(root + strlen(root) - 6, "XXXXXX", 6);
    return mkdtemp(root) && chmod(root, 0755) == 0 ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    return folder_remove(root);
}

typedef struct Looked {
    size_t n;
    char path[PATH_SIZE], text[256];
} Looked;

static void looked(void *context, const char *path, const char *text)
{
    Looked *last = context;

    last->n++;
    snprintf(last->path, sizeof last->path, "%s", path);
    snprintf(last->text, sizeof last->text, "%s", text);
}

static uid_t uid_of(const char *user)
{
    uid_t uid = 0;
    gid_t gid = 0;

    ok(proc_user(user, &uid, &gid));
    return uid;
}

static void folders_have_owner_and_mode(void **state)
{
    static const struct {
        const char *path, *user;
        mode_t mode;
    } rows[] = {
        {"run/mailnode", "root", 0755},
        {"run/mailnode/engine", "root", 0750},
        {"run/mailnode/redis", "redis", 02750},
        {"var/lib/mailnode/engine", "root", 0711},
        {"var/lib/mailnode/tables", "mailagent", 0750},
        {"var/lib/mailnode/mail", "vmail", 0750},
        {"var/lib/mailnode/spool/postfix", "root", 0755},
        {"var/lib/mailnode/spool/postfix/deferred", "postfix", 0700},
        {"var/lib/mailnode/spool/postfix/maildrop", "postfix", 0730},
        {"var/lib/mailnode/spool/postfix/public", "postfix", 0710},
        {"var/lib/mailnode/slapd", "openldap", 0700},
        {"var/log/mailnode", "root", 0755},
        {"var/lib", "root", 0755},
    };
    Looked last = {0};
    struct stat st;
    (void)state;
    ok(layout_make(root));
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (stat(path_in(root, "%s", rows[i].path).text, &st) != 0 || st.st_uid != uid_of(rows[i].user) ||
            (st.st_mode & 07777) != rows[i].mode)
            fail_msg("%s: uid %u mode %04o", rows[i].path, (unsigned)st.st_uid, st.st_mode & 07777);
    }
    layout_look(root, looked, &last);
    if (last.n)
        fail_msg("%s %s", last.path, last.text);
    ok(layout_make(root));
    layout_look(root, looked, &last);
    assert_int_equal(last.n, 0);
}

static void what_was_changed_is_found_and_mended(void **state)
{
    Path mail = path_in(root, "var/lib/mailnode/mail"), redis = path_in(root, "run/mailnode/redis");
    Looked last = {0};
    struct stat st;
    (void)state;
    ok(layout_make(root));
    assert_int_equal(chmod(redis.text, 0777), 0);
    layout_look(root, looked, &last);
    assert_int_equal(last.n, 1);
    assert_string_equal(last.path, redis.text);
    assert_string_equal(last.text, "is redis:_rspamd 0777, should be redis:_rspamd 2750");
    assert_int_equal(chown(redis.text, 0, 0), 0);
    assert_int_equal(rmdir(path_in(root, "var/lib/mailnode/spool/postfix/trace").text), 0);
    assert_int_equal(chown(mail.text, 0, 0), 0); /* of mail: never put right */
    last.n = 0;
    layout_look(root, looked, &last);
    assert_int_equal(last.n, 2);

    ok(layout_make(root));
    last.n = 0;
    layout_look(root, looked, &last);
    assert_int_equal(last.n, 0);
    assert_int_equal(stat(mail.text, &st), 0);
    assert_int_equal(st.st_uid, 0);
}

/* A daemon's user owns the folder of signatures: what it lays there leads nowhere. */
static void links_lead_nowhere(void **state)
{
    Path victim = path_in(root, "victim");
    Path file = path_in(root, "var/lib/mailnode/clamav/%s", LAYOUT_SIGNATURES);
    Path temp = path_in(root, "var/lib/mailnode/clamav/.%s.new", LAYOUT_SIGNATURES);
    DEFER(buf_done) Buf text = {0};
    struct stat st;
    (void)state;
    ok(layout_make(root));
    ok(file_write(victim.text, "secret", 6, 0600, (gid_t)-1));
    unlink(file.text);
    assert_int_equal(symlink(victim.text, file.text), 0);
    assert_int_equal(symlink(victim.text, temp.text), 0);
    ok(layout_make(root));
    ok(file_read(victim.text, 100, &text));
    assert_string_equal(buf_text(&text), "secret");
    assert_int_equal(stat(victim.text, &st), 0);
    assert_int_equal(st.st_uid, 0);
    assert_int_equal(lstat(file.text, &st), 0);
    assert_true(S_ISREG(st.st_mode));
    assert_int_equal(st.st_uid, uid_of("clamav"));
    buf_clear(&text);
    ok(file_read(file.text, 10000, &text));
    assert_string_equal(buf_text(&text), clamd_own_signatures);
}

/* Only root's own links are followed. */
static void a_link_counts_where_root_alone_could_set_it(void **state)
{
    Path disk = path_in(root, "disk"), parent = path_in(root, "var/lib");
    Path link = path_in(root, "var/lib/mailnode");
    struct stat st;
    (void)state;
    ok(folder_make(disk.text, 0755, 0, 0));
    ok(folder_make(parent.text, 0755, 0, 0));
    assert_int_equal(symlink(disk.text, link.text), 0);
    ok(layout_make(root));
    assert_int_equal(stat(path_in(root, "disk/mail").text, &st), 0);

    assert_int_equal(chown(parent.text, uid_of("nobody"), 0), 0);
    fails(layout_make(root), ERROR_SYSTEM, "/var/lib/mailnode: folder: ");
}

static void a_file_in_the_way_is_said(void **state)
{
    (void)state;
    ok(file_write(path_in(root, "run").text, "", 0, 0644, (gid_t)-1));
    fails(layout_make(root), ERROR_SYSTEM, "/run/mailnode: folder: Not a directory");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(folders_have_owner_and_mode, setup, teardown),
        cmocka_unit_test_setup_teardown(what_was_changed_is_found_and_mended, setup, teardown),
        cmocka_unit_test_setup_teardown(links_lead_nowhere, setup, teardown),
        cmocka_unit_test_setup_teardown(a_link_counts_where_root_alone_could_set_it, setup, teardown),
        cmocka_unit_test_setup_teardown(a_file_in_the_way_is_said, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
