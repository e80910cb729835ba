#include "plans.h"

#include "due.h"

#include "base/alloc.h"
#include "base/log.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

enum {
    PAIRS_MAX = 200,
    RETRY_MS = 5000,
    LOOK_MS = 60000, /* the wall clock may have been set meanwhile, or a time zone installed */
    SAY_MS = 1000,   /* ages are no news */
    TEXT_MAX = 600,
};

/* A plan and one of its destinations. */
typedef struct Pair {
    Object *plan; /* owned; what 'due' stands on */
    Due due;
    BackupRow row; /* its texts are owned */
    bool stated;   /* the plan is one */
    char *trouble; /* why it cannot be reckoned; NULL: it can */
    bool reckoned; /* next_s stands */
    uint64_t next_s;
    uint64_t job; /* of ours that runs; 0: none */
    bool unsaved, told_late;
} Pair;

struct Plans {
    PlansParts parts;
    Pair *pairs;
    size_t n;
    bool changed;      /* since it was said how they stand */
    uint64_t revision; /* of node.db, for which the pairs were read */
    unsigned life;
    bool read, swept;
    bool fact; /* was said once */
    Msec now, retry_at, look_at, say_at;
    uint64_t wall_s;
};

Plans *plans_new(const PlansParts *parts)
{
    Plans *plans = xcalloc(1, sizeof *plans);

    plans->parts = *parts;
    return plans;
}

/* ---- pairs ---- */

static void row_own(BackupRow *row)
{
    row->plan = xstrdup(row->plan);
    row->destination = xstrdup(row->destination);
    row->text = xstrdup(row->text);
    row->snapshot = xstrdup(row->snapshot);
}

static void row_done(BackupRow *row)
{
    free((char *)row->plan);
    free((char *)row->destination);
    free((char *)row->text);
    free((char *)row->snapshot);
}

static void pair_done(Pair *pair)
{
    object_free(&pair->plan);
    row_done(&pair->row);
    free(pair->trouble);
}

static void pairs_done(Pair *pairs, size_t n)
{
    for (size_t i = 0; i < n; i++)
        pair_done(&pairs[i]);
    free(pairs);
}

void plans_free(Plans **plans)
{
    if (!*plans)
        return;
    pairs_done((*plans)->pairs, (*plans)->n);
    free(*plans);
    *plans = NULL;
}

static void pair_save(Plans *plans, Pair *pair)
{
    bool waits = journal_receiving(plans->parts.journal); /* its transaction is not ours */
    Error *err = waits ? NULL : journal_backup_put(plans->parts.journal, &pair->row);

    plans->changed = true;
    pair->reckoned = false;
    pair->unsaved = waits || err;
    log_stop(LOG_LEVEL_ERROR, "backup not written to node.db, trying again", &err);
}

/* ---- what is stated ---- */

/* The pairs that are wanted now, and those that were known. */
typedef struct Reading {
    Plans *plans;
    const char *instance;
    Pair *pairs, *known;
    size_t n, n_known;
} Reading;

static bool covers(const Mail__Plan *plan, const char *instance)
{
    for (size_t i = 0; i < plan->n_instances; i++)
        if (strcmp(plan->instances[i], instance) == 0)
            return true;
    return plan->n_instances == 0;
}

static void pair_add(Reading *reading, const Object *object, const char *destination)
{
    if (reading->n == PAIRS_MAX)
        return;
    reading->pairs = xrealloc(reading->pairs, (reading->n + 1) * sizeof *reading->pairs);
    Pair *pair = &reading->pairs[reading->n++];
    *pair = (Pair){.plan = object_clone(object),
                   .row = due_new(object->name, destination, reading->plans->wall_s),
                   .unsaved = true};
    row_own(&pair->row);
    Error *err = due_of_plan(reading->plans->parts.node, object->name, pair->plan->plan, &pair->due);
    pair->stated = !err;
    pair->trouble = err ? xstrdup(err->what) : NULL;
    error_free(&err);
}

