/* What was deferred while Dovecot or Postfix was away waits for its next try: five minutes, without need. */
#include "engine/supervise_inside.h"

#include "base/alloc.h"
#include "base/log.h"
#include "tables/places.h"

enum { FLUSH_MS = 30000 };

void queue_flush_soon(Supervise *supervise, const Unit *ready)
{
    supervise->flush_due = supervise->flush_due || ready->id == DAEMON_DOVECOT || ready->id == DAEMON_POSTFIX;
}

static Error *flush(Supervise *supervise)
{
    DEFER(xfree) char *current = xasprintf(PLACE_CURRENT, supervise->root);
    DEFER(xfree) char *folder = xasprintf("%s/postfix", current);
    const char *const argv[] = {"/usr/sbin/postqueue", "-c", folder, "-f", NULL};
    ChildSpec spec = {.argv = argv, .deadline_ms = FLUSH_MS};

    return child_start(&spec, &supervise->flush);
}

void queue_flush_run(Supervise *supervise, Msec now)
{
    if (supervise->flush && child_run(supervise->flush, now)) {
        if (!child_succeeded(supervise->flush)) /* the queue manager tries by itself, later */
            log_warning("queue not flushed", kv("why", child_words(supervise->flush)));
        child_free(&supervise->flush);
    }
    if (!supervise->flush_due || supervise->flush || !unit_up(&supervise->units[DAEMON_POSTFIX]) ||
        !unit_up(&supervise->units[DAEMON_DOVECOT]))
        return;
    supervise->flush_due = false;
    Error *err = flush(supervise);
    log_stop(LOG_LEVEL_WARNING, "queue not flushed", &err);
}
