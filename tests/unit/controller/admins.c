#include "admins.h"

#include "state.h"

static const char far_key[] = "Hh4KzY&Jd*?.-S7q/8Qm=kE^tZ0#vLp2]wXcRb1!";
static const char other_key[] = "Jh4KzY&Jd*?.-S7q/8Qm=kE^tZ0#vLp2]wXcRb1!";
static const char published[] = "Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID";

/* The door, as far as admins see it. */
static Buf door_says;

void door_admit(Door *door, const char *key, Whose whose, const char *name)
{
    (void)door;
    (void)name;
    assert_int_equal(whose, WHOSE_ADMIN);
    buf_printf(&door_says, "+%.1s", key);
}

void door_refuse(Door *door, const char *key)
{
    (void)door;
    buf_printf(&door_says, "-%.1s", key);
}

static Door *const some_door = (Door *)&door_says;
static Admins *admins;

static int begin(void **state)
{
    if (setup(state))
        return -1;
    ok(admins_new(store, some_door, &admins));
    return 0;
}

static int end(void **state)
{
    admins_free(&admins);
    buf_done(&door_says);
    return teardown(state);
}

static void entry(const char *name, Mail__Role role, uint32_t uid, const char *group, const char *key,
                  const char *instance)
{
    Object *object = object_new(MAIL__OBJECT__BODY_ADMIN, NULL, name);
    Author author = {.who = "test"};
    uint64_t number;

    object->admin->has_role = true;
    object->admin->role = role;
    object->admin->has_uid = uid != 0;
    object->admin->uid = uid;
    object->admin->group = group ? xstrdup(group) : NULL;
    object->admin->key = key ? xstrdup(key) : NULL;
    if (instance) {
        object->admin->instances = xcalloc(1, sizeof(char *));
        object->admin->instances[object->admin->n_instances++] = xstrdup(instance);
    }
    ok(store_begin(store));
    ok(change_begin(store));
    ok(store_put(store, object));
    ok(change_end(store, &author, &number));
    ok(store_commit(store));
    object_free(&object);
    ok(admins_reload(admins));
}

static void gone(const char *name)
{
    Author author = {.who = "test"};
    uint64_t number;

    ok(store_begin(store));
    ok(change_begin(store));
    ok(store_remove(store, &(ObjectRef){MAIL__OBJECT__BODY_ADMIN, "", name}));
    ok(change_end(store, &author, &number));
    ok(store_commit(store));
    ok(admins_reload(admins));
}

static void is(const Caller *caller, const char *who, Mail__Role role, size_t n_instances)
{
    DEFER(asker_free) Asker *asker = NULL;

    ok(admins_find(admins, caller, &asker));
    assert_string_equal(asker->who, who);
    assert_int_equal(asker->role, role);
    assert_int_equal(asker->n_instances, n_instances);
}

static void nobody(const Caller *caller)
{
    Asker *asker = NULL;

    fails(admins_find(admins, caller, &asker), ERROR_DENIED, "may not use this controller");
    assert_null(asker);
}

static void F_171_by_user_id_and_group(void **state)
{
    (void)state;
    gid_t gids[] = {20002, 0};
    Caller root = {.uid = 0}, alice = {.uid = 20001}, daemon = {.uid = 20002, .gids = gids, .n_gids = 2};

    is(&root, "root", MAIL__ROLE__ADMIN, 0);
    nobody(&alice);
    nobody(&daemon);
    entry("a", MAIL__ROLE__VIEWER, 20001, NULL, NULL, NULL);
    is(&alice, "a (uid 20001)", MAIL__ROLE__VIEWER, 0);
    entry("b", MAIL__ROLE__ADMIN, 20001, NULL, NULL, "main"); /* the one that may most counts */
    entry("c", MAIL__ROLE__OPERATOR, 20001, NULL, NULL, NULL);
    is(&alice, "b (uid 20001)", MAIL__ROLE__ADMIN, 1);
    entry("d", MAIL__ROLE__ADMIN, 20001, NULL, NULL, NULL);
    is(&alice, "d (uid 20001)", MAIL__ROLE__ADMIN, 0);
    entry("team", MAIL__ROLE__VIEWER, 0, "root", NULL, NULL); /* group 0 is everywhere called so */
    is(&daemon, "team (uid 20002)", MAIL__ROLE__VIEWER, 0);
    gone("team");
    nobody(&daemon);
    entry("team", MAIL__ROLE__VIEWER, 0, "no-such-group", NULL, NULL);
    nobody(&daemon);
}

static void F_171_remote_by_key_alone(void **state)
{
    (void)state;
    Caller remote = {.remote = true, .uid = 0, .key = far_key}, stranger = {.remote = true, .key = other_key};

    nobody(&remote);
    entry("far", MAIL__ROLE__OPERATOR, 0, NULL, far_key, NULL);
    DEFER(xfree) char *who = xasprintf("far (key %s)", key_fingerprint(far_key).text);
    is(&remote, who, MAIL__ROLE__OPERATOR, 0);
    nobody(&stranger);
    entry("other", MAIL__ROLE__VIEWER, 0, NULL, other_key, NULL);
    entry("far", MAIL__ROLE__ADMIN, 0, NULL, far_key, NULL); /* the door need not hear of that */
    gone("far");
    nobody(&remote);
    assert_string_equal(buf_text(&door_says), "+H+J-H");
}

static void keys_that_are_taken(void **state)
{
    (void)state;
    static const struct {
        const char *name, *key;
        ErrorCode code;
        const char *words;
    } cases[] = {
        {"evil", published, ERROR_INVALID, "admin evil: key: it is a test key"},
        {"evil", other_key, ERROR_INVALID, "admin evil: key: it is the key of node mx1"},
        {"evil", far_key, ERROR_CONFLICT, "admin evil: key: it is the key of admin far"},
    };

    entry("far", MAIL__ROLE__VIEWER, 0, NULL, far_key, NULL);
    ok(store_node_key_set(store, "mx1", other_key));
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        DEFER(object_free) Object *object = object_new(MAIL__OBJECT__BODY_ADMIN, NULL, cases[i].name);
        object->admin->key = xstrdup(cases[i].key);
        fails(admin_key_check(store, object), cases[i].code, cases[i].words);
    }
    DEFER(object_free) Object *far = object_new(MAIL__OBJECT__BODY_ADMIN, NULL, "far");
    ok(admin_key_check(store, far));
    far->admin->key = xstrdup(far_key);
    ok(admin_key_check(store, far)); /* its own */
}

static void groups_of_a_caller(void **state)
{
    (void)state;
    Caller caller;

    caller_local(&caller, 4000000000U, 77);
    assert_int_equal(caller.n_gids, 1);
    assert_int_equal(caller.gids[0], 77);
    caller_done(&caller);
    assert_null(caller.gids);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)
    const struct CMUnitTest tests[] = {
        TEST(F_171_by_user_id_and_group),
        TEST(F_171_remote_by_key_alone),
        TEST(keys_that_are_taken),
        TEST(groups_of_a_caller),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
