#include "tasks/restore_tree.h"

#include "base/alloc.h"
#include "base/path.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { UID = 12345, GID = 12346 };

static char top[64];

static void good(Error *err)
{
    if (err)
        fail_msg("%s", err->what);
}

static char *in(const char *name)
{
    static char path[512];

    snprintf(path, sizeof path, "%s/%s", top, name);
    return path;
}

static void folder(const char *name)
{
    assert_int_equal(mkdir(in(name), 0755), 0);
}

static void file(const char *name, const char *content)
{
    FILE *out = fopen(in(name), "w");

    assert_non_null(out);
    fputs(content, out);
    assert_int_equal(fclose(out), 0);
}

static int open_top(void)
{
    int fd = open(top, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    assert_true(fd >= 0);
    return fd;
}

/* mail/alice with a message each in INBOX and .Work; public and state are empty. */
static int setup(void **state)
{
    static const char *const folders[] = {"mail",
                                          "mail/alice",
                                          "mail/alice/sieve",
                                          "mail/alice/Maildir",
                                          "mail/alice/Maildir/cur",
                                          "mail/alice/Maildir/new",
                                          "mail/alice/Maildir/tmp",
                                          "mail/alice/Maildir/.Work",
                                          "mail/alice/Maildir/.Work/cur",
                                          "mail/alice/Maildir/.Work/new",
                                          "mail/alice/Maildir/.Work/tmp",
                                          "public",
                                          "state"};

    (void)state;
    snprintf(top, sizeof top, "/tmp/unit-tree-XXXXXX");
    assert_non_null(mkdtemp(top));
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++)
        folder(folders[i]);
    file("mail/alice/Maildir/new/1.M1P1.host,S=5", "hello");
    file("mail/alice/Maildir/.Work/cur/2.M2P2.host,S=3:2,S", "bye");
    file("mail/alice/Maildir/dovecot-uidlist", "3 V9 N4 Gaa\n1 :1.M1P1.host\n");
    file("mail/alice/sieve/main.sieve", "keep;\n");
    return 0;
}

static int teardown(void **state)
{
    char *argv[] = {(char *)"rm", (char *)"-rf", top, NULL};

    (void)state;
    pid_t pid = fork();
    if (pid == 0) {
        execv("/bin/rm", argv);
        _exit(1);
    }
    return waitpid(pid, NULL, 0) == pid ? 0 : -1;
}

static void mode_is(const char *name, mode_t mode)
{
    struct stat st;

    assert_int_equal(lstat(in(name), &st), 0);
    if ((st.st_mode & 07777) != mode || st.st_uid != UID || st.st_gid != GID)
        fail_msg("%s: %o %d", name, st.st_mode, (int)st.st_uid);
}

static void nothing_but_files_and_folders_of_the_mail_store(void **state)
{
    TreeCounts counts = {0};
    DEFER(buf_done) Buf list = {0};
    DEFER(fd_close) int fd = open_top();

    (void)state;
    if (geteuid() != 0)
        skip();
    assert_int_equal(symlink("/etc/passwd", in("mail/alice/Maildir/cur/evil")), 0);
    assert_int_equal(symlink("../../etc", in("mail/bob")), 0);
    assert_int_equal(symlink("sieve/main.sieve", in("mail/alice/.dovecot.sieve")), 0);
    assert_int_equal(symlink("sieve/../x", in("mail/alice/Maildir/.dovecot.sieve")), 0);
    assert_int_equal(mkfifo(in("mail/alice/Maildir/.Work/pipe"), 0666), 0);
    assert_int_equal(chmod(in("mail/alice/Maildir/new/1.M1P1.host,S=5"), 04777), 0);
    file("mail/alice/Maildir/.Work/dovecot-uidlist", "not one\n");

    good(tree_take(fd, UID, GID, &counts));
    assert_int_equal(counts.refused, 4);
    assert_int_equal(counts.raised, 1);
    assert_int_equal(counts.unraised, 1);
    mode_is("mail/alice/Maildir/new/1.M1P1.host,S=5", 0600);
    mode_is("mail/alice/Maildir/.Work", 0700);
    mode_is("mail/alice/.dovecot.sieve", 0777);
    assert_int_equal(access(in("mail/alice/Maildir/.Work/dovecot-uidlist"), F_OK), -1);
    good(file_read(in("mail/alice/Maildir/dovecot-uidlist"), 1000, &list));
    assert_string_equal(buf_text(&list), "3 V9 N1000004 Gaa\n1 :1.M1P1.host\n");
}

static void misses_what_the_list_has(void **state)
{
    DEFER(xfree) char *mail = xstrdup(in("mail"));
    DEFER(xfree) char *public = xstrdup(in("public"));
    DEFER(xfree) char *into = xstrdup(in("state"));
    DEFER(buf_done) Buf text = {0};
    DEFER(mailbox_list_free) MailboxList *list = NULL;
    ManifestTotals totals;
    uint64_t messages = 0, missing = 0;

    (void)state;
    good(manifest_write(mail, public, into, NULL, NULL, &totals));
    good(file_read(in("state/mailboxes/user/alice"), 10000, &text));
    good(mailbox_list_read(&text, &list));
    DEFER(fd_close) int fd = open(in("mail/alice/Maildir"), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    good(tree_compare(fd, list, NULL, &messages, &missing));
    assert_int_equal(messages, 2);
    assert_int_equal(missing, 0);
    file("mail/alice/Maildir/new/1.M1P1.host,S=5", "hell");
    assert_int_equal(unlink(in("mail/alice/Maildir/.Work/cur/2.M2P2.host,S=3:2,S")), 0);
    messages = 0;
    good(tree_compare(fd, list, NULL, &messages, &missing));
    assert_int_equal(messages, 0);
    assert_int_equal(missing, 2);
    missing = 0;
    good(tree_compare(fd, list, ".Work", &messages, &missing));
    assert_int_equal(missing, 1);
}

static void no_store_is_so_deep(void **state)
{
    TreeCounts counts = {0};
    DEFER(fd_close) int fd = open_top();
    char path[256] = "mail";

    (void)state;
    for (size_t len = strlen(path); len < 4 + 2 * 20; len += 2) {
        memcpy(path + len, "/d", 3);
        folder(path);
    }
    Error *err = tree_take(fd, geteuid(), getegid(), &counts);
    assert_non_null(err);
    assert_int_equal(err->code, ERROR_DAMAGED);
    error_free(&err);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(nothing_but_files_and_folders_of_the_mail_store, setup, teardown),
        cmocka_unit_test_setup_teardown(misses_what_the_list_has, setup, teardown),
        cmocka_unit_test_setup_teardown(no_store_is_so_deep, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
