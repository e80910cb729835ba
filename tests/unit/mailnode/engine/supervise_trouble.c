/* Daemons that die, hang, loop, refuse, and leave others behind. */
#include "fake_daemons.h"

static void test_killed(void **state)
{
    (void)state;
    Scene scene;

    scene_running(&scene);
    pid_t two = scene_pid(&scene, TWO);
    kill(scene_pid(&scene, ONE), SIGKILL);
    scene_until_happened(&scene, "daemon ended: one: killed by signal 9, restarting in 250 ms\ndaemon ready: one");
    assert_int_equal(scene_pid(&scene, TWO), two);
    assert_int_equal(scene.supervise->units[ONE].service.restarts, 1);
    scene_end(&scene);
}

/* It cannot come up: soon known, in its own words; the others run. */
static void test_exits_at_start(void **state)
{
    (void)state;
    Mail__Fact *const *facts = NULL;
    Scene scene;

    scene_begin(&scene);
    fake_put("mode", "three", "exit");
    scene_want(&scene);
    const char *why = scene_until(&scene, STANDING_FAILED);
    assert_string_equal(why, "three: exit status 3\nthe disk of three is ?[31mred");
    assert_in_range(scene.supervise->units[THREE].service.failures, 2, 3);
    scene_until_happened(&scene, "daemon ended: three: exit status 3, restarting in 1000 ms");
    supervise_facts(scene.supervise, clock_ms(), &facts);
    assert_int_equal(facts[THREE]->state, MAIL__FACT_STATE__BAD);
    assert_string_equal(facts[THREE]->text, "failed, restarted 2 times, again in 1 s: exit status 3");
    scene_until_happened(&scene, "daemon ready: two");

    /* What is wanted then is tried at once, without the rest of the back-off. */
    fake_put("mode", "three", "");
    fake_put("conf", "three", "second");
    scene_want(&scene);
    scene_until(&scene, STANDING_SETTLED);
    scene_end(&scene);
}

static void test_never_answers(void **state)
{
    (void)state;
    Scene scene;

    scene_begin(&scene);
    fake_wanted_bits = 1U << ONE;
    fake_put("mode", "one", "mute");
    scene.supervise->units[ONE].service.start_ms = 700;
    scene_want(&scene);
    const char *why = scene_until(&scene, STANDING_FAILED);
    assert_string_equal(why, "one: no right answer within 700 ms: no beat of one");
    scene_until_happened(&scene, "daemon ended: one: killed by signal 9");
    scene_end(&scene);
}

static const struct {
    const char *mode, *why;
} reloads[] = {
    {"die-on-hup", "one: exit status 4"},
    {"refuse-hup", "one: the new configuration was not taken: cannot parse new config: bogus\n"
                   "a stranger calls himself error: cannot parse new config: not so\n"
                   "error: cannot parse new config: bogus"},
    {"hang-on-hup", "one: no beat of one"},
};

/* A signal that was sent is no reload.  Back to what was before: all is well. */
static void test_reload_fails(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof reloads / sizeof *reloads; i++) {
        Scene scene;
        scene_begin(&scene);
        fake_wanted_bits = 1U << ONE;
        scene_want(&scene);
        scene_until(&scene, STANDING_SETTLED);
        fake_put("mode", "one", reloads[i].mode);
        fake_put("conf", "one", "second");
        scene_want(&scene);
        assert_string_equal(scene_until(&scene, STANDING_FAILED), reloads[i].why);
        fake_put("mode", "one", "");
        fake_put("conf", "one", "first");
        scene_want(&scene);
        scene_until(&scene, STANDING_SETTLED);
        scene_end(&scene);
    }
}

/* A change of one is not refused because another has its own troubles. */
static void test_troubles_of_another(void **state)
{
    (void)state;
    Scene scene;

    scene_running(&scene);
    fake_put("mode", "three", "exit");
    kill(scene_pid(&scene, THREE), SIGKILL);
    scene_until_happened(&scene, "daemon ended: three: exit status 3, restarting in 500 ms");
    fake_put("conf", "one", "second");
    scene_want(&scene);
    scene_until(&scene, STANDING_SETTLED);
    assert_true(fake_answers_soon("one"));
    scene_end(&scene);
}

static void test_stopped(void **state)
{
    (void)state;
    Scene scene;

    scene_running(&scene);
    kill(scene_pid(&scene, ONE), SIGSTOP);
    scene_until_happened(&scene, "daemon was stopped: one: 1 process, continued");
    assert_int_equal(scene.supervise->units[ONE].service.restarts, 0);
    scene_end(&scene);
}

