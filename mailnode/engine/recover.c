#include "engine/recover.h"

#include "base/alloc.h"
#include "base/crash.h"
#include "base/log.h"
#include "engine/tree.h"

#include <inttypes.h>
#include <unistd.h>

/* Takes err: tells of it and goes on. */
static void say(Happened *happened, const char *what, Error **err)
{
    happened_add(happened, MAIL__FACT_STATE__BAD, what, "%s", (*err)->what);
    error_free(err);
}

static Error *set_aside(const char *path, Happened *happened, const char *what)
{
    Path where;

    Error *err = file_set_aside(path, &where);
    if (err)
        return err;
    happened_add(happened, MAIL__FACT_STATE__BAD, what, "it is kept as %s", where.text);
    return NULL;
}

/* A switch was cut off: the last good one is in force again. */
static Error *end_trial(const char *root, Happened *happened)
{
    Path file = path_in(root, "var/lib/mailnode/engine/trial");
    Trial trial = {0};

    Error *err = trial_read(root, &trial);
    if (err && (err->code == ERROR_DAMAGED || err->code == ERROR_INVALID)) {
        say(happened, "trial damaged", &err);
        return set_aside(file.text, happened, "trial set aside");
    }
    if (err || !trial.number)
        return err;
    CRASH_POINT("engine.recover.trial");
    err = trial_back(root, &trial);
    if (err)
        return err;
    CRASH_POINT("engine.recover.linked");
    Path tried = generation_path(root, trial.number, "");
    tree_remove(tried.text);
    err = trial_end(root);
    if (!err)
        happened_add(happened, MAIL__FACT_STATE__DEGRADED, "switch taken back",
                     "generation %" PRIu64 " was not proved when mail-engine ended; %s %" PRIu64 " is in force",
                     trial.number, trial.last ? "generation" : "none, number", trial.last);
    return err;
}

/* 0: no link, or one that leads nowhere (set aside). */
static Error *current_number(const char *root, Happened *happened, uint64_t *ret_number)
{
    Path link = path_in(root, "var/lib/mailnode/engine/current");

    *ret_number = 0;
    Error *err = current_read(root, ret_number);
    if (!err || err->code != ERROR_DAMAGED)
        return err;
    say(happened, "current damaged", &err);
    return set_aside(link.text, happened, "current set aside");
}

/* *ret_generation stays NULL where it is not whole. */
static void try_one(const char *root, uint64_t number, Happened *happened, Generation **ret_generation)
{
    Error *err = generation_read(root, number, "", ret_generation);

    if (err)
        say(happened, "generation damaged", &err);
    else if ((*ret_generation)->mended)
        happened_add(happened, MAIL__FACT_STATE__DEGRADED, "objects damaged",
                     "generation %" PRIu64 ": those that its texts were rendered from (revision %" PRIu64
                     ") stand for them",
                     number, (*ret_generation)->revision);
}

static void newest_whole(const char *root, uint64_t not_this, Happened *happened, Generation **ret_generation)
{
    DEFER(xfree) uint64_t *numbers = NULL;
    size_t n = generations_list(root, &numbers);

    for (size_t i = n; i-- > 0 && !*ret_generation;) {
        if (numbers[i] != not_this)
            try_one(root, numbers[i], happened, ret_generation);
    }
}

static Error *take_other(const char *root, uint64_t instead_of, Happened *happened, Generation **now)
{
    Path damaged = generation_path(root, instead_of, "");

    newest_whole(root, instead_of, happened, now);
    if (!*now)
        return NULL;
    Error *err = current_set(root, (*now)->number);
    if (err)
        return err;
    happened_add(happened, MAIL__FACT_STATE__BAD, "older generation in force",
                 "generation %" PRIu64 " of revision %" PRIu64 ", the newest that is whole", (*now)->number,
                 (*now)->revision);
    if (!instead_of || access(damaged.text, F_OK) != 0)
        return NULL;
    err = set_aside(damaged.text, happened, "generation set aside");
    log_stop(LOG_LEVEL_WARNING, "damaged generation stays where it is", &err);
    return NULL;
}

Error *recover(const char *root, Happened *happened, Generation **ret_now, bool *ret_lost)
{
    DEFER(generation_free) Generation *now = NULL;
    DEFER(xfree) uint64_t *numbers = NULL;
    uint64_t number = 0;

    Error *err = end_trial(root, happened);
    if (!err)
        err = current_number(root, happened, &number);
    if (err)
        return err;
    bool any = generations_list(root, &numbers) > 0;
    if (number)
        try_one(root, number, happened, &now);
    if (!now && any)
        err = take_other(root, number, happened, &now);
    if (err)
        return err;
    *ret_lost = !now && (any || number);
    if (*ret_lost)
        happened_add(happened, MAIL__FACT_STATE__BAD, "configuration lost",
                     "no generation is whole: daemons that run go on, the agent says again what is wanted");
    *ret_now = now;
    now = NULL;
    return NULL;
}
