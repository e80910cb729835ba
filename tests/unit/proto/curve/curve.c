#include "curve/curve.h"

#include "base/alloc.h"
#include "curve/socket.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { PATIENCE_MS = 5000, NOT_MS = 150 }; /* how long is waited for what comes; and for what must not */

static CurveContext *context;
static CurveServer *server;
static Identity identity; /* the controller's */
static char endpoint[64];
static char own_public[CURVE_KEY_SIZE]; /* the node's */
static Secret *own_secret;

/* Closed in teardown: a context does not end before its sockets, and a test that fails shall not hang. */
static CurveClient *node, *other;
static void *raw_zmq, *raw_sockets[4];
static size_t n_raw_sockets;

static void good(Error *err)
{
    if (err)
        fail_msg("%s: %s", error_code_name(err->code), err->what);
}

/* Takes err. */
static void bad(Error *err, ErrorCode code, const char *words)
{
    if (!err || err->code != code || !strstr(err->what, words))
        fail_msg("%s instead of %s", err ? err->what : "no error", words);
    error_free(&err);
}

/* A port that is closed is free again a little later. */
static void listen_at(const char *where, CurveDoor door)
{
    Error *err = NULL;

    for (Msec until = clock_ms() + PATIENCE_MS; clock_ms() < until;) {
        error_free(&err);
        err = curve_listen(context, &where, 1, &identity, door, &server);
        if (!err || err->code != ERROR_CONFLICT)
            break;
        usleep(1000);
    }
    good(err);
}

/* The first member of a CurveServer is its socket: asked for the port that the kernel chose. */
static void endpoint_note(void)
{
    size_t size = sizeof endpoint;

    assert_int_equal(zmq_getsockopt(*(void **)server, ZMQ_LAST_ENDPOINT, endpoint, &size), 0);
}

static int setup(void **state)
{
    (void)state;
    good(curve_context_new(&context));
    curve_keypair(identity.public_key, &identity.secret_key);
    curve_keypair(own_public, &own_secret);
    listen_at("tcp://127.0.0.1:*", CURVE_KNOWN_KEYS);
    endpoint_note();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    while (n_raw_sockets)
        zmq_close(raw_sockets[--n_raw_sockets]);
    if (raw_zmq)
        zmq_ctx_term(raw_zmq);
    raw_zmq = NULL;
    curve_client_free(&node);
    curve_client_free(&other);
    curve_server_free(&server);
    curve_context_free(&context);
    secret_free(&identity.secret_key);
    secret_free(&own_secret);
    return 0;
}

static CurveClient *client_new(void)
{
    CurveClient *client = NULL;
    const char *where = endpoint;

    good(curve_connect(context, &where, 1, identity.public_key, own_public, own_secret, &client));
    return client;
}

static void sleep_on(CurveClient *client, Msec until)
{
    Waiter wake = waiter_start();

    if (server)
        curve_server_wait(server, &wake);
    if (client)
        curve_client_wait(client, &wake);
    waiter_at(&wake, until);
    waiter_block(&wake);
}

static bool connects(CurveClient *client, Msec patience_ms)
{
    for (Msec until = clock_ms() + patience_ms; clock_ms() < until;) {
        curve_client_run(client, clock_ms());
        if (curve_client_connected(client))
            return true;
        sleep_on(client, until);
    }
    return false;
}

static void troubled(CurveClient *client, const char *words)
{
    for (Msec until = clock_ms() + PATIENCE_MS; clock_ms() < until;) {
        curve_client_run(client, clock_ms());
        const char *trouble = curve_client_trouble(client);
        if (trouble && strstr(trouble, words))
            return;
        sleep_on(client, until);
    }
    fail_msg("trouble is '%s', not '%s'", curve_client_trouble(client), words);
}

static void ping(Envelope *envelope)
{
    static Mail__Ping body;

    mail__ping__init(&body);
    mail__envelope__init(envelope);
    envelope->body_case = MAIL__ENVELOPE__BODY_PING;
    envelope->ping = &body;
}

static void client_says_ping(CurveClient *client, uint64_t id)
{
    Envelope envelope;

    ping(&envelope);
    envelope.has_id = true;
    envelope.id = id;
    good(curve_client_send(client, &envelope));
}

static Error *server_next(CurveClient *client, CurveRoute *route, Envelope **ret_envelope, uint64_t *ret_id,
                          Msec patience_ms)
{
    Error *err = NULL;

    for (Msec until = clock_ms() + patience_ms; clock_ms() < until;) {
        err = curve_receive(server, route, ret_envelope, ret_id);
        if (err || *ret_envelope)
            break;
        if (client)
            curve_client_run(client, clock_ms());
        sleep_on(client, until);
    }
    return err;
}

