#include "cluster.h"

static Mail__TokenText *token_for(const char *node, bool replace)
{
    DEFER(xfree) char *text = NULL;
    Mail__TokenText *token = NULL;
    uint64_t expires_s = 0;

    ok(nodes_token(nodes, node, replace, &text, &expires_s));
    assert_int_equal(expires_s, 3600);
    ok(token_read(text, &token));
    assert_string_equal(token->node, node);
    assert_string_equal(token->controller_key, identity->public_key);
    assert_string_equal(token->endpoints[0], identity->endpoints[0]);
    assert_string_equal(token->enrol_endpoints[0], identity->enrol_endpoints[0]);
    return token;
}

static void say_join(Peer *peer, const char *node, const ProtobufCBinaryData *secret)
{
    Mail__Join join = MAIL__JOIN__INIT;

    until(peer->there);
    join.node = (char *)node;
    join.has_secret = true;
    join.secret = *secret;
    say(peer, MAIL__ENVELOPE__BODY_JOIN, &join);
}

static void is_joined(Peer *peer, const char *node)
{
    DEFER(envelope_free) Envelope *answer = expect(peer, MAIL__ENVELOPE__BODY_JOINED);
    assert_string_equal(answer->joined->node, node);
    assert_true(nodes_key_is(nodes, node, peer->public_key));
}

static void is_refused(Peer *peer, Mail__ErrorNumber code, const char *words)
{
    DEFER(envelope_free) Envelope *answer = expect(peer, MAIL__ENVELOPE__BODY_FAILURE);
    assert_int_equal(answer->failure->code, code);
    if (!strstr(answer->failure->what, words))
        fail_msg("%s\nwanted: %s", answer->failure->what, words);
}

static const char not_good[] = "this token is not good";

static void a_token_is_for_one_use_and_one_name(void **state)
{
    uint8_t guessed[DIGEST_SIZE] = {1};
    ProtobufCBinaryData guess = {sizeof guessed, guessed}, stub = {3, guessed};

    (void)state;
    put(machine("mx1"));
    put(machine("mx2"));
    DEFER(token_free) Mail__TokenText *token = token_for("mx1", false);
    Peer *peer = peer_new(NULL, "a", true), *late = peer_new(NULL, "b", true);
    say_join(peer, "mx1", &guess);
    is_refused(peer, MAIL__ERROR_NUMBER__DENIED, not_good);
    say_join(peer, "mx1", &stub);
    is_refused(peer, MAIL__ERROR_NUMBER__DENIED, not_good);
    say_join(peer, "mx2", &token->secret);
    is_refused(peer, MAIL__ERROR_NUMBER__DENIED, not_good);
    say_join(peer, "mx9", &token->secret);
    is_refused(peer, MAIL__ERROR_NUMBER__DENIED, not_good);
    say_join(peer, "mx1", &token->secret);
    is_joined(peer, "mx1");
    say_join(late, "mx1", &token->secret);
    is_refused(late, MAIL__ERROR_NUMBER__DENIED, not_good);
    say_join(peer, "mx1", &token->secret); /* the answer was lost: its key is proof enough */
    is_joined(peer, "mx1");
    say_join(peer, "mx2", &token->secret); /* one key is one node */
    is_refused(peer, MAIL__ERROR_NUMBER__DENIED, not_good);
    until(happened("join refused") == 6 && happened("node joined") == 1);
    assert_int_equal(nodes_state(nodes, "mx2"), MAIL__NODE_STATE__NEVER_JOINED);
}

static void it_expires(void **state)
{
    uint8_t octets[DIGEST_SIZE] = {7};
    ProtobufCBinaryData secret = {sizeof octets, octets};
    Digest hash = digest_of(octets, sizeof octets);

    (void)state;
    put(machine("mx1"));
    ok(store_token_add(store, "mx1", &hash, 1));
    Peer *peer = peer_new(NULL, "a", true);
    say_join(peer, "mx1", &secret);
    is_refused(peer, MAIL__ERROR_NUMBER__DENIED, "expired");
}

