#include "engine/probe.h"

#include "base/alloc.h"
#include "engine/probe_dialogues.h"
#include "engine/runfile.h"
#include "tables/places.h"
#include "tables/queries.h"

#include <sqlite3.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
    TRY_MS = 5000,
    AGAIN_MS = 10,
    AFTER_HUP_MS = 30,
    CANARY_MS = 10000,
    BUSY_MS = 3000,
    GRACE_MS = 2000,
    YOUNGER_MS = 500,
    HASTE_MS = 2000,
    LATER_MS = 200
};
enum { SESSION_MAX = 4096 };

typedef struct Probe {
    DaemonId id;
    const NodeState *state;
    Msec until;
    pid_t session; /* 0: whoever answers is right */
    uint64_t after;
} Probe;

static const struct {
    Error *(*try_once)(const NodeState *state, Msec until);
    const char *user; /* that may open the sockets; it reads what strangers may have made the daemon say */
    /* After a reload the old processes take new connections, too, until they have ended: so long they are waited for. */
    Msec elders_ms;
} dialogues[N_DAEMONS] = {
    [DAEMON_POSTFIX] = {probe_postfix, "nobody", 0},    [DAEMON_DOVECOT] = {probe_dovecot, "postfix", 0},
    [DAEMON_RSPAMD] = {probe_rspamd, "_rspamd", 15000}, [DAEMON_REDIS] = {probe_redis, "_rspamd", 0},
    [DAEMON_CLAMD] = {probe_clamd, "_rspamd", 0},       [DAEMON_UNBOUND] = {probe_unbound, "nobody", 0},
    [DAEMON_SLAPD] = {probe_slapd, "nobody", 0},
};

uint64_t probe_ticks(void)
{
    struct timespec now;
    uint64_t per_second = (uint64_t)sysconf(_SC_CLK_TCK);

    clock_gettime(CLOCK_BOOTTIME, &now);
    return (uint64_t)now.tv_sec * per_second + (uint64_t)now.tv_nsec * per_second / 1000000000U;
}

/* Has the daemon a process, apart from its main one, that began after the signal, or before it? */
static bool has_process(const Probe *probe, bool younger)
{
    static pid_t pids[SESSION_MAX];
    size_t n = session_pids(probe->session, pids, SESSION_MAX);

    for (size_t i = 0; i < n; i++) {
        uint64_t start_time = 0;
        uint64_t cpu_ticks = 0;
        char program[256];
        char letter = 0;
        if (pids[i] != probe->session && process_look(pids[i], &start_time, program, &letter, &cpu_ticks) &&
            (start_time > probe->after) == younger)
            return true;
    }
    return false;
}

static void pause_ms(long ms)
{
    nanosleep(&(struct timespec){.tv_nsec = ms * 1000000}, NULL);
}

/* Another dialogue would only fill the log; some daemons take in a configuration a second after the signal. */
static bool becomes_younger(const Probe *probe, Msec since)
{
    while (!has_process(probe, true)) {
        if (clock_ms() >= since + YOUNGER_MS || clock_ms() >= probe->until)
            return false;
        pause_ms(AGAIN_MS);
    }
    return true;
}

/* No longer than that: one may have a long message at hand. */
static void await_elders(const Probe *probe, Msec begun)
{
    Msec until = begun + dialogues[probe->id].elders_ms;

    while (clock_ms() < until && has_process(probe, false))
        pause_ms(AGAIN_MS);
}

static Error *try_once(const Probe *probe, Msec now)
{
    Msec until = now + TRY_MS < probe->until ? now + TRY_MS : probe->until;

    Error *err = dialogues[probe->id].try_once(probe->state, until);
    if (!err && probe->session && !becomes_younger(probe, now))
        err = error_new(ERROR_UNAVAILABLE, "it answers, but has not taken in the new configuration");
    return err;
}

