#include "accounts/mirror.h"

#include "base/alloc.h"
#include "base/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct Mirror {
    Journal *journal;
    Directory *directory;
    const char *node;

    unsigned journal_life; /* 'user_domain' is as of this revision */
    uint64_t revision;
    Digest chain;
    char *user_domain; /* of the instance here, if its directory is here, too; NULL: nothing to be read */
    char *elsewhere;   /* why not; NULL: it is */
    char *copied_from; /* the node that holds the directory of which a copy is here; NULL: it is here itself */

    Msec look_at;             /* when to ask, if nobody watches */
    Msec whole_at;            /* when everything is read again; 0: at once */
    AccountSet *grows, *last; /* the batch that comes, a chain; its newest set */
    AccountSet *ready;        /* for mirror_run's caller */
    uint64_t offered;         /* parts of the directory's that what was handed over is of */
    size_t held_before, held_after;
    Looks looks;
    char *trouble;
    char text[320];

    bool watching;
    bool broken; /* what came is not whole */
    bool waits;  /* what was handed over is not in the tables yet */
    bool held;
    bool claim_written; /* what somebody claims: with the commit it is his */
    bool accepted;      /* a reading with about 'held_after' users may be taken */
    bool known, away;
    bool cut_off; /* the copy does not reach what it copies */
};

Mirror *mirror_new(Journal *journal, Directory *directory, const char *node)
{
    Mirror *mirror = xcalloc(1, sizeof *mirror);

    *mirror = (Mirror){.journal = journal, .directory = directory, .node = node};
    return mirror;
}

void mirror_free(Mirror **mirror)
{
    if (!*mirror)
        return;
    account_set_free(&(*mirror)->grows);
    account_set_free(&(*mirror)->ready);
    free((*mirror)->user_domain);
    free((*mirror)->elsewhere);
    free((*mirror)->copied_from);
    free((*mirror)->trouble);
    free(*mirror);
    *mirror = NULL;
}

/* ---- what is to be read ---- */

/* Of the batch that comes. */
static void drop(Mirror *mirror)
{
    account_set_free(&mirror->grows);
    mirror->last = NULL;
    mirror->broken = false;
}

static void forget(Mirror *mirror)
{
    drop(mirror);
    account_set_free(&mirror->ready);
    directory_unwatch(mirror->directory);
    xfree(&mirror->trouble);
    mirror->watching = mirror->waits = mirror->held = mirror->accepted = mirror->cut_off = false;
    mirror->looks = (Looks){0};
    mirror->known = false;
    mirror->look_at = mirror->whole_at = 0;
}

static bool same_text(const char *a, const char *b)
{
    return a && b ? strcmp(a, b) == 0 : a == b;
}

/* NULL: no instance is here.  Owned by the caller. */
static Error *wanted_domain(Mirror *mirror, char **ret_domain)
{
    DEFER(xfree) char *instance = NULL;
    DEFER(object_free) Object *object = NULL;
    TablesView view = journal_view(mirror->journal, NULL);

    Error *err = journal_instance(mirror->journal, mirror->node, &instance);
    if (!err && instance)
        err = view.objects.get(view.objects.self, &(ObjectRef){MAIL__OBJECT__BODY_INSTANCE, "", instance}, &object);
    if (!err && object && object->instance->user_domain)
        *ret_domain = xstrdup(object->instance->user_domain);
    return err;
}

static Error *learn_now(Mirror *mirror)
{
    DEFER(xfree) char *domain = NULL;
    DEFER(object_free) Object *object = NULL;
    TablesView view = journal_view(mirror->journal, NULL);

    Error *err = wanted_domain(mirror, &domain);
    if (!err && domain)
        err = view.objects.get(view.objects.self, &(ObjectRef){MAIL__OBJECT__BODY_USER_DOMAIN, "", domain}, &object);
    if (err)
        return err;
    const char *holder = object && object->user_domain->node ? object->user_domain->node : "";
    DirectoryRole role = object ? user_domain_role(object->user_domain, mirror->node) : DIRECTORY_NONE;
    bool here = domain && role != DIRECTORY_NONE;
    char *elsewhere = NULL;
    if (domain && !here)
        elsewhere = xasprintf("user domain %s is on node %s, without a replica here: mailctl user-domain set %s "
                              "replicas+=%s",
                              domain, *holder ? holder : "-", domain, mirror->node);
    free(mirror->copied_from);
    mirror->copied_from = here && role == DIRECTORY_REPLICA ? xstrdup(holder) : NULL;
    if (!same_text(mirror->user_domain, here ? domain : NULL) || !same_text(mirror->elsewhere, elsewhere)) {
        forget(mirror);
        free(mirror->user_domain);
        mirror->user_domain = here ? xstrdup(domain) : NULL;
    }
    free(mirror->elsewhere);
    mirror->elsewhere = elsewhere;
    if (elsewhere) /* nothing is known of those who are not known */
        mirror->known = mirror->away = true;
    return NULL;
}