static void server_hears_ping(CurveClient *client, CurveRoute *route, uint64_t id)
{
    DEFER(envelope_free) Envelope *envelope = NULL;
    uint64_t about = 0;

    good(server_next(client, route, &envelope, &about, PATIENCE_MS));
    if (!envelope || envelope->body_case != MAIL__ENVELOPE__BODY_PING || envelope->id != id)
        fail_msg("not ping %u but %u", (unsigned)id, envelope ? (unsigned)envelope->id : 0);
}

static void client_hears_ping(CurveClient *client, uint64_t id)
{
    DEFER(envelope_free) Envelope *envelope = NULL;
    uint64_t about = 0;

    for (Msec until = clock_ms() + PATIENCE_MS; !envelope && clock_ms() < until;) {
        curve_client_run(client, clock_ms());
        good(curve_client_receive(client, &envelope, &about));
        if (!envelope)
            sleep_on(client, until);
    }
    if (!envelope || envelope->id != id)
        fail_msg("not ping %u but %u", (unsigned)id, envelope ? (unsigned)envelope->id : 0);
}

/* ---- tests ---- */

static void key_pairs_are_new_and_valid(void **state)
{
    (void)state;
    assert_true(curve_key_valid(own_public));
    assert_true(curve_key_valid(secret_text(own_secret)));
    assert_string_not_equal(own_public, identity.public_key);
    assert_false(secret_equal(own_secret, identity.secret_key));
}

static void carries_both_ways_with_the_key_on_it(void **state)
{
    (void)state;
    CurveRoute first = {.id_size = 0}, second = {.id_size = 0};
    Envelope envelope;

    curve_allow(context, own_public);
    node = client_new();
    assert_null(curve_client_trouble(node)); /* none was tried yet */
    ping(&envelope);
    bad(curve_client_send(node, &envelope), ERROR_UNAVAILABLE, "not connected");
    assert_true(connects(node, PATIENCE_MS));
    assert_null(curve_client_trouble(node));
    assert_false(curve_client_connected(node)); /* once */

    ping(&envelope);
    good(curve_client_send(node, &envelope)); /* at once: join gives up if it fails */
    uint64_t id = envelope.id;
    assert_int_not_equal(id, 0);
    server_hears_ping(node, &first, id);
    assert_string_equal(first.key, own_public);
    client_says_ping(node, 7);
    client_says_ping(node, 8);
    server_hears_ping(node, &second, 7);
    server_hears_ping(node, &second, 8);
    assert_true(curve_route_equal(&first, &second));

    ping(&envelope);
    good(curve_send(server, &first, &envelope));
    client_hears_ping(node, envelope.id);
    ping(&envelope);
    good(curve_send(server, &first, &envelope));
    client_hears_ping(node, envelope.id);
    assert_true(envelope.id > 1);
}

/* Each wake-up is by the descriptor alone: a lost edge of ZMQ_FD would end this by the deadline. */
static void many_messages_lose_no_wake_up(void **state)
{
    (void)state;
    CurveRoute route;
    Envelope envelope;

    curve_allow(context, own_public);
    node = client_new();
    assert_true(connects(node, PATIENCE_MS));
    for (uint64_t id = 1; id <= 300; id++) {
        client_says_ping(node, id);
        if (id % 3 == 0) { /* several in the queue, taken one by one */
            server_hears_ping(node, &route, id - 2);
            server_hears_ping(node, &route, id - 1);
            server_hears_ping(node, &route, id);
            ping(&envelope);
            good(curve_send(server, &route, &envelope));
            client_hears_ping(node, envelope.id);
        }
    }
}

static void unknown_keys_are_refused_and_get_in_once_allowed(void **state)
{
    (void)state;
    DEFER(xfree) char *words = xasprintf("controller refused our key %s", key_fingerprint(own_public).text);

    assert_int_equal(curve_refused(context), 0);
    node = client_new();
    troubled(node, words);
    assert_true(curve_refused(context) >= 1);
    curve_allow(context, own_public);
    curve_allow(context, own_public); /* twice is once */
    assert_true(connects(node, PATIENCE_MS));
    assert_null(curve_client_trouble(node));
}

static void a_revoked_key_stays_out(void **state)
{
    (void)state;
    CurveRoute route;

    curve_allow(context, own_public);
    node = client_new();
    assert_true(connects(node, PATIENCE_MS));
    curve_disallow(context, own_public);
    curve_disallow(context, "never seen");
    client_says_ping(node, 1); /* who is in must be refused by the caller, who sees the key */
    server_hears_ping(node, &route, 1);
    assert_string_equal(route.key, own_public);
    other = client_new();
    troubled(other, "controller refused our key");
}

