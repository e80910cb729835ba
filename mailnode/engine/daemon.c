#include "engine/daemon.h"

#include "base/alloc.h"
#include "render/slapd.h"
#include "tables/places.h"

#include <assert.h>
#include <signal.h>
#include <string.h>

#define NEEDS(id) (1U << (id))
#define ARGS(...) ((const char *const[]){__VA_ARGS__, NULL})

/* Unbound, clamd and slapd are started as root, too: a privileged port, a socket for another group; each gives root up
 * before it reads what strangers send.  clamd and Unbound may take long: signatures, a slow disk.
 *
 * smtpd dies without Dovecot's authentication socket, and master waits a minute before it tries again; without its other
 * neighbours Postfix puts mail off.  Rspamd, which takes longest, finds Redis ready when it has read its rules, and loads
 * its scripts into it later where not. */
const Daemon daemons[N_DAEMONS] = {
    [DAEMON_UNBOUND] = {.name = "unbound",
                        .becomes = "unbound",
                        .title = "Unbound",
                        .program = "/usr/sbin/unbound",
                        .stop_signal = SIGTERM,
                        .stop_ms = 5000,
                        .start_ms = 20000,
                        .version_argv = ARGS("/usr/sbin/unbound", "-V")},
    [DAEMON_REDIS] = {.name = "redis",
                      .becomes = "redis",
                      .title = "Redis",
                      .program = "/usr/bin/redis-server",
                      .user = "redis",
                      .stop_signal = SIGTERM,
                      .stop_ms = 10000,
                      .start_ms = 60000, /* it reads its log */
                      .version_argv = ARGS("/usr/bin/redis-server", "--version")},
    [DAEMON_CLAMD] = {.name = "clamd",
                      .becomes = "clamav",
                      .title = "clamd",
                      .program = "/usr/sbin/clamd",
                      .stop_signal = SIGTERM,
                      .stop_ms = 10000,
                      .start_ms = 180000, /* eight million signatures on a slow machine */
                      .version_argv = ARGS("/usr/sbin/clamd", "--version")},
    [DAEMON_SLAPD] = {.name = "slapd",
                      .becomes = "openldap",
                      .title = "OpenLDAP",
                      .program = "/usr/sbin/slapd",
                      .stop_signal = SIGTERM,
                      .stop_ms = 20000, /* SIGKILL costs no data either, but a checkpoint of syncprov */
                      .start_ms = 30000,
                      .env =
                          ARGS("MALLOC_MMAP_THRESHOLD_=1048576", "MALLOC_ARENA_MAX=2"), /* else each bind stays: 7 MB */
                      .version_argv = ARGS("/usr/sbin/slapd", "-V")},
    [DAEMON_RSPAMD] =
        {.name = "rspamd",
         .title = "Rspamd",
         .program = "/usr/bin/rspamd",
         .reload_ms = 50000, /* its rules are read anew: 11 s on two busy cores; a no is in its log at once */
         .refusal = "cannot parse new config file",
         .speaker = "(main)",
         .stop_signal = SIGTERM,
         .stop_ms = 10000,
         .start_ms = 180000, /* the first start compiles: 12 s of CPU time, on a machine that has other things to do */
         .version_argv = ARGS("/usr/bin/rspamd", "--version")},
    [DAEMON_DOVECOT] = {.name = "dovecot",
                        .title = "Dovecot",
                        .program = "/usr/sbin/dovecot",
                        .reload_ms = 8000,
                        .refusal = "Error reading configuration",
                        .speaker = "master:",
                        .stop_signal = SIGTERM,
                        .stop_ms = 10000,
                        .start_ms = 20000,
                        .version_argv = ARGS("/usr/sbin/dovecot", "--version")},
    [DAEMON_POSTFIX] = {.name = "postfix",
                        .title = "Postfix",
                        .program = "/usr/lib/postfix/sbin/master",
                        .needs = NEEDS(DAEMON_DOVECOT),
                        .reload_ms = 8000,
                        .stop_signal = SIGTERM,
                        .stop_ms = 10000,
                        .start_ms = 20000,
                        .orphan_ms = 5000, /* a delivery under way ends: no message goes twice */
                        .version_argv = ARGS("/usr/sbin/postconf", "-d", "-h", "mail_version")},
};

bool daemon_wanted(DaemonId id, const NodeState *state)
{
    switch (id) {
    case DAEMON_SLAPD:
        return state->n_directories > 0;
    case DAEMON_CLAMD:
        return state->instance && state->filter->antivirus;
    default:
        return state->instance;
    }
}

/* ---- command lines ----------------------------------------------------------------- */

static void rspamd_places(const NodeState *state, const char *folder, Argv *out)
{
    argv_add(out, "--var=CONFDIR=/etc/rspamd");
    argv_add(out, "--var=LOCAL_CONFDIR=%s/rspamd", folder);
    argv_add(out, "--var=DBDIR=%s/rspamd", folder); /* root reads DBDIR/dynamic: nothing that Rspamd may write */
    argv_add(out, "--var=RUNDIR=" PLACE_RUN_RSPAMD, state->root);
    argv_add(out, "--var=LOGDIR=" PLACE_LOG, state->root);
}

