#include "work_secret.h"

#include "revert.h"
#include "state.h"

static const Kind RELAY = MAIL__OBJECT__BODY_RELAY;

static uint64_t id_of(const char *name)
{
    DEFER(object_free) Object *object = NULL;

    ok(store_get(store, &(ObjectRef){RELAY, "main", name}, 0, &object));
    assert_non_null(object);
    return object->relay->has_password ? object->relay->password : 0;
}

static void secret_is(uint64_t id, const char *wanted)
{
    DEFER(secret_free) Secret *secret = NULL;

    ok(store_secret(store, id, &secret));
    if (!wanted) {
        assert_null(secret);
        return;
    }
    assert_non_null(secret);
    assert_string_equal(secret_text(secret), wanted);
}

static void each_value_has_a_number_of_its_own(void **state)
{
    (void)state;
    site();
    ok(say("add relay main default host=a.example.net user=u password=!canary-1"));
    uint64_t first = id_of("default");
    secret_is(first, "canary-1");
    field_is(RELAY, "main", "default", "password", "(hidden)");
    ok(say("set relay main default password=!canary-1"));
    assert_int_equal(revision, 0); /* the same again */
    ok(say("set relay main default port=587"));
    assert_int_equal(id_of("default"), first);
    ok(say("set relay main default password=!canary-2"));
    assert_true(id_of("default") > first);
    secret_is(id_of("default"), "canary-2");
    secret_is(first, NULL); /* erased with the same commit */
    ok(say("set relay main default password= user="));
    assert_int_equal(id_of("default"), 0);
    ok(say("set relay main default password=!canary-2 user=u"));
    assert_true(id_of("default") > first + 1); /* never a number that was */
    uint64_t last = id_of("default");
    ok(say("remove relay main default"));
    secret_is(last, NULL);
}

static void may_exist_asks_for_the_same(void **state)
{
    (void)state;
    site();
    ok(say("add relay main default host=a.example.net user=u password=!canary"));
    rules.lenient = true;
    ok(say("add relay main default host=a.example.net user=u password=!canary"));
    assert_int_equal(revision, 0);
    fails(say("add relay main default host=a.example.net user=u password=!other"), ERROR_EXISTS, "with other values");
}

static void what_is_no_secret(void **state)
{
    static const struct {
        const char *line, *words;
    } cases[] = {
        {"add relay main default host=a.example.net user=u password=canary", "password: a secret does not come so"},
        {"add relay main default host=a.example.net user=!canary", "user"},
        {"add relay main default host=a.example.net user=u password=!", "password: empty"},
        {"add relay main default host=a.example.net user=u password=!(hidden)", "password: that is what stands for"},
        {"add relay main default host=a.example.net user=u password+=!canary", "password: a secret does not come so"},
        {"add relay main default host=a.example.net user=u", "password is missing"},
        {"add relay main default host=a.example.net password=!canary", "user is missing"},
    };
    (void)state;
    site();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Error *err = say(cases[i].line);
        assert_non_null(err);
        assert_null(strstr(err->what, "canary"));
        fails(err, ERROR_INVALID, cases[i].words);
    }
}

static Error *do_revert(void *context, Work *work)
{
    return revert_work(work, *(const uint64_t *)context);
}

static Error *back(uint64_t to)
{
    rules.deferred = rules.restoring = true;
    Error *err = do_change(do_revert, &to);
    rules.deferred = rules.restoring = false;
    return err;
}

/* It comes back, but not with an empty password: without one, and saying so. */
static void what_was_erased_must_be_set_again(void **state)
{
    (void)state;
    site();
    ok(say("add relay main default host=a.example.net user=u password=!canary"));
    uint64_t id = id_of("default");
    ok(say("set relay main default port=587"));
    ok(back(revision));
    assert_int_equal(id_of("default"), id); /* it is still there */
    assert_string_equal(buf_text(&warned), "");
    ok(say("remove relay main default"));
    ok(back(revision));
    field_is(RELAY, "main", "default", "user", "u");
    assert_int_equal(id_of("default"), 0);
    assert_string_equal(
        buf_text(&warned),
        "relay default of main: password must be set again: it was erased when it was replaced or removed");
    fails(say("set relay main default port=26"), ERROR_INVALID, "password is missing");
    ok(say("set relay main default enabled=no"));
    ok(say("set relay main default password=!canary enabled=yes"));
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(each_value_has_a_number_of_its_own),
        TEST(may_exist_asks_for_the_same),
        TEST(what_is_no_secret),
        TEST(what_was_erased_must_be_set_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
