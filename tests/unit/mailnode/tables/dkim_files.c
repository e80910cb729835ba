#include "tables/dkim_files.h"

#include "fake.h"

#include <sys/stat.h>

static Folder folder;
static DkimFiles *files;
static Secret *key;

static int setup(void **state)
{
    (void)state;
    folder = folder_new();
    ok(dkim_files_open(folder.text, &files));
    key = secret_new("KEY\n", 4);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    secret_free(&key);
    dkim_files_close(&files);
    folder_remove(folder.text);
    return 0;
}

static char *file(const char *domain)
{
    return xasprintf("%s/dkim/%s", folder.text, domain);
}

static bool there(const char *domain)
{
    DEFER(xfree) char *path = file(domain);

    return access(path, F_OK) == 0;
}

static void a_file_is_there_when_settled(void **state)
{
    DEFER(xfree) char *path = file("example.org");
    DEFER(buf_done) Buf text = {0};
    struct stat st;

    (void)state;
    ok(dkim_file_put(files, "example.org", "Default", key));
    assert_false(there("example.org"));
    ok(dkim_files_settle(files));
    assert_int_equal(dkim_files_put(files), 1);
    ok(file_read(path, 100, &text));
    assert_string_equal(buf_text(&text), "Default\nKEY\n");
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0640);

    ino_t inode = st.st_ino; /* the same again is not written again */
    ok(dkim_file_put(files, "example.org", "Default", key));
    ok(dkim_files_settle(files));
    assert_int_equal(dkim_files_put(files), 1);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_ino, inode);

    chmod(path, 0644); /* what others may read is */
    ok(dkim_file_put(files, "example.org", "Default", key));
    ok(dkim_files_settle(files));
    assert_int_equal(dkim_files_put(files), 2);
    ok(dkim_file_remove(files, "example.org"));
    ok(dkim_file_remove(files, "example.org"));
    assert_int_equal(dkim_files_removed(files), 1);
    assert_false(there("example.org"));
}

static void many_at_once(void **state)
{
    Names names = {0};

    (void)state;
    for (int i = 0; i < 100; i++) {
        DEFER(xfree) char *domain = xasprintf("d%d.example.org", i);
        ok(dkim_file_put(files, domain, "default", key));
    }
    ok(dkim_files_settle(files));
    ok(dkim_files_list(files, &names));
    assert_int_equal(names_count(&names), 100);
    names_done(&names);
}

/* What is not settled leaves nothing behind. */
static void what_is_given_up_is_gone(void **state)
{
    Names names = {0};

    (void)state;
    ok(dkim_file_put(files, "example.org", "default", key));
    dkim_files_close(&files);
    ok(dkim_files_open(folder.text, &files));
    ok(dkim_files_list(files, &names));
    assert_int_equal(names_count(&names), 0);
    names_done(&names);
}

static void no_name_leads_elsewhere(void **state)
{
    static const char *const names[] = {
        "",        ".",           "..",           "../mail.db", "a/b",         "/etc/passwd",
        ".hidden", "Example.org", "a\nb.example", "b\x01.org",  "exämple.org", "a b.org"};
    char long_name[256];

    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        fails(dkim_file_put(files, names[i], "default", key), ERROR_INVALID, "cannot be the name");
        fails(dkim_file_remove(files, names[i]), ERROR_INVALID, "cannot be the name");
    }
    memset(long_name, 'a', sizeof long_name - 1);
    long_name[sizeof long_name - 1] = '\0';
    fails(dkim_file_put(files, long_name, "default", key), ERROR_INVALID, "cannot be the name");
    fails(dkim_file_put(files, "example.org", "a\nb", key), ERROR_INVALID, "selector");
    fails(dkim_file_put(files, "example.org", "", key), ERROR_INVALID, "selector");
    fails(dkim_files_drop(files, "../mail.db"), ERROR_INVALID, "no name");
}

/* A link that lies in the place of a key is replaced and not followed. */
static void links_are_not_followed(void **state)
{
    DEFER(xfree) char *path = file("example.org"), *other = xasprintf("%s/other", folder.text);
    DEFER(buf_done) Buf text = {0};
    FILE *out = fopen(other, "w");
    struct stat st;

    (void)state;
    fputs("default\nKEY\n", out);
    fclose(out);
    chmod(other, 0640);
    assert_int_equal(symlink(other, path), 0);
    ok(dkim_file_put(files, "example.org", "default", key));
    ok(dkim_files_settle(files));
    assert_int_equal(lstat(path, &st), 0);
    assert_true(S_ISREG(st.st_mode));
    ok(file_read(other, 100, &text));
    assert_string_equal(buf_text(&text), "default\nKEY\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_file_is_there_when_settled, setup, teardown),
        cmocka_unit_test_setup_teardown(many_at_once, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_given_up_is_gone, setup, teardown),
        cmocka_unit_test_setup_teardown(no_name_leads_elsewhere, setup, teardown),
        cmocka_unit_test_setup_teardown(links_are_not_followed, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