static int probe_run(void *context)
{
    const Probe *probe = context;
    Msec begun = clock_ms();
    Error *err;

    /* Only processes of a later tick count as younger: none shall be made for us in this one. */
    if (probe->session)
        pause_ms(AFTER_HUP_MS);
    for (;;) {
        err = try_once(probe, clock_ms());
        if (!err) {
            if (probe->session)
                await_elders(probe, begun);
            return 0;
        }
        if (clock_ms() + AGAIN_MS >= probe->until)
            break;
        error_free(&err);
        pause_ms(clock_ms() < begun + HASTE_MS ? AGAIN_MS : LATER_MS);
    }
    dprintf(STDOUT_FILENO, "%s\n", err->what);
    error_free(&err);
    return 1;
}

static Error *start(Probe *probe, Msec until_ms, Child **ret_child)
{
    ChildSpec spec = {.user = dialogues[probe->id].user,
                      .deadline_ms = until_ms + dialogues[probe->id].elders_ms + GRACE_MS};

    probe->until = clock_ms() + until_ms;
    return error_in(child_fork(&spec, probe_run, probe, ret_child), "probe of %s", daemons[probe->id].name);
}

Error *probe_start(DaemonId id, const NodeState *state, Msec until_ms, Child **ret_child)
{
    return start(&(Probe){.id = id, .state = state}, until_ms, ret_child);
}

Error *probe_reloaded(DaemonId id, const NodeState *state, pid_t session, uint64_t after, Msec until_ms,
                      Child **ret_child)
{
    return start(&(Probe){.id = id, .state = state, .session = session, .after = after}, until_ms, ret_child);
}

/* ---- the canary -------------------------------------------------------------------- */

static void close_db(sqlite3 **db)
{
    sqlite3_close(*db);
}

static int say_domain(void *context, int n, char **values, char **names)
{
    (void)context;
    (void)names;
    if (n == 1 && values[0])
        dprintf(STDOUT_FILENO, "%s\n", values[0]);
    return 0;
}

/* As Postfix and Dovecot do: opened to read, and a row looked up.  That there is none is an answer. */
static int canary_run(void *context)
{
    static const char canary[] = "SELECT target FROM expand WHERE key='" CANARY_KEY "'";
    static const char domain[] = "SELECT name FROM domain WHERE class<>'!' LIMIT 1";
    DEFER(close_db) sqlite3 *db = NULL;

    int code = sqlite3_open_v2(context, &db, SQLITE_OPEN_READONLY, NULL);
    if (code == SQLITE_OK)
        code = sqlite3_busy_timeout(db, BUSY_MS);
    if (code == SQLITE_OK)
        code = sqlite3_exec(db, canary, NULL, NULL, NULL);
    if (code == SQLITE_OK)
        code = sqlite3_exec(db, domain, say_domain, NULL, NULL);
    if (code == SQLITE_OK)
        return 0;
    dprintf(STDOUT_FILENO, "mail.db: %s\n", db ? sqlite3_errmsg(db) : sqlite3_errstr(code));
    return 1;
}

Error *probe_canary(const char *user, const char *root, Child **ret_child)
{
    DEFER(xfree) char *path = xasprintf(PLACE_TABLES "/mail.db", root);
    ChildSpec spec = {.user = user, .deadline_ms = CANARY_MS};

    return error_in(child_fork(&spec, canary_run, path, ret_child), "canary as %s", user);
}

/* ---- for the dialogues ------------------------------------------------------------- */

size_t probe_addresses(const NodeState *state)
{
    return state->instance->n_listen ? state->instance->n_listen : 1;
}

const char *probe_address(const NodeState *state, size_t index)
{
    return state->instance->n_listen ? state->instance->listen[index] : state->loopback;
}

static char domain_of_ours[254]; /* RFC 1035 2.3.4: 253 octets as text */

/* It comes from a file that an unprivileged program writes, and goes into a line of SMTP. */
void probe_domain_is(const char *domain)
{
    size_t len = strspn(domain, "abcdefghijklmnopqrstuvwxyz0123456789-.");

    if (len == 0 || domain[len] != '\0' || len >= sizeof domain_of_ours)
        len = 0;
    memcpy(domain_of_ours, domain, len);
    domain_of_ours[len] = '\0';
}

const char *probe_domain(void)
{
    return domain_of_ours[0] ? domain_of_ours : "probe.invalid";
}
