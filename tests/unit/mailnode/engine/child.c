/* A run of another program: its words, its end, its user, and that nothing of ours goes along. */
#include "engine/child.h"

#include "expect.h"

#include <fcntl.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>

static Child *started(const char *user, const char *const *argv, const char *const *env, Msec deadline_ms)
{
    Child *child = NULL;

    ok(child_start(&(ChildSpec){.user = user, .argv = argv, .env = env, .deadline_ms = deadline_ms}, &child));
    return child;
}

static void until_end(Child *child)
{
    Msec late = clock_ms() + 10000;

    while (!child_run(child, clock_ms())) {
        if (clock_ms() > late)
            fail_msg("the child does not end");
        Waiter wake = waiter_start();
        child_wait(child, &wake);
        waiter_at(&wake, late);
        waiter_block(&wake);
    }
}

static const struct {
    const char *script;
    int exit;
    const char *words;
} ends[] = {
    {"exit 0", 0, ""},
    {"echo yes; echo no >&2; echo; echo", 0, "yes\nno"},
    {"exit 3", 3, ""},
    {"kill -TERM $$", -SIGTERM, ""},
    {"cat; pwd", 0, "/"},
    {"env -0 | sort -z | head -c 3 | tr '\\0' x", 0, "PAT"},
    {"printf 'a\\0b'", 0, "a b"},
    {"sleep 100 & echo left", 0, "left"}, /* what it leaves behind goes with it */
    {"ls /proc/self/fd | wc -l", 0, "4"}, /* 0 to 2, and the folder itself */
    {"trap", 0, ""},
    {"grep SigIgn /proc/self/status", 0, "SigIgn:\t0000000000000000"},
    {"grep SigBlk /proc/self/status", 0, "SigBlk:\t0000000000000000"},
};

static void test_ends(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        const char *const argv[] = {"/bin/sh", "-c", ends[i].script, NULL};
        DEFER(child_free) Child *child = started(NULL, argv, NULL, 5000);
        until_end(child);
        if (child_exit(child) != ends[i].exit || strcmp(child_words(child), ends[i].words) != 0)
            fail_msg("%s: %d '%s'", ends[i].script, child_exit(child), child_words(child));
        assert_int_equal(child_succeeded(child), ends[i].exit == 0);
    }
}

static void test_not_there(void **state)
{
    (void)state;
    const char *const argv[] = {"/nowhere/program", NULL};
    DEFER(child_free) Child *child = started(NULL, argv, NULL, 5000);

    until_end(child);
    assert_int_equal(child_exit(child), 127);
    assert_string_equal(child_words(child), "run /nowhere/program: No such file or directory");
}

static void test_environment(void **state)
{
    (void)state;
    const char *const argv[] = {"/usr/bin/env", NULL};
    const char *const env[] = {"ONE=1", "TWO=2 3", NULL};

    setenv("SECRET_OF_OURS", "x", 1);
    DEFER(child_free) Child *child = started(NULL, argv, env, 5000);
    until_end(child);
    assert_string_equal(child_words(child), "PATH=/usr/sbin:/usr/bin:/sbin:/bin\nONE=1\nTWO=2 3");
}

static void test_deadline(void **state)
{
    (void)state;
    /* it ignores SIGTERM, has a child in its group, and both hold the pipe */
    const char *const argv[] = {"/bin/sh", "-c", "trap '' TERM; sleep 100 & echo $!; wait", NULL};
    DEFER(child_free) Child *child = started(NULL, argv, NULL, 100);

    until_end(child);
    assert_int_equal(child_exit(child), -1000);
    assert_false(child_succeeded(child));
    pid_t grandchild = atoi(child_words(child)); /* NOLINT: what sh wrote */
    assert_true(grandchild > 0);
    Msec late = clock_ms() + 5000;
    char state_of = 'S';
    while (state_of != 'Z' && kill(grandchild, 0) == 0 && clock_ms() < late) {
        char path[64];
        snprintf(path, sizeof path, "/proc/%d/stat", (int)grandchild);
        FILE *stat_file = fopen(path, "re");
        if (!stat_file)
            break;
        if (fscanf(stat_file, "%*d %*s %c", &state_of) != 1) /* NOLINT: one letter */
            state_of = 'Z';
        fclose(stat_file);
    }
    assert_true(clock_ms() < late);
}

static void test_output_limit(void **state)
{
    (void)state;
    const char *const argv[] = {"/bin/sh", "-c", "head -c 1000000 /dev/zero | tr '\\0' a", NULL};
    DEFER(child_free) Child *child = started(NULL, argv, NULL, 5000);

    until_end(child);
    assert_true(child_succeeded(child));
    assert_int_equal(strlen(child_words(child)), CHILD_OUTPUT_MAX);
}

static int say_who(void *context)
{
    dprintf(STDOUT_FILENO, "%s %d %d %d", (const char *)context, (int)getuid(), (int)geteuid(),
            (int)(getsid(0) == getpid()));
    return setuid(0) == 0 ? 1 : 7; /* there must be no way back */
}

static void test_fork_as_user(void **state)
{
    (void)state;
    DEFER(child_free) Child *child = NULL;
    char want[64];
    char word[] = "I am";

    if (geteuid() != 0)
        skip();
    const struct passwd *nobody = getpwnam("nobody");
    snprintf(want, sizeof want, "I am %d %d 1", (int)nobody->pw_uid, (int)nobody->pw_uid);
    ok(child_fork(&(ChildSpec){.user = "nobody", .deadline_ms = 5000}, say_who, word, &child));
    until_end(child);
    assert_string_equal(child_words(child), want);
    assert_int_equal(child_exit(child), 7);
}

static void test_user_not_there(void **state)
{
    (void)state;
    DEFER(child_free) Child *child = NULL;
    const char *const argv[] = {"/bin/true", NULL};

    fails(child_start(&(ChildSpec){.user = "no-such-user", .argv = argv, .deadline_ms = 5000}, &child), ERROR_DENIED,
          "/bin/true: user no-such-user does not exist");
    assert_null(child);
}

/* Freed while it runs: it is gone and reaped. */
static void test_free_kills(void **state)
{
    (void)state;
    const char *const argv[] = {"/bin/sleep", "100", NULL};
    Child *child = started(NULL, argv, NULL, 100000);

    assert_false(child_run(child, clock_ms()));
    child_free(&child);
    assert_null(child);
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1); /* no child is left */
}

static void test_argv(void **state)
{
    (void)state;
    Argv argv = {.n = 0};

    argv_add(&argv, "/bin/%s", "x");
    argv_add(&argv, "-c");
    assert_int_equal(argv.n, 2);
    assert_string_equal(argv.items[0], "/bin/x");
    assert_null(argv.items[2]);
    argv_done(&argv);
    assert_int_equal(argv.n, 0);
    assert_null(argv.items[0]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ends),           cmocka_unit_test(test_not_there),    cmocka_unit_test(test_environment),
        cmocka_unit_test(test_deadline),       cmocka_unit_test(test_output_limit), cmocka_unit_test(test_fork_as_user),
        cmocka_unit_test(test_user_not_there), cmocka_unit_test(test_free_kills),   cmocka_unit_test(test_argv),
    };

    stop_on_signals(); /* as mail-engine: signals are blocked and ignored that a child must not inherit */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