static void rspamd_argv(const NodeState *state, const char *current, Argv *out)
{
    argv_add(out, "-f");
    argv_add(out, "-u");
    argv_add(out, "_rspamd");
    argv_add(out, "-g");
    argv_add(out, "_rspamd");
    argv_add(out, "-c");
    argv_add(out, "%s/rspamd/rspamd.conf", current);
    rspamd_places(state, current, out);
}

static void slapd_argv(const NodeState *state, const char *current, Argv *out)
{
    DEFER(xfree) char *urls = slapd_urls(state);

    argv_add(out, "-d");
    argv_add(out, "none");
    argv_add(out, "-s");
    argv_add(out, "none");
    argv_add(out, "-u");
    argv_add(out, "openldap");
    argv_add(out, "-g");
    argv_add(out, "openldap");
    argv_add(out, "-f");
    argv_add(out, "%s/slapd/slapd.conf", current);
    argv_add(out, "-h");
    argv_add(out, "%s", urls);
}

void daemon_argv(DaemonId id, const NodeState *state, Argv *out)
{
    DEFER(xfree) char *folder = xasprintf(PLACE_CURRENT, state->root);

    argv_add(out, "%s", daemons[id].program);
    switch (id) {
    case DAEMON_UNBOUND:
        argv_add(out, "-d");
        argv_add(out, "-p");
        argv_add(out, "-c");
        argv_add(out, "%s/unbound/unbound.conf", folder);
        return;
    case DAEMON_REDIS:
        argv_add(out, "%s/redis/redis.conf", folder);
        return;
    case DAEMON_CLAMD:
        argv_add(out, "-c");
        argv_add(out, "%s/clamd/clamd.conf", folder);
        return;
    case DAEMON_SLAPD:
        slapd_argv(state, folder, out);
        return;
    case DAEMON_RSPAMD:
        rspamd_argv(state, folder, out);
        return;
    case DAEMON_DOVECOT:
        argv_add(out, "-F");
        argv_add(out, "-c");
        argv_add(out, "%s/dovecot/dovecot.conf", folder);
        return;
    case DAEMON_POSTFIX:
        argv_add(out, "-c");
        argv_add(out, "%s/postfix", folder);
        argv_add(out, "-s");
        return;
    case N_DAEMONS:
        break;
    }
    assert(false);
}

bool daemon_before(DaemonId id, const NodeState *state, size_t index, DaemonBefore *out)
{
    DEFER(xfree) char *current = xasprintf(PLACE_CURRENT, state->root);

    const char *name = NULL;
    size_t seen = 0;

    for (size_t i = 0; id == DAEMON_SLAPD && i < state->n_directories; i++) /* replicas begin empty */
        if (!state->directories[i].replica && seen++ == index)
            name = state->directories[i].name;
    if (!name)
        return false;
    *out = (DaemonBefore){.name = name, .user = "openldap"};
    out->folder = slapd_folder(state, out->name);
    out->file = xasprintf("%s/data.mdb", out->folder);
    argv_add(&out->argv, "/usr/sbin/slapadd");
    argv_add(&out->argv, "-q");
    argv_add(&out->argv, "-w");
    argv_add(&out->argv, "-f");
    argv_add(&out->argv, "%s/slapd/slapd.conf", current);
    argv_add(&out->argv, "-b");
    argv_add(&out->argv, DIRECTORY_SUFFIX, out->name);
    argv_add(&out->argv, "-l");
    argv_add(&out->argv, "%s/slapd/tree-%s.ldif", current, out->name);
    return true;
}

void daemon_before_done(DaemonBefore *before)
{
    xfree(&before->folder);
    xfree(&before->file);
    argv_done(&before->argv);
}

/* ---- ports ------------------------------------------------------------------------- */

static void ports_at(const Mail__Instance *instance, const uint16_t *ports, size_t n_ports, PortList *out)
{
    for (size_t i = 0; i < n_ports; i++) {
        for (size_t k = 0; k < instance->n_listen; k++)
            port_add(out, instance->listen[k], ports[i]);
        if (instance->n_listen == 0)
            port_add(out, "*", ports[i]);
    }
}

void daemon_ports(DaemonId id, const NodeState *state, PortList *out)
{
    static const uint16_t smtp[] = {25, 587, 465};
    static const uint16_t boxes[] = {143, 993, 110, 995, 4190};

    if (!daemon_wanted(id, state))
        return;
    switch (id) {
    case DAEMON_POSTFIX:
        ports_at(state->instance, smtp, sizeof smtp / sizeof *smtp, out);
        port_add(out, state->loopback, PORT_REINJECT);
        return;
    case DAEMON_DOVECOT:
        ports_at(state->instance, boxes, sizeof boxes / sizeof *boxes, out);
        return;
    case DAEMON_UNBOUND:
        port_add(out, state->loopback, PORT_DNS);
        return;
    case DAEMON_SLAPD:
        for (size_t i = 0; i < state->n_directories; i++) {
            for (size_t k = 0; !state->directories[i].replica && k < state->directories[i].stated->n_listen; k++)
                port_add(out, state->directories[i].stated->listen[k], 636);
        }
        return;
    default:
        return; /* sockets in folders of ours */
    }
}

void daemons_ports(const NodeState *state, PortList *out)
{
    for (size_t id = N_DAEMONS; id-- > 0;) /* Postfix first: port 25 is what people know */
        daemon_ports((DaemonId)id, state, out);
}
