#include "engine/change_inside.h"

#include "base/alloc.h"
#include "base/crash.h"
#include "base/log.h"
#include "engine/certificate.h"
#include "engine/replicas.h"
#include "engine/tree.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum {
    PROVE_MS = 60000, /* or a little more than the slowest daemon may take to start */
    RETRY_MS = 1000,
};

/* ---- switch ------------------------------------------------------------------------ */

void change_want(Change *change, const Generation *generation)
{
    if (!generation) {
        supervise_want_nothing(change->supervise);
        return;
    }
    supervise_want(change->supervise, &(SuperviseWant){.state = generation->state,
                                                       .generation = generation->number,
                                                       .files = generation->rendered.files});
}

static Msec prove_ms(const Generation *generation)
{
    Msec longest = PROVE_MS;

    for (DaemonId id = 0; generation && id < N_DAEMONS; id++) {
        if (daemon_wanted(id, generation->state) && daemons[id].start_ms + 10000 > longest)
            longest = daemons[id].start_ms + 10000;
    }
    return longest;
}

/* Before the link moves, 'trial' says where to: whoever starts after us goes back. */
static Error *link_steps(const Change *change)
{
    CRASH_POINT("engine.switch.trial");
    Error *err = trial_begin(change->root, &change->trial);
    if (!err)
        CRASH_POINT("engine.switch.naming");
    if (!err)
        err = generation_name(change->root, change->trial.number);
    if (!err)
        CRASH_POINT("engine.switch.linking");
    if (!err)
        err = current_set(change->root, change->trial.number);
    if (!err)
        CRASH_POINT("engine.switch.linked");
    return err;
}

static Error *link_switch(Change *change)
{
    change->trial = (Trial){change->next->number, change->now ? change->now->number : 0};
    Error *err = link_steps(change);
    if (!err)
        return NULL;
    Path folder = generation_path(change->root, change->trial.number, "");
    Error *also = trial_back(change->root, &change->trial);
    if (!also) {
        tree_remove(folder.text);
        also = trial_end(change->root);
    }
    log_stop(LOG_LEVEL_ERROR, "switch not undone, the next start does it", &also);
    return err;
}

static Error *switch_begin(Change *change, Msec now)
{
    Error *err = replicas_mark(change->root, change->next->state);
    if (!err)
        err = link_switch(change);
    if (err) {
        change_prepared_drop(change);
        return err;
    }
    change_want(change, change->next);
    change->number = 0;
    change_phase(change, PROVING, now);
    change->until = now + prove_ms(change->next);
    return NULL;
}

/* The files as they were read back stay: their digests are those that the daemons run with. */
static Error *confirm_begin(Change *change, Msec now)
{
    Generation *made = change->candidate->generation;

    Error *err = generation_objects_write(change->root, change->now->number, &made->rendered.prepare);
    if (err) {
        change_prepared_drop(change);
        return err;
    }
    made->number = change->now->number;
    fileset_free(&made->rendered.files);
    made->rendered.files = change->now->rendered.files;
    change->now->rendered.files = NULL;
    change->candidate->generation = NULL;
    change_want(change, made);
    generation_free(&change->now);
    change->now = made;
    change_prepared_drop(change);
    change_phase(change, CONFIRMING, now);
    change->until = now + prove_ms(made);
    return NULL;
}

Error *change_switch_begin(Change *change, Msec now)
{
    return change->next ? switch_begin(change, now) : confirm_begin(change, now);
}

/* ---- proved, or back ---------------------------------------------------------------- */

/* The folders of certificates that some generation on the disk needs; if one of them does not read, nothing is removed. */
static void certificates_keep(const char *root)
{
    DEFER(xfree) uint64_t *numbers = NULL;
    size_t n = generations_list(root, &numbers), n_read = 0;
    Path *folders = xcalloc(n + 1, sizeof *folders);
    const char **used = xcalloc(n + 1, sizeof *used);

    for (; n_read < n; n_read++) {
        DEFER(generation_free) Generation *generation = NULL;
        Error *err = generation_read(root, numbers[n_read], "", &generation);
        if (err) {
            error_free(&err);
            break;
        }
        folders[n_read] = generation->rendered.certificate;
        used[n_read] = folders[n_read].text;
    }
    if (n_read == n)
        certificates_sweep(root, used, n);
    free(folders);
    free(used);
}

void change_sweep(const Change *change)
{
    uint64_t used[] = {change->now ? change->now->number : 0};

    generations_sweep(change->root, used, 1);
    certificates_keep(change->root);
    replicas_sweep(change->root, change->now ? change->now->state : NULL);
}

