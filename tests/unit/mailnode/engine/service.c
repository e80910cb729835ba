/* The table of states lives through its nights: the clock is an argument. */
#include "engine/service.h"

#include "expect.h"

static Service fresh(void)
{
    return (Service){.at = MSEC_NEVER, .start_ms = 5000, .stop_ms = 10000};
}

typedef struct Beat {
    Msec now;
    ServiceEvent event;
    ServiceAction action;
    ServiceState state;
} Beat;

typedef struct Night {
    const char *name;
    Beat beats[16];
} Night;

static const Night nights[] = {
    {"up and down",
     {{100, SERVICE_WANTED, SERVICE_SPAWN, SERVICE_STARTING},
      {110, SERVICE_WANTED, SERVICE_NOTHING, SERVICE_STARTING},
      {150, SERVICE_SILENT, SERVICE_NOTHING, SERVICE_STARTING},
      {200, SERVICE_ANSWERED, SERVICE_NOTHING, SERVICE_READY},
      {210, SERVICE_ANSWERED, SERVICE_NOTHING, SERVICE_READY},
      {300, SERVICE_UNWANTED, SERVICE_TERM, SERVICE_STOPPING},
      {301, SERVICE_WANTED, SERVICE_NOTHING, SERVICE_STOPPING}, /* first the old one goes */
      {302, SERVICE_ANSWERED, SERVICE_NOTHING, SERVICE_STOPPING},
      {400, SERVICE_EXITED, SERVICE_NOTHING, SERVICE_STOPPED}}},
    {"does not come up",
     {{100, SERVICE_WANTED, SERVICE_SPAWN, SERVICE_STARTING},
      {5099, SERVICE_LATE, SERVICE_NOTHING, SERVICE_STARTING},
      {5100, SERVICE_LATE, SERVICE_KILL, SERVICE_STARTING},
      {5200, SERVICE_LATE, SERVICE_NOTHING, SERVICE_STARTING},
      {6100, SERVICE_LATE, SERVICE_KILL, SERVICE_STARTING}, /* once more: whoever is in state D may need it */
      {6200, SERVICE_EXITED, SERVICE_NOTHING, SERVICE_FAILED},
      {6449, SERVICE_LATE, SERVICE_NOTHING, SERVICE_FAILED},
      {6450, SERVICE_LATE, SERVICE_SPAWN, SERVICE_STARTING}}},
    {"does not end",
     {{100, SERVICE_WANTED, SERVICE_SPAWN, SERVICE_STARTING},
      {200, SERVICE_UNWANTED, SERVICE_TERM, SERVICE_STOPPING},
      {10199, SERVICE_LATE, SERVICE_NOTHING, SERVICE_STOPPING},
      {10200, SERVICE_LATE, SERVICE_KILL, SERVICE_STOPPING},
      {11200, SERVICE_LATE, SERVICE_KILL, SERVICE_STOPPING},
      {11201, SERVICE_EXITED, SERVICE_NOTHING, SERVICE_STOPPED},
      {11202, SERVICE_LATE, SERVICE_NOTHING, SERVICE_STOPPED}}},
    {"silent, then heard again",
     {{100, SERVICE_WANTED, SERVICE_SPAWN, SERVICE_STARTING},
      {200, SERVICE_ANSWERED, SERVICE_NOTHING, SERVICE_READY},
      {300, SERVICE_STUCK, SERVICE_NOTHING, SERVICE_READY}, /* only who is silent can be stuck */
      {400, SERVICE_SILENT, SERVICE_NOTHING, SERVICE_DEGRADED},
      {500, SERVICE_SILENT, SERVICE_NOTHING, SERVICE_DEGRADED},
      {600, SERVICE_ANSWERED, SERVICE_NOTHING, SERVICE_READY}}},
    {"stuck",
     {{100, SERVICE_WANTED, SERVICE_SPAWN, SERVICE_STARTING},
      {200, SERVICE_ANSWERED, SERVICE_NOTHING, SERVICE_READY},
      {400, SERVICE_SILENT, SERVICE_NOTHING, SERVICE_DEGRADED},
      {60400, SERVICE_STUCK, SERVICE_KILL, SERVICE_DEGRADED},
      {60500, SERVICE_EXITED, SERVICE_NOTHING, SERVICE_FAILED},
      {60750, SERVICE_LATE, SERVICE_SPAWN, SERVICE_STARTING}}},
    {"not wanted while it failed",
     {{100, SERVICE_WANTED, SERVICE_SPAWN, SERVICE_STARTING},
      {200, SERVICE_EXITED, SERVICE_NOTHING, SERVICE_FAILED},
      {201, SERVICE_WANTED, SERVICE_NOTHING, SERVICE_FAILED},
      {202, SERVICE_UNWANTED, SERVICE_NOTHING, SERVICE_STOPPED},
      {203, SERVICE_WANTED, SERVICE_SPAWN, SERVICE_STARTING}}},
};

