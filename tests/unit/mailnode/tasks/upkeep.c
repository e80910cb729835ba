/* When a repository was last looked after: a file that is there, not there, or not ours any more. */
#include "tasks/upkeep.h"

#include "base/path.h"
#include "expect.h"

#include <stdbool.h>

enum { DAY = 86400 };

static char root[] = "/tmp/upkeep-XXXXXX";

static int make(void **state)
{
    (void)state;
    if (!mkdtemp(root))
        return -1;
    DEFER(xfree) char *work = xasprintf("%s/var/lib/mailnode/work", root);
    ok(folder_make(work, 0700, (uid_t)-1, (gid_t)-1));
    return 0;
}

static int clean(void **state)
{
    (void)state;
    return folder_remove(root);
}

static void test_due_until_done(void **state)
{
    (void)state;
    assert_true(upkeep_due(root, "vault", "prune", 7 * DAY, 1000 * DAY));
    assert_false(upkeep_ever(root, "vault", "prune"));
    ok(upkeep_done(root, "vault", "prune", 1000 * DAY));
    assert_true(upkeep_ever(root, "vault", "prune"));
    assert_false(upkeep_ever(root, "vault", "check"));
    assert_false(upkeep_due(root, "vault", "prune", 7 * DAY, 1007 * DAY - 1));
    assert_true(upkeep_due(root, "vault", "prune", 7 * DAY, 1007 * DAY));
    assert_true(upkeep_due(root, "vault", "check", 7 * DAY, 1001 * DAY));
    assert_true(upkeep_due(root, "vault2", "prune", 7 * DAY, 1001 * DAY));
    assert_true(upkeep_due(root, "vaul", "prune", 7 * DAY, 1001 * DAY));
    ok(upkeep_done(root, "vault", "check", 1001 * DAY));
    ok(upkeep_done(root, "vault", "prune", 1010 * DAY)); /* replaces its line, and that alone */
    assert_false(upkeep_due(root, "vault", "prune", 7 * DAY, 1016 * DAY));
    assert_false(upkeep_due(root, "vault", "check", 7 * DAY, 1002 * DAY));
}

/* R16: the clock was set back by years; what seems to be done in the future is done again. */
static void test_R16_clock_set_back(void **state)
{
    (void)state;
    ok(upkeep_done(root, "back", "prune", 1000 * DAY));
    assert_true(upkeep_due(root, "back", "prune", 7 * DAY, 500 * DAY));
}

static void test_rubbish(void **state)
{
    static const char text[] = "x\n\n12\n12 prune\n prune vault\n99999999999999999999999 prune rubbish\n5 prune";
    DEFER(xfree) char *path = xasprintf("%s/var/lib/mailnode/work/upkeep", root);
    (void)state;

    ok(file_write(path, text, strlen(text), 0600, (gid_t)-1));
    assert_true(upkeep_due(root, "rubbish", "prune", 7 * DAY, 1000 * DAY));
    ok(upkeep_done(root, "rubbish", "prune", 1000 * DAY));
    assert_false(upkeep_due(root, "rubbish", "prune", 7 * DAY, 1001 * DAY));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_due_until_done),
        cmocka_unit_test(test_R16_clock_set_back),
        cmocka_unit_test(test_rubbish),
    };

    return cmocka_run_group_tests(tests, make, clean);
}
