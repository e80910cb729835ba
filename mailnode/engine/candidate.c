#include "engine/candidate.h"

#include "base/alloc.h"
#include "engine/certificate.h"
#include "engine/daemon.h"
#include "render/render.h"

#include <string.h>

static const DaemonId daemon_of[N_OVERRIDES] = {
    [OVERRIDE_POSTFIX] = DAEMON_POSTFIX,
    [OVERRIDE_DOVECOT] = DAEMON_DOVECOT,
    [OVERRIDE_RSPAMD] = DAEMON_RSPAMD,
};

void candidate_free(Candidate **candidate)
{
    if (!*candidate)
        return;
    generation_free(&(*candidate)->generation);
    overrides_free(&(*candidate)->overrides);
    fileset_free(&(*candidate)->plain);
    error_free(&(*candidate)->certificate_refused);
    xfree(candidate);
}

/* ---- certificate ------------------------------------------------------------------- */

static bool text_equal(const char *a, const char *b)
{
    return strcmp(a ? a : "", b ? b : "") == 0;
}

/* Is it the certificate of before that is asked for? */
static bool asks_the_same(const NodeState *a, const NodeState *b)
{
    return a->instance && b->instance && text_equal(a->instance->hostname, b->instance->hostname) &&
           text_equal(a->tls->follow_certificate, b->tls->follow_certificate) &&
           text_equal(a->tls->follow_key, b->tls->follow_key);
}

/* A followed pair that went bad shall not stand in the way of changes that have nothing to do with it. */
static Error *certificate_for(Candidate *candidate, const Generation *in_force)
{
    Generation *made = candidate->generation;

    Error *err = certificate_take(made->state, &made->rendered.certificate);
    if (err && in_force && in_force->rendered.certificate.text[0] && asks_the_same(made->state, in_force->state)) {
        made->rendered.certificate = in_force->rendered.certificate;
        candidate->certificate_refused = err;
        err = NULL;
    }
    if (err && err->code != ERROR_SYSTEM)
        err->code = ERROR_INVALID; /* what was stated names no such pair: asking again is no use */
    if (!err && made->rendered.certificate.text[0])
        made->state->certificate = made->rendered.certificate.text;
    return err;
}

/* ---- texts ------------------------------------------------------------------------- */

static Error *render(const NodeState *state, const Overrides *overrides, FileSet **ret_files)
{
    FileSet *files = fileset_new();

    render_all(state, overrides, files);
    Error *err = fileset_refused(files);
    if (err) {
        fileset_free(&files);
        return err;
    }
    *ret_files = files;
    return NULL;
}

/* Without first: what it refuses is the revision's fault, what only the other one refuses the override's. */
static Error *render_both(const char *root, Candidate *candidate)
{
    Generation *made = candidate->generation;
    FileSet *plain = NULL;

    Error *err = overrides_read(root, &candidate->overrides);
    if (err && err->code != ERROR_SYSTEM)
        err->code = ERROR_REFUSED; /* nothing is wrong with the objects */
    if (!err)
        err = render(made->state, NULL, &plain);
    if (err)
        return err;
    if (!overrides_any(candidate->overrides)) {
        made->rendered.files = plain;
        return NULL;
    }
    candidate->plain = plain;
    made->rendered.overrides = candidate->overrides->digest;
    err = render(made->state, candidate->overrides, &made->rendered.files);
    if (err)
        err->code = ERROR_REFUSED;
    return err;
}

static unsigned changed_daemons(const FileSet *files, const Generation *in_force)
{
    unsigned changed = 0;

    for (DaemonId id = 0; id < N_DAEMONS; id++) {
        Digest is = fileset_digest(files, daemons[id].name), was = {{0}}, none = {{0}};
        if (in_force)
            was = fileset_digest(in_force->rendered.files, daemons[id].name);
        if (!digest_equal(&is, &none) && !digest_equal(&is, &was))
            changed |= 1U << id;
    }
    return changed;
}

static bool is_same(const Generation *made, const Generation *in_force)
{
    return in_force && digest_equal(&made->rendered.texts, &in_force->rendered.texts) &&
           digest_equal(&made->rendered.overrides, &in_force->rendered.overrides) &&
           strcmp(made->rendered.certificate.text, in_force->rendered.certificate.text) == 0;
}

Error *candidate_make(const char *root, const Buf *prepare, const Generation *in_force, Candidate **ret_candidate)
{
    DEFER(candidate_free) Candidate *candidate = xcalloc(1, sizeof *candidate);
    Generation *made = xcalloc(1, sizeof *made);

    candidate->generation = made;
    buf_append(&made->rendered.prepare, prepare->data, prepare->size);
    Error *err = objects_read(prepare, root, made);
    if (!err)
        err = certificate_for(candidate, in_force);
    if (!err)
        err = render_both(root, candidate);
    if (err)
        return err;
    made->rendered.texts = rendered_texts(made->rendered.files);
    candidate->changed = changed_daemons(made->rendered.files, in_force);
    candidate->same = is_same(made, in_force);
    *ret_candidate = candidate;
    candidate = NULL;
    return NULL;
}

/* ---- whose fault ------------------------------------------------------------------- */

bool candidate_overrides(const Candidate *candidate, unsigned which)
{
    for (OverrideOf of = 0; of < N_OVERRIDES; of++) {
        if (candidate->overrides->n[of] && which & 1U << daemon_of[of])
            return true;
    }
    return false;
}

/* One file; or of several those that the checker named; or all of them. */
static void names_of(const Candidate *candidate, unsigned which, const char *words, Buf *out)
{
    for (int only_named = 1; only_named >= 0 && !out->size; only_named--) {
        for (OverrideOf of = 0; of < N_OVERRIDES; of++) {
            for (size_t i = 0; which & 1U << daemon_of[of] && i < candidate->overrides->n[of]; i++) {
                const OverrideFile *file = &candidate->overrides->files[of][i];
                if (!only_named || strstr(words, file->file))
                    buf_printf(out, "%s%s", out->size ? ", " : "", file->name);
            }
        }
    }
}

char *candidate_suspects(const Candidate *candidate, unsigned which, const char *words)
{
    DEFER(buf_done) Buf names = {0};

    names_of(candidate, which, words, &names);
    return names.size ? xstrdup(buf_text(&names)) : NULL;
}

Error *candidate_blame(const Candidate *candidate, unsigned which, Error *err)
{
    DEFER(xfree) char *names = candidate_suspects(candidate, which, err->what);

    err = error_in(err, "%s", names);
    return error_hint(err, "put %s right or take it away; without overrides the configuration is good", names);
}
