#include "accounts/mirror.h"

#include "base/alloc.h"
#include "base/log.h"

#include <assert.h>
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

    bool asked;             /* a reading is under way */
    bool stale, broken;     /* it is of another user domain; what came is not whole */
    AccountSet *grows;      /* what came of it */
    uint64_t writes;        /* changes of ours that it sees */
    Msec asked_at, look_at; /* look_at: when to ask next */

    char *state; /* of the directory, as of the last whole reading; NULL: read everything */
    Msec whole_at;
    AccountSet *whole; /* for mirror_run's caller */
    bool waits;        /* what was handed over is not in the tables yet */
    Digest offered;
    uint64_t offered_writes;
    bool committed; /* the tables hold what 'digest' is of */
    Digest digest;

    Looks looks;
    bool known, away;
    char *trouble;
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
    account_set_free(&(*mirror)->whole);
    free((*mirror)->user_domain);
    free((*mirror)->elsewhere);
    free((*mirror)->state);
    free((*mirror)->trouble);
    free(*mirror);
    *mirror = NULL;
}

/* ---- what is to be read ---- */

static void forget(Mirror *mirror)
{
    account_set_free(&mirror->grows);
    account_set_free(&mirror->whole);
    xfree(&mirror->state);
    xfree(&mirror->trouble);
    mirror->committed = mirror->waits = false;
    mirror->stale = mirror->asked;
    mirror->looks = (Looks){0};
    mirror->known = false;
    mirror->look_at = 0;
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
    bool here = domain && strcmp(holder, mirror->node) == 0;
    char *elsewhere = NULL;
    if (domain && !here)
        elsewhere = xasprintf("user domain %s is on node %s: directories of other nodes are not read yet", domain,
                              *holder ? holder : "-");
    if (!same_text(mirror->user_domain, here ? domain : NULL) || !same_text(mirror->elsewhere, elsewhere)) {
        forget(mirror);
        free(mirror->user_domain);
        mirror->user_domain = here ? xstrdup(domain) : NULL;
        directory_mirrors(mirror->directory, mirror->user_domain);
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

static void take_account(Mirror *mirror, const Mail__Account *account)
{
    const char *uuid = account->uuid, *name = account->name;

    if (!uuid || !*uuid || !name || !*name || !account->has_kind) {
        mirror->broken = true; /* mail-ldap never says so */
        return;
    }
    if (account->kind == MAIL__ACCOUNT_KIND__USER) {
        account_set_user(mirror->grows, &(AccountUser){uuid, name, account->full_name, account->enabled});
        return;
    }
    const char *const *members = (const char *const *)account->members;
    if (!account_set_more(mirror->grows, uuid, members, account->n_members))
        account_set_group(mirror->grows,
                          &(AccountGroup){.uuid = uuid, .name = name, .users = members, .n_users = account->n_members});
}

static void take_part(Mirror *mirror, const Envelope *part)
{
    const Mail__Accounts *accounts = part->accounts;

    for (size_t i = 0; !mirror->broken && i < accounts->n_accounts; i++)
        take_account(mirror, accounts->accounts[i]);
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

/* All of it is there.  What the tables hold already is not written again. */
static void whole(Mirror *mirror, const Mail__Accounts *last, Msec now)
{
    Digest digest = account_set_digest(mirror->grows);

    mirror->whole_at = now + MIRROR_WHOLE_MS;
    free(mirror->state);
    mirror->state = xstrdup(last->state ? last->state : "");
    mirror->offered_writes = mirror->writes;
    if (mirror->committed && !mirror->waits && digest_equal(&digest, &mirror->digest)) {
        directory_mirrored(mirror->directory, mirror->writes);
        return;
    }
    mirror->offered = digest;
    mirror->waits = true;
    account_set_free(&mirror->whole);
    mirror->whole = mirror->grows;
    mirror->grows = NULL;
}

/* The reading has ended well (why NULL), or not.  Takes why. */
static void end(Mirror *mirror, DirectoryLook look, const Mail__Accounts *last, Error *why, Msec now)
{
    Msec rest = look == LOOK_LAST ? (now - mirror->asked_at) * MIRROR_REST : 0;

    if (mirror->broken && !why)
        why = error_new(ERROR_UNAVAILABLE, "what came is not whole");
    mirror->asked = false;
    mirror->look_at = now + (rest > MIRROR_LOOK_MS ? rest : MIRROR_LOOK_MS);
    if (mirror->stale) {
        error_free(&why);
        mirror->look_at = now;
    } else if (why) {
        bad(mirror, why, now);
    } else {
        good(mirror, now);
        assert(last || look != LOOK_LAST);
        if (look == LOOK_LAST)
            whole(mirror, last, now);
        else if (mirror->committed && !mirror->waits)
            directory_mirrored(mirror->directory, mirror->writes);
    }
    account_set_free(&mirror->grows);
}

static void hear(Mirror *mirror, Msec now)
{
    while (mirror->asked) {
        DEFER(envelope_free) Envelope *part = NULL;
        Error *why = NULL;
        DirectoryLook look = directory_looked(mirror->directory, &part, &why);
        if (look == LOOK_PENDING)
            return;
        if (part && !mirror->stale)
            take_part(mirror, part);
        if (look != LOOK_PART)
            end(mirror, look, part ? part->accounts : NULL, why, now);
    }
}

/* ---- asking ---- */

static void ask(Mirror *mirror, Msec now)
{
    bool everything = !mirror->state || now >= mirror->whole_at;

    if (!mirror->looks.first_at)
        mirror->looks.first_at = now;
    mirror->writes = directory_writes(mirror->directory, mirror->user_domain);
    mirror->look_at = now + MIRROR_LOOK_MS;
    if (!directory_look(mirror->directory, mirror->user_domain, everything ? NULL : mirror->state, now)) {
        bad(mirror, error_new(ERROR_UNAVAILABLE, "mail-ldap is not there"), now);
        return;
    }
    mirror->asked = true;
    mirror->stale = mirror->broken = false;
    mirror->asked_at = now;
    mirror->grows = account_set_new();
}

static bool ours_unseen(const Mirror *mirror)
{
    return directory_writes(mirror->directory, mirror->user_domain) != mirror->writes;
}

AccountSet *mirror_run(Mirror *mirror, Msec now)
{
    learn(mirror);
    hear(mirror, now);
    if (mirror->user_domain && !mirror->asked && (now >= mirror->look_at || ours_unseen(mirror)))
        ask(mirror, now);
    AccountSet *set = mirror->whole;
    mirror->whole = NULL;
    return set;
}

void mirror_wait(const Mirror *mirror, Waiter *wake)
{
    if (!mirror->user_domain || mirror->asked) /* the answer wakes us through directory_wait */
        return;
    waiter_at(wake, mirror->look_at);
    if (ours_unseen(mirror))
        waiter_now(wake);
}

void mirror_written(Mirror *mirror)
{
    if (!mirror->waits)
        return;
    mirror->waits = false;
    mirror->committed = true;
    mirror->digest = mirror->offered;
    directory_mirrored(mirror->directory, mirror->offered_writes);
}

void mirror_again(Mirror *mirror)
{
    mirror->committed = false;
    xfree(&mirror->state);
    mirror->look_at = 0;
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

const char *mirror_trouble(const Mirror *mirror, Mail__FactState *ret_state)
{
    if (mirror->elsewhere) {
        *ret_state = MAIL__FACT_STATE__UNKNOWN;
        return mirror->elsewhere;
    }
    if (mirror->revision && !mirror->user_domain) {
        *ret_state = MAIL__FACT_STATE__GOOD;
        return "no instance is placed here: none are needed";
    }
    *ret_state = mirror->away ? MAIL__FACT_STATE__BAD : MAIL__FACT_STATE__DEGRADED;
    return mirror->trouble;
}
