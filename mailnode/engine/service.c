#include "engine/service.h"

#include <assert.h>

enum { STAY = 0, KILL_AGAIN_MS = 1000 };
#define TO(state) ((state) + 1)

typedef struct Step {
    ServiceAction action;
    int next; /* STAY, or TO(state) */
} Step;

/* What to do, and where to go.  An empty field is { NOTHING, STAY }: both are 0. */
static const Step steps[N_SERVICE_STATES][N_SERVICE_EVENTS] = {
    [SERVICE_STOPPED] = {[SERVICE_WANTED] = {SERVICE_SPAWN, TO(SERVICE_STARTING)}},
    [SERVICE_STARTING] = {[SERVICE_ANSWERED] = {SERVICE_NOTHING, TO(SERVICE_READY)},
                          [SERVICE_LATE] = {SERVICE_KILL, STAY},
                          [SERVICE_EXITED] = {SERVICE_NOTHING, TO(SERVICE_FAILED)},
                          [SERVICE_UNWANTED] = {SERVICE_TERM, TO(SERVICE_STOPPING)}},
    [SERVICE_READY] = {[SERVICE_SILENT] = {SERVICE_NOTHING, TO(SERVICE_DEGRADED)},
                       [SERVICE_EXITED] = {SERVICE_NOTHING, TO(SERVICE_FAILED)},
                       [SERVICE_UNWANTED] = {SERVICE_TERM, TO(SERVICE_STOPPING)}},
    [SERVICE_DEGRADED] = {[SERVICE_ANSWERED] = {SERVICE_NOTHING, TO(SERVICE_READY)},
                          [SERVICE_STUCK] = {SERVICE_KILL, STAY},
                          [SERVICE_EXITED] = {SERVICE_NOTHING, TO(SERVICE_FAILED)},
                          [SERVICE_UNWANTED] = {SERVICE_TERM, TO(SERVICE_STOPPING)}},
    [SERVICE_FAILED] = {[SERVICE_LATE] = {SERVICE_SPAWN, TO(SERVICE_STARTING)},
                        [SERVICE_UNWANTED] = {SERVICE_NOTHING, TO(SERVICE_STOPPED)}},
    [SERVICE_STOPPING] =
        {[SERVICE_EXITED] = {SERVICE_NOTHING, TO(SERVICE_STOPPED)}, [SERVICE_LATE] = {SERVICE_KILL, STAY}},
};

static Msec back_off_ms(unsigned failures)
{
    Msec wait = SERVICE_RETRY_FIRST_MS;

    while (--failures > 0 && wait < SERVICE_RETRY_LAST_MS)
        wait *= 2;
    return wait < SERVICE_RETRY_LAST_MS ? wait : SERVICE_RETRY_LAST_MS;
}

static void enter(Service *service, ServiceState state, Msec now)
{
    service->state = state;
    service->since = now;
    switch (state) {
    case SERVICE_STOPPED:
        service->failures = 0; /* whoever wants it again starts with hope */
        service->at = MSEC_NEVER;
        return;
    case SERVICE_STARTING:
        service->at = now + service->start_ms;
        return;
    case SERVICE_READY:
        service->at = now + SERVICE_CALM_MS;
        return;
    case SERVICE_DEGRADED:
        service->at = MSEC_NEVER;
        return;
    case SERVICE_FAILED:
        service->failures++;
        service->at = now + back_off_ms(service->failures);
        return;
    case SERVICE_STOPPING:
        service->at = now + service->stop_ms;
        return;
    case N_SERVICE_STATES:
        break;
    }
    assert(false);
}

ServiceAction service_next(Service *service, ServiceEvent event, Msec now)
{
    const Step *step = &steps[service->state][event];

    if (event == SERVICE_LATE && now < service->at)
        return SERVICE_NOTHING;
    if (event == SERVICE_LATE)
        service->at = MSEC_NEVER;
    if (event == SERVICE_LATE && service->state == SERVICE_READY)
        service->failures = 0; /* it was calm for long enough */
    if (step->action == SERVICE_KILL)
        service->at = now + KILL_AGAIN_MS;
    if (service->state == SERVICE_FAILED && step->action == SERVICE_SPAWN)
        service->restarts++;
    if (step->next != STAY)
        enter(service, (ServiceState)(step->next - 1), now);
    return step->action;
}

const char *service_state_name(ServiceState state)
{
    static const char *const names[N_SERVICE_STATES] = {
        [SERVICE_STOPPED] = "stopped",   [SERVICE_STARTING] = "starting", [SERVICE_READY] = "ready",
        [SERVICE_DEGRADED] = "degraded", [SERVICE_FAILED] = "failed",     [SERVICE_STOPPING] = "stopping",
    };

    return names[state];
}
