#include "work_replica.h"

#include "state.h"

static uint64_t pair_now(Secret **ret_pair)
{
    DEFER(object_free) Object *object = NULL;

    ok(store_get(store, &(ObjectRef){MAIL__OBJECT__BODY_USER_DOMAIN, "", "staff"}, 0, &object));
    assert_non_null(object);
    if (object->user_domain->replication)
        ok(store_secret(store, object->user_domain->replication, ret_pair));
    return object->user_domain->replication;
}

/* SPEC F-179 */
static void F_179_a_pair_lasts_as_long_as_its_nodes(void **state)
{
    DEFER(secret_free) Secret *first = NULL, *same = NULL, *second = NULL, *none = NULL;

    (void)state;
    ok(say("add node - mx1; add node - mx2; add node - mx3; add user-domain - staff kind=internal node=mx1"));
    assert_int_equal(pair_now(&none), 0);
    fails(
        say("set user-domain - staff replicas=mx2"), ERROR_INVALID,
        "replicas 'mx2': 'listen' has no address that it could reach|state an address of mx1 as well: listen=ADDRESS");
    ok(say("set user-domain - staff replicas=mx2 listen=192.0.2.1"));
    uint64_t was = pair_now(&first);
    assert_non_null(first);
    ok(say("set user-domain - staff replicas=mx2"));
    assert_int_equal(pair_now(&same), was);
    assert_true(secret_equal(first, same));
    ok(say("set user-domain - staff replicas=mx3"));
    assert_true(pair_now(&second) > was);
    assert_false(secret_equal(first, second));
    secret_free(&same);
    ok(store_secret(store, was, &same));
    assert_null(same); /* erased */
    ok(say("set user-domain - staff replicas="));
    assert_int_equal(pair_now(&none), 0);
    fails(say("set user-domain - staff replication=!canary"), ERROR_INVALID, "is set by the controller alone");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(F_179_a_pair_lasts_as_long_as_its_nodes, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
