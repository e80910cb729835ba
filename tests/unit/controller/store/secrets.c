/* Secrets: sealed in the file, gone with the object that names them, told to nodes that subscribe. */
#include "fixture.h"

#include "base/path.h"

#include <sys/stat.h>

static const char canary[] = "canary-7e1f";

static Object *relay(const char *name, uint64_t password)
{
    Object *object = object_new(MAIL__OBJECT__BODY_RELAY, "main", name);

    object->relay->host = xstrdup("a.example.net");
    object->relay->has_password = password != 0;
    object->relay->password = password;
    return object;
}

static uint64_t add(const char *text)
{
    DEFER(secret_free) Secret *secret = secret_new(text, strlen(text));
    uint64_t id = 0;

    ok(store_secret_add(store, "instance/main", secret, &id));
    return id;
}

static uint64_t put_with(const char *name, const char *text)
{
    begin();
    uint64_t id = add(text);
    put(relay(name, id));
    end();
    return id;
}

static bool there(uint64_t id)
{
    DEFER(secret_free) Secret *secret = NULL;

    ok(store_secret(store, id, &secret));
    return secret != NULL;
}

static bool file_has(const char *file, const void *octets, size_t size)
{
    DEFER(buf_done) Buf content = {0};

    ok(file_read(file, 64 * 1024 * 1024, &content));
    return memmem(content.data, content.size, octets, size) != NULL;
}

