#include "local/local.h"

#include "base/alloc.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

enum { PATIENCE_MS = 5000, SILENT_MS = 10000 };

static char path[64];
static LocalServer *server;

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

static int setup(void **state)
{
    (void)state;
    snprintf(path, sizeof path, "/tmp/unit-local-%d.socket", (int)getpid());
    unlink(path);
    good(local_listen(path, 0600, (gid_t)-1, &server));
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    local_server_free(&server);
    unlink(path);
    return 0;
}

/* ---- a raw peer, that says what it likes ---- */

static int raw_connect(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) != 0)
        fail_msg("connect: %s", strerror(errno));
    return fd;
}

static void frame_add(Buf *out, const Envelope *envelope)
{
    DEFER(buf_done) Buf packed = {.data = NULL};

    good(envelope_pack(envelope, &packed));
    for (int i = 0; i < 4; i++)
        buf_append(out, &(uint8_t){(uint8_t)(packed.size >> 8 * i)}, 1);
    buf_append(out, packed.data, packed.size);
}

static void greeting_add(Buf *out, uint32_t protocol)
{
    Envelope envelope = MAIL__ENVELOPE__INIT;
    Mail__Greeting greeting = MAIL__GREETING__INIT;

    greeting.has_protocol = true;
    greeting.protocol = protocol;
    greeting.release = (char *)"9";
    greeting.program = (char *)"test";
    envelope.has_id = true;
    envelope.id = 1;
    envelope.body_case = MAIL__ENVELOPE__BODY_GREETING;
    envelope.greeting = &greeting;
    frame_add(out, &envelope);
}

static void ping(Envelope *envelope)
{
    static Mail__Ping body;

    mail__ping__init(&body);
    mail__envelope__init(envelope);
    envelope->body_case = MAIL__ENVELOPE__BODY_PING;
    envelope->ping = &body;
}

static void ping_add(Buf *out, uint64_t id)
{
    Envelope envelope;

    ping(&envelope);
    envelope.has_id = true;
    envelope.id = id;
    frame_add(out, &envelope);
}

static void raw_send(int fd, const Buf *octets)
{
    if (octets->size && send(fd, octets->data, octets->size, MSG_NOSIGNAL) != (ssize_t)octets->size)
        fail_msg("send: %s", strerror(errno));
}

/* The next envelope for a raw peer, NULL at the end of the stream. */
static Envelope *raw_receive(int fd)
{
    uint8_t head[4], body[4096];
    Envelope *envelope = NULL;
    uint64_t id;

    if (recv(fd, head, sizeof head, MSG_WAITALL) != (ssize_t)sizeof head)
        return NULL;
    size_t size = head[0] | (size_t)head[1] << 8;
    assert_true(size <= sizeof body);
    assert_int_equal(recv(fd, body, size, MSG_WAITALL), size);
    good(envelope_unpack(body, size, &envelope, &id));
    return envelope;
}

/* ---- a greeted pair ---- */

static void rest(LocalPeer *a, LocalPeer *b)
{
    Waiter wake = waiter_start();

    local_server_wait(server, &wake);
    if (a)
        local_peer_wait(a, &wake);
    if (b)
        local_peer_wait(b, &wake);
    waiter_at(&wake, clock_ms() + PATIENCE_MS / 50);
    waiter_block(&wake);
}

static LocalPeer *accepted(LocalPeer *client)
{
    for (Msec until = clock_ms() + PATIENCE_MS; clock_ms() < until;) {
        LocalPeer *peer = local_accept(server, clock_ms());
        if (client)
            good(local_peer_run(client));
        if (peer)
            return peer;
        rest(client, NULL);
    }
    fail_msg("nobody was accepted");
    return NULL;
}

static void pair(LocalPeer **ret_client, LocalPeer **ret_peer)
{
    good(local_connect(path, "test", ret_client));
    *ret_peer = accepted(*ret_client);
    for (Msec until = clock_ms() + PATIENCE_MS; !local_greeted(*ret_client) && clock_ms() < until;) {
        good(local_peer_run(*ret_peer));
        good(local_peer_run(*ret_client));
    }
    assert_true(local_greeted(*ret_client));
}

