#include "engine/supervise_inside.h"

#include "base/alloc.h"
#include "base/crash.h"
#include "base/proc.h"
#include "tables/places.h"

#include <assert.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PROBE_MS = 10000, STUCK_MS = 60000, POSTFIX_LIMIT = 100 };

static const SuperviseHow how_it_is = {
    .table = daemons,
    .reads_tables = 1U << DAEMON_POSTFIX | 1U << DAEMON_DOVECOT,
    .wanted = daemon_wanted,
    .argv = daemon_argv,
    .ports = daemon_ports,
    .before = daemon_before,
    .probe = probe_start,
    .probe_reloaded = probe_reloaded,
    .canary = probe_canary,
};

Error *supervise_new(const char *root, Happened *happened, Supervise **ret_supervise)
{
    return supervise_new_how(root, happened, &how_it_is, ret_supervise);
}

static Msec from_environment(const char *name, Msec otherwise)
{
    const char *text = getenv(name);
    char *end = NULL;
    unsigned long long value = text ? strtoull(text, &end, 10) : 0;

    return text && *text && *end == '\0' && value ? value : otherwise;
}

static void unit_init(Unit *unit, DaemonId id, const Daemon *daemon)
{
    DEFER(xfree) char *real = realpath(daemon->program, NULL);
    const char *program = real ? real : daemon->program;

    assert(strlen(program) < sizeof unit->program);
    unit->id = id;
    unit->daemon = daemon;
    unit->pidfd = -1;
    unit->service = (Service){.at = MSEC_NEVER, .start_ms = daemon->start_ms, .stop_ms = daemon->stop_ms};
    memcpy(unit->program, program, strlen(program) + 1);
}

Error *supervise_new_how(const char *root, Happened *happened, const SuperviseHow *how, Supervise **ret_supervise)
{
    DEFER(supervise_free) Supervise *supervise = xcalloc(1, sizeof *supervise);

    supervise->root = xstrdup(strcmp(root, "/") == 0 ? "" : root);
    supervise->how = how;
    supervise->happened = happened;
    supervise->probe_ms = from_environment("MAILNODE_PROBE_MS", PROBE_MS);
    supervise->stuck_ms = from_environment("MAILNODE_STUCK_MS", STUCK_MS);
    supervise->postfix_limit = POSTFIX_LIMIT;
    for (DaemonId id = 0; id < N_DAEMONS; id++)
        unit_init(&supervise->units[id], id, &how->table[id]);
    Error *err = proc_boot_id(supervise->boot_id);
    if (!err)
        err = folder_make(path_in(supervise->root, "var/lib/mailnode/engine/run").text, 0700, 0, 0);
    if (err)
        return error_in(err, "supervise");
    for (DaemonId id = 0; id < N_DAEMONS; id++)
        unit_adopt(supervise, &supervise->units[id], clock_ms());
    *ret_supervise = supervise;
    supervise = NULL;
    return NULL;
}

static void unit_done(Unit *unit)
{
    if (unit->pidfd >= 0)
        close(unit->pidfd);
    child_free(&unit->before);
    child_free(&unit->probe);
    child_free(&unit->version_child);
    daemon_before_done(&unit->before_what);
    xfree(&unit->reason);
    xfree(&unit->why);
}

void supervise_free(Supervise **supervise)
{
    if (!*supervise)
        return;
    for (DaemonId id = 0; id < N_DAEMONS; id++) {
        unit_done(&(*supervise)->units[id]);
        xfree(&(*supervise)->fact_texts[id]);
    }
    tables_watch_free(&(*supervise)->tables);
    child_free(&(*supervise)->flush);
    xfree(&(*supervise)->root);
    xfree(supervise);
}

/* ---- a unit ------------------------------------------------------------------------ */

Path unit_runfile(const Supervise *supervise, const Unit *unit)
{
    return path_in(supervise->root, "var/lib/mailnode/engine/run/%s", unit->daemon->name);
}

Path unit_log(const Supervise *supervise, const Unit *unit)
{
    return path_in(supervise->root, "var/log/mailnode/%s.log", unit->daemon->name);
}

bool unit_up(const Unit *unit)
{
    return unit->service.state == SERVICE_READY || unit->service.state == SERVICE_DEGRADED;
}