static void test_nights(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof nights / sizeof *nights; i++) {
        Service service = fresh();
        for (const Beat *beat = nights[i].beats; beat->now; beat++) {
            ServiceAction action = service_next(&service, beat->event, beat->now);
            if (action != beat->action || service.state != beat->state)
                fail_msg("%s, at %d: action %d, %s", nights[i].name, (int)beat->now, (int)action,
                         service_state_name(service.state));
        }
    }
}

/* It falls over ten seconds after each start: 250 ms, 500 ms, ... and never more than a minute. */
static void test_back_off(void **state)
{
    (void)state;
    static const Msec waits[] = {250, 500, 1000, 2000, 4000, 8000, 16000, 32000, 60000, 60000, 60000};
    Service service = fresh();
    Msec now = 1000;

    service_next(&service, SERVICE_WANTED, now);
    for (size_t i = 0; i < sizeof waits / sizeof *waits; i++) {
        service_next(&service, SERVICE_ANSWERED, now += 100);
        service_next(&service, SERVICE_EXITED, now += 10000);
        assert_int_equal(service.at - now, waits[i]);
        assert_int_equal(service_next(&service, SERVICE_LATE, now = service.at), SERVICE_SPAWN);
        assert_int_equal(service.restarts, i + 1);
    }
    service_next(&service, SERVICE_ANSWERED, now += 100);
    service_next(&service, SERVICE_LATE, now += SERVICE_CALM_MS - 1);
    assert_int_equal(service.failures, sizeof waits / sizeof *waits);
    service_next(&service, SERVICE_LATE, now += 1);
    assert_int_equal(service.failures, 0);
    service_next(&service, SERVICE_EXITED, ++now);
    assert_int_equal(service.at - now, SERVICE_RETRY_FIRST_MS);
}

/* A month of failures does not overflow what is waited. */
static void test_month(void **state)
{
    (void)state;
    Service service = fresh();
    Msec now = 1;

    service_next(&service, SERVICE_WANTED, now);
    for (int i = 0; i < 50000; i++) {
        service_next(&service, SERVICE_EXITED, ++now);
        assert_in_range(service.at - now, SERVICE_RETRY_FIRST_MS, SERVICE_RETRY_LAST_MS);
        service_next(&service, SERVICE_LATE, now = service.at);
    }
}

/* Whatever comes in whatever order: it moves only where the drawing has an arrow. */
static void test_any_order(void **state)
{
    (void)state;
    static const bool arrows[N_SERVICE_STATES][N_SERVICE_STATES] = {
        [SERVICE_STOPPED] = {[SERVICE_STARTING] = true},
        [SERVICE_STARTING] = {[SERVICE_READY] = true, [SERVICE_FAILED] = true, [SERVICE_STOPPING] = true},
        [SERVICE_READY] = {[SERVICE_DEGRADED] = true, [SERVICE_FAILED] = true, [SERVICE_STOPPING] = true},
        [SERVICE_DEGRADED] = {[SERVICE_READY] = true, [SERVICE_FAILED] = true, [SERVICE_STOPPING] = true},
        [SERVICE_FAILED] = {[SERVICE_STARTING] = true, [SERVICE_STOPPED] = true},
        [SERVICE_STOPPING] = {[SERVICE_STOPPED] = true},
    };
    Service service = fresh();
    Msec now = 1;
    unsigned random = 1;

    for (int i = 0; i < 200000; i++) {
        random = random * 1103515245 + 12345;
        ServiceState before = service.state;
        ServiceAction action = service_next(&service, (random >> 16) % N_SERVICE_EVENTS, now += (random >> 20) % 4000);
        if (before != service.state && !arrows[before][service.state])
            fail_msg("%s to %s", service_state_name(before), service_state_name(service.state));
        if (action == SERVICE_SPAWN)
            assert_int_equal(service.state, SERVICE_STARTING);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nights),
        cmocka_unit_test(test_back_off),
        cmocka_unit_test(test_month),
        cmocka_unit_test(test_any_order),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