/* What comes to 'peer', while both are run; an error ends it. */
static Error *next(LocalPeer *peer, LocalPeer *other, Envelope **ret_envelope, uint64_t *ret_id)
{
    Error *err = NULL;

    *ret_envelope = NULL;
    for (Msec until = clock_ms() + PATIENCE_MS; !err && !*ret_envelope && clock_ms() < until;) {
        if (other)
            good(local_peer_run(other));
        err = local_peer_run(peer);
        if (!err)
            err = local_receive(peer, ret_envelope, ret_id);
        if (!err && !*ret_envelope)
            rest(NULL, peer);
    }
    return err;
}

static void expect_ping(LocalPeer *peer, LocalPeer *other, uint64_t id)
{
    DEFER(envelope_free) Envelope *envelope = NULL;
    uint64_t about = 0;

    good(next(peer, other, &envelope, &about));
    if (!envelope || envelope->body_case != MAIL__ENVELOPE__BODY_PING || envelope->id != id)
        fail_msg("not ping %u", (unsigned)id);
}

/* ---- tests ---- */

static void greets_and_carries_both_ways(void **state)
{
    (void)state;
    DEFER(local_peer_free) LocalPeer *client = NULL;
    DEFER(local_peer_free) LocalPeer *peer = NULL;
    Envelope envelope;

    pair(&client, &peer);
    assert_int_equal(local_peer_uid(peer), getuid());
    assert_int_equal(local_peer_gid(peer), getgid());
    assert_int_equal(local_peer_pid(peer), getpid());
    assert_int_equal(local_peer_uid(client), getuid());
    for (uint64_t id = 2; id < 5; id++) { /* 1 was the greeting; rising by itself */
        ping(&envelope);
        assert_true(local_send(client, &envelope));
        assert_int_equal(envelope.id, id);
        expect_ping(peer, client, id);
    }
    ping(&envelope);
    envelope.has_id = true;
    envelope.id = 77;
    assert_true(local_send(peer, &envelope));
    expect_ping(client, peer, 77);
    ping(&envelope);
    assert_true(local_send(peer, &envelope));
    assert_int_equal(envelope.id, 78);
}

static void takes_one_octet_at_a_time(void **state)
{
    (void)state;
    DEFER(buf_done) Buf octets = {.data = NULL};
    int fd = raw_connect();
    DEFER(local_peer_free) LocalPeer *peer = NULL;

    greeting_add(&octets, ENVELOPE_VERSION);
    for (size_t i = 0; i < octets.size; i++) {
        assert_null(local_accept(server, clock_ms()));
        raw_send(fd, &(Buf){.data = octets.data + i, .size = 1});
    }
    peer = accepted(NULL);
    buf_clear(&octets);
    ping_add(&octets, 5);
    ping_add(&octets, 6);
    for (size_t i = 0; i < octets.size; i++) {
        raw_send(fd, &(Buf){.data = octets.data + i, .size = 1});
        good(local_peer_run(peer));
    }
    expect_ping(peer, NULL, 5);
    expect_ping(peer, NULL, 6);
    close(fd);
}

static const struct {
    const char *octets;
    size_t size;
    const char *words; /* of our failure */
} rubbish[] = {
    {"\0\0\0\0", 4, "a message of 0 octets: 1 to"},
    {"\1\0\x10\0x", 5, "a message of 1048577 octets: 1 to"},
    {"\xff\xff\xff\xff", 4, "a message of 4294967295 octets: 1 to"},
    {"GET / HTTP/1.0\r\n\r\n", 18, "a message of 542393671 octets: 1 to"},
    {"\3\0\0\0\xff\xff\xff", 7, "broken"},
    {"\2\0\0\0\x08\x01", 6, "no id"},
};

