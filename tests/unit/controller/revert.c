#include "revert.h"

#include "state.h"

static const Kind INSTANCE = MAIL__OBJECT__BODY_INSTANCE;
static const Kind DOMAIN = MAIL__OBJECT__BODY_DOMAIN;
static const Kind ADDRESS = MAIL__OBJECT__BODY_ADDRESS;
static const Kind ANY = MAIL__OBJECT__BODY__NOT_SET;

typedef struct Back {
    uint64_t revision;
    const char *instance;
} Back;

static Error *do_back(void *context, Work *work)
{
    const Back *back = context;

    if (back->instance)
        return rollback_work(work, back->revision, back->instance);
    return revert_work(work, back->revision);
}

static Error *back(uint64_t to, const char *instance)
{
    Back wish = {to, instance};

    said = "back";
    rules.deferred = rules.restoring = true;
    Error *err = do_change(do_back, &wish);
    rules.deferred = rules.restoring = false;
    return err;
}

static void F_169_revert_and_its_conflict(void **state)
{
    (void)state;
    site();
    ok(say("add address - info@example.org to=alice"));
    ok(say("set address - info@example.org to=bob"));
    uint64_t changed = revision;
    ok(say("add address - other@example.org to=carol"));
    ok(back(changed, NULL));
    field_is(ADDRESS, "main", "info@example.org", "to", "user:alice");
    state_is(ADDRESS, "info@example.org other@example.org");
    ok(say("set address - info@example.org to=carol"));
    DEFER(xfree)
    char *words =
        xasprintf("revision %" PRIu64 ": address info@example.org|by revision %" PRIu64, changed, changed + 2);
    fails(back(changed, NULL), ERROR_CONFLICT, words);
    field_is(ADDRESS, "main", "info@example.org", "to", "user:carol");
    ok(back(revision, NULL)); /* the newest goes always */
    field_is(ADDRESS, "main", "info@example.org", "to", "user:alice");
}

static void revisions_that_are_none(void **state)
{
    (void)state;
    site();
    fails(back(0, NULL), ERROR_NOT_FOUND, "revision 0 does not exist, the newest is 3");
    fails(back(99, NULL), ERROR_NOT_FOUND, "revision 99 does not exist");
    fails(back(99, "main"), ERROR_NOT_FOUND, "revision 99 does not exist");
    fails(back(1, "main"), ERROR_NOT_FOUND, "instance main: was not there at revision 1");
    fails(back(3, "nowhere"), ERROR_NOT_FOUND, "instance nowhere: was not there");
}

static void removed_instance_comes_back_whole(void **state)
{
    (void)state;
    DEFER(buf_done) Buf before = {0};
    DEFER(buf_done) Buf after = {0};

    site();
    ok(say("add address - info@example.org to=alice,bob; set address main postmaster@* to=alice;"
           "set policy main - default-quota=5G; set mailbox main alice quota=1G"));
    ok(store_each(store, &(StoreFilter){.limit = 0}, state_add, &before));
    ok(say("remove instance - main"));
    state_is(ANY, "mx1 staff");
    ok(back(revision, NULL));
    ok(store_each(store, &(StoreFilter){.limit = 0}, state_add, &after));
    assert_string_equal(buf_text(&before), buf_text(&after));
}

static void removed_domain_comes_back_with_its_addresses(void **state)
{
    (void)state;
    site();
    ok(say("add address - info@example.org to=alice"));
    ok(say("remove domain - example.org"));
    uint64_t removal = revision;
    state_is(ADDRESS, "info@example.org(asleep)");
    ok(back(removal, NULL));
    state_is(DOMAIN, "example.org");
    state_is(ADDRESS, "info@example.org");
    ok(back(revision, NULL)); /* and asleep again */
    state_is(ADDRESS, "info@example.org(asleep)");
}

static void rules_hold_on_the_way_back(void **state)
{
    (void)state;
    site();
    uint64_t created = revision;
    ok(say("add address - info@example.org to=alice"));
    fails(back(created, NULL), ERROR_CONFLICT, "instance main would go, and holds address info@example.org");
    ok(say("add user-domain - other kind=internal node=mx1"));
    uint64_t other = revision;
    ok(say("set instance - main user-domain=other"));
    fails(back(other, NULL), ERROR_CONFLICT, "user-domain other|main");
    ok(say("set instance - main node="));
    ok(say("add instance - second node=mx1 hostname=b.example.org user-domain=staff"));
    fails(back(other, "main"), ERROR_CONFLICT, "second"); /* its place is taken */
}

