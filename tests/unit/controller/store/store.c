/* The file: made, found damaged or too new, full, and killed at each durable step. */
#include "fixture.h"

#include "store/store_inside.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

/* ---- opening ---- */

static void test_files_are_ours_alone(void **state)
{
    static const char *const more[] = {"", "-wal", "-shm"};
    (void)state;

    put_alone(machine("mx1", NULL));
    for (size_t i = 0; i < 3; i++) {
        DEFER(xfree) char *file = xasprintf("%s%s", path, more[i]);
        struct stat st;
        assert_int_equal(stat(file, &st), 0);
        if ((st.st_mode & 0777) != 0600)
            fail_msg("%s has mode %o", file, st.st_mode & 0777);
    }
    store_free(&store);
    assert_int_equal(chmod(path, 0644), 0); /* a copy put back by hand */
    struct stat st;
    ok(store_open(path, &store));
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    lists(&(StoreFilter){0}, "node/mx1");
}

static void test_what_cannot_be_opened(void **state)
{
    DEFER(xfree) char *nowhere = xasprintf("%s/nowhere/store.db", folder);
    DEFER(xfree) char *link = xasprintf("%s/link.db", folder);
    Store *other = NULL;
    (void)state;

    fails(store_open(nowhere, &other), ERROR_SYSTEM, "nowhere/store.db: open: No such file");
    assert_int_equal(symlink(path, link), 0);
    fails(store_open(link, &other), ERROR_SYSTEM, "link.db: open: ");
    assert_null(other);
}

static void test_a_newer_schema_is_refused_and_left_alone(void **state)
{
    sqlite3 *db = NULL;
    Error *err = NULL;
    (void)state;

    put_alone(machine("mx1", NULL));
    store_free(&store);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "PRAGMA user_version=3", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
    err = store_open(path, &store);
    assert_non_null(err);
    assert_string_equal(err->hint, "install the newer mail-controller again");
    fails(err, ERROR_UNSUPPORTED, "store.db has schema 3, this mail-controller knows 2");
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "PRAGMA user_version=2", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
    ok(store_open(path, &store));
    lists(&(StoreFilter){0}, "node/mx1");
}

static void many(size_t n)
{
    char name[64];

    begin();
    for (size_t i = 0; i < n; i++) {
        snprintf(name, sizeof name, "user%06zu@example.org", i);
        put(address("main", name, "user:alice"));
    }
    end();
}

static void file_of_zeroes(int fd, off_t size)
{
    (void)size;
    assert_int_equal(ftruncate(fd, 0), 0);
    assert_int_equal(ftruncate(fd, 8192), 0);
}

static void cut_in_half(int fd, off_t size)
{
    assert_int_equal(ftruncate(fd, size / 2), 0);
}

static void garbage_behind_the_first_page(int fd, off_t size)
{
    uint8_t octets[4096];

    for (off_t at = 4096; at < size; at += (off_t)sizeof octets) {
        for (size_t i = 0; i < sizeof octets; i++)
            octets[i] = (uint8_t)((size_t)at * 7 + i * 31);
        assert_int_equal(pwrite(fd, octets, sizeof octets, at), sizeof octets);
    }
}

static void garbage_everywhere(int fd, off_t size)
{
    assert_int_equal(pwrite(fd, "this is no database at all", 26, 0), 26);
    garbage_behind_the_first_page(fd, size);
}

static void one_page_of_zeroes(int fd, off_t size)
{
    static const uint8_t zeroes[4096];

    assert_int_equal(pwrite(fd, zeroes, sizeof zeroes, size / 4096 / 2 * 4096), sizeof zeroes);
}

static void test_damage_is_named_and_left_alone(void **state)
{
    static const struct {
        const char *name;
        void (*spoil)(int fd, off_t size);
    } cases[] = {
        {"zeroes", file_of_zeroes},
        {"half", cut_in_half},
        {"garbage", garbage_behind_the_first_page},
        {"everywhere", garbage_everywhere},
        {"one page", one_page_of_zeroes},
    };
    (void)state;

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct stat st;
        DEFER(buf_done) Buf before = {0};
        DEFER(buf_done) Buf after = {0};
        teardown(NULL);
        setup(NULL);
        many(500);
        store_free(&store);
        int fd = open(path, O_RDWR | O_CLOEXEC);
        assert_int_equal(fstat(fd, &st), 0);
        cases[i].spoil(fd, st.st_size);
        assert_int_equal(fstat(fd, &st), 0);
        assert_int_equal(read(fd, buf_reserve(&before, (size_t)st.st_size), (size_t)st.st_size), st.st_size);
        Error *err = store_open(path, &store);
        if (!err || !err->hint || !strstr(err->hint, "from the last backup"))
            fail_msg("%s: no way out", cases[i].name);
        fails(err, ERROR_DAMAGED, "/store.db is damaged: ");
        assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
        assert_int_equal(read(fd, buf_reserve(&after, (size_t)st.st_size), (size_t)st.st_size), st.st_size);
        assert_memory_equal(before.data, after.data, (size_t)st.st_size);
        close(fd);
    }
}

