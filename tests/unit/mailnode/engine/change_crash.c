/* kill -9 at each durable step of a change: what was proved last is in force, and the next change goes well
 *
 * All that reaches a crash point runs in processes of its own: each looks into its environment once.
 */
#include "changes.h"

#include <sys/wait.h>

enum { POINTS_MAX = 64 };

static void one_change(Node *node, uint64_t revision)
{
    DEFER(xfree) char *text = xasprintf("# %lu\n", (unsigned long)revision);

    override_put(node->root, text);
    ok(node_prepare(node, revision));
    ok(node_switch(node, revision));
}

static void first(const char *root)
{
    Node node;

    node_start(&node, root);
    one_change(&node, 1);
    node_stop(&node);
}

/* A change of the texts, then one of the objects alone. */
static void second(const char *root)
{
    Node node;

    node_start(&node, root);
    one_change(&node, 2);
    ok(node_prepare_begin(&node, 3, "other words"));
    ok(node_answer(&node));
    ok(node_switch(&node, 3));
    node_stop(&node);
}

/* Started again, twice: the same both times; then a change. */
static void after(const char *root)
{
    Node node;

    node_start(&node, root);
    InForce is = change_in_force(node.change);
    assert_in_range(is.revision, 1, 3);
    assert_int_equal(is.generation, is.revision == 1 ? 1 : 2);
    assert_false(there(root, "trial"));
    assert_false(there(root, "gen/000002.new"));
    if (is.revision == 1)
        assert_false(there(root, "gen/000002"));
    node_stop(&node);
    node_start(&node, root);
    assert_int_equal(change_in_force(node.change).revision, is.revision);
    one_change(&node, 9);
    assert_int_equal(change_in_force(node.change).revision, 9);
    node_stop(&node);
}

static int in_process(void (*what)(const char *root), const char *root, const char *name, const char *value)
{
    int status = 0;
    pid_t pid = fork();

    if (pid == 0) {
        if (name)
            setenv(name, value, 1);
        log_init("test", LOG_LEVEL_ERROR);
        what(root);
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

/* Every point that a change reaches, with the how-manieth time: "engine.switch.linked:1". */
static size_t learn(const char *root, char points[POINTS_MAX][80])
{
    Path trace = path_in(root, "trace");
    char line[64];
    size_t n = 0;

    assert_int_equal(in_process(first, root, NULL, NULL), 0);
    assert_int_equal(in_process(second, root, "MAILNODE_CRASH_TRACE", trace.text), 0);
    FILE *file = fopen(trace.text, "r");
    assert_non_null(file);
    while (fgets(line, sizeof line, file)) {
        line[strcspn(line, "\n")] = '\0';
        size_t times = 1, len = strlen(line);
        for (size_t i = 0; i < n; i++)
            times += strncmp(points[i], line, len) == 0 && points[i][len] == ':';
        assert_true(n < POINTS_MAX);
        snprintf(points[n++], sizeof points[0], "%s:%zu", line, times);
    }
    fclose(file);
    return n;
}

static void test_walk(void **state)
{
    DEFER(xfree) char *learned_in = root_make();
    char points[POINTS_MAX][80];
    size_t n = learn(learned_in, points);

    (void)state;
    folder_remove(learned_in);
    assert_true(n > 15);
    for (size_t i = 0; i < n; i++) {
        DEFER(xfree) char *root = root_make();
        assert_int_equal(in_process(first, root, NULL, NULL), 0);
        int status = in_process(second, root, "MAILNODE_CRASH", points[i]);
        if (!WIFSIGNALED(status))
            fail_msg("%s was not reached", points[i]);
        if (in_process(after, root, NULL, NULL) != 0)
            fail_msg("killed at %s: %s stays", points[i], root);
        folder_remove(root);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_walk)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
