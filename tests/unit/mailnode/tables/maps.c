#include "tables/maps.h"

#include "fake.h"

#include <sys/stat.h>

static Folder folder;

static int setup(void **state)
{
    (void)state;
    folder = folder_new();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    folder_remove(folder.text);
    return 0;
}

static char *map(const char *name)
{
    return xasprintf("%s/maps/%s.cf", folder.text, name);
}

static void written_once(void **state)
{
    size_t n = 99;

    (void)state;
    ok(maps_write(folder.text, (gid_t)-1, &n));
    assert_int_equal(n, n_table_maps);
    ok(maps_write(folder.text, (gid_t)-1, &n));
    assert_int_equal(n, 0);
    for (size_t i = 0; i < n_table_maps; i++) {
        DEFER(xfree) char *path = map(table_maps[i].name);
        struct stat st;
        assert_int_equal(stat(path, &st), 0);
        assert_int_equal(st.st_mode & 07777, 0640);
    }
}

static void what_differs_is_mended(void **state)
{
    DEFER(xfree) char *gone = map("alias"), *longer = map("known"), *open = map("rest");
    DEFER(buf_done) Buf before = {0}, after = {0};
    size_t n = 0;

    (void)state;
    ok(maps_write(folder.text, (gid_t)-1, &n));
    ok(file_read(longer, 100000, &before));
    unlink(gone);
    FILE *file = fopen(longer, "a");
    fputs("query = SELECT 'mallory@u.internal'\n", file);
    fclose(file);
    chmod(open, 0644);
    ok(maps_write(folder.text, (gid_t)-1, &n));
    assert_int_equal(n, 3);
    ok(file_read(longer, 100000, &after));
    assert_string_equal(buf_text(&after), buf_text(&before));
}

static void text(void **state)
{
    DEFER(buf_done) Buf is = {0};
    DEFER(xfree) char *path = map("alias");
    DEFER(xfree)
    char *wanted = xasprintf("# alias: where an address leads\n"
                             "# Written by mail-agent; what is changed here is lost.\n"
                             "dbpath = %s/mail.db\nquery = %s\n"
                             "domain = !u.internal !x.internal static:any\n",
                             folder.text, QUERY_ALIAS);
    size_t n;

    (void)state;
    ok(maps_write(folder.text, (gid_t)-1, &n));
    ok(file_read(path, 100000, &is));
    assert_string_equal(buf_text(&is), wanted);
}

/* Each query is one that SQLite takes, with the tables as they are. */
static void queries_run(void **state)
{
    Tables *tables = NULL;
    bool rebuilt;

    (void)state;
    ok(tables_open(folder.text, (gid_t)-1, &tables, &rebuilt));
    for (size_t i = 0; i < n_table_maps; i++) {
        if (table_maps[i].relay) /* secrets_db.c asks these */
            continue;
        DEFER(xfree) char *answer = ask(tables->db, table_maps[i].query, "info@example.org");
        bool says = strcmp(table_maps[i].name, "gate") == 0 || strcmp(table_maps[i].name, "login") == 0;
        if (says != (answer != NULL))
            fail_msg("%s: %s", table_maps[i].name, answer ? answer : "nothing");
        if (says)
            assert_memory_equal(answer, "451 4.3.0 ", 10);
    }
    tables_free(&tables);
}

static void no_folder(void **state)
{
    DEFER(xfree) char *file = xasprintf("%s/file", folder.text);
    size_t n;

    (void)state;
    fclose(fopen(file, "w"));
    fails(maps_write(file, (gid_t)-1, &n), ERROR_SYSTEM, "/file/maps");
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(written_once), TEST(what_differs_is_mended), TEST(text), TEST(queries_run), TEST(no_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