static Error *plan_look(void *context, const Object *object)
{
    Reading *reading = context;

    for (size_t i = 0; covers(object->plan, reading->instance) && i < object->plan->n_destinations; i++)
        pair_add(reading, object, object->plan->destinations[i]);
    return NULL;
}

static Error *known_look(void *context, const BackupRow *row)
{
    Reading *reading = context;

    reading->known = xrealloc(reading->known, (reading->n_known + 1) * sizeof *reading->known);
    Pair *pair = &reading->known[reading->n_known++];
    *pair = (Pair){.row = *row};
    row_own(&pair->row);
    return NULL;
}

static Pair *pair_of(Pair *pairs, size_t n, const char *plan, const char *destination)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(pairs[i].row.plan, plan) == 0 && strcmp(pairs[i].row.destination, destination) == 0)
            return &pairs[i];
    return NULL;
}

/* What is known of a pair goes on; what is not stated any more is forgotten. */
static Error *known_join(Reading *reading)
{
    Error *err = NULL;

    for (size_t i = 0; !err && i < reading->n_known; i++) {
        Pair *known = &reading->known[i];
        Pair *pair = pair_of(reading->pairs, reading->n, known->row.plan, known->row.destination);
        if (!pair) {
            err = journal_backup_remove(reading->plans->parts.journal, known->row.plan, known->row.destination);
            continue;
        }
        BackupRow fresh = pair->row;
        pair->row = known->row;
        pair->unsaved = false;
        known->row = fresh;
        const Pair *before = pair_of(reading->plans->pairs, reading->plans->n, pair->row.plan, pair->row.destination);
        pair->job = before ? before->job : 0;
        pair->told_late = before && before->told_late;
    }
    return err;
}

static Error *pairs_read(Plans *plans)
{
    DEFER(xfree) char *instance = NULL;
    Reading reading = {.plans = plans};
    Journal *journal = plans->parts.journal;

    Error *err = journal_instance(journal, plans->parts.node, &instance);
    reading.instance = instance;
    if (!err && instance) {
        TablesView view = journal_view(journal, instance);
        err = view.objects.each(view.objects.self, MAIL__OBJECT__BODY_PLAN, NULL, NULL, plan_look, &reading);
    }
    if (!err)
        err = journal_backups(journal, known_look, &reading);
    if (!err)
        err = known_join(&reading);
    pairs_done(reading.known, reading.n_known);
    if (err) {
        pairs_done(reading.pairs, reading.n);
        return err;
    }
    pairs_done(plans->pairs, plans->n);
    plans->pairs = reading.pairs;
    plans->n = reading.n;
    plans->changed = true;
    return NULL;
}

static void state_mind(Plans *plans)
{
    const Journal *journal = plans->parts.journal;
    uint64_t revision = journal_wanted(journal)->revision;

    if (plans->read && plans->revision == revision && plans->life == journal_life(journal))
        return;
    Error *err = pairs_read(plans);
    plans->read = !err;
    plans->revision = revision;
    plans->life = journal_life(journal);
    log_stop(LOG_LEVEL_ERROR, "plans not read, trying again", &err);
}

/* ---- runs ---- */

static void text_set(const char **text, const char *said)
{
    char *copy = xasprintf("%.*s", TEXT_MAX, said ? said : "");

    free((char *)*text);
    *text = copy;
}

/* Of what a run made the one at this destination; "": it named none. */
static const char *saved_at(const Mail__TaskResult *result, const char *destination)
{
    for (size_t i = 0; i < result->n_saved; i++) {
        const Mail__Saved *saved = result->saved[i];
        if (saved->destination && saved->snapshot && strcmp(saved->destination, destination) == 0)
            return saved->snapshot;
    }
    return "";
}