static void learn(Mirror *mirror)
{
    const Wanted *wanted = journal_wanted(mirror->journal);

    if (journal_receiving(mirror->journal) || !wanted->revision ||
        (mirror->revision == wanted->revision && mirror->journal_life == journal_life(mirror->journal) &&
         digest_equal(&mirror->chain, &wanted->chain)))
        return;
    Error *err = learn_now(mirror);
    if (err) { /* damage is seen to by journal_run, and its life rises */
        error_free(&err);
        return;
    }
    mirror->revision = wanted->revision;
    mirror->journal_life = journal_life(mirror->journal);
    mirror->chain = wanted->chain;
}

/* ---- what comes ---- */

static void take_group(Mirror *mirror, const Mail__Account *account)
{
    const char *const *members = (const char *const *)account->members;

    if (!account->more)
        account_set_group(mirror->last, &(AccountGroup){.uuid = account->uuid,
                                                        .name = account->name,
                                                        .users = members,
                                                        .n_users = account->n_members});
    else if (!account_set_more(mirror->last, account->uuid, members, account->n_members))
        mirror->broken = true;
}

static void grow(Mirror *mirror, bool whole)
{
    AccountSet *set = account_set_new(whole);

    account_set_append(&mirror->grows, set);
    mirror->last = set;
}

static void take_account(Mirror *mirror, const Mail__Account *account)
{
    bool user = account->kind == MAIL__ACCOUNT_KIND__USER;
    bool named = account->name && *account->name;

    if (!account->uuid || !*account->uuid || !account->has_kind || (!named && !account->gone)) {
        mirror->broken = true; /* mail-ldap never says so */
        return;
    }
    if (account->gone) {
        account_set_gone(mirror->last, user, account->uuid);
        return;
    }
    if (!account_set_whole(mirror->last) && account_set_shrinks(mirror->last))
        grow(mirror, false); /* what comes back is said after what went */
    if (user)
        account_set_user(mirror->last,
                         &(AccountUser){account->uuid, account->name, account->full_name, account->enabled});
    else
        take_group(mirror, account);
}

static void good(Mirror *mirror, Msec now)
{
    if (mirror->known && mirror->away)
        log_info("directory answers again", kv("user_domain", mirror->user_domain));
    mirror->looks = (Looks){.good_at = now, .first_at = now};
    mirror->known = true;
    mirror->away = false;
    xfree(&mirror->trouble);
}

/* Takes why. */
static void bad(Mirror *mirror, Error *why, Msec now)
{
    mirror->looks.n_failed++;
    if (!mirror->trouble || strcmp(mirror->trouble, why->what) != 0)
        log_warning("directory not read, trying again", kv("user_domain", mirror->user_domain), kv("why", why->what));
    free(mirror->trouble);
    mirror->trouble = xstrdup(why->what);
    error_free(&why);
    if (looks_away(&mirror->looks, now) && !(mirror->known && mirror->away)) {
        mirror->known = mirror->away = true;
        journal_happened(mirror->journal, MAIL__FACT_STATE__BAD, "directory away", "user domain %s: %s",
                         mirror->user_domain, mirror->trouble);
    }
}

/* All of a batch is there. */
static void batch_end(Mirror *mirror, Msec now)
{
    bool whole = account_set_whole(mirror->grows);

    good(mirror, now);
    if (whole)
        mirror->whole_at = now + (mirror->held ? MIRROR_HELD_MS : MIRROR_WHOLE_MS);
    if (mirror->held && !whole) { /* it is of what was not taken */
        drop(mirror);
        return;
    }
    if (account_set_empty(mirror->grows)) {
        drop(mirror);
    } else {
        account_set_append(&mirror->ready, mirror->grows);
        mirror->grows = mirror->last = NULL;
        mirror->waits = true;
    }
    mirror->offered = directory_taken(mirror->directory);
    if (!mirror->waits)
        directory_mirrored(mirror->directory, mirror->offered);
}

