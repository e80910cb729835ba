/* What counts as an answer: each daemon's neighbours are played by a child with a few octets to say. */
#include "engine/probe.h"
#include "engine/probe_dialogues.h"

#include "base/path.h"
#include "tables/places.h"

#include "expect.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

static char root[] = "/tmp/probe-XXXXXX";
static NodeState node = {.root = root, .loopback = "127.0.200.61"};

static int make_root(void **state)
{
    (void)state;
    if (!mkdtemp(root))
        return -1;
    for (size_t i = 0; i < 4; i++) {
        static const char *const folders[] = {"rspamd", "redis", "clamd", "slapd"};
        ok(folder_make(path_in(root, "run/mailnode/%s", folders[i]).text, 0755, (uid_t)-1, (gid_t)-1));
    }
    return 0;
}

static int drop_root(void **state)
{
    (void)state;
    return folder_remove(root);
}

static int listen_on(const char *format)
{
    struct sockaddr_un where = {.sun_family = AF_UNIX};

    snprintf(where.sun_path, sizeof where.sun_path, format, root); /* NOLINT: one of places.h */
    unlink(where.sun_path);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&where, sizeof where), 0);
    assert_int_equal(listen(fd, 4), 0);
    return fd;
}

/* Says 'answer' to each who has said something. */
static pid_t neighbour(int fd, const void *answer, size_t size)
{
    pid_t pid = fork();

    if (pid > 0) {
        close(fd);
        return pid;
    }
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    signal(SIGPIPE, SIG_IGN);
    for (;;) {
        char heard[512];
        int peer = accept(fd, NULL, NULL);
        if (read(peer, heard, sizeof heard) > 0 && size)
            (void)!write(peer, answer, size);
        close(peer);
    }
}

static void gone(pid_t pid)
{
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
}

#define SAYS(text) (text), sizeof(text) - 1

static const struct {
    Error *(*probe)(const NodeState *state, Msec until);
    const char *place, *answer;
    size_t size;
    const char *error; /* NULL: right */
} cases[] = {
    {probe_redis, PLACE_REDIS_SOCKET, SAYS("+PONG\r\n"), NULL},
    {probe_redis, PLACE_REDIS_SOCKET, SAYS("-LOADING Redis is loading the dataset in memory\r\n"),
     "PING: answered '-LOADING Redis is loading the dataset in memory' instead of '+PONG'"},
    {probe_redis, PLACE_REDIS_SOCKET, SAYS("+PO"), "PING: the connection was closed without an answer"},
    {probe_clamd, PLACE_CLAMD_SOCKET, SAYS("PONG\0"), NULL},
    {probe_clamd, PLACE_CLAMD_SOCKET, SAYS("PING\0"), "PING: answered something else"},
    {probe_clamd, PLACE_CLAMD_SOCKET, SAYS(""), "PING: the connection was closed without an answer"},
    {probe_slapd, PLACE_LDAPI, SAYS("\x30\x09\x02\x01\x01\x64\x04\x04\x00\x30\x00"), NULL},
    {probe_slapd, PLACE_LDAPI, SAYS("\x30\x0c\x02\x01\x01\x65\x07\x0a\x01\x32\x04\x00\x04\x00"),
     "search: answered with 0x65, no entry"},
};

static void test_neighbours(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        pid_t pid = neighbour(listen_on(cases[i].place), cases[i].answer, cases[i].size);
        Error *err = cases[i].probe(&node, clock_ms() + 5000);
        gone(pid);
        if (!err != !cases[i].error || (err && strcmp(err->what, cases[i].error) != 0))
            fail_msg("row %zu: '%s'", i, err ? err->what : "right");
        error_free(&err);
    }
}

/* Both its sockets. */
static void test_rspamd(void **state)
{
    (void)state;
    static const char pong[] = "HTTP/1.1 200 OK\r\n\r\npong\r\n";
    static const char options[] = "\0\0\0\x0dO\0\0\0\x06\0\0\0\x01\0\0\0\0";
    pid_t controller = neighbour(listen_on(PLACE_RSPAMD_CONTROLLER), SAYS(pong));
    pid_t milter = neighbour(listen_on(PLACE_MILTER_SOCKET), SAYS(options));

    ok(probe_rspamd(&node, clock_ms() + 5000));
    gone(milter);
    fails(probe_rspamd(&node, clock_ms() + 5000), ERROR_SYSTEM, "milter: connect: Connection refused");
    gone(controller);
    controller = neighbour(listen_on(PLACE_RSPAMD_CONTROLLER), SAYS("HTTP/1.1 503 Busy\r\n\r\n"));
    fails(probe_rspamd(&node, clock_ms() + 5000), ERROR_UNAVAILABLE, "controller: answered 'HTTP/1.1 503 Busy'");
    gone(controller);
}

