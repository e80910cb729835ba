#include "apply.h"

#include "state.h"

#include "model/value.h"

static const Kind INSTANCE = MAIL__OBJECT__BODY_INSTANCE;
static const Kind DOMAIN = MAIL__OBJECT__BODY_DOMAIN;
static const Kind ADDRESS = MAIL__OBJECT__BODY_ADDRESS;
static const Kind ANY = MAIL__OBJECT__BODY__NOT_SET;

/* ---- a file, as lines "KIND INSTANCE NAME FIELD=VALUE ..." ---- */

static Object *object_of(const char *text)
{
    DEFER(line_done) Line line = {0};
    DEFER(xfree) char *edit = xasprintf("add %s", text);

    said = text;
    line_read(&line, edit);
    const Mail__Ref *ref = &line.refs[0];
    Object *object = object_new(kind_by_name(ref->kind)->kind, ref->instance, ref->name);
    for (size_t i = 0; i < line.edits[0].n_fields; i++) {
        if (strcmp(line.edits[0].fields[i]->field, "asleep") == 0)
            object->address->has_dormant = object->address->dormant = true;
        else if (strcmp(line.edits[0].fields[i]->value, "(hidden)") == 0)
            ok(value_set(object, meta_field(kind_info(object->body_case)->meta, "password"), "(hidden)"));
        else
            ok(object_edit(object, line.edits[0].fields[i]));
    }
    ok(object_validate(object));
    return object;
}

/* Fills one part; place "f:N" is the N-th line. */
static Error *part_of(Apply *apply, const char *const *lines, size_t n)
{
    Mail__ApplyPart part = MAIL__APPLY_PART__INIT;
    Buf *bytes = xcalloc(n + 1, sizeof *bytes);

    part.objects = xcalloc(n + 1, sizeof *part.objects);
    part.places = xcalloc(n + 1, sizeof(char *));
    part.n_objects = part.n_places = n;
    for (size_t i = 0; i < n; i++) {
        DEFER(object_free) Object *object = object_of(lines[i]);
        object_pack(object, &bytes[i]);
        part.objects[i] = (ProtobufCBinaryData){bytes[i].size, bytes[i].data};
        part.places[i] = xasprintf("f:%zu", i + 1);
    }
    Error *err = apply_part(apply, &part);
    for (size_t i = 0; i < n; i++) {
        buf_done(&bytes[i]);
        free(part.places[i]);
    }
    free(part.places);
    free(part.objects);
    free(bytes);
    return err;
}

static Error *do_apply(void *context, Work *work)
{
    return apply_work(context, work);
}

static Error *file(bool prune, const char *const *lines, size_t n)
{
    DEFER(apply_free) Apply *apply = apply_new(prune);

    Error *err = part_of(apply, lines, n);
    rules.deferred = true;
    if (!err)
        err = do_change(do_apply, apply);
    rules.deferred = false;
    return err;
}
#define FILE_OF(...) ((const char *const[]){__VA_ARGS__}), sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *)

static void F_170_any_order_is_good(void **state)
{
    (void)state;
    ok(file(false,
            FILE_OF("address main info@example.org to=alice", "mailbox main alice quota=1G", "domain main example.org",
                    "admin - helpdesk role=viewer uid=5 instances=main",
                    "instance - main node=mx1 hostname=mx1.example.org user-domain=staff",
                    "user-domain - staff kind=internal node=mx1", "policy main - default-quota=1G", "node - mx1")));
    assert_int_equal(revision, 1);
    state_is(ANY, "mx1 staff main helpdesk example.org policy Postmaster info@example.org alice");
    ok(file(false, FILE_OF("address main info@example.org to=alice", "domain main example.org")));
    assert_int_equal(revision, 0); /* the same again */
}

static void whole_objects_replace(void **state)
{
    (void)state;
    site();
    ok(say("add address - a@example.org to=alice internal=yes description=x; add address - b@example.org to=bob"));
    ok(file(false, FILE_OF("address main a@example.org to=bob")));
    field_is(ADDRESS, "main", "a@example.org", "internal", "no");
    field_is(ADDRESS, "main", "a@example.org", "to", "user:bob");
    state_is(ADDRESS, "a@example.org b@example.org"); /* nothing is removed */
}

