/* What became of a run, in words. */
#include "tasks/restic_inside.h"

#include "base/alloc.h"
#include "base/path.h"
#include "base/utf8.h"
#include "tables/places.h"

#include <string.h>

enum { WORDS_SHOWN_MAX = 1500, LINES_SHOWN_MAX = 12, HIDE_MIN = 4 };

typedef struct Trouble {
    ErrorCode code;
    const char *what, *hint; /* %s: the destination */
} Trouble;

static const Trouble troubles[] = {
    [RESTIC_MISSING] = {ERROR_NOT_FOUND, "there is no repository", "make it: mailctl destination check %s --init"},
    [RESTIC_LOCKED] = {ERROR_UNAVAILABLE, "the repository is locked by another restic",
                       "look for the one that is named; if its machine is gone for good: restic unlock"},
    [RESTIC_WRONG_PASSWORD] = {ERROR_DENIED, "wrong password for the repository",
                               "set the one that it was made with: mailctl destination set %s password=-"},
    [RESTIC_LOGIN] = {ERROR_DENIED, "the storage refuses the login",
                      "mailctl destination set %s env=@FILE, or for sftp "
                      "ssh-key=@FILE known-hosts=@FILE"},
    [RESTIC_UNREACHABLE] = {ERROR_UNAVAILABLE, "the storage does not answer", NULL},
    [RESTIC_DAMAGED] = {ERROR_DAMAGED, "the repository is damaged", NULL},
    [RESTIC_FULL] = {ERROR_UNAVAILABLE, "no space left at the storage", NULL},
    [RESTIC_OTHER] = {ERROR_SYSTEM, "restic failed", NULL},
};

/* ---- its words ---- */

static void hide(Buf *words, const char *secret, size_t len)
{
    Buf clean = {0};
    const char *text = buf_text(words), *found = NULL;

    if (len < HIDE_MIN || !strstr(text, secret))
        return;
    while ((found = strstr(text, secret))) {
        buf_append(&clean, text, (size_t)(found - text));
        buf_append_text(&clean, "(hidden)");
        text = found + len;
    }
    buf_append_text(&clean, text);
    buf_clear(words);
    buf_append(words, clean.data, clean.size);
    buf_done(&clean);
}

/* restic hides them itself, and ssh and the stores do not say them; this is for the day on which one does. */
static void hide_all(const Restic *restic, Buf *words)
{
    const char *login = strstr(secret_text(restic->place.repository), "://");
    const char *sign = login ? strchr(login, '@') : NULL, *colon = login ? strchr(login + 3, ':') : NULL;

    hide(words, secret_text(restic->spec.password), secret_size(restic->spec.password));
    if (sign && colon && colon < sign) {
        DEFER(xfree) char *password = xstrndup(colon + 1, (size_t)(sign - colon - 1));
        hide(words, password, strlen(password));
        wipe(password, strlen(password));
    }
    for (size_t i = 0; i < restic->place.n_env; i++) {
        const char *value = strchr(secret_text(restic->place.env[i]), '=') + 1;
        hide(words, value, strlen(value));
    }
}

/* Without what a terminal would obey. */
static void line_shown(const char *line, size_t len, Buf *out)
{
    for (size_t i = 0; i < len;) {
        size_t octets = utf8_char_len(line + i, len - i);
        bool plain = octets > 1 || (octets == 1 && (unsigned char)line[i] >= ' ' && line[i] != 0x7f);
        buf_append(out, plain ? line + i : "?", plain ? octets : 1);
        i += octets ? octets : 1;
    }
}

static void words_shown(const Restic *restic, const Buf *said, Buf *out)
{
    DEFER(buf_done) Buf words = {0};
    size_t n = 0;

    for (size_t i = 0; i < said->size; i++)
        buf_append(&words, said->data[i] ? (const char *)&said->data[i] : "?", 1);
    hide_all(restic, &words);
    for (const char *line = buf_text(&words); *line && n < LINES_SHOWN_MAX && out->size < WORDS_SHOWN_MAX;) {
        size_t len = strcspn(line, "\n");
        if (len && line[0] != '{') { /* JSON is for us */
            buf_append_text(out, "\n    ");
            line_shown(line, len < WORDS_SHOWN_MAX ? len : WORDS_SHOWN_MAX, out);
            n++;
        }
        line += len + (line[len] == '\n');
    }
}