/* The failure goes out, then the end of the stream; ours is INVALID.  Greeted or not. */
static void breaks_off_with_words(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rubbish / sizeof *rubbish; i++)
        for (int greeted = 0; greeted <= 1; greeted++) {
            DEFER(buf_done) Buf octets = {.data = NULL};
            DEFER(envelope_free) Envelope *first = NULL;
            DEFER(envelope_free) Envelope *second = NULL;
            int fd = raw_connect();
            if (greeted)
                greeting_add(&octets, ENVELOPE_VERSION);
            buf_append(&octets, rubbish[i].octets, rubbish[i].size);
            raw_send(fd, &octets);
            if (greeted) {
                DEFER(local_peer_free) LocalPeer *peer = accepted(NULL);
                DEFER(envelope_free) Envelope *none = NULL;
                uint64_t about = 0;
                bad(next(peer, NULL, &none, &about), ERROR_INVALID, rubbish[i].words);
                bad(local_peer_run(peer), ERROR_INVALID, rubbish[i].words); /* and stays so */
            } else {
                assert_null(local_accept(server, clock_ms()));
            }
            first = raw_receive(fd);
            assert_non_null(first);
            assert_int_equal(first->body_case, MAIL__ENVELOPE__BODY_GREETING);
            second = raw_receive(fd);
            if (!second || second->body_case != MAIL__ENVELOPE__BODY_FAILURE ||
                !strstr(second->failure->what, rubbish[i].words))
                fail_msg("row %zu, greeted %d: %s", i, greeted,
                         second && second->failure ? second->failure->what : "no failure");
            assert_null(raw_receive(fd));
            close(fd);
        }
}

static void first_word_must_be_a_greeting_that_fits(void **state)
{
    (void)state;
    static const struct {
        uint32_t protocol; /* 0: a ping instead */
        ErrorCode code;
        const char *words;
    } firsts[] = {
        {0, ERROR_INVALID, "the first message is ping, not a greeting"},
        {99, ERROR_UNSUPPORTED, "test 9 speaks protocol 99, unit-proto-local-local " MAILNODE_RELEASE " speaks 1"},
    };

    for (size_t i = 0; i < sizeof firsts / sizeof *firsts; i++) {
        DEFER(buf_done) Buf octets = {.data = NULL};
        DEFER(envelope_free) Envelope *first = NULL;
        DEFER(envelope_free) Envelope *second = NULL;
        int fd = raw_connect();
        if (firsts[i].protocol)
            greeting_add(&octets, firsts[i].protocol);
        else
            ping_add(&octets, 1);
        ping_add(&octets, 2); /* what follows is not looked at */
        raw_send(fd, &octets);
        assert_null(local_accept(server, clock_ms()));
        first = raw_receive(fd);
        assert_non_null(first);
        second = raw_receive(fd);
        assert_non_null(second);
        assert_int_equal(second->body_case, MAIL__ENVELOPE__BODY_FAILURE);
        bad(error_of(second->failure), firsts[i].code, firsts[i].words);
        assert_null(raw_receive(fd));
        close(fd);
    }
}

/* A client of ours that meets another version, or a server that refuses, says so. */
static void client_hears_why(void **state)
{
    (void)state;
    static const char *const words[] = {"test 9 speaks protocol 99", "go away"};

    local_server_free(&server);
    for (size_t i = 0; i < 2; i++) {
        DEFER(local_peer_free) LocalPeer *client = NULL;
        DEFER(buf_done) Buf octets = {.data = NULL};
        struct sockaddr_un address = {.sun_family = AF_UNIX};
        int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
        unlink(path);
        assert_int_equal(bind(listener, (struct sockaddr *)&address, sizeof address), 0);
        assert_int_equal(listen(listener, 1), 0);
        good(local_connect(path, "test", &client));
        int fd = accept(listener, NULL, NULL);
        if (i == 0) {
            greeting_add(&octets, 99);
        } else {
            Envelope envelope = MAIL__ENVELOPE__INIT;
            Mail__Failure failure = MAIL__FAILURE__INIT;
            failure.has_code = true;
            failure.code = MAIL__ERROR_NUMBER__UNSUPPORTED;
            failure.what = (char *)"go away";
            envelope.has_id = true;
            envelope.id = 1;
            envelope.body_case = MAIL__ENVELOPE__BODY_FAILURE;
            envelope.failure = &failure;
            frame_add(&octets, &envelope);
        }
        raw_send(fd, &octets);
        close(fd);
        bad(local_peer_run(client), ERROR_UNSUPPORTED, words[i]);
        assert_false(local_greeted(client));
        close(listener);
    }
}