static void two_instances_change_places(void **state)
{
    (void)state;
    site();
    ok(say("add node - mx2"));
    ok(say("add instance - second node=mx2 hostname=b.example.org user-domain=staff"));
    fails(say("set instance - main node=mx2; set instance - second node=mx1"), ERROR_CONFLICT, "second");
    ok(file(false, FILE_OF("instance - main node=mx2 hostname=mx1.example.org user-domain=staff",
                           "instance - second node=mx1 hostname=b.example.org user-domain=staff")));
    field_is(INSTANCE, "", "main", "node", "mx2");
    fails(file(false, FILE_OF("instance - main node=mx1 hostname=mx1.example.org user-domain=staff")), ERROR_CONFLICT,
          "f:1: instance main|second");
}

static void F_170_prune_stays_within_what_the_file_names(void **state)
{
    (void)state;
    site();
    ok(say("add instance - second hostname=b.example.org user-domain=staff; add domain second example.net"));
    ok(say(
        "add address - a@example.org to=alice; add address - b@example.org to=alice; add address - c@example.net to=alice;"
        "set mailbox main alice quota=1G"));
    ok(file(true, FILE_OF("address main a@example.org to=carol")));
    state_is(ADDRESS, "a@example.org c@example.net");
    assert_string_equal(buf_text(&kept), "~a@example.org, -b@example.org");
    state_is(DOMAIN, "example.org example.net");
    ok(file(true, FILE_OF("instance - main node=mx1 hostname=mx1.example.org user-domain=staff")));
    state_is(INSTANCE, "main");
    state_is(ADDRESS, "a@example.org");
    fails(file(true, FILE_OF("node - mx7")), ERROR_CONFLICT, "node mx1|names it");
    fails(file(true, FILE_OF("domain main example.com", "address main a@example.org to=carol")), ERROR_NOT_FOUND,
          "f:2: address a@example.org|domain example.org does not exist");
}

static void F_022_sleepers_are_taken_back(void **state)
{
    (void)state;
    site();
    ok(file(false, FILE_OF("address main a@gone.org to=alice asleep=", "address main b@example.org to=alice asleep=")));
    state_is(ADDRESS, "a@gone.org(asleep) b@example.org"); /* the one has its domain */
    ok(file(false, FILE_OF("address main a@gone.org to=alice asleep=", "domain main gone.org")));
    state_is(ADDRESS, "a@gone.org b@example.org");
    ok(say("remove domain - gone.org"));
    fails(file(false, FILE_OF("address main a@gone.org to=alice")), ERROR_NOT_FOUND,
          "f:1: address a@gone.org|gone.org");
}

static void F_075_asked_for_all_new_domains_at_once(void **state)
{
    (void)state;
    site();
    ok(say("add address - x@example.org to=y@one.org,z@two.org"));
    fails(file(false, FILE_OF("domain main one.org", "domain main two.org", "domain main three.org")), ERROR_CONFLICT,
          "x@example.org delivers to y@one.org, x@example.org delivers to z@two.org");
    /* What the same file mends takes nothing over. */
    ok(file(false, FILE_OF("domain main one.org", "address main x@example.org to=alice")));
}

static void errors_name_the_place_and_change_nothing(void **state)
{
    (void)state;
    site();
    uint64_t before = store_revision(store);
    fails(file(false, FILE_OF("address main a@example.org to=alice", "address main b@nowhere.org to=alice")),
          ERROR_NOT_FOUND, "f:2: address b@nowhere.org|nowhere.org");
    fails(file(false, FILE_OF("address main a@example.org to=alice", "domain main x.org",
                              "address main a@example.org to=bob")),
          ERROR_INVALID, "f:|a@example.org is stated twice, also at f:");
    fails(file(false, FILE_OF("address nowhere a@example.org to=alice")), ERROR_NOT_FOUND,
          "f:1: address a@example.org|instance nowhere does not exist");
    fails(file(false, FILE_OF("user-domain - other kind=internal node=mx7")), ERROR_NOT_FOUND,
          "f:1: user-domain other|mx7");
    assert_int_equal(store_revision(store), before);
}

