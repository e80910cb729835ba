#include "model/nearest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void what_was_meant(void **state)
{
    static const char *const words[] = {"to", "internal", "description", "user_addresses", "domain", "address"};
    static const struct {
        const char *typed, *meant;
    } rows[] = {
        {"too", "to"},
        {"ot", "to"},
        {"t", "to"},
        {"intrenal", "internal"},
        {"descripion", "description"},
        {"user-adresses", "user_addresses"},
        {"adress", "address"},
        {"domian", "domain"},
        {"xyz", NULL},
        {"x", NULL},
        {"", NULL},
        {"indescribable", NULL},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const char *found = nearest_of(rows[i].typed, words, sizeof words / sizeof *words);
        if (!rows[i].meant != !found || (found && strcmp(found, rows[i].meant) != 0))
            fail_msg("%s: %s, not %s", rows[i].typed, found ? found : "nothing",
                     rows[i].meant ? rows[i].meant : "nothing");
    }
}

static void one_by_one(void **state)
{
    char endless[1000];
    Nearest nearest;

    (void)state;
    memset(endless, 'e', sizeof endless - 1);
    endless[sizeof endless - 1] = '\0';
    nearest_init(&nearest, "exmaple.org");
    nearest_offer(&nearest, endless);
    assert_null(nearest_found(&nearest));
    nearest_offer(&nearest, "exmpl.org");
    nearest_offer(&nearest, "example.org");
    nearest_offer(&nearest, "exampel.org");
    assert_string_equal(nearest_found(&nearest), "example.org");
    nearest_init(&nearest, endless);
    nearest_offer(&nearest, endless);
    assert_null(nearest_found(&nearest));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_meant),
        cmocka_unit_test(one_by_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