static void pair_ended(Plans *plans, Pair *pair, bool good, const char *text, uint64_t wall_s)
{
    text_set(&pair->row.text, text);
    due_ended(&pair->row, wall_s, good, pair->row.text);
    pair->job = 0;
    pair_save(plans, pair);
    if (good)
        log_info("backup good", kv("plan", pair->row.plan), kv("destination", pair->row.destination),
                 kv("verdict", pair->row.text));
    else
        journal_happened(plans->parts.journal, MAIL__FACT_STATE__DEGRADED, "backup failed", "%s to %s: %s",
                         pair->row.plan, pair->row.destination, pair->row.text);
}

/* SPEC F-160: what is not wholly good is not good. */
static void pair_result(Plans *plans, Pair *pair, const Mail__TaskResult *result, uint64_t wall_s)
{
    const char *verdict = result->verdict && *result->verdict ? result->verdict : NULL;
    const char *why = result->why && result->why->what ? result->why->what : NULL;

    if (result->state == MAIL__TASK_STATE__SUCCEEDED) {
        text_set(&pair->row.snapshot, saved_at(result, pair->row.destination));
        pair_ended(plans, pair, true, verdict ? verdict : "good", wall_s);
    } else if (result->state == MAIL__TASK_STATE__CANCELLED) {
        pair_ended(plans, pair, false, "it was cancelled", wall_s);
    } else {
        pair_ended(plans, pair, false, why ? why : verdict ? verdict : "it failed and gave no reason", wall_s);
    }
}

/* Nobody knows how a run ended that an earlier life of the agent had begun. */
static void sweep(Plans *plans)
{
    static const char words[] = "mail-agent ended while it ran";

    for (size_t i = 0; i < plans->n; i++) {
        Pair *pair = &plans->pairs[i];
        if (!pair->row.begun_s)
            continue;
        text_set(&pair->row.text, words);
        due_broken(&pair->row, plans->wall_s, pair->row.text);
        pair_save(plans, pair);
    }
    plans->swept = true;
}

static bool is_meant(const Pair *pair, const Mail__BackupRun *run)
{
    return run->plan && strcmp(pair->row.plan, run->plan) == 0 &&
           (!run->destination || !*run->destination || strcmp(pair->row.destination, run->destination) == 0);
}

void plans_begun(Plans *plans, const Mail__BackupRun *run, uint64_t wall_s)
{
    for (size_t i = 0; i < plans->n; i++) {
        Pair *pair = &plans->pairs[i];
        if (!is_meant(pair, run))
            continue;
        due_begun(&pair->row, wall_s);
        pair_save(plans, pair);
    }
}

void plans_ended(Plans *plans, const Mail__BackupRun *run, const Mail__TaskResult *result, uint64_t wall_s)
{
    for (size_t i = 0; i < plans->n; i++)
        if (is_meant(&plans->pairs[i], run))
            pair_result(plans, &plans->pairs[i], result, wall_s);
}

/* Of a run of ours.  What is not stated any more is nobody's. */
static void run_heard(void *context, uint64_t job, const Envelope *said)
{
    Plans *plans = context;
    uint64_t wall_s = plans->wall_s;

    for (size_t i = 0; i < plans->n; i++) {
        Pair *pair = &plans->pairs[i];
        if (pair->job != job)
            continue;
        if (said->body_case == MAIL__ENVELOPE__BODY_TASK_RESULT)
            pair_result(plans, pair, said->task_result, wall_s);
        else if (said->body_case == MAIL__ENVELOPE__BODY_FAILURE)
            pair_ended(plans, pair, false, said->failure->what ? said->failure->what : "mail-engine ended it", wall_s);
    }
}

static void pair_reckon(const Plans *plans, Pair *pair)
{
    if (!pair->stated || (pair->reckoned && plans->now < plans->look_at))
        return;
    Error *err = due_at(&pair->due, &pair->row, &pair->next_s);
    free(pair->trouble);
    pair->trouble = err ? xstrdup(err->what) : NULL;
    pair->next_s = err ? 0 : pair->next_s;
    pair->reckoned = true;
    error_free(&err);
}