static void unknown_body_is_passed_over(void **state)
{
    (void)state;
    DEFER(buf_done) Buf octets = {.data = NULL};
    DEFER(local_peer_free) LocalPeer *peer = NULL;
    DEFER(envelope_free) Envelope *none = NULL;
    uint64_t about = 0;
    int fd = raw_connect();

    greeting_add(&octets, ENVELOPE_VERSION);
    buf_append(&octets, "\x08\0\0\0\x08\x01\x10\x07\xc2\xbb\x01\0", 12); /* version 1, id 7, body 3000 */
    ping_add(&octets, 8);
    raw_send(fd, &octets);
    peer = accepted(NULL);
    bad(next(peer, NULL, &none, &about), ERROR_UNSUPPORTED, "is not known here");
    assert_int_equal(about, 7);
    expect_ping(peer, NULL, 8);
    close(fd);
}

static void what_was_said_before_hanging_up_is_heard(void **state)
{
    (void)state;
    DEFER(local_peer_free) LocalPeer *client = NULL;
    DEFER(local_peer_free) LocalPeer *peer = NULL;
    Envelope envelope;
    Envelope *none = NULL;
    uint64_t about = 0;

    pair(&client, &peer);
    for (int i = 0; i < 3; i++) {
        ping(&envelope);
        assert_true(local_send(client, &envelope));
    }
    good(local_peer_run(client));
    local_peer_free(&client);
    ping(&envelope);
    local_send(peer, &envelope); /* nobody takes it any more: what came in counts all the same */
    for (uint64_t id = 2; id < 5; id++)
        expect_ping(peer, NULL, id);
    bad(next(peer, NULL, &none, &about), ERROR_UNAVAILABLE, "the other side hung up");
    assert_false(local_send(peer, &envelope));
}

/* Who does not read is told nothing more beyond LOCAL_QUEUE_MAX, costs the others nothing, and gets all that was taken. */
static void slow_reader(void **state)
{
    (void)state;
    DEFER(local_peer_free) LocalPeer *slow = NULL;
    DEFER(local_peer_free) LocalPeer *slow_peer = NULL;
    DEFER(local_peer_free) LocalPeer *quick = NULL;
    DEFER(local_peer_free) LocalPeer *quick_peer = NULL;
    DEFER(xfree) char *text = xcalloc(1, 100001);
    Envelope envelope = MAIL__ENVELOPE__INIT;
    Mail__Failure failure = MAIL__FAILURE__INIT;
    uint64_t taken = 0, about = 0;

    memset(text, 'x', 100000);
    failure.what = text;
    envelope.body_case = MAIL__ENVELOPE__BODY_FAILURE;
    envelope.failure = &failure;
    pair(&slow, &slow_peer);
    pair(&quick, &quick_peer);
    for (;; taken++) {
        envelope.id = 0;
        if (!local_send(slow_peer, &envelope))
            break;
        good(local_peer_run(slow_peer));
        assert_true(local_queued(slow_peer) <= LOCAL_QUEUE_MAX);
        assert_true(taken < 1000);
    }
    assert_true(local_queued(slow_peer) > LOCAL_QUEUE_MAX - 100100);
    ping(&envelope);
    assert_true(local_send(quick_peer, &envelope));
    expect_ping(quick, quick_peer, envelope.id);

    for (uint64_t n = 0; n < taken; n++) {
        DEFER(envelope_free) Envelope *got = NULL;
        good(next(slow, slow_peer, &got, &about));
        assert_non_null(got);
        assert_int_equal(got->id, n + 2);
        assert_int_equal(strlen(got->failure->what), 100000);
    }
    assert_int_equal(local_queued(slow_peer), 0);
}

