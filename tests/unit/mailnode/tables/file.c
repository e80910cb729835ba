#include "fake.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

static Folder folder;
static char path[96];
static Tables *tables;

static Stated stated;

static int setup(void **state)
{
    (void)state;
    folder = folder_new();
    snprintf(path, sizeof path, "%s/mail.db", folder.text);
    stated = (Stated){.instance = "main"};
    state_domain(&stated, "example.org", true, false, NULL);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    tables_free(&tables);
    stated_done(&stated);
    folder_remove(folder.text);
    return 0;
}

static bool opened(void)
{
    bool rebuilt = false;

    ok(tables_open(folder.text, (gid_t)-1, &tables, &rebuilt));
    return rebuilt;
}

static void filled(uint64_t revision)
{
    TablesView view = fake_view(&stated);

    ok(tables_begin(tables));
    ok(tables_accounts_begin(tables));
    for (int i = 0; i < 30; i++) {
        DEFER(xfree) char *name = xasprintf("user%d", i);
        ok(tables_account_user(tables, &(AccountUser){.uuid = name, .name = name, .enabled = true}));
    }
    ok(tables_accounts_end(tables));
    ok(tables_touch_all(tables));
    ok(tables_commit(tables, &view, revision, &(Digest){{7}}));
}

static uint64_t applied(void)
{
    uint64_t revision = 0;
    Digest digest;

    ok(tables_applied(tables, &revision, &digest));
    return revision;
}

static const char *part(const char *suffix)
{
    static char name[128];

    snprintf(name, sizeof name, "%s%s", path, suffix);
    return name;
}

static ino_t inode(const char *suffix)
{
    struct stat st;

    assert_int_equal(stat(part(suffix), &st), 0);
    return st.st_ino;
}

static void works_again(void)
{
    filled(43);
    assert_int_equal(applied(), 43);
    DEFER(xfree) char *got = fate(tables->db, "user7@example.org");
    assert_string_equal(got, "user7@u.internal");
}

/* ---- made and found again ---- */

static void made_with_modes(void **state)
{
    static const char *const parts[] = {"", "-wal", "-shm"};

    (void)state;
    umask(0);
    assert_false(opened());
    assert_int_equal(applied(), 0);
    filled(42);
    for (int round = 0; round < 2; round++) { /* open, and closed by its last connection */
        for (int i = 0; i < 3; i++) {
            struct stat st;
            assert_int_equal(stat(part(parts[i]), &st), 0);
            assert_int_equal(st.st_mode & 07777, 0640);
        }
        tables_free(&tables);
    }
    chmod(path, 0666);
    chmod(part("-wal"), 0600);
    unlink(part("-shm"));
    assert_false(opened());
    assert_int_equal(applied(), 42);
    for (int i = 0; i < 3; i++) {
        struct stat st;
        assert_int_equal(stat(part(parts[i]), &st), 0);
        assert_int_equal(st.st_mode & 07777, 0640);
    }
}

/* The group of -wal and -shm is that of mail.db, whoever made them. */
static void made_with_group(void **state)
{
    bool rebuilt;

    (void)state;
    if (geteuid() != 0)
        skip(); /* only root has groups to choose from */
    ok(tables_open(folder.text, 12345, &tables, &rebuilt));
    filled(42);
    tables_free(&tables);
    unlink(part("-wal"));
    unlink(part("-shm"));
    ok(tables_open(folder.text, 12345, &tables, &rebuilt));
    static const char *const parts[] = {"", "-wal", "-shm"};
    for (int i = 0; i < 3; i++) {
        struct stat st;
        assert_int_equal(stat(part(parts[i]), &st), 0);
        assert_int_equal(st.st_gid, 12345);
    }
}

static void kept_over_a_kill(void **state)
{
    (void)state;
    pid_t child = fork();
    if (child == 0) {
        bool rebuilt;
        Error *err = tables_open(folder.text, (gid_t)-1, &tables, &rebuilt);
        if (!err)
            filled(42);
        kill(getpid(), SIGKILL);
    }
    int status;
    waitpid(child, &status, 0);
    assert_false(opened());
    assert_int_equal(applied(), 42);
}