/* The pairs printed in zmq_curve(7), which somebody may have allowed by mistake. */
static void published_keys_pass_no_door(void **state)
{
    (void)state;
    static const char *const pairs[][2] = {
        {"Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID", "D:)Q[IlAW!ahhC2ac:9*A}h:p?([4%wOTJ%JR%cs"},
        {"rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7", "JTKVSB%%)wK0E.X)V>+}o?pNmC{O&4W4b!Ni{Lh6"},
    };
    static const CurveDoor doors[] = {CURVE_KNOWN_KEYS, CURVE_ANY_KEY};
    uint64_t before = 0;

    for (size_t i = 0; i < 4; i++) {
        const char *const *pair = pairs[i % 2];
        DEFER(secret_free) Secret *secret = secret_new(pair[1], strlen(pair[1]));
        const char *where = endpoint;
        curve_server_free(&server);
        listen_at("tcp://127.0.0.1:*", doors[i / 2]);
        endpoint_note();
        curve_allow(context, pair[0]);
        good(curve_connect(context, &where, 1, identity.public_key, pair[0], secret, &node));
        troubled(node, "controller refused our key");
        assert_true(curve_refused(context) > before);
        before = curve_refused(context);
        curve_client_free(&node);
    }
}

static void any_key_passes_the_enrolment_door(void **state)
{
    (void)state;
    CurveRoute route;

    curve_server_free(&server);
    listen_at("tcp://127.0.0.1:*", CURVE_ANY_KEY);
    endpoint_note();
    node = client_new();
    assert_true(connects(node, PATIENCE_MS));
    client_says_ping(node, 1);
    server_hears_ping(node, &route, 1);
    assert_string_equal(route.key, own_public);
    assert_int_equal(curve_refused(context), 0);
}

static void another_servers_key_is_told(void **state)
{
    (void)state;
    DEFER(xfree) char *words = xasprintf("is the controller's key still %s?", key_fingerprint(own_public).text);
    const char *where = endpoint;

    curve_allow(context, own_public);
    good(curve_connect(context, &where, 1, own_public, own_public, own_secret, &node));
    troubled(node, words);
}

/* A DEALER with the options of the moment, on a context of its own. */
static void *raw_dealer(const char *mechanism)
{
    if (!raw_zmq)
        raw_zmq = zmq_ctx_new();
    void *socket = zmq_socket(raw_zmq, ZMQ_DEALER);
    int none = 0, one = 1;

    raw_sockets[n_raw_sockets++] = socket;
    zmq_setsockopt(socket, ZMQ_LINGER, &none, sizeof none);
    zmq_setsockopt(socket, ZMQ_IMMEDIATE, &one, sizeof one);
    if (strcmp(mechanism, "plain") == 0) {
        zmq_setsockopt(socket, ZMQ_PLAIN_USERNAME, "mx1", 3);
        zmq_setsockopt(socket, ZMQ_PLAIN_PASSWORD, "x", 1);
    } else if (strcmp(mechanism, "curve") == 0) {
        zmq_setsockopt(socket, ZMQ_CURVE_SERVERKEY, identity.public_key, 40);
        zmq_setsockopt(socket, ZMQ_CURVE_PUBLICKEY, own_public, 40);
        zmq_setsockopt(socket, ZMQ_CURVE_SECRETKEY, secret_text(own_secret), 40);
    }
    assert_int_equal(zmq_connect(socket, endpoint), 0);
    return socket;
}

static bool raw_writable(void *socket, long patience_ms)
{
    zmq_pollitem_t item = {.socket = socket, .events = ZMQ_POLLOUT};

    return zmq_poll(&item, 1, patience_ms) == 1;
}

static void other_mechanisms_are_refused_at_both_doors(void **state)
{
    (void)state;
    static const char *const mechanisms[] = {"null", "plain"};

    for (int door = 0; door <= 1; door++) {
        void *sockets[2];
        for (size_t i = 0; i < 2; i++)
            sockets[i] = raw_dealer(mechanisms[i]);
        for (size_t i = 0; i < 2; i++) {
            if (raw_writable(sockets[i], i ? 0 : NOT_MS))
                fail_msg("door %d lets %s in", door, mechanisms[i]);
        }
        curve_server_free(&server);
        listen_at("tcp://127.0.0.1:*", CURVE_ANY_KEY);
        endpoint_note();
    }
}