static void nothing_larger_than_an_envelope_is_queued(void **state)
{
    (void)state;
    DEFER(local_peer_free) LocalPeer *client = NULL;
    DEFER(local_peer_free) LocalPeer *peer = NULL;
    DEFER(xfree) char *text = xcalloc(1, ENVELOPE_BYTES_MAX + 1);
    Envelope envelope = MAIL__ENVELOPE__INIT;
    Mail__Failure failure = MAIL__FAILURE__INIT;

    memset(text, 'x', ENVELOPE_BYTES_MAX);
    failure.what = text;
    envelope.body_case = MAIL__ENVELOPE__BODY_FAILURE;
    envelope.failure = &failure;
    pair(&client, &peer);
    assert_false(local_send(client, &envelope));
    assert_int_equal(local_queued(client), 0);
    ping(&envelope);
    assert_true(local_send(client, &envelope)); /* and the stream is whole */
    expect_ping(peer, client, envelope.id);
}

static void silent_peers_are_closed_after_10_s(void **state)
{
    (void)state;
    int fd = raw_connect();
    Msec now = clock_ms();
    char octet;

    assert_null(local_accept(server, now));
    assert_null(local_accept(server, now + SILENT_MS - 1));
    DEFER(envelope_free) Envelope *greeting = raw_receive(fd);
    assert_non_null(greeting);
    assert_int_equal(recv(fd, &octet, 1, MSG_DONTWAIT), -1);
    assert_null(local_accept(server, now + SILENT_MS));
    assert_int_equal(recv(fd, &octet, 1, MSG_DONTWAIT), 0);
    close(fd);
}

static void a_crowd_of_silent_ones_keeps_nobody_out(void **state)
{
    (void)state;
    int fds[LOCAL_PEERS_MAX + 40];
    DEFER(buf_done) Buf greeting = {.data = NULL};
    DEFER(local_peer_free) LocalPeer *peer = NULL;
    size_t n_closed = 0;

    greeting_add(&greeting, ENVELOPE_VERSION);
    for (size_t i = 0; i < sizeof fds / sizeof *fds; i++) {
        fds[i] = raw_connect();
        assert_null(local_accept(server, clock_ms()));
    }
    int fd = raw_connect();
    raw_send(fd, &greeting);
    peer = accepted(NULL);
    assert_int_equal(local_peer_pid(peer), getpid());
    for (size_t i = 0; i < sizeof fds / sizeof *fds; i++) {
        char octets[4096];
        ssize_t got = 1;
        while (got > 0)
            got = recv(fds[i], octets, sizeof octets, MSG_DONTWAIT);
        n_closed += got == 0;
        close(fds[i]);
    }
    assert_int_equal(n_closed, 41);
    close(fd);
}

static void no_more_than_so_many_at_a_time(void **state)
{
    (void)state;
    LocalPeer *clients[LOCAL_PEERS_MAX], *peers[LOCAL_PEERS_MAX];
    DEFER(local_peer_free) LocalPeer *more = NULL;
    DEFER(local_peer_free) LocalPeer *more_peer = NULL;

    for (size_t i = 0; i < LOCAL_PEERS_MAX; i++)
        pair(&clients[i], &peers[i]);
    good(local_connect(path, "test", &more));
    assert_null(local_accept(server, clock_ms()));
    bad(local_peer_run(more), ERROR_UNAVAILABLE, "the other side hung up");
    local_peer_free(&more);
    local_peer_free(&peers[7]);
    pair(&more, &more_peer);
    for (size_t i = 0; i < LOCAL_PEERS_MAX; i++) {
        local_peer_free(&clients[i]);
        local_peer_free(&peers[i]);
    }
}

static void peers_outlive_the_server(void **state)
{
    (void)state;
    DEFER(local_peer_free) LocalPeer *client = NULL;
    DEFER(local_peer_free) LocalPeer *peer = NULL;
    int silent = raw_connect();
    Envelope envelope;

    pair(&client, &peer);
    local_server_free(&server);
    assert_int_equal(access(path, F_OK), -1);
    ping(&envelope);
    assert_true(local_send(client, &envelope));
    good(local_peer_run(client));
    good(local_peer_run(peer));
    DEFER(envelope_free) Envelope *got = NULL;
    uint64_t about = 0;
    good(local_receive(peer, &got, &about));
    assert_non_null(got);
    close(silent);
}