static void test_another_programs_database(void **state)
{
    static const struct {
        const char *sql, *words;
    } cases[] = {
        {"CREATE TABLE x(y)", "is damaged: it is no store of a mail-controller"},
        {"CREATE TABLE x(y); PRAGMA user_version=1", "is damaged: no such table"},
        {"PRAGMA user_version=1", "is damaged: it is no store of a mail-controller"},
        {"CREATE TABLE x(y); PRAGMA user_version=-3", "is damaged: it is no store of a mail-controller"},
    };
    (void)state;

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        DEFER(xfree) char *file = xasprintf("%s/%zu.db", folder, i);
        Store *other = NULL;
        sqlite3 *db = NULL;
        assert_int_equal(sqlite3_open(file, &db), SQLITE_OK);
        assert_int_equal(sqlite3_exec(db, cases[i].sql, NULL, NULL, NULL), SQLITE_OK);
        sqlite3_close(db);
        fails(store_open(file, &other), ERROR_DAMAGED, cases[i].words);
    }
}

/* ---- failing ---- */

/* After a failure: as before, and usable. */
static void as_before(void)
{
    assert_int_equal(store_revision(store), 1);
    assert_int_equal(store_count(store), 1);
    lists(&(StoreFilter){0}, "address/main/a@example.org=user:a");
    ok(store_audit(store));
    assert_int_equal(put_alone(address("main", "b@example.org", "user:b")), 2);
    reopen();
    lists(&(StoreFilter){0}, "address/main/a@example.org=user:a address/main/b@example.org=user:b");
    ok(store_audit(store));
}

static Error *put_many(size_t n)
{
    Error *err = NULL;
    char name[64];

    for (size_t i = 0; !err && i < n; i++) {
        snprintf(name, sizeof name, "user%06zu@example.org", i);
        DEFER(object_free) Object *object = address("main", name, "user:alice");
        err = store_put(store, object);
    }
    return err;
}

/* No room in the middle of a change: SQLite drops the whole batch, and so do we, whatever comes after. */
static void test_the_disk_is_full_within_a_change(void **state)
{
    uint64_t revision = 77;
    bool new = true;
    (void)state;

    put_alone(address("main", "a@example.org", "user:a"));
    ok(store_begin(store));
    ok(change_begin(store));
    ok(put_many(1));
    ok(change_end(store, &author, &revision));
    ok(change_begin(store));
    sqlite3_exec(store->sql.db, "PRAGMA max_page_count=60", NULL, NULL, NULL);
    fails(put_many(5000), ERROR_SYSTEM, "store.db: disk full");
    ok(change_undo(store));
    assert_non_null(store->sql.lost);
    fails(change_begin(store), ERROR_SYSTEM, "store.db: disk full");
    fails(store_happening_seen(store, "mx1", 1, &new), ERROR_SYSTEM, "store.db: disk full");
    Error *err = store_commit(store);
    assert_non_null(err);
    assert_string_equal(err->hint, "make room and try again");
    fails(err, ERROR_SYSTEM, "store.db: disk full");
    sqlite3_exec(store->sql.db, "PRAGMA max_page_count=100000", NULL, NULL, NULL);
    as_before();
}

static void test_the_disk_is_full_for_a_fact(void **state)
{
    Mail__EventInfo event = MAIL__EVENT_INFO__INIT;
    uint64_t number = 0;
    Error *err = NULL;
    DEFER(xfree) char *words = xmalloc(5001);
    (void)state;

    memset(words, 'x', 5000);
    words[5000] = '\0';
    event.text = words;
    put_alone(address("main", "a@example.org", "user:a"));
    sqlite3_exec(store->sql.db, "PRAGMA max_page_count=60", NULL, NULL, NULL);
    while (!err)
        err = store_event_add(store, &event, &number);
    fails(err, ERROR_SYSTEM, "store.db: disk full");
    sqlite3_exec(store->sql.db, "PRAGMA max_page_count=100000", NULL, NULL, NULL);
    uint64_t next = 0;
    ok(store_event_add(store, &event, &next));
    assert_int_equal(next, number + 1);
    as_before();
}

