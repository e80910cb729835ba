#include "engine/change_inside.h"

#include "base/alloc.h"
#include "engine/drift.h"
#include "engine/recover.h"

#include <inttypes.h>
#include <string.h>

enum {
    LOOK_MS = 60000,            /* at certificate and overrides */
    PREPARED_STALE_MS = 120000, /* whoever asked for it is gone */
};

/* ---- answers ----------------------------------------------------------------------- */

/* What was refused is refused again; what the machine had no room or time for is tried at the next look. */
static bool may_pass(const Error *err)
{
    return err && (err->code == ERROR_SYSTEM || err->code == ERROR_UNAVAILABLE || err->code == ERROR_CONFLICT);
}

static void own_ended(Change *change, Error *err)
{
    change->own_again = may_pass(err);
    if (err && (!change->own_failed || strcmp(change->own_failed, err->what) != 0))
        happened_add(change->happened, MAIL__FACT_STATE__BAD, "configuration not renewed", "%s", err->what);
    xfree(&change->own_failed);
    change->own_failed = err ? xstrdup(err->what) : NULL;
    error_free(&err);
}

/* Takes err; NULL is done. */
void change_ended(Change *change, Error *err)
{
    if (change->own) {
        own_ended(change, err);
        return;
    }
    error_free(&change->why);
    change->answer = err ? CHANGE_FAILED : CHANGE_DONE;
    change->why = err;
}

ChangeAnswer change_answer(Change *change, Error **ret_why)
{
    ChangeAnswer given = change->answer;

    if (given == CHANGE_FAILED) {
        *ret_why = change->why;
        change->why = NULL;
    }
    change->answer = CHANGE_PENDING;
    return given;
}

void change_phase(Change *change, Phase phase, Msec now)
{
    change->phase = phase;
    change->since = now;
}

/* ---- what the agent asks ------------------------------------------------------------ */

Error *change_prepare(Change *change, const Mail__EnginePrepare *prepare, Msec now)
{
    DEFER(buf_done) Buf packed = {0};

    if (change->phase != IDLE && change->phase != PREPARED)
        return error_new(ERROR_CONFLICT, "another change of the configuration is under way");
    size_t size = mail__engine_prepare__get_packed_size(prepare);
    mail__engine_prepare__pack(prepare, buf_reserve(&packed, size + 1));
    packed.size = size;
    error_free(&change->why);
    change->answer = CHANGE_PENDING;
    return change_prepare_begin(change, &packed, false, now);
}

bool change_busy(const Change *change)
{
    return change->phase != IDLE && (change->phase != PREPARED || change->own);
}

void change_abort(Change *change)
{
    bool checking = change->phase == CHECKING || change->phase == CHECKING_PLAIN;

    if (change->own || (!checking && change->phase != PREPARED))
        return;
    change_prepared_drop(change);
    if (checking)
        change_ended(change, error_new(ERROR_CONFLICT, "the prepared change was given up"));
}

static uint64_t prepared_revision(const Change *change)
{
    return change->next ? change->next->revision : change->candidate->generation->revision;
}

Error *change_switch(Change *change, uint64_t revision, Msec now)
{
    if (change->phase != IDLE && change->phase != PREPARED)
        return error_new(ERROR_CONFLICT, "another change of the configuration is under way");
    if (change->phase == IDLE || change->own || !revision || prepared_revision(change) != revision)
        return error_new(ERROR_CONFLICT, "revision %" PRIu64 " is not prepared", revision);
    return change_switch_begin(change, now);
}

/* ---- changes of our own ------------------------------------------------------------- */

static bool own_may_begin(const Change *change, Msec now)
{
    return change->phase == IDLE || (change->phase == PREPARED && now - change->since > PREPARED_STALE_MS);
}

static void own_begin(Change *change, Msec now)
{
    DEFER(buf_done) Buf prepare = {0};

    change->own_due = false;
    buf_append(&prepare, change->now->rendered.prepare.data, change->now->rendered.prepare.size);
    Error *err = change_prepare_begin(change, &prepare, true, now);
    if (err)
        own_ended(change, err);
}

/* Prepared by ourselves: switched at once, unless it is what we have. */
static void own_continue(Change *change, Msec now)
{
    if (!change->next && !change->now->mended) {
        change_prepared_drop(change);
        return;
    }
    Error *err = change_switch_begin(change, now);
    if (err)
        own_ended(change, err);
}

