#include "engine/logs.h"

#include "expect.h"

#include "base/buf.h"
#include "base/path.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/stat.h>

static char root[] = "/tmp/logs.XXXXXX";
static Path folder;
static int at = -1;

static int setup(void **state)
{
    (void)state;
    snprintf(root, sizeof root, "/tmp/logs.XXXXXX");
    if (!mkdtemp(root))
        return -1;
    folder = path_in(root, "var/log/mailnode");
    ok(folder_make(folder.text, 0755, 0, 0));
    at = open(folder.text, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return at >= 0 ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    close(at);
    return folder_remove(root);
}

/* As a daemon does: it keeps its descriptor and knows nothing of the cut. */
typedef struct Writer {
    atomic_bool stop;
    atomic_uint n;
} Writer;

static void *write_lines(void *context)
{
    Writer *writer = context;
    int fd = openat(at, "daemon.log", O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);

    while (!atomic_load(&writer->stop)) {
        char line[128];
        unsigned n = atomic_load(&writer->n);
        int len =
            snprintf(line, sizeof line, "line %08u of a daemon that is never told anything%*s\n", n, (int)(n % 40), "");
        if (write(fd, line, (size_t)len) != len)
            break;
        atomic_store(&writer->n, n + 1);
    }
    close(fd);
    return NULL;
}

static void wait_for_lines(Writer *writer, unsigned n)
{
    while (atomic_load(&writer->n) < n)
        usleep(100);
}

/* The parts from the oldest to the newest, as one text. */
static void read_all(Buf *out)
{
    for (int n = LOGS_KEPT; n >= 0; n--) {
        Path path = n ? path_in(folder.text, "daemon.log.%d", n) : path_in(folder.text, "daemon.log");
        Error *err = file_read(path.text, 512 * 1024 * 1024, out);
        if (err && err->code == ERROR_NOT_FOUND)
            error_free(&err);
        ok(err);
    }
}

static void no_line_is_lost_while_it_is_written(void **state)
{
    Writer writer = {0};
    DEFER(buf_done) Buf text = {0};
    pthread_t thread;
    LogCut how = CUT_NOTHING;
    unsigned want = 0, odd = 0;
    (void)state;
    assert_int_equal(pthread_create(&thread, NULL, write_lines, &writer), 0);
    for (unsigned n = 1; n <= LOGS_KEPT; n++) {
        wait_for_lines(&writer, n * 3000);
        ok(log_cut(at, "daemon.log", true, &how));
        assert_int_equal(how, CUT_COLLAPSED);
    }
    atomic_store(&writer.stop, true);
    pthread_join(thread, NULL);

    read_all(&text);
    char *rest = NULL;
    assert_int_equal(strlen(buf_text(&text)), text.size); /* no hole of NULs */
    for (char *line = strtok_r((char *)text.data, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
        unsigned n = 0;
        if (line[strspn(line, " ")] == '\0')
            odd++;
        else if (sscanf(line, "line %8u of a daemon", &n) != 1 || n != want++) /* NOLINT: digits of ours */
            fail_msg("after line %u: '%s'", want - 1, line);
    }
    assert_int_equal(want, atomic_load(&writer.n));
    assert_true(odd <= LOGS_KEPT); /* blanked rests */
}

static void put(const char *name, const char *text)
{
    ok(file_write(path_in(folder.text, "%s", name).text, text, strlen(text), 0640, (gid_t)-1));
}

static void expect_file(const char *name, const char *want)
{
    DEFER(buf_done) Buf text = {0};
    Error *err = file_read(path_in(folder.text, "%s", name).text, 1024 * 1024, &text);

    if (!want) {
        fails(err, ERROR_NOT_FOUND, "no such file");
        return;
    }
    ok(err);
    if (strcmp(buf_text(&text), want) != 0)
        fail_msg("%s: '%s', wanted '%s'", name, buf_text(&text), want);
}

static void five_parts_are_kept(void **state)
{
    LogCut how = CUT_NOTHING;
    (void)state;
    for (int n = 1; n <= LOGS_KEPT + 2; n++) {
        char text[32];
        snprintf(text, sizeof text, "part %d\n", n);
        put("redis.log", text);
        ok(log_cut(at, "redis.log", false, &how));
        assert_int_equal(how, CUT_EMPTIED);
    }
    expect_file("redis.log", "");
    expect_file("redis.log.1", "part 7\n");
    expect_file("redis.log.5", "part 3\n");
    expect_file("redis.log.6", NULL);
    expect_file("redis.log.new", NULL);
}

static void a_cut_line_is_whole_in_the_older_part(void **state)
{
    char line[4200];
    DEFER(buf_done) Buf text = {0}, left = {0};
    LogCut how = CUT_NOTHING;
    (void)state;
    memset(line, 'x', sizeof line);
    line[sizeof line - 2] = '\n';
    line[sizeof line - 1] = '\0';
    buf_append_text(&text, line);
    buf_append_text(&text, "after\n");
    put("clamd.log", buf_text(&text));
    ok(log_cut(at, "clamd.log", true, &how));
    assert_int_equal(how, CUT_COLLAPSED);
    expect_file("clamd.log.1", line);
    for (size_t i = 4096; i < sizeof line - 2; i++)
        buf_append(&left, " ", 1);
    buf_append_text(&left, "\nafter\n");
    expect_file("clamd.log", buf_text(&left));
}

static void owner_and_mode_stay(void **state)
{
    struct stat st;
    LogCut how = CUT_NOTHING;
    (void)state;
    put("slapd.log", "one\n");
    assert_int_equal(chown(path_in(folder.text, "slapd.log").text, 1, 2), 0);
    ok(log_cut(at, "slapd.log", true, &how));
    assert_int_equal(stat(path_in(folder.text, "slapd.log.1").text, &st), 0);
    assert_true(st.st_uid == 1 && st.st_gid == 2 && (st.st_mode & 0777) == 0640);
}

static void what_is_no_log_is_left_alone(void **state)
{
    LogCut how = CUT_EMPTIED;
    (void)state;
    put("victim", "secret\n");
    assert_int_equal(symlinkat("victim", at, "evil.log"), 0);
    fails(log_cut(at, "evil.log", true, &how), ERROR_SYSTEM, "evil.log: open: ");
    assert_int_equal(mkdirat(at, "folder.log", 0700), 0);
    fails(log_cut(at, "folder.log", true, &how), ERROR_SYSTEM, "folder.log: open: ");
    put("empty.log", "");
    ok(log_cut(at, "empty.log", true, &how));
    assert_int_equal(how, CUT_NOTHING);
    expect_file("victim", "secret\n");
}

static void run_until_still(Logs *logs)
{
    Msec until = clock_ms() + 5000;

    for (Msec now = clock_ms(); now < until; now = clock_ms()) {
        Waiter wake = waiter_start();
        logs_run(logs, now);
        logs_wait(logs, &wake);
        if (wake.n_fds == 0) {
            free(wake.fds);
            return;
        }
        waiter_block(&wake);
    }
    fail_msg("the child does not end");
}

static void only_what_is_too_large_is_cut(void **state)
{
    (void)state;
    setenv("MAILNODE_LOG_BYTES", "10", 1);
    Logs *logs = logs_new(root);
    put("one.log", "more than ten octets\n");
    put("two.log", "also more than ten\n");
    put("small.log", "small\n");
    put("other.txt", "more than ten octets\n");
    run_until_still(logs);
    logs_free(&logs);
    unsetenv("MAILNODE_LOG_BYTES");
    expect_file("one.log.1", "more than ten octets\n");
    expect_file("two.log.1", "also more than ten\n");
    expect_file("small.log", "small\n");
    expect_file("small.log.1", NULL);
    expect_file("other.txt", "more than ten octets\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(no_line_is_lost_while_it_is_written, setup, teardown),
        cmocka_unit_test_setup_teardown(five_parts_are_kept, setup, teardown),
        cmocka_unit_test_setup_teardown(a_cut_line_is_whole_in_the_older_part, setup, teardown),
        cmocka_unit_test_setup_teardown(owner_and_mode_stay, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_no_log_is_left_alone, setup, teardown),
        cmocka_unit_test_setup_teardown(only_what_is_too_large_is_cut, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
