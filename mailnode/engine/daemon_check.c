/* What each daemon's own checker is: the second half of daemon.h */
#include "engine/daemon.h"

#include "base/alloc.h"
#include "engine/replicas.h"
#include "render/slapd.h"
#include "tables/maps.h"
#include "tables/places.h"

#include <string.h>
#include <unistd.h>

/* postmap stops at the first map that has an answer: these have one for every key. */
static bool answers_all(const TableMap *map)
{
    return strcmp(map->name, "gate") == 0 || strcmp(map->name, "login") == 0 || strcmp(map->name, "default_rule") == 0;
}

/* Run 0: all others at once; then each of these. */
static bool add_maps(const NodeState *state, size_t run, Argv *argv)
{
    bool any = false;
    size_t seen = 0;

    for (size_t i = 0; i < n_table_maps; i++) {
        bool alone = answers_all(&table_maps[i]);
        seen += alone;
        if (alone ? seen != run : run > 0)
            continue;
        argv_add(argv, "sqlite:" PLACE_TABLES "/maps/%s.cf", state->root, table_maps[i].name);
        any = true;
    }
    return any;
}

/* Without them the agent has not been here yet. */
static bool tables_there(const NodeState *state)
{
    DEFER(xfree) char *database = xasprintf(PLACE_TABLES "/mail.db", state->root);
    bool there = access(database, F_OK) == 0;

    for (size_t i = 0; i < n_table_maps && there; i++) {
        DEFER(xfree) char *file = xasprintf(PLACE_TABLES "/maps/%s.cf", state->root, table_maps[i].name);
        there = access(file, F_OK) == 0;
    }
    return there;
}

/* Not 'postfix check': it runs a shell script below a folder that the configuration names.  As postfix, since a map opens a
 * database that an unprivileged program writes. */
static bool check_postfix(const NodeState *state, const char *folder, size_t index, DaemonCheck *out)
{
    enum { MAIN, MASTER, N_BEFORE_MAPS };

    out->user = "postfix";
    out->strict = true;
    if (index < N_BEFORE_MAPS) {
        argv_add(&out->argv, "/usr/sbin/postconf");
        argv_add(&out->argv, "-c");
        argv_add(&out->argv, "%s/postfix", folder);
        argv_add(&out->argv, index == MAIN ? "-n" : "-M");
        out->words = "/usr/sbin/postconf: ";
        return true;
    }
    if (!tables_there(state))
        return false;
    argv_add(&out->argv, "/usr/sbin/postmap");
    argv_add(&out->argv, "-c");
    argv_add(&out->argv, "%s/postfix", folder);
    argv_add(&out->argv, "-q");
    argv_add(&out->argv, "probe@probe.invalid");
    out->words = "/usr/sbin/postmap: ";
    out->any_exit = true;
    if (add_maps(state, index - N_BEFORE_MAPS, &out->argv))
        return true;
    argv_done(&out->argv);
    return false;
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

/* Of those that the node is to hold from now on, the nth whose database is a copy of another node's. */
static const DirectoryState *taken_over(const NodeState *state, size_t nth)
{
    for (size_t i = 0; i < state->n_directories; i++)
        if (!state->directories[i].replica && replicas_marked(state->root, state->directories[i].name) && nth-- == 0)
            return &state->directories[i];
    return NULL;
}

/* The head of the copy.  slapd may run meanwhile: slapcat(8). */
static bool check_whole(const NodeState *state, const char *folder, size_t nth, DaemonCheck *out)
{
    const DirectoryState *directory = taken_over(state, nth);

    if (!directory)
        return false;
    out->copy_of = directory->name;
    argv_add(&out->argv, "/usr/sbin/slapcat");
    argv_add(&out->argv, "-f");
    argv_add(&out->argv, "%s/slapd/slapd.conf", folder);
    argv_add(&out->argv, "-o");
    argv_add(&out->argv, "ldif-wrap=no");
    argv_add(&out->argv, "-H");
    argv_add(&out->argv, "ldap:///" DIRECTORY_SUFFIX "??base", directory->name);
    return true;
}

/* It wants the folders of the databases, and opens none.  They are made as at a start, by their owner: root is not led
 * astray in a folder that somebody else owns.  Not with -Q, which takes the reason away. */
static bool check_slapd(const NodeState *state, const char *folder, size_t index, DaemonCheck *out)
{
    out->user = "openldap";
    if (index > state->n_directories)
        return check_whole(state, folder, index - state->n_directories - 1, out);
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
