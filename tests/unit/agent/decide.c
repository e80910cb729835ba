#include "decide.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* The whole table, said a second time: the deed for NONE, CURRENT, ACCOUNTS, BEHIND. */
static const struct {
    ConfigStatus config;
    const char *deeds[N_TABLE_STATUS];
} cases[] = {
    {CONFIG_LOOKING, {"nothing", "nothing", "commit", "nothing"}},
    {CONFIG_WAITS, {"nothing", "nothing", "commit", "nothing"}},
    {CONFIG_ASSUMED, {"nothing", "tell", "commit", "commit"}},
    {CONFIG_SAME, {"nothing", "tell", "commit", "commit"}},
    {CONFIG_DIFFERS, {"nothing", "prepare", "commit", "prepare"}},
    {CONFIG_PREPARED, {"nothing", "switch", "switch", "switch"}},
    {CONFIG_REFUSED, {"nothing", "tell-refused", "commit", "tell-refused"}},
    {CONFIG_HELD, {"nothing", "tell", "commit", "commit"}},
};

static void every_cell(void **state)
{
    (void)state;
    assert_int_equal(sizeof cases / sizeof *cases, N_CONFIG_STATUS);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (TableStatus tables = 0; tables < N_TABLE_STATUS; tables++) {
            const char *deed = apply_deed_name(apply_next(cases[i].config, tables));
            if (__builtin_strcmp(deed, cases[i].deeds[tables]) != 0)
                fail_msg("config %s, tables %s: %s, wanted %s", config_status_name(cases[i].config),
                         table_status_name(tables), deed, cases[i].deeds[tables]);
        }
}

/* Promise 2: rows of a change are not written before its configuration is in force, or was refused and is held. */
static void no_rows_before_configuration(void **state)
{
    static const ConfigStatus before[] = {CONFIG_LOOKING, CONFIG_WAITS, CONFIG_DIFFERS, CONFIG_PREPARED,
                                          CONFIG_REFUSED};
    (void)state;
    for (size_t i = 0; i < sizeof before / sizeof *before; i++)
        assert_int_not_equal(apply_next(before[i], TABLES_BEHIND), APPLY_COMMIT);
}

/* Nothing is acknowledged while the tables are behind. */
static void nothing_told_while_behind(void **state)
{
    (void)state;
    for (ConfigStatus config = 0; config < N_CONFIG_STATUS; config++)
        assert_int_not_equal(apply_next(config, TABLES_BEHIND), APPLY_TELL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_cell),
        cmocka_unit_test(no_rows_before_configuration),
        cmocka_unit_test(nothing_told_while_behind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
