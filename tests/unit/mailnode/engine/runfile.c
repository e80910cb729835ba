/* A run-file is whole or none, and a pid is ours only with its boot, its start and its program. */
#include "engine/runfile.h"

#include "base/path.h"

#include "expect.h"

#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/wait.h>

static char folder[] = "/tmp/runfile-XXXXXX";
static char path[64];

static int make_folder(void **state)
{
    (void)state;
    if (!mkdtemp(folder))
        return -1;
    snprintf(path, sizeof path, "%s/postfix", folder);
    return 0;
}

static int drop_folder(void **state)
{
    (void)state;
    return folder_remove(folder);
}

static RunFile some(void)
{
    RunFile file = {.boot_id = "0-1-2", .pid = 4711, .start_time = 1234567890123, .generation = 124, .answered = true};

    snprintf(file.program, sizeof file.program, "%s", "/usr/sbin/with a space");
    file.files = digest_of("a", 1);
    file.restart = digest_of("b", 1);
    return file;
}

static void test_round_trip(void **state)
{
    (void)state;
    RunFile file = some();
    RunFile back = {.pid = 0};

    ok(runfile_write(path, &file));
    ok(runfile_read(path, &back));
    assert_memory_equal(&file, &back, sizeof file);
    ok(runfile_remove(path));
    fails(runfile_read(path, &back), ERROR_NOT_FOUND, "run-file: ");
    ok(runfile_remove(path)); /* none is right, too */
}

/* Cut anywhere, or with any octet changed: it does not read back, and what was there before stays. */
static void test_torn(void **state)
{
    (void)state;
    RunFile file = some();
    RunFile back = {.pid = 7};
    DEFER(buf_done) Buf text = {0};

    ok(runfile_write(path, &file));
    ok(file_read(path, 4096, &text));
    for (size_t cut = 0; cut < text.size; cut++) {
        FILE *out = fopen(path, "we");
        fwrite(text.data, 1, cut, out);
        fclose(out);
        fails(runfile_read(path, &back), ERROR_DAMAGED, "does not read back");
    }
    for (size_t at = 0; at < text.size; at++) {
        text.data[at] ^= 1;
        FILE *out = fopen(path, "we");
        fwrite(text.data, 1, text.size, out);
        fclose(out);
        fails(runfile_read(path, &back), ERROR_DAMAGED, "does not read back");
        text.data[at] ^= 1;
    }
    assert_int_equal(back.pid, 7);
    char *large = xcalloc(1, 5000);
    ok(file_write(path, large, 5000, 0600, (gid_t)-1));
    fails(runfile_read(path, &back), ERROR_DAMAGED, "larger than");
    xfree(&large);
}

static RunFile of_process(pid_t pid)
{
    RunFile file = some();
    uint64_t cpu_ticks = 0;
    char process_state = 0;

    file.pid = pid;
    assert_true(process_look(pid, &file.start_time, file.program, &process_state, &cpu_ticks));
    return file;
}

static void test_alive(void **state)
{
    (void)state;
    RunFile file = of_process(getpid());

    assert_true(strstr(file.program, "runfile"));
    assert_true(runfile_alive(&file, "0-1-2"));
    assert_false(runfile_alive(&file, "0-1-3"));
    file.start_time++;
    assert_false(runfile_alive(&file, "0-1-2"));
    file.start_time--;
    snprintf(file.program, sizeof file.program, "%s", "/usr/sbin/other");
    assert_false(runfile_alive(&file, "0-1-2"));
}

static pid_t sleeper(void)
{
    pid_t pid = fork();

    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        for (;;)
            pause();
    }
    return pid;
}

/* Its name may look like the fields that follow. */
static void test_strange_name(void **state)
{
    (void)state;
    RunFile before = of_process(getpid());
    char name[16] = {0};

    prctl(PR_GET_NAME, name);
    prctl(PR_SET_NAME, "a) S 1 (b) 2 3");
    RunFile after = of_process(getpid());
    prctl(PR_SET_NAME, name);
    assert_int_equal(before.start_time, after.start_time);
}

static void test_dead_and_stopped(void **state)
{
    (void)state;
    pid_t pid = sleeper();
    uint64_t start_time = 0;
    uint64_t cpu_ticks = 0;
    char program[256];
    char letter = 0;
    siginfo_t info;

    kill(pid, SIGSTOP);
    waitid(P_PID, (id_t)pid, &info, WSTOPPED);
    assert_true(process_look(pid, &start_time, program, &letter, &cpu_ticks));
    assert_int_equal(letter, 'T');
    kill(pid, SIGKILL);
    waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT);
    assert_false(process_look(pid, &start_time, program, &letter, &cpu_ticks)); /* a zombie does nothing more */
    waitpid(pid, NULL, 0);
    assert_false(process_look(pid, &start_time, program, &letter, &cpu_ticks));
}

/* The orphans of a leader that is gone are still found by its number. */
static void test_session(void **state)
{
    (void)state;
    int ready[2];
    pid_t pids[8];
    char octet;

    assert_int_equal(pipe(ready), 0);
    pid_t leader = fork();
    if (leader == 0) {
        setsid();
        for (int i = 0; i < 2; i++) {
            if (fork() == 0) {
                alarm(60);
                if (write(ready[1], "x", 1) != 1)
                    _exit(1);
                for (;;)
                    pause();
            }
        }
        _exit(0);
    }
    waitpid(leader, NULL, 0);
    assert_int_equal(read(ready[0], &octet, 1), 1);
    assert_int_equal(read(ready[0], &octet, 1), 1);
    assert_int_equal(session_pids(leader, pids, 8), 2);
    assert_int_equal(session_pids(leader, pids, 1), 1);
    assert_int_equal(session_pids(leader, pids, 8), 2);
    for (int i = 0; i < 2; i++)
        kill(pids[i], SIGKILL);
    close(ready[0]);
    close(ready[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),   cmocka_unit_test(test_torn),    cmocka_unit_test(test_alive),
        cmocka_unit_test(test_strange_name), cmocka_unit_test(test_session), cmocka_unit_test(test_dead_and_stopped),
    };

    return cmocka_run_group_tests(tests, make_folder, drop_folder);
}
