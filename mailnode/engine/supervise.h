/* supervise.h - keeps the wanted daemons running, with the wanted configuration
 *
 * Starts from state each time: what is wanted, what the run-files say, what pidfds and
 * probes tell.  Daemons outlive this process: they are in sessions of their own, write
 * to files, and are adopted by the next mail-engine.
 *
 * Postfix and Dovecot run only while their users can read mail.db: without one they wait
 * for the agent; with one that cannot be read they are ended, and "mail-agent recover" is
 * run once.
 *
 * Order: supervise_new (adopts), supervise_want whenever what is wanted changes, then
 * run and wait for ever.
 */
#pragma once
#include "engine/daemon.h"
#include "engine/happened.h"

typedef struct Supervise Supervise;

/* root and happened outlive it. */
CHECKED Error *supervise_new(const char *root, Happened *happened, Supervise **ret_supervise);
void supervise_free(Supervise **supervise); /* the daemons go on */

typedef struct SuperviseWant {
    const NodeState *state; /* borrowed until the next want */
    uint64_t generation;
    const FileSet *files; /* borrowed for the call: the digests per daemon are taken from it */
} SuperviseWant;

/* A daemon whose files differ from those that it runs with is reloaded, or restarted where it must be; one that is not
 * wanted is ended; one that runs with these very files is left alone. */
void supervise_want(Supervise *supervise, const SuperviseWant *want);
void supervise_want_nothing(Supervise *supervise); /* ends all, in the reverse order of their needs */

/* This daemon reads its files again although they are those that it was given: somebody else's may be what it runs with. */
void supervise_load_again(Supervise *supervise, DaemonId id);

void supervise_run(Supervise *supervise, Msec now);
void supervise_wait(Supervise *supervise, Waiter *wake);

/* Of what the last want changed: a daemon that it left as it was, and that has its own troubles, says nothing about the
 * new configuration.  Nor does one that waits for the agent to write mail.db: that comes after the configuration. */
typedef enum SuperviseStanding {
    STANDING_MOVING,  /* something is being started, reloaded or ended */
    STANDING_SETTLED, /* every wanted daemon has answered a probe since it got this configuration; nothing else runs */
    STANDING_FAILED, /* one did not come up with it, or does not answer: *ret_why in the daemon's own words (its log's end) */
} SuperviseStanding;
SuperviseStanding supervise_standing(const Supervise *supervise, const char **ret_why);

/* Loads of a configuration (starts and reloads) since the start, for tests and facts. */
uint64_t supervise_loads(const Supervise *supervise, DaemonId id);

/* One fact for each wanted daemon: "ready, 3.7.11, pid 4711, restarted 2 times".  Borrowed until the next call. */
size_t supervise_facts(Supervise *supervise, Msec now, Mail__Fact *const **ret_facts);

bool supervise_ours(const Supervise *supervise, pid_t pid); /* a process of one of the daemons: by session */
void supervise_probe_now(Supervise *supervise);             /* all, soon: after a repair */
