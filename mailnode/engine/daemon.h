/* daemon.h - the seven daemons: how each is started, asked, told to reload, and ended
 *
 * The closed list of programs that mail-engine runs as services.  Sources: ENGINE.md 1,
 * 5, 5a; DIRECTORY.md 1; master(8), dovecot(1), rspamd(8), redis-server(1), clamd(8),
 * unbound(8), slapd(8).
 */
#pragma once
#include "engine/child.h"
#include "engine/ports.h"
#include "render/fileset.h"
#include "render/state.h"

typedef enum DaemonId { /* in the order in which they can be started; side by side, so the slowest goes first */
                        DAEMON_RSPAMD,
                        DAEMON_UNBOUND,
                        DAEMON_REDIS,
                        DAEMON_CLAMD,
                        DAEMON_SLAPD,
                        DAEMON_DOVECOT,
                        DAEMON_POSTFIX,
                        N_DAEMONS
} DaemonId;

typedef struct Daemon {
    const char *name;    /* "postfix": its files in a generation, its log, its fact */
    const char *title;   /* "Postfix" */
    const char *program; /* the absolute path that /proc/PID/exe must lead to */
    const char *user;    /* started as; NULL: as root, it gives that up by itself */
    const char *becomes; /* its main process runs as; NULL: stays root */
    const char *speaker; /* how its main process begins a line of the log: "master:" */
    const char *refusal; /* its log says so where it did not take SIGHUP and goes on as before; NULL: it never does */
    unsigned needs;      /* bits 1 << DaemonId: must be ready before this one is started */
    int stop_signal;
    Msec reload_ms;         /* so long SIGHUP may take until the new configuration answers; 0: it is restarted */
    Msec stop_ms;           /* then SIGKILL */
    Msec start_ms;          /* without a right answer by then it has failed */
    Msec orphan_ms;         /* so long what outlives it may come to its own end; then SIGTERM, and SIGKILL */
    const char *const *env; /* NULL: none */
    const char *const *version_argv; /* prints its version */
} Daemon;

extern const Daemon daemons[N_DAEMONS];

bool daemon_wanted(DaemonId id, const NodeState *state);
void daemon_argv(DaemonId id, const NodeState *state, Argv *out);

/* What must be there before it is started, while it does not run: a folder, and a file in it that 'argv' makes.  A load that
 * was cut off leaves half of the file: a mark beside the run-files says that one is under way.  False: no more. */
typedef struct DaemonBefore {
    const char *name; /* of the user domain */
    const char *user; /* runs argv and owns the folder, 0700 */
    char *folder, *file;
    Argv argv;
} DaemonBefore;
bool daemon_before(DaemonId id, const NodeState *state, size_t index, DaemonBefore *out);
void daemon_before_done(DaemonBefore *before);

/* Ports that the node needs for one daemon, where it is wanted, or for all. */
void daemon_ports(DaemonId id, const NodeState *state, PortList *out);
void daemons_ports(const NodeState *state, PortList *out);

/* The commands that check the files of one daemon in 'folder' (gen/000124.check), in order.  False: no more. */
typedef struct DaemonCheck {
    Argv argv;
    const char *user;    /* NULL: root, where the checker runs no code of the configuration */
    const char *words;   /* only lines that begin so are its words: "/usr/sbin/postconf: "; NULL: all are */
    bool strict;         /* words are a no even where it exits with 0: a warning */
    bool any_exit;       /* words alone are a no: 'postmap -q' of a key that is not there exits with 1 */
    const char *copy_of; /* a user domain: the copy of it is shown, and must be whole; words and exit are nothing */
} DaemonCheck;
bool daemon_check(DaemonId id, const NodeState *state, const char *folder, size_t index, DaemonCheck *out);
