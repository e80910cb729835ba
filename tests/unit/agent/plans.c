#include "plans.h"

#include <stdio.h>
#include <time.h>

#include "expect.h"

enum { DAY = 86400, NIGHT = 1764374400 /* 2025-11-29 00:00:00 UTC */ };

static char folder[64], path[96];
static Journal *journal;
static Report *report;
static Plans *plans;
static Digest chain;
static uint64_t revision;

/* ---- who runs them ---- */

static char begun[256];
static bool away;
static JobHeard *heard;
static void *heard_by;
static uint64_t job; /* the newest */

static Error *begin(Jobs *jobs, const Mail__TaskStart *task, JobHeard *to, void *context, uint64_t *ret_job)
{
    const Mail__BackupRun *run = task->backup_run;

    (void)jobs;
    assert_int_equal(strlen(task->task_id), 26);
    if (away)
        return error_new(ERROR_UNAVAILABLE, "nobody is there");
    if (strcmp(run->destination, "gone") == 0)
        return error_new(ERROR_NOT_FOUND, "destination gone is not stated");
    size_t len = strlen(begun);
    snprintf(begun + len, sizeof begun - len, "%s>%s ", run->plan, run->destination);
    heard = to;
    heard_by = context;
    *ret_job = ++job;
    return NULL;
}

static const char *made; /* the snapshot that a run names; NULL: none */

/* The newest job has come to its end; why NULL: it was good. */
static void ends(const char *verdict, const char *why)
{
    Envelope envelope = MAIL__ENVELOPE__INIT;
    Mail__TaskResult result = MAIL__TASK_RESULT__INIT;
    Mail__Failure failure = MAIL__FAILURE__INIT;

    failure.what = (char *)(uintptr_t)why;
    result.has_state = true;
    result.state = why ? MAIL__TASK_STATE__FAILED : MAIL__TASK_STATE__SUCCEEDED;
    result.verdict = (char *)(uintptr_t)verdict;
    result.why = why ? &failure : NULL;
    Mail__Saved far = MAIL__SAVED__INIT, saved = MAIL__SAVED__INIT;
    far.destination = (char *)(uintptr_t) "elsewhere";
    far.snapshot = (char *)(uintptr_t) "ffff";
    saved.destination = (char *)(uintptr_t) "vault";
    saved.snapshot = (char *)(uintptr_t)made;
    result.saved = (Mail__Saved *[]){&far, &saved};
    result.n_saved = 2;
    envelope.body_case = MAIL__ENVELOPE__BODY_TASK_RESULT;
    envelope.task_result = &result;
    heard(heard_by, job, &envelope);
}

static void assert_begun(const char *wanted)
{
    assert_string_equal(begun, wanted);
    begun[0] = '\0';
}

static void start(void)
{
    report = report_new(journal);
    plans = plans_new(&(PlansParts){.journal = journal, .report = report, .node = "mx1", .start = begin});
}

static void stop(void)
{
    plans_free(&plans);
    report_free(&report);
}

static int setup(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/unit-plans-XXXXXX");
    if (!mkdtemp(folder))
        return -1;
    snprintf(path, sizeof path, "%s/node.db", folder);
    memset(&chain, 0, sizeof chain);
    revision = 0;
    away = false;
    begun[0] = '\0';
    ok(journal_open(path, &journal));
    start();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    stop();
    journal_free(&journal);
    return folder_remove(folder);
}

/* mail-agent is killed, and started again. */
static void life_ends(void)
{
    stop();
    journal_free(&journal);
    ok(journal_open(path, &journal));
    start();
}

/* ---- what is stated ---- */

static void list_set(char ***list, size_t *n, const char *words)
{
    DEFER(xfree) char *copy = xstrdup(words);

    for (char *state = NULL, *word = strtok_r(copy, " ", &state); word; word = strtok_r(NULL, " ", &state)) {
        *list = xrealloc(*list, (*n + 1) * sizeof **list);
        (*list)[(*n)++] = xstrdup(word);
    }
}