static void pairs_reckon(Plans *plans)
{
    for (size_t i = 0; i < plans->n; i++) {
        Pair *pair = &plans->pairs[i];
        bool moved = due_clock_check(&pair->row, plans->wall_s);
        if (moved || (pair->unsaved && plans->now >= plans->retry_at))
            pair_save(plans, pair);
        pair_reckon(plans, pair);
        if (pair->unsaved)
            plans->retry_at = plans->now + RETRY_MS;
    }
    if (plans->now >= plans->look_at)
        plans->look_at = plans->now + LOOK_MS;
}

/* The one that has waited longest; NULL: none is due, or one is running. */
static Pair *first_due(const Plans *plans)
{
    Pair *first = NULL;

    for (size_t i = 0; i < plans->n; i++) {
        Pair *pair = &plans->pairs[i];
        if (pair->row.begun_s)
            return NULL;
        if (pair->next_s && pair->next_s <= plans->wall_s && (!first || pair->next_s < first->next_s))
            first = pair;
    }
    return first;
}

/* As a task's: 26 letters, which nobody has had before. */
static void id_make(char id[27])
{
    static const char letters[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
    uint8_t chance[26] = {0};

    if (getrandom(chance, sizeof chance, 0) < 0)
        log_warning("no chance to be had, going on without");
    for (size_t i = 0; i < sizeof chance; i++)
        id[i] = letters[chance[i] & 31];
    id[sizeof chance] = '\0';
}

static Error *pair_start(Plans *plans, Pair *pair)
{
    char id[27];
    Mail__TaskStart start = MAIL__TASK_START__INIT;
    Mail__BackupRun run = MAIL__BACKUP_RUN__INIT;

    id_make(id);
    run.plan = (char *)(uintptr_t)pair->row.plan;
    run.destination = (char *)(uintptr_t)pair->row.destination;
    start.task_id = id;
    start.verb_case = MAIL__TASK_START__VERB_BACKUP_RUN;
    start.backup_run = &run;
    return plans->parts.start(plans->parts.jobs, &start, run_heard, plans, &pair->job);
}

/* Written when it has begun: a life that ended between the two begins it again. */
static void begin_due(Plans *plans)
{
    Pair *pair = plans->now >= plans->retry_at ? first_due(plans) : NULL;

    if (!pair)
        return;
    Error *err = pair_start(plans, pair);
    if (!err) {
        log_info("backup begun", kv("plan", pair->row.plan), kv("destination", pair->row.destination),
                 kv("late_s", plans->wall_s - pair->next_s));
        due_begun(&pair->row, plans->wall_s);
        pair_save(plans, pair);
        return;
    }
    plans->retry_at = plans->now + RETRY_MS;
    if (err->code != ERROR_UNAVAILABLE)
        pair_ended(plans, pair, false, err->what, plans->wall_s);
    error_free(&err);
}

/* ---- how they stand ---- */

/* "26h", "3d": what an age comes to. */
static char *age_text(uint64_t seconds)
{
    static const struct {
        const char *unit;
        uint64_t size, from;
    } units[] = {{"d", 86400, 3 * 86400}, {"h", 3600, 3 * 3600}, {"m", 60, 3 * 60}, {"s", 1, 0}};

    for (size_t i = 0;; i++)
        if (seconds >= units[i].from)
            return xasprintf("%llu%s", (unsigned long long)(seconds / units[i].size), units[i].unit);
}

static char *standing_text(const Plans *plans, const Pair *pair)
{
    uint64_t last_s = pair->row.good_s ? pair->row.good_s : pair->row.since_s;
    DEFER(xfree) char *age = age_text(plans->wall_s > last_s ? plans->wall_s - last_s : 0);
    const char *failed = pair->row.ended_s && !pair->row.good ? pair->row.text : "";

    if (pair->trouble)
        return xstrdup(pair->trouble);
    if (due_overdue(&pair->due, &pair->row, plans->wall_s))
        return xasprintf("no good run for %s%s%s", age, *failed ? "; the last one failed: " : "", failed);
    if (!pair->row.ended_s)
        return xstrdup("has not run yet");
    return xstrdup(pair->row.text);
}

static void late_tell(Plans *plans, Pair *pair, const char *text)
{
    bool late = due_overdue(&pair->due, &pair->row, plans->wall_s);

    if (late && !pair->told_late)
        journal_happened(plans->parts.journal, MAIL__FACT_STATE__BAD, "backup overdue", "%s to %s: %s", pair->row.plan,
                         pair->row.destination, text);
    pair->told_late = late;
}

static Mail__FactState pair_state(const Plans *plans, const Pair *pair)
{
    return pair->trouble ? MAIL__FACT_STATE__BAD : due_state(&pair->due, &pair->row, plans->wall_s);
}

static void fact_say(Plans *plans, const ReportBackup *said)
{
    static const unsigned char weight[] = {
        [MAIL__FACT_STATE__GOOD] = 0,
        [MAIL__FACT_STATE__UNKNOWN] = 1,
        [MAIL__FACT_STATE__DEGRADED] = 2,
        [MAIL__FACT_STATE__BAD] = 3,
    };
    size_t worst = 0, n_bad = 0;

    if (!plans->n && plans->fact)
        report_fact(plans->parts.report, "backup", MAIL__FACT_STATE__GOOD, plans->now, "no plan covers this node");
    if (!plans->n)
        return;
    plans->fact = true;
    for (size_t i = 0; i < plans->n; i++) {
        n_bad += weight[said[i].state] > 1;
        if (weight[said[i].state] > weight[said[worst].state])
            worst = i;
    }
    DEFER(xfree) char *more = n_bad > 1 ? xasprintf("; and %zu more", n_bad - 1) : xstrdup("");
    report_fact(plans->parts.report, "backup", said[worst].state, plans->now, "%s to %s: %s%s", said[worst].plan,
                said[worst].destination, said[worst].text, more);
}

static void standings_say(Plans *plans)
{
    if (!plans->changed && plans->now < plans->say_at)
        return;
    plans->changed = false;
    plans->say_at = plans->now + SAY_MS;
    ReportBackup *said = xcalloc(plans->n + 1, sizeof *said);
    for (size_t i = 0; i < plans->n; i++) {
        Pair *pair = &plans->pairs[i];
        said[i] = (ReportBackup){
            .plan = (char *)pair->row.plan,
            .destination = (char *)pair->row.destination,
            .state = pair_state(plans, pair),
            .text = standing_text(plans, pair),
            .snapshot = (char *)pair->row.snapshot,
            .ended_s = pair->row.ended_s,
            .good_s = pair->row.good_s,
            .next_s = pair->next_s,
            .running = pair->row.begun_s != 0,
        };
        late_tell(plans, pair, said[i].text);
    }
    report_backups(plans->parts.report, said, plans->n);
    fact_say(plans, said);
    for (size_t i = 0; i < plans->n; i++)
        free(said[i].text);
    free(said);
}

/* ---- the loop ---- */

void plans_run(Plans *plans, Msec now, uint64_t wall_s)
{
    plans->now = now;
    plans->wall_s = wall_s;
    if (journal_receiving(plans->parts.journal)) /* its transaction is not ours */
        return;
    state_mind(plans);
    if (!plans->read)
        return;
    if (!plans->swept)
        sweep(plans);
    pairs_reckon(plans);
    begin_due(plans);
    standings_say(plans);
}

void plans_wait(const Plans *plans, Waiter *wake)
{
    Msec in_ms = LOOK_MS;

    for (size_t i = 0; i < plans->n; i++) {
        uint64_t next_s = plans->pairs[i].next_s;
        if (next_s > plans->wall_s && (next_s - plans->wall_s) * 1000 < in_ms)
            in_ms = (next_s - plans->wall_s) * 1000;
    }
    if (plans->n)
        waiter_at(wake, plans->now + in_ms);
    if (plans->n && plans->retry_at > plans->now)
        waiter_at(wake, plans->retry_at);
}
