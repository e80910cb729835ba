#include "model/secret_field.h"

#include "base/alloc.h"
#include "model/edit.h"
#include "model/text.h"
#include "model/validate.h"
#include "model/value.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "expect.h"

static Object *relay(uint64_t password)
{
    Object *object = object_new(MAIL__OBJECT__BODY_RELAY, "main", "default");

    object->relay->host = xstrdup("a.example.net");
    object->relay->user = xstrdup("u");
    secret_field_set(object, meta_field(kind_info(MAIL__OBJECT__BODY_RELAY)->meta, "password"), password);
    return object;
}

static void what_an_object_names(void **state)
{
    DEFER(object_free) Object *object = relay(7);
    SecretUse uses[OBJECT_SECRETS_MAX];
    (void)state;

    assert_true(kind_has_secrets(MAIL__OBJECT__BODY_RELAY));
    assert_false(kind_has_secrets(MAIL__OBJECT__BODY_ADDRESS));
    assert_int_equal(object_secrets(object, uses), 1);
    assert_int_equal(uses[0].id, 7);
    assert_string_equal(uses[0].field->name, "password");
    assert_true(object_names_secret(object, 7));
    assert_false(object_names_secret(object, 8));
    secret_field_set(object, uses[0].field, 0);
    assert_false(object->relay->has_password);
    assert_int_equal(object_secrets(object, uses), 0);
}

static void a_number_is_shown_to_nobody(void **state)
{
    DEFER(object_free) Object *object = relay(7);
    const FieldMeta *field = meta_field(kind_info(MAIL__OBJECT__BODY_RELAY)->meta, "password");
    DEFER(xfree) char *text = field_text(object, field);
    char *written = NULL;
    size_t size = 0;
    (void)state;

    assert_string_equal(text, "(hidden)");
    FILE *out = open_memstream(&written, &size);
    TextWriter writer;
    text_write_begin(&writer, out, TEXT_YAML);
    text_write_item(&writer, object);
    text_write_end(&writer);
    fclose(out);
    assert_non_null(strstr(written, "password: \"(hidden)\""));
    free(written);
}

/* Two that look alike differ. */
static void another_version_is_a_difference(void **state)
{
    DEFER(object_free) Object *before = relay(7);
    DEFER(object_free) Object *after = relay(8);
    char *written = NULL;
    size_t size = 0;
    (void)state;

    FILE *out = open_memstream(&written, &size);
    text_write_diff(out, before, after);
    fclose(out);
    assert_string_equal(written, "~ relay default of main\n  - password: (hidden)\n  + password: (hidden)\n");
    free(written);
}

static void a_file_keeps_and_never_says(void **state)
{
    DEFER(object_free) Object *object = relay(0);
    const FieldMeta *field = meta_field(kind_info(MAIL__OBJECT__BODY_RELAY)->meta, "password");
    (void)state;

    ok(value_set(object, field, "(hidden)"));
    assert_true(object->relay->password == SECRET_KEPT);
    ok(object_validate(object));
    Error *err = value_set(object, field, "canary");
    assert_non_null(err);
    assert_null(strstr(err->what, "canary"));
    fails(err, ERROR_INVALID, "password: a secret is not written here");
    ok(value_set(object, field, "none"));
    assert_false(object->relay->has_password);
    object->relay->has_password = true; /* a peer's */
    object->relay->password = 0;
    fails(object_validate(object), ERROR_INVALID, "password: 0 is the number of none");
}

static void values(void **state)
{
    static const struct {
        const char *value;
        size_t size;
        const char *words; /* NULL: good */
    } cases[] = {
        {"x", 1, NULL},
        {"with:colon%and\nline and {PLAIN} \xc3\xa4", 34, NULL},
        {"", 0, "password: empty"},
        {"a\0b", 3, "password: a NUL is in it"},
        {"\xff", 1, "password: not UTF-8"},
        {"(hidden)", 8, "password: that is what stands for a secret"},
    };
    const FieldMeta *field = meta_field(kind_info(MAIL__OBJECT__BODY_RELAY)->meta, "password");
    DEFER(xfree) char *long_one = xcalloc(1, 1026);
    (void)state;

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Error *err = secret_value_check(field, cases[i].value, cases[i].size);
        if (cases[i].words)
            fails(err, ERROR_INVALID, cases[i].words);
        else
            ok(err);
    }
    memset(long_one, 'x', 1025);
    ok(secret_value_check(field, long_one, 1024));
    fails(secret_value_check(field, long_one, 1025), ERROR_INVALID, "1025 octets: at most 1024");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_an_object_names),
        cmocka_unit_test(a_number_is_shown_to_nobody),
        cmocka_unit_test(another_version_is_a_difference),
        cmocka_unit_test(a_file_keeps_and_never_says),
        cmocka_unit_test(values),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