static void copy_look(Mirror *mirror, bool cut_off)
{
    if (cut_off == mirror->cut_off)
        return;
    mirror->cut_off = cut_off;
    if (cut_off)
        journal_happened(mirror->journal, MAIL__FACT_STATE__DEGRADED, "directory not copied",
                         "user domain %s: its slapd does not reach the one of node %s", mirror->user_domain,
                         mirror->copied_from ? mirror->copied_from : "-");
    else
        journal_happened(mirror->journal, MAIL__FACT_STATE__GOOD, "directory copied again", "user domain %s",
                         mirror->user_domain);
}

static void take_part(Mirror *mirror, const Mail__Accounts *accounts, Msec now)
{
    if (accounts->whole && (!mirror->grows || !account_set_whole(mirror->grows)))
        drop(mirror);
    if (!mirror->grows)
        grow(mirror, accounts->whole);
    for (size_t i = 0; !mirror->broken && i < accounts->n_accounts; i++)
        take_account(mirror, accounts->accounts[i]);
    if (accounts->state && !mirror->broken) {
        copy_look(mirror, accounts->cut_off);
        batch_end(mirror, now);
    }
}

/* Takes why. */
static void over(Mirror *mirror, Error *why, Msec now)
{
    if (mirror->broken) /* who watched for us thinks that it was taken */
        mirror->whole_at = 0;
    drop(mirror);
    mirror->watching = false;
    mirror->look_at = now + MIRROR_LOOK_MS;
    bad(mirror, why, now);
}

static void hear(Mirror *mirror, Msec now)
{
    while (mirror->watching) {
        DEFER(envelope_free) Envelope *part = NULL;
        Error *why = NULL;
        DirectoryNews news = directory_heard(mirror->directory, &part, &why);
        if (news == NEWS_NONE)
            return;
        if (news == NEWS_PART)
            take_part(mirror, part->accounts, now);
        else
            over(mirror, why, now);
        if (mirror->broken) {
            directory_unwatch(mirror->directory);
            over(mirror, error_new(ERROR_UNAVAILABLE, "what came is not whole"), now);
        }
    }
}

/* ---- asking ---- */

static void ask(Mirror *mirror, Msec now)
{
    bool whole = now >= mirror->whole_at;

    if (!mirror->looks.first_at)
        mirror->looks.first_at = now;
    drop(mirror);
    mirror->watching = directory_watch(mirror->directory, mirror->user_domain, whole, now);
    if (!mirror->watching) {
        mirror->look_at = now + MIRROR_LOOK_MS;
        bad(mirror, error_new(ERROR_UNAVAILABLE, "mail-ldap is not there"), now);
        return;
    }
    if (whole) /* until it is here: asked for again if it does not come */
        mirror->whole_at = now + MIRROR_WHOLE_MS;
}

static void take_acceptance(Mirror *mirror)
{
    if (!directory_acceptance(mirror->directory, mirror->user_domain))
        return;
    if (!mirror->held) {
        directory_accepted(mirror->directory,
                           error_new(ERROR_NOT_FOUND, "nothing of user domain %s is held", mirror->user_domain));
        return;
    }
    mirror->accepted = true;
    mirror->whole_at = 0;
}

AccountSet *mirror_run(Mirror *mirror, Msec now)
{
    learn(mirror);
    hear(mirror, now);
    if (mirror->user_domain)
        take_acceptance(mirror);
    if (mirror->user_domain && now >= (mirror->watching ? mirror->whole_at : mirror->look_at))
        ask(mirror, now);
    AccountSet *set = mirror->ready;
    mirror->ready = NULL;
    return set;
}

void mirror_wait(const Mirror *mirror, Waiter *wake)
{
    if (mirror->user_domain) /* news wake us through directory_wait */
        waiter_at(wake, mirror->watching ? mirror->whole_at : mirror->look_at);
}

void mirror_written(Mirror *mirror)
{
    if (mirror->held && !mirror->waits)
        return;
    if (mirror->held)
        journal_happened(mirror->journal, MAIL__FACT_STATE__GOOD, "directory taken again", "user domain %s: %s",
                         mirror->user_domain, mirror->accepted ? "accepted" : "its users are back");
    mirror->held = mirror->waits = false;
    directory_mirrored(mirror->directory, mirror->offered);
    if (mirror->accepted)
        directory_accepted(mirror->directory, NULL);
    mirror->accepted = false;
}

void mirror_again(Mirror *mirror)
{
    account_set_free(&mirror->ready);
    mirror->waits = false;
    mirror->whole_at = mirror->look_at = 0;
}

