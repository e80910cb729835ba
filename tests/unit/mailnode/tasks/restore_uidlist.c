#include "tasks/restore_uidlist.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define GUID "G56bd1f2e3c4a5b6c7d8e9f0011223344"

static const struct {
    const char *list, *raised; /* NULL: none */
} cases[] = {
    {"3 V1764370000 N4 " GUID "\n1 :a\n3 W12 :b\n", "3 V1764370000 N1000004 " GUID "\n1 :a\n3 W12 :b\n"},
    {"3 V1 N1 " GUID "\n", "3 V1 N1000001 " GUID "\n"},
    {"3 N77 V1\n", "3 N1000077 V1\n"},
    {"1 1764370000 9\n8 name\n", "1 1764370000 1000009\n8 name\n"},
    {"3 V1 N4293967295\n", "3 V1 N4294967295\n"},
    {"3 V1 N4293967296\n", NULL}, /* no number is left */
    {"3 V1 N0\n", NULL},
    {"3 V1 N12345678901\n", NULL},
    {"3 V1 N4x\n", NULL},
    {"3 V1 N\n", NULL},
    {"3 V1 " GUID "\n", NULL},
    {"3 V1 N4", NULL}, /* cut off */
    {"2 V1 N4\n", NULL},
    {"1 2\n", NULL},
    {"\n", NULL},
    {"", NULL},
};

static void raises_the_next_number_and_nothing_else(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Buf list = {.data = (uint8_t *)(uintptr_t)cases[i].list, .size = strlen(cases[i].list)};
        DEFER(buf_done) Buf out = {0};
        bool raised = uidlist_raise(&list, UIDLIST_RAISE, &out);
        if (raised != (cases[i].raised != NULL) || (raised && strcmp(buf_text(&out), cases[i].raised) != 0))
            fail_msg("row %zu: %s", i, buf_text(&out));
    }
}

static void takes_no_nul_for_an_end(void **state)
{
    static const char list[] = "3 V1 N4\0 N5\n";
    Buf in = {.data = (uint8_t *)(uintptr_t)list, .size = sizeof list - 1};
    DEFER(buf_done) Buf out = {0};

    (void)state;
    assert_false(uidlist_raise(&in, 1, &out));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(raises_the_next_number_and_nothing_else),
        cmocka_unit_test(takes_no_nul_for_an_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
