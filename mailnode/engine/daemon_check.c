/* What each daemon's own checker is: the second half of daemon.h */
#include "engine/daemon.h"

#include "base/alloc.h"
#include "render/slapd.h"
#include "tables/maps.h"
#include "tables/places.h"

#include <unistd.h>

/* Not 'postfix check': it runs a shell script below a folder that the configuration names.  As postfix, since a map opens a
 * database that an unprivileged program writes. */
static bool check_postfix(const NodeState *state, const char *folder, size_t index, DaemonCheck *out)
{
    enum { MAIN, MASTER, N_BEFORE_MAPS };

    out->user = "postfix";
    if (index < N_BEFORE_MAPS) {
        argv_add(&out->argv, "/usr/sbin/postconf");
        argv_add(&out->argv, "-c");
        argv_add(&out->argv, "%s/postfix", folder);
        argv_add(&out->argv, index == MAIN ? "-n" : "-M");
        out->words = "/usr/sbin/postconf: ";
        out->strict = true;
        return true;
    }
    size_t map = index - N_BEFORE_MAPS;
    if (map >= n_table_maps)
        return false;
    DEFER(xfree) char *file = xasprintf(PLACE_TABLES "/maps/%s.cf", state->root, table_maps[map].name);
    DEFER(xfree) char *database = xasprintf(PLACE_TABLES "/mail.db", state->root);
    if (access(file, F_OK) != 0 || access(database, F_OK) != 0)
        return false; /* the agent has not been here yet */
    argv_add(&out->argv, "/usr/sbin/postmap");
    argv_add(&out->argv, "-c");
    argv_add(&out->argv, "%s/postfix", folder);
    argv_add(&out->argv, "-q");
    argv_add(&out->argv, "probe@probe.invalid");
    argv_add(&out->argv, "sqlite:%s", file);
    out->words = "/usr/sbin/postmap: ";
    out->strict = true;
    out->any_exit = true;
    return true;
}

/* As root: it reads the certificate's key, which only root may. */
static bool check_dovecot(const char *folder, size_t index, DaemonCheck *out)
{
    if (index)
        return false;
    out->words = "doveconf: Fatal: "; /* its other lines are the configuration, and what became of its own helpers */
    argv_add(&out->argv, "/usr/bin/doveconf");
    argv_add(&out->argv, "-n");
    argv_add(&out->argv, "-c");
    argv_add(&out->argv, "%s/dovecot/dovecot.conf", folder);
    return true;
}

/* Runs Lua of the configuration: never as root. */
static bool check_rspamd(const char *folder, size_t index, DaemonCheck *out)
{
    if (index)
        return false;
    out->user = "_rspamd";
    argv_add(&out->argv, "/usr/bin/rspamadm");
    argv_add(&out->argv, "--var=LOCAL_CONFDIR=%s/rspamd", folder);
    argv_add(&out->argv, "configtest");
    argv_add(&out->argv, "-c");
    argv_add(&out->argv, "%s/rspamd/rspamd.conf", folder);
    return true;
}

static bool check_unbound(const char *folder, size_t index, DaemonCheck *out)
{
    if (index)
        return false;
    out->user = "unbound";
    argv_add(&out->argv, "/usr/sbin/unbound-checkconf");
    argv_add(&out->argv, "%s/unbound/unbound.conf", folder);
    return true;
}

/* It wants the folders of the databases, and opens none.  They are made as at a start, by their owner: root is not led
 * astray in a folder that somebody else owns.  Not with -Q, which takes the reason away. */
static bool check_slapd(const NodeState *state, const char *folder, size_t index, DaemonCheck *out)
{
    if (index > state->n_directories)
        return false;
    out->user = "openldap";
    if (index < state->n_directories) {
        DEFER(xfree) char *database = slapd_folder(state, state->directories[index].name);
        argv_add(&out->argv, "/usr/bin/mkdir");
        argv_add(&out->argv, "-p");
        argv_add(&out->argv, "-m");
        argv_add(&out->argv, "0700");
        argv_add(&out->argv, "--");
        argv_add(&out->argv, "%s", database);
        return true;
    }
    argv_add(&out->argv, "/usr/sbin/slaptest");
    argv_add(&out->argv, "-u");
    argv_add(&out->argv, "-f");
    argv_add(&out->argv, "%s/slapd/slapd.conf", folder);
    return true;
}

bool daemon_check(DaemonId id, const NodeState *state, const char *folder, size_t index, DaemonCheck *out)
{
    *out = (DaemonCheck){0};
    switch (id) {
    case DAEMON_POSTFIX:
        return check_postfix(state, folder, index, out);
    case DAEMON_DOVECOT:
        return check_dovecot(folder, index, out);
    case DAEMON_RSPAMD:
        return check_rspamd(folder, index, out);
    case DAEMON_UNBOUND:
        return check_unbound(folder, index, out);
    case DAEMON_SLAPD:
        return check_slapd(state, folder, index, out);
    case DAEMON_REDIS: /* these two have no checker; the probe after the switch is it */
    case DAEMON_CLAMD:
    case N_DAEMONS:
        break;
    }
    return false;
}
