/* supervise_inside.h - what the files of supervise share: one Unit for each daemon
 *
 *   supervise.c          what is wanted, and one pass over all units
 *   supervise_start.c    fork, run-file, exec; the end of a process and of what outlives it
 *   supervise_adopt.c    whom the last mail-engine left running
 *   supervise_before.c   what must be loaded before a daemon's first start
 *   supervise_watch.c    right answers, silence, hangs
 *   supervise_reload.c   SIGHUP, and whether it was taken in
 *   supervise_tables.c   Postfix and Dovecot run only while they can read mail.db
 *   supervise_facts.c    standing and facts
 *   supervise_queue.c    what waited for a daemon that is back
 */
#pragma once
#include "base/path.h"
#include "engine/probe.h"
#include "engine/runfile.h"
#include "engine/service.h"
#include "engine/supervise.h"

enum { SUPERVISE_SESSION_MAX = 4096, SUPERVISE_WHY_BYTES = 1024 };

/* What a test replaces. */
typedef struct SuperviseHow {
    const Daemon *table;
    unsigned reads_tables; /* bits 1 << DaemonId */
    bool (*wanted)(DaemonId id, const NodeState *state);
    void (*argv)(DaemonId id, const NodeState *state, Argv *out);
    void (*ports)(DaemonId id, const NodeState *state, PortList *out);
    bool (*before)(DaemonId id, const NodeState *state, size_t index, DaemonBefore *out);
    Error *(*probe)(DaemonId id, const NodeState *state, Msec until_ms, Child **ret_child);
    Error *(*probe_reloaded)(DaemonId id, const NodeState *state, pid_t session, uint64_t after, Msec until_ms,
                             Child **ret_child);
    Error *(*canary)(const char *user, const char *root, Child **ret_child);
} SuperviseHow;

CHECKED Error *supervise_new_how(const char *root, Happened *happened, const SuperviseHow *how,
                                 Supervise **ret_supervise);

typedef struct Unit {
    DaemonId id;
    const Daemon *daemon;
    char program[256]; /* of the table, with its links resolved: as /proc shows it */
    Service service;
    char *reason; /* of the last end or failure, for the fact */

    /* what is wanted */
    bool wanted;
    bool concerned; /* the last want changed something for it */
    uint64_t generation;
    Digest files, restart;

    /* the process; its run-file says what it runs with */
    pid_t pid; /* 0: none */
    int pidfd;
    RunFile file;
    uint64_t log_from; /* length of its log when it was started or reloaded */

    /* what outlives it: processes of its session */
    bool has_orphans;
    Msec orphans_since, orphans_at;

    /* before its start */
    size_t before_index;
    Child *before;
    DaemonBefore before_what;
    Msec before_at;

    /* does it answer? */
    Child *probe;
    Msec probe_at, answered_at; /* answered_at 0: not yet */
    unsigned silent;            /* failed probes in a row */
    Msec stuck_since;
    uint64_t stuck_cpu_ticks;

    /* with what is wanted? */
    bool reloading, load_failed;
    Msec reload_look_at;
    unsigned early_exits;
    char *why; /* load_failed: in its own words */
    uint64_t loads;

    Child *version_child;
    bool version_asked;
    char version[32];
} Unit;

typedef enum TablesState { TABLES_UNKNOWN, TABLES_READ, TABLES_MISSING, TABLES_UNREADABLE } TablesState;

typedef struct TablesWatch { /* can the daemons read mail.db? */
    TablesState state;
    size_t user; /* the next to ask */
    Child *canary, *recover;
    bool recovered; /* once for each time that it cannot be read */
    unsigned failures;
    Msec at;
    char *why;
} TablesWatch;

struct Supervise {
    char *root; /* before every path: "" or "/tmp/x" */
    const SuperviseHow *how;
    Happened *happened;
    char boot_id[64];
    const NodeState *state; /* NULL: nothing was wanted yet, or nothing shall run */
    bool told;              /* something was wanted */
    bool moved;             /* a state changed: look at the others once more */
    unsigned postfix_limit;
    Msec probe_ms, stuck_ms;
    Unit units[N_DAEMONS];
    TablesWatch tables;
    bool flush_due;
    Child *flush;
    Mail__Fact facts[N_DAEMONS];
    Mail__Fact *fact_list[N_DAEMONS];
    char *fact_texts[N_DAEMONS];
};

Path unit_runfile(const Supervise *supervise, const Unit *unit);
Path unit_log(const Supervise *supervise, const Unit *unit);
bool unit_running(const Unit *unit); /* starting, ready or degraded */
bool unit_up(const Unit *unit);      /* ready or degraded */
bool unit_wanted_now(const Supervise *supervise, const Unit *unit);

/* Moves the service and carries out what that asks for.  'why' may be NULL. */
void unit_event(Supervise *supervise, Unit *unit, ServiceEvent event, Msec now);
void unit_reason(Unit *unit, const char *format, ...) PRINTF_LIKE(2, 3);
/* It does not come up with what is wanted: words, and the end of its log. */
void unit_load_failed(Supervise *supervise, Unit *unit, const char *words);

/* supervise_start.c */
CHECKED Error *unit_spawn(Supervise *supervise, Unit *unit);
void unit_signal(const Unit *unit, int number);
void unit_kill(const Unit *unit); /* its whole session */
void unit_take_exit(Supervise *supervise, Unit *unit, Msec now);
void unit_orphans_begin(Unit *unit, Msec now);
void unit_orphans_run(Supervise *supervise, Unit *unit, Msec now);
CHECKED Error *unit_write_runfile(const Supervise *supervise, const Unit *unit);

/* supervise_adopt.c */
void unit_adopt(Supervise *supervise, Unit *unit, Msec now);

/* supervise_queue.c: mail that waited for Dovecot is tried at once when it is back */
void queue_flush_soon(Supervise *supervise, const Unit *ready);
void queue_flush_run(Supervise *supervise, Msec now);

/* supervise_before.c: true when all is loaded; a failure is told and tried again later */
bool unit_before_run(Supervise *supervise, Unit *unit, Msec now);

/* supervise_watch.c */
void unit_probe_begin(Supervise *supervise, Unit *unit, Msec until_ms);
void unit_watch(Supervise *supervise, Unit *unit, Msec now);
size_t unit_session(const Unit *unit, const pid_t **ret_pids); /* valid until the next call */

/* supervise_reload.c */
void unit_reload(Supervise *supervise, Unit *unit, Msec now);
void unit_reload_ended(Supervise *supervise, Unit *unit, bool answered, const char *words, Msec now);
void unit_reload_look(Supervise *supervise, Unit *unit, Msec now); /* does its log say that it refused? */
char *unit_log_end(const Supervise *supervise, const Unit *unit);  /* owned by the caller; "" where there is nothing */

/* supervise_tables.c */
void tables_watch_run(Supervise *supervise, Msec now);
void tables_watch_wait(const Supervise *supervise, Waiter *wake);
void tables_watch_soon(Supervise *supervise, Msec now);
void tables_watch_free(TablesWatch *tables);

/* supervise_facts.c */
void unit_version_run(Supervise *supervise, Unit *unit, Msec now);
