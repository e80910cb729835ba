/* A mail.db that cannot be read is not "try later": smtpd dies without a word, or its clients hang.  So Postfix and
 * Dovecot run only while each of their users can read it; otherwise it is put in order by its owner, once. */
#include "engine/supervise_inside.h"

#include "base/alloc.h"
#include "tables/places.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { CALM_MS = 60000, MISSING_MS = 300, AGAIN_MS = 1000, UNREADABLE_MS = 5000, RECOVER_MS = 60000 };

static const char *const users[] = {"postfix", "dovecot", "vmail"};
enum { N_USERS = sizeof users / sizeof *users };

static bool anybody_reads(const Supervise *supervise)
{
    for (DaemonId id = 0; id < N_DAEMONS; id++) {
        if ((supervise->how->reads_tables >> id & 1) && supervise->units[id].wanted)
            return true;
    }
    return false;
}

static bool is_there(const Supervise *supervise)
{
    DEFER(xfree) char *path = xasprintf(PLACE_TABLES "/mail.db", supervise->root);

    return access(path, F_OK) == 0;
}

static void become(Supervise *supervise, TablesState state)
{
    if (supervise->tables.state != state)
        supervise->moved = true;
    supervise->tables.state = state;
}

/* The agent beside us.  False: there is none. */
static bool agent_path(char ret_path[PATH_MAX])
{
    static const char name[] = "mail-agent";

    ssize_t len = readlink("/proc/self/exe", ret_path, PATH_MAX - 1);
    if (len <= 0)
        return false;
    ret_path[len] = '\0';
    char *slash = strrchr(ret_path, '/');
    if (!slash || slash + sizeof name >= ret_path + PATH_MAX)
        return false;
    memcpy(slash + 1, name, sizeof name);
    return access(ret_path, X_OK) == 0;
}

static void begin_recover(Supervise *supervise)
{
    TablesWatch *tables = &supervise->tables;
    char path[PATH_MAX];

    tables->recovered = true;
    if (!agent_path(path))
        return;
    const char *const argv[] = {path, "recover", "--root", *supervise->root ? supervise->root : "/", NULL};
    ChildSpec spec = {.user = "mailagent", .argv = argv, .deadline_ms = RECOVER_MS};
    Error *err = child_start(&spec, &tables->recover);
    if (err)
        happened_add(supervise->happened, MAIL__FACT_STATE__BAD, "mail.db not recovered", "%s", err->what);
    error_free(&err);
}

static void cannot_read(Supervise *supervise, const char *words, Msec now)
{
    TablesWatch *tables = &supervise->tables;
    const char *user = users[tables->user];

    tables->user = 0;
    tables->failures++;
    tables->at = now + AGAIN_MS;
    if (tables->state == TABLES_READ && tables->failures == 1)
        return; /* it may have been written anew this very moment */
    xfree(&tables->why);
    tables->why = xasprintf("%s cannot read %s", user, words);
    if (tables->state != TABLES_UNREADABLE)
        happened_add(supervise->happened, MAIL__FACT_STATE__BAD, "mail.db cannot be read",
                     "%s; Postfix and Dovecot do not run until it can", tables->why);
    become(supervise, TABLES_UNREADABLE);
    if (!tables->recovered)
        begin_recover(supervise);
    else
        tables->at = now + UNREADABLE_MS;
}

static void take_recover(Supervise *supervise, Msec now)
{
    DEFER(child_free) Child *recover = supervise->tables.recover;

    supervise->tables.recover = NULL;
    supervise->tables.at = now;
    happened_add(supervise->happened, child_succeeded(recover) ? MAIL__FACT_STATE__GOOD : MAIL__FACT_STATE__BAD,
                 child_succeeded(recover) ? "mail.db recovered" : "mail.db not recovered", "%s", child_words(recover));
}

static void begin_canary(Supervise *supervise, Msec now)
{
    TablesWatch *tables = &supervise->tables;

    if (!is_there(supervise)) {
        tables->user = 0;
        tables->at = now + MISSING_MS;
        become(supervise, TABLES_MISSING);
        return;
    }
    Error *err = supervise->how->canary(users[tables->user], supervise->root, &tables->canary);
    if (err) /* no process to be had: that says nothing about mail.db */
        tables->at = now + AGAIN_MS;
    error_free(&err);
}

static void take_canary(Supervise *supervise, Msec now)
{
    TablesWatch *tables = &supervise->tables;
    DEFER(child_free) Child *canary = tables->canary;

    tables->canary = NULL;
    if (child_exit(canary) < 0) { /* killed, or too slow: nothing is known, what was known stays */
        tables->at = now + AGAIN_MS;
        return;
    }
    if (!child_succeeded(canary)) {
        cannot_read(supervise, *child_words(canary) ? child_words(canary) : "mail.db in time", now);
        return;
    }
    if (tables->user == 0)
        probe_domain_is(child_words(canary));
    if (++tables->user < N_USERS)
        return; /* the next one at once */
    tables->user = 0;
    tables->failures = 0;
    tables->recovered = false;
    tables->at = now + CALM_MS;
    xfree(&tables->why);
    become(supervise, TABLES_READ);
}

void tables_watch_run(Supervise *supervise, Msec now)
{
    TablesWatch *tables = &supervise->tables;

    if (tables->recover && !child_run(tables->recover, now))
        return;
    if (tables->recover)
        take_recover(supervise, now);
    if (!anybody_reads(supervise)) {
        tables_watch_free(tables);
        return;
    }
    if (tables->canary && child_run(tables->canary, now))
        take_canary(supervise, now);
    if (!tables->canary && !tables->recover && (now >= tables->at || tables->user > 0))
        begin_canary(supervise, now);
}

void tables_watch_wait(const Supervise *supervise, Waiter *wake)
{
    const TablesWatch *tables = &supervise->tables;

    if (tables->recover)
        child_wait(tables->recover, wake);
    else if (tables->canary)
        child_wait(tables->canary, wake);
    else if (anybody_reads(supervise))
        waiter_at(wake, tables->at);
}

void tables_watch_soon(Supervise *supervise, Msec now)
{
    supervise->tables.at = now;
}

/* As if nothing had been asked yet. */
void tables_watch_free(TablesWatch *tables)
{
    child_free(&tables->canary);
    child_free(&tables->recover);
    xfree(&tables->why);
    *tables = (TablesWatch){.state = TABLES_UNKNOWN};
}
