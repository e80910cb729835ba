#include "tasks/node_task.h"

#include "expect.h"

#include "base/path.h"
#include "engine/layout.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/stat.h>

static char root[] = "/tmp/nodetask.XXXXXX";
static Happened *happened;
static Supervise *supervise;
static Change *change;

static int setup(void **state)
{
    (void)state;
    memcpy(root + strlen(root) - 6, "XXXXXX", 6);
    if (!mkdtemp(root) || chmod(root, 0755) != 0)
        return -1;
    ok(layout_make(root));
    happened = happened_new();
    ok(supervise_new(root, happened, &supervise));
    ok(change_new(root, supervise, happened, &change));
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    change_free(&change);
    supervise_free(&supervise);
    happened_free(&happened);
    return folder_remove(root);
}

static NodeTask *started(Mail__TaskStart__VerbCase verb, bool repair)
{
    static char id[] = "01ARZ3NDEKTSV4RRFFQ69G5FAV";
    Mail__TaskStart start = MAIL__TASK_START__INIT;
    Mail__NodeCheck check = MAIL__NODE_CHECK__INIT;
    Mail__NodeDoctor doctor = MAIL__NODE_DOCTOR__INIT;
    NodeTask *task = NULL;

    check.has_repair = true;
    check.repair = repair;
    start.task_id = id;
    start.verb_case = verb;
    if (verb == MAIL__TASK_START__VERB_NODE_CHECK)
        start.node_check = &check;
    else
        start.node_doctor = &doctor;
    ok(node_task_start(&(NodeTaskParts){.root = root, .change = change, .supervise = supervise}, &start, clock_ms(),
                       &task));
    return task;
}

static const Mail__TaskResult *ended(NodeTask *task)
{
    Msec until = clock_ms() + 20000;

    while (!node_task_run(task, clock_ms())) {
        Waiter wake = waiter_start();
        supervise_run(supervise, clock_ms());
        change_run(change, clock_ms());
        supervise_wait(supervise, &wake);
        change_wait(change, &wake);
        node_task_wait(task, &wake);
        waiter_at(&wake, until);
        waiter_block(&wake);
        if (clock_ms() >= until)
            fail_msg("the task does not end");
    }
    return node_task_result(task);
}

static void check_finds_and_repairs(void **state)
{
    static const struct {
        bool broken, repair;
        Mail__TaskState state;
        const char *verdict;
    } rows[] = {
        {false, false, MAIL__TASK_STATE__SUCCEEDED, "0 files and 0 services looked at, 0 findings, 0 mended"},
        {true, false, MAIL__TASK_STATE__FOUND, "0 files and 0 services looked at, 1 finding, 0 mended"},
        {true, true, MAIL__TASK_STATE__FOUND, "0 files and 0 services looked at, 1 finding, 1 mended"},
        {false, true, MAIL__TASK_STATE__SUCCEEDED, "0 files and 0 services looked at, 0 findings, 0 mended"},
    };
    Path folder = path_in(root, "var/lib/mailnode/redis");
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (rows[i].broken)
            assert_int_equal(chmod(folder.text, 0755), 0);
        DEFER(node_task_free) NodeTask *task = started(MAIL__TASK_START__VERB_NODE_CHECK, rows[i].repair);
        const Mail__TaskResult *result = ended(task);
        if (result->state != rows[i].state || strcmp(result->verdict, rows[i].verdict) != 0)
            fail_msg("row %zu: %d, %s", i, (int)result->state, result->verdict);
        assert_string_equal(result->task_id, "01ARZ3NDEKTSV4RRFFQ69G5FAV");
        assert_int_equal(result->n_findings, rows[i].broken);
        if (rows[i].broken) {
            assert_string_equal(result->findings[0]->where, folder.text);
            assert_int_equal(result->findings[0]->repaired, rows[i].repair);
        }
    }
}

static void a_repair_that_cannot_be_is_said(void **state)
{
    Path folder = path_in(root, "var/lib/mailnode/redis");
    (void)state;
    assert_int_equal(rmdir(folder.text), 0);
    ok(file_write(folder.text, "", 0, 0644, (gid_t)-1));
    DEFER(node_task_free) NodeTask *task = started(MAIL__TASK_START__VERB_NODE_CHECK, true);
    const Mail__TaskResult *result = ended(task);
    assert_int_equal(result->state, MAIL__TASK_STATE__FAILED);
    if (!strstr(result->why->what, "/var/lib/mailnode/redis: folder: Not a directory"))
        fail_msg("%s", result->why->what);
    assert_int_equal(result->n_findings, 1);
    assert_false(result->findings[0]->repaired);
}

static void doctor_ends_with_figures(void **state)
{
    (void)state;
    DEFER(node_task_free) NodeTask *task = started(MAIL__TASK_START__VERB_NODE_DOCTOR, false);
    const Mail__TaskResult *result = ended(task);
    unsigned n = 0, n_found = 0;
    assert_int_equal(sscanf(result->verdict, "%u things looked at, %u finding", &n, &n_found), 2); /* NOLINT */
    assert_true(n > 10);
    assert_int_equal(n_found, result->n_findings);
    assert_int_equal(result->state, n_found ? MAIL__TASK_STATE__FOUND : MAIL__TASK_STATE__SUCCEEDED);
}

static void a_deadline_is_kept(void **state)
{
    (void)state;
    DEFER(node_task_free) NodeTask *task = started(MAIL__TASK_START__VERB_NODE_DOCTOR, false);
    assert_true(node_task_run(task, clock_ms() + 3600000));
    const Mail__TaskResult *result = node_task_result(task);
    assert_int_equal(result->state, MAIL__TASK_STATE__FAILED);
    assert_string_equal(result->why->what, "not done in time");
}

static void other_verbs_are_not_known(void **state)
{
    Mail__TaskStart start = MAIL__TASK_START__INIT;
    NodeTask *task = NULL;
    (void)state;
    fails(node_task_start(&(NodeTaskParts){.root = root, .change = change, .supervise = supervise}, &start, 0, &task),
          ERROR_UNSUPPORTED, "mail-engine knows no such task");
    assert_null(task);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(check_finds_and_repairs, setup, teardown),
        cmocka_unit_test_setup_teardown(a_repair_that_cannot_be_is_said, setup, teardown),
        cmocka_unit_test_setup_teardown(doctor_ends_with_figures, setup, teardown),
        cmocka_unit_test_setup_teardown(a_deadline_is_kept, setup, teardown),
        cmocka_unit_test_setup_teardown(other_verbs_are_not_known, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
