#include "accounts/accounts.h"

#include "accounts/file.h"
#include "base/alloc.h"
#include "base/log.h"

#include <stdio.h>
#include <stdlib.h>

struct Accounts {
    AccountFile *file; /* one of the two, or neither */
    Mirror *mirror;
    AccountSet *set; /* waits for the tables; NULL: nothing waits */
    size_t n_users, n_groups;
    bool known; /* a whole reading is in the tables */
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
    if (!set)
        return;
    account_set_free(&accounts->set); /* what was older */
    accounts->set = set;
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
    return accounts->set || away_pending(accounts);
}

Error *accounts_write(const Accounts *accounts, Tables *tables)
{
    bool away = false;
    Error *err = NULL;

    if (accounts->set)
        err = account_set_write(accounts->set, tables);
    if (!err && accounts->mirror && mirror_away(accounts->mirror, &away))
        err = tables_directory_away(tables, away);
    return error_in(err, "accounts");
}

void accounts_written(Accounts *accounts)
{
    bool away = false;

    if (accounts->mirror && mirror_away(accounts->mirror, &away)) {
        accounts->away_said = true;
        accounts->away_is = away;
    }
    if (!accounts->set)
        return;
    accounts->n_users = account_set_users(accounts->set);
    accounts->n_groups = account_set_groups(accounts->set);
    accounts->known = true;
    account_set_free(&accounts->set);
    if (accounts->mirror)
        mirror_written(accounts->mirror);
    log_info("accounts taken", kv("users", accounts->n_users), kv("groups", accounts->n_groups));
}

void accounts_again(Accounts *accounts)
{
    accounts->away_said = false;
    if (accounts->file)
        account_file_again(accounts->file);
    if (accounts->mirror)
        mirror_again(accounts->mirror);
}

Mail__FactState accounts_state(Accounts *accounts, const char **ret_text)
{
    const char *bad = accounts->file ? account_file_bad(accounts->file) : NULL;
    Mail__FactState state = bad ? MAIL__FACT_STATE__BAD : MAIL__FACT_STATE__GOOD;

    if (accounts->mirror)
        bad = mirror_trouble(accounts->mirror, &state);
    *ret_text = accounts->text;
    if (bad)
        snprintf(accounts->text, sizeof accounts->text, "%s", bad);
    else if (accounts->known)
        snprintf(accounts->text, sizeof accounts->text, "%zu users, %zu groups", accounts->n_users, accounts->n_groups);
    else
        snprintf(accounts->text, sizeof accounts->text, "none have come yet: mail for users is deferred");
    if (bad)
        return state;
    return accounts->known ? MAIL__FACT_STATE__GOOD : MAIL__FACT_STATE__UNKNOWN;
}
