#include "engine/look.h"

#include "base/alloc.h"
#include "engine/certificate.h"
#include "engine/drift.h"
#include "engine/pair.h"
#include "render/override.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { DAY_S = 86400, ALARM_DAYS = 14, N_FACTS = 4 };

struct Look {
    const char *root;
    Happened *happened;

    bool certificate_due;
    char *refused; /* why the followed pair is not taken; NULL: it is good */
    int64_t ends;  /* of the pair in force, seconds since 1970; 0: there is none, or it does not read */
    char issuer[128];
    bool ends_soon;

    size_t n_overrides;
    bool overrides_changed;
    char *overrides_words; /* names; or why they cannot be read */

    size_t n_drifted;
    char *drifted; /* the first of them; NULL: none */

    char *texts[N_FACTS];
    Mail__Fact facts[N_FACTS], *list[N_FACTS];
};

Look *look_new(const char *root, Happened *happened)
{
    Look *look = xcalloc(1, sizeof *look);

    look->root = root;
    look->happened = happened;
    return look;
}

void look_free(Look **look)
{
    if (!*look)
        return;
    for (size_t i = 0; i < N_FACTS; i++)
        free((*look)->texts[i]);
    free((*look)->refused);
    free((*look)->overrides_words);
    free((*look)->drifted);
    free(*look);
    *look = NULL;
}

/* ---- certificate ------------------------------------------------------------------- */

void look_certificate_refused(Look *look, const char *why)
{
    if (why && (!look->refused || strcmp(look->refused, why) != 0))
        happened_add(look->happened, MAIL__FACT_STATE__BAD, "certificate not taken", "%s; the one in force stays", why);
    if (!why && look->refused)
        happened_add(look->happened, MAIL__FACT_STATE__GOOD, "certificate good again", "it is taken");
    free(look->refused);
    look->refused = why ? xstrdup(why) : NULL;
}

bool look_certificate_due(const Look *look)
{
    return look->certificate_due;
}

static int64_t days_left(const Look *look)
{
    return (look->ends - (int64_t)time(NULL)) / DAY_S;
}

static void look_at_certificate(Look *look, const Generation *in_force)
{
    const char *folder = in_force->state->certificate;
    int64_t left = 0;
    bool soon_before = look->ends_soon;

    look->ends = 0;
    look->certificate_due = certificate_due(in_force->state, folder ? folder : "");
    if (!folder)
        return;
    Error *err = certificate_ends(folder, &left, look->issuer);
    if (err) {
        error_free(&err); /* the fact says so */
        return;
    }
    look->ends = (int64_t)time(NULL) + left;
    look->ends_soon = left < (int64_t)ALARM_DAYS * DAY_S;
    if (look->ends_soon && !soon_before)
        happened_add(look->happened, MAIL__FACT_STATE__DEGRADED, "certificate ends soon", "in %" PRId64 " days",
                     days_left(look));
}

/* ---- overrides --------------------------------------------------------------------- */

static char *override_names(const Overrides *overrides)
{
    DEFER(buf_done) Buf names = {0};

    buf_init(&names, 400);
    for (OverrideOf of = 0; of < N_OVERRIDES; of++) {
        for (size_t i = 0; i < overrides->n[of]; i++)
            buf_printf(&names, "%s%s", names.size ? ", " : "", overrides->files[of][i].name);
    }
    return xstrdup(buf_text(&names));
}

static void look_at_overrides(Look *look, const Generation *in_force)
{
    DEFER(overrides_free) Overrides *overrides = NULL;
    Digest none = {{0}};

    xfree(&look->overrides_words);
    Error *err = overrides_read(look->root, &overrides);
    if (err) {
        look->overrides_changed = true;
        look->overrides_words = xstrdup(err->what);
        error_free(&err);
        return;
    }
    bool any = overrides_any(overrides);
    look->n_overrides = overrides->n[0] + overrides->n[1] + overrides->n[2];
    look->overrides_words = override_names(overrides);
    look->overrides_changed = !digest_equal(any ? &overrides->digest : &none, &in_force->rendered.overrides);
}

bool look_overrides_changed(const Look *look, const char **ret_words)
{
    if (look->overrides_changed)
        *ret_words = look->overrides_words[0] ? look->overrides_words : "they were taken away";
    return look->overrides_changed;
}