/* SPEC F-179: copies follow the node of their user domain, into nothing too; but what was never in force is taken back. */
static void copies_do_not_follow_into_nothing(void **state)
{
    (void)state;
    site();
    ok(say("add node - mx2; add node - mx3; add user-domain - guests kind=internal node=mx1 listen=192.0.2.1"));
    fails(say("set user-domain - guests node=mx2 replicas=mx1"), ERROR_CONFLICT,
          "guests: node mx2 has no copy|user-domain set guests replicas+=mx2");
    ok(say("set user-domain - guests replicas=mx2"));
    fails(say("set user-domain - guests node=mx3"), ERROR_CONFLICT, "guests: node mx3 has no copy");
    fails(say("set user-domain - guests node=mx3 replicas="), ERROR_CONFLICT, "guests: node mx3 has no copy");
    fails(say("set user-domain - guests node=mx7 replicas="), ERROR_NOT_FOUND, "mx7");
    ok(say("set user-domain - guests node=mx2 replicas="));
    uint64_t taken_over = revision;
    fails(back(taken_over, NULL), ERROR_CONFLICT, "guests: node mx1 has no copy");
    rules.refused = true;
    ok(back(taken_over, NULL));
    rules.refused = false;
    ok(say("set user-domain - guests node=mx2 replicas=mx1"));
    ok(say("set user-domain - guests replicas="));
    ok(say("set user-domain - guests node=mx3"));
}

static void F_169_rollback_takes_one_instance_back(void **state)
{
    (void)state;
    site();
    ok(say("add instance - second hostname=b.example.org user-domain=staff; add domain second example.net"));
    ok(say("add address - old@example.org to=alice"));
    uint64_t then = revision;
    ok(say("add address - info@example.org to=alice; add address - info@example.net to=alice"));
    ok(say(
        "set domain - example.org user-addresses=no; set policy main - default-quota=5G; set instance - main running=no"));
    ok(say("remove address - old@example.org"));
    ok(back(then, "main"));
    state_is(ADDRESS, "old@example.org info@example.net");
    field_is(DOMAIN, "main", "example.org", "user_addresses", "yes");
    field_is(INSTANCE, "", "main", "running", "yes");
    ok(back(revision, "main"));
    assert_int_equal(revision, 0); /* it stands there already */
    ok(say("remove instance - main"));
    ok(back(then, "main"));
    state_is(ADDRESS, "old@example.org info@example.net");
}

static Error *do_undelete(void *context, Work *work)
{
    return undelete_work(work, *(const uint64_t *)context, "main", "Sales");
}

static Error *undelete(uint64_t of)
{
    said = "undelete";
    rules.deferred = rules.restoring = true;
    Error *err = do_change(do_undelete, &of);
    rules.deferred = rules.restoring = false;
    return err;
}

/* Whoever may bring a mailbox back shall not take back by it what else a revision did. */
static void F_058_only_a_removal_is_undeleted(void **state)
{
    (void)state;
    site();
    ok(say("add public-mailbox main Sales acl=user:alice:full; add public-mailbox main Other acl=user:alice:full"));
    uint64_t added = revision;
    ok(say("remove public-mailbox main Other"));
    uint64_t other = revision;
    ok(say("remove public-mailbox main Sales; set policy main - default-quota=5G"));
    uint64_t mixed = revision;
    fails(undelete(added), ERROR_CONFLICT, "is not the removal of public-mailbox Sales alone");
    fails(undelete(other), ERROR_CONFLICT, "is not the removal of public-mailbox Sales alone");
    fails(undelete(mixed), ERROR_CONFLICT, "is not the removal of public-mailbox Sales alone");
    fails(undelete(99), ERROR_NOT_FOUND, "revision 99 does not exist");
    ok(back(mixed, NULL));
    ok(say("remove public-mailbox main Sales"));
    ok(undelete(revision));
    state_is(MAIL__OBJECT__BODY_PUBLIC_MAILBOX, "Postmaster Sales");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(F_169_revert_and_its_conflict),     TEST(revisions_that_are_none),
        TEST(removed_instance_comes_back_whole), TEST(removed_domain_comes_back_with_its_addresses),
        TEST(rules_hold_on_the_way_back),        TEST(F_169_rollback_takes_one_instance_back),
        TEST(F_058_only_a_removal_is_undeleted), TEST(copies_do_not_follow_into_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