/* The file may not grow: the write of the WAL fails, at COMMIT or when pages do not fit into memory. */
static void test_a_commit_that_fails(void **state)
{
    static const size_t sizes[] = {50, 3000};
    struct rlimit before, small;
    (void)state;

    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    for (size_t i = 0; i < 2; i++) {
        uint64_t revision = 0;
        teardown(NULL);
        setup(NULL);
        put_alone(address("main", "a@example.org", "user:a"));
        sqlite3_exec(store->sql.db, "PRAGMA cache_size=20", NULL, NULL, NULL);
        ok(store_begin(store));
        ok(change_begin(store));
        small = (struct rlimit){.rlim_cur = sizes[i] > 1000 ? 200000 : 8192, .rlim_max = before.rlim_max};
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
        Error *err = put_many(sizes[i]);
        if (err) {
            error_free(&err);
            ok(change_undo(store));
        } else {
            ok(change_end(store, &author, &revision));
            assert_int_equal(store_revision(store), 2);
        }
        err = store_commit(store);
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
        fails(err, ERROR_SYSTEM, "store.db: disk I/O error");
        as_before();
    }
}

static void test_the_file_is_held_by_somebody(void **state)
{
    sqlite3 *db = NULL;
    (void)state;

    put_alone(address("main", "a@example.org", "user:a"));
    sqlite3_busy_timeout(store->sql.db, 10);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
    fails(store_begin(store), ERROR_SYSTEM, "store.db is locked by another program");
    fails(store_node_seen(store, "mx1", 5), ERROR_SYSTEM, "store.db is locked by another program");
    sqlite3_close(db);
    as_before();
}

/* ---- killed ---- */

enum { MAKE, CHANGE, FACT };

static int act(size_t which, const char *where)
{
    snprintf(path, sizeof path, "%s", where);
    ok(store_open(path, &store));
    if (which == CHANGE)
        put_alone(address("main", "a@example.org", "user:a"));
    if (which == FACT)
        ok(store_node_key_set(store, "mx1", "KEY"));
    return 0;
}

/* The point is looked up once in a process: the deed is done by a new one. */
static void killed_at(const char *point, size_t act)
{
    int status = 0;
    pid_t child = fork();

    if (child == 0) {
        char number[16];
        snprintf(number, sizeof number, "%zu", act);
        setenv("MAILNODE_CRASH", point, 1);
        execl("/proc/self/exe", "store", number, path, (char *)NULL);
        _exit(1);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL)
        fail_msg("%s: not reached", point);
}

static void test_killed_at_every_step(void **state)
{
    static const struct {
        const char *point;
        size_t act;
        const char *then; /* what is asked afterwards */
        int64_t wanted;
    } cases[] = {
        {"controller.store.making", MAKE, "SELECT count(*) FROM revision", 0},
        {"controller.store.made", MAKE, "SELECT count(*) FROM revision", 0},
        {"controller.store.committing", CHANGE, "SELECT count(*) FROM object", 0},
        {"controller.store.committed", CHANGE, "SELECT count(*) FROM object", 1},
        {"controller.store.facts_committing", FACT, "SELECT count(*) FROM node_key", 0},
        {"controller.store.facts_committed", FACT, "SELECT count(*) FROM node_key", 1},
    };
    (void)state;

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        teardown(NULL);
        setup(NULL);
        store_free(&store);
        if (cases[i].act == MAKE)
            unlink(path);
        killed_at(cases[i].point, cases[i].act);
        ok(store_open(path, &store));
        ok(store_audit(store));
        if (raw(cases[i].then) != cases[i].wanted)
            fail_msg("%s: %" PRId64, cases[i].point, raw(cases[i].then));
    }
}

int main(int argc, char **argv)
{
    if (argc == 3)
        return act(strtoul(argv[1], NULL, 10), argv[2]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_files_are_ours_alone, setup, teardown),
        cmocka_unit_test_setup_teardown(test_what_cannot_be_opened, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_newer_schema_is_refused_and_left_alone, setup, teardown),
        cmocka_unit_test_setup_teardown(test_damage_is_named_and_left_alone, setup, teardown),
        cmocka_unit_test_setup_teardown(test_another_programs_database, setup, teardown),
        cmocka_unit_test_setup_teardown(test_the_disk_is_full_within_a_change, setup, teardown),
        cmocka_unit_test_setup_teardown(test_the_disk_is_full_for_a_fact, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_commit_that_fails, setup, teardown),
        cmocka_unit_test_setup_teardown(test_the_file_is_held_by_somebody, setup, teardown),
        cmocka_unit_test_setup_teardown(test_killed_at_every_step, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