/* Nobody speaks: it ends at its time. */
static void test_silence(void **state)
{
    (void)state;
    int fd = listen_on(PLACE_REDIS_SOCKET);
    Msec begun = clock_ms();

    fails(probe_redis(&node, begun + 100), ERROR_UNAVAILABLE, "PING: no answer in time");
    assert_in_range(clock_ms() - begun, 100, 2000);
    close(fd);
}

static void resolver(int fd, uint8_t code, uint8_t n_answers)
{
    struct sockaddr_in peer;
    socklen_t size = sizeof peer;
    uint8_t packet[512];

    ssize_t len = recvfrom(fd, packet, sizeof packet, 0, (struct sockaddr *)&peer, &size);
    packet[2] |= 0x80;
    packet[3] = code;
    packet[7] = n_answers;
    if (len > 0)
        sendto(fd, packet, (size_t)len, 0, (struct sockaddr *)&peer, size);
}

static const struct {
    uint8_t code, n_answers;
    const char *error;
} queries[] = {
    {0, 1, NULL},
    {2, 0, "query: answered with code 2 and no record"},
    {0, 0, "query: answered with code 0 and no record"},
};

static void test_unbound(void **state)
{
    (void)state;
    struct sockaddr_in where = {.sin_family = AF_INET, .sin_port = htons(PORT_DNS)};

    inet_pton(AF_INET, node.loopback, &where.sin_addr);
    fails(probe_unbound(&node, clock_ms() + 1000), ERROR_SYSTEM, "query: Connection refused");
    for (size_t i = 0; i < sizeof queries / sizeof *queries; i++) {
        int fd = socket(AF_INET, SOCK_DGRAM, 0);
        assert_int_equal(bind(fd, (struct sockaddr *)&where, sizeof where), 0);
        pid_t pid = fork();
        if (pid == 0) {
            resolver(fd, queries[i].code, queries[i].n_answers);
            _exit(0);
        }
        close(fd);
        Error *err = probe_unbound(&node, clock_ms() + 5000);
        gone(pid);
        if (!err != !queries[i].error || (err && strcmp(err->what, queries[i].error) != 0))
            fail_msg("row %zu: '%s'", i, err ? err->what : "right");
        error_free(&err);
    }
}

/* It goes into a line of SMTP: nothing but a name does. */
static void test_domain(void **state)
{
    (void)state;
    static const struct {
        const char *said, *used;
    } domains[] = {
        {"example.org", "example.org"},          {"", "probe.invalid"},
        {"a.example>\r\nDATA", "probe.invalid"}, {"EXAMPLE", "probe.invalid"},
        {"xn--e1afmkfd", "xn--e1afmkfd"},        {"a b", "probe.invalid"},
    };

    for (size_t i = 0; i < sizeof domains / sizeof *domains; i++) {
        probe_domain_is(domains[i].said);
        assert_string_equal(probe_domain(), domains[i].used);
    }
}

static void until_end(Child *child)
{
    Msec late = clock_ms() + 10000;

    while (!child_run(child, clock_ms())) {
        assert_true(clock_ms() < late);
        Waiter wake = waiter_start();
        child_wait(child, &wake);
        waiter_at(&wake, late);
        waiter_block(&wake);
    }
}

/* As a child that has given up root: again and again until the answer is right. */
static void test_child(void **state)
{
    (void)state;
    DEFER(child_free) Child *late = NULL;
    DEFER(child_free) Child *child = NULL;
    struct sockaddr_un where = {.sun_family = AF_UNIX};

    if (geteuid() != 0)
        skip();
    chmod(root, 0755);
    snprintf(where.sun_path, sizeof where.sun_path, PLACE_REDIS_SOCKET, root);
    unlink(where.sun_path);
    ok(probe_start(DAEMON_REDIS, &node, 200, &late));
    until_end(late);
    assert_false(child_succeeded(late));
    assert_string_equal(child_words(late), "PING: connect: No such file or directory");

    ok(probe_start(DAEMON_REDIS, &node, 5000, &child));
    pid_t pid = neighbour(listen_on(PLACE_REDIS_SOCKET), SAYS("+PONG\r\n"));
    chmod(where.sun_path, 0777);
    until_end(child);
    if (!child_succeeded(child))
        fail_msg("%s", child_words(child));
    gone(pid);
}

static void test_canary(void **state)
{
    (void)state;
    DEFER(child_free) Child *child = NULL;

    if (geteuid() != 0)
        skip();
    ok(probe_canary("nobody", root, &child));
    until_end(child);
    assert_false(child_succeeded(child));
    assert_string_equal(child_words(child), "mail.db: unable to open database file");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_neighbours), cmocka_unit_test(test_rspamd), cmocka_unit_test(test_silence),
        cmocka_unit_test(test_unbound),    cmocka_unit_test(test_domain), cmocka_unit_test(test_child),
        cmocka_unit_test(test_canary),
    };

    return cmocka_run_group_tests(tests, make_root, drop_root);
}
