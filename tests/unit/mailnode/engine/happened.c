/* What happened is numbered, kept up to a limit, and listed from a number on. */
#include "engine/happened.h"

#include "base/log.h"

#include "expect.h"

static void test_list(void **state)
{
    (void)state;
    DEFER(happened_free) Happened *happened = happened_new();
    Mail__Happening *const *list = NULL;

    assert_int_equal(happened_list(happened, 0, clock_ms(), &list), 0);
    happened_add(happened, MAIL__FACT_STATE__DEGRADED, "daemon ended", "%s: killed by signal %d", "postfix", 9);
    happened_add(happened, MAIL__FACT_STATE__GOOD, "daemon ready", "postfix");

    assert_int_equal(happened_list(happened, 0, clock_ms() + 500, &list), 2);
    assert_string_equal(list[0]->what, "daemon ended");
    assert_string_equal(list[0]->text, "postfix: killed by signal 9");
    assert_int_equal(list[0]->severity, MAIL__FACT_STATE__DEGRADED);
    assert_int_equal(list[0]->number, 1);
    assert_in_range(list[0]->age_ms, 500, 5000);
    assert_int_equal(happened_list(happened, 1, clock_ms(), &list), 1);
    assert_string_equal(list[0]->text, "postfix");
    assert_int_equal(happened_list(happened, 2, clock_ms(), &list), 0);
}

static void test_limit(void **state)
{
    (void)state;
    DEFER(happened_free) Happened *happened = happened_new();
    Mail__Happening *const *list = NULL;

    for (int i = 1; i <= HAPPENED_KEPT + 7; i++)
        happened_add(happened, MAIL__FACT_STATE__GOOD, "count", "%d", i);
    assert_int_equal(happened_list(happened, 0, clock_ms(), &list), HAPPENED_KEPT);
    assert_string_equal(list[0]->text, "8");
    assert_int_equal(list[0]->number, 8);
    assert_string_equal(list[HAPPENED_KEPT - 1]->text, "107");
}

static void test_hostile_words(void **state)
{
    (void)state;
    DEFER(happened_free) Happened *happened = happened_new();
    Mail__Happening *const *list = NULL;

    happened_add(happened, MAIL__FACT_STATE__BAD, "daemon failed", "%s", "caf\xc3\xa9 \xff\xc3");
    happened_list(happened, 0, clock_ms(), &list);
    assert_string_equal(list[0]->text, "caf\xc3\xa9 ??");
}

static void test_life(void **state)
{
    (void)state;
    DEFER(happened_free) Happened *one = happened_new();
    DEFER(happened_free) Happened *two = happened_new();

    assert_int_not_equal(happened_life(one), 0);
    assert_int_not_equal(happened_life(one), happened_life(two));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_list),
        cmocka_unit_test(test_limit),
        cmocka_unit_test(test_hostile_words),
        cmocka_unit_test(test_life),
    };

    log_init("unit", LOG_LEVEL_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
