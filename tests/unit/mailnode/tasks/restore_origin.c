#include "tasks/restore_origin.h"

#include "base/alloc.h"
#include "seal/state_file.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static Object *instance(const char *name, const char *hostname, const char *user_domain)
{
    Object *object = object_new(MAIL__OBJECT__BODY_INSTANCE, NULL, name);

    object->instance->hostname = xstrdup(hostname);
    object->instance->user_domain = xstrdup(user_domain);
    return object;
}

static const struct {
    const char *name, *hostname, *user_domain;
    const char *other; /* NULL: it is ours */
} cases[] = {
    {"main", "mx.example.org", "staff", NULL},
    {"main", "old.example.org", "staff", "hostname old.example.org, not mx.example.org"},
    {"main", "mx.example.org", "people", "user-domain people, not staff"},
    {"main", "a.test", "b", "hostname a.test, not mx.example.org; user-domain b, not staff"},
    {"second", "mx.example.org", "staff", "no instance main"},
};

static void B39_names_what_is_another(void **state)
{
    DEFER(object_free) Object *here = instance("main", "mx.example.org", "staff");

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        DEFER(object_free) Object *then = instance(cases[i].name, cases[i].hostname, cases[i].user_domain);
        DEFER(state_file_free) StateFile *file = state_file_new(7);
        DEFER(xfree) char *other = NULL;
        Buf bytes = {0};
        state_file_object(file, then);
        bytes.data = (uint8_t *)(uintptr_t)state_file_end(file, &bytes.size);
        Error *err = origin_compare(&bytes, here, &other);
        if (err || (other == NULL) != (cases[i].other == NULL) || (other && strcmp(other, cases[i].other) != 0))
            fail_msg("row %zu: %s", i, err ? err->what : other ? other : "(ours)");
    }
}

static void what_does_not_read_is_an_error(void **state)
{
    DEFER(object_free) Object *here = instance("main", "mx.example.org", "staff");
    Buf rubbish = {.data = (uint8_t *)(uintptr_t) "rubbish", .size = 7};
    char *other = NULL;

    (void)state;
    Error *err = origin_compare(&rubbish, here, &other);
    assert_non_null(err);
    assert_null(other);
    error_free(&err);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(B39_names_what_is_another),
        cmocka_unit_test(what_does_not_read_is_an_error),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