static void socket_file(void **state)
{
    (void)state;
    char long_path[109];
    LocalServer *other = NULL;
    char words[64];
    struct stat st;

    snprintf(words, sizeof words, "pid %d listens there", (int)getpid());
    bad(local_listen(path, 0600, (gid_t)-1, &other), ERROR_CONFLICT, words);
    local_server_free(&server);
    assert_int_equal(access(path, F_OK), -1);

    int stale = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    assert_int_equal(bind(stale, (struct sockaddr *)&address, sizeof address), 0);
    close(stale);
    good(local_listen(path, 0666, getgid(), &server));
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0666);

    /* Not ours any more: it stays. */
    unlink(path);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fclose(file);
    local_server_free(&server);
    assert_int_equal(access(path, F_OK), 0);
    bad(local_listen(path, 0600, (gid_t)-1, &other), ERROR_CONFLICT, "something that is no socket lies there");
    unlink(path);

    memset(long_path, 'x', sizeof long_path);
    memcpy(long_path, "/tmp/", 5);
    long_path[108] = '\0';
    bad(local_listen(long_path, 0600, (gid_t)-1, &other), ERROR_INVALID, "108 octets, a socket's path has at most 107");
    bad(local_connect(long_path, "test", &(LocalPeer *){NULL}), ERROR_INVALID, "at most 107");
    bad(local_listen("/tmp/no/such/folder/socket", 0600, (gid_t)-1, &other), ERROR_SYSTEM, "bind: No such file");
    assert_null(other);
}

static void nobody_listens(void **state)
{
    (void)state;
    LocalPeer *peer = NULL;

    local_server_free(&server);
    bad(local_connect(path, "test", &peer), ERROR_UNAVAILABLE, "nobody listens at /tmp/unit-local-");
    bad(local_call_open(path, "test", &peer), ERROR_UNAVAILABLE, "nobody listens at /tmp/unit-local-");
    assert_null(peer);
}

/* ---- the blocking side, against a server in a thread ---- */

typedef enum Manner { ANSWERS, HANGS_UP_AFTER, HANGS_UP_BEFORE, REFUSES } Manner;

static Error *serve(Manner manner, LocalPeer *peer)
{
    for (int n_sent = 0;;) {
        DEFER(envelope_free) Envelope *envelope = NULL;
        Envelope reply;
        uint64_t about = 0;
        Error *err = local_peer_run(peer);
        if (!err)
            err = local_receive(peer, &envelope, &about);
        if (err)
            return err;
        if (envelope && manner == HANGS_UP_AFTER)
            return NULL;
        while (envelope && n_sent++ < 3) { /* two that answer nobody, then the one */
            ping(&reply);
            reply.has_in_reply_to = true;
            reply.in_reply_to = n_sent == 3 ? envelope->id : 12345;
            local_send(peer, &reply);
        }
        Waiter wake = waiter_start();
        local_peer_wait(peer, &wake);
        waiter_block(&wake);
    }
}

static void *server_thread(void *context)
{
    Manner manner = *(Manner *)context;
    LocalPeer *peer = NULL;

    for (Msec until = clock_ms() + PATIENCE_MS; !peer && clock_ms() < until;) {
        peer = local_accept(server, clock_ms());
        Waiter wake = waiter_start();
        local_server_wait(server, &wake);
        waiter_at(&wake, until);
        if (!peer)
            waiter_block(&wake);
        else
            free(wake.fds);
    }
    if (peer && manner == REFUSES) {
        Envelope envelope = MAIL__ENVELOPE__INIT;
        Mail__Failure failure = MAIL__FAILURE__INIT;
        failure.what = (char *)"no";
        envelope.has_in_reply_to = true;
        envelope.in_reply_to = 2;
        envelope.body_case = MAIL__ENVELOPE__BODY_FAILURE;
        envelope.failure = &failure;
        local_send(peer, &envelope);
    }
    Error *err = peer ? local_peer_run(peer) : NULL;
    if (peer && !err && (manner == ANSWERS || manner == HANGS_UP_AFTER))
        err = serve(manner, peer);
    error_free(&err);
    local_peer_free(&peer);
    return NULL;
}

