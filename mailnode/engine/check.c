#include "engine/check.h"

#include "base/alloc.h"
#include "base/utf8.h"

#include <assert.h>
#include <string.h>

enum { CHECK_DEADLINE_MS = 30000 };

typedef struct Run { /* the checkers of one daemon */
    Child *child;    /* NULL: none runs */
    DaemonCheck check;
    size_t index;
    Error *refused;
} Run;

struct Checking {
    const NodeState *state;
    char *folder;
    Run runs[N_DAEMONS];
};

void checking_free(Checking **checking)
{
    if (!*checking)
        return;
    for (DaemonId id = 0; id < N_DAEMONS; id++) {
        child_free(&(*checking)->runs[id].child);
        argv_done(&(*checking)->runs[id].check.argv);
        error_free(&(*checking)->runs[id].refused);
    }
    xfree(&(*checking)->folder);
    xfree(checking);
}

/* The next checker of this daemon, if there is one. */
static Error *start_next(Checking *checking, DaemonId id)
{
    Run *run = &checking->runs[id];

    child_free(&run->child);
    argv_done(&run->check.argv);
    if (!daemon_check(id, checking->state, checking->folder, run->index, &run->check))
        return NULL;
    run->index++;
    return child_start(&(ChildSpec){.user = run->check.user,
                                    .argv = (const char *const *)run->check.argv.items,
                                    .folder = checking->folder,
                                    .deadline_ms = CHECK_DEADLINE_MS},
                       &run->child);
}

Error *checking_start(const NodeState *state, const char *folder, unsigned which, Checking **ret_checking)
{
    DEFER(checking_free) Checking *checking = xcalloc(1, sizeof *checking);
    Error *err = NULL;

    checking->state = state;
    checking->folder = xstrdup(folder);
    for (DaemonId id = 0; id < N_DAEMONS && !err; id++) {
        if (which & 1U << id)
            err = error_in(start_next(checking, id), "%s", daemons[id].name);
    }
    if (err)
        return err;
    *ret_checking = checking;
    checking = NULL;
    return NULL;
}

/* ---- what a checker said ----------------------------------------------------------- */

static bool begins_with(const char *line, const char *word)
{
    return strncmp(line, word, strlen(word)) == 0;
}

/* One line without the folder's name, and without what a terminal would obey. */
static void line_shown(const char *line, size_t len, const char *folder, Buf *out)
{
    size_t folder_len = strlen(folder);

    for (size_t i = 0; i < len;) {
        if (len - i > folder_len && memcmp(line + i, folder, folder_len) == 0 && line[i + folder_len] == '/') {
            i += folder_len + 1;
            continue;
        }
        size_t octets = utf8_char_len(line + i, len - i);
        bool plain =
            octets > 1 || (octets == 1 && ((unsigned char)line[i] >= ' ' || line[i] == '\t') && line[i] != 0x7f);
        buf_append(out, plain ? line + i : "?", plain ? octets : 1);
        i += octets ? octets : 1;
    }
}

/* Was this line said before? */
static bool said_before(const char *said, const char *line, size_t len)
{
    for (const char *at = said; at < line; at += strcspn(at, "\n") + 1) {
        if (strcspn(at, "\n") == len && memcmp(at, line, len) == 0)
            return true;
    }
    return false;
}

static void words_of(const DaemonCheck *check, const char *said, const char *folder, Buf *out)
{
    const char *program = check->argv.items[0];
    size_t program_at = (size_t)(strrchr(program, '/') + 1 - program);

    for (const char *line = said; *line;) {
        size_t len = strcspn(line, "\n");
        bool counts = len && (!check->words || begins_with(line, check->words)) && !said_before(said, line, len);
        if (counts && out->size < CHECK_WORDS_MAX) {
            size_t skip = begins_with(line, program) ? program_at : 0; /* "postconf: " without its folder */
            if (out->size)
                buf_append_text(out, "\n");
            line_shown(line + skip, len - skip, folder, out);
        }
        line += len + (line[len] == '\n');
    }
    if (out->size > CHECK_WORDS_MAX)
        out->size = CHECK_WORDS_MAX;
    while (out->size && !utf8_valid(buf_text(out), out->size)) /* cut within a character */
        out->size--;
}

static Error *verdict(const Checking *checking, DaemonId id, Run *run)
{
    DEFER(buf_done) Buf words = {0};
    const char *program = strrchr(run->check.argv.items[0], '/') + 1;
    int code = child_exit(run->child);

    if (code == -1000)
        return error_new(ERROR_SYSTEM, "%s: %s did not end within %d s", daemons[id].name, program,
                         CHECK_DEADLINE_MS / 1000);
    if (code < 0)
        return error_new(ERROR_SYSTEM, "%s: %s was ended by signal %d", daemons[id].name, program, -code);
    words_of(&run->check, child_words(run->child), checking->folder, &words);
    bool warned = run->check.strict && words.size;
    if (!warned && (code == 0 || run->check.any_exit))
        return NULL;
    if (!words.size)
        return error_new(ERROR_REFUSED, "%s: %s ended with %d and no word", daemons[id].name, program, code);
    return error_new(ERROR_REFUSED, "%s: %s", daemons[id].name, buf_text(&words));
}

/* ---- run --------------------------------------------------------------------------- */

static bool run_one(Checking *checking, DaemonId id, Msec now)
{
    Run *run = &checking->runs[id];

    while (run->child && child_run(run->child, now)) {
        run->refused = verdict(checking, id, run);
        if (run->refused)
            child_free(&run->child);
        else
            run->refused = error_in(start_next(checking, id), "%s", daemons[id].name);
        if (run->refused)
            child_free(&run->child);
    }
    return !run->child;
}

bool checking_run(Checking *checking, Msec now)
{
    bool ended = true;

    for (DaemonId id = 0; id < N_DAEMONS; id++)
        ended = run_one(checking, id, now) && ended;
    return ended;
}

void checking_wait(const Checking *checking, Waiter *wake)
{
    bool any = false;

    for (DaemonId id = 0; id < N_DAEMONS; id++) {
        if (!checking->runs[id].child)
            continue;
        child_wait(checking->runs[id].child, wake);
        any = true;
    }
    if (!any)
        waiter_now(wake);
}

unsigned checking_refused(const Checking *checking)
{
    unsigned refused = 0;

    for (DaemonId id = 0; id < N_DAEMONS; id++) {
        if (checking->runs[id].refused)
            refused |= 1U << id;
    }
    return refused;
}

Error *checking_error(const Checking *checking)
{
    for (DaemonId id = 0; id < N_DAEMONS; id++) {
        const Error *refused = checking->runs[id].refused;
        if (refused)
            return error_new(refused->code, "%s", refused->what);
    }
    return NULL;
}
