/* service.h - the states of one service, as a table with the clock as argument
 *
 *            WANTED                ANSWERED
 *  stopped ---------> starting ---------------> ready <----> degraded
 *     ^                  | EXITED, LATE           | EXITED       | EXITED, STUCK
 *     |                  v                        v              v
 *     +--- stopping   failed (back-off, then starting again) <---+
 *
 * Decides, does nothing: supervise.c carries the actions out.
 */
#pragma once
#include "base/loop.h"

#include <stdbool.h>
#include <stdint.h>

typedef enum ServiceState {
    SERVICE_STOPPED,
    SERVICE_STARTING,
    SERVICE_READY,
    SERVICE_DEGRADED, /* silent, or not with the newest configuration; once is a hiccup */
    SERVICE_FAILED,   /* ended or did not come up; tried again at 'at' */
    SERVICE_STOPPING,
    N_SERVICE_STATES
} ServiceState;

typedef enum ServiceEvent {
    SERVICE_WANTED,   /* and all that it needs is ready */
    SERVICE_UNWANTED, /* or must be started anew */
    SERVICE_ANSWERED,
    SERVICE_SILENT, /* a probe failed */
    SERVICE_STUCK,  /* 60 s silent without use of CPU time */
    SERVICE_EXITED,
    SERVICE_LATE, /* 'at' has come */
    N_SERVICE_EVENTS
} ServiceEvent;

typedef enum ServiceAction {
    SERVICE_NOTHING,
    SERVICE_SPAWN,
    SERVICE_TERM,
    SERVICE_KILL,
    N_SERVICE_ACTIONS
} ServiceAction;

typedef struct Service {
    ServiceState state;
    Msec since;
    Msec at; /* what LATE is measured by; MSEC_NEVER: nothing */
    unsigned
        failures; /* in a row; back-off doubles from SERVICE_RETRY_FIRST_MS, forgotten after SERVICE_CALM_MS ready */
    unsigned restarts; /* in this life of mail-engine */
    Msec start_ms, stop_ms;
} Service;

enum { SERVICE_RETRY_FIRST_MS = 250, SERVICE_RETRY_LAST_MS = 60000, SERVICE_CALM_MS = 60000 };

ServiceAction service_next(Service *service, ServiceEvent event, Msec now);
const char *service_state_name(ServiceState state);