static void octets_are_checked(void **state)
{
    (void)state;
    DEFER(apply_free) Apply *apply = apply_new(false);
    DEFER(object_free) Object *object = object_of("address main u@example.org to=alice");
    char place[] = "x:1", *places = place, upper[] = "U@example.org", *name = object->name;
    static const struct {
        const char *octets;
        size_t size;
        ErrorCode code;
    } cases[] = {
        {"", 0, ERROR_INVALID},
        {"\xff\xff\xff", 3, ERROR_INVALID},
        {"\x0a\x04main\x12\x01n", 9, ERROR_INVALID},                  /* no body */
        {"\x0a\x04main\x12\x01n\xe2\x2b\x00", 12, ERROR_UNSUPPORTED}, /* a kind to come */
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Mail__ApplyPart part = MAIL__APPLY_PART__INIT;
        ProtobufCBinaryData bytes = {cases[i].size, (uint8_t *)(uintptr_t)cases[i].octets};
        part.objects = &bytes;
        part.places = &places;
        part.n_objects = part.n_places = 1;
        fails(apply_part(apply, &part), cases[i].code, "x:1: ");
    }
    DEFER(buf_done) Buf packed = {0};
    object->name = upper;
    object_pack(object, &packed);
    object->name = name;
    Mail__ApplyPart part = MAIL__APPLY_PART__INIT;
    ProtobufCBinaryData bytes = {packed.size, packed.data};
    part.objects = &bytes;
    part.n_objects = 1;
    fails(apply_part(apply, &part), ERROR_INVALID, "is not in its normal form");
    assert_int_equal(apply_count(apply), 0);
}

/* Compared in one pass or one by one: the same outcome. */
static void many_objects_are_one_revision(void **state)
{
    (void)state;
    enum { N = 2000 };
    char *lines[N];

    site();
    for (size_t i = 0; i < N; i++)
        lines[i] = xasprintf("address main a%04zu@example.org to=alice", i);
    uint64_t before = store_revision(store);
    ok(file(false, (const char *const *)lines, N));
    assert_int_equal(revision, before + 1);
    assert_int_equal(store_count(store), 6 + N); /* postmaster and his mailbox, too */
    ok(file(false, (const char *const *)lines, N));
    assert_int_equal(revision, 0);
    ok(file(false, (const char *const *)lines, 2));
    assert_int_equal(revision, 0);
    ok(file(true, (const char *const *)lines, N - 1));
    assert_int_equal(store_count(store), 6 + N - 1);
    for (size_t i = 0; i < N; i++)
        free(lines[i]);
}

static uint64_t password_of(const char *name)
{
    DEFER(object_free) Object *object = NULL;

    ok(store_get(store, &(ObjectRef){MAIL__OBJECT__BODY_RELAY, "main", name}, 0, &object));
    assert_non_null(object);
    return object->relay->password;
}

/* What export wrote, applied again, is nothing; a file cannot take what is another's. */
static void secrets_of_a_file_are_those_that_are_stored(void **state)
{
    static const char *const same = "relay main default host=a.example.net user=u password=(hidden)";
    (void)state;
    site();
    fails(file(false, FILE_OF(same)), ERROR_INVALID, "f:1: relay default of main: password: '(hidden)' keeps");
    ok(say("add relay main default host=a.example.net user=u password=!canary"));
    uint64_t id = password_of("default");
    ok(file(false, FILE_OF(same)));
    assert_int_equal(revision, 0);
    ok(file(false, FILE_OF("relay main default host=b.example.net user=u password=(hidden)")));
    assert_int_equal(password_of("default"), id);
    ok(file(false, FILE_OF("relay main default host=b.example.net")));
    assert_int_equal(password_of("default"), 0);

    DEFER(object_free) Object *object = object_of("relay main default host=b.example.net user=u");
    DEFER(buf_done) Buf bytes = {0};
    DEFER(apply_free) Apply *apply = apply_new(false);
    Mail__ApplyPart part = MAIL__APPLY_PART__INIT;
    object->relay->has_password = true;
    object->relay->password = id;
    object_pack(object, &bytes);
    part.objects = &(ProtobufCBinaryData){bytes.size, bytes.data};
    part.n_objects = 1;
    ok(apply_part(apply, &part));
    rules.deferred = true;
    fails(do_change(do_apply, apply), ERROR_INVALID, "password: a secret is not stated by its number");
}

