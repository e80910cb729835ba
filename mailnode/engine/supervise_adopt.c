/* Daemons outlive mail-engine.  Whom the run-files know and /proc confirms is watched on; what is left of one that is
 * gone is ended before a new one starts. */
#include "engine/supervise_inside.h"

#include "base/alloc.h"
#include "engine/spawn.h"

#include <string.h>
#include <unistd.h>

static void set_aside(Supervise *supervise, const Unit *unit, Error *damage)
{
    Path where;

    Error *err = file_set_aside(unit_runfile(supervise, unit).text, &where);
    happened_add(supervise->happened, MAIL__FACT_STATE__DEGRADED, "run-file damaged", "%s: %s, %s %s",
                 unit->daemon->name, damage->what, err ? "and it stays:" : "set aside as",
                 err ? err->what : where.text);
    error_free(&err);
}

static void take_over(Supervise *supervise, Unit *unit, Msec now)
{
    unit->pid = unit->file.pid;
    service_next(&unit->service, SERVICE_WANTED, now);
    if (unit->file.answered)
        service_next(&unit->service, SERVICE_ANSWERED, now);
    happened_add(supervise->happened, MAIL__FACT_STATE__GOOD, "daemon adopted", "%s: pid %d", unit->daemon->name,
                 (int)unit->pid);
}

void unit_adopt(Supervise *supervise, Unit *unit, Msec now)
{
    Error *err = runfile_read(unit_runfile(supervise, unit).text, &unit->file);

    if (err && err->code != ERROR_NOT_FOUND)
        set_aside(supervise, unit, err);
    if (err) {
        error_free(&err);
        return;
    }
    if (runfile_alive(&unit->file, supervise->boot_id)) {
        unit->pidfd = spawn_pidfd(unit->file.pid);
        /* Once more: the descriptor may be that of another one, which got the number just now. */
        if (unit->pidfd >= 0 && runfile_alive(&unit->file, supervise->boot_id)) {
            take_over(supervise, unit, now);
            return;
        }
        if (unit->pidfd >= 0)
            close(unit->pidfd);
        unit->pidfd = -1;
    }
    if (strcmp(unit->file.boot_id, supervise->boot_id) == 0) {
        unit_orphans_begin(unit, now);
        return;
    }
    err = runfile_remove(unit_runfile(supervise, unit).text);
    error_free(&err); /* of another boot: it says nothing, there or not */
}
