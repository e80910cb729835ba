/* Keys and tokens. */
#include "fixture.h"

static Error *add_key(void *context, const NodeKey *key)
{
    Buf *out = context;

    buf_printf(out, "%s%s=%s%s%s %" PRIu64, out->size ? ", " : "", key->node,
               key->public_key ? key->public_key : "none", key->revoked ? " revoked" : "",
               key->joined_s > 1700000000 ? " joined" : "", key->last_seen_s);
    return NULL;
}

static void keys(const char *wanted)
{
    DEFER(buf_done) Buf out = {0};
    ok(store_node_keys(store, add_key, &out));
    assert_string_equal(buf_text(&out), wanted);
}

static void test_keys(void **state)
{
    (void)state;
    fails(store_node_key_revoke(store, "mx1"), ERROR_NOT_FOUND, "node mx1 has never joined");
    ok(store_node_key_set(store, "mx1", "KEY1"));
    ok(store_node_key_set(store, "mx2", "KEY2"));
    ok(store_node_seen(store, "mx1", 50));
    ok(store_node_seen(store, "mx1", 40));
    ok(store_node_seen(store, "mx3", 40)); /* was forgotten meanwhile */
    keys("mx1=KEY1 joined 50, mx2=KEY2 joined 0");

    fails(store_node_key_set(store, "mx2", "KEY1"), ERROR_CONFLICT, "this key is that of node mx1");
    ok(store_node_key_revoke(store, "mx1"));
    ok(store_node_key_revoke(store, "mx1"));
    keys("mx1=KEY1 revoked joined 50, mx2=KEY2 joined 0");
    ok(store_node_key_set(store, "mx1", "KEY3"));
    reopen();
    keys("mx1=KEY3 joined 0, mx2=KEY2 joined 0");
    ok(store_node_key_forget(store, "mx1"));
    ok(store_node_key_forget(store, "mx1"));
    ok(store_node_key_set(store, "mx2", "KEY3"));
    keys("mx2=KEY3 joined 0");
}

static void test_tokens(void **state)
{
    const Digest first = digest_of("1", 1), second = digest_of("2", 1);
    (void)state;

    fails(store_token_spend(store, "mx1", &first, 10), ERROR_NOT_FOUND, "no such token for node mx1");
    ok(store_token_add(store, "mx1", &first, 100));
    fails(store_token_spend(store, "mx1", &second, 10), ERROR_NOT_FOUND, "no such token for node mx1");
    fails(store_token_spend(store, "mx2", &first, 10), ERROR_NOT_FOUND, "no such token for node mx2");
    fails(store_token_spend(store, "mx1", &first, 100), ERROR_DENIED, "the token for node mx1 has expired");
    reopen();
    ok(store_token_spend(store, "mx1", &first, 99));
    fails(store_token_spend(store, "mx1", &first, 99), ERROR_NOT_FOUND, "no such token for node mx1");

    ok(store_token_add(store, "mx1", &first, 100)); /* a newer one replaces it */
    ok(store_token_add(store, "mx1", &second, 100));
    fails(store_token_spend(store, "mx1", &first, 10), ERROR_NOT_FOUND, "no such token for node mx1");
    ok(store_token_spend(store, "mx1", &second, 10));

    ok(store_token_add(store, "mx1", &first, 100));
    ok(store_node_key_forget(store, "mx1"));
    fails(store_token_spend(store, "mx1", &first, 10), ERROR_NOT_FOUND, "no such token for node mx1");
}

/* Token and key belong together: one commit, or neither. */
static void test_facts_join_a_batch(void **state)
{
    const Digest hash = digest_of("1", 1);
    (void)state;

    ok(store_token_add(store, "mx1", &hash, 100));
    ok(store_begin(store));
    ok(store_token_spend(store, "mx1", &hash, 10));
    ok(store_node_key_set(store, "mx1", "KEY1"));
    keys("mx1=KEY1 joined 0");
    store_rollback(store);
    keys("");
    ok(store_begin(store));
    ok(store_token_spend(store, "mx1", &hash, 10));
    ok(store_node_key_set(store, "mx1", "KEY1"));
    fails(store_node_key_revoke(store, "mx2"), ERROR_NOT_FOUND, "node mx2 has never joined");
    ok(store_commit(store));
    reopen();
    keys("mx1=KEY1 joined 0");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_keys, setup, teardown),
        cmocka_unit_test_setup_teardown(test_tokens, setup, teardown),
        cmocka_unit_test_setup_teardown(test_facts_join_a_batch, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