/* ---- the error ---- */

Error *restic_error(Restic *restic, const char *what, ErrorCode code, const char *why, const Buf *words)
{
    DEFER(buf_done) Buf shown = {0};

    if (words)
        words_shown(restic, words, &shown);
    return error_new(code, "%s: %s: %s%s", restic->spec.destination_name, what, why, buf_text(&shown));
}

static Error *not_answered(Restic *restic, const char *what, const ResticRun *run)
{
    restic->trouble = restic_trouble_of(1, buf_text((Buf *)&run->words));
    if (restic->trouble == RESTIC_OTHER)
        restic->trouble = RESTIC_UNREACHABLE;
    const Trouble *trouble = &troubles[restic->trouble];
    DEFER(xfree)
    char *why = run->end == RESTIC_LATE ? xasprintf("%s (gave up after %u s)", trouble->what, run->limit_s)
                                        : xasprintf("%s (nothing moved for %u s)", trouble->what, run->stall_s);
    return restic_error(restic, what, trouble->code, why, &run->words);
}

/* Its packs are made there before they are saved. */
char *restic_full_where(const Restic *restic, const ResticRun *run, const char *else_where)
{
    Path own = path_in(restic->use.root, "%s", &PLACE_RESTIC[3]);
    DEFER(xfree) char *below = xasprintf("%s/", own.text);
    bool here = strstr(buf_text((Buf *)&run->words), below);

    return xasprintf("no space left on the disk of %s", here ? own.text : else_where);
}

/* On this machine the folder says it all; what a storage elsewhere said stands below. */
static Error *full(Restic *restic, const char *what, const ResticRun *run)
{
    const char *folder = restic_place_folder(&restic->place);
    DEFER(xfree) char *why = folder ? restic_full_where(restic, run, folder) : xstrdup(troubles[RESTIC_FULL].what);

    Error *err = restic_error(restic, what, troubles[RESTIC_FULL].code, why, folder ? NULL : &run->words);
    return error_hint(err, "what was saved before is as it was; make room there");
}

Error *restic_failure(Restic *restic, const char *what, ResticRun *run)
{
    switch (run->end) {
    case RESTIC_CANCELLED:
        restic->trouble = RESTIC_OTHER;
        return restic_error(restic, what, ERROR_CONFLICT, "cancelled", NULL);
    case RESTIC_LATE:
    case RESTIC_STALLED:
        return not_answered(restic, what, run);
    case RESTIC_STOPPED:
        restic->trouble = run->why && run->why->code == ERROR_DAMAGED ? RESTIC_DAMAGED : RESTIC_OTHER;
        if (run->why) {
            Error *why = run->why;
            run->why = NULL;
            return error_in(error_in(why, "%s", what), "%s", restic->spec.destination_name);
        }
        return restic_error(restic, what, ERROR_UNAVAILABLE, "stopped", NULL);
    case RESTIC_ENDED:
        break;
    }
    restic->trouble = restic_trouble_of(run->exit, buf_text(&run->words));
    if (run->exit == 0)
        return NULL;
    if (restic->trouble == RESTIC_FULL)
        return full(restic, what, run);
    const Trouble *trouble = &troubles[restic->trouble];
    DEFER(xfree)
    char *ended =
        run->exit < 0 ? xasprintf("%s (ended by signal %d)", trouble->what, -run->exit) : xstrdup(trouble->what);
    Error *err = restic_error(restic, what, trouble->code, ended, &run->words);
    return trouble->hint ? error_hint(err, trouble->hint, restic->spec.destination_name) : err; /* NOLINT: ours */
}
