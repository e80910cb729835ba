#include "engine/check.h"

#include "base/alloc.h"
#include "base/utf8.h"
#include "engine/replicas.h"

#include <assert.h>
#include <string.h>

enum { CHECK_DEADLINE_MS = 30000, BESIDE_MAX = 8, PASSED_MS = 60000 };

typedef struct Run {
    Child *child;
    bool ended;
    DaemonCheck check;
} Run;

typedef struct Batch { /* the checkers of one daemon that run side by side; n 0: none runs */
    Run runs[BESIDE_MAX];
    size_t n, index;
    Error *refused;
} Batch;

struct Checking {
    const NodeState *state;
    char *folder;
    Batch batches[N_DAEMONS];
};

static void batch_clear(Batch *batch)
{
    for (; batch->n; batch->n--) {
        Run *run = &batch->runs[batch->n - 1];
        child_free(&run->child);
        argv_done(&run->check.argv);
    }
}

void checking_free(Checking **checking)
{
    if (!*checking)
        return;
    for (DaemonId id = 0; id < N_DAEMONS; id++) {
        batch_clear(&(*checking)->batches[id]);
        error_free(&(*checking)->batches[id].refused);
    }
    xfree(&(*checking)->folder);
    xfree(checking);
}

/* slaptest wants the folders that are made before it. */
static bool side_by_side(DaemonId id)
{
    return id == DAEMON_POSTFIX;
}

/* The next checkers of this daemon, if there are any. */
static Error *start_next(Checking *checking, DaemonId id)
{
    Batch *batch = &checking->batches[id];
    Error *err = NULL;

    do {
        assert(batch->n < BESIDE_MAX);
        Run *run = &batch->runs[batch->n];
        *run = (Run){0};
        if (!daemon_check(id, checking->state, checking->folder, batch->index, &run->check))
            return NULL;
        batch->index++;
        batch->n++;
        err = child_start(&(ChildSpec){.user = run->check.user,
                                       .argv = (const char *const *)run->check.argv.items,
                                       .folder = checking->folder,
                                       .deadline_ms = CHECK_DEADLINE_MS},
                          &run->child);
    } while (side_by_side(id) && !err);
    return err;
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

static bool copy_is_whole(const char *words)
{
    for (const char *line = words; *line; line += strcspn(line, "\n"), line += *line == '\n')
        if (replica_is_whole(line))
            return true;
    return false;
}

static Error *not_whole(const char *user_domain)
{
    return error_new(ERROR_REFUSED,
                     "user-domain %s: the copy here is not whole, accounts would be lost: it cannot take over",
                     user_domain);
}

static Error *verdict(const Checking *checking, DaemonId id, const Run *run)
{
    DEFER(buf_done) Buf words = {0};
    const char *program = strrchr(run->check.argv.items[0], '/') + 1;
    int code = child_exit(run->child);

    if (code == -1000)
        return error_new(ERROR_SYSTEM, "%s: %s did not end within %d s", daemons[id].name, program,
                         CHECK_DEADLINE_MS / 1000);
    if (code < 0)
        return error_new(ERROR_SYSTEM, "%s: %s was ended by signal %d", daemons[id].name, program, -code);
    if (run->check.copy_of)
        return copy_is_whole(child_words(run->child)) ? NULL : not_whole(run->check.copy_of);
    words_of(&run->check, child_words(run->child), checking->folder, &words);
    bool warned = run->check.strict && words.size;
    if (!warned && (code == 0 || run->check.any_exit))
        return NULL;
    if (!words.size)
        return error_new(ERROR_REFUSED, "%s: %s ended with %d and no word", daemons[id].name, program, code);
    return error_new(ERROR_REFUSED, "%s: %s", daemons[id].name, buf_text(&words));
}

/* ---- run --------------------------------------------------------------------------- */

static bool batch_ended(Batch *batch, Msec now)
{
    bool ended = true;

    for (size_t i = 0; i < batch->n; i++) {
        Run *run = &batch->runs[i];
        run->ended = run->ended || child_run(run->child, now);
        ended = ended && run->ended;
    }
    return ended;
}

static bool run_one(Checking *checking, DaemonId id, Msec now)
{
    Batch *batch = &checking->batches[id];

    while (batch->n) {
        if (!batch_ended(batch, now))
            return false;
        for (size_t i = 0; i < batch->n && !batch->refused; i++)
            batch->refused = verdict(checking, id, &batch->runs[i]);
        batch_clear(batch);
        if (!batch->refused)
            batch->refused = error_in(start_next(checking, id), "%s", daemons[id].name);
        if (batch->refused)
            batch_clear(batch);
    }
    return true;
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
        const Batch *batch = &checking->batches[id];
        for (size_t i = 0; i < batch->n; i++) {
            if (batch->runs[i].ended)
                continue;
            child_wait(batch->runs[i].child, wake);
            any = true;
        }
    }
    if (!any)
        waiter_now(wake);
}

unsigned checking_refused(const Checking *checking)
{
    unsigned refused = 0;

    for (DaemonId id = 0; id < N_DAEMONS; id++) {
        if (checking->batches[id].refused)
            refused |= 1U << id;
    }
    return refused;
}

Error *checking_error(const Checking *checking)
{
    for (DaemonId id = 0; id < N_DAEMONS; id++) {
        const Error *refused = checking->batches[id].refused;
        if (refused)
            return error_new(refused->code, "%s", refused->what);
    }
    return NULL;
}

/* ---- what passed ------------------------------------------------------------------- */

void passed_note(Passed *passed, const FileSet *files, unsigned which, Msec now)
{
    for (DaemonId id = 0; id < N_DAEMONS; id++) {
        if (!(which & 1U << id))
            continue;
        passed->files[id] = fileset_digest(files, daemons[id].name);
        passed->until[id] = now + PASSED_MS;
    }
}

unsigned passed_not(const Passed *passed, const FileSet *files, unsigned which, Msec now)
{
    for (DaemonId id = 0; id < N_DAEMONS; id++) {
        Digest is = fileset_digest(files, daemons[id].name);
        if (now < passed->until[id] && digest_equal(&is, &passed->files[id]))
            which &= ~(1U << id);
    }
    return which;
}