static void without_its_zap_handler_nobody_gets_in(void **state)
{
    (void)state;

    curve_allow(context, own_public);
    zap_end(&context->zap);
    node = client_new();
    assert_false(connects(node, NOT_MS));
    curve_server_free(&server); /* a new socket of ours does not help either */
    listen_at("tcp://127.0.0.1:*", CURVE_ANY_KEY);
    endpoint_note();
    curve_client_free(&node);
    node = client_new();
    assert_false(connects(node, NOT_MS));
}

/* ---- rubbish of an enrolled peer ---- */

static void octets_send(void *socket, const void *data, size_t size, int flags)
{
    assert_true(raw_writable(socket, PATIENCE_MS));
    assert_int_equal(zmq_send(socket, data, size, flags), size);
}

static void rubbish_is_told_once_and_passed_over(void **state)
{
    (void)state;
    CurveRoute route = {.id_size = 0}, ping_route = {.id_size = 0};
    DEFER(envelope_free) Envelope *none = NULL;
    uint64_t about = 0;
    Envelope envelope;
    DEFER(buf_done) Buf packed = {.data = NULL};

    curve_allow(context, own_public);
    void *socket = raw_dealer("curve");
    octets_send(socket, "", 0, 0); /* a probe is nothing */
    octets_send(socket, "\xff\xff", 2, 0);
    octets_send(socket, "", 0, ZMQ_SNDMORE); /* as a REQ socket would */
    octets_send(socket, "", 0, 0);
    for (int i = 0; i < 20000; i++)
        assert_int_equal(zmq_send(socket, "x", 1, i < 19999 ? ZMQ_SNDMORE : 0), 1);
    octets_send(socket, "\x08\x01\x10\x07\xc2\xbb\x01\0", 8, 0); /* version 1, id 7, body 3000 */
    octets_send(socket, "\x08\x63\x10\x07", 4, 0);
    ping(&envelope);
    envelope.has_id = true;
    envelope.id = 9;
    good(envelope_pack(&envelope, &packed));
    octets_send(socket, packed.data, packed.size, 0);

    bad(server_next(NULL, &route, &none, &about, PATIENCE_MS), ERROR_INVALID, "broken");
    assert_string_equal(route.key, own_public);
    bad(server_next(NULL, &route, &none, &about, PATIENCE_MS), ERROR_INVALID, "a message of 2 frames instead of one");
    bad(server_next(NULL, &route, &none, &about, PATIENCE_MS), ERROR_INVALID,
        "a message of 20000 frames instead of one");
    assert_int_equal(about, 0);
    bad(server_next(NULL, &route, &none, &about, PATIENCE_MS), ERROR_UNSUPPORTED, "is not known here");
    assert_int_equal(about, 7);
    bad(server_next(NULL, &route, &none, &about, PATIENCE_MS), ERROR_UNSUPPORTED, "version 99");
    server_hears_ping(NULL, &ping_route, 9);
    assert_true(curve_route_equal(&route, &ping_route));
}

static void a_flood_of_probes_holds_nobody(void **state)
{
    (void)state;
    CurveRoute route;
    DEFER(buf_done) Buf packed = {.data = NULL};
    Envelope envelope;

    curve_allow(context, own_public);
    void *socket = raw_dealer("curve");
    for (int i = 0; i < 300; i++)
        octets_send(socket, "", 0, 0);
    ping(&envelope);
    envelope.has_id = true;
    envelope.id = 9;
    good(envelope_pack(&envelope, &packed));
    octets_send(socket, packed.data, packed.size, 0);
    server_hears_ping(NULL, &route, 9);
}

/* ---- links that break ---- */

static void client_comes_back_when_the_controller_does(void **state)
{
    (void)state;
    CurveRoute before, after;
    Envelope envelope;

    curve_allow(context, own_public);
    node = client_new();
    assert_true(connects(node, PATIENCE_MS));
    client_says_ping(node, 1);
    server_hears_ping(node, &before, 1);
    curve_server_free(&server);
    troubled(node, "connection lost");
    ping(&envelope);
    bad(curve_client_send(node, &envelope), ERROR_UNAVAILABLE, "not connected");
    assert_false(connects(node, NOT_MS));

    Msec started = clock_ms();
    listen_at(endpoint, CURVE_KNOWN_KEYS);
    assert_true(connects(node, PATIENCE_MS));
    assert_true(clock_ms() - started < 2500);
    client_says_ping(node, 2);
    server_hears_ping(node, &after, 2);
    assert_string_equal(before.key, after.key);
}

static void nobody_there_is_no_answer(void **state)
{
    (void)state;

    curve_server_free(&server);
    node = client_new();
    troubled(node, "no answer");
}