static Object *plan_of(const char *name, const char *schedule, const char *destinations, const char *instances)
{
    Object *object = object_new(MAIL__OBJECT__BODY_PLAN, NULL, name);

    object->plan->schedule = xstrdup(schedule);
    object->plan->time_zone = xstrdup("UTC");
    object->plan->has_jitter = true;
    object->plan->jitter = 0;
    list_set(&object->plan->destinations, &object->plan->n_destinations, destinations);
    list_set(&object->plan->instances, &object->plan->n_instances, instances);
    return object;
}

static Object *instance_on(const char *node)
{
    Object *object = object_new(MAIL__OBJECT__BODY_INSTANCE, NULL, "main");

    object->instance->node = xstrdup(node);
    object->instance->hostname = xstrdup("mx.example.org");
    return object;
}

/* All that the node is to know from now on; frees the objects. */
static void arrives(Object **objects, size_t n)
{
    Mail__Delta delta = MAIL__DELTA__INIT;
    ProtobufCBinaryData bytes[8];
    Buf packed[8] = {{0}};
    Digest sum = {{0}};

    for (size_t i = 0; i < n; i++) {
        object_pack(objects[i], &packed[i]);
        bytes[i] = (ProtobufCBinaryData){packed[i].size, packed[i].data};
        Digest one = digest_of(packed[i].data, packed[i].size);
        digest_add(&sum, &one);
        object_free(&objects[i]);
    }
    chain.octets[0]++;
    delta.has_to_revision = delta.has_to_chain = delta.has_to_digest = delta.has_forced = true;
    delta.forced = true;
    delta.to_revision = ++revision;
    delta.to_chain = (ProtobufCBinaryData){DIGEST_SIZE, chain.octets};
    delta.to_digest = (ProtobufCBinaryData){DIGEST_SIZE, sum.octets};
    delta.n_objects = n;
    delta.objects = bytes;
    ok(journal_delta_begin(journal, &delta, 0));
    ok(journal_delta_part(journal, &delta));
    ok(journal_delta_end(journal));
    for (size_t i = 0; i < n; i++)
        buf_done(&packed[i]);
}

static void states(Object *plan)
{
    arrives((Object *[]){instance_on("mx1"), plan}, 2);
}

/* ---- time ---- */

static Msec now = 1000;

static void at(uint64_t wall_s)
{
    now += 61000;
    plans_run(plans, now, wall_s);
}

static char fact[700];
static Mail__FactState fact_state;

static void fact_look(void *context, const char *name, Mail__FactState state, const char *text)
{
    (void)context;
    if (strcmp(name, "backup") != 0)
        return;
    snprintf(fact, sizeof fact, "%s", text);
    fact_state = state;
}

/* "": it is good. */
static void assert_fact(Mail__FactState state, const char *wanted)
{
    fact[0] = '\0';
    fact_state = MAIL__FACT_STATE__GOOD;
    report_each_bad(report, fact_look, NULL);
    assert_string_equal(fact, wanted);
    assert_int_equal(fact_state, state);
}

/* ---- a quiet week ---- */

static void runs_at_its_time(void **state)
{
    (void)state;
    states(plan_of("nightly", "daily 02:00", "vault far", ""));
    at(NIGHT);
    at(NIGHT + 7199);
    assert_begun("");
    at(NIGHT + 7200);
    assert_begun("nightly>vault "); /* one at a time */
    at(NIGHT + 7300);
    assert_begun("");
    ends("snapshot 1", NULL);
    at(NIGHT + 7401);
    assert_begun("nightly>far ");
    ends(NULL, "it does not answer");
    at(NIGHT + 7501);
    assert_begun("");
    assert_fact(MAIL__FACT_STATE__BAD, "nightly to far: it does not answer");
    at(NIGHT + DAY + 7200);
    assert_begun("nightly>vault ");
    ends("snapshot 2", NULL);
    at(NIGHT + DAY + 7301);
    assert_begun("nightly>far ");
    ends("snapshot 3", NULL);
    at(NIGHT + DAY + 7301);
    assert_fact(MAIL__FACT_STATE__GOOD, "");
}

