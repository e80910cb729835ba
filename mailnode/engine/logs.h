/* logs.h - the daemons' logs do not grow for ever
 *
 * NAME.log in ROOT/var/log/mailnode: one larger than 50 MiB (MAILNODE_LOG_BYTES) is cut at its front, which becomes
 * NAME.log.1; LOGS_KEPT older parts are kept.  A child does it; one file at a time.
 *
 * The daemons keep their descriptors and nobody is told: half of them have no signal for it, and Postfix's and Dovecot's
 * would be a reload.  The front is copied, then taken out of the file in one step of the file system
 * (FALLOC_FL_COLLAPSE_RANGE: ext4, XFS), while they append at its end: no line is lost.  Where the file system cannot
 * do that (tmpfs, Btrfs) the file is emptied right after its last line was copied; what is written between these two
 * steps, some microseconds, is lost there.
 *
 * A line in the middle of which the cut falls is whole in NAME.log.1; what is left of it in NAME.log is blanked.
 *
 * Source: fallocate(2); logs are opened with O_APPEND by engine/spawn.c, postlogd and Dovecot's log process.
 */
#pragma once
#include "base/error.h"
#include "base/loop.h"

#include <stdbool.h>
#include <stdint.h>

enum { LOGS_KEPT = 5, LOGS_LOOK_MS = 10000 };

typedef struct Logs Logs;

Logs *logs_new(const char *root);
void logs_free(Logs **logs);
void logs_run(Logs *logs, Msec now);
void logs_wait(const Logs *logs, Waiter *wake);

/* What the child does: 'name' in the folder behind 'at' is cut, its older parts move up.  CUT_EMPTIED: without the file
 * system's help, or as if ('collapse' false). */
typedef enum LogCut { CUT_NOTHING, CUT_COLLAPSED, CUT_EMPTIED } LogCut;
CHECKED Error *log_cut(int at, const char *name, bool collapse, LogCut *ret_how);
