/* Does it answer?  Silence is looked into: a stopped process is continued, one that hangs is killed. */
#include "engine/supervise_inside.h"

#include "base/alloc.h"

#include <signal.h>
#include <string.h>

/* Between the first silence and the next try; a probe of a daemon that ran well; CPU time below which a daemon has done
 * nothing in all the time that it was silent (its timers cost some). */
enum { SILENT_AGAIN_MS = 1000, HEALTH_MS = 5000, HEALTH_LEAST_MS = 1000, IDLE_CPU_TICKS = 10 };

size_t unit_session(const Unit *unit, const pid_t **ret_pids)
{
    static pid_t pids[SUPERVISE_SESSION_MAX];

    *ret_pids = pids;
    return session_pids(unit->file.pid, pids, SUPERVISE_SESSION_MAX);
}

typedef struct SessionLook {
    unsigned stopped, smtpd;
    uint64_t cpu_ticks;
} SessionLook;

/* Continues what is stopped. */
static SessionLook look_at_session(const Unit *unit)
{
    static const char smtpd[] = "/smtpd";
    const pid_t *pids = NULL;
    SessionLook look = {0};
    size_t n = unit_session(unit, &pids);

    for (size_t i = 0; i < n; i++) {
        uint64_t start_time = 0;
        uint64_t cpu_ticks = 0;
        char program[256];
        char letter = 0;
        if (!process_look(pids[i], &start_time, program, &letter, &cpu_ticks))
            continue;
        look.cpu_ticks += cpu_ticks;
        size_t len = strlen(program);
        if (len >= sizeof smtpd - 1 && strcmp(program + len - (sizeof smtpd - 1), smtpd) == 0)
            look.smtpd++;
        if (letter == 'T' && kill(pids[i], SIGCONT) == 0)
            look.stopped++;
    }
    return look;
}

static void tell_stopped(Supervise *supervise, const Unit *unit, unsigned stopped)
{
    if (stopped)
        happened_add(supervise->happened, MAIL__FACT_STATE__DEGRADED, "daemon was stopped",
                     "%s: %u process%s, continued", unit->daemon->name, stopped, stopped == 1 ? "" : "es");
}

void unit_probe_begin(Supervise *supervise, Unit *unit, Msec until_ms)
{
    child_free(&unit->probe);
    Error *err = supervise->how->probe(unit->id, supervise->state, until_ms, &unit->probe);
    if (!err)
        return;
    unit_reason(unit, "%s", err->what);
    unit->probe_at = clock_ms() + SILENT_AGAIN_MS;
    error_free(&err);
}

static void came_up(Supervise *supervise, Unit *unit, Msec now)
{
    Msec took = now - unit->service.since;

    unit->file.answered = true;
    Error *err = unit_write_runfile(supervise, unit);
    unit_event(supervise, unit, SERVICE_ANSWERED, now);
    happened_add(supervise->happened, MAIL__FACT_STATE__GOOD, "daemon ready", "%s: pid %d, after %llu ms%s%s",
                 unit->daemon->name, (int)unit->pid, (unsigned long long)took, err ? "; " : "", err ? err->what : "");
    error_free(&err);
    unit->early_exits = 0;
    xfree(&unit->reason);
    queue_flush_soon(supervise, unit);
}

static void answered(Supervise *supervise, Unit *unit, Msec now)
{
    bool was_silent = unit->service.state == SERVICE_DEGRADED;

    unit->silent = 0;
    unit->answered_at = now;
    unit->probe_at = now + supervise->probe_ms;
    if (unit->service.state == SERVICE_STARTING) {
        came_up(supervise, unit, now);
        return;
    }
    unit_event(supervise, unit, SERVICE_ANSWERED, now);
    if (was_silent)
        happened_add(supervise->happened, MAIL__FACT_STATE__GOOD, "daemon answers again", "%s", unit->daemon->name);
}

static void hangs(Supervise *supervise, Unit *unit, Msec now)
{
    happened_add(supervise->happened, MAIL__FACT_STATE__BAD, "daemon hangs",
                 "%s: silent for %llu s without work, killed", unit->daemon->name,
                 (unsigned long long)(now - unit->stuck_since) / 1000);
    unit_event(supervise, unit, SERVICE_STUCK, now);
}

/* Work is life, and so is a Postfix that serves as many clients as it may. */
static void look_for_hang(Supervise *supervise, Unit *unit, const SessionLook *look, Msec now)
{
    bool full = unit->id == DAEMON_POSTFIX && look->smtpd >= supervise->postfix_limit;
    bool worked = look->cpu_ticks > unit->stuck_cpu_ticks + IDLE_CPU_TICKS;

    if (unit->silent == 1 || full || worked) {
        unit->stuck_since = now;
        unit->stuck_cpu_ticks = look->cpu_ticks;
    }
    if (unit->service.state == SERVICE_DEGRADED && now - unit->stuck_since >= supervise->stuck_ms)
        hangs(supervise, unit, now);
}

static void silent(Supervise *supervise, Unit *unit, const char *words, Msec now)
{
    ServiceState before = unit->service.state;

    unit_reason(unit, "%s", words);
    if (before == SERVICE_STARTING)
        return; /* its time runs */
    SessionLook look = look_at_session(unit);
    tell_stopped(supervise, unit, look.stopped);
    unit->silent++;
    unit->probe_at = now + (supervise->probe_ms < SILENT_AGAIN_MS ? supervise->probe_ms : SILENT_AGAIN_MS);
    if (unit->silent > 1)
        unit_event(supervise, unit, SERVICE_SILENT, now);
    if (unit->service.state != before)
        happened_add(supervise->happened, MAIL__FACT_STATE__DEGRADED, "daemon does not answer", "%s: %s",
                     unit->daemon->name, words);
    look_for_hang(supervise, unit, &look, now);
}

static void take_answer(Supervise *supervise, Unit *unit, Msec now)
{
    DEFER(child_free) Child *probe = unit->probe;
    const char *words = child_words(probe);
    bool right = child_succeeded(probe);

    unit->probe = NULL;
    if (!*words)
        words = "the probe did not end in time";
    if (unit->reloading)
        unit_reload_ended(supervise, unit, right, words, now);
    else if (right)
        answered(supervise, unit, now);
    else
        silent(supervise, unit, words, now);
}

/* Before it is asked: whoever is stopped as a whole would only cost the time of the probe. */
static void wake_stopped(Supervise *supervise, const Unit *unit)
{
    uint64_t start_time = 0;
    uint64_t cpu_ticks = 0;
    char program[256];
    char letter = 0;

    if (process_look(unit->pid, &start_time, program, &letter, &cpu_ticks) && letter == 'T')
        tell_stopped(supervise, unit, look_at_session(unit).stopped);
}

static Msec health_ms(const Supervise *supervise)
{
    if (supervise->probe_ms >= HEALTH_MS)
        return HEALTH_MS;
    return supervise->probe_ms > HEALTH_LEAST_MS ? supervise->probe_ms : HEALTH_LEAST_MS;
}

void unit_watch(Supervise *supervise, Unit *unit, Msec now)
{
    if (unit->reloading)
        unit_reload_look(supervise, unit, now);
    if (unit->probe && child_run(unit->probe, now))
        take_answer(supervise, unit, now);
    if (unit->probe || !supervise->state || !unit_running(unit) || now < unit->probe_at)
        return;
    if (unit->service.state == SERVICE_STARTING) {
        unit_probe_begin(supervise, unit, unit->service.at > now ? unit->service.at - now : 1);
        return;
    }
    wake_stopped(supervise, unit);
    unit_probe_begin(supervise, unit, health_ms(supervise));
}