static void any_part_may_be_missing(void **state)
{
    static const char *const missing[][3] = {{"-wal"}, {"-shm"}, {"-wal", "-shm"}, {"", "-wal", "-shm"}};

    (void)state;
    for (size_t i = 0; i < sizeof missing / sizeof *missing; i++) {
        opened();
        filled(42);
        tables_free(&tables);
        for (int k = 0; k < 3 && missing[i][k]; k++)
            unlink(part(missing[i][k]));
        assert_false(opened());
        assert_int_equal(applied(), i < 3 ? 42 : 0);
        works_again();
        tables_free(&tables);
    }
    opened();
    filled(42);
    tables_free(&tables);
    unlink(path); /* and what is left of it beside */
    opened();
    works_again();
}

/* ---- damage ---- */

static void scribble(off_t at, size_t size)
{
    DEFER(xfree) uint8_t *octets = xmalloc(size);
    int fd = open(path, O_WRONLY);
    unsigned random = 12345;

    assert_true(fd >= 0);
    for (size_t i = 0; i < size; i++) {
        random = random * 1103515245u + 12345u;
        octets[i] = (uint8_t)(random >> 16);
    }
    assert_int_equal(pwrite(fd, octets, size, at), size);
    close(fd);
}

static void sql(const char *text)
{
    sqlite3 *db = NULL;

    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    if (sqlite3_exec(db, text, NULL, NULL, NULL) != SQLITE_OK)
        fail_msg("%s: %s", text, sqlite3_errmsg(db));
    sqlite3_close(db);
}

static const struct {
    const char *what, *sql;
    off_t at;
    size_t size;
    bool truncate;
} damages[] = {
    {"garbage all over", NULL, 0, 200000, false},
    {"no header", NULL, 0, 100, false},
    {"first two pages", NULL, 0, 8192, false},
    {"behind the header", NULL, 100, 20000, false},
    {"pages in the middle", NULL, 20480, 8192, false},
    {"short garbage", NULL, 0, 600, true},
    {"cut in the middle", NULL, 24000, 0, true},
    {"cut to a header", NULL, 100, 0, true},
    {"cut to ten octets", NULL, 10, 0, true},
    {"a table less", "DROP TABLE login", 0, 0, false},
    {"an index less", "DROP INDEX edge_dst", 0, 0, false},
    {"a table more", "CREATE TABLE x(y)", 0, 0, false},
    {"no state", "DELETE FROM state", 0, 0, false},
    {"a broken digest", "UPDATE state SET digest='x'", 0, 0, false},
    {"no version", "PRAGMA user_version=0", 0, 0, false},
    {"a negative version", "PRAGMA user_version=-1", 0, 0, false},
};

static void damage(size_t i)
{
    if (damages[i].sql)
        sql(damages[i].sql);
    else if (damages[i].truncate)
        assert_int_equal(truncate(path, damages[i].at + (off_t)damages[i].size), 0);
    if (damages[i].size)
        scribble(damages[i].at, damages[i].size);
}

/* Another process that has the database open, as Postfix: locks within one process are not what they are between two. */
typedef struct Reader {
    pid_t pid;
    int ask, answer;
} Reader;

/* 'y': found; 'n': not found, or an error. */
static char reader_asks(const Reader *reader)
{
    char answer = 0;

    assert_int_equal(write(reader->ask, "?", 1), 1);
    assert_int_equal(read(reader->answer, &answer, 1), 1);
    return answer;
}

static void reader_runs(int ask_fd, int answer_fd)
{
    sqlite3 *db = NULL;
    char octet;

    sqlite3_open_v2(path, &db, SQLITE_OPEN_READONLY, NULL);
    sqlite3_busy_timeout(db, 1000);
    while (read(ask_fd, &octet, 1) == 1) {
        sqlite3_stmt *get = NULL;
        bool found = sqlite3_prepare_v2(db, "SELECT 1 FROM rcpt WHERE local='user7'", -1, &get, NULL) == SQLITE_OK &&
                     sqlite3_step(get) == SQLITE_ROW;
        sqlite3_finalize(get);
        if (write(answer_fd, found ? "y" : "n", 1) != 1)
            break;
    }
    _exit(0);
}

static Reader reader_new(void)
{
    int ask_pipe[2], answer_pipe[2];

    assert_int_equal(pipe(ask_pipe), 0);
    assert_int_equal(pipe(answer_pipe), 0);
    Reader reader = {fork(), ask_pipe[1], answer_pipe[0]};
    if (reader.pid == 0) {
        close(ask_pipe[1]);
        reader_runs(ask_pipe[0], answer_pipe[1]);
    }
    close(ask_pipe[0]);
    close(answer_pipe[1]);
    return reader;
}

static void reader_free(const Reader *reader)
{
    close(reader->ask);
    close(reader->answer);
    waitpid(reader->pid, NULL, 0);
}