static void try_link_back(Change *change, Msec now)
{
    Error *err = trial_back(change->root, &change->trial);

    if (err) { /* the daemons cannot go back either: their texts are reached through it */
        log_stop(LOG_LEVEL_ERROR, "link not put back, tried again", &err);
        change->until = now + RETRY_MS;
        return;
    }
    CRASH_POINT("engine.return.linked");
    change->back = true;
    change_want(change, change->now);
    change->until = now + prove_ms(change->now);
}

/* Takes err. */
static void go_back(Change *change, Error *err, Msec now)
{
    error_free(&change->words);
    change->words = err;
    change->back = false;
    change_phase(change, RETURNING, now);
    try_link_back(change, now);
}

static void returned(Change *change)
{
    Path folder = generation_path(change->root, change->trial.number, "");
    Error *words = change->words;

    Error *err = trial_end(change->root);
    log_stop(LOG_LEVEL_ERROR, "trial not ended", &err);
    CRASH_POINT("engine.return.done");
    tree_remove(folder.text);
    replicas_sweep(change->root, change->now ? change->now->state : NULL);
    generation_free(&change->next);
    candidate_free(&change->candidate);
    change->words = NULL;
    change->phase = IDLE;
    change_ended(change, words);
}

static void proved(Change *change, Msec now)
{
    CRASH_POINT("engine.switch.proved");
    Error *err = trial_end(change->root);
    if (err) { /* a start after us would go back: so do we */
        go_back(change, err, now);
        return;
    }
    CRASH_POINT("engine.switch.done");
    log_info("configuration in force", kv("generation", change->next->number), kv("revision", change->next->revision),
             kv("took_ms", now - change->since));
    if (change->own)
        happened_add(change->happened, MAIL__FACT_STATE__GOOD, "configuration renewed", "generation %" PRIu64,
                     change->next->number);
    generation_free(&change->now);
    candidate_free(&change->candidate);
    change->now = change->next;
    change->next = NULL;
    change->phase = IDLE;
    change->in_force_since = now;
    change_sweep(change);
    look_again(change->look, change->now);
    change_ended(change, NULL);
}

/* The daemon that supervise's words begin with, as a bit; all where they name none. */
static unsigned daemon_named(const char *why)
{
    for (DaemonId id = 0; id < N_DAEMONS; id++) {
        size_t len = strlen(daemons[id].name);
        if (strncmp(why, daemons[id].name, len) == 0 && (why[len] == ' ' || why[len] == ':'))
            return 1U << id;
    }
    return ~0U;
}

/* What passes a checker may still be what a daemon does not come up with, and then an override is the first to ask. */
static Error *suspected(const Change *change, Error *err)
{
    DEFER(xfree) char *names = candidate_suspects(change->candidate, daemon_named(err->what), err->what);

    if (!names)
        return err;
    err = error_in(err, "with %s", names);
    return error_hint(err, "take %s away and try again: the change itself may be good", names);
}

void change_proof_run(Change *change, Msec now)
{
    const char *why = NULL;
    SuperviseStanding standing = supervise_standing(change->supervise, &why);

    if (standing == STANDING_SETTLED)
        proved(change, now);
    else if (standing == STANDING_FAILED)
        go_back(change, suspected(change, error_new(ERROR_REFUSED, "%s", why)), now);
    else if (now >= change->until)
        go_back(
            change,
            error_new(ERROR_REFUSED, "the daemons did not come up within %" PRIu64 " s", prove_ms(change->next) / 1000),
            now);
}

void change_return_run(Change *change, Msec now)
{
    const char *why = NULL;

    if (!change->back) {
        if (now >= change->until)
            try_link_back(change, now);
        return;
    }
    SuperviseStanding standing = supervise_standing(change->supervise, &why);
    if (standing == STANDING_MOVING && now < change->until)
        return;
    if (standing != STANDING_SETTLED) {
        Error *words = error_new(change->words->code, "%s\nand generation %" PRIu64 ", which is in force again: %s",
                                 change->words->what, change->trial.last, why ? why : "its daemons are not up yet");
        error_free(&change->words);
        change->words = words;
    }
    returned(change);
}

/* A daemon that is down is not the fault of a change that loads nothing. */
void change_confirm_run(Change *change, Msec now)
{
    const char *why = NULL;

    if (supervise_standing(change->supervise, &why) == STANDING_MOVING && now < change->until)
        return;
    change->phase = IDLE;
    change_ended(change, NULL);
}
