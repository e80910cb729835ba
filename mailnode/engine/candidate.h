/* candidate.h - what a change would put in force: from objects to texts, nothing of it written yet
 *
 *     objects → NodeState → certificate → files, with the overrides and without
 */
#pragma once
#include "engine/generation.h"
#include "render/override.h"

typedef struct Candidate {
    Generation *generation; /* number 0; 'files' as rendered, with the overrides */
    Overrides *overrides;
    FileSet *plain;             /* without them; NULL: there are none */
    unsigned changed;           /* bits 1 << DaemonId: texts other than those in force */
    bool same;                  /* as what is in force: nothing to check, nothing to load */
    Error *certificate_refused; /* the followed pair is no good any more: the one in force is kept.  NULL: it is good */
} Candidate;

/* in_force NULL: nothing is.  INVALID: the objects, or the pair that they name; UNSUPPORTED as object_unpack; REFUSED: an
 * override, which is named; SYSTEM. */
CHECKED Error *candidate_make(const char *root, const Buf *prepare, const Generation *in_force,
                              Candidate **ret_candidate);
void candidate_free(Candidate **candidate);

/* Whether any of these daemons ('which': bits) has overrides. */
bool candidate_overrides(const Candidate *candidate, unsigned which);

/* Overrides of these daemons that 'words' may be about: "override/postfix.d/site.cf"; owned by the caller, NULL: none. */
char *candidate_suspects(const Candidate *candidate, unsigned which, const char *words);

/* A checker refused these daemons' texts with the overrides, and took them without: takes err, names the file. */
CHECKED Error *candidate_blame(const Candidate *candidate, unsigned which, Error *err);