/* With its -wal and -shm, and without: then a reader who holds them does not come back by itself. */
static void one_damage(size_t i, bool without)
{
    opened();
    filled(42);
    tables_free(&tables);
    ino_t was = inode("");
    Reader reader = reader_new();
    assert_int_equal(reader_asks(&reader), 'y');
    damage(i);
    if (without) {
        unlink(part("-wal"));
        unlink(part("-shm"));
    }
    if (!opened())
        fail_msg("%s, %d: not seen", damages[i].what, without);
    assert_int_equal(applied(), 0);
    if (inode("") != was)
        fail_msg("%s, %d: another file", damages[i].what, without);
    if (!without && reader_asks(&reader) != 'n')
        fail_msg("%s: the reader sees what was", damages[i].what);
    works_again();
    if (!without && reader_asks(&reader) != 'y')
        fail_msg("%s: the reader does not see what is", damages[i].what);
    reader_free(&reader);
    tables_free(&tables);
}

static void damage_is_emptied_in_place(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof damages / sizeof *damages; i++)
        for (int without = 0; without < (damages[i].sql ? 1 : 2); without++) /* what SQL did is in the WAL */
            one_damage(i, without);
}

static void newer_schema_is_left_alone(void **state)
{
    bool rebuilt;

    (void)state;
    opened();
    filled(42);
    tables_free(&tables);
    sql("PRAGMA user_version=7; CREATE TABLE x(y)");
    fails(tables_open(folder.text, (gid_t)-1, &tables, &rebuilt), ERROR_UNSUPPORTED,
          "mail.db has schema 7, this program knows 3");
    assert_null(tables);
    sql("PRAGMA user_version=3; DROP TABLE x");
    assert_false(opened());
    assert_int_equal(applied(), 42);
}

/* ---- under our hands ---- */

static void replaced_file_is_noticed(void **state)
{
    static const char *const parts[] = {"", "-wal", "-shm"};
    uint64_t revision;
    Digest digest;

    (void)state;
    for (int i = 0; i < 3; i++) {
        opened();
        filled(42);
        unlink(part(parts[i]));
        fails(tables_applied(tables, &revision, &digest), ERROR_DAMAGED, "is not there any more");
        fclose(fopen(part(parts[i]), "w"));
        fails(tables_applied(tables, &revision, &digest), ERROR_DAMAGED, "is another file now");
        tables_free(&tables);
        opened();
        works_again();
        tables_free(&tables);
    }
}

static void lost_state_is_noticed(void **state)
{
    uint64_t revision;
    Digest digest;

    (void)state;
    opened();
    filled(42);
    sql("DELETE FROM state");
    fails(tables_applied(tables, &revision, &digest), ERROR_DAMAGED, "its state is missing");
    tables_free(&tables);
    assert_true(opened());
}

static void not_possible(void **state)
{
    bool rebuilt;

    (void)state;
    fails(tables_open("/nonexistent", (gid_t)-1, &tables, &rebuilt), ERROR_SYSTEM, "/nonexistent/mail.db");
    assert_int_equal(mkdir(path, 0755), 0);
    fails(tables_open(folder.text, (gid_t)-1, &tables, &rebuilt), ERROR_SYSTEM, "mail.db");
    assert_int_equal(rmdir(path), 0);
    assert_int_equal(symlink("/etc/passwd", path), 0);
    fails(tables_open(folder.text, (gid_t)-1, &tables, &rebuilt), ERROR_SYSTEM, "mail.db");
    unlink(path);
    assert_false(opened());
}

static void writer_who_waits(void **state)
{
    sqlite3 *other = NULL;

    (void)state;
    opened();
    filled(42);
    assert_int_equal(sqlite3_open(path, &other), SQLITE_OK);
    ok(sql_exec(other, "BEGIN IMMEDIATE"));
    sqlite3_busy_timeout(tables->db, 1);
    fails(tables_begin(tables), ERROR_SYSTEM, "locked");
    ok(sql_exec(other, "ROLLBACK"));
    sqlite3_close(other);
    works_again();
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(made_with_modes),
        TEST(made_with_group),
        TEST(kept_over_a_kill),
        TEST(any_part_may_be_missing),
        TEST(damage_is_emptied_in_place),
        TEST(newer_schema_is_left_alone),
        TEST(replaced_file_is_noticed),
        TEST(lost_state_is_noticed),
        TEST(not_possible),
        TEST(writer_who_waits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