bool unit_running(const Unit *unit)
{
    return unit->service.state == SERVICE_STARTING || unit_up(unit);
}

/* What cannot read its tables is ended as if it were not wanted: smtpd would die in the middle of dialogues, or hang. */
bool unit_wanted_now(const Supervise *supervise, const Unit *unit)
{
    bool reads = supervise->how->reads_tables >> unit->id & 1;

    return unit->wanted && !(reads && supervise->tables.state == TABLES_UNREADABLE);
}

void unit_reason(Unit *unit, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    xfree(&unit->reason);
    unit->reason = xvasprintf(format, args);
    va_end(args);
}

void unit_load_failed(Supervise *supervise, Unit *unit, const char *words)
{
    DEFER(xfree) char *log_end = unit_log_end(supervise, unit);

    if (unit->load_failed)
        return;
    unit->load_failed = true;
    xfree(&unit->why);
    unit->why = xasprintf("%s: %s%s%s", unit->daemon->name, words, *log_end ? "\n" : "", log_end);
    supervise->moved = true;
}

static bool is_ours(void *context, pid_t pid)
{
    return supervise_ours(context, pid);
}

/* Said with a name, not in the words of a daemon that could not bind. */
static Error *ports_free(Supervise *supervise, const Unit *unit)
{
    DEFER(xfree) PortList *ports = xcalloc(1, sizeof *ports);

    supervise->how->ports(unit->id, supervise->state, ports);
    return ports->n ? ports_check(ports, is_ours, supervise) : NULL;
}

static void spawn(Supervise *supervise, Unit *unit, Msec now)
{
    Error *err = ports_free(supervise, unit);

    if (!err)
        err = unit_spawn(supervise, unit);

    if (!err) {
        unit_probe_begin(supervise, unit, unit->service.start_ms - unit->service.start_ms / 10);
        return;
    }
    happened_add(supervise->happened, MAIL__FACT_STATE__BAD, "daemon cannot be started", "%s: %s", unit->daemon->name,
                 err->what);
    unit_reason(unit, "cannot be started: %s", err->what);
    unit_load_failed(supervise, unit, err->what);
    error_free(&err);
    unit_event(supervise, unit, SERVICE_EXITED, now);
}

static void late_start(Supervise *supervise, Unit *unit)
{
    DEFER(xfree)
    char *words = xasprintf("no right answer within %llu ms%s%s", (unsigned long long)unit->service.start_ms,
                            unit->reason ? ": " : "", unit->reason ? unit->reason : "");

    happened_add(supervise->happened, MAIL__FACT_STATE__BAD, "daemon does not come up", "%s: %s, killed",
                 unit->daemon->name, words);
    unit_load_failed(supervise, unit, words);
}

void unit_event(Supervise *supervise, Unit *unit, ServiceEvent event, Msec now)
{
    ServiceState before = unit->service.state;
    ServiceAction action = service_next(&unit->service, event, now);

    if (unit->service.state != before)
        supervise->moved = true;
    switch (action) {
    case SERVICE_NOTHING:
        return;
    case SERVICE_SPAWN:
        spawn(supervise, unit, now);
        return;
    case SERVICE_TERM:
        CRASH_POINT("engine.daemon.ending");
        child_free(&unit->probe);
        unit->reloading = false;
        unit_signal(unit, unit->daemon->stop_signal);
        unit_signal(unit, SIGCONT);
        return;
    case SERVICE_KILL:
        if (before == SERVICE_STARTING)
            late_start(supervise, unit);
        unit_kill(unit);
        return;
    case N_SERVICE_ACTIONS:
        break;
    }
    assert(false);
}

/* ---- what is wanted ---------------------------------------------------------------- */

static bool runs_as_wanted(const Unit *unit)
{
    return digest_equal(&unit->file.files, &unit->files);
}