static void only_what_covers_us(void **state)
{
    (void)state;
    states(plan_of("nightly", "hourly", "vault", "other"));
    at(NIGHT);
    at(NIGHT + DAY);
    assert_begun("");
    states(plan_of("nightly", "hourly", "vault", "other main"));
    at(NIGHT + DAY);
    at(NIGHT + DAY + 3600);
    assert_begun("nightly>vault ");
    arrives((Object *[]){instance_on("mx2"), plan_of("nightly", "hourly", "vault", "")}, 2);
    at(NIGHT + DAY + 7200);
    assert_begun("");
}

static void missed_runs_are_one(void **state)
{
    (void)state;
    states(plan_of("nightly", "daily 02:00", "vault", ""));
    at(NIGHT);
    life_ends();
    at(NIGHT + 9 * DAY); /* nine nights later */
    assert_begun("nightly>vault ");
    ends("fine", NULL);
    at(NIGHT + 9 * DAY + 61);
    at(NIGHT + 9 * DAY + 7199);
    assert_begun("");
    at(NIGHT + 9 * DAY + 7200);
    assert_begun("nightly>vault ");
}

/* ---- a bad one ---- */

static void a_run_that_nobody_ended(void **state)
{
    (void)state;
    states(plan_of("nightly", "daily 02:00", "vault", ""));
    at(NIGHT);
    at(NIGHT + 7200);
    assert_begun("nightly>vault ");
    life_ends();
    at(NIGHT + 7300);
    assert_begun("nightly>vault "); /* again, once */
    life_ends();
    at(NIGHT + 7400);
    assert_begun("");
    assert_fact(MAIL__FACT_STATE__BAD, "nightly to vault: mail-agent ended while it ran");
    at(NIGHT + DAY + 7200);
    assert_begun("nightly>vault ");
}

static void the_clock_is_set(void **state)
{
    (void)state;
    states(plan_of("nightly", "hourly", "vault", ""));
    at(NIGHT);
    at(NIGHT + 365 * DAY);
    assert_begun("nightly>vault ");
    ends("fine", NULL);
    at(NIGHT + 365 * DAY + 70);
    assert_begun("");
    at(NIGHT + 100); /* and back */
    assert_begun("");
    at(NIGHT + 3600);
    assert_begun("nightly>vault ");
    ends("fine", NULL);
    at(NIGHT + 3661);
    at(NIGHT + 3660 + 7201);
    assert_begun("nightly>vault ");
    assert_fact(MAIL__FACT_STATE__BAD, "nightly to vault: no good run for 121m");
}

static void an_admin_runs_one(void **state)
{
    Mail__BackupRun run = MAIL__BACKUP_RUN__INIT, other = MAIL__BACKUP_RUN__INIT;
    Mail__TaskResult good = MAIL__TASK_RESULT__INIT, cancelled = MAIL__TASK_RESULT__INIT;

    (void)state;
    run.plan = (char *)(uintptr_t) "nightly";
    other.plan = (char *)(uintptr_t) "other";
    good.state = MAIL__TASK_STATE__SUCCEEDED;
    cancelled.state = MAIL__TASK_STATE__CANCELLED;
    states(plan_of("nightly", "daily 02:00", "vault", ""));
    at(NIGHT);
    plans_begun(plans, &run, NIGHT + 7100);
    at(NIGHT + 7200);
    assert_begun(""); /* not beside it */
    plans_ended(plans, &run, &good, NIGHT + 7300);
    at(NIGHT + 7301);
    assert_begun(""); /* what came due meanwhile has run */
    plans_begun(plans, &other, NIGHT + 7400);
    plans_ended(plans, &other, &cancelled, NIGHT + 7400);
    at(NIGHT + 7401);
    assert_fact(MAIL__FACT_STATE__GOOD, "");
    plans_ended(plans, &run, &cancelled, NIGHT + 7500);
    at(NIGHT + 7501);
    assert_fact(MAIL__FACT_STATE__DEGRADED, "nightly to vault: it was cancelled");
}

static Error *snapshot_into(void *context, const BackupRow *row)
{
    snprintf(context, 80, "%s", row->snapshot);
    return NULL;
}

static void assert_snapshot(const char *wanted)
{
    char known[80] = "(no row)";

    ok(journal_backups(journal, snapshot_into, known));
    assert_string_equal(known, wanted);
}

