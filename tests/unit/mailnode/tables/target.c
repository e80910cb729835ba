#include "tables/target.h"

#include "base/alloc.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const struct {
    const char *name, *mailbox, *key;
} cases[] = {
    {"alice", "alice@u.internal", "u=alice"},       {"o'neil", "o'neil@u.internal", "u=o'neil"},
    {"a+b", "a+b@u.internal", "u=a/2bb"}, /* Postfix would look for u=a, too */
    {"a b", "\"a b\"@u.internal", "u=a/20b"},       {"a\"b\\", "\"a\\\"b\\\\\"@u.internal", "u=a/22b/5c"},
    {"x@y", "\"x@y\"@u.internal", "u=x/40y"},       {"a,b", "\"a,b\"@u.internal", "u=a/2cb"},
    {"a==1", "\"a==1\"@u.internal", "u=a/3d/3d1"}, /* no bucket of a */
    {"a/20b", "\"a/20b\"@u.internal", "u=a/2f20b"}, {"\xc3\xbc", "\"\xc3\xbc\"@u.internal", "u=/c3/bc"},
};

static void names_and_keys(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        DEFER(xfree) char *mailbox = target_mailbox(cases[i].name), *key = target_key('u', cases[i].name), *name = NULL;
        DEFER(xfree) char *target = target_of_key(key), *wanted = xasprintf("%s@x.internal", cases[i].key);
        char kind = 0;
        assert_string_equal(mailbox, cases[i].mailbox);
        assert_string_equal(key, cases[i].key);
        assert_string_equal(target, wanted);
        assert_true(target_key_read(key, &kind, &name));
        assert_int_equal(kind, 'u');
        assert_string_equal(name, cases[i].name);
    }
}

static void not_keys(void **state)
{
    static const char *const bad[] = {"", "u", "u=/", "u=/2", "u=/zz", "u=/61", "a=b", "u=a+b", "u=/00", "canary="};
    char kind;
    char *name;

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (target_key_read(bad[i], &kind, &name))
            fail_msg("'%s' is read as %s", bad[i], name);
}

static void folded(void **state)
{
    (void)state;
    DEFER(xfree) char *name = name_fold("Al.ICE\xc3\x9c");
    assert_string_equal(name, "al.ice\xc3\xbc");
    DEFER(xfree) char *composed = name_fold("O\xcc\x88zil");
    assert_string_equal(composed, "\xc3\xb6zil");
    assert_true(name_usable("a b"));
    assert_false(name_usable(""));
    assert_false(name_usable("a\nb"));
    assert_false(name_usable("a\x7f"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_and_keys),
        cmocka_unit_test(not_keys),
        cmocka_unit_test(folded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