static void test_sealed_under_a_key_of_its_own(void **state)
{
    DEFER(xfree) char *key = xasprintf("%s/secrets.key", folder);
    DEFER(xfree) char *wal = xasprintf("%s-wal", path);
    DEFER(secret_free) Secret *secret = NULL;
    struct stat st;
    (void)state;

    uint64_t id = put_with("default", canary);
    assert_int_equal(stat(key, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_false(file_has(path, canary, strlen(canary)));
    assert_false(file_has(wal, canary, strlen(canary)));
    reopen();
    ok(store_secret(store, id, &secret));
    assert_string_equal(secret_text(secret), canary);
}

static void test_erased_with_the_same_commit(void **state)
{
    (void)state;

    uint64_t first = put_with("default", canary), other = put_with("recipient/example.com", canary);
    uint64_t second = put_with("default", "another");
    assert_true(second > other && other > first);
    assert_false(there(first));
    assert_true(there(other) && there(second));
    begin(); /* not for ever, when the change is undone */
    drop(ref_of(MAIL__OBJECT__BODY_RELAY, "main", "default"));
    assert_false(there(second));
    ok(change_undo(store));
    ok(store_commit(store));
    assert_true(there(second));
    drop_alone(ref_of(MAIL__OBJECT__BODY_RELAY, "main", "default"));
    assert_false(there(second));
    assert_int_equal(raw("SELECT count(*) FROM secret"), 1);
    assert_true(put_with("default", "third") > second); /* no number twice */
}

/* A row set in another's place opens nothing. */
static void test_rows_cannot_be_exchanged(void **state)
{
    DEFER(secret_free) Secret *secret = NULL;
    (void)state;

    uint64_t a = put_with("default", canary), b = put_with("recipient/example.com", "another");
    raw("UPDATE secret SET sealed=(SELECT s.sealed FROM secret s WHERE s.id=2) WHERE id=1");
    assert_int_equal(a, 1);
    assert_int_equal(b, 2);
    fails(store_secret(store, a, &secret), ERROR_DAMAGED, "secret 1 of instance/main: changed");
    assert_null(secret);
}

static void test_a_lost_key_is_named(void **state)
{
    DEFER(xfree) char *key = xasprintf("%s/secrets.key", folder);
    uint8_t octets[32] = {1};
    (void)state;

    store_free(&store);
    unlink(key);
    ok(store_open(path, &store)); /* nothing was sealed with it */
    uint64_t id = put_with("default", canary);
    store_free(&store);
    DEFER(buf_done) Buf good = {0};
    ok(file_read(key, 64, &good));
    unlink(key);
    fails(store_open(path, &store), ERROR_DAMAGED, "secrets.key");
    ok(file_write(key, octets, sizeof octets, 0600, (gid_t)-1));
    fails(store_open(path, &store), ERROR_DAMAGED, "another key file");
    ok(file_write(key, good.data, good.size, 0644, (gid_t)-1));
    fails(store_open(path, &store), ERROR_DENIED, "others than its owner");
    ok(file_write(key, good.data, good.size, 0600, (gid_t)-1));
    ok(store_open(path, &store));
    assert_true(there(id));
}

static void test_an_older_store_gets_the_table(void **state)
{
    (void)state;

    put_alone(machine("mx1", NULL));
    store_free(&store);
    sqlite3 *db = NULL;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "DROP TABLE secret; PRAGMA user_version=1", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
    ok(store_open(path, &store));
    lists(&(StoreFilter){0}, "node/mx1");
    assert_true(there(put_with("default", canary)));
    assert_int_equal(raw("PRAGMA user_version"), STORE_SCHEMA);
}

/* ---- to nodes ---- */

static Error *no_scope(void *context, const char *scope)
{
    (void)context;
    (void)scope;
    return NULL;
}

static Error *no_ref(void *context, const ObjectRef *ref)
{
    (void)context;
    (void)ref;
    return NULL;
}

static Error *no_object(void *context, const void *bytes, size_t size)
{
    (void)context;
    (void)bytes;
    (void)size;
    return NULL;
}

static Error *secret_into(void *context, uint64_t id, const Secret *secret)
{
    (void)id;
    buf_printf(context, "%s ", secret_text(secret));
    return NULL;
}

static void told(const char *node, uint64_t from, const char *wanted)
{
    DEFER(buf_done) Buf out = {0};
    DeltaSink sink = {&out, no_scope, no_ref, no_object, secret_into};

    ok(store_delta(store, node, from, &sink));
    assert_string_equal(buf_text(&out), wanted);
}

static void test_only_nodes_that_subscribe(void **state)
{
    (void)state;

    put_alone(machine("mx1", NULL));
    put_alone(machine("mx2", NULL));
    put_alone(user_domain("staff", "mx1", NULL));
    uint64_t placed = put_alone(instance("main", "mx1", "staff"));
    put_with("default", canary);
    put_with("recipient/example.com", "another");
    told("mx1", 0, "canary-7e1f another ");
    told("mx1", placed, "canary-7e1f another ");
    told("mx1", placed + 1, "another ");
    told("mx2", 0, "");
    put_alone(instance("main", "mx2", "staff"));
    told("mx2", placed, "canary-7e1f another ");
    told("mx1", placed + 2, "");
}

static Object *copied(uint64_t pair)
{
    Object *object = user_domain("staff", "mx1", "mx2");

    object->user_domain->has_kind = true;
    object->user_domain->kind = MAIL__USER_DOMAIN_KIND__INTERNAL;
    object->user_domain->has_replication = true;
    object->user_domain->replication = pair;
    return object;
}

/* SPEC F-179: the node of an instance is told of its user domain, and not how a copy of it is had. */
static void test_only_nodes_with_the_directory(void **state)
{
    (void)state;

    put_alone(machine("mx1", NULL));
    put_alone(machine("mx2", NULL));
    put_alone(machine("mx3", NULL));
    begin();
    put(copied(add(canary)));
    put(instance("main", "mx3", "staff"));
    end();
    told("mx1", 0, "canary-7e1f ");
    told("mx2", 0, "canary-7e1f ");
    told("mx3", 0, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_sealed_under_a_key_of_its_own, setup, teardown),
        cmocka_unit_test_setup_teardown(test_erased_with_the_same_commit, setup, teardown),
        cmocka_unit_test_setup_teardown(test_rows_cannot_be_exchanged, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_lost_key_is_named, setup, teardown),
        cmocka_unit_test_setup_teardown(test_an_older_store_gets_the_table, setup, teardown),
        cmocka_unit_test_setup_teardown(test_only_nodes_that_subscribe, setup, teardown),
        cmocka_unit_test_setup_teardown(test_only_nodes_with_the_directory, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
