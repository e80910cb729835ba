#include "work_relay.h"

#include "state.h"

static const Kind RELAY = MAIL__OBJECT__BODY_RELAY;

static void password_is(const char *name, const char *wanted)
{
    DEFER(object_free) Object *object = NULL;
    DEFER(secret_free) Secret *secret = NULL;

    ok(store_get(store, &(ObjectRef){RELAY, "main", name}, 0, &object));
    assert_non_null(object);
    if (object->relay->has_password)
        ok(store_secret(store, object->relay->password, &secret));
    assert_string_equal(secret ? secret_text(secret) : "", wanted);
}

static void F_130_type_and_subject_are_the_key(void **state)
{
    (void)state;
    site();
    ok(say(
        "add relay main recipient/example.com host=a.example.net; add relay main sender/example.com host=b.example.net;"
        "add relay main default host=c.example.net"));
    state_is(RELAY, "default recipient/example.com sender/example.com");
    fails(say("add relay main default host=d.example.net"), ERROR_EXISTS, "relay default of main exists");
}

static void F_133_not_to_ourselves(void **state)
{
    (void)state;
    site();
    fails(say("add relay main default host=MX1.example.org"), ERROR_INVALID, "that is this instance itself");
    ok(say("set instance - main listen=192.0.2.7"));
    fails(say("add relay main default host=192.0.2.7 tls=encrypt"), ERROR_INVALID, "that is this instance itself");
    ok(say("add relay main default host=192.0.2.8 tls=encrypt"));
}

static void F_134_off_with_a_login_warns(void **state)
{
    (void)state;
    site();
    ok(say("add relay main default host=a.example.net tls=off"));
    assert_string_equal(buf_text(&warned), "");
    ok(say("set relay main default user=u password=!canary"));
    assert_non_null(strstr(buf_text(&warned), "tls is off: the login goes unprotected"));
    fails(say("add relay main recipient/example.com host=192.0.2.1"), ERROR_INVALID, "it cannot be verified");
    fails(say("add relay main recipient/example.com host=a.example.net port=465 tls=off"), ERROR_INVALID,
          "on port 465 TLS begins at once");
}

static void F_135_one_server_one_login(void **state)
{
    (void)state;
    site();
    ok(say("add relay main recipient/example.com host=a.example.net user=u password=!canary-1"));
    ok(say("add relay main default host=a.example.net")); /* what it does not say is that of the others */
    password_is("default", "canary-1");
    ok(say("add relay main sender/example.org host=a.example.net user=s password=!canary-s"));
    ok(say("add relay main recipient/example.net host=a.example.net port=587"));
    password_is("recipient/example.net", ""); /* another port is another server */

    ok(say("set relay main default password=!canary-2 tls=encrypt"));
    assert_string_equal(buf_text(&warned), "relay recipient/example.com of main has the same TLS level and login now:"
                                           " it leads to a.example.net:25, too");
    assert_string_equal(buf_text(&kept), "~default, ~recipient/example.com");
    password_is("recipient/example.com", "canary-2");
    field_is(RELAY, "main", "recipient/example.com", "tls", "encrypt");
    password_is("sender/example.org", "canary-s"); /* it keeps its own */
    ok(say("set relay main recipient/example.com user= password="));
    password_is("default", "");
    field_is(RELAY, "main", "default", "user", "none");
    fails(say("set relay main default user=u password=!x; set relay main recipient/example.com user=v password=!y"),
          ERROR_INVALID, "both lead to a.example.net:25, and state another TLS level or login");
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(F_130_type_and_subject_are_the_key),
        TEST(F_133_not_to_ourselves),
        TEST(F_134_off_with_a_login_warns),
        TEST(F_135_one_server_one_login),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