static void unit_want(Supervise *supervise, Unit *unit, const SuperviseWant *want)
{
    bool wanted = want && supervise->how->wanted(unit->id, want->state);
    Digest files = wanted ? fileset_digest(want->files, unit->daemon->name) : (Digest){{0}};
    Digest restart = wanted ? fileset_restart_digest(want->files, unit->daemon->name) : (Digest){{0}};

    unit->concerned = !supervise->told || wanted != unit->wanted || !digest_equal(&files, &unit->files) ||
                      !digest_equal(&restart, &unit->restart);
    unit->wanted = wanted;
    unit->files = files;
    unit->restart = restart;
    unit->generation = want ? want->generation : 0;
    if (!unit->concerned)
        return;
    unit->load_failed = false;
    unit->early_exits = 0;
    unit->before_index = 0;
    unit->before_at = 0;
    xfree(&unit->why);
    /* What waits for its next try is tried at once: the reason may be gone. */
    if (unit->service.state == SERVICE_FAILED)
        unit_event(supervise, unit, SERVICE_UNWANTED, clock_ms());
}

/* As many smtpd as there may be: silence then is load, not a hang. */
static unsigned limit_in(const FileSet *files)
{
    static const char name[] = "\ndefault_process_limit = ";
    DEFER(buf_done) Buf text = {0};
    File file;

    if (!fileset_find(files, "postfix/main.cf", &file))
        return POSTFIX_LIMIT;
    buf_append(&text, file.text->data, file.text->size);
    const char *at = strstr(buf_text(&text), name);
    unsigned long limit = at ? strtoul(at + sizeof name - 1, NULL, 10) : 0;
    return limit && limit < UINT_MAX ? (unsigned)limit : POSTFIX_LIMIT;
}

void supervise_want(Supervise *supervise, const SuperviseWant *want)
{
    supervise->state = want->state;
    supervise->postfix_limit = limit_in(want->files);
    for (DaemonId id = 0; id < N_DAEMONS; id++)
        unit_want(supervise, &supervise->units[id], want);
    supervise->told = true;
    supervise->moved = true;
    tables_watch_soon(supervise, clock_ms());
}

void supervise_want_nothing(Supervise *supervise)
{
    for (DaemonId id = 0; id < N_DAEMONS; id++)
        unit_want(supervise, &supervise->units[id], NULL);
    supervise->told = true;
    supervise->moved = true;
    supervise->state = NULL;
}

/* The run-file forgets what it was given, so that a crash here does not forget the load. */
void supervise_load_again(Supervise *supervise, DaemonId id)
{
    Unit *unit = &supervise->units[id];

    if (!unit->pid)
        return;
    unit->file.files = (Digest){{0}};
    unit->concerned = true;
    unit->load_failed = false;
    Error *err = unit_write_runfile(supervise, unit);
    error_free(&err); /* a disk that is full: the load itself will say so */
    supervise->moved = true;
}

/* ---- one pass ---------------------------------------------------------------------- */

/* In the reverse order: whoever goes for good goes before what it needs. */
static bool may_end(const Supervise *supervise, const Unit *unit)
{
    for (DaemonId id = unit->id + 1; id < N_DAEMONS; id++) {
        const Unit *later = &supervise->units[id];
        bool goes = !unit_wanted_now(supervise, later) && later->service.state != SERVICE_STOPPED;
        if (goes && !unit_wanted_now(supervise, unit))
            return false;
    }
    return true;
}

/* Who has not answered yet may not know SIGHUP; who is silent will not hear it. */
static bool needs_restart(const Unit *unit)
{
    if (runs_as_wanted(unit))
        return false;
    return !unit->daemon->reload_ms || !unit_up(unit) || unit->silent ||
           !digest_equal(&unit->file.restart, &unit->restart);
}

static void end_if_due(Supervise *supervise, Unit *unit, Msec now)
{
    bool wanted = unit_wanted_now(supervise, unit);

    if (unit->service.state == SERVICE_FAILED && !wanted) {
        unit_event(supervise, unit, SERVICE_UNWANTED, now);
        return;
    }
    if (!unit_running(unit) || (wanted && !needs_restart(unit)) || !may_end(supervise, unit))
        return;
    happened_add(supervise->happened, MAIL__FACT_STATE__GOOD, wanted ? "daemon restarts" : "daemon is ended", "%s: %s",
                 unit->daemon->name,
                 wanted         ? "its new configuration needs it"
                 : unit->wanted ? "it cannot read mail.db"
                                : "it is not wanted any more");
    unit_event(supervise, unit, SERVICE_UNWANTED, now);
}