static void run_own(Change *change, Msec now)
{
    if (change->phase == PREPARED && change->own) {
        own_continue(change, now);
        return;
    }
    if (!change->now || !own_may_begin(change, now))
        return;
    if (now >= change->look_at) {
        look_again(change->look, change->now);
        change->look_at = now + LOOK_MS;
        change->own_due = change->own_due || change->own_again || look_certificate_due(change->look);
    }
    if (change->own_due)
        own_begin(change, now);
}

void change_run(Change *change, Msec now)
{
    switch (change->phase) {
    case CHECKING:
    case CHECKING_PLAIN:
        change_check_run(change, now);
        break;
    case PROVING:
        change_proof_run(change, now);
        break;
    case RETURNING:
        change_return_run(change, now);
        break;
    case CONFIRMING:
        change_confirm_run(change, now);
        break;
    case IDLE:
    case PREPARED:
        break;
    }
    run_own(change, now);
}

void change_wait(const Change *change, Waiter *wake)
{
    const char *why = NULL;

    if (change->checking)
        checking_wait(change->checking, wake);
    if (change->phase == PROVING || change->phase == RETURNING || change->phase == CONFIRMING) {
        waiter_at(wake, change->until);
        if (change->phase != RETURNING || change->back) {
            if (supervise_standing(change->supervise, &why) != STANDING_MOVING)
                waiter_now(wake);
        }
    }
    if (change->phase == PREPARED && change->own)
        waiter_now(wake);
    if (change->now && change->phase == IDLE)
        waiter_at(wake, change->own_due ? 0 : change->look_at);
}

/* ---- start, end, and what others ask -------------------------------------------------- */

Error *change_new(const char *root, Supervise *supervise, Happened *happened, Change **ret_change)
{
    DEFER(change_free) Change *change = xcalloc(1, sizeof *change);
    Path gen = path_in(root, "var/lib/mailnode/engine/gen");
    bool lost = false;

    change->root = root;
    change->supervise = supervise;
    change->happened = happened;
    change->look = look_new(root, happened);
    Error *err = folder_make(gen.text, 0711, 0, 0);
    if (!err)
        err = recover(root, happened, &change->now, &lost);
    if (err)
        return error_in(err, "configuration in force");
    change->last_number = change_next_number(change) - 1;
    change->in_force_since = clock_ms();
    change->own_due = change->now != NULL;
    change_sweep(change);
    halves_sweep(root);
    if (change->now || !lost)
        change_want(change, change->now);
    *ret_change = change;
    change = NULL;
    return NULL;
}

void change_free(Change **change)
{
    if (!*change)
        return;
    checking_free(&(*change)->checking);
    candidate_free(&(*change)->candidate);
    generation_free(&(*change)->now);
    generation_free(&(*change)->next);
    look_free(&(*change)->look);
    error_free(&(*change)->words);
    error_free(&(*change)->why);
    xfree(&(*change)->own_failed);
    xfree(change);
}

InForce change_in_force(const Change *change)
{
    const Generation *now = change->now;

    if (!now)
        return (InForce){0};
    return (InForce){now->number, now->revision, now->config, now->state, now->rendered.files};
}

size_t change_facts(Change *change, Msec now, Mail__Fact *const **ret_facts)
{
    return look_facts(change->look, change->now, now - change->in_force_since, ret_facts);
}

static bool overrides_drift(Change *change, const DriftFound *found)
{
    const char *words = NULL;

    look_again(change->look, change->now);
    if (!look_overrides_changed(change->look, &words))
        return false;
    DEFER(xfree) char *text = xasprintf("changed since generation %" PRIu64 ": %s", change->now->number, words);
    found->found(found->context, "override", text);
    return true;
}

Error *change_drift(Change *change, bool repair, void (*found)(void *context, const char *path, const char *diff),
                    void *context, size_t *ret_n)
{
    const DriftFound to = {found, context};
    unsigned which = 0;
    size_t n = 0;

    if (change->phase != IDLE && change->phase != PREPARED)
        return error_new(ERROR_CONFLICT, "another change of the configuration is under way");
    if (!change->now) {
        *ret_n = 0;
        return NULL;
    }
    Error *err = repair ? drift_mend(change->root, change->now, &to, &n, &which)
                        : drift_look(change->root, change->now, &to, &n, &which);
    if (err)
        return err;
    for (DaemonId id = 0; repair && id < N_DAEMONS; id++) {
        if (which & 1U << id)
            supervise_load_again(change->supervise, id);
    }
    if (overrides_drift(change, &to)) {
        n++;
        change->own_due = change->own_due || repair;
    }
    *ret_n = n;
    return NULL;
}
