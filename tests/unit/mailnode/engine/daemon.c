/* The table of daemons, what they are called with, and the ports that they need. */
#include "engine/daemon.h"

#include "expect.h"

#include <stdio.h>

static char *listen_two[] = {(char *)"127.0.200.60", (char *)"::1"};

typedef struct Scene {
    Mail__Instance instance;
    Mail__Filter filter;
    Mail__UserDomain user_domain;
    DirectoryState directories[2];
    NodeState state;
} Scene;

static void scene(Scene *out, bool instance, size_t n_directories)
{
    *out = (Scene){.state = {.root = "/tmp/x", .node = "mx1", .loopback = "127.0.0.1"}};
    mail__instance__init(&out->instance);
    mail__filter__init(&out->filter);
    mail__user_domain__init(&out->user_domain);
    out->directories[0] = (DirectoryState){.name = "staff", .stated = &out->user_domain};
    out->directories[1] = (DirectoryState){.name = "guests", .stated = &out->user_domain};
    out->state.directories = out->directories;
    out->state.n_directories = n_directories;
    if (!instance)
        return;
    out->state.instance = &out->instance;
    out->state.filter = &out->filter;
}

static const struct {
    bool instance, antivirus;
    size_t n_directories;
    const char *wanted;
} wants[] = {
    {false, false, 0, ""},
    {false, false, 1, " slapd"},
    {true, true, 0, " rspamd unbound redis clamd dovecot postfix"},
    {true, false, 2, " rspamd unbound redis slapd dovecot postfix"},
};

static void test_wanted(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof wants / sizeof *wants; i++) {
        DEFER(buf_done) Buf names = {0};
        Scene with;
        scene(&with, wants[i].instance, wants[i].n_directories);
        with.filter.antivirus = wants[i].antivirus;
        for (DaemonId id = 0; id < N_DAEMONS; id++)
            if (daemon_wanted(id, &with.state))
                buf_printf(&names, " %s", daemons[id].name);
        assert_string_equal(buf_text(&names), wants[i].wanted);
    }
}

/* What one needs comes before it, so that there is an order. */
static void test_order(void **state)
{
    (void)state;
    for (DaemonId id = 0; id < N_DAEMONS; id++) {
        if (daemons[id].needs >> id)
            fail_msg("%s needs what comes later", daemons[id].name);
        assert_true(daemons[id].stop_signal && daemons[id].stop_ms && daemons[id].start_ms);
        assert_int_equal(access(daemons[id].program, X_OK), 0);
    }
}

#define CURRENT "/tmp/x/var/lib/mailnode/engine/current"

static const char *const lines[N_DAEMONS] = {
    [DAEMON_UNBOUND] = "/usr/sbin/unbound -d -p -c " CURRENT "/unbound/unbound.conf",
    [DAEMON_REDIS] = "/usr/bin/redis-server " CURRENT "/redis/redis.conf",
    [DAEMON_CLAMD] = "/usr/sbin/clamd -c " CURRENT "/clamd/clamd.conf",
    [DAEMON_SLAPD] = "/usr/sbin/slapd -d none -s none -u openldap -g openldap -f " CURRENT
                     "/slapd/slapd.conf -h ldapi://%2Ftmp%2Fx%2Frun%2Fmailnode%2Fslapd%2Fldapi",
    [DAEMON_RSPAMD] =
        "/usr/bin/rspamd -f -u _rspamd -g _rspamd -c " CURRENT
        "/rspamd/rspamd.conf --var=CONFDIR=/etc/rspamd --var=LOCAL_CONFDIR=" CURRENT
        "/rspamd --var=DBDIR=/tmp/x/var/lib/mailnode/engine/current/rspamd --var=RUNDIR=/tmp/x/run/mailnode/rspamd"
        " --var=LOGDIR=/tmp/x/var/log/mailnode",
    [DAEMON_DOVECOT] = "/usr/sbin/dovecot -F -c " CURRENT "/dovecot/dovecot.conf",
    [DAEMON_POSTFIX] = "/usr/lib/postfix/sbin/master -c " CURRENT "/postfix -s",
};

