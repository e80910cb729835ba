#include "engine/change_inside.h"

#include "base/alloc.h"
#include "engine/ports.h"
#include "engine/tree.h"

/* What was being prepared goes, from the disk too. */
void change_prepared_drop(Change *change)
{
    checking_free(&change->checking);
    candidate_free(&change->candidate);
    generation_free(&change->next);
    error_free(&change->words);
    if (change->number) {
        Path check = generation_path(change->root, change->number, ".check");
        Path made = generation_path(change->root, change->number, ".new");
        tree_remove(check.text);
        tree_remove(made.text);
    }
    change->number = 0;
    change->phase = IDLE;
}

/* ---- prepare ----------------------------------------------------------------------- */

/* The texts lead to one another through the link 'current', which leads to the generation in force until the switch: in
 * the copy for the checkers they lead to the copy. */
static Error *check_begin(Change *change, const FileSet *files, unsigned which)
{
    const char *without[N_DAEMONS + 1] = {
        NULL}; /* that nobody checks: each reads what is its own, and the certificate */
    size_t n = 0;

    Path folder = generation_path(change->root, change->number, ".check");
    Path current = path_in(change->root, "var/lib/mailnode/engine/current");
    Path above = path_in(change->root, "var/lib/mailnode/engine/gen");

    for (DaemonId id = 0; id < N_DAEMONS; id++)
        if (!(which & 1U << id))
            without[n++] = daemons[id].name;
    checking_free(&change->checking);
    tree_remove(folder.text);
    Error *err = which ? folder_make(above.text, 0711, 0, 0) : NULL;
    if (!err && which)
        err = tree_write(folder.text, files, &(TreeWay){.from = current.text, .to = folder.text, .without = without});
    return err ? err : checking_start(change->candidate->generation->state, folder.text, which, &change->checking);
}

static bool is_ours(void *context, pid_t pid)
{
    return supervise_ours(context, pid);
}

/* Those that the generation in force does not have: who else holds one of these is found when its daemon is started. */
static Error *ports_free(const Change *change, const NodeState *state)
{
    DEFER(xfree) PortList *ports = xcalloc(1, sizeof *ports);
    DEFER(xfree) PortList *held = xcalloc(1, sizeof *held);

    daemons_ports(state, ports);
    if (change->now)
        daemons_ports(change->now->state, held);
    ports_without(ports, held);
    return ports->n ? ports_check(ports, is_ours, change->supervise) : NULL;
}

uint64_t change_next_number(const Change *change)
{
    DEFER(xfree) uint64_t *numbers = NULL;
    size_t n = generations_list(change->root, &numbers);

    return (n && numbers[n - 1] > change->last_number ? numbers[n - 1] : change->last_number) + 1;
}

static Error *prepare_steps(Change *change, const Buf *prepare, Msec now)
{
    Error *err = candidate_make(change->root, prepare, change->now, &change->candidate);

    if (err)
        return err;
    const Error *refused = change->candidate->certificate_refused;
    look_certificate_refused(change->look, refused ? refused->what : NULL);
    if (change->candidate->same) {
        change_phase(change, PREPARED, now);
        change_ended(change, NULL);
        return NULL;
    }
    err = ports_free(change, change->candidate->generation->state);
    if (err)
        return err;
    change->number = change->last_number = change_next_number(change);
    const FileSet *files = change->candidate->generation->rendered.files;
    err = check_begin(change, files, passed_not(&change->passed, files, change->candidate->changed, now));
    if (!err)
        change_phase(change, CHECKING, now);
    return err;
}

Error *change_prepare_begin(Change *change, const Buf *prepare, bool own, Msec now)
{
    change_prepared_drop(change);
    change->own = own;
    Error *err = prepare_steps(change, prepare, now);
    if (err)
        change_prepared_drop(change);
    return err;
}

/* Checked: written as it shall be, and read back.  Revision 0 only asks, and is never switched to. */
static Error *prepare_write(Change *change)
{
    Path check = generation_path(change->root, change->number, ".check");

    checking_free(&change->checking);
    tree_remove(check.text);
    if (!change->candidate->generation->revision)
        return NULL;
    Error *err = generation_write(change->root, change->number, &change->candidate->generation->rendered);
    if (!err)
        err = generation_read(change->root, change->number, ".new", &change->next);
    return err;
}

static Error *check_again_plain(Change *change, unsigned refused, Error *err, Msec now)
{
    change->refused = refused;
    change->words = err;
    err = check_begin(change, change->candidate->plain, refused);
    if (!err)
        change_phase(change, CHECKING_PLAIN, now);
    return err;
}

static Error *check_ended(Change *change, Msec now)
{
    unsigned refused = checking_refused(change->checking);
    Error *err = checking_error(change->checking);

    if (change->phase == CHECKING_PLAIN && !err) {
        err = candidate_blame(change->candidate, change->refused, change->words);
        change->words = NULL;
        return err;
    }
    if (err && err->code == ERROR_REFUSED && change->phase == CHECKING && change->candidate->plain &&
        candidate_overrides(change->candidate, refused))
        return check_again_plain(change, refused, err, now);
    if (err)
        return err;
    const FileSet *files = change->candidate->generation->rendered.files;
    passed_note(&change->passed, files, passed_not(&change->passed, files, change->candidate->changed, now), now);
    err = prepare_write(change);
    if (!err)
        change_phase(change, PREPARED, now);
    return err;
}

void change_check_run(Change *change, Msec now)
{
    if (!checking_run(change->checking, now))
        return;
    Error *err = check_ended(change, now);
    if (err)
        change_prepared_drop(change);
    if (err || change->phase == PREPARED)
        change_ended(change, err);
}
