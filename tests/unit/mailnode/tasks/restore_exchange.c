/* kill -9 at each step of an exchange, and at each step of what comes after it: the old family or the new one, complete
 *
 * All that reaches a crash point runs in processes of its own: each looks into its environment once.
 */
#include "tasks/restore_exchange.h"

#include "base/path.h"
#include "expect.h"
#include "tasks/restore_drop.h"
#include "tasks/restore_room.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>

enum { POINTS_MAX = 64, DEEP = 3000 };

#define STORE "var/lib/mailnode/mail/alice/Maildir"
#define ROOMS "var/lib/mailnode/work/restore"

/* In memory: it is about the order of steps, and there are hundreds of fsyncs. */
static char root[] = "/dev/shm/exchange.XXXXXX";

/* Not file_write: that has crash points. */
static void file_there(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    assert_true(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
    close(fd);
}

static void folder_there(const char *format, const char *name)
{
    DEFER(xfree) char *path = xasprintf("%s/%s/%s", root, format, name);

    ok(folder_make(path, 0700, 0, 0));
    DEFER(xfree) char *mark = xasprintf("%s/mark", path);
    file_there(mark, name);
}

static bool is_there(const char *folder, const char *name)
{
    DEFER(xfree) char *mark = xasprintf("%s/%s/%s/mark", root, folder, name);
    DEFER(buf_done) Buf text = {0};

    Error *err = file_read(mark, 4096, &text);
    bool there = !err;
    error_free(&err);
    if (there)
        assert_string_equal(buf_text(&text), name);
    return there;
}

static size_t entries(const char *folder)
{
    DEFER(xfree) char *path = xasprintf("%s/%s", root, folder);
    DEFER(dir_close) DIR *dir = opendir(path);
    size_t n = 0;

    for (struct dirent *entry; dir && (entry = readdir(dir));)
        n += strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0 && strcmp(entry->d_name, ".gate") != 0;
    return n;
}

static const char *const others[] = {".Restored folderX", ".Projects", "cur", ".Restored", ".Trash.Restored folder"};
static const char *const old[] = {".Restored folder", ".Restored folder.Old", ".Restored folder.Both"};
static const char *const new[] = {".Restored folder", ".Restored folder.New", ".Restored folder.New.sub",
                                  ".Restored folder.Both"};
#define N(list) (sizeof(list) / sizeof *(list))

static int setup(void **state)
{
    (void)state;
    snprintf(root, sizeof root, "/dev/shm/exchange.XXXXXX");
    if (!mkdtemp(root))
        return -1;
    for (size_t i = 0; i < N(others); i++)
        folder_there(STORE, others[i]);
    for (size_t i = 0; i < N(old); i++)
        folder_there(STORE, old[i]);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    return folder_remove(root);
}

/* New folders say so beside their mark, so that "Restored folder" itself is told apart. */
static void new_there(const char *id)
{
    DEFER(xfree) char *in = xasprintf(ROOMS "/%s/new", id);

    for (size_t i = 0; i < N(new); i++) {
        DEFER(xfree) char *fresh = xasprintf("%s/%s/%s/fresh", root, in, new[i]);
        folder_there(in, new[i]);
        file_there(fresh, "");
    }
}

static bool is_fresh(const char *name)
{
    DEFER(xfree) char *path = xasprintf("%s/" STORE "/%s/fresh", root, name);

    return access(path, F_OK) == 0;
}

/* true: the new one stands. */
static bool one_is_complete(void)
{
    bool fresh = is_there(STORE, ".Restored folder.New");

    for (size_t i = 0; i < N(others); i++)
        assert_true(is_there(STORE, others[i]));
    for (size_t i = 0; i < N(old); i++)
        if (!fresh)
            assert_true(is_there(STORE, old[i]) && !is_fresh(old[i]));
    for (size_t i = 0; i < N(new); i++)
        if (fresh)
            assert_true(is_there(STORE, new[i]) && is_fresh(new[i]));
    assert_int_equal(entries(STORE), N(others) + (fresh ? N(new) : N(old)));
    assert_int_equal(entries(ROOMS), 0);
    return fresh;
}

static void one_restore(void)
{
    DEFER(room_free) Room *room = NULL;

    ok(room_take(root, "ONE", "user:alice", &room));
    new_there("ONE");
    ok(exchange_run(root, room_fd(room), &(ExchangePlace){.user = "alice", .family = ".Restored folder"}));
    ok(room_end(&room));
}

static void sweep(void)
{
    ok(rooms_sweep(root, NULL, NULL));
}

static int in_process(void (*what)(void), const char *name, const char *value)
{
    int status = 0;
    pid_t pid = fork();

    if (pid == 0) {
        if (name)
            setenv(name, value, 1);
        what();
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

/* Every point of ours that a run reaches, with the how-manieth time. */
static size_t learn(void (*what)(void), char points[POINTS_MAX][80])
{
    DEFER(xfree) char *trace = xasprintf("%s/trace", root);
    size_t n = 0;
    char line[64];

    assert_int_equal(in_process(what, "MAILNODE_CRASH_TRACE", trace), 0);
    FILE *file = fopen(trace, "re"); /* made by the first point */
    if (!file)
        return 0;
    while (n < POINTS_MAX && fgets(line, sizeof line, file)) {
        size_t len = strcspn(line, "\n"), times = 1;
        for (size_t i = 0; i < n; i++)
            times += strncmp(points[i], line, len) == 0 && points[i][len] == ':';
        if (strncmp(line, "restore.", 8) == 0)
            snprintf(points[n++], sizeof points[0], "%.*s:%zu", (int)len, line, times);
    }
    fclose(file);
    unlink(trace);
    return n;
}

static void it_goes_well(void **state)
{
    (void)state;
    assert_int_equal(in_process(one_restore, NULL, NULL), 0);
    assert_true(one_is_complete());
}

static void dies_at(const char *point)
{
    assert_true(WIFSIGNALED(in_process(one_restore, "MAILNODE_CRASH", point)));
}

static void again(void **state)
{
    teardown(state);
    setup(state);
}

static void dies_at_each_step(void **state)
{
    char points[POINTS_MAX][80];
    size_t n = learn(one_restore, points), n_old = 0;

    assert_in_range(n, 12, POINTS_MAX - 1);
    for (size_t i = 0; i < n; i++) {
        again(state);
        dies_at(points[i]);
        assert_int_equal(in_process(sweep, NULL, NULL), 0);
        n_old += !one_is_complete();
        assert_int_equal(in_process(one_restore, NULL, NULL), 0); /* and the next one goes well */
        assert_true(one_is_complete());
    }
    assert_in_range(n_old, 1, 3); /* before the journal */
}

static void and_again_at_each_step_of_what_comes_after(void **state)
{
    char points[POINTS_MAX][80], later[POINTS_MAX][80];
    size_t n = learn(one_restore, points);

    for (size_t i = 2; i < n; i += 4) { /* each step of the second is met after an early and after a late death */
        again(state);
        dies_at(points[i]);
        size_t n_later = learn(sweep, later);
        bool fresh = one_is_complete();
        for (size_t j = 0; j < n_later; j++) {
            again(state);
            dies_at(points[i]);
            assert_true(WIFSIGNALED(in_process(sweep, "MAILNODE_CRASH", later[j])));
            assert_int_equal(in_process(sweep, NULL, NULL), 0);
            assert_true(one_is_complete() == fresh);
        }
    }
}

static void a_failed_one_costs_nothing(void **state)
{
    DEFER(room_free) Room *room = NULL;

    (void)state;
    ok(room_take(root, "ONE", "user:alice", &room));
    new_there("ONE");
    room_free(&room); /* cancelled */
    assert_false(one_is_complete());
}

static void one_for_a_mailbox(void **state)
{
    DEFER(room_free) Room *one = NULL, *two = NULL;

    (void)state;
    ok(room_take(root, "ONE", "user:alice", &one));
    fails(room_take(root, "TWO", "user:alice", &two), ERROR_CONFLICT, "restore ONE of this mailbox is running");
    ok(room_take(root, "TWO", "public:alice", &two));
    ok(room_end(&one));
    ok(room_take(root, "THREE", "user:alice", &one));
    fails(room_take(root, "../x", "user:bob", &two), ERROR_INVALID, "no id");
}

static void a_mailbox_that_is_gone(void **state)
{
    DEFER(room_free) Room *room = NULL;

    (void)state;
    ok(room_take(root, "ONE", "user:bob", &room));
    new_there("ONE");
    fails(exchange_run(root, room_fd(room), &(ExchangePlace){.user = "bob", .family = ".Restored folder"}),
          ERROR_NOT_FOUND, "mail of bob");
    room_free(&room);
    assert_int_equal(entries(ROOMS), 1); /* what is journaled stays */
    sweep();
    ok(room_take(root, "TWO", "user:alice", &room)); /* and is no obstacle for others */
    ok(room_end(&room));
    assert_int_equal(entries(ROOMS), 1);
    folder_there("var/lib/mailnode/mail/bob/Maildir", "cur");
    sweep();
    assert_int_equal(entries("var/lib/mailnode/mail/bob/Maildir"), 1 + N(new));
    assert_int_equal(entries(ROOMS), 0);
}

/* Deeper than a stack or a table of descriptors, with links that lead out, and a journal that is none of ours. */
static void hostile_trees(void **state)
{
    DEFER(room_free) Room *room = NULL;
    DEFER(xfree) char *keep = xasprintf("%s/keep", root), *link = xasprintf("%s/" STORE "/.Restored folder.link", root);
    int at = -1;

    (void)state;
    file_there(keep, "");
    assert_int_equal(symlink(root, link), 0);
    ok(room_take(root, "ONE", "user:alice", &room));
    at = dup(room_fd(room));
    for (int i = 0; i < DEEP; i++) {
        assert_true(mkdirat(at, "deep", 0700) == 0 && symlinkat("../..", at, "up") == 0);
        int next = openat(at, "deep", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        int journal = openat(next, "exchange-out", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
        assert_true(write(journal, "mailnode exchange 1\nuser alice\n.Projects\n", 41) == 41);
        close(journal);
        close(at);
        at = next;
    }
    close(at);
    DEFER(xfree) char *odd = xasprintf("%s/" ROOMS "/.drop-0", root), *one = xasprintf("%s/" ROOMS "/ONE/deep", root);
    assert_int_equal(rename(one, odd), 0); /* as a death while dropping leaves it */
    new_there("ONE");
    ok(exchange_run(root, room_fd(room), &(ExchangePlace){.user = "alice", .family = ".Restored folder"}));
    ok(room_end(&room));
    sweep();
    assert_true(one_is_complete());
    assert_int_equal(access(keep, F_OK), 0);
}

static void families(void **state)
{
    static const struct {
        const char *name;
        bool in;
    } cases[] = {
        {".Restored folder", true},   {".Restored folder.x", true},  {".Restored folder..", true},
        {".Restored folderX", false}, {".Restored folder x", false}, {".restored folder", false},
        {"Restored folder", false},   {".Restored", false},          {".A.Restored folder", false},
    };

    (void)state;
    for (size_t i = 0; i < N(cases); i++)
        if (exchange_of_family(".Restored folder", cases[i].name) != cases[i].in)
            fail_msg("%s", cases[i].name);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(it_goes_well),
        TEST(dies_at_each_step),
        TEST(and_again_at_each_step_of_what_comes_after),
        TEST(one_for_a_mailbox),
        TEST(a_mailbox_that_is_gone),
        TEST(a_failed_one_costs_nothing),
        TEST(hostile_trees),
        TEST(families),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