static void second_endpoint_is_tried_too(void **state)
{
    (void)state;
    const char *const where[] = {"tcp://127.0.0.1:9", endpoint}; /* discard: nobody */

    curve_allow(context, own_public);
    good(curve_connect(context, where, 2, identity.public_key, own_public, own_secret, &node));
    assert_true(connects(node, PATIENCE_MS));
}

static void a_peer_that_is_gone_or_full_is_unavailable(void **state)
{
    (void)state;
    DEFER(xfree) char *text = xcalloc(1, 5001);
    CurveRoute route, never = {.id = {0, 1, 2, 3, 4}, .id_size = 5};
    Envelope envelope = MAIL__ENVELOPE__INIT;
    Mail__Failure failure = MAIL__FAILURE__INIT;
    Error *err = NULL;

    curve_allow(context, own_public);
    node = client_new();
    assert_true(connects(node, PATIENCE_MS));
    client_says_ping(node, 1);
    server_hears_ping(node, &route, 1);
    memset(text, 'x', 5000);
    failure.what = text;
    envelope.body_case = MAIL__ENVELOPE__BODY_FAILURE;
    envelope.failure = &failure;
    bad(curve_send(server, &never, &envelope), ERROR_UNAVAILABLE, "the peer is gone");
    for (int n = 0; n < 10000 && !err; n++) { /* it does not read */
        envelope.id = 0;
        err = curve_send(server, &route, &envelope);
    }
    bad(err, ERROR_UNAVAILABLE, "the peer's queue is full");
    err = NULL;

    curve_client_free(&node);
    for (Msec until = clock_ms() + PATIENCE_MS; clock_ms() < until;) {
        error_free(&err);
        envelope.id = 0;
        err = curve_send(server, &route, &envelope);
        if (err && strstr(err->what, "gone"))
            break;
        usleep(1000);
    }
    bad(err, ERROR_UNAVAILABLE, "the peer is gone");
}

static void endpoints_that_are_none(void **state)
{
    (void)state;
    CurveServer *none = NULL;
    CurveClient *nobody = NULL;
    const char *where = endpoint, *wrong = "tcp://127.0.0.1";

    bad(curve_listen(context, &where, 1, &identity, CURVE_KNOWN_KEYS, &none), ERROR_CONFLICT, "Address already in use");
    bad(curve_listen(context, &wrong, 1, &identity, CURVE_KNOWN_KEYS, &none), ERROR_INVALID,
        "tcp://127.0.0.1: Invalid argument");
    bad(curve_connect(context, &wrong, 1, identity.public_key, own_public, own_secret, &nobody), ERROR_INVALID,
        "tcp://127.0.0.1: Invalid argument");
    bad(curve_connect(context, NULL, 0, identity.public_key, own_public, own_secret, &nobody), ERROR_INVALID,
        "no address of the controller");
    assert_null(none);
    assert_null(nobody);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(key_pairs_are_new_and_valid, setup, teardown),
        cmocka_unit_test_setup_teardown(carries_both_ways_with_the_key_on_it, setup, teardown),
        cmocka_unit_test_setup_teardown(many_messages_lose_no_wake_up, setup, teardown),
        cmocka_unit_test_setup_teardown(unknown_keys_are_refused_and_get_in_once_allowed, setup, teardown),
        cmocka_unit_test_setup_teardown(a_revoked_key_stays_out, setup, teardown),
        cmocka_unit_test_setup_teardown(published_keys_pass_no_door, setup, teardown),
        cmocka_unit_test_setup_teardown(any_key_passes_the_enrolment_door, setup, teardown),
        cmocka_unit_test_setup_teardown(another_servers_key_is_told, setup, teardown),
        cmocka_unit_test_setup_teardown(other_mechanisms_are_refused_at_both_doors, setup, teardown),
        cmocka_unit_test_setup_teardown(without_its_zap_handler_nobody_gets_in, setup, teardown),
        cmocka_unit_test_setup_teardown(rubbish_is_told_once_and_passed_over, setup, teardown),
        cmocka_unit_test_setup_teardown(a_flood_of_probes_holds_nobody, setup, teardown),
        cmocka_unit_test_setup_teardown(client_comes_back_when_the_controller_does, setup, teardown),
        cmocka_unit_test_setup_teardown(nobody_there_is_no_answer, setup, teardown),
        cmocka_unit_test_setup_teardown(second_endpoint_is_tried_too, setup, teardown),
        cmocka_unit_test_setup_teardown(a_peer_that_is_gone_or_full_is_unavailable, setup, teardown),
        cmocka_unit_test_setup_teardown(endpoints_that_are_none, setup, teardown),
    };
    return cmocka_run_group_tests_name("curve/curve", tests, NULL, NULL);
}