/* ---- files ------------------------------------------------------------------------- */

static void drifted(void *context, const char *path, const char *diff)
{
    Look *look = context;

    (void)diff;
    if (!look->drifted)
        look->drifted = xstrdup(path);
}

static char *drift_words(const Look *look, const Generation *in_force)
{
    if (look->n_drifted == 1)
        return xasprintf("%s is not as generation %" PRIu64 " has it", look->drifted, in_force->number);
    return xasprintf("%s and %zu more are not as generation %" PRIu64 " has them", look->drifted, look->n_drifted - 1,
                     in_force->number);
}

static void look_at_files(Look *look, const Generation *in_force)
{
    const DriftFound to = {drifted, look};
    size_t before = look->n_drifted;
    unsigned daemons = 0;

    xfree(&look->drifted);
    look->n_drifted = 0;
    Error *err = drift_look(look->root, in_force, &to, &look->n_drifted, &daemons);
    if (err) {
        drifted(look, err->what, "");
        look->n_drifted += !look->n_drifted;
        error_free(&err);
    }
    if (!look->n_drifted || before)
        return;
    DEFER(xfree) char *words = drift_words(look, in_force);
    happened_add(look->happened, MAIL__FACT_STATE__DEGRADED, "configuration changed by hand", "%s", words);
}

void look_again(Look *look, const Generation *in_force)
{
    look->certificate_due = look->overrides_changed = false;
    look->ends = 0;
    if (!in_force)
        return;
    look_at_certificate(look, in_force);
    look_at_overrides(look, in_force);
    look_at_files(look, in_force);
}

/* ---- facts ------------------------------------------------------------------------- */

/* Takes text. */
static void fact(Look *look, size_t *n, const char *name, Mail__FactState state, char *text)
{
    Mail__Fact *out = &look->facts[*n];

    free(look->texts[*n]);
    look->texts[*n] = text;
    mail__fact__init(out);
    out->name = (char *)name;
    out->has_state = true;
    out->state = state;
    out->text = text;
    out->has_age_ms = true;
    look->list[(*n)++] = out;
}

static void certificate_fact(Look *look, size_t *n)
{
    int64_t left = days_left(look);

    if (look->refused)
        fact(look, n, "certificate", MAIL__FACT_STATE__BAD,
             xasprintf("%s; the one in force ends in %" PRId64 " days", look->refused, left));
    else if (!look->ends)
        fact(look, n, "certificate", MAIL__FACT_STATE__BAD, xstrdup("the pair in force does not read back"));
    else
        fact(look, n, "certificate", left < 0 ? MAIL__FACT_STATE__BAD : MAIL__FACT_STATE__GOOD,
             left < 0 ? xasprintf("ended %" PRId64 " days ago", -left)
                      : xasprintf("%s, ends in %" PRId64 " days", look->issuer, left));
    if (look->ends_soon && look->facts[*n - 1].state == MAIL__FACT_STATE__GOOD)
        look->facts[*n - 1].state = MAIL__FACT_STATE__DEGRADED;
}

size_t look_facts(Look *look, const Generation *in_force, Msec since_ms, Mail__Fact *const **ret_facts)
{
    const char *words = NULL;
    size_t n = 0;

    *ret_facts = look->list;
    if (!in_force) {
        fact(look, &n, "generation", MAIL__FACT_STATE__DEGRADED, xstrdup("none yet"));
        return n;
    }
    fact(look, &n, "generation", MAIL__FACT_STATE__GOOD,
         xasprintf("%" PRIu64 ", of revision %" PRIu64, in_force->number, in_force->revision));
    look->facts[0].has_since_ms = true;
    look->facts[0].since_ms = since_ms;
    if (in_force->state->certificate)
        certificate_fact(look, &n);
    if (look_overrides_changed(look, &words))
        fact(look, &n, "overrides", MAIL__FACT_STATE__DEGRADED,
             xasprintf("changed since generation %" PRIu64 ": %s", in_force->number, words));
    else if (look->n_overrides)
        fact(look, &n, "overrides", MAIL__FACT_STATE__GOOD, xstrdup(look->overrides_words));
    if (look->n_drifted)
        fact(look, &n, "files", MAIL__FACT_STATE__DEGRADED, drift_words(look, in_force));
    return n;
}