/* One part: two relays whose passwords are given, and what is stated for them. */
static Error *stated(Apply **ret_apply, Mail__StatedSecret **secrets, size_t n)
{
    static const char *const lines[] = {"relay main default host=a.example.net user=u",
                                        "relay main recipient/x.test host=b.example.net user=u"};
    Mail__ApplyPart part = MAIL__APPLY_PART__INIT;
    ProtobufCBinaryData objects[2];
    Buf bytes[2] = {0};

    for (size_t i = 0; i < 2; i++) {
        DEFER(object_free) Object *object = object_of(lines[i]);
        object->relay->has_password = true;
        object->relay->password = SECRET_GIVEN;
        object_pack(object, &bytes[i]);
        objects[i] = (ProtobufCBinaryData){bytes[i].size, bytes[i].data};
    }
    part.objects = objects;
    part.n_objects = 2;
    part.secrets = secrets;
    part.n_secrets = n;
    apply_free(ret_apply);
    *ret_apply = apply_new(false);
    Error *err = apply_part(*ret_apply, &part);
    rules.deferred = true;
    if (!err)
        err = do_change(do_apply, *ret_apply);
    rules.deferred = false;
    for (size_t i = 0; i < 2; i++)
        buf_done(&bytes[i]);
    return err;
}

static Mail__StatedSecret one(uint32_t object, const char *field, const char *value)
{
    Mail__StatedSecret secret = MAIL__STATED_SECRET__INIT;

    secret.has_object = secret.has_value = true;
    secret.object = object;
    secret.field = (char *)(uintptr_t)field;
    secret.value = (ProtobufCBinaryData){strlen(value), (uint8_t *)(uintptr_t)value};
    return secret;
}

static void password_is(const char *name, const char *value)
{
    DEFER(secret_free) Secret *secret = NULL;

    ok(store_secret(store, password_of(name), &secret));
    assert_non_null(secret);
    assert_string_equal(secret_text(secret), value);
}

static void secrets_that_a_file_states(void **state)
{
    DEFER(apply_free) Apply *apply = NULL;
    Mail__StatedSecret first = one(0, "password", "canary1"), second = one(1, "password", "canary2");
    Mail__StatedSecret none = one(1, "host", "canary"), empty = one(1, "password", ""),
                       far = one(2, "password", "canary");
    Mail__StatedSecret hidden = one(1, "password", "(hidden)");
    (void)state;

    site();
    ok(stated(&apply, (Mail__StatedSecret *[]){&first, &second}, 2));
    password_is("default", "canary1");
    password_is("recipient/x.test", "canary2");
    uint64_t id = password_of("default");
    ok(stated(&apply, (Mail__StatedSecret *[]){&first, &second}, 2)); /* said again it is nothing */
    assert_int_equal(revision, 0);
    assert_int_equal(password_of("default"), id);
    second = one(1, "password", "canary3");
    ok(stated(&apply, (Mail__StatedSecret *[]){&first, &second}, 2));
    password_is("recipient/x.test", "canary3");
    assert_int_equal(password_of("default"), id);

    fails(stated(&apply, (Mail__StatedSecret *[]){&first}, 1), ERROR_INVALID,
          "password: a secret is not stated by its number");
    fails(stated(&apply, (Mail__StatedSecret *[]){&second, &first}, 2), ERROR_INVALID, "out of their order");
    fails(stated(&apply, (Mail__StatedSecret *[]){&first, &second, &far}, 3), ERROR_INVALID, "for no object");
    fails(stated(&apply, (Mail__StatedSecret *[]){&first, &none}, 2), ERROR_INVALID, "for what takes none");
    fails(stated(&apply, (Mail__StatedSecret *[]){&first, &first, &second}, 3), ERROR_INVALID, "stated twice");
    fails(stated(&apply, (Mail__StatedSecret *[]){&first, &empty}, 2), ERROR_INVALID, "password: empty");
    fails(stated(&apply, (Mail__StatedSecret *[]){&first, &hidden}, 2), ERROR_INVALID, "stands for a secret");
    password_is("recipient/x.test", "canary3");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(F_170_any_order_is_good),
        TEST(whole_objects_replace),
        TEST(two_instances_change_places),
        TEST(F_170_prune_stays_within_what_the_file_names),
        TEST(F_022_sleepers_are_taken_back),
        TEST(F_075_asked_for_all_new_domains_at_once),
        TEST(errors_name_the_place_and_change_nothing),
        TEST(octets_are_checked),
        TEST(many_objects_are_one_revision),
        TEST(secrets_of_a_file_are_those_that_are_stored),
        TEST(secrets_that_a_file_states),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
