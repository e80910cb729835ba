/* What is wanted runs, in order, with the configuration that is wanted; whoever comes after takes it over. */
#include "fake_daemons.h"

#include "engine/bounce.h"

static unsigned long loads(const Scene *scene, DaemonId id)
{
    return supervise_loads(scene->supervise, id);
}

static void has_loads(const Scene *scene, unsigned long one, unsigned long two, unsigned long three)
{
    assert_int_equal(loads(scene, ONE), one);
    assert_int_equal(loads(scene, TWO), two);
    assert_int_equal(loads(scene, THREE), three);
}

static size_t place_of(const Scene *scene, const char *words)
{
    const char *all = scene_happenings(scene);
    const char *at = strstr(all, words);

    if (!at)
        fail_msg("'%s' did not happen:\n%s", words, all);
    return at ? (size_t)(at - all) : 0;
}

static void test_start_and_end(void **state)
{
    (void)state;
    Mail__Fact *const *facts = NULL;
    Scene scene;

    scene_running(&scene);
    assert_true(place_of(&scene, "daemon ready: one") < place_of(&scene, "daemon ready: two"));
    has_loads(&scene, 1, 1, 1);
    assert_int_equal(supervise_facts(scene.supervise, clock_ms(), &facts), N_FAKES);
    assert_string_equal(facts[ONE]->name, "one");
    assert_int_equal(facts[ONE]->state, MAIL__FACT_STATE__GOOD);
    DEFER(xfree) char *text = xasprintf("ready, pid %d", (int)scene_pid(&scene, ONE));
    assert_string_equal(facts[ONE]->text, text);
    assert_true(supervise_ours(scene.supervise, scene_pid(&scene, TWO)));
    assert_false(supervise_ours(scene.supervise, getpid()));
    Path runfile = path_in(fake_root, "var/lib/mailnode/engine/run/one");
    assert_int_equal(access(runfile.text, F_OK), 0);

    supervise_want_nothing(scene.supervise);
    scene_until(&scene, STANDING_SETTLED);
    assert_true(place_of(&scene, "daemon ended: two") < place_of(&scene, "daemon is ended: one"));
    assert_int_not_equal(access(runfile.text, F_OK), 0);
    assert_int_equal(supervise_facts(scene.supervise, clock_ms(), &facts), 0);
    scene_end(&scene);
}

static void reads(const char *format, pid_t pid, const char *wanted)
{
    char path[64];
    char text[256];

    snprintf(path, sizeof path, format, (int)pid);
    ssize_t len = readlink(path, text, sizeof text - 1);
    text[len > 0 ? len : 0] = '\0';
    if (strcmp(text, wanted) != 0)
        fail_msg("%s is %s, wanted %s", path, text, wanted);
}

