/* Tasks, each kept whole. */
#include "fixture.h"

static void task_put(const char *id, Mail__TaskState task_state, const char *verdict)
{
    Mail__TaskInfo task = MAIL__TASK_INFO__INIT;
    Mail__TaskResult result = MAIL__TASK_RESULT__INIT;
    DEFER(xfree) char *task_id = copy(id);
    DEFER(xfree) char *words = copy(verdict);

    task.task_id = task_id;
    task.has_state = true;
    task.state = task_state;
    result.verdict = words;
    if (verdict)
        task.result = &result;
    ok(store_task_put(store, &task));
}

static Error *add_task(void *context, const Mail__TaskInfo *task)
{
    Buf *out = context;

    buf_printf(out, "%s%s:%d", out->size ? " " : "", task->task_id, (int)task->state);
    if (task->result)
        buf_printf(out, "(%s)", task->result->verdict);
    return NULL;
}

static void tasks(const char *id, size_t limit, const char *wanted)
{
    DEFER(buf_done) Buf out = {0};
    ok(store_task_each(store, id, limit, add_task, &out));
    assert_string_equal(buf_text(&out), wanted);
}

static void test_tasks(void **state)
{
    (void)state;
    task_put("A", MAIL__TASK_STATE__WAITING, NULL);
    task_put("B", MAIL__TASK_STATE__RUNNING, NULL);
    task_put("A", MAIL__TASK_STATE__SUCCEEDED, "3 rows");
    task_put("C", MAIL__TASK_STATE__LOST, NULL);
    reopen();
    tasks(NULL, 0, "C:6 B:1 A:2(3 rows)");
    tasks(NULL, 2, "C:6 B:1");
    tasks("A", 0, "A:2(3 rows)");
    tasks("X", 0, "");
}

static void test_a_task_that_does_not_read(void **state)
{
    DEFER(buf_done) Buf out = {0};
    (void)state;

    task_put("A", MAIL__TASK_STATE__WAITING, NULL);
    raw("UPDATE task SET bytes=x'0aff'");
    fails(store_task_each(store, NULL, 0, add_task, &out), ERROR_DAMAGED,
          "store.db is damaged: a task does not read back");
}

static void test_only_so_many_are_kept(void **state)
{
    (void)state;
    raw("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<10000)"
        " INSERT INTO task(id, bytes) SELECT 'old'||i, x'' FROM n");
    task_put("A", MAIL__TASK_STATE__WAITING, NULL);
    assert_int_equal(raw("SELECT count(*) FROM task"), 10000);
    tasks("A", 0, "A:0");
    assert_int_equal(raw("SELECT count(*) FROM task WHERE id='old1'"), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_tasks, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_task_that_does_not_read, setup, teardown),
        cmocka_unit_test_setup_teardown(test_only_so_many_are_kept, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
