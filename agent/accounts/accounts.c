#include "accounts/accounts.h"

#include "accounts/file.h"
#include "base/alloc.h"
#include "base/log.h"

#include <stdio.h>
#include <stdlib.h>

struct Accounts {
    AccountFile *file; /* one of the two, or neither */
    Mirror *mirror;
    AccountSet *set; /* waits for the tables, a chain; NULL: nothing waits */
    bool holds;      /* ... in vain: the tables did not take it */
    size_t n_users, n_groups;
    size_t most;       /* users that there were lately ... */
    uint64_t removals; /* ... when so many had been removed through us: those are no surprise */
    bool known;        /* a whole reading is in the tables */
    bool away_said, away_is;
    char text[320];
};

Accounts *accounts_new(const char *file)
{
    Accounts *accounts = xcalloc(1, sizeof *accounts);

    accounts->file = file ? account_file_new(file) : NULL;
    return accounts;
}

Accounts *accounts_of_mirror(Mirror *mirror)
{
    Accounts *accounts = xcalloc(1, sizeof *accounts);

    accounts->mirror = mirror;
    return accounts;
}

void accounts_free(Accounts **accounts)
{
    if (!*accounts)
        return;
    account_set_free(&(*accounts)->set);
    account_file_free(&(*accounts)->file);
    mirror_free(&(*accounts)->mirror);
    free(*accounts);
    *accounts = NULL;
}

void accounts_run(Accounts *accounts, Msec now)
{
    AccountSet *set = NULL;

    if (accounts->file)
        set = account_file_run(accounts->file, now);
    if (accounts->mirror)
        set = mirror_run(accounts->mirror, now);
    account_set_append(&accounts->set, set);
}

void accounts_wait(const Accounts *accounts, Waiter *wake)
{
    if (accounts->file)
        account_file_wait(accounts->file, wake);
    if (accounts->mirror)
        mirror_wait(accounts->mirror, wake);
}

/* Whether the directory is away is known, and the tables do not say so. */
static bool away_pending(const Accounts *accounts)
{
    bool away = false;

    return accounts->mirror && mirror_away(accounts->mirror, &away) &&
           (!accounts->away_said || accounts->away_is != away);
}

bool accounts_pending(const Accounts *accounts)
{
    return accounts->set || away_pending(accounts) || (accounts->mirror && mirror_claims(accounts->mirror));
}

static bool shrinks(const AccountSet *set)
{
    for (; set; set = account_set_next(set))
        if (account_set_shrinks(set))
            return true;
    return false;
}

static bool any_whole(const AccountSet *set)
{
    for (; set; set = account_set_next(set))
        if (account_set_whole(set))
            return true;
    return false;
}

/* SPEC F-181.  What was removed through us is no surprise. */
static Error *write_set(Accounts *accounts, Tables *tables)
{
    bool guarded = accounts->mirror && shrinks(accounts->set);
    size_t before = 0, after = 0;
    Error *err = guarded ? tables_accounts_mark(tables) : NULL;

    tables_accounts_count(tables, &before, NULL);
    if (!err)
        err = account_set_write(accounts->set, tables);
    if (err || !guarded)
        return err;
    tables_accounts_count(tables, &after, NULL);
    before = before > accounts->most ? before : accounts->most;
    uint64_t removed = mirror_removals(accounts->mirror) - accounts->removals;
    before = before > removed ? before - (size_t)removed : 0;
    accounts->holds = mirror_holds(accounts->mirror, before, after);
    return accounts->holds ? tables_accounts_back(tables) : NULL;
}

Error *accounts_write(Accounts *accounts, Tables *tables)
{
    bool away = false;
    Error *err = NULL;

    accounts->holds = false;
    if (accounts->set)
        err = write_set(accounts, tables);
    if (!err && accounts->mirror && mirror_away(accounts->mirror, &away))
        err = tables_directory_away(tables, away);
    if (!err && accounts->mirror)
        err = mirror_claim_write(accounts->mirror, tables);
    return error_in(err, "accounts");
}

/* The most of the last while: many small steps are a sudden change, too. */
static void remember_most(Accounts *accounts)
{
    if (accounts->n_users >= accounts->most || any_whole(accounts->set)) {
        accounts->most = accounts->n_users;
        accounts->removals = accounts->mirror ? mirror_removals(accounts->mirror) : 0;
    }
}

static void taken(Accounts *accounts, const Tables *tables)
{
    bool whole = any_whole(accounts->set);

    tables_accounts_count(tables, &accounts->n_users, &accounts->n_groups);
    remember_most(accounts);
    if (accounts->mirror)
        mirror_written(accounts->mirror);
    if (whole && !accounts->known)
        log_info("accounts taken", kv("users", accounts->n_users), kv("groups", accounts->n_groups));
    accounts->known = accounts->known || whole;
}

void accounts_written(Accounts *accounts, const Tables *tables)
{
    bool away = false;

    if (accounts->mirror && mirror_away(accounts->mirror, &away)) {
        accounts->away_said = true;
        accounts->away_is = away;
    }
    if (accounts->mirror)
        mirror_claim_written(accounts->mirror);
    if (!accounts->set)
        return;
    if (!accounts->holds)
        taken(accounts, tables);
    account_set_free(&accounts->set);
}

void accounts_again(Accounts *accounts)
{
    accounts->away_said = accounts->known = false;
    if (accounts->file)
        account_file_again(accounts->file);
    if (accounts->mirror)
        mirror_again(accounts->mirror);
}

Mail__FactState accounts_state(Accounts *accounts, const char **ret_text, Msec now, Msec *ret_seen_at)
{
    const char *bad = accounts->file ? account_file_bad(accounts->file) : NULL;
    Mail__FactState state = bad ? MAIL__FACT_STATE__BAD : MAIL__FACT_STATE__GOOD;
    bool cut_off = false;
    const char *copied_from = accounts->mirror ? mirror_copied_from(accounts->mirror, &cut_off) : NULL;
    Msec seen_at = accounts->mirror ? mirror_seen_at(accounts->mirror) : 0;

    if (accounts->mirror)
        bad = mirror_trouble(accounts->mirror, &state);
    *ret_text = accounts->text;
    *ret_seen_at = bad || !seen_at ? now : seen_at; /* the mirror is as old as its last word */
    if (bad)
        snprintf(accounts->text, sizeof accounts->text, "%s", bad);
    else if (accounts->known)
        snprintf(accounts->text, sizeof accounts->text, "%zu users, %zu groups%s%s%s", accounts->n_users,
                 accounts->n_groups, copied_from ? ": a copy of node " : "", copied_from ? copied_from : "",
                 cut_off ? ", which is not reached: new users and passwords do not come" : "");
    else
        snprintf(accounts->text, sizeof accounts->text, "none have come yet: mail for users is deferred");
    if (bad)
        return state;
    if (!accounts->known)
        return MAIL__FACT_STATE__UNKNOWN;
    return cut_off ? MAIL__FACT_STATE__DEGRADED : MAIL__FACT_STATE__GOOD;
}
