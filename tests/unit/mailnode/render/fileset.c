#include "render/fileset.h"

#include "expect.h"

static FileSet *two(bool backwards)
{
    static const char *const paths[] = {"postfix/main.cf", "postfix/master.cf"};
    FileSet *set = fileset_new();

    for (size_t i = 0; i < 2; i++) {
        size_t at = backwards ? 1 - i : i;
        buf_append_text(fileset_add(set, paths[at], "postfix"), at ? "services\n" : "parameters\n");
    }
    fileset_restart_on(set, "postfix", backwards ? "queue" : "inet_interfaces", backwards ? "q" : "all");
    fileset_restart_on(set, "postfix", backwards ? "inet_interfaces" : "queue", backwards ? "all" : "q");
    return set;
}

static void test_order_of_adding_is_not_seen(void **state)
{
    DEFER(fileset_free) FileSet *a = two(false);
    DEFER(fileset_free) FileSet *b = two(true);
    (void)state;

    assert_int_equal(fileset_count(a), 2);
    for (size_t i = 0; i < 2; i++)
        assert_string_equal(fileset_file(a, i).path, fileset_file(b, i).path);
    assert_string_equal(fileset_file(b, 0).path, "postfix/main.cf");
    Digest of_a = fileset_digest(a, "postfix"), of_b = fileset_digest(b, "postfix");
    assert_true(digest_equal(&of_a, &of_b));
    of_a = fileset_restart_digest(a, "postfix");
    of_b = fileset_restart_digest(b, "postfix");
    assert_true(digest_equal(&of_a, &of_b));
    of_a = fileset_all(a);
    of_b = fileset_all(b);
    assert_true(digest_equal(&of_a, &of_b));
}

static void change_text(FileSet *set)
{
    File file = fileset_file(set, 0);
    buf_append_text((Buf *)file.text, "x");
}

static void change_path(FileSet *set)
{
    fileset_add(set, "postfix/more", "postfix");
}

static void change_group(FileSet *set)
{
    fileset_add(set, "postfix/more", NULL);
}

static void change_other(FileSet *set)
{
    fileset_add(set, "postfixes/main.cf", NULL);
    fileset_restart_on(set, "postfixes", "a", "b");
}

static void change_restart(FileSet *set)
{
    fileset_restart_on(set, "postfix", "a", "b");
}

static void test_digest_sees_one_daemon(void **state)
{
    static const struct {
        const char *name;
        void (*change)(FileSet *set);
        bool files, restart, all;
    } cases[] = {
        {"text", change_text, true, false, true},
        {"path", change_path, true, false, true},
        {"another daemon", change_other, false, false, true},
        {"restart", change_restart, false, true, false},
    };
    (void)state;

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        DEFER(fileset_free) FileSet *before = two(false);
        DEFER(fileset_free) FileSet *after = two(false);
        cases[i].change(after);
        Digest a = fileset_digest(before, "postfix"), b = fileset_digest(after, "postfix");
        Digest c = fileset_restart_digest(before, "postfix"), d = fileset_restart_digest(after, "postfix");
        Digest e = fileset_all(before), f = fileset_all(after);
        if (digest_equal(&a, &b) == cases[i].files || digest_equal(&c, &d) == cases[i].restart ||
            digest_equal(&e, &f) == cases[i].all)
            fail_msg("%s: seen by the wrong digest", cases[i].name);
    }

    DEFER(fileset_free) FileSet *of_group = two(false);
    DEFER(fileset_free) FileSet *of_root = two(false);
    change_path(of_group);
    change_group(of_root);
    Digest a = fileset_digest(of_group, "postfix"), b = fileset_digest(of_root, "postfix");
    assert_false(digest_equal(&a, &b));
}

static void test_no_file_is_zero(void **state)
{
    DEFER(fileset_free) FileSet *set = two(false);
    const Digest zero = {{0}};
    (void)state;

    fileset_restart_on(set, "slapd", "a", "b");
    Digest files = fileset_digest(set, "slapd"), restart = fileset_restart_digest(set, "slapd");
    assert_true(digest_equal(&files, &zero));
    assert_true(digest_equal(&restart, &zero));
    restart = fileset_restart_digest(set, "postfix");
    assert_false(digest_equal(&restart, &zero));
}

static void test_found_by_path(void **state)
{
    DEFER(fileset_free) FileSet *set = two(true);
    File file;
    (void)state;

    assert_ptr_equal(fileset_find(set, "postfix/master.cf", &file), &file);
    assert_string_equal(buf_text((Buf *)file.text), "services\n");
    assert_string_equal(file.group, "postfix");
    assert_null(fileset_find(set, "postfix/master", &file));
    assert_null(fileset_find(set, "postfix/z", &file));
}

static void test_first_refusal_counts(void **state)
{
    DEFER(fileset_free) FileSet *set = two(false);
    (void)state;

    ok(fileset_refused(set));
    fileset_refuse(set, error_hint(error_new(ERROR_INVALID, "first"), "mend it"));
    fileset_refuse(set, error_new(ERROR_INVALID, "second"));
    Error *err = fileset_refused(set);
    assert_non_null(err);
    assert_string_equal(err->hint, "mend it");
    fails(err, ERROR_INVALID, "first");
    fails(fileset_refused(set), ERROR_INVALID, "first");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order_of_adding_is_not_seen),
        cmocka_unit_test(test_digest_sees_one_daemon),
        cmocka_unit_test(test_no_file_is_zero),
        cmocka_unit_test(test_found_by_path),
        cmocka_unit_test(test_first_refusal_counts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