/* Silent, without work: found, told, and killed. */
static void test_hangs(void **state)
{
    (void)state;
    Scene scene;

    scene_begin(&scene);
    fake_wanted_bits = 1U << ONE;
    scene_want(&scene);
    scene_until(&scene, STANDING_SETTLED);
    scene.supervise->stuck_ms = 300;
    fake_put("mode", "one", "hang-on-hup");
    kill(scene_pid(&scene, ONE), SIGHUP);
    scene_until_happened(&scene, "daemon does not answer: one: no beat of one");
    fake_put("mode", "one", "");
    scene_until_happened(&scene, "daemon hangs: one: silent for 0 s without work, killed");
    scene_until_happened(&scene, "killed by signal 9, restarting in 250 ms\ndaemon ready: one");
    scene_end(&scene);
}

/* Nobody meets what is left of the life before. */
static void test_orphans(void **state)
{
    (void)state;
    Scene scene;

    scene_begin(&scene);
    fake_wanted_bits = 1U << ONE;
    fake_put("mode", "one", "orphan");
    scene_want(&scene);
    scene_until(&scene, STANDING_SETTLED);
    assert_int_equal(fakes_alive("one"), 2);
    fake_put("mode", "one", "");
    pid_t old = scene_pid(&scene, ONE);
    pid_t pids[8];

    /* ... also when it died while nobody looked */
    supervise_free(&scene.supervise);
    kill(old, SIGKILL);
    waitpid(old, NULL, 0);
    assert_int_equal(session_pids(old, pids, 8), 1);
    ok(supervise_new_how(fake_root, scene.happened, &fake_how, &scene.supervise));
    scene.supervise->units[ONE].service.stop_ms = 200;
    scene_want(&scene);
    scene_until(&scene, STANDING_SETTLED);
    assert_int_equal(session_pids(old, pids, 8), 0);
    assert_int_equal(fakes_alive("one"), 1);
    scene_end(&scene);
}

static void test_deaf(void **state)
{
    (void)state;
    Scene scene;

    scene_begin(&scene);
    fake_wanted_bits = 1U << ONE;
    fake_put("mode", "one", "deaf");
    scene.supervise->units[ONE].service.stop_ms = 200;
    scene_want(&scene);
    scene_until(&scene, STANDING_SETTLED);
    ok(end_of(&scene));
    assert_non_null(strstr(scene_happenings(&scene), "daemon ended: one: killed by signal 9, as asked"));
    scene_end(&scene);
}

static void test_tables(void **state)
{
    (void)state;
    Mail__Fact *const *facts = NULL;
    Scene scene;

    scene_begin(&scene);
    Path tables = path_in(fake_root, "var/lib/mailnode/tables/mail.db");
    unlink(tables.text);
    scene_want(&scene);
    scene_until(&scene, STANDING_SETTLED); /* the agent writes it later: no fault of the configuration */
    assert_int_equal(supervise_facts(scene.supervise, clock_ms(), &facts), N_FAKES);
    assert_string_equal(facts[THREE]->text, "stopped, waits for mail.db");
    assert_int_equal(facts[THREE]->state, MAIL__FACT_STATE__DEGRADED);

    ok(file_write(tables.text, "", 0, 0644, (gid_t)-1));
    scene_until_happened(&scene, "daemon ready: three");

    /* Damaged while it runs: ended until it can be read again. */
    fake_put("mode", "tables", "unreadable");
    supervise_probe_now(scene.supervise);
    scene_until_happened(&scene, "mail.db cannot be read: postfix cannot read mail.db: file is not a database");
    scene_until_happened(&scene, "daemon is ended: three: it cannot read mail.db");
    assert_true(scene_pid(&scene, ONE) > 0);
    fake_put("mode", "tables", "");
    supervise_probe_now(scene.supervise);
    scene_until(&scene, STANDING_SETTLED);
    assert_true(scene_pid(&scene, THREE) > 0);
    scene_end(&scene);
}

/* A run-file that does not read back is set aside and told; nothing is guessed from it. */
static void test_damaged_runfile(void **state)
{
    (void)state;
    Scene scene;

    scene_begin(&scene);
    ok(file_write(path_in(fake_root, "var/lib/mailnode/engine/run/one").text, "nonsense", 8, 0600, (gid_t)-1));
    scene_again(&scene);
    assert_non_null(strstr(scene_happenings(&scene), "run-file damaged: one: run-file: "));
    assert_non_null(strstr(scene_happenings(&scene), "set aside as "));
    scene_want(&scene);
    scene_until(&scene, STANDING_SETTLED);
    scene_end(&scene);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_killed),
        cmocka_unit_test(test_exits_at_start),
        cmocka_unit_test(test_never_answers),
        cmocka_unit_test(test_reload_fails),
        cmocka_unit_test(test_stopped),
        cmocka_unit_test(test_hangs),
        cmocka_unit_test(test_orphans),
        cmocka_unit_test(test_deaf),
        cmocka_unit_test(test_tables),
        cmocka_unit_test(test_damaged_runfile),
        cmocka_unit_test(test_troubles_of_another),
    };
    int code = 0;

    if (fake_main(argc, argv, &code))
        return code;
    setenv("MAILNODE_PROBE_MS", "100", 1);
    log_init("unit", getenv("VERBOSE") ? LOG_LEVEL_INFO : LOG_LEVEL_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
