/* bounce.h - another process of ours ends a daemon, so that mail-engine starts it anew
 *
 * For what a job has changed below it: a database that took another one's place.  A note beside the run-file tells
 * mail-engine that the end was asked for, and is no failure.
 */
#pragma once
#include "base/loop.h"
#include "engine/daemon.h"

/* Until the process is gone.  Nothing to do where none runs.  UNAVAILABLE: it has not ended within so long. */
CHECKED Error *daemon_bounce(const char *root, const Daemon *daemon, Msec within_ms);

/* For mail-engine: was this end asked for?  Takes the note away. */
bool daemon_bounced(const char *root, const Daemon *daemon);
