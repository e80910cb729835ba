#include "work_replica.h"
#include "revert.h"

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

static Error *renew(void *context, Work *work)
{
    Error *err = replica_pairs_renew(work, context);

    return err ? err : work_finish(work);
}

static Error *back(void *context, Work *work)
{
    return revert_work(work, *(const uint64_t *)context);
}

/* SPEC F-179: whose key counts no more was told the pair; going back does not bring it back. */
static void F_179_what_a_revoked_node_knows_is_worth_nothing(void **state)
{
    DEFER(secret_free) Secret *first = NULL, *second = NULL, *gone = NULL;
    char none[] = "mx3", holder[] = "mx1", replica[] = "mx2";

    (void)state;
    ok(say(
        "add node - mx1; add node - mx2; add node - mx3; add user-domain - staff kind=internal node=mx1 replicas=mx2 "
        "listen=192.0.2.1; add user-domain - alone kind=internal node=mx2"));
    uint64_t was = pair_now(&first);
    ok(do_change(renew, none));
    assert_int_equal(revision, 0);
    ok(do_change(renew, replica));
    uint64_t is = pair_now(&second), renewed = revision;
    assert_true(is > was);
    assert_false(secret_equal(first, second));
    ok(store_secret(store, was, &gone));
    assert_null(gone);
    assert_int_equal(asked.n, 2);
    rules.deferred = rules.restoring = true;
    ok(do_change(back, &renewed));
    rules = (WorkRules){0};
    secret_free(&gone);
    assert_int_equal(pair_now(&gone), is);
    secret_free(&second);
    ok(do_change(renew, holder));
    assert_true(pair_now(&second) > is);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(F_179_a_pair_lasts_as_long_as_its_nodes, setup, teardown),
        cmocka_unit_test_setup_teardown(F_179_what_a_revoked_node_knows_is_worth_nothing, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
