#include "model/edit.h"

#include "base/alloc.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum {
    SET = MAIL__EDIT_OP__SET,
    CLEAR = MAIL__EDIT_OP__CLEAR,
    APPEND = MAIL__EDIT_OP__APPEND,
    TAKE = MAIL__EDIT_OP__TAKE
};

static Error *edit(Object *object, int op, const char *field, const char *value)
{
    DEFER(xfree) char *field_copy = xstrdup(field);
    DEFER(xfree) char *value_copy = value ? xstrdup(value) : NULL;
    Mail__FieldEdit words = MAIL__FIELD_EDIT__INIT;

    words.field = field_copy;
    words.value = value_copy;
    words.has_op = true;
    words.op = (Mail__EditOp)op;
    return object_edit(object, &words);
}

/* One after the other on the same address. */
static void one_after_the_other(void **state)
{
    static const struct {
        int op;
        const char *field, *value, *shown;
    } rows[] = {
        {SET, "to", "alice,bob", "user:alice,user:bob"},
        {APPEND, "to", "carol", "user:alice,user:bob,user:carol"},
        {APPEND, "to", "user:carol,bob", "user:alice,user:bob,user:carol"},
        {TAKE, "to", "alice", "user:bob,user:carol"},
        {TAKE, "to", "nobody", "user:bob,user:carol"},
        {SET, "to", "group:sales", "group:sales"},
        {SET, "internal", "yes", "yes"},
        {CLEAR, "internal", NULL, "no"},
        {SET, "internal", "yes", "yes"},
        {SET, "internal", "", "no"},
        {SET, "description", "for people", "for people"},
        {CLEAR, "description", NULL, ""},
        {CLEAR, "to", NULL, ""},
    };
    DEFER(object_free) Object *object = object_new(MAIL__OBJECT__BODY_ADDRESS, "main", "info@example.org");

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        DEFER(error_free) Error *err = edit(object, rows[i].op, rows[i].field, rows[i].value);
        const FieldMeta *field = meta_field(kind_info(object->body_case)->meta, rows[i].field);
        DEFER(xfree) char *shown = field_text(object, field);
        if (err || strcmp(shown, rows[i].shown) != 0)
            fail_msg("row %zu, %s: '%s', error %s", i, rows[i].field, shown, err ? err->what : "-");
    }
}

static void refused(void **state)
{
    static const struct {
        Kind kind;
        int op;
        const char *field, *value, *what, *hint;
    } rows[] = {
        {MAIL__OBJECT__BODY_ADDRESS, SET, "too", "x", "address has no field 'too'", "did you mean to?"},
        {MAIL__OBJECT__BODY_DOMAIN, SET, "user-adresses", "x", "domain has no field 'user-adresses'",
         "did you mean user-addresses?"},
        {MAIL__OBJECT__BODY_ADDRESS, SET, "co\x1blour", "x", "address has no field 'co<U+001B>lour'",
         "mailctl explain address"},
        {MAIL__OBJECT__BODY_ADDRESS, SET, "", "x", "address has no field ''", "mailctl explain address"},
        {MAIL__OBJECT__BODY_ADDRESS, SET, "dormant", "yes", "dormant: is set by the controller alone", NULL},
        {MAIL__OBJECT__BODY_ADDRESS, CLEAR, "dormant", NULL, "dormant: is set by the controller alone", NULL},
        {MAIL__OBJECT__BODY_MAILBOX, SET, "quota", "10 M", "quota '10 M': write 10M", NULL},
        {MAIL__OBJECT__BODY_MAILBOX, SET, "forward", "not-an-address", "forward 'not-an-address': '@' is missing",
         NULL},
        {MAIL__OBJECT__BODY_MAILBOX, APPEND, "quota", "1M", "quota: no list: it is set with '='", NULL},
        {MAIL__OBJECT__BODY_INSTANCE, SET, "hostname", "localhost",
         "hostname 'localhost': a name with a dot in it is needed", NULL},
        {MAIL__OBJECT__BODY_POLICY, SET, "sender-login-match", "of",
         "sender-login-match 'of': write off, on or include-groups", "did you mean off?"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        DEFER(object_free) Object *object = object_new(rows[i].kind, "main", "x");
        DEFER(error_free) Error *err = edit(object, rows[i].op, rows[i].field, rows[i].value);
        const char *what = err && err->code == ERROR_INVALID ? err->what : "-";
        const char *hint = err && err->hint ? err->hint : "";
        if (strcmp(what, rows[i].what) != 0 || strcmp(hint, rows[i].hint ? rows[i].hint : "") != 0)
            fail_msg("row %zu: %s (hint: %s)", i, what, hint);
    }
}

static void of_a_newer_program(void **state)
{
    DEFER(object_free) Object *object = object_new(MAIL__OBJECT__BODY_ADDRESS, "main", "info@example.org");
    DEFER(error_free) Error *err = edit(object, 77, "to", "alice");

    (void)state;
    assert_int_equal(err->code, ERROR_UNSUPPORTED);
    assert_string_equal(err->what, "edit 77 is not known here");
}

static void shown_where_nothing_is_set(void **state)
{
    static const struct {
        Kind kind;
        const char *field, *shown;
    } rows[] = {
        {MAIL__OBJECT__BODY_MAILBOX, "quota", "default"},
        {MAIL__OBJECT__BODY_MAILBOX, "enabled", "yes"},
        {MAIL__OBJECT__BODY_POLICY, "default_quota", "unlimited"},
        {MAIL__OBJECT__BODY_POLICY, "spam_retention", "15d"},
        {MAIL__OBJECT__BODY_INSTANCE, "node", "none"},
        {MAIL__OBJECT__BODY_ADDRESS, "to", ""},
        {MAIL__OBJECT__BODY_ADMIN, "uid", ""},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        DEFER(object_free) Object *object = object_new(rows[i].kind, "main", "x");
        const FieldMeta *field = meta_field(kind_info(rows[i].kind)->meta, rows[i].field);
        DEFER(xfree) char *shown = field_text(object, field);
        DEFER(xfree) char *by_default = field_default_text(object, field);
        assert_false(field_is_set(object, field));
        assert_string_equal(shown, rows[i].shown);
        assert_string_equal(by_default, rows[i].shown);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_after_the_other),
        cmocka_unit_test(refused),
        cmocka_unit_test(of_a_newer_program),
        cmocka_unit_test(shown_where_nothing_is_set),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