/* A bad run takes nothing away from the last good one, though it may have saved something. */
static void snapshot_of_the_last_good_run(void **state)
{
    (void)state;
    states(plan_of("nightly", "daily 02:00", "vault", ""));
    at(NIGHT);
    assert_snapshot("");
    at(NIGHT + 7200);
    assert_begun("nightly>vault ");
    made = "0123";
    ends("fine", NULL);
    assert_snapshot("0123");
    stop();
    start(); /* it is remembered */
    at(NIGHT + 86400 + 7200);
    assert_begun("nightly>vault ");
    made = "4567";
    ends(NULL, "full");
    assert_snapshot("0123");
    Mail__BackupRun run = MAIL__BACKUP_RUN__INIT;
    Mail__TaskResult good = MAIL__TASK_RESULT__INIT;
    run.plan = (char *)(uintptr_t) "nightly";
    good.state = MAIL__TASK_STATE__SUCCEEDED;
    plans_ended(plans, &run, &good,
                NIGHT + 86400 + 7300); /* of an older mail-engine: not known, and none that is not it */
    assert_snapshot("");
    made = NULL;
}

static void nobody_there_to_run_it(void **state)
{
    (void)state;
    away = true;
    states(plan_of("nightly", "daily 02:00", "vault", ""));
    at(NIGHT);
    at(NIGHT + 7200);
    away = false;
    plans_run(plans, now + 1000, NIGHT + 7201); /* not at every turn */
    assert_begun("");
    at(NIGHT + 7300);
    assert_begun("nightly>vault ");
}

static void what_cannot_begin_has_failed(void **state)
{
    (void)state;
    states(plan_of("nightly", "daily 02:00", "gone vault", ""));
    at(NIGHT);
    at(NIGHT + 7200);
    assert_begun("");
    assert_fact(MAIL__FACT_STATE__BAD, "nightly to gone: destination gone is not stated");
    at(NIGHT + 7300);
    assert_begun("nightly>vault ");
}

static void an_alarm_for_what_never_ran(void **state)
{
    (void)state;
    away = true;
    states(plan_of("nightly", "daily 02:00", "vault", ""));
    at(NIGHT);
    assert_fact(MAIL__FACT_STATE__GOOD, ""); /* not known yet, which is not bad */
    at(NIGHT + 2 * DAY + 1);
    assert_fact(MAIL__FACT_STATE__BAD, "nightly to vault: no good run for 48h");
    states(plan_of("nightly", "daily 02:00", "far", "")); /* the other is forgotten with what was known of it */
    at(NIGHT + 2 * DAY + 2);
    assert_fact(MAIL__FACT_STATE__GOOD, "");
    arrives((Object *[]){instance_on("mx1")}, 1);
    at(NIGHT + 2 * DAY + 3);
    assert_fact(MAIL__FACT_STATE__GOOD, "");
}

static void a_zone_that_is_not_known(void **state)
{
    (void)state;
    Object *plan = plan_of("nightly", "hourly", "vault", "");

    free(plan->plan->time_zone);
    plan->plan->time_zone = xstrdup("Europe/Berln");
    states(plan);
    at(NIGHT);
    at(NIGHT + DAY);
    assert_begun("");
    assert_fact(MAIL__FACT_STATE__BAD, "nightly to vault: time zone Europe/Berln is not known on this machine");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(runs_at_its_time, setup, teardown),
        cmocka_unit_test_setup_teardown(only_what_covers_us, setup, teardown),
        cmocka_unit_test_setup_teardown(missed_runs_are_one, setup, teardown),
        cmocka_unit_test_setup_teardown(a_run_that_nobody_ended, setup, teardown),
        cmocka_unit_test_setup_teardown(the_clock_is_set, setup, teardown),
        cmocka_unit_test_setup_teardown(an_admin_runs_one, setup, teardown),
        cmocka_unit_test_setup_teardown(snapshot_of_the_last_good_run, setup, teardown),
        cmocka_unit_test_setup_teardown(nobody_there_to_run_it, setup, teardown),
        cmocka_unit_test_setup_teardown(what_cannot_begin_has_failed, setup, teardown),
        cmocka_unit_test_setup_teardown(an_alarm_for_what_never_ran, setup, teardown),
        cmocka_unit_test_setup_teardown(a_zone_that_is_not_known, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
