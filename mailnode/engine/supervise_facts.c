#include "engine/supervise_inside.h"

#include "base/alloc.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { VERSION_MS = 10000 };

/* ---- standing ---------------------------------------------------------------------- */

static bool reads_tables(const Supervise *supervise, const Unit *unit)
{
    return supervise->how->reads_tables >> unit->id & 1;
}

/* That there is no mail.db yet is no fault of a configuration: the agent writes it after its configuration is in force.
 * A daemon that the last change did not touch, and that has its own troubles, does not stand in the way of others. */
static SuperviseStanding unit_standing(const Supervise *supervise, const Unit *unit, const char **ret_why)
{
    if (!unit->wanted)
        return unit->service.state == SERVICE_STOPPED && !unit->has_orphans ? STANDING_SETTLED : STANDING_MOVING;
    bool as_wanted = digest_equal(&unit->file.files, &unit->files);
    if (unit->service.state == SERVICE_READY && as_wanted && unit->file.answered && !unit->reloading &&
        !unit->load_failed)
        return STANDING_SETTLED;
    if (!unit->concerned)
        return STANDING_SETTLED;
    if (unit->load_failed) {
        *ret_why = unit->why;
        return STANDING_FAILED;
    }
    if (reads_tables(supervise, unit) && !unit_running(unit)) {
        if (supervise->tables.state == TABLES_MISSING)
            return unit->has_orphans || unit->service.state == SERVICE_STOPPING ? STANDING_MOVING : STANDING_SETTLED;
        if (supervise->tables.state == TABLES_UNREADABLE && supervise->tables.recovered && !supervise->tables.recover) {
            *ret_why = supervise->tables.why;
            return STANDING_FAILED;
        }
    }
    return STANDING_MOVING;
}

SuperviseStanding supervise_standing(const Supervise *supervise, const char **ret_why)
{
    SuperviseStanding standing = STANDING_SETTLED;

    for (DaemonId id = 0; id < N_DAEMONS; id++) {
        const char *why = NULL;
        SuperviseStanding one = unit_standing(supervise, &supervise->units[id], &why);
        if (one == STANDING_FAILED) {
            *ret_why = why;
            return one;
        }
        if (one == STANDING_MOVING)
            standing = one;
    }
    return supervise->told ? standing : STANDING_MOVING;
}

uint64_t supervise_loads(const Supervise *supervise, DaemonId id)
{
    return supervise->units[id].loads;
}

bool supervise_ours(const Supervise *supervise, pid_t pid)
{
    pid_t session = getsid(pid);

    for (DaemonId id = 0; id < N_DAEMONS; id++) {
        const Unit *unit = &supervise->units[id];
        if (session > 0 && (unit->pid || unit->has_orphans) && unit->file.pid == session)
            return true;
    }
    return false;
}

/* ---- versions ---------------------------------------------------------------------- */

/* The first word that begins with a digit, behind "v=", or an 'OpenLDAP: slapd' before it. */
static void version_in(const char *words, char ret_version[32])
{
    for (const char *at = words; *at; at++) {
        bool begins = at == words || at[-1] == ' ' || at[-1] == '=';
        size_t len = strspn(at, "0123456789abcdefghijklmnopqrstuvwxyz.+-~");
        if (begins && isdigit((unsigned char)*at) && memchr(at, '.', len)) {
            snprintf(ret_version, 32, "%.*s", (int)len, at);
            return;
        }
    }
}

/* Asked once, when it is up: nobody's start waits for it. */
void unit_version_run(Supervise *supervise, Unit *unit, Msec now)
{
    if (unit->version_child && child_run(unit->version_child, now)) {
        version_in(child_words(unit->version_child), unit->version);
        child_free(&unit->version_child);
    }
    const char *why = NULL;
    if (unit->version_asked || !unit_up(unit) || supervise_standing(supervise, &why) == STANDING_MOVING)
        return;
    unit->version_asked = true;
    ChildSpec spec = {.user = "nobody", .argv = unit->daemon->version_argv, .deadline_ms = VERSION_MS};
    Error *err = unit->daemon->version_argv ? child_start(&spec, &unit->version_child) : NULL;
    error_free(&err); /* then the fact has none */
}