/* Nothing of ours goes along: not the lock, not the environment; and it leads its own session. */
static void test_process(void **state)
{
    (void)state;
    DEFER(buf_done) Buf environment = {0};
    char path[64];
    Scene scene;

    int lock = open("/dev/zero", O_RDONLY); /* a library's, that is not close-on-exec */
    scene_begin(&scene);
    fake_wanted_bits = 1U << ONE;
    scene_want(&scene);
    scene_until(&scene, STANDING_SETTLED);
    pid_t pid = scene_pid(&scene, ONE);
    Path log = path_in(fake_root, "var/log/mailnode/one.log");
    struct stat st;
    reads("/proc/%d/cwd", pid, "/");
    reads("/proc/%d/fd/0", pid, "/dev/null");
    reads("/proc/%d/fd/1", pid, log.text);
    reads("/proc/%d/fd/2", pid, log.text);
    snprintf(path, sizeof path, "/proc/%d/fd/%d", (int)pid, lock);
    assert_int_not_equal(access(path, F_OK), 0);
    assert_int_equal(getsid(pid), pid);
    snprintf(path, sizeof path, "/proc/%d/environ", (int)pid);
    ok(file_read(path, 4096, &environment));
    assert_string_equal(buf_text(&environment), "PATH=/usr/sbin:/usr/bin:/sbin:/bin");
    assert_int_equal(environment.size, strlen(buf_text(&environment)) + 1);
    assert_int_equal(stat(log.text, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0640);
    close(lock);
    scene_end(&scene);
}

static void test_adopt(void **state)
{
    (void)state;
    Scene scene;

    scene_running(&scene);
    pid_t one = scene_pid(&scene, ONE);
    pid_t three = scene_pid(&scene, THREE);

    scene_again(&scene);
    assert_true(supervise_ours(scene.supervise, one));
    scene_want(&scene);
    scene_until(&scene, STANDING_SETTLED);
    assert_int_equal(scene_pid(&scene, ONE), one);
    assert_int_equal(scene_pid(&scene, THREE), three);
    has_loads(&scene, 0, 0, 0);

    /* One dies while nobody looks. */
    supervise_free(&scene.supervise);
    kill(one, SIGKILL);
    waitpid(one, NULL, 0);
    ok(supervise_new_how(fake_root, scene.happened, &fake_how, &scene.supervise));
    scene_want(&scene);
    scene_until(&scene, STANDING_SETTLED);
    assert_int_not_equal(scene_pid(&scene, ONE), one);
    has_loads(&scene, 1, 0, 0);
    assert_int_equal(fakes_alive("one"), 1);
    scene_end(&scene);
}

/* Only who has other files loads; who cannot reload is started anew. */
static void test_loads(void **state)
{
    (void)state;
    Scene scene;

    scene_running(&scene);
    pid_t one = scene_pid(&scene, ONE);
    pid_t two = scene_pid(&scene, TWO);

    scene_want(&scene);
    scene_until(&scene, STANDING_SETTLED);
    has_loads(&scene, 1, 1, 1);

    fake_put("conf", "one", "second");
    scene_want(&scene);
    scene_until(&scene, STANDING_SETTLED);
    has_loads(&scene, 2, 1, 1);
    assert_int_equal(scene_pid(&scene, ONE), one);

    fake_put("conf", "two", "second");
    scene_want(&scene);
    scene_until(&scene, STANDING_SETTLED);
    has_loads(&scene, 2, 2, 1);
    assert_int_not_equal(scene_pid(&scene, TWO), two);

    supervise_load_again(scene.supervise, ONE);
    scene_until(&scene, STANDING_SETTLED);
    has_loads(&scene, 3, 2, 1);

    /* What was loaded is known to the next one, too. */
    scene_again(&scene);
    scene_want(&scene);
    scene_until(&scene, STANDING_SETTLED);
    has_loads(&scene, 0, 0, 0);

    fake_wanted_bits = 1U << ONE;
    scene_want(&scene);
    scene_until(&scene, STANDING_SETTLED);
    assert_int_equal(fakes_alive(""), 1);
    scene_end(&scene);
}

/* A job ends it: it is started anew, and nothing has failed.  The note counts for one end. */
static void test_bounce(void **state)
{
    (void)state;
    Scene scene;

    scene_running(&scene);
    pid_t one = scene_pid(&scene, ONE);
    ok(daemon_bounce(fake_root, &fake_table[ONE], 10000));
    has_loads(&scene, 1, 1, 1);
    scene_until_happened(&scene, "daemon ended: one: exit status 0, as asked");
    scene_until(&scene, STANDING_SETTLED);
    has_loads(&scene, 2, 1, 1);
    assert_int_not_equal(scene_pid(&scene, ONE), one);
    assert_null(strstr(scene_happenings(&scene), "restarting in"));
    assert_false(daemon_bounced(fake_root, &fake_table[ONE]));

    ok(end_of(&scene));
    ok(daemon_bounce(fake_root, &fake_table[ONE], 10000)); /* none runs */
    assert_false(daemon_bounced(fake_root, &fake_table[ONE]));
    scene_end(&scene);
}

/* What must be loaded first is loaded once, whole. */
static void test_before(void **state)
{
    (void)state;
    DEFER(buf_done) Buf data = {0};
    Scene scene;

    scene_running(&scene);
    assert_true(place_of(&scene, "data loaded: one: data") < place_of(&scene, "daemon ready: one"));
    ok(end_of(&scene));
    scene_want(&scene);
    scene_until(&scene, STANDING_SETTLED);
    Path file = path_in(fake_root, "data/db");
    ok(file_read(file.text, 4096, &data));
    assert_string_equal(buf_text(&data), "loaded\n");

    /* Cut off: the mark is there.  What it left is taken away, not added to. */
    ok(end_of(&scene));
    ok(file_write(path_in(fake_root, "var/lib/mailnode/engine/run/one.loading-data").text, "", 0, 0600, (gid_t)-1));
    ok(file_write(file.text, "half", 4, 0600, (gid_t)-1));
    scene_want(&scene);
    scene_until(&scene, STANDING_SETTLED);
    buf_clear(&data);
    ok(file_read(file.text, 4096, &data));
    assert_string_equal(buf_text(&data), "loaded\n");

    /* It cannot be loaded. */
    ok(end_of(&scene));
    unlink(file.text);
    ok(file_write(path_in(fake_root, "no-data").text, "", 0, 0600, (gid_t)-1));
    scene_want(&scene);
    assert_string_equal(scene_until(&scene, STANDING_FAILED), "one: data of data not loaded: ");
    assert_int_equal(fakes_alive("one"), 0);
    unlink(path_in(fake_root, "no-data").text);
    scene_end(&scene);
}

static const char *const points[] = {
    "engine.daemon.starting", "engine.daemon.forked",    "engine.runfile.writing",  "engine.runfile.written",
    "engine.daemon.started",  "engine.daemon.reloading", "engine.daemon.signalled", "engine.daemon.reloaded",
    "engine.daemon.ending",   "engine.daemon.ended",     "engine.runfile.removing", "engine.runfile.removed",
    "engine.load.marking",    "engine.load.marked",      "engine.load.done",        "engine.load.unmarked",
};

/* Start, reload, end: in a process that dies on the way. */
static int live_until_death(void)
{
    Scene scene = {.happened = happened_new(), .state = {.root = fake_root}};

    fake_wanted_bits = 1U << ONE;
    ok(supervise_new_how(fake_root, scene.happened, &fake_how, &scene.supervise));
    scene_want(&scene);
    scene_until(&scene, STANDING_SETTLED);
    fake_put("conf", "one", "second");
    scene_want(&scene);
    scene_until(&scene, STANDING_SETTLED);
    supervise_want_nothing(scene.supervise);
    scene_until(&scene, STANDING_SETTLED);
    return 0;
}

/* A program of its own: where to die is looked up once in a life. */
static void die_at(const char *point)
{
    int status = 0;
    pid_t pid = fork();

    if (pid == 0) {
        setenv("MAILNODE_CRASH", point, 1);
        execl(fake_exe, fake_exe, "--die", fake_root, NULL);
        _exit(1);
    }
    waitpid(pid, &status, 0);
    if (!WIFSIGNALED(status))
        fail_msg("%s is not reached", point);
}

/* Wherever it dies: the next one has each daemon once, with the configuration that is wanted. */
static void test_crash_points(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof points / sizeof *points; i++) {
        Scene scene;
        scene_begin(&scene);
        fake_wanted_bits = 1U << ONE;
        supervise_free(&scene.supervise);
        die_at(points[i]);
        ok(supervise_new_how(fake_root, scene.happened, &fake_how, &scene.supervise));
        fake_put("conf", "one", "third");
        scene_want(&scene);
        scene_until(&scene, STANDING_SETTLED);
        if (fakes_alive("one") != 1)
            fail_msg("%s: %zu daemons", points[i], fakes_alive("one"));
        assert_true(fake_answers_soon("one"));
        scene_end(&scene);
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_start_and_end), cmocka_unit_test(test_process), cmocka_unit_test(test_adopt),
        cmocka_unit_test(test_loads),         cmocka_unit_test(test_before),  cmocka_unit_test(test_bounce),
        cmocka_unit_test(test_crash_points),
    };
    int code = 0;

    if (fake_main(argc, argv, &code))
        return code;
    log_init("unit", getenv("VERBOSE") ? LOG_LEVEL_INFO : LOG_LEVEL_ERROR);
    if (argc == 3 && strcmp(argv[1], "--die") == 0) {
        snprintf(fake_root, sizeof fake_root, "%s", argv[2]);
        return live_until_death();
    }
    prctl(PR_SET_CHILD_SUBREAPER, 1); /* daemons whose mail-engine died become ours, and are reaped at the end */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
