#include "refresh.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static const char *const alice[] = {"alice"}, *const bob[] = {"bob"};

static void added_meanwhile_stays(void **state)
{
    Refresh refresh = {0};
    (void)state;
    assert_false(refresh_due(&refresh) || refresh.owed);
    refresh_add(&refresh, alice, 1);
    refresh.asked = refresh.n;
    refresh_add(&refresh, bob, 1);
    refresh_happened(&refresh);
    assert_true(refresh_due(&refresh));
    assert_int_equal(refresh.n, 1);
    assert_string_equal(refresh.users[0], "bob");
    refresh.asked = refresh.n;
    refresh_happened(&refresh);
    assert_false(refresh_due(&refresh));
    refresh_done(&refresh);
}

static void too_many_are_all(void **state)
{
    Refresh refresh = {0};
    (void)state;
    for (int i = 0; i < REFRESH_MAX; i++)
        refresh_add(&refresh, alice, 1);
    assert_false(refresh.all);
    refresh_add(&refresh, bob, 1);
    assert_true(refresh.all && refresh.owed);
    assert_int_equal(refresh.n, 0);
    refresh_happened(&refresh);
    assert_false(refresh_due(&refresh));
    refresh_done(&refresh);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(added_meanwhile_stays),
        cmocka_unit_test(too_many_are_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
