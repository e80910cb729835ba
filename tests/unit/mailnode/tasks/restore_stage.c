/* What a backup holds is anybody's: what is no message of the list stays behind, and is counted */
#include "tasks/restore_stage.h"

#include "base/path.h"
#include "expect.h"
#include "tasks/restore_drop.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#define FROM "mail/alice/Maildir/.A"
#define TO ".Restored folder.A"

enum { UID = 12345, GID = 23456, TIME = 1234567890 };

static char root[] = "/tmp/stage.XXXXXX";
static int top = -1, new = -1;

static int setup(void **state)
{
    static const char *const folders[] = {"new", "mail",      "mail/alice", "mail/alice/Maildir",
                                          FROM,  FROM "/cur", FROM "/new",  "outside"};

    (void)state;
    snprintf(root, sizeof root, "/tmp/stage.XXXXXX");
    if (!mkdtemp(root))
        return -1;
    top = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++)
        if (mkdirat(top, folders[i], 0755) != 0)
            return -1;
    new = openat(top, "new", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return new < 0;
}

static int teardown(void **state)
{
    (void)state;
    Error *err = drop_tree(new, TO);
    error_free(&err);
    close(new);
    close(top);
    return folder_remove(root);
}

static void put(const char *name, const char *text)
{
    const struct timespec times[2] = {{.tv_sec = TIME}, {.tv_sec = TIME}};
    int fd = openat(top, name, O_WRONLY | O_CREAT | O_CLOEXEC, 0666);

    assert_true(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
    assert_int_equal(futimens(fd, times), 0);
    close(fd);
}

/* Each of the list has five octets; the last is of new. */
static StageCount take(const char *const *names, size_t n)
{
    StageFile files[16] = {{0}};
    StageFolder folder = {.from = FROM, .to = TO, .files = files, .n = n};
    StageCount count = {0};

    for (size_t i = 0; i < n; i++)
        files[i] = (StageFile){.name = xstrdup(names[i]), .size = 5, .in_new = i + 1 == n};
    ok(stage_sort(files, n));
    ok(stage_take(top, new, &folder, UID, GID, &count));
    for (size_t i = 0; i < n; i++)
        free(files[i].name);
    return count;
}

static void is_mail(const char *name)
{
    struct stat st;
    DEFER(xfree) char *path = xasprintf(TO "/%s", name);

    if (fstatat(new, path, &st, AT_SYMLINK_NOFOLLOW) != 0)
        fail_msg("%s: is not there", name);
    assert_true(S_ISREG(st.st_mode) && (st.st_mode & 07777) == 0600);
    assert_int_equal(st.st_uid, UID);
    assert_int_equal(st.st_gid, GID);
}

static bool is_there(const char *name)
{
    struct stat st;

    return fstatat(new, name, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

static void messages_come_along(void **state)
{
    const char *const names[] = {"1.a:2,S", "2.a\n:2,Sa", "3.a"};
    struct stat st;

    (void)state;
    put(FROM "/cur/1.a:2,S", "12345");
    put(FROM "/cur/2.a\n:2,Sa", "12345");
    put(FROM "/new/3.a", "12345");
    put(FROM "/dovecot-keywords", "0 $Label1\n");
    put(FROM "/dovecot-uidlist", "3 V1 N2\n");
    StageCount count = take(names, 3);
    assert_int_equal(count.messages, 3);
    assert_int_equal(count.bytes, 15);
    assert_int_equal(count.missing + count.wrong + count.extra, 0);
    is_mail("cur/1.a:2,S");
    is_mail("cur/2.a\n:2,Sa");
    is_mail("new/3.a");
    is_mail("dovecot-keywords");
    is_mail("maildirfolder");
    assert_false(is_there(TO "/dovecot-uidlist"));
    assert_int_equal(fstatat(new, TO "/cur/1.a:2,S", &st, 0), 0);
    assert_int_equal(st.st_mtime, TIME);
    assert_int_equal(fstatat(new, TO "/tmp", &st, 0), 0);
    assert_true(st.st_uid == UID && (st.st_mode & 07777) == 0700);
}

static void what_did_not_come_is_counted(void **state)
{
    const char *const names[] = {"1", "2", "3", "4"};

    (void)state;
    put(FROM "/cur/1", "12345");
    put(FROM "/cur/2", "1234");  /* cut off */
    put(FROM "/cur/4", "12345"); /* is of new */
    put(FROM "/cur/5", "12345");
    StageCount count = take(names, 4);
    assert_int_equal(count.messages, 1);
    assert_int_equal(count.wrong, 1);
    assert_int_equal(count.missing, 2);
    assert_int_equal(count.extra, 2);
}

/* SPEC S43, B40: each stands where the list has a message of its size. */
static void hostile_entries(void **state)
{
    const char *const names[] = {"link", "fifo", "device", "folder", "setuid", "acl", "linked", "last"};
    struct stat st;
    int fd = -1;

    (void)state;
    put("outside/secret", "12345");
    assert_int_equal(symlinkat("../../../../../outside/secret", top, FROM "/cur/link"), 0);
    assert_int_equal(mknodat(top, FROM "/cur/fifo", S_IFIFO | 0666, 0), 0);
    if (mknodat(top, FROM "/cur/device", S_IFCHR | 0666, 0x103) != 0) /* not in every container */
        assert_int_equal(symlinkat("/dev/null", top, FROM "/cur/device"), 0);
    assert_int_equal(mkdirat(top, FROM "/cur/folder", 0777), 0);
    put(FROM "/cur/setuid", "12345");
    assert_int_equal(fchmodat(top, FROM "/cur/setuid", 06777, 0), 0);
    put(FROM "/cur/acl", "12345");
    fd = openat(top, FROM "/cur/acl", O_RDWR | O_CLOEXEC);
    bool attributes = fsetxattr(fd, "user.x", "y", 1, 0) == 0;
    close(fd);
    put(FROM "/cur/linked", "12345");
    assert_int_equal(linkat(top, FROM "/cur/linked", top, FROM "/new/last", 0), 0);
    StageCount count = take(names, 8);
    assert_int_equal(count.messages, 4);
    assert_int_equal(count.wrong, 4);
    is_mail("cur/setuid");
    is_mail("cur/acl");
    is_mail("cur/linked");
    is_mail("new/last");
    fd = openat(new, TO "/cur/acl", O_RDONLY | O_CLOEXEC);
    assert_true(!attributes || flistxattr(fd, NULL, 0) == 0);
    close(fd);
    assert_int_equal(fstatat(top, "outside/secret", &st, 0), 0);
    assert_int_equal(st.st_uid, 0);
}

/* A link in the place of a folder leads nowhere. */
static void hostile_folders(void **state)
{
    const char *const names[] = {"secret", "none"};

    (void)state;
    put("outside/secret", "12345");
    assert_int_equal(unlinkat(top, FROM "/cur", AT_REMOVEDIR), 0);
    assert_int_equal(symlinkat("../../../../outside", top, FROM "/cur"), 0);
    StageCount count = take(names, 2);
    assert_int_equal(count.messages, 0);
    assert_int_equal(count.missing, 2);
    ok(drop_tree(new, TO));
    unlinkat(top, FROM "/cur", 0);
    unlinkat(top, FROM "/new", AT_REMOVEDIR);
    assert_int_equal(unlinkat(top, FROM, AT_REMOVEDIR), 0);
    assert_int_equal(symlinkat("../../../outside", top, FROM), 0);
    assert_int_equal(mkdirat(top, "outside/cur", 0755), 0);
    put("outside/cur/secret", "12345");
    count = take(names, 2);
    assert_int_equal(count.missing, 2);
}

static void hostile_lists(void **state)
{
    static const char *const bad[] = {"", ".", "..", "../x", "a/b", ".hidden"};

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        StageFile files[] = {{.name = (char *)bad[i]}};
        fails(stage_sort(files, 1), ERROR_INVALID, "no name of a message");
    }
    StageFile twice[] = {{.name = (char *)"a"}, {.name = (char *)"b"}, {.name = (char *)"a"}};
    fails(stage_sort(twice, 3), ERROR_INVALID, "'a' is in it twice");
}

static void empty_folders(void **state)
{
    (void)state;
    ok(stage_empty(new, TO, UID, GID));
    is_mail("maildirfolder");
    assert_true(is_there(TO "/cur") && is_there(TO "/new") && is_there(TO "/tmp"));
    ok(stage_put(new, TO, "dovecot-acl", "x\n", 2, UID, GID));
    is_mail("dovecot-acl");
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(messages_come_along), TEST(what_did_not_come_is_counted),
        TEST(hostile_entries),     TEST(hostile_folders),
        TEST(hostile_lists),       TEST(empty_folders),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