static void replaced_and_revoked(void **state)
{
    Have have = {0};

    (void)state;
    put(machine("mx1"));
    char *text = NULL;
    uint64_t expires_s = 0;
    fails(nodes_token(nodes, "mx9", false, &text, &expires_s), ERROR_NOT_FOUND, "does not exist");
    DEFER(token_free) Mail__TokenText *first = token_for("mx1", false);
    DEFER(token_free) Mail__TokenText *second = token_for("mx1", false);
    Peer *old = peer_new(NULL, "a", true);
    say_join(old, "mx1", &first->secret); /* a newer one has taken its place */
    is_refused(old, MAIL__ERROR_NUMBER__DENIED, not_good);
    say_join(old, "mx1", &second->secret);
    is_joined(old, "mx1");
    fails(nodes_token(nodes, "mx1", false, &text, &expires_s), ERROR_CONFLICT, "has joined");

    Peer *node = peer_connect(old, "a");
    say_hello(node, &have);
    standing_is(node, MAIL__STANDING_STATE__BEHIND);
    DEFER(token_free) Mail__TokenText *third = token_for("mx1", true);
    assert_int_equal(nodes_state(nodes, "mx1"), MAIL__NODE_STATE__REVOKED); /* from the answer on */
    Peer *new = peer_new(NULL, "b", true);
    say_join(new, "mx1", &third->secret);
    is_joined(new, "mx1");
    assert_false(door_knows(door, old->public_key));
    peer_forget(node);
    say_hello(node, &have);
    hears_nothing(node, MAIL__ENVELOPE__BODY_STANDING);

    /* A token that is out when its node is revoked is worth nothing either. */
    DEFER(token_free) Mail__TokenText *fourth = token_for("mx1", true);
    ok(nodes_revoke(nodes, "mx1"));
    Peer *later = peer_new(NULL, "c", true);
    say_join(later, "mx1", &fourth->secret);
    settle();
    assert_false(nodes_key_is(nodes, "mx1", later->public_key));
}

static void keys_come_back_after_a_restart(void **state)
{
    Have have = {0};

    (void)state;
    put(machine("mx1"));
    DEFER(token_free) Mail__TokenText *token = token_for("mx1", false);
    Peer *peer = peer_new(NULL, "a", true);
    say_join(peer, "mx1", &token->secret);
    is_joined(peer, "mx1");
    close_parts();
    open_parts();
    assert_true(nodes_key_is(nodes, "mx1", peer->public_key));
    Peer *node = peer_connect(peer, "a");
    say_hello(node, &have);
    standing_is(node, MAIL__STANDING_STATE__BEHIND);
}

static void guessing_is_slowed(void **state)
{
    uint8_t octets[DIGEST_SIZE] = {0};
    ProtobufCBinaryData secret = {sizeof octets, octets};

    (void)state;
    put(machine("mx1"));
    DEFER(token_free) Mail__TokenText *token = token_for("mx1", false);
    Peer *peer = peer_new(NULL, "a", true);
    for (int i = 0; i < 20; i++) {
        octets[0] = (uint8_t)i;
        say_join(peer, "mx1", &secret);
        is_refused(peer, MAIL__ERROR_NUMBER__DENIED, not_good);
    }
    say_join(peer, "mx1", &token->secret);
    is_refused(peer, MAIL__ERROR_NUMBER__UNAVAILABLE, "too many bad tokens");
    skew += 10001;
    say_join(peer, "mx1", &token->secret);
    is_joined(peer, "mx1");
    until(happened("enrolment slowed") == 1);
}

static void nothing_else_is_said_there(void **state)
{
    Mail__Hello hello = MAIL__HELLO__INIT;
    Mail__Change change = MAIL__CHANGE__INIT;

    (void)state;
    Peer *peer = peer_new(NULL, "a", true);
    until(peer->there);
    say(peer, MAIL__ENVELOPE__BODY_HELLO, &hello);
    is_refused(peer, MAIL__ERROR_NUMBER__INVALID, "hello is not expected at the enrolment port");
    say(peer, MAIL__ENVELOPE__BODY_CHANGE, &change);
    is_refused(peer, MAIL__ERROR_NUMBER__INVALID, "change is not expected at the enrolment port");
}

static void strangers_at_the_main_port_are_seen(void **state)
{
    (void)state;
    Peer *peer = peer_new(NULL, "a", false);
    until(happened("handshakes refused") == 1);
    assert_false(peer->there);
    assert_true(door_refused(door) >= 1);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_token_is_for_one_use_and_one_name), TEST(it_expires),         TEST(replaced_and_revoked),
        TEST(keys_come_back_after_a_restart),      TEST(guessing_is_slowed), TEST(nothing_else_is_said_there),
        TEST(strangers_at_the_main_port_are_seen),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
