/* Who holds a port: asked of real listeners, on every kind of address. */
#include "engine/ports.h"

#include "expect.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>

static bool nobody_is_ours(void *context, pid_t pid)
{
    (void)context;
    (void)pid;
    return false;
}

static bool is_ours(void *context, pid_t pid)
{
    return pid == *(pid_t *)context;
}

static void close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
}

/* -1 where the machine has no such address. */
static int listener(const char *address, bool only_v6, uint16_t *ret_number)
{
    struct sockaddr_in v4 = {.sin_family = AF_INET};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};
    bool is_v6 = inet_pton(AF_INET, address, &v4.sin_addr) != 1;
    socklen_t size = is_v6 ? sizeof v6 : sizeof v4;
    struct sockaddr *where = is_v6 ? (struct sockaddr *)&v6 : (struct sockaddr *)&v4;

    if (is_v6)
        assert_int_equal(inet_pton(AF_INET6, address, &v6.sin6_addr), 1);
    int fd = socket(is_v6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    if (is_v6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &(int){only_v6}, sizeof(int));
    if (bind(fd, where, size) != 0 || listen(fd, 1) != 0 || getsockname(fd, where, &size) != 0) {
        close(fd);
        return -1;
    }
    *ret_number = ntohs(is_v6 ? v6.sin6_port : v4.sin_port);
    return fd;
}

static const struct {
    const char *listens, *wanted;
    bool held;
} cases[] = {
    {"127.0.200.60", "127.0.200.60", true},
    {"127.0.200.60", "127.0.200.61", false},
    {"127.0.200.60", "*", true},
    {"0.0.0.0", "127.0.200.61", true},
    {"0.0.0.0", "*", true},
    {"0.0.0.0", "::1", false},
    {"::1", "::1", true},
    {"::1", "::2", false},
    {"::1", "127.0.200.60", false},
    {"::1", "*", true},
    {"::", "::1", true},
    {"::", "127.0.200.60", true},
    {"::ffff:127.0.200.60", "127.0.200.60", true},
};

static void test_holders(void **state)
{
    (void)state;
    pid_t me = getpid();

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        DEFER(xfree) PortList *wanted = xcalloc(1, sizeof *wanted);
        DEFER(xfree) char *words = NULL;
        uint16_t number = 0;
        DEFER(close_fd) int fd = listener(cases[i].listens, false, &number);
        if (fd < 0)
            continue;
        port_add(wanted, cases[i].wanted, number);
        if (strcmp(cases[i].wanted, "*") == 0)
            words = xasprintf("port %u is in use by unit-mailnode-engine-ports, pid %d", number, (int)me);
        else
            words = xasprintf("port %u of %s is in use by unit-mailnode-engine-ports, pid %d", number, cases[i].wanted,
                              (int)me);

        Error *err = ports_check(wanted, nobody_is_ours, NULL);
        if (!err && cases[i].held)
            fail_msg("%s holds %s", cases[i].listens, cases[i].wanted);
        if (err && (!cases[i].held || strcmp(err->what, words) != 0 || err->code != ERROR_CONFLICT))
            fail_msg("%s and %s: '%s'", cases[i].listens, cases[i].wanted, err->what);
        if (err && !strstr(err->hint, "/unit-mailnode-engine-ports"))
            fail_msg("hint: %s", err->hint);
        error_free(&err);
        ok(ports_check(wanted, is_ours, &me));
    }
}

/* The first that is held is named, in the order of the wanted. */
static void test_first(void **state)
{
    (void)state;
    DEFER(xfree) PortList *wanted = xcalloc(1, sizeof *wanted);
    DEFER(xfree) char *words = NULL;
    uint16_t one = 0;
    uint16_t two = 0;
    DEFER(close_fd) int first = listener("127.0.200.60", false, &one);
    DEFER(close_fd) int second = listener("127.0.200.60", false, &two);

    port_add(wanted, "127.0.200.61", one);
    port_add(wanted, "127.0.200.60", two);
    port_add(wanted, "127.0.200.60", one);
    words = xasprintf("port %u of 127.0.200.60 ", two);
    fails(ports_check(wanted, nobody_is_ours, NULL), ERROR_CONFLICT, words);
    assert_true(first >= 0 && second >= 0);
}

/* A connection is not a listener. */
static void test_connected(void **state)
{
    (void)state;
    DEFER(xfree) PortList *wanted = xcalloc(1, sizeof *wanted);
    uint16_t number = 0;
    struct sockaddr_in peer = {.sin_family = AF_INET};
    socklen_t size = sizeof peer;
    int fd = listener("127.0.200.60", false, &number);
    DEFER(close_fd) int client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    getsockname(fd, (struct sockaddr *)&peer, &size);
    assert_int_equal(connect(client, (struct sockaddr *)&peer, size), 0);
    DEFER(close_fd) int server = accept4(fd, NULL, NULL, SOCK_CLOEXEC);
    close(fd);
    port_add(wanted, "127.0.200.60", number);
    ok(ports_check(wanted, nobody_is_ours, NULL));
    assert_true(server >= 0);
}

static void test_doubles(void **state)
{
    (void)state;
    DEFER(xfree) PortList *wanted = xcalloc(1, sizeof *wanted);

    port_add(wanted, "*", 25);
    port_add(wanted, "*", 25);
    port_add(wanted, "::1", 25);
    port_add(wanted, "*", 26);
    assert_int_equal(wanted->n, 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_holders),
        cmocka_unit_test(test_first),
        cmocka_unit_test(test_connected),
        cmocka_unit_test(test_doubles),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
