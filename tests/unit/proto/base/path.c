#include "base/path.h"

#include "expect.h"

#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>

static char folder[] = "/tmp/mn-path-XXXXXX";
static char lock[64];

/* A process that holds the lock as file_lock takes it, and says so on a pipe; 'child_ms': and then forks, and ends. */
static pid_t holder(unsigned child_ms)
{
    int ends[2];
    char word = 0;

    assert_int_equal(pipe(ends), 0);
    pid_t pid = fork();
    if (pid == 0) {
        Error *err = file_lock(lock);
        if (!err && child_ms && fork() == 0) {
            close(ends[1]);
            usleep(child_ms * 1000);
            _exit(0);
        }
        if (!err && write(ends[1], "y", 1) == 1 && !child_ms)
            pause();
        _exit(0);
    }
    close(ends[1]);
    assert_int_equal(read(ends[0], &word, 1), 1);
    close(ends[0]);
    return pid;
}

static void who_lives_keeps_it(void **state)
{
    (void)state;
    char words[64];
    pid_t pid = holder(0);

    snprintf(words, sizeof words, "is held by pid %d", (int)pid);
    fails(file_lock(lock), ERROR_CONFLICT, words);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    ok(file_lock(lock));
}

/* As a daemon that is killed the instant after it has forked. */
static void what_a_dead_one_has_left_is_waited_for(void **state)
{
    (void)state;
    snprintf(lock, sizeof lock, "%s/another", folder);
    waitpid(holder(200), NULL, 0);
    ok(file_lock(lock));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_lives_keeps_it),
        cmocka_unit_test(what_a_dead_one_has_left_is_waited_for),
    };
    if (!mkdtemp(folder))
        return 1;
    snprintf(lock, sizeof lock, "%s/lock", folder);
    int failed = cmocka_run_group_tests_name("base/path", tests, NULL, NULL);
    folder_remove(folder);
    return failed;
}