static void call_waits_for_its_answer(void **state)
{
    (void)state;
    pthread_t thread;
    DEFER(local_peer_free) LocalPeer *peer = NULL;
    DEFER(envelope_free) Envelope *answer = NULL;
    DEFER(xfree) char *text = xcalloc(1, 500001);
    Envelope envelope = MAIL__ENVELOPE__INIT;
    Mail__Failure failure = MAIL__FAILURE__INIT;

    assert_int_equal(pthread_create(&thread, NULL, server_thread, &(Manner){ANSWERS}), 0);
    good(local_call_open(path, "test", &peer));
    memset(text, 'x', 500000); /* more than a socket takes at once */
    failure.what = text;
    envelope.body_case = MAIL__ENVELOPE__BODY_FAILURE;
    envelope.failure = &failure;
    good(local_call_send(peer, &envelope));
    good(local_call_next(peer, envelope.id, &answer));
    assert_int_equal(answer->in_reply_to, envelope.id);
    memset(text, 'x', 500000);
    for (int i = 0; i < 12; i++) { /* more than may wait */
        envelope.id = 0;
        good(local_call_send(peer, &envelope));
    }
    local_peer_free(&peer);
    pthread_join(thread, NULL);
}

static void call_that_is_lost_says_so(void **state)
{
    (void)state;
    for (Manner manner = HANGS_UP_AFTER; manner <= REFUSES; manner++) {
        pthread_t thread;
        DEFER(local_peer_free) LocalPeer *peer = NULL;
        DEFER(envelope_free) Envelope *answer = NULL;
        Envelope envelope;
        assert_int_equal(pthread_create(&thread, NULL, server_thread, &manner), 0);
        good(local_call_open(path, "test", &peer));
        if (manner != HANGS_UP_AFTER)
            pthread_join(thread, NULL);
        ping(&envelope);
        Error *err = local_call_send(peer, &envelope);
        if (manner == HANGS_UP_BEFORE) {
            bad(err, ERROR_UNAVAILABLE, "the link broke while sending: the other side hung up");
            continue;
        }
        good(err);
        err = local_call_next(peer, envelope.id, &answer);
        if (manner == HANGS_UP_AFTER) {
            bad(err, ERROR_UNAVAILABLE, "lost after sending: the other side hung up");
            pthread_join(thread, NULL);
        } else {
            good(err); /* what it said before it closed */
            assert_string_equal(answer->failure->what, "no");
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(greets_and_carries_both_ways, setup, teardown),
        cmocka_unit_test_setup_teardown(takes_one_octet_at_a_time, setup, teardown),
        cmocka_unit_test_setup_teardown(breaks_off_with_words, setup, teardown),
        cmocka_unit_test_setup_teardown(first_word_must_be_a_greeting_that_fits, setup, teardown),
        cmocka_unit_test_setup_teardown(client_hears_why, setup, teardown),
        cmocka_unit_test_setup_teardown(unknown_body_is_passed_over, setup, teardown),
        cmocka_unit_test_setup_teardown(what_was_said_before_hanging_up_is_heard, setup, teardown),
        cmocka_unit_test_setup_teardown(slow_reader, setup, teardown),
        cmocka_unit_test_setup_teardown(nothing_larger_than_an_envelope_is_queued, setup, teardown),
        cmocka_unit_test_setup_teardown(silent_peers_are_closed_after_10_s, setup, teardown),
        cmocka_unit_test_setup_teardown(a_crowd_of_silent_ones_keeps_nobody_out, setup, teardown),
        cmocka_unit_test_setup_teardown(no_more_than_so_many_at_a_time, setup, teardown),
        cmocka_unit_test_setup_teardown(peers_outlive_the_server, setup, teardown),
        cmocka_unit_test_setup_teardown(socket_file, setup, teardown),
        cmocka_unit_test_setup_teardown(nobody_listens, setup, teardown),
        cmocka_unit_test_setup_teardown(call_waits_for_its_answer, setup, teardown),
        cmocka_unit_test_setup_teardown(call_that_is_lost_says_so, setup, teardown),
    };
    return cmocka_run_group_tests_name("local/local", tests, NULL, NULL);
}