/* ---- facts ------------------------------------------------------------------------- */

static const Mail__FactState fact_states[N_SERVICE_STATES] = {
    [SERVICE_STOPPED] = MAIL__FACT_STATE__DEGRADED, [SERVICE_STARTING] = MAIL__FACT_STATE__DEGRADED,
    [SERVICE_READY] = MAIL__FACT_STATE__GOOD,       [SERVICE_DEGRADED] = MAIL__FACT_STATE__DEGRADED,
    [SERVICE_FAILED] = MAIL__FACT_STATE__BAD,       [SERVICE_STOPPING] = MAIL__FACT_STATE__DEGRADED,
};

static void what_it_waits_for(const Supervise *supervise, const Unit *unit, Buf *text)
{
    if (reads_tables(supervise, unit) && supervise->tables.state == TABLES_MISSING)
        buf_printf(text, ", waits for mail.db");
    else if (reads_tables(supervise, unit) && supervise->tables.why)
        buf_printf(text, ", %s", supervise->tables.why);
    for (DaemonId id = 0; id < N_DAEMONS; id++) {
        const Unit *other = &supervise->units[id];
        if ((unit->daemon->needs >> id & 1) && other->wanted && !unit_up(other))
            buf_printf(text, ", waits for %s", other->daemon->name);
    }
}

static char *fact_text(const Supervise *supervise, const Unit *unit, Msec now)
{
    DEFER(buf_done) Buf text = {0};
    const Service *service = &unit->service;

    buf_append_text(&text, service_state_name(service->state));
    if (unit->version[0])
        buf_printf(&text, ", %s", unit->version);
    if (unit->pid)
        buf_printf(&text, ", pid %d", (int)unit->pid);
    if (service->restarts)
        buf_printf(&text, ", restarted %u time%s", service->restarts, service->restarts == 1 ? "" : "s");
    if (!unit_running(unit))
        what_it_waits_for(supervise, unit, &text);
    if (service->state == SERVICE_FAILED && service->at > now && service->at != MSEC_NEVER)
        buf_printf(&text, ", again in %llu s", (unsigned long long)(service->at - now + 999) / 1000);
    if (service->state != SERVICE_READY && unit->reason)
        buf_printf(&text, ": %s", unit->reason);
    return xstrdup(buf_text(&text));
}

/* A reload that failed leaves a daemon that may work; somebody should look all the same. */
static Mail__FactState fact_state(const Unit *unit)
{
    Mail__FactState state = fact_states[unit->service.state];

    return state == MAIL__FACT_STATE__GOOD && unit->load_failed ? MAIL__FACT_STATE__DEGRADED : state;
}

size_t supervise_facts(Supervise *supervise, Msec now, Mail__Fact *const **ret_facts)
{
    size_t n = 0;

    for (DaemonId id = 0; id < N_DAEMONS; id++) {
        const Unit *unit = &supervise->units[id];
        Mail__Fact *fact = &supervise->facts[n];
        if (!unit->wanted)
            continue;
        Msec seen = unit_up(unit) && unit->answered_at ? unit->answered_at : now;
        mail__fact__init(fact);
        xfree(&supervise->fact_texts[n]);
        supervise->fact_texts[n] = fact_text(supervise, unit, now);
        fact->name = (char *)unit->daemon->name; /* NOLINT: a literal that nobody changes */
        fact->text = supervise->fact_texts[n];
        fact->has_state = fact->has_age_ms = fact->has_since_ms = true;
        fact->state = fact_state(unit);
        fact->age_ms = now > seen ? now - seen : 0;
        fact->since_ms = now > unit->service.since ? now - unit->service.since : 0;
        supervise->fact_list[n++] = fact;
    }
    *ret_facts = supervise->fact_list;
    return n;
}