static char *joined(const Argv *argv)
{
    DEFER(buf_done) Buf line = {0};

    for (size_t i = 0; i < argv->n; i++)
        buf_printf(&line, "%s%s", i ? " " : "", argv->items[i]);
    return xstrdup(buf_text(&line));
}

static void test_lines(void **state)
{
    (void)state;
    Scene with;

    scene(&with, true, 1);
    for (DaemonId id = 0; id < N_DAEMONS; id++) {
        DEFER(argv_done) Argv argv = {.n = 0};
        daemon_argv(id, &with.state, &argv);
        DEFER(xfree) char *line = joined(&argv);
        assert_string_equal(line, lines[id]);
    }
}

static void test_before(void **state)
{
    (void)state;
    DEFER(daemon_before_done) DaemonBefore before = {.name = NULL};
    Scene with;

    scene(&with, true, 2);
    assert_false(daemon_before(DAEMON_POSTFIX, &with.state, 0, &before));
    assert_false(daemon_before(DAEMON_SLAPD, &with.state, 2, &before));
    assert_true(daemon_before(DAEMON_SLAPD, &with.state, 1, &before));
    DEFER(xfree) char *line = joined(&before.argv);
    assert_string_equal(line, "/usr/sbin/slapadd -q -w -f " CURRENT
                              "/slapd/slapd.conf -b dc=guests,dc=mailnode -l " CURRENT "/slapd/tree-guests.ldif");
    assert_string_equal(before.user, "openldap");
    assert_string_equal(before.file, "/tmp/x/var/lib/mailnode/slapd/guests/data.mdb");
    daemon_before_done(&before);
    with.directories[0].replica = true; /* what it begins with comes from the other */
    assert_true(daemon_before(DAEMON_SLAPD, &with.state, 0, &before));
    assert_string_equal(before.name, "guests");
    assert_false(daemon_before(DAEMON_SLAPD, &with.state, 1, &before));
}

static void has(const PortList *ports, const char *address, uint16_t number, bool wanted)
{
    bool found = false;

    for (size_t i = 0; i < ports->n; i++)
        found = found || (ports->items[i].number == number && strcmp(ports->items[i].address, address) == 0);
    if (found != wanted)
        fail_msg("%s:%u %s", address, number, found ? "is in the list" : "is missing");
}

static void test_ports(void **state)
{
    (void)state;
    static const uint16_t public_ports[] = {25, 587, 465, 143, 993, 110, 995, 4190};
    DEFER(xfree) PortList *all = xcalloc(1, sizeof *all);
    DEFER(xfree) PortList *some = xcalloc(1, sizeof *some);
    DEFER(xfree) PortList *none = xcalloc(1, sizeof *none);
    Scene with;

    scene(&with, true, 0);
    daemons_ports(&with.state, all);
    with.instance.listen = listen_two;
    with.instance.n_listen = 2;
    with.user_domain.listen = listen_two;
    with.user_domain.n_listen = 1;
    with.state.n_directories = 2;
    daemons_ports(&with.state, some);
    for (size_t i = 0; i < sizeof public_ports / sizeof *public_ports; i++) {
        has(all, "*", public_ports[i], true);
        has(some, "*", public_ports[i], false);
        has(some, "127.0.200.60", public_ports[i], true);
        has(some, "::1", public_ports[i], true);
    }
    has(all, "127.0.0.1", 5335, true);
    has(all, "127.0.0.1", 10027, true);
    has(some, "127.0.200.60", 636, true);
    assert_int_equal(all->n, 10);
    assert_int_equal(some->n, 19);
    with.directories[0].replica = with.directories[1].replica = true;
    daemon_ports(DAEMON_SLAPD, &with.state, none); /* the address is the other node's */
    scene(&with, false, 1);
    daemons_ports(&with.state, none);
    assert_int_equal(none->n, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_wanted), cmocka_unit_test(test_order), cmocka_unit_test(test_lines),
        cmocka_unit_test(test_before), cmocka_unit_test(test_ports),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