static bool needs_are_up(const Supervise *supervise, const Unit *unit)
{
    for (DaemonId id = 0; id < N_DAEMONS; id++) {
        if ((unit->daemon->needs >> id & 1) && supervise->units[id].wanted && !unit_up(&supervise->units[id]))
            return false;
    }
    if (supervise->how->reads_tables >> unit->id & 1)
        return supervise->tables.state == TABLES_READ;
    return true;
}

static void start_if_due(Supervise *supervise, Unit *unit, Msec now)
{
    ServiceState state = unit->service.state;

    if (state != SERVICE_STOPPED && (state != SERVICE_FAILED || now < unit->service.at))
        return;
    if (!unit_wanted_now(supervise, unit) || unit->has_orphans || !needs_are_up(supervise, unit))
        return;
    if (!unit_before_run(supervise, unit, now))
        return;
    unit_event(supervise, unit, state == SERVICE_STOPPED ? SERVICE_WANTED : SERVICE_LATE, now);
}

static void unit_run(Supervise *supervise, Unit *unit, Msec now)
{
    unit_take_exit(supervise, unit, now);
    unit_orphans_run(supervise, unit, now);
    if (!supervise->told)
        return;
    if (unit->service.state != SERVICE_FAILED)
        unit_event(supervise, unit, SERVICE_LATE, now);
    if (unit->before && !unit_wanted_now(supervise, unit)) { /* what it was loaded for is over */
        child_free(&unit->before);
        daemon_before_done(&unit->before_what);
    }
    end_if_due(supervise, unit, now);
    start_if_due(supervise, unit, now);
    if (unit_up(unit) && unit_wanted_now(supervise, unit) && !needs_restart(unit) && !runs_as_wanted(unit) &&
        !unit->load_failed)
        unit_reload(supervise, unit, now);
    unit_watch(supervise, unit, now);
    unit_version_run(supervise, unit, now);
}

void supervise_run(Supervise *supervise, Msec now)
{
    supervise->moved = false;
    if (supervise->told)
        tables_watch_run(supervise, now);
    queue_flush_run(supervise, now);
    for (DaemonId id = 0; id < N_DAEMONS; id++)
        unit_run(supervise, &supervise->units[id], now);
}

static void child_wait_if(const Child *child, Waiter *wake)
{
    if (child)
        child_wait(child, wake);
}

static void unit_wait(const Supervise *supervise, const Unit *unit, Waiter *wake)
{
    waiter_fd(wake, unit->pidfd, POLLIN);
    child_wait_if(unit->before, wake);
    child_wait_if(unit->probe, wake);
    child_wait_if(unit->version_child, wake);
    if (unit->has_orphans)
        waiter_at(wake, unit->orphans_at);
    if (unit->reloading && unit->daemon->refusal)
        waiter_at(wake, unit->reload_look_at);
    if (!supervise->told)
        return;
    /* One that waits for others is woken by them: they move. */
    bool failed = unit->service.state == SERVICE_FAILED;
    if (failed && (unit->has_orphans || unit->before || !needs_are_up(supervise, unit)))
        return;
    waiter_at(wake, failed && unit->before_at > unit->service.at ? unit->before_at : unit->service.at);
    if (supervise->state && unit_running(unit) && !unit->probe)
        waiter_at(wake, unit->probe_at);
    if (unit->service.state == SERVICE_STOPPED && unit->before_at && !unit->before && unit_wanted_now(supervise, unit))
        waiter_at(wake, unit->before_at);
}

void supervise_wait(Supervise *supervise, Waiter *wake)
{
    child_wait_if(supervise->flush, wake);
    if (supervise->moved)
        waiter_now(wake);
    if (supervise->told)
        tables_watch_wait(supervise, wake);
    for (DaemonId id = 0; id < N_DAEMONS; id++)
        unit_wait(supervise, &supervise->units[id], wake);
}

void supervise_probe_now(Supervise *supervise)
{
    for (DaemonId id = 0; id < N_DAEMONS; id++)
        supervise->units[id].probe_at = 0;
    tables_watch_soon(supervise, clock_ms());
}
