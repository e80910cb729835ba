/* Verbs of a directory on their way to the node that holds it, and back. */
#include "cluster.h"

static void site(void)
{
    put(machine("mx1"));
    put(user_domain("staff", "mx1", NULL));
    put(instance("main", "mx1", "staff"));
}

static bool relay(const char *node, uint64_t *ret_ticket)
{
    Envelope envelope = MAIL__ENVELOPE__INIT;
    Mail__Directory body = MAIL__DIRECTORY__INIT;
    Mail__DirectoryRead read = MAIL__DIRECTORY_READ__INIT;

    body.user_domain = (char *)"staff";
    body.read = &read;
    envelope.body_case = MAIL__ENVELOPE__BODY_DIRECTORY;
    envelope.directory = &body;
    return nodes_relay(nodes, node, &envelope, ret_ticket);
}

static void say_part(Peer *peer, uint64_t to, uint32_t seq, bool last, const char *name)
{
    Envelope envelope = MAIL__ENVELOPE__INIT;
    Mail__Accounts body = MAIL__ACCOUNTS__INIT;
    Mail__Account account = MAIL__ACCOUNT__INIT, *list = &account;

    account.name = (char *)name;
    body.accounts = &list;
    body.n_accounts = 1;
    envelope.body_case = MAIL__ENVELOPE__BODY_ACCOUNTS;
    envelope.accounts = &body;
    envelope.has_in_reply_to = envelope.has_seq = true;
    envelope.in_reply_to = to;
    envelope.seq = seq;
    envelope.has_last = envelope.last = last;
    ok(curve_client_send(peer->client, &envelope));
}

static uint64_t asked_id(Peer *peer)
{
    Envelope *asked = expect(peer, MAIL__ENVELOPE__BODY_DIRECTORY);
    uint64_t id = asked->id;

    assert_string_equal(asked->directory->user_domain, "staff");
    envelope_free(&asked);
    return id;
}

/* Waits for the next part and compares whose it is; NULL: the relay is gone. */
static void part_is(uint64_t ticket, const char *name)
{
    DEFER(envelope_free) Envelope *part = NULL;
    RelayState state = RELAY_PENDING;

    until((state = nodes_relayed(nodes, ticket, &part)) != RELAY_PENDING);
    assert_int_equal(state, name ? RELAY_PART : RELAY_GONE);
    if (part && part->body_case == MAIL__ENVELOPE__BODY_ACCOUNTS)
        assert_string_equal(part->accounts->accounts[0]->name, name);
    else if (part)
        assert_string_equal(part->failure->what, name);
}

static void parts_arrive_in_order(void **state)
{
    DEFER(envelope_free) Envelope *none = NULL;
    Have have = {0};
    uint64_t first, second;

    (void)state;
    site();
    Peer *peer = online("mx1", &have);
    assert_true(relay("mx1", &first));
    assert_true(relay("mx1", &second));
    uint64_t one = asked_id(peer), two = asked_id(peer);
    assert_int_equal(nodes_relayed(nodes, first, &none), RELAY_PENDING);
    say_part(peer, two, 0, true, "zoe");
    say_part(peer, one, 0, false, "alice");
    say_part(peer, one, 1, true, "bob");
    part_is(first, "alice");
    part_is(second, "zoe");
    part_is(first, "bob");
    say_part(peer, one, 2, true, "late"); /* it had ended */
    part_is(first, NULL);
    nodes_relay_forget(nodes, first);
    nodes_relay_forget(nodes, second);
    nodes_relay_forget(nodes, second);
    part_is(second, NULL);
}

static void failures_are_handed_on(void **state)
{
    Mail__Failure no = MAIL__FAILURE__INIT;
    Envelope answer = MAIL__ENVELOPE__INIT;
    Have have = {0};
    uint64_t ticket;

    (void)state;
    site();
    Peer *peer = online("mx1", &have);
    assert_true(relay("mx1", &ticket));
    no.has_code = true;
    no.code = MAIL__ERROR_NUMBER__EXISTS;
    no.what = (char *)"user alice exists";
    answer.body_case = MAIL__ENVELOPE__BODY_FAILURE;
    answer.failure = &no;
    answer.has_in_reply_to = true;
    answer.in_reply_to = asked_id(peer);
    ok(curve_client_send(peer->client, &answer));
    part_is(ticket, "user alice exists");
    nodes_relay_forget(nodes, ticket);
}

static void what_is_no_answer_ends_it(void **state)
{
    static const struct {
        uint32_t seqs[2];
        size_t n;
    } cases[] = {{{1}, 1}, {{0, 0}, 2}, {{0, 2}, 2}};
    Have have = {0};

    (void)state;
    site();
    Peer *peer = online("mx1", &have);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint64_t ticket;
        assert_true(relay("mx1", &ticket));
        uint64_t id = asked_id(peer);
        for (size_t k = 0; k < cases[i].n; k++)
            say_part(peer, id, cases[i].seqs[k], false, "alice");
        for (size_t k = 0; k + 1 < cases[i].n; k++)
            part_is(ticket, "alice");
        part_is(ticket, NULL);
        nodes_relay_forget(nodes, ticket);
    }
    /* To nothing that was asked: dropped, and the session goes on. */
    Mail__Done done = MAIL__DONE__INIT;
    Envelope to_nothing = MAIL__ENVELOPE__INIT;
    to_nothing.id = 4711;
    reply(peer, &to_nothing, MAIL__ENVELOPE__BODY_DONE, &done);
    say_part(peer, 4711, 0, true, "eve");
    settle();
    assert_true(nodes_online(nodes, "mx1"));
}

/* A node that never ends its answer fills no memory: nobody takes the parts here. */
static void an_endless_answer_is_cut(void **state)
{
    enum { SIZE = 200 * 1000, MANY = 60 };
    DEFER(xfree) char *name = xcalloc(1, SIZE + 1);
    DEFER(envelope_free) Envelope *part = NULL;
    Have have = {0};
    uint64_t ticket;
    size_t n = 0;

    (void)state;
    memset(name, 'x', SIZE);
    site();
    Peer *peer = online("mx1", &have);
    assert_true(relay("mx1", &ticket));
    uint64_t id = asked_id(peer);
    for (uint32_t i = 0; i < MANY; i++) {
        say_part(peer, id, i, false, name);
        turn();
    }
    settle();
    for (; nodes_relayed(nodes, ticket, &part) == RELAY_PART; n++)
        envelope_free(&part);
    assert_in_range(n, 10, 8 * 1024 * 1024 / SIZE);
    part_is(ticket, NULL);
    nodes_relay_forget(nodes, ticket);
}

static void a_node_that_went_says_nothing_more(void **state)
{
    Have have = {0};
    uint64_t ticket;

    (void)state;
    site();
    assert_false(relay("mx1", &ticket));
    assert_string_equal(nodes_away(nodes, "mx1", now_ms()).text, "has not joined yet");
    Peer *peer = online("mx1", &have);
    assert_true(relay("mx1", &ticket));
    peer->mute = true;
    skew += 3001;
    until(!nodes_online(nodes, "mx1"));
    part_is(ticket, NULL);
    nodes_relay_forget(nodes, ticket);
    assert_false(relay("mx1", &ticket));
    assert_memory_equal(nodes_away(nodes, "mx1", now_ms()).text, "is offline since ", 17);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(parts_arrive_in_order),
        TEST(failures_are_handed_on),
        TEST(what_is_no_answer_ends_it),
        TEST(an_endless_answer_is_cut),
        TEST(a_node_that_went_says_nothing_more),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
