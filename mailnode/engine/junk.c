#include "engine/junk.h"

#include "base/alloc.h"
#include "base/log.h"
#include "base/path.h"
#include "engine/child.h"
#include "tables/places.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    EVERY_MS = 60 * 60 * 1000,
    FIRST_MS = 60 * 1000, /* after the start, in which there is enough to do */
    LOOK_DEADLINE_MS = 10 * 60 * 1000,
    EXPUNGE_DEADLINE_MS = 10 * 60 * 1000,
};

struct Junk {
    Path mail_db, mail, conf;
    Happened *happened;
    Msec every, look_at;
    Child *child;
    bool looking;
    char *folder;             /* of this round */
    char *found, *next;       /* "SECONDS NAME" lines of users, and those that are still to be done; NULL: none */
    char *user;               /* whose turn it is; at the end of a list its last */
    size_t n_users, n_failed; /* of this round */
};

Junk *junk_new(const char *root, Happened *happened)
{
    Junk *junk = xcalloc(1, sizeof *junk);
    const char *every = getenv("MAILNODE_JUNK_MS");

    junk->mail_db = path_in(root, "%s/mail.db", &PLACE_TABLES[3]);
    junk->mail = path_in(root, "%s", &PLACE_MAIL[3]);
    junk->conf = path_in(root, "%s/dovecot/dovecot.conf", &PLACE_CURRENT[3]);
    junk->happened = happened;
    junk->every = every && strtoull(every, NULL, 10) ? (Msec)strtoull(every, NULL, 10) : EVERY_MS;
    junk->look_at = clock_ms() + (junk->every < FIRST_MS ? junk->every : FIRST_MS);
    return junk;
}

static void round_done(Junk *junk)
{
    child_free(&junk->child);
    xfree(&junk->folder);
    xfree(&junk->found);
    xfree(&junk->user);
    junk->next = NULL;
    junk->n_users = junk->n_failed = 0;
}

void junk_free(Junk **junk)
{
    if (!*junk)
        return;
    round_done(*junk);
    xfree(junk);
}

/* ---- who ---- */

static void found_say(void *context, const char *user, uint64_t retention_s)
{
    (void)context;
    printf("%" PRIu64 " %s\n", retention_s, user);
}

static int look_in_child(void *context)
{
    const Junk *junk = context;

    Error *err = junk_look(junk->mail_db.text, junk->mail.text, junk->folder, junk->user ? junk->user : "",
                           (uint64_t)time(NULL), found_say, NULL);
    if (err)
        printf("%s\n", err->what);
    int status = err ? 1 : 0;
    error_free(&err);
    return fflush(stdout) == 0 ? status : 1;
}

static Error *look_begin(Junk *junk)
{
    const ChildSpec spec = {.user = "vmail", .deadline_ms = LOOK_DEADLINE_MS};

    junk->looking = true;
    return child_fork(&spec, look_in_child, junk, &junk->child);
}

/* ---- what ---- */

static Error *expunge_begin(Junk *junk)
{
    DEFER(argv_done) Argv argv = {0};
    char *line = junk->next, *end = strchr(line, '\n'), *name = NULL;

    junk->next = end ? end + 1 : line + strlen(line);
    if (end)
        *end = '\0';
    uint64_t retention_s = strtoull(line, &name, 10);
    free(junk->user);
    junk->user = xstrdup(*name ? name + 1 : name);
    argv_add(&argv, "/usr/bin/doveadm");
    argv_add(&argv, "-c");
    argv_add(&argv, "%s", junk->conf.text);
    argv_add(&argv, "expunge");
    argv_add(&argv, "-u");
    argv_add(&argv, "%s", junk->user);
    argv_add(&argv, "--");
    argv_add(&argv, "mailbox");
    argv_add(&argv, "%s", junk->folder); /* has no '*' and no '%': model/name.c */
    argv_add(&argv, "savedbefore");
    argv_add(&argv, "%" PRIu64 "s", retention_s);
    const ChildSpec spec = {.argv = (const char *const *)argv.items, .deadline_ms = EXPUNGE_DEADLINE_MS};
    junk->looking = false;
    junk->n_users++;
    return child_start(&spec, &junk->child);
}

static void failed(Junk *junk, const char *what, const char *words)
{
    junk->n_failed++;
    happened_add(junk->happened, MAIL__FACT_STATE__DEGRADED, "junk not emptied", "%s: %s", what,
                 *words ? words : "it did not answer in time");
}

/* ---- one after the other ---- */

static void child_ended(Junk *junk)
{
    bool done = child_succeeded(junk->child);

    /* any word of doveadm is a complaint */
    if (!done || (!junk->looking && *child_words(junk->child)))
        failed(junk, junk->looking ? "looking for it" : junk->user, child_words(junk->child));
    if (junk->looking) {
        xfree(&junk->found);
        junk->found = xstrdup(done ? child_words(junk->child) : "");
        junk->next = junk->found;
    }
    child_free(&junk->child);
}

static void round_end(Junk *junk, Msec now)
{
    if (junk->n_users)
        log_info("junk emptied", kv("users", junk->n_users), kv("failed", junk->n_failed));
    round_done(junk);
    junk->look_at = now + junk->every;
}

/* Takes err: why there is no child. */
static void begun(Junk *junk, Error *err, Msec now)
{
    if (!err)
        return;
    failed(junk, "not begun", err->what);
    error_free(&err);
    round_end(junk, now);
}

/* The next user; behind the last of a list who comes behind him; nobody: the end of the round. */
static void go_on(Junk *junk, Msec now)
{
    bool listed = *junk->next;

    if (!listed && (junk->looking || !junk->user)) {
        round_end(junk, now);
        return;
    }
    begun(junk, listed ? expunge_begin(junk) : look_begin(junk), now);
}

static void round_begin(Junk *junk, const Change *change, Msec now)
{
    const NodeState *state = change_in_force(change).state;

    junk->look_at = now + junk->every;
    if (!state || !state->instance_name || !state->settings->junk)
        return;
    junk->folder = xstrdup(state->settings->junk_folder);
    begun(junk, look_begin(junk), now);
}

void junk_run(Junk *junk, const Change *change, Msec now)
{
    if (junk->child && child_run(junk->child, now)) {
        child_ended(junk);
        go_on(junk, now);
    } else if (!junk->child && now >= junk->look_at) {
        round_begin(junk, change, now);
    }
}

void junk_wait(const Junk *junk, Waiter *wake)
{
    if (junk->child)
        child_wait(junk->child, wake);
    else
        waiter_at(wake, junk->look_at);
}