/* ---- mailboxes of others ---- */

bool mirror_claims(const Mirror *mirror)
{
    return mirror->user_domain && directory_claim(mirror->directory, mirror->user_domain);
}

Error *mirror_claim_write(Mirror *mirror, Tables *tables)
{
    const char *name = mirror->user_domain ? directory_claim(mirror->directory, mirror->user_domain) : NULL;
    DEFER(xfree) char *uuid = NULL;

    mirror->claim_written = false;
    if (!name)
        return NULL;
    Error *err = tables_user_uuid(tables, name, &uuid);
    if (err)
        return err;
    if (!uuid) {
        directory_claimed(mirror->directory, mirror->user_domain,
                          error_new(ERROR_NOT_FOUND, "user %s does not exist", name));
        return NULL;
    }
    err = journal_own_begin(mirror->journal);
    if (!err)
        err = journal_own_end(mirror->journal, journal_own(mirror->journal, name, uuid));
    if (!err)
        err = tables_touch_user(tables, name);
    mirror->claim_written = !err;
    return err;
}

void mirror_claim_written(Mirror *mirror)
{
    if (mirror->claim_written && mirror->user_domain)
        directory_claimed(mirror->directory, mirror->user_domain, NULL);
    mirror->claim_written = false;
}

/* ---- shrinking ---- */

uint64_t mirror_removals(const Mirror *mirror)
{
    return directory_removals(mirror->directory);
}

bool shrinks_suddenly(size_t before, size_t after)
{
    return before && (!after || (after * 2 <= before && before - after > MIRROR_FEW));
}

bool mirror_holds(Mirror *mirror, size_t before, size_t after)
{
    bool again = mirror->held;

    if (!shrinks_suddenly(before, after) ||
        (mirror->accepted && !shrinks_suddenly(mirror->held_after, after))) /* as many as were shown, about */
        return false;
    if (mirror->accepted)
        directory_accepted(mirror->directory,
                           error_new(ERROR_CONFLICT, "user domain %s has %zu users now, was %zu: look again",
                                     mirror->user_domain, after, mirror->held_after));
    mirror->held = true;
    mirror->held_before = before;
    mirror->held_after = after;
    mirror->waits = mirror->accepted = false;
    account_set_free(&mirror->ready);
    if (mirror->whole_at > mirror->looks.good_at + MIRROR_HELD_MS)
        mirror->whole_at = mirror->looks.good_at + MIRROR_HELD_MS;
    directory_mirrored(mirror->directory, mirror->offered);
    if (!again)
        journal_happened(mirror->journal, MAIL__FACT_STATE__BAD, "directory held",
                         "user domain %s: %zu of %zu users are left: mailctl user-domain accept %s, if that is so",
                         mirror->user_domain, after, before, mirror->user_domain);
    return true;
}

/* ---- what is so ---- */

bool looks_away(const Looks *looks, Msec now)
{
    Msec since = looks->good_at ? looks->good_at : looks->first_at;

    return looks->n_failed >= MIRROR_AWAY_LOOKS || (looks->n_failed && now >= since + MIRROR_AWAY_MS);
}

bool mirror_away(const Mirror *mirror, bool *ret_away)
{
    *ret_away = mirror->away;
    return mirror->known;
}

const char *mirror_copied_from(const Mirror *mirror, bool *ret_cut_off)
{
    *ret_cut_off = mirror->cut_off;
    return mirror->copied_from;
}

Msec mirror_seen_at(const Mirror *mirror)
{
    return mirror->looks.good_at;
}

const char *mirror_trouble(Mirror *mirror, Mail__FactState *ret_state)
{
    if (mirror->elsewhere) {
        *ret_state = MAIL__FACT_STATE__UNKNOWN;
        return mirror->elsewhere;
    }
    if (mirror->revision && !mirror->user_domain) {
        *ret_state = MAIL__FACT_STATE__GOOD;
        return "no instance is placed here: none are needed";
    }
    if (mirror->held && !mirror->away) {
        *ret_state = MAIL__FACT_STATE__DEGRADED;
        snprintf(mirror->text, sizeof mirror->text,
                 "held: the directory has %zu users, was %zu; those known go on: mailctl user-domain accept %s",
                 mirror->held_after, mirror->held_before, mirror->user_domain);
        return mirror->text;
    }
    *ret_state = mirror->away ? MAIL__FACT_STATE__BAD : MAIL__FACT_STATE__DEGRADED;
    return mirror->trouble;
}
